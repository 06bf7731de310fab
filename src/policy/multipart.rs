//! The normal form of multipart bodies: the same parts are the same body, whatever boundary stands between them.

use super::{key::digest, normalize, redact::Credentials};
use std::borrow::Cow;

/// Parts of more forms than anybody sends; what has more counts as bytes.
const PARTS_MAX: usize = 10_000;

/// The parts in the order of their names, those of one name as they came, each as its head and the digest of its
/// content. `None` if it is not what its type says.
///
/// Content counts by the rules for bodies; that of a part with the name of a credential is collected and does not
/// count.
pub(super) fn canonical(content_type: &[u8], body: &[u8], found: &mut Credentials) -> Option<Vec<u8>> {
    let boundary = parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())?;
    let mut parts = Vec::new();
    for part in split(body, boundary.as_bytes())? {
        let (head, content) = head_and_content(part)?;
        let name = head.iter().find(|(name, _)| name == "content-disposition");
        let name = name.and_then(|(_, value)| parameter(value.as_bytes(), "name")).unwrap_or_default();
        let digest = if found.hides(&name) {
            found.push(&super::secret_names::squeeze(&name), content);
            digest(&[b"secret"])
        } else {
            let kind = head.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_bytes());
            // Forms in forms are out of use, and would have no end.
            let nested =
                kind.is_some_and(|kind| kind.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart")));
            match normalize::body(kind.filter(|_| !nested), content, found) {
                Some(body) => digest(&[body.kind.as_bytes(), &body.bytes]),
                None => digest(&[]),
            }
        };
        parts.push((name.into_owned(), head, digest));
    }
    parts.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let mut out = Vec::new();
    for (_, head, digest) in parts {
        out.extend_from_slice(&(head.len() as u64).to_be_bytes());
        for text in head.iter().flat_map(|(name, value)| [name, value]) {
            out.extend_from_slice(&(text.len() as u64).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&digest);
    }
    Some(out)
}

/// What stands between the boundaries. A boundary stands at the beginning of a line (RFC 2046, 5.1.1).
fn split<'a>(body: &'a [u8], boundary: &[u8]) -> Option<Vec<&'a [u8]>> {
    let mut parts = Vec::new();
    let mut began = None;
    let mut at = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let end = line.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary)).map(<[u8]>::trim_ascii);
        if let Some(end @ (b"" | b"--")) = end {
            if let Some(from) = began {
                let part = body.get(from..at)?;
                let part = part.strip_suffix(b"\n")?;
                parts.push(part.strip_suffix(b"\r").unwrap_or(part));
            }
            if end == b"--" {
                return Some(parts);
            }
            if parts.len() > PARTS_MAX {
                return None;
            }
            began = Some(at + line.len());
        }
        at += line.len();
    }
    None
}

type Head = Vec<(String, String)>;

/// The headers of a part, names in lower case, and what follows the empty line behind them.
fn head_and_content(part: &[u8]) -> Option<(Head, &[u8])> {
    let mut head = Vec::new();
    let mut at = 0;
    for line in part.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        let line = line.trim_ascii();
        if line.is_empty() {
            head.sort();
            return Some((head, part.get(at..)?));
        }
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        head.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    None
}

/// The value of a parameter of `type; a=b; c="d"`.
fn parameter<'a>(value: &'a [u8], wanted: &str) -> Option<Cow<'a, str>> {
    let text = std::str::from_utf8(value).ok()?;
    let mut rest = text.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(';').map_or((after, ""), |(value, next)| (value, next)),
        };
        if name.trim_matches([' ', '\t', ';']).eq_ignore_ascii_case(wanted) {
            return Some(Cow::Borrowed(value.trim()));
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(boundary: &str, parts: &[(&str, &str)]) -> String {
        let part = |(head, content): &(&str, &str)| {
            format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
        };
        parts.iter().map(part).chain([format!("--{boundary}--\r\n")]).collect::<Vec<_>>().concat()
    }

    fn normal(boundary: &str, body: &str) -> (Option<Vec<u8>>, usize) {
        let mut found = Credentials::default();
        let content_type = format!("multipart/form-data; charset=utf-8; boundary=\"{boundary}\"");
        (canonical(content_type.as_bytes(), body.as_bytes(), &mut found), found.len())
    }

    #[test]
    fn the_boundary_and_the_order_of_names_do_not_count() {
        let parts = [("name=\"a\"", "1"), ("name=\"f\"; filename=\"x\"", "line\r\nline\n--not\n"), ("name=\"a\"", "2")];
        let one = normal("b", &form("b", &parts));
        assert!(one.0.is_some());
        assert_eq!(one, normal("another", &form("another", &parts)));
        assert_eq!(one, normal("b", &form("b", &[parts[1], parts[0], parts[2]])));
        let preamble = format!("ignored\r\n{}epilogue", form("b", &parts));
        assert_eq!(one, normal("b", &preamble));
        for other in [
            form("b", &[parts[0], parts[1]]),
            form("b", &[parts[2], parts[1], parts[0]]),
            form("b", &[("name=\"a\"", "1"), ("name=\"f\"", parts[1].1), ("name=\"a\"", "2")]),
        ] {
            assert_ne!(one, normal("b", &other));
        }
    }

    #[test]
    fn credentials_in_parts_are_collected_and_do_not_count() {
        let with = |secret| form("b", &[("name=\"api_key\"", secret), ("name=\"q\"", r#"{"token": "s"}"#)]);
        let (one, other) = (normal("b", &with("swordfish")), normal("b", &with("marlin")));
        assert_eq!(one, other);
        assert_eq!(one.1, 2);
    }

    #[test]
    fn what_is_no_form_counts_as_bytes() {
        for body in ["", "--b\r\n", "--b\r\n\r\nx\r\n", "--b\r\nno header\r\n\r\nx\r\n--b--", "--bb--\r\n"] {
            assert_eq!(normal("b", body).0, None, "{body:?}");
        }
        assert_eq!(canonical(b"multipart/form-data", b"--b--", &mut Credentials::default()), None);
        assert_eq!(normal("b", "--b--").0, Some(Vec::new()));
    }
}
