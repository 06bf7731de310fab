//! URLs as `requests` prepares them, requests-cache filters them and url-normalize 3 spells them.

use super::{KeyRules, REDACTED};
use icu_normalizer::ComposingNormalizerBorrowed;
use percent_encoding::percent_decode;
use std::fmt::Write;
use url::Url;

const RESERVED: &[u8] = b":/?#[]@!$&'()*+,;=";

/// The normal form of an `http` or `https` URL; `None` if it is not one.
pub(super) fn normal(text: &str, rules: &KeyRules) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?;
    let mut query = params(&prepared(url.query().unwrap_or_default()), rules);
    let fragment = prepared(url.fragment().unwrap_or_default());
    let mut out = format!("{}://{}{}", url.scheme(), userinfo(&url), normal_host(host));
    if let Some(port) = url.port() {
        let _ = write!(out, ":{port}");
    }
    out.push_str(&normal_path(&prepared(url.path())));
    let fragment = match fragment.strip_prefix('!') {
        // What crawlers once made of it.
        Some(bang) => {
            let mark = if query.is_empty() { "" } else { "&" };
            let _ = write!(query, "{mark}_escaped_fragment_={}", spelled(bang, b"/", b""));
            String::new()
        }
        None => spelled(&fragment, b"~=", b""),
    };
    let query: Vec<_> = query.split('&').filter(|param| !param.is_empty()).map(normal_param).collect();
    if !query.is_empty() {
        out.push('?');
        out.push_str(&query.join("&"));
    }
    if !fragment.is_empty() {
        out.push('#');
        out.push_str(&fragment);
    }
    Some(out)
}

/// Parameters of a query or a form: sorted, without those of an empty value, names without `=` at the end, and
/// ignored values replaced.
pub(super) fn params(text: &str, rules: &KeyRules) -> String {
    let mut pairs: Vec<_> = text
        .split('&')
        .filter_map(|piece| piece.split_once('='))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (form_decode(name), form_decode(value)))
        .collect();
    pairs.sort();
    let pairs = pairs.iter().map(|(name, value)| {
        let value = if rules.ignores(name) { REDACTED } else { value };
        format!("{}={}", form_encode(name), form_encode(value))
    });
    let mut bare: Vec<_> = text.split('&').filter(|piece| !piece.is_empty() && !piece.contains('=')).collect();
    bare.sort_unstable();
    pairs.chain(bare.into_iter().map(str::to_owned)).collect::<Vec<_>>().join("&")
}

/// A part of a URL as `requests` sends it: escapes in upper case and only where needed; if one of them is none, each
/// `%` that was typed is escaped.
///
/// The parser has escaped some characters by then. Those escapes were not typed, most probably.
fn prepared(part: &str) -> String {
    let all_hold = part.match_indices('%').all(|(at, _)| escape_at(part, at).is_some());
    let mut out = String::with_capacity(part.len());
    let mut at = 0;
    while let Some(&byte) = part.as_bytes().get(at) {
        let escaped = escape_at(part, at);
        if let Some(byte) = escaped.filter(|byte| !all_hold && !by_the_parser(part, at, *byte)) {
            // Writing to a String does not fail.
            let _ = write!(out, "%25{byte:02X}");
            at += 3;
            continue;
        }
        let byte = escaped.unwrap_or(byte);
        let typed_raw = escaped.is_none() || !all_hold;
        if is_unreserved(byte) || typed_raw && b"!$&'()*+,;=:@/?".contains(&byte) {
            out.push(char::from(byte));
        } else {
            escape(&mut out, byte);
        }
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

/// The byte of the escape at this place, if there is one.
fn escape_at(text: &str, at: usize) -> Option<u8> {
    let (b'%', digits) = text.as_bytes().get(at..at + 3)?.split_first()? else { return None };
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// Whether the escape of this byte looks like one that the parser of URLs makes.
fn by_the_parser(text: &str, at: usize, byte: u8) -> bool {
    let upper = !text.as_bytes()[at + 1..at + 3].iter().any(u8::is_ascii_lowercase);
    upper && (byte <= b' ' || byte >= 0x7F || b"\"<>'`{}^".contains(&byte))
}

fn userinfo(url: &Url) -> String {
    let info = match (url.username(), url.password()) {
        ("", None) => return String::new(),
        (user, None) => user.to_owned(),
        (user, Some(password)) => format!("{user}:{password}"),
    };
    format!("{}@", spelled(&info, b"!$&'()*+,;=:", RESERVED))
}

/// Without dots at its ends and without empty labels; an address in brackets is left alone.
fn normal_host(host: &str) -> String {
    if host.starts_with('[') {
        return host.to_owned();
    }
    let labels: Vec<_> = host.split('.').filter(|label| !label.is_empty()).collect();
    labels.join(".")
}

fn normal_path(path: &str) -> String {
    // `;` at the very end of the last segment opens parameters that are not there.
    let last = path.rfind('/').map_or(0, |at| at + 1);
    let path = match path[last..].find(';') {
        Some(at) if last + at + 1 == path.len() => &path[..last + at],
        _ => path,
    };
    let path = spelled(path, b"~:/[]@!$&'()*+,;=", RESERVED);
    let mut out: Vec<&str> = Vec::new();
    let mut last = "";
    for segment in path.split('/') {
        last = segment;
        match segment {
            "" if out.is_empty() => out.push(""),
            "" | "." => {}
            ".." => {
                if out.len() > 1 {
                    out.pop();
                }
            }
            segment => out.push(segment),
        }
    }
    if matches!(last, "" | "." | "..") {
        out.push("");
    }
    let path = out.join("/");
    if path.is_empty() { "/".to_owned() } else { path }
}

fn normal_param(param: &str) -> String {
    let normal = |text: &str| spelled(text, b"~:/?[]@!$'()*+,;", b"+");
    match param.split_once('=') {
        Some((name, value)) => format!("{}={}", normal(name), normal(value)),
        None => normal(param),
    }
}

/// Decodes what is escaped, in Unicode's form NFC, and escapes again all but `safe`; escapes of `kept` stay as they
/// are.
fn spelled(text: &str, safe: &[u8], kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // From one kept escape to the next: what is between them is decoded as one text.
    while let Some((at, byte)) = kept_escape(rest, kept) {
        quote(&mut out, &rest[..at], safe);
        escape(&mut out, byte);
        rest = &rest[at + 3..];
    }
    quote(&mut out, rest, safe);
    out
}

/// Where the first escape of one of these bytes is.
fn kept_escape(text: &str, kept: &[u8]) -> Option<(usize, u8)> {
    let escapes = text.match_indices('%').filter_map(|(at, _)| Some((at, escape_at(text, at)?)));
    escapes.into_iter().find(|(_, byte)| kept.contains(byte))
}

fn quote(out: &mut String, text: &str, safe: &[u8]) {
    let decoded: Vec<u8> = percent_decode(text.as_bytes()).collect();
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    // Bytes that are no text stay what they are.
    for chunk in decoded.utf8_chunks() {
        for byte in nfc.normalize(chunk.valid()).bytes() {
            if is_unreserved(byte) || safe.contains(&byte) {
                out.push(char::from(byte));
            } else {
                escape(out, byte);
            }
        }
        chunk.invalid().iter().for_each(|&byte| escape(out, byte));
    }
}

fn form_decode(text: &str) -> String {
    let bytes: Vec<u8> = percent_decode(text.replace('+', " ").as_bytes()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn form_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            byte if is_unreserved(byte) => out.push(char::from(byte)),
            byte => escape(&mut out, byte),
        }
    }
    out
}

fn escape(out: &mut String, byte: u8) {
    // Writing to a String does not fail.
    let _ = write!(out, "%{byte:02X}");
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
