//! The headers of a stored response that is used again.

use std::{sync::OnceLock, time::SystemTime};

use http::{HeaderMap, HeaderName, header::AGE};

use crate::policy::freshness::Held;

/// What changes of the headers of a stored response that is used without validation. They are copied when somebody
/// asks for them, as most callers want the body alone.
///
/// RFC 9111, 5.1: "When a stored response is used to satisfy a request without validation, a cache MUST generate an Age
/// header field, replacing any present in the response with a value equal to the stored response's `current_age`".
/// 5.2.2.4: a response with `no-cache="..."` is used "if and only if the listed header fields are excluded from the
/// subsequent response or the subsequent response has been successfully revalidated with the origin server".
#[derive(Clone)]
pub(super) struct Reused {
    age_seconds: u64,
    left_out: Vec<HeaderName>,
    made: OnceLock<HeaderMap>,
}

impl Reused {
    pub(super) fn new(held: &Held<'_>, now: SystemTime) -> Self {
        let left_out = held.facts.control.no_cache_fields.clone();
        Self { age_seconds: held.age(now).as_secs(), left_out, made: OnceLock::new() }
    }

    /// The headers, of those that are stored.
    pub(super) fn headers(&self, stored: &HeaderMap) -> &HeaderMap {
        self.made.get_or_init(|| self.apply(stored.clone()))
    }

    /// The same for whoever keeps them.
    pub(super) fn into_headers(mut self, stored: HeaderMap) -> HeaderMap {
        self.made.take().unwrap_or_else(|| self.apply(stored))
    }

    fn apply(&self, mut headers: HeaderMap) -> HeaderMap {
        headers.insert(AGE, self.age_seconds.into());
        for name in &self.left_out {
            headers.remove(name);
        }
        headers
    }
}
