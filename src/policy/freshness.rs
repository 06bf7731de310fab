//! How old a stored response is and how long it is fresh (RFC 9111, 4.2).

use super::{
    cache_control::{ResponseControl, delta_seconds},
    storable::is_heuristically_cacheable,
    vary::Vary,
};
use crate::entry::StoredResponse;
use http::{HeaderMap, HeaderName, header};
use std::time::{Duration, SystemTime};

/// 4.2.2: "If the response has a Last-Modified header field, caches are encouraged to use a heuristic expiration value
/// that is no more than some fraction of the interval since that time. A typical setting of this fraction might be
/// 10%."
const HEURISTIC_FRACTION: u32 = 10;

/// No guess is longer than this, as in browsers.
const HEURISTIC_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What the headers of a response say to a cache, parsed once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    pub(crate) control: ResponseControl,
    pub(crate) vary: Vary,
    expires: Expires,
    date: Option<SystemTime>,
    age: Duration,
    last_modified: Option<SystemTime>,
    pub(crate) has_validator: bool,
}

/// What the `Expires` field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expires {
    /// There is none.
    #[default]
    Unsaid,
    At(SystemTime),
    /// 5.3: "A cache recipient MUST interpret invalid date formats, especially the value '0', as representing a time in
    /// the past (i.e., 'already expired')."
    Past,
}

impl Facts {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let date = |name: HeaderName| headers.get(name).and_then(|value| http_date(value.as_bytes()));
        let expires = match date(header::EXPIRES) {
            Some(date) => Expires::At(date),
            None if headers.contains_key(header::EXPIRES) => Expires::Past,
            None => Expires::Unsaid,
        };
        Self {
            control: ResponseControl::of(headers),
            vary: Vary::of(headers),
            expires,
            date: date(header::DATE),
            age: age_field(headers),
            last_modified: date(header::LAST_MODIFIED),
            has_validator: headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED),
        }
    }

    /// Whether the origin says until when the response is fresh.
    pub(crate) fn is_explicit(&self, shared: bool) -> bool {
        self.control.max_age.is_some() || self.expires != Expires::Unsaid || shared && self.control.s_maxage.is_some()
    }

    /// How long the response is fresh by what the origin says; `None` if it says nothing.
    ///
    /// 4.2.1: "If the cache is shared and the s-maxage response directive is present, use its value, or if the max-age
    /// response directive is present, use its value, or if the Expires response header field is present, use its value
    /// minus the value of the Date response header field".
    pub(crate) fn lifetime(&self, shared: bool, received: SystemTime) -> Option<Duration> {
        let control = &self.control;
        if let Some(lifetime) = control.s_maxage.filter(|_| shared).or(control.max_age) {
            return Some(lifetime);
        }
        match self.expires {
            Expires::Unsaid => None,
            Expires::At(expires) => Some(expires.duration_since(self.date_value(received)).unwrap_or_default()),
            Expires::Past => Some(Duration::ZERO),
        }
    }

    /// How long the response is taken for fresh where the origin does not say.
    ///
    /// 4.2.2: "A cache MUST NOT use heuristics to determine freshness when an explicit expiration time is present in
    /// the stored response. [..] heuristics can only be used on responses without explicit freshness whose status codes
    /// are defined as heuristically cacheable [..] and those responses without explicit freshness that have been marked
    /// as explicitly cacheable (e.g., with a public response directive)."
    pub(crate) fn heuristic(&self, status: u16, received: SystemTime) -> Duration {
        if !is_heuristically_cacheable(status) && !self.control.public {
            return Duration::ZERO;
        }
        let unchanged = self.last_modified.and_then(|last| self.date_value(received).duration_since(last).ok());
        (unchanged.unwrap_or_default() / HEURISTIC_FRACTION).min(HEURISTIC_MAX)
    }

    /// How old the response was when it was received, `delay` after it was asked for.
    ///
    /// 4.2.3: "`apparent_age = max(0, response_time - date_value); response_delay = response_time - request_time;
    /// corrected_age_value = age_value + response_delay; corrected_initial_age = max(apparent_age,
    /// corrected_age_value)`".
    pub(crate) fn initial_age(&self, received: SystemTime, delay: Duration) -> Duration {
        let apparent = received.duration_since(self.date_value(received)).unwrap_or_default();
        apparent.max(self.age.saturating_add(delay))
    }

    /// RFC 9110, 6.6.1: "A recipient with a clock that receives a response message without a Date header field MUST
    /// record the time it was received".
    pub(crate) fn date_value(&self, received: SystemTime) -> SystemTime {
        self.date.unwrap_or(received)
    }

    pub(crate) fn last_modified(&self) -> Option<SystemTime> {
        self.last_modified
    }

    /// The memory that it takes beyond itself.
    pub(crate) fn memory(&self) -> usize {
        (self.control.no_cache_fields.capacity() + self.vary.names().len()) * size_of::<HeaderName>()
    }
}

/// A stored response with what its headers say, as it is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<'a> {
    pub(crate) response: &'a StoredResponse,
    pub(crate) facts: &'a Facts,
    /// Whether it was invalidated since it was stored (4.4).
    pub(crate) invalid: bool,
}

impl Held<'_> {
    /// When the response was made, on this clock: its age is what has passed since.
    pub(crate) fn born(&self) -> SystemTime {
        let received = self.received();
        received.checked_sub(self.facts.initial_age(received, self.delay())).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// 4.2.3: "`resident_time = now - response_time; current_age = corrected_initial_age + resident_time`".
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.born()).unwrap_or_default()
    }

    /// The time since which the headers count.
    pub(crate) fn received(&self) -> SystemTime {
        self.response.validated.unwrap_or(self.response.created)
    }

    /// How long the headers were on their way. A validation is dated by when it was asked for: the delay is in that.
    pub(crate) fn delay(&self) -> Duration {
        if self.response.validated.is_some() { Duration::ZERO } else { self.response.elapsed }
    }
}

/// 5.1: "Age = delta-seconds"; "a cache [..] SHOULD use the first value and ignore the others [if there are several,
/// and] if the field value is invalid (e.g., contains something other than a non-negative integer), a cache SHOULD
/// ignore the field."
fn age_field(headers: &HeaderMap) -> Duration {
    let first = headers.get(header::AGE).and_then(|value| value.as_bytes().split(|&byte| byte == b',').next());
    first.and_then(|first| delta_seconds(first.trim_ascii())).unwrap_or_default()
}

/// A date in one of the three forms of RFC 9110, 5.6.7; `None` for anything else.
///
/// 4.2: "Although all date formats are specified to be case-sensitive, a cache recipient SHOULD match the field value
/// case-insensitively."
pub(crate) fn http_date(value: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(value).ok()?;
    httpdate::parse_http_date(text).or_else(|_| httpdate::parse_http_date(&in_case_of_dates(text))).ok()
}

/// Each word with a capital in front, and the time zone in capitals, as dates are written.
fn in_case_of_dates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        let starts = !out.ends_with(|before: char| before.is_ascii_alphabetic());
        out.push(if starts { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() });
    }
    if let Some(rest) = out.strip_suffix("Gmt").map(str::len) {
        out.replace_range(rest.., "GMT");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::time::UNIX_EPOCH;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE_SECONDS: u64 = 784_111_777;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn facts(lines: &[(&'static str, &str)]) -> Facts {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        Facts::of(&lines.iter().map(line).collect())
    }

    fn lifetime(lines: &[(&'static str, &str)]) -> Option<u64> {
        facts(lines).lifetime(false, at(DATE_SECONDS)).map(|lifetime| lifetime.as_secs())
    }

    #[test]
    fn the_lifetime_is_that_of_the_first_of_max_age_and_expires() {
        for (lines, want) in [
            (&[("cache-control", "max-age=60")][..], Some(60)),
            (&[("cache-control", "max-age=60"), ("expires", DATE)], Some(60)),
            (&[("cache-control", "max-age=0"), ("expires", "Sun, 06 Nov 2044 08:49:37 GMT")], Some(0)),
            (&[("cache-control", "s-maxage=60")], None),
            (&[("date", DATE), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60)),
            (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60)),
            (&[("date", "x"), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60)),
            (&[("date", "Sun, 06 Nov 1994 08:50:27 GMT"), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(10)),
            (&[("date", DATE), ("expires", DATE)], Some(0)),
            (&[("date", DATE), ("expires", "Sun, 06 Nov 1994 08:49:36 GMT")], Some(0)),
            (&[("cache-control", "public")], None),
            (&[], None),
        ] {
            assert_eq!(lifetime(lines), want, "{lines:?}");
        }
    }

    #[test]
    fn in_a_shared_cache_s_maxage_goes_before_max_age() {
        let both = facts(&[("cache-control", "max-age=60, s-maxage=5")]);
        assert_eq!(both.lifetime(true, at(0)), Some(Duration::from_secs(5)));
        assert_eq!(both.lifetime(false, at(0)), Some(Duration::from_secs(60)));
        let alone = facts(&[("cache-control", "s-maxage=x")]);
        assert!(alone.is_explicit(true) && !alone.is_explicit(false));
        assert_eq!(alone.lifetime(true, at(0)), Some(Duration::ZERO));
    }

    #[test]
    fn dates_have_three_forms_and_everything_else_is_expired() {
        for (expires, want) in [
            ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
            ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
            ("Sun Nov  6 08:50:37 1994", 60),
            ("0", 0),
            ("-1", 0),
            ("", 0),
            ("never", 0),
            ("\u{e9}", 0),
            ("Sun, 06 Nov 2044 08:50:37 UTC", 0),
            ("Sun, 06 Nov 2044 08:50:37 +0100", 0),
            ("Sun, 06 Nov 2044 08:50:37", 0),
            ("SUN, 06 Nov 1994 08:50:37 GMT", 60),
            ("Sun, 06 NOV 1994 08:50:37 gmt", 60),
            ("sunday, 06-nov-94 08:50:37 gMT", 60),
            ("sun nov  6 08:50:37 1994", 60),
            ("SUN, 06 NOV 2044 08:50:37 UTC", 0),
            ("Sun, 6 Nov 2044 08:50:37 GMT", 0),
            ("Sun, 06 Nov 2044 8:50:37 GMT", 0),
            ("Sun 06 Nov 2044 08:50:37 GMT", 0),
            ("Sun, 06-Nov-2044 08:50:37 GMT", 0),
            ("Sun, 06 Nov 2044 08.50.37 GMT", 0),
            ("Sun,  06 Nov 2044 08:50:37 GMT", 0),
            ("Sun, 31 Feb 2044 08:50:37 GMT", 0),
            ("Sun, 06 Nov 2044 24:50:37 GMT", 0),
            ("9999999999", 0),
        ] {
            assert_eq!(lifetime(&[("date", DATE), ("expires", expires)]), Some(want), "{expires}");
        }
    }

    #[test]
    fn the_age_at_receipt_is_the_larger_of_what_date_and_age_say() {
        let age = |lines: &[(&'static str, &str)], received, delay| {
            facts(lines).initial_age(at(received), Duration::from_secs(delay)).as_secs()
        };
        let now = DATE_SECONDS;
        for (lines, received, delay, want) in [
            (&[][..], now, 0, 0),
            (&[], now, 3, 3),
            (&[("date", DATE)], now, 0, 0),
            (&[("date", DATE)], now + 10, 0, 10),
            (&[("date", DATE)], now + 10, 3, 10),
            // The origin's clock is ahead.
            (&[("date", DATE)], now - 10, 0, 0),
            (&[("date", DATE), ("age", "20")], now + 10, 0, 20),
            (&[("date", DATE), ("age", "20")], now + 10, 3, 23),
            (&[("date", DATE), ("age", "20")], now + 100, 3, 100),
            (&[("age", "5, 7")], now, 0, 5),
            (&[("age", "5"), ("age", "7")], now, 0, 5),
            (&[("age", "007")], now, 0, 7),
            (&[("age", "-5")], now, 0, 0),
            (&[("age", "5.5")], now, 0, 0),
            (&[("age", "x")], now, 0, 0),
            (&[("age", "5;a=b")], now, 0, 0),
            (&[("age", "9999999999999999999999")], now, 0, 1 << 31),
        ] {
            assert_eq!(age(lines, received, delay), want, "{lines:?} {received} {delay}");
        }
    }

    #[test]
    fn heuristics_take_a_tenth_of_the_time_since_the_last_change() {
        let day = 86_400;
        for (status, lines, want) in [
            (200, &[("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT")][..], 100),
            (404, &[("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT")], 100),
            (200, &[("last-modified", "Sat, 06 Nov 1993 08:32:57 GMT")], 7 * day),
            (200, &[("last-modified", "Mon, 07 Nov 1994 08:32:57 GMT")], 0),
            (200, &[("last-modified", "x")], 0),
            (200, &[("etag", "\"1\"")], 0),
            (302, &[("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT")], 0),
            (302, &[("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT"), ("cache-control", "public")], 100),
        ] {
            let heuristic = facts(lines).heuristic(status, at(DATE_SECONDS));
            assert_eq!(heuristic, Duration::from_secs(want), "{status} {lines:?}");
        }
    }
}
