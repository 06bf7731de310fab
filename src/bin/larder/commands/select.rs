//! Which responses of a cache are meant.

use crate::{args::Filter, failure::Failure};
use globset::{GlobBuilder, GlobMatcher};
use larder::CacheHead;
use std::time::SystemTime;

/// A choice of responses.
pub(crate) struct Select<'a> {
    pattern: Option<Pattern>,
    filter: &'a Filter,
    now: SystemTime,
}

/// A pattern of URLs, or of hosts if there is no slash in it.
pub(crate) struct Pattern {
    glob: GlobMatcher,
    host_only: bool,
}

impl<'a> Select<'a> {
    pub(crate) fn new(pattern: Option<&str>, filter: &'a Filter) -> Result<Self, Failure> {
        let pattern = pattern.map(Pattern::new).transpose()?;
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
            && self.pattern.as_ref().is_none_or(|pattern| pattern.fits(response.url()))
    }
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self, Failure> {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| Failure::Usage(format!("not a pattern: {error}")))?;
        Ok(Self { glob: glob.compile_matcher(), host_only: !text.contains('/') && !text.contains("**") })
    }

    pub(crate) fn fits(&self, url: &str) -> bool {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        self.glob.is_match(if self.host_only { host(rest) } else { rest })
    }
}

/// The host and port of a URL without its scheme.
fn host(rest: &str) -> &str {
    &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]
}

/// The host and port of a URL.
pub(crate) fn host_of(url: &str) -> &str {
    host(url.split_once("://").map_or(url, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_of_the_host_or_of_the_whole_url() {
        for (pattern, url, fits) in [
            ("*.example.com", "http://api.example.com/v1?x", true),
            ("example.com", "https://example.com/a", true),
            ("example.com", "https://example.com:81/a", false),
            ("*.example.com/**", "http://api.example.com/v1/users", true),
            ("*.example.com/*", "http://api.example.com/v1/users", false),
            ("https://example.com/a*", "http://example.com/abc", true),
            ("**", "http://x.org/a/b", true),
            ("*", "http://x.org/a/b", true),
        ] {
            assert_eq!(Pattern::new(pattern).ok().is_some_and(|pattern| pattern.fits(url)), fits, "{pattern} {url}");
        }
        assert!(Pattern::new("[").is_err());
    }
}
