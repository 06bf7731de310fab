//! Bodies as text.

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use http::{HeaderMap, header::CONTENT_TYPE};

use crate::{Error, ErrorKind, Result};

/// The body as text: a byte order mark decides, else the charset of `Content-Type`, else UTF-8.
///
/// Bytes that are malformed in that charset become U+FFFD.
pub(super) fn text(headers: &HeaderMap, body: &Bytes) -> Result<String> {
    let label = charset(headers);
    let encoding = match &label {
        // A byte order mark is looked at first, whatever the label says; without it an unknown label is a guess.
        Some(label) => match (Encoding::for_bom(body), Encoding::for_label(label.as_bytes())) {
            (Some((encoding, _)), _) | (None, Some(encoding)) => encoding,
            (None, None) => {
                let label: String = label.chars().take(40).collect();
                let message = format!("the charset `{}` is not known; bytes() gives the body", label.escape_default());
                return Err(Error::new(ErrorKind::Decode, message));
            }
        },
        None => UTF_8,
    };
    let (text, _, _) = encoding.decode(body);
    Ok(text.into_owned())
}

/// The charset parameter of `Content-Type`, unless it is empty.
fn charset(headers: &HeaderMap) -> Option<String> {
    let content_type = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes()).into_owned();
    let (_, value) = parameters(&content_type).find(|(name, _)| name == "charset")?;
    // Single quotes are no quotes in HTTP, but some servers send them.
    let value = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(&value).trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// The parameters behind the first `;`, names in lower case, values without their quotes.
pub(super) fn parameters(field: &str) -> impl Iterator<Item = (String, String)> {
    let mut parameters = split_quoted(field, ';');
    parameters.remove(0);
    parameters.into_iter().filter_map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = name.trim().to_ascii_lowercase();
        (!name.is_empty()).then(|| (name, unquoted(value.trim())))
    })
}

/// Splits at a separator that stands neither in a quoted string nor in angle brackets; gives at least one part.
pub(super) fn split_quoted(field: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    for (at, c) in field.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if !bracketed => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            c if c == separator && !quoted && !bracketed => {
                parts.push(&field[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&field[start..]);
    parts
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: Option<&str>, body: &[u8]) -> Result<String> {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        text(&headers, &Bytes::copy_from_slice(body))
    }

    #[test]
    fn the_charset_parameter_decides_in_any_spelling() {
        for content_type in [
            "text/html; charset=ISO-8859-1",
            "text/html;a=b; Charset = \"latin1\"",
            "text/plain;charset=cp1252",
            "text/plain; charset='latin1'",
        ] {
            assert_eq!(read(Some(content_type), b"caf\xe9").unwrap(), "café", "{content_type}");
        }
        assert_eq!(read(Some("text/plain; charset=Shift_JIS"), b"\x93\xfa\x96\x7b").unwrap(), "日本");
        assert_eq!(read(Some("text/plain; charset=koi8-r"), b"\xcd\xc9\xd2").unwrap(), "мир");
    }

    #[test]
    fn a_byte_order_mark_wins_over_the_parameter_and_is_not_part_of_the_text() {
        assert_eq!(read(Some("text/plain; charset=latin1"), b"\xef\xbb\xbfcaf\xc3\xa9").unwrap(), "café");
        assert_eq!(read(None, b"\xff\xfea\0b\0").unwrap(), "ab");
        assert_eq!(read(Some("text/plain; charset=nonsense"), b"\xfe\xff\0a").unwrap(), "a");
    }

    #[test]
    fn without_a_charset_it_is_utf_8_and_malformed_bytes_are_replaced() {
        assert_eq!(read(None, "grün".as_bytes()).unwrap(), "grün");
        assert_eq!(read(Some("application/json"), b"a\xffb").unwrap(), "a\u{fffd}b");
        assert_eq!(read(None, b"").unwrap(), "");
        for empty in ["text/plain; charset=", "text/plain; charset=\"\"", "text/plain; charset=''"] {
            assert_eq!(read(Some(empty), "grün".as_bytes()).unwrap(), "grün", "{empty}");
        }
    }

    #[test]
    fn an_unknown_charset_is_an_error_and_not_a_guess() {
        assert_eq!(read(Some("text/plain; charset=utf-32"), b"abc").unwrap_err().kind(), ErrorKind::Decode);
    }
}
