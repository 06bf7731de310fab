//! Trying again what failed.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Method, header::RETRY_AFTER};

use crate::{Error, ErrorKind};

/// When a request is sent again, how often and after how long. Made from a number as well.
///
/// A request is sent again if no answer came (the connection could not be made, broke or took too long), or if the
/// status is one of [`statuses`](Self::statuses). Only methods that may be repeated are (GET, HEAD, OPTIONS, TRACE,
/// PUT, DELETE), unless [`any_method`](Self::any_method) says so, and no body that came from a reader. When all is in
/// vain, the last answer or error is the one that counts.
///
/// The wait before the n-th retry is `backoff` times 2 to the power of n - 1, or what `Retry-After` asks for if that is
/// longer, at most [`wait_max`](Self::wait_max). No wait goes beyond the total time-out of the request: then it is not
/// sent again.
///
/// ```
/// use larder::{Backend, CachedSession, Retries};
/// use std::time::Duration;
///
/// # fn main() -> larder::Result<()> {
/// let session = CachedSession::builder("cache")
///     .backend(Backend::Memory)
///     .retries(Retries::new(3).backoff(Duration::from_millis(200)).statuses([502, 503, 504]))
///     .timeout(Duration::from_secs(30))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Retries {
    times: u32,
    backoff: Duration,
    wait_max: Duration,
    statuses: BTreeSet<u16>,
    any_method: bool,
}

impl Retries {
    /// At most this many times after the first, 100 ms after it, for failed connections alone.
    pub fn new(times: u32) -> Self {
        Self {
            times,
            backoff: Duration::from_millis(100),
            wait_max: Duration::from_secs(120),
            statuses: BTreeSet::new(),
            any_method: false,
        }
    }

    /// The wait before the first retry, which doubles with each; 100 ms unless set.
    pub fn backoff(self, backoff: Duration) -> Self {
        Self { backoff, ..self }
    }

    /// The longest wait, also where `Retry-After` asks for more; two minutes unless set.
    pub fn wait_max(self, wait_max: Duration) -> Self {
        Self { wait_max, ..self }
    }

    /// The status codes that are no answer yet, such as 429, 502, 503 and 504; none unless set.
    pub fn statuses(self, statuses: impl IntoIterator<Item = u16>) -> Self {
        Self { statuses: statuses.into_iter().collect(), ..self }
    }

    /// Sends requests of every method again, POST too. Off unless set: the server may have done already what it was
    /// asked to do, although its answer did not come.
    pub fn any_method(self, any_method: bool) -> Self {
        Self { any_method, ..self }
    }

    /// How long to wait before another try; `None` if there is none. `tried` counts those that failed.
    pub(super) fn wait(&self, tried: u32, method: &Method, failed: &Failed<'_>, now: SystemTime) -> Option<Duration> {
        let repeatable = self.any_method || method.is_idempotent();
        if tried > self.times || !repeatable {
            return None;
        }
        let asked = match failed {
            Failed::Error(error) => {
                let may_pass = matches!(error.kind(), ErrorKind::Network | ErrorKind::Timeout);
                return may_pass.then(|| self.grown(tried).min(self.wait_max));
            }
            Failed::Status(status, headers) => self.statuses.contains(status).then(|| retry_after(headers, now))?,
        };
        Some(self.grown(tried).max(asked.unwrap_or_default()).min(self.wait_max))
    }

    fn grown(&self, tried: u32) -> Duration {
        self.backoff.saturating_mul(1_u32.checked_shl(tried.saturating_sub(1)).unwrap_or(u32::MAX))
    }
}

impl From<u32> for Retries {
    fn from(times: u32) -> Self {
        Self::new(times)
    }
}

/// What a try came to.
pub(super) enum Failed<'a> {
    Error(&'a Error),
    Status(u16, &'a HeaderMap),
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::time::UNIX_EPOCH;

    #[expect(clippy::unnecessary_wraps, reason = "what it is compared with may be none")]
    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    #[test]
    fn waits_double_up_to_their_limit() {
        let retries = Retries::new(40).wait_max(Duration::from_secs(1));
        let error = Error::new(ErrorKind::Network, "x");
        let wait = |tried| retries.wait(tried, &Method::GET, &Failed::Error(&error), UNIX_EPOCH);
        assert_eq!([1, 2, 3, 4, 5, 40, 41].map(wait), [ms(100), ms(200), ms(400), ms(800), ms(1000), ms(1000), None]);
    }

    #[test]
    fn only_what_may_pass_and_may_be_repeated_is_tried_again() {
        let retries = Retries::new(1).statuses([503]);
        let none = HeaderMap::new();
        let errors = [ErrorKind::Network, ErrorKind::Timeout, ErrorKind::Tls, ErrorKind::InvalidInput]
            .map(|kind| Error::new(kind, "x"));
        let again = |retries: &Retries, method: Method, failed: &Failed<'_>| {
            retries.wait(1, &method, failed, UNIX_EPOCH).is_some()
        };
        let told = [0, 1, 2, 3].map(|n| again(&retries, Method::GET, &Failed::Error(&errors[n])));
        assert_eq!(told, [true, true, false, false]);
        assert!(again(&retries, Method::PUT, &Failed::Status(503, &none)));
        assert!(!again(&retries, Method::PUT, &Failed::Status(500, &none)));
        assert!(!again(&retries, Method::POST, &Failed::Status(503, &none)));
        assert!(again(&retries.clone().any_method(true), Method::POST, &Failed::Status(503, &none)));
        assert!(!again(&Retries::from(0), Method::GET, &Failed::Error(&errors[0])));
    }

    #[test]
    fn the_server_may_ask_for_more() {
        let retries = Retries::new(1).statuses([429]).wait_max(Duration::from_secs(10));
        for (value, want) in [
            ("3", ms(3000)),
            ("0", ms(100)),
            ("99999999999", ms(10_000)),
            ("soon", ms(100)),
            ("Thu, 01 Jan 1970 00:00:07 GMT", ms(7000)),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retries.wait(1, &Method::GET, &Failed::Status(429, &headers), UNIX_EPOCH), want, "{value}");
        }
    }
}
