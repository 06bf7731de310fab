//! The `Cache-Control` field of requests and responses (RFC 9111, 5.2), and `Pragma` (5.4).
//!
//! Every value is read, none is refused: what is unknown is ignored, and what is ill-formed means the least that the
//! origin can have wanted.

use http::{HeaderMap, HeaderName, header};
use std::{borrow::Cow, time::Duration};

/// RFC 9111, 1.2.2: "If a cache receives a delta-seconds value greater than the greatest integer it can represent, or
/// if any of its subsequent calculations overflows, the cache MUST consider the value to be 2147483648 (2^31) or the
/// greatest positive integer it can conveniently represent."
const SECONDS_MAX: u64 = 1 << 31;

/// What a response says about being stored and reused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "directives are there or not, independently")]
pub(crate) struct ResponseControl {
    pub(crate) max_age: Option<Duration>,
    pub(crate) s_maxage: Option<Duration>,
    /// Without a list of fields.
    pub(crate) no_cache: bool,
    /// The fields of a `no-cache` with a list.
    pub(crate) no_cache_fields: Vec<HeaderName>,
    pub(crate) no_store: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    /// RFC 8246.
    pub(crate) immutable: bool,
    /// RFC 5861, 3.
    pub(crate) stale_while_revalidate: Option<Duration>,
    /// RFC 5861, 4.
    pub(crate) stale_if_error: Option<Duration>,
}

/// What a request says about being answered from a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RequestControl {
    pub(crate) max_age: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    /// The staleness that is accepted; without a number any.
    pub(crate) max_stale: Option<Duration>,
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
    /// RFC 5861, 4.
    pub(crate) stale_if_error: Option<Duration>,
}

impl ResponseControl {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for directive in directives(headers) {
            match directive.name.as_ref() {
                "max-age" => first(&mut control.max_age, directive.seconds_or_zero()),
                "s-maxage" => first(&mut control.s_maxage, directive.seconds_or_zero()),
                // 5.2.2.4: "The qualified form [..] with an argument that lists one or more field names".
                "no-cache" => match directive.field_names() {
                    names if names.is_empty() => control.no_cache = true,
                    names => control.no_cache_fields.extend(names),
                },
                "no-store" => control.no_store = true,
                "must-revalidate" => control.must_revalidate = true,
                "proxy-revalidate" => control.proxy_revalidate = true,
                "must-understand" => control.must_understand = true,
                // 5.2.2.7: "The qualified form of the directive is often handled by caches as if an unqualified private
                // directive was received".
                "private" => control.private = true,
                "public" => control.public = true,
                "immutable" => control.immutable = true,
                "stale-while-revalidate" => first_if_any(&mut control.stale_while_revalidate, directive.seconds()),
                "stale-if-error" => first_if_any(&mut control.stale_if_error, directive.seconds()),
                _ => {}
            }
        }
        control
    }
}

impl RequestControl {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for directive in directives(headers) {
            match directive.name.as_ref() {
                "max-age" => first(&mut control.max_age, directive.seconds_or_zero()),
                // What cannot be read asks for more freshness than there can be, rather than for none.
                "min-fresh" => first(&mut control.min_fresh, directive.seconds().unwrap_or(Duration::MAX)),
                // 5.2.1.2: "If no value is assigned to max-stale, then the client is willing to accept a stale response
                // of any age."
                "max-stale" if directive.argument.is_none() => first(&mut control.max_stale, Duration::MAX),
                "max-stale" => first_if_any(&mut control.max_stale, directive.seconds()),
                "no-cache" => control.no_cache = true,
                "no-store" => control.no_store = true,
                "only-if-cached" => control.only_if_cached = true,
                "stale-if-error" => first_if_any(&mut control.stale_if_error, directive.seconds()),
                _ => {}
            }
        }
        control
    }

    /// RFC 7234, 5.4: "When the Cache-Control header field is not present in a request, caches MUST consider the
    /// no-cache request pragma-directive as having the same effect as if 'Cache-Control: no-cache' were present". RFC
    /// 9111 deprecates it and does not forbid it.
    pub(crate) fn with_pragma(mut self, headers: &HeaderMap) -> Self {
        if !headers.contains_key(header::CACHE_CONTROL) {
            self.no_cache |= elements_of(headers, &header::PRAGMA).any(|element| {
                element.split(|&byte| byte == b'=').next().is_some_and(|name| name.eq_ignore_ascii_case(b"no-cache"))
            });
        }
        self
    }
}

/// 4.2.1: "When there is more than one value present for a given directive [..], either the first occurrence should be
/// used or the response should be considered stale."
fn first(slot: &mut Option<Duration>, value: Duration) {
    slot.get_or_insert(value);
}

fn first_if_any(slot: &mut Option<Duration>, value: Option<Duration>) {
    if let Some(value) = value {
        slot.get_or_insert(value);
    }
}

struct Directive<'a> {
    /// In lower case: 5.2: "Cache directives are identified by a token, to be compared case-insensitively".
    name: Cow<'a, str>,
    argument: Option<Cow<'a, [u8]>>,
}

impl Directive<'_> {
    fn seconds(&self) -> Option<Duration> {
        delta_seconds(self.argument.as_deref()?)
    }

    /// 4.2.1: "Caches are encouraged to consider responses that have invalid freshness information (e.g., a max-age
    /// directive with non-integer content) to be stale."
    fn seconds_or_zero(&self) -> Duration {
        self.seconds().unwrap_or_default()
    }

    fn field_names(&self) -> Vec<HeaderName> {
        let list = self.argument.as_deref().unwrap_or_default();
        list.split(|&byte| byte == b',').filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
    }
}

/// 1.2.2: "delta-seconds = 1*DIGIT".
pub(crate) fn delta_seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = digits
        .iter()
        .fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(SECONDS_MAX));
    Some(Duration::from_secs(seconds))
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = Directive<'_>> {
    elements_of(headers, &header::CACHE_CONTROL).filter_map(|element| {
        let at = element.iter().position(|&byte| byte == b'=');
        let (name, argument) = match at {
            Some(at) => (&element[..at], Some(&element[at + 1..])),
            None => (element, None),
        };
        // White space beside the `=` makes the argument ill-formed and leaves the name what it is.
        let name = std::str::from_utf8(name.trim_ascii()).ok()?;
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        let spaced = at.is_some_and(|at| at > 0 && element[at - 1].is_ascii_whitespace());
        let argument = argument.map(|argument| if spaced { Cow::Borrowed(&b""[..]) } else { unquoted(argument) });
        Some(Directive { name, argument })
    })
}

/// 5.2: "For the directives defined below that define arguments, recipients ought to accept both forms [token and
/// quoted-string], even if a specific form is required for generation."
fn unquoted(argument: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(argument);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        out.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    Cow::Owned(out)
}

/// The elements of a field that is a comma-separated list, all its lines taken together, empty ones left out.
fn elements_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().flat_map(|line| elements(line.as_bytes())).filter(|element| !element.is_empty())
}

/// Splits at the commas outside of quoted strings; white space around each element goes.
///
/// A quote that is never closed is a byte like others, so that it does not swallow what follows. Behind it none is
/// closed either (a quote there is one that its string escaped, and reads on as that did), so that nothing is looked at
/// twice.
pub(super) fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut quotes_close) = (Some(line), true);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = end_of_element(text, &mut quotes_close);
        rest = text.get(end + 1..).filter(|_| end < text.len());
        Some(text[..end].trim_ascii())
    })
}

fn end_of_element(text: &[u8], quotes_close: &mut bool) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b',' => return at,
            b'"' if *quotes_close => match end_of_quoted(text, at + 1) {
                Some(end) => at = end + 1,
                None => *quotes_close = false,
            },
            _ => at += 1,
        }
    }
    text.len()
}

/// Where the quote is that closes the string which begins at `from`.
fn end_of_quoted(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn quotes_that_never_close_are_bytes_like_others_however_many_there_are() {
        let split = |text: &'static [u8]| elements(text).collect::<Vec<_>>();
        assert_eq!(split(br#"a="x, y", b"#), [&br#"a="x, y""#[..], b"b"]);
        assert_eq!(split(br#"a="x\"y, b", c"#), [&br#"a="x\"y, b""#[..], b"c"]);
        assert_eq!(split(br#"a="x\", b=\"y, c"#), [&br#"a="x\""#[..], br#"b=\"y"#, b"c"]);
        // If each of them looked for its end, this would never come to one.
        let hostile = [&b"\""[..], &br#"\","#.repeat(1_000_000)].concat();
        assert_eq!(elements(&hostile).count(), 1_000_001);
    }

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (header::CACHE_CONTROL, HeaderValue::from_bytes(line).unwrap())).collect()
    }

    fn response(line: &str) -> ResponseControl {
        ResponseControl::of(&headers(&[line.as_bytes()]))
    }

    fn request(line: &str) -> RequestControl {
        RequestControl::of(&headers(&[line.as_bytes()]))
    }

    #[test]
    fn the_seconds_of_max_age_are_read_and_what_is_none_is_zero() {
        for (line, want) in [
            ("max-age=60", Some(60)),
            ("MaX-aGe=60", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=\"6\\0\"", Some(60)),
            ("max-age=0060", Some(60)),
            ("public, max-age=60, must-revalidate", Some(60)),
            (", ,max-age=60,,", Some(60)),
            ("\tmax-age=60 \t", Some(60)),
            ("max-age=60, max-age=5", Some(60)),
            ("max-age=5, max-age=60", Some(5)),
            ("max-age=2147483648", Some(1 << 31)),
            ("max-age=99999999999999999999999999", Some(1 << 31)),
            ("a=b, max-age=60", Some(60)),
            ("a=\"b, c\", max-age=60", Some(60)),
            ("a=\"b\\\", c\", max-age=60", Some(60)),
            ("a=\"b, max-age=60", Some(60)),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age=+60", Some(0)),
            ("max-age=60.0", Some(0)),
            ("max-age=6 0", Some(0)),
            ("max-age=60s", Some(0)),
            ("max-age='60'", Some(0)),
            ("max-age =60", Some(0)),
            ("max-age= 60", Some(0)),
            ("max-age=\"60", Some(0)),
            ("max-age:60", None),
            ("a=\"max-age=60\"", None),
            ("a=\"b, max-age=60\"", None),
            ("s-max-age=60", None),
            ("max-ages=60", None),
            ("", None),
        ] {
            assert_eq!(response(line).max_age, want.map(Duration::from_secs), "{line}");
        }
    }

    #[test]
    fn directives_without_argument_count_whatever_their_case_and_argument() {
        let all = response(
            "No-Store, MUST-REVALIDATE, proxy-revalidate, must-understand, private=\"x\", public=1, immutable=\"\"",
        );
        assert!(all.no_store && all.must_revalidate && all.proxy_revalidate && all.must_understand);
        assert!(all.private && all.public && all.immutable);
        assert_eq!(response("no-stores, xno-store, no store"), ResponseControl::default());
    }

    #[test]
    fn lines_are_one_list() {
        let control = ResponseControl::of(&headers(&[b"max-age=60", b"no-store", b"\xff\xfe, max-age=5, immutable"]));
        assert_eq!(control.max_age, Some(Duration::from_secs(60)));
        assert!(control.no_store && control.immutable);
    }

    #[test]
    fn no_cache_with_a_list_names_fields() {
        let names = |line| response(line).no_cache_fields.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (line, unqualified, fields) in [
            ("no-cache", true, vec![]),
            ("no-cache=\"\"", true, vec![]),
            ("no-cache=", true, vec![]),
            ("no-cache=\"Set-Cookie\"", false, vec!["set-cookie"]),
            ("no-cache=\"a, B ,,c\"", false, vec!["a", "b", "c"]),
            ("no-cache=a", false, vec!["a"]),
            ("no-cache=\"a\", no-cache", true, vec!["a"]),
        ] {
            assert_eq!(
                (response(line).no_cache, names(line)),
                (unqualified, fields.iter().map(ToString::to_string).collect()),
                "{line}"
            );
        }
    }

    #[test]
    fn what_a_request_asks_for_is_read() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(request("max-age=0").max_age, seconds(0));
        assert_eq!(request("max-age=x").max_age, seconds(0));
        assert_eq!(request("min-fresh=5").min_fresh, seconds(5));
        assert_eq!(request("min-fresh=x").min_fresh, Some(Duration::MAX));
        assert_eq!(request("max-stale").max_stale, Some(Duration::MAX));
        assert_eq!(request("max-stale=5").max_stale, seconds(5));
        assert_eq!(request("max-stale=x").max_stale, None);
        assert_eq!(request("stale-if-error=5").stale_if_error, seconds(5));
        let all = request("no-cache, no-store, only-if-cached");
        assert!(all.no_cache && all.no_store && all.only_if_cached);
    }

    #[test]
    fn pragma_counts_where_cache_control_is_absent() {
        let pragma = |lines: &[(&'static str, &'static str)]| {
            let headers: HeaderMap =
                lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
            RequestControl::of(&headers).with_pragma(&headers).no_cache
        };
        assert!(pragma(&[("pragma", "no-cache")]));
        assert!(pragma(&[("pragma", "x, No-Cache")]));
        assert!(!pragma(&[("pragma", "x")]));
        assert!(!pragma(&[("pragma", "no-cache"), ("cache-control", "max-age=60")]));
    }

    #[test]
    fn stale_windows_are_read_and_what_is_none_opens_none() {
        let control = response("stale-while-revalidate=5, stale-if-error=\"7\"");
        assert_eq!(control.stale_while_revalidate, Some(Duration::from_secs(5)));
        assert_eq!(control.stale_if_error, Some(Duration::from_secs(7)));
        let control = response("stale-while-revalidate=x, stale-if-error");
        assert_eq!((control.stale_while_revalidate, control.stale_if_error), (None, None));
    }
}
