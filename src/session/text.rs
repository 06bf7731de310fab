//! Bodies as text, and where a text is no JSON.

use bytes::Bytes;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use http::{HeaderMap, header::CONTENT_TYPE};

use crate::{Error, ErrorKind, Result};

/// How far into a page its charset may be declared (HTML, 4.2.5.4).
const PRESCAN: usize = 1024;
/// How much of a body is looked at to find out its charset.
const SAMPLE: usize = 256 << 10;

/// The body as text. What decides, in this order: a byte order mark, the charset of `Content-Type`, what the document
/// itself declares (HTML, XML), whether it is UTF-8, and at last its looks; JSON is UTF-8.
///
/// Bytes that are malformed in that charset become U+FFFD. `host` is where it comes from: its country is a hint.
pub(super) fn text(headers: &HeaderMap, body: &Bytes, host: Option<&str>) -> Result<String> {
    let encoding = match named(headers, body)? {
        Some(encoding) => encoding,
        None => declared(headers, body).unwrap_or_else(|| detected(headers, body, host)),
    };
    let (text, _, _) = encoding.decode(body);
    Ok(text.into_owned())
}

/// The charset that a byte order mark or the header names.
///
/// # Errors
/// `Decode` for a name that is not known.
pub(super) fn named(headers: &HeaderMap, start: &[u8]) -> Result<Option<&'static Encoding>> {
    // A byte order mark is looked at first, whatever the label says; without it an unknown label is a guess.
    if let Some((encoding, _)) = Encoding::for_bom(start) {
        return Ok(Some(encoding));
    }
    let Some(label) = charset(headers) else { return Ok(None) };
    Encoding::for_label(label.as_bytes()).map(Some).ok_or_else(|| {
        let label: String = label.chars().take(40).collect();
        let message = format!("the charset `{}` is not known; bytes() gives the body", label.escape_default());
        Error::new(ErrorKind::Decode, message)
    })
}

/// The charset that a document declares: `<meta charset>` and the like in HTML, `<?xml encoding?>` in XML.
fn declared(headers: &HeaderMap, body: &[u8]) -> Option<&'static Encoding> {
    let media_type = media_type(headers);
    let start = body.get(..PRESCAN).unwrap_or(body);
    let is_xml = media_type.ends_with("xml") || media_type.is_empty() && start.starts_with(b"<?xml");
    let is_html = media_type.is_empty() || media_type == "text/html" || media_type == "application/xhtml+xml";
    let label = is_xml.then(|| xml_declaration(start)).flatten();
    let label = label.or_else(|| is_html.then(|| html_meta(start)).flatten())?;
    match Encoding::for_label(&label)? {
        // A declaration that could be read in ASCII is in neither (HTML, 13.2.3.2).
        encoding if encoding == UTF_16BE || encoding == UTF_16LE => Some(UTF_8),
        encoding if encoding.name() == "x-user-defined" => Some(WINDOWS_1252),
        encoding => Some(encoding),
    }
}

fn detected(headers: &HeaderMap, body: &[u8], host: Option<&str>) -> &'static Encoding {
    let media_type = media_type(headers);
    let sample = body.get(..SAMPLE).unwrap_or(body);
    // JSON is UTF-8 (RFC 8259, 8.1); a character that the sample cuts in two is no mistake.
    let is_utf8 = str::from_utf8(sample).map_or_else(|error| error.error_len().is_none(), |_| true);
    if is_utf8 || media_type.ends_with("json") {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(sample, sample.len() == body.len());
    let country = host.and_then(|host| host.rsplit('.').next()).map(str::to_ascii_lowercase);
    let country = country.filter(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_lowercase()));
    detector.guess(country.as_ref().map(String::as_bytes), Utf8Detection::Allow)
}

/// The type and subtype of `Content-Type`, in lower case; empty without one.
fn media_type(headers: &HeaderMap) -> String {
    let field = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default();
    field.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn xml_declaration(start: &[u8]) -> Option<Vec<u8>> {
    let rest = start.strip_prefix(b"<?xml")?;
    let declaration = rest.get(..find(rest, b"?>")?)?;
    attribute(declaration, b"encoding")
}

/// The charset of the first `<meta>` that names one; those in comments do not count.
fn html_meta(mut rest: &[u8]) -> Option<Vec<u8>> {
    loop {
        rest = rest.get(rest.iter().position(|byte| *byte == b'<')?..)?;
        if rest.starts_with(b"<!--") {
            rest = rest.get(find(rest, b"-->")?..)?;
            continue;
        }
        let tag = rest.get(..rest.iter().position(|byte| *byte == b'>').unwrap_or(rest.len()))?;
        let is_meta = tag.get(1..5).is_some_and(|name| name.eq_ignore_ascii_case(b"meta"))
            && tag.get(5).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'/');
        if is_meta && let Some(label) = attribute(tag, b"charset") {
            return Some(label);
        }
        rest = rest.get(1..)?;
    }
}

/// The value behind `name=`, quoted or not. In the `content` of a `<meta>` the charset stands the same way.
fn attribute(tag: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut rest = tag;
    loop {
        let at = rest.windows(name.len()).position(|part| part.eq_ignore_ascii_case(name))?;
        rest = rest.get(at + name.len()..)?.trim_ascii_start();
        let Some(value) = rest.strip_prefix(b"=") else { continue };
        let value = value.trim_ascii_start();
        let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value).trim_ascii_start();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'>;/".contains(byte);
        let end = value.iter().position(ends).unwrap_or(value.len());
        return value.get(..end).filter(|value| !value.is_empty()).map(<[u8]>::to_vec);
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

/// What a text looks like around a place, given as line and column from 1 on: its punctuation and short words.
///
/// Text in quotes and longer words are left out, as they may be credentials.
pub(super) fn excerpt(text: &str, line: usize, column: usize) -> String {
    const BEFORE: usize = 40;
    const AFTER: usize = 20;
    const WORD_MAX: usize = 5;
    let line_start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (line_start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let (mut quoted, mut escaped) = (false, false);
    // From there on it is shown; the word that this cuts in two is one of those that are left out.
    let from = at.saturating_sub(10 * BEFORE);
    let mut shown =
        Shown { text: String::new(), word: if from > 0 { "-".repeat(WORD_MAX + 1) } else { String::new() } };
    // How much of what is shown stands before the place.
    let mut before = 0;
    for (offset, c) in text.char_indices() {
        if offset > at && (shown.text.chars().count() - before > AFTER || c == '\n') {
            break;
        }
        if offset == at {
            before = shown.text.chars().count();
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if offset < from => quoted = !quoted,
            _ if offset < from => {}
            '"' => {
                if quoted {
                    shown.word.clear();
                    shown.text.push('…');
                }
                quoted = !quoted;
                shown.flush(WORD_MAX);
                shown.text.push('"');
            }
            _ if quoted => {}
            c if c.is_whitespace() || "{}[]:,<>/=!?()&;".contains(c) => {
                shown.flush(WORD_MAX);
                shown.text.push(if c.is_whitespace() { ' ' } else { c });
            }
            c => shown.word.push(c),
        }
    }
    shown.flush(WORD_MAX);
    let skip = before.saturating_sub(BEFORE);
    shown.text.chars().skip(skip).take(BEFORE + AFTER).collect::<String>().trim().to_owned()
}

/// What an excerpt shows so far, and the word that it is in.
#[derive(Default)]
struct Shown {
    text: String,
    word: String,
}

impl Shown {
    fn flush(&mut self, word_max: usize) {
        let word = std::mem::take(&mut self.word);
        self.text.push_str(if word.chars().count() > word_max { "…" } else { &word });
    }
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
        text(&headers, &Bytes::copy_from_slice(body), None)
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
    fn a_page_may_declare_its_charset_itself() {
        for (content_type, body) in [
            ("text/html", &b"<html><head><meta charset=windows-1251><title>\xec\xe8\xf0"[..]),
            ("text/html", b"<!-- <meta charset=utf-8> --><META  http-equiv=Content-Type CONTENT='text/html; charset=windows-1251'>\xec\xe8\xf0"),
            ("application/xml", b"<?xml version='1.0' encoding='windows-1251'?><a>\xec\xe8\xf0"),
        ] {
            assert!(read(Some(content_type), body).unwrap().contains("мир"), "{content_type}");
        }
        // The header goes before it, and a page in ASCII that calls itself UTF-16 is not.
        let page = b"<meta charset=windows-1251>gr\xc3\xbcn";
        assert!(read(Some("text/html; charset=utf-8"), page).unwrap().contains("grün"));
        assert!(read(Some("text/html"), b"<meta charset=utf-16>gr\xc3\xbcn").unwrap().contains("grün"));
    }

    #[test]
    fn without_any_name_its_looks_decide() {
        assert_eq!(read(Some("text/plain"), b"d\xe9j\xe0 vu, un caf\xe9 cr\xe8me").unwrap(), "déjà vu, un café crème");
        let (shift_jis, _, _) = encoding_rs::SHIFT_JIS.encode("これは日本語の文章です。とても長いです。");
        assert_eq!(read(Some("text/plain"), &shift_jis).unwrap(), "これは日本語の文章です。とても長いです。");
        let (koi8, _, _) = encoding_rs::KOI8_R.encode("Это русский текст, и он довольно длинный");
        let body = Bytes::copy_from_slice(&koi8);
        assert!(text(&HeaderMap::new(), &body, Some("www.example.ru")).unwrap().starts_with("Это русский"));
        for host in ["", "127.0.0.1", "EXAMPLE.RU", "[::1]", "bücher.рф"] {
            text(&HeaderMap::new(), &body, Some(host)).unwrap();
        }
    }

    #[test]
    fn an_excerpt_shows_the_place_and_no_credential() {
        assert_eq!(excerpt(r#"{"token": "hunter22", "n": tru}"#, 1, 31), r#"{"…": "…", "…": tru}"#);
        assert_eq!(excerpt("{\n  \"a\": 1,\n  \"b\": }", 3, 8), r#"{   "…": 1,   "…": }"#);
        assert_eq!(excerpt("<html><body>sesame-open-12", 1, 1), "<html><body>…");
        assert_eq!(excerpt("access_token=gho_16C7e42F292c69&scope=repo", 1, 1), "…=…&scope=repo");
        assert_eq!(excerpt("", 1, 1), "");
        assert_eq!(excerpt("grün", 9, 99), "grün");
    }

    #[test]
    fn an_unknown_charset_is_an_error_and_not_a_guess() {
        assert_eq!(read(Some("text/plain; charset=utf-32"), b"abc").unwrap_err().kind(), ErrorKind::Decode);
    }
}
