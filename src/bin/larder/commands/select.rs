//! Which responses of a cache are meant.

use crate::{args::Filter, failure::Failure};
use larder::{CacheHead, UrlPattern};
use std::time::SystemTime;

/// A choice of responses.
pub(crate) struct Select<'a> {
    pattern: Option<UrlPattern>,
    filter: &'a Filter,
    now: SystemTime,
}

impl<'a> Select<'a> {
    pub(crate) fn new(pattern: Option<&str>, filter: &'a Filter) -> Result<Self, Failure> {
        let pattern = pattern.map(UrlPattern::new).transpose()?;
        Ok(Self { pattern, filter, now: SystemTime::now() })
    }

    pub(crate) fn takes(&self, head: &CacheHead) -> bool {
        let (response, filter) = (&head.response, self.filter);
        let expired = response.is_expired(self.now);
        let old_enough = filter
            .older_than
            .is_none_or(|span| self.now.duration_since(response.created_at()).is_ok_and(|age| age > span));
        old_enough
            && (!filter.expired || expired)
            && (!filter.fresh || !expired)
            && (filter.status.is_empty() || filter.status.contains(&response.status().as_u16()))
            && filter.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(response.request().method()))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(response.url()))
    }
}

/// The host and port of a URL.
pub(crate) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]
}
