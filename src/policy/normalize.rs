//! Normal forms: spellings of one request that mean the same get the same key, and no others.
//!
//! Whatever is secret was replaced before.

use super::{json, multipart, redact, redact::Credentials};
use crate::{Error, ErrorKind, Result};
use std::{borrow::Cow, fmt::Write};
use url::Url;

/// Bodies over this size count as the bytes that they are.
const BODY_LEN_MAX: usize = 10 << 20;

/// The normal form of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Body<'a> {
    /// Part of the key, so that a text never equals a JSON document that it is spelled like.
    pub(crate) kind: &'static str,
    pub(crate) bytes: Cow<'a, [u8]>,
}

/// The normal form of a URL: without fragment and default port, escapes only where needed, and parameters sorted.
///
/// Parameters keep duplicates; `k` and `k=` are two things; `/a//b` and `/a/b` are two paths. Escaped and
/// bare delimiters differ in the path, as they do for servers, and are the same in parameters.
///
/// Fails with `InvalidInput` if the text is not an absolute URL with a host.
pub(crate) fn url(redacted: &str) -> Result<String> {
    let url = Url::parse(redacted)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, format!("not a URL: {error}")).with_url(redacted))?;
    parsed_url(&url)
}

/// The same of a URL that is parsed already.
pub(crate) fn parsed_url(url: &Url) -> Result<String> {
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(Error::new(ErrorKind::InvalidInput, "not a URL with a host").with_url(url.as_str()));
    };
    let mut out = String::with_capacity(url.as_str().len());
    out.push_str(url.scheme());
    out.push_str("://");
    out.push_str(host);
    if let Some(port) = url.port() {
        // Writing to a String does not fail.
        let _ = write!(out, ":{port}");
    }
    respell(&mut out, url.path(), Part::Path);
    if let Some(query) = url.query() {
        write_pairs(&mut out, "?", query);
    }
    Ok(out)
}

/// The normal form of a body, with credentials in it replaced and collected; `None` if there is no body.
///
/// In JSON the order of keys and white space do not matter, at any depth; in forms the order of parameters; in
/// multipart bodies the boundary and the order of names. What is larger than 10 MiB (of a multipart body: each part),
/// or not what its type says, counts as bytes. So does a body without a type, unless it reads as JSON or a form with
/// credentials in it.
pub(crate) fn body<'a>(content_type: Option<&[u8]>, body: &'a [u8], found: &mut Credentials) -> Option<Body<'a>> {
    if body.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= BODY_LEN_MAX);
    let content_type = content_type.unwrap_or_default().trim_ascii();
    let normal = match (kind(content_type), text) {
        // Of any size: its contents are not copied.
        ("multipart", _) => multipart::canonical(content_type, body, found).map(|parts| ("multipart", parts)),
        ("json", Some(text)) => json::canonical(text, found).map(|json| ("json", json)),
        ("form", Some(text)) => Some(("form", pairs(&redact::pairs(text, found)).into_bytes())),
        (_, Some(text)) if content_type.is_empty() => untyped(text, found),
        _ => None,
    };
    let (kind, bytes) = match normal {
        Some((kind, bytes)) => (kind, Cow::Owned(bytes)),
        None => ("bytes", Cow::Borrowed(body)),
    };
    Some(Body { kind, bytes })
}

/// Whether credentials are looked for in bodies of this type.
pub(crate) fn is_looked_into(content_type: Option<&[u8]>) -> bool {
    kind(content_type.unwrap_or_default().trim_ascii()) != "bytes"
}

/// The normal form of a body without a type that holds credentials. A bare digest of it, in the file, would let anyone
/// guess them at full speed. Without credentials nothing is gained by a guess at what it is.
fn untyped(text: &str, found: &mut Credentials) -> Option<(&'static str, Vec<u8>)> {
    let before = found.len();
    let normal = if text.trim_start().starts_with(['{', '[']) {
        ("json without a type", json::canonical(text, found)?)
    } else if is_form(text) {
        ("form without a type", pairs(&redact::pairs(text, found)).into_bytes())
    } else {
        return None;
    };
    (found.len() > before).then_some(normal)
}

/// Whether a text is printable and nothing but `name=value` between `&`; a line end, as of an editor, does no harm.
fn is_form(text: &str) -> bool {
    let printable = text.chars().all(|c| !c.is_control() || c.is_ascii_whitespace());
    printable && text.split('&').filter(|piece| !piece.is_empty()).all(|piece| piece.contains('='))
}

/// Parameters sorted by name, then value; duplicates stay, empty pieces go.
fn pairs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    write_pairs(&mut out, "", text);
    out
}

/// The same behind `mark`, which goes as well if there are no parameters.
fn write_pairs(out: &mut String, mark: &str, text: &str) {
    let mut pairs: Vec<_> = text
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| match piece.split_once('=') {
            Some((name, value)) => (parameter(name), Some(parameter(value))),
            None => (parameter(piece), None),
        })
        .collect();
    pairs.sort();
    for (n, (name, value)) in pairs.iter().enumerate() {
        out.push_str(if n == 0 { mark } else { "&" });
        out.push_str(name);
        if let Some(value) = value {
            out.push('=');
            out.push_str(value);
        }
    }
}

fn parameter(text: &str) -> Cow<'_, str> {
    if Part::Parameter.is_normal(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    respell(&mut out, text, Part::Parameter);
    Cow::Owned(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Parameter,
}

impl Part {
    fn is_delimiter(self, byte: u8) -> bool {
        self == Self::Path && b":/?#[]@!$&'()*+,;=".contains(&byte)
    }

    /// Whether nothing in a text has another spelling.
    fn is_normal(self, text: &str) -> bool {
        text.bytes().all(|byte| is_unreserved(byte) || self.is_delimiter(byte))
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Writes each character in the one spelling that is normal: escaped if and only if it must be.
///
/// A text with a `%` that begins no escape is left alone: any spelling for it would be that of another text.
fn respell(out: &mut String, text: &str, part: Part) {
    if part.is_normal(text) {
        return out.push_str(text);
    }
    let bytes = text.as_bytes();
    let start = out.len();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let (byte, escaped, len) = match (byte, bytes.get(at + 1..at + 3).and_then(hex_byte)) {
            (b'%', Some(byte)) => (byte, true, 3),
            (b'%', None) => {
                out.truncate(start);
                return out.push_str(text);
            }
            (b'+', _) if part == Part::Parameter => (b' ', true, 1),
            (byte, _) => (byte, false, 1),
        };
        if is_unreserved(byte) || !escaped && part.is_delimiter(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        at += len;
    }
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| digits.get(at).and_then(|&digit| char::from(digit).to_digit(16));
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// The kind of body that a content type announces.
fn kind(content_type: &[u8]) -> &'static str {
    let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    let media_type = String::from_utf8_lossy(media_type).trim().to_ascii_lowercase();
    match media_type.split_once('/') {
        Some(("application", "x-www-form-urlencoded")) => "form",
        Some(("multipart", _)) => "multipart",
        Some((_, subtype)) if subtype == "json" || subtype.ends_with("+json") => "json",
        Some(("application", subtype)) if subtype.contains("json") => "json",
        _ => "bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_url_have_one_form() {
        for (text, want) in [
            ("HTTP://X.org:80/?", "http://x.org/"),
            ("https://x.org:443", "https://x.org/"),
            ("http://x.org:8080/#f", "http://x.org:8080/"),
            ("http://x.org/?b=1&a=2&a=1", "http://x.org/?a=1&a=2&b=1"),
            ("http://x.org/a/./b/../c", "http://x.org/a/c"),
            ("http://x.org/%7euser/%c3%a9|", "http://x.org/~user/%C3%A9%7C"),
            ("http://x.org/é?q=é+1&&", "http://x.org/%C3%A9?q=%C3%A9%201"),
            ("http://x.org/?x=%7E+%20", "http://x.org/?x=~%20%20"),
            ("http://x.org/?u=http://y/", "http://x.org/?u=http%3A%2F%2Fy%2F"),
            ("http://bücher.test/", "http://xn--bcher-kva.test/"),
            ("http://[::1]:80/", "http://[::1]/"),
        ] {
            assert_eq!(url(text).unwrap(), want, "{text}");
            assert_eq!(url(want).unwrap(), want, "the form of {want} is itself");
        }
    }

    #[test]
    fn different_urls_have_different_forms() {
        for (a, b) in [
            ("http://x.org/?k", "http://x.org/?k="),
            ("http://x.org/?a=1&k=", "http://x.org/?a=1"),
            ("http://x.org/?a=1", "http://x.org/?a=1&a=1"),
            ("http://x.org/a//b", "http://x.org/a/b"),
            ("http://x.org/a/", "http://x.org/a"),
            ("http://x.org/a%2Fb", "http://x.org/a/b"),
            ("http://x.org/?a=%26b=1", "http://x.org/?a=&b=1"),
            ("http://x.org/?a=%2B", "http://x.org/?a=+"),
            ("http://x.org/?a=%E9", "http://x.org/?a=%EF%BF%BD"),
            ("http://x.org/?a=%%341", "http://x.org/?a=A"),
            ("http://x.org/?a=%zz", "http://x.org/?a=%25zz"),
            ("http://x.org/A", "http://x.org/a"),
            ("http://x.org/", "https://x.org/"),
            ("http://x.org/", "http://x.org:81/"),
            ("http://x.org/?a=1;b=2", "http://x.org/?a=1&b=2"),
        ] {
            assert_ne!(url(a).unwrap(), url(b).unwrap(), "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_url_with_a_host_is_invalid() {
        for text in ["", "x", "/a", "http://", "http://[", "data:,x", "mailto:a@b", "file:///x"] {
            assert_eq!(url(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }

    fn form<'a>(content_type: &str, text: &'a str) -> Option<(&'static str, String)> {
        let mut found = Credentials::default();
        let body: Option<Body<'a>> = body(Some(content_type.as_bytes()), text.as_bytes(), &mut found);
        body.map(|body| (body.kind, String::from_utf8(body.bytes.into_owned()).unwrap()))
    }

    #[test]
    fn a_body_is_normalised_as_its_type_says() {
        for (content_type, text, kind, want) in [
            ("application/json", r#"{"b":1, "a":2}"#, "json", r#"{"a":2,"b":1}"#),
            ("application/problem+JSON ; charset=utf-8", "[ 1 ]", "json", "[1]"),
            ("application/json", "{x", "bytes", "{x"),
            ("application/x-www-form-urlencoded", "b=1&a=%41&k", "form", "a=A&b=1&k"),
            ("application/x-www-form-urlencoded", "b=1&Api%5FKey=s", "form", "Api_Key=REDACTED&b=1"),
            ("text/plain", r#"{"b":1, "a":2}"#, "bytes", r#"{"b":1, "a":2}"#),
            ("", "b&a", "bytes", "b&a"),
            ("", "b=1&a=2", "bytes", "b=1&a=2"),
            ("", "b=1&password=s", "form without a type", "b=1&password=REDACTED"),
            ("", "password=s\n", "form without a type", "password=REDACTED"),
            ("", "password=s&b", "bytes", "password=s&b"),
            ("", "password=s\0", "bytes", "password=s\0"),
            (" ", r#" {"password":"s"}"#, "json without a type", r#"{"password":"REDACTED"}"#),
            ("", r#"[{"b":1,"a":2}]"#, "bytes", r#"[{"b":1,"a":2}]"#),
            ("", "{password=s", "bytes", "{password=s"),
            ("text/plain", "password=s", "bytes", "password=s"),
        ] {
            assert_eq!(form(content_type, text), Some((kind, want.to_owned())), "{content_type} {text}");
        }
        assert_eq!(form("application/json", ""), None);
    }

    #[test]
    fn a_body_that_is_too_large_or_no_text_counts_as_bytes() {
        let limit = format!("[{}]", " ".repeat(BODY_LEN_MAX - 2));
        assert_eq!(form("application/json", &limit), Some(("json", "[]".to_owned())));
        let over = format!("[{}]", " ".repeat(BODY_LEN_MAX - 1));
        assert_eq!(form("application/json", &over), Some(("bytes", over.clone())));
        let body = body(Some(b"application/json"), b"\"\xff\"", &mut Credentials::default()).unwrap();
        assert_eq!((body.kind, &body.bytes[..]), ("bytes", &b"\"\xff\""[..]));
    }
}
