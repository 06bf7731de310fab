//! Which of several responses to one URL a request gets (RFC 9110, 12.5.5; RFC 9111, 4.1).

use super::{cache_control::elements, key::digest, redact::REDACTED};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::cmp::Reverse;

/// The header fields of the request that a response depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Vary {
    /// None of them.
    #[default]
    Nothing,
    /// These: sorted, each once, at least one.
    Names(Vec<HeaderName>),
    /// RFC 9111, 4.1: "A stored response with a Vary header field value containing a member '*' always fails to match."
    Anything,
}

impl Vary {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for line in headers.get_all(header::VARY) {
            for element in elements(line.as_bytes()).filter(|element| !element.is_empty()) {
                match HeaderName::from_bytes(element) {
                    Ok(name) if element != b"*" => names.push(name),
                    // What is no name of a field could mean any of them.
                    _ => return Self::Anything,
                }
            }
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        if names.is_empty() { Self::Nothing } else { Self::Names(names) }
    }

    pub(crate) fn is_any(&self) -> bool {
        *self == Self::Anything
    }

    /// The fields, if they can be told.
    pub(crate) fn names(&self) -> &[HeaderName] {
        match self {
            Self::Names(names) => names,
            Self::Nothing | Self::Anything => &[],
        }
    }
}

/// The variant that a request with these headers gets of a response that varies by these names, sorted ones.
///
/// RFC 9111, 4.1: "The header fields from two requests are defined to match if and only if those in the first request
/// can be transformed to those in the second request by applying any of: adding or removing whitespace, where allowed
/// in the header field's syntax; combining multiple header field lines with the same field name [..]; normalizing both
/// header field values in a way that is known to have identical semantics [..]. If (after any normalization that might
/// take place) a header field is absent from a request, it can only match another request if it is also absent there."
///
/// Credentials read alike here: they have made the partition. What is redacted and did not make it, as in a `Referer`,
/// is told apart by what stands for it in [`Asked::telling`](super::key::Asked::telling).
pub(crate) fn variant(names: &[HeaderName], request: &HeaderMap) -> [u8; 32] {
    let values: Vec<Option<Vec<u8>>> = names.iter().map(|name| value(name, request)).collect();
    let mut parts: Vec<&[u8]> = vec![b"vary"];
    for (name, value) in names.iter().zip(&values) {
        parts.push(name.as_str().as_bytes());
        parts.push(if value.is_some() { b"is" } else { b"is not there" });
        parts.push(value.as_deref().unwrap_or_default());
    }
    digest(&parts)
}

/// The part that headers have in a key if they were chosen by name: a list counts by its elements, in whatever order
/// and case.
pub(crate) fn matched(names: &[HeaderName], request: &HeaderMap) -> [u8; 32] {
    let mut parts = vec![b"matched".to_vec()];
    for name in names {
        let Some(mut value) = value(name, request) else { continue };
        if value.contains(&b',') {
            value.make_ascii_lowercase();
            let mut listed: Vec<_> = elements(&value).map(<[u8]>::to_vec).collect();
            listed.sort();
            value = listed.join(&b", "[..]);
        }
        parts.extend([name.as_str().as_bytes().to_vec(), value]);
    }
    digest(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Whether one of these fields was a credential of the request, so that the variant does not tell one user from
/// another.
pub(crate) fn names_a_credential(names: &[HeaderName], redacted: &HeaderMap) -> bool {
    names.iter().any(|name| redacted.get_all(name).iter().any(|value| value == REDACTED))
}

/// A field in its normal form: lines combined, and no white space around their elements.
fn value(name: &HeaderName, headers: &HeaderMap) -> Option<Vec<u8>> {
    let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    if *name == header::ACCEPT_LANGUAGE {
        return headers.contains_key(name).then(|| languages(lines));
    }
    let mut combined: Option<Vec<u8>> = None;
    for line in lines {
        for element in elements(line) {
            let combined = combined.get_or_insert_default();
            if !combined.is_empty() {
                combined.extend_from_slice(b", ");
            }
            combined.extend_from_slice(element);
        }
    }
    combined
}

/// What an `Accept-Language` says, in one way of several.
///
/// RFC 9110, 12.4.2: `OWS ";" OWS "q=" qvalue`, where "no 'q' parameter" is a weight of 1; 8.5.1: "All tags are
/// case-insensitive". It is the weights that rank languages, so those of different weights count in any order; those of
/// the same weight do not, as "some recipients treat the order in which language tags are listed as an indication of
/// descending priority" (12.5.4).
fn languages<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut ranges: Vec<Vec<u8>> = lines
        .flat_map(elements)
        .filter(|range| !range.is_empty())
        .map(|range| {
            let mut range = range.to_ascii_lowercase();
            range.retain(|byte| !byte.is_ascii_whitespace());
            if range.ends_with(b";q=1") {
                range.truncate(range.len() - 4);
            }
            range
        })
        .collect();
    if ranges.iter().all(|range| thousandths(range).is_some()) {
        ranges.sort_by_key(|range| Reverse(thousandths(range)));
    }
    ranges.join(&b", "[..])
}

/// The weight of a range in its normal form, if it is one that RFC 9110, 12.4.2, allows.
fn thousandths(range: &[u8]) -> Option<u16> {
    let range = str::from_utf8(range).ok()?;
    let Some((_, weight)) = range.split_once(";q=") else { return (!range.contains(';')).then_some(1000) };
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = format!("{fraction:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (HeaderName::from_static(name), HeaderValue::from_static(line))).collect()
    }

    fn vary(lines: &[&'static str]) -> Vary {
        Vary::of(&headers("vary", lines))
    }

    #[test]
    fn names_are_read_in_any_case_and_order_and_a_star_anywhere_is_anything() {
        assert_eq!(vary(&[]), Vary::Nothing);
        assert_eq!(vary(&["", " , "]), Vary::Nothing);
        let names = |names: &[&'static str]| Vary::Names(names.iter().map(|n| HeaderName::from_static(n)).collect());
        assert_eq!(vary(&["Foo"]), names(&["foo"]));
        assert_eq!(vary(&["b, A,,b", "c"]), names(&["a", "b", "c"]));
        for lines in
            [&["*"][..], &["*, *"], &["foo, *"], &["*, foo"], &[", *"], &["foo", "*"], &["foo bar"], &["\"a\""]]
        {
            assert_eq!(vary(lines), Vary::Anything, "{lines:?}");
        }
    }

    #[test]
    fn requests_match_if_their_fields_differ_in_white_space_and_lines_alone() {
        let names = [HeaderName::from_static("accept")];
        let of = |lines: &[&'static str]| variant(&names, &headers("accept", lines));
        for (a, b, same) in [
            (&["x"][..], &["x"][..], true),
            (&["x, y"], &["x,y"], true),
            (&["x, y"], &["x", "y"], true),
            (&["x , y"], &["x,\ty"], true),
            (&["x"], &["y"], false),
            (&["x, y"], &["y, x"], false),
            (&["x"], &["X"], false),
            (&["x"], &[], false),
            (&[""], &[], false),
            (&[], &[], true),
            (&["\"a, b\""], &["\"a,b\""], false),
        ] {
            assert_eq!(of(a) == of(b), same, "{a:?} {b:?}");
        }
    }

    #[test]
    fn languages_match_in_any_case_and_order_as_far_as_weights_rank_them() {
        let names = [header::ACCEPT_LANGUAGE];
        let of = |lines: &[&'static str]| variant(&names, &headers("accept-language", lines));
        for (a, b, same) in [
            (&["en, de;q=0.5"][..], &["de;q=0.5, en"][..], true),
            (&["en;q=0.2, de, fr;q=0.25"], &["de, fr;q=0.25, en;q=0.2"], true),
            (&["en, de"], &["de, en"], false),
            (&["en;q=0.5, de;q=0.5"], &["de;q=0.5, en;q=0.5"], false),
            (&["en;q=2, de"], &["de, en;q=2"], false),
            (&["en, de"], &["eN,De"], true),
            (&["en", "de;q=0.5"], &["de ; q=0.5, en;q=1"], true),
            (&["en, de"], &[", en,, de"], true),
            (&["en, de"], &["en, de;q=0.5"], false),
            (&["en;q=0.5, de"], &["en, de;q=0.5"], false),
            (&["en"], &["en, de"], false),
            (&["en"], &["en-gb"], false),
            (&[""], &[], false),
        ] {
            assert_eq!(of(a) == of(b), same, "{a:?} {b:?}");
        }
    }

    #[test]
    fn chosen_headers_match_in_any_order_and_case_if_they_are_lists() {
        let names = [HeaderName::from_static("accept")];
        let of = |lines: &[&'static str]| matched(&names, &headers("accept", lines));
        for (a, b, same) in [
            (&["x, Y"][..], &["y,x"][..], true),
            (&["x", "y"], &["y, x"], true),
            (&["x"], &["X"], false),
            (&["x"], &[], false),
            (&["x, y"], &["x, z"], false),
        ] {
            assert_eq!(of(a) == of(b), same, "{a:?} {b:?}");
        }
    }

    #[test]
    fn the_names_are_part_of_the_variant() {
        let (a, b) = (HeaderName::from_static("a"), HeaderName::from_static("b"));
        let none = HeaderMap::new();
        assert_ne!(variant(std::slice::from_ref(&a), &none), variant(std::slice::from_ref(&b), &none));
        assert_ne!(variant(std::slice::from_ref(&a), &none), variant(&[a, b], &none));
    }

    #[test]
    fn a_credential_among_the_fields_is_told() {
        let names = [header::ACCEPT, header::COOKIE];
        assert!(names_a_credential(&names, &headers("cookie", &[REDACTED])));
        assert!(!names_a_credential(&names, &headers("authorization", &[REDACTED])));
    }
}
