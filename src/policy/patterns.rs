//! Which expiry a URL has: the first pattern that it matches.

use super::expire::Expire;
use crate::{Error, ErrorKind, Result};
use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

/// A pattern with this before it is a regular expression.
const REGEX: &str = "regex:";

/// Patterns of URLs, each with the expiry of what matches it; the first match counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct UrlExpiry(Vec<(Pattern, Expire)>);

#[derive(Debug, Clone)]
enum Pattern {
    /// Of the URL behind its scheme, and of the scheme if the pattern names one.
    Glob { scheme: Option<String>, rest: GlobMatcher },
    /// Of any part of the URL.
    Regex(Regex),
}

impl UrlExpiry {
    /// Adds a pattern behind the others.
    ///
    /// # Errors
    /// `InvalidInput` if it is neither a glob nor, behind `regex:`, a regular expression.
    pub(crate) fn push(&mut self, pattern: &str, expire: Expire) -> Result<()> {
        self.0.push((Pattern::new(pattern)?, expire));
        Ok(())
    }

    pub(crate) fn of(&self, url: &str) -> Option<Expire> {
        self.0.iter().find(|(pattern, _)| pattern.matches(url)).map(|(_, expire)| *expire)
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self> {
        let invalid = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::InvalidInput, format!("urls_expire_after: `{}`: {error}", text.escape_debug()))
        };
        if let Some(regex) = text.strip_prefix(REGEX) {
            return Regex::new(regex).map(Self::Regex).map_err(|error| invalid(&error));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()).filter(|scheme| scheme != "*"), rest),
            None => (None, text),
        };
        // A host has no case; what follows it has.
        let host_len = rest.find('/').unwrap_or(rest.len());
        // A star matches slashes too, so two of them are one; what a pattern begins, it matches to the end.
        let mut glob = rest[..host_len].to_ascii_lowercase();
        glob.push_str(&rest[host_len..]);
        glob.push('*');
        while glob.contains("**") {
            glob = glob.replace("**", "*");
        }
        let built = GlobBuilder::new(&glob).literal_separator(false).backslash_escape(true).build();
        built.map(|glob| Self::Glob { scheme, rest: glob.compile_matcher() }).map_err(|error| invalid(&error.kind()))
    }

    fn matches(&self, url: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(url),
            Self::Glob { scheme, rest } => {
                let (own, behind) = url.split_once("://").unwrap_or_default();
                scheme.as_ref().is_none_or(|scheme| scheme == own) && rest.is_match(behind)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_urls_that_they_name() {
        for (pattern, url, want) in [
            ("example.com", "https://example.com/", true),
            ("example.com", "https://example.com/a?b=c", true),
            ("EXAMPLE.com/", "https://example.com/a", true),
            ("example.com/a", "https://example.com/A", false),
            ("example.com", "https://www.example.com/", false),
            ("*.example.com", "https://www.example.com/a/b", true),
            ("*.example.com", "https://example.com/", false),
            ("*.example.com/static/**", "http://cdn.example.com/static/a/b.png", true),
            ("*.example.com/static/**", "http://cdn.example.com/other/a", false),
            ("*.example.com/*.png", "http://cdn.example.com/a/b.png", true),
            ("*.example.com/*.png", "http://cdn.example.com/a/b.jpg", false),
            ("https://example.com", "https://example.com/a", true),
            ("https://example.com", "http://example.com/a", false),
            ("*://example.com", "http://example.com/a", true),
            ("localhost:80??/", "http://localhost:8080/", true),
            ("[ab].example.com", "http://b.example.com/", true),
            ("*", "http://x.org/", true),
            ("**", "http://x.org/a", true),
            ("regex:^https://.*\\.org/\\d+$", "https://x.org/12", true),
            ("regex:^https://.*\\.org/\\d+$", "https://x.org/a", false),
            ("regex:\\.png", "https://x.org/a.png?b", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(url), want, "{pattern} {url}");
        }
    }

    #[test]
    fn the_first_match_counts_and_bad_patterns_are_errors() {
        let mut all = UrlExpiry::default();
        for (pattern, expire) in
            [("x.org/a", Expire::Immediately), ("x.org", Expire::DoNotCache), ("x.org/b", Expire::Never)]
        {
            all.push(pattern, expire).unwrap();
        }
        assert_eq!(all.of("http://x.org/a/1"), Some(Expire::Immediately));
        assert_eq!(all.of("http://x.org/b"), Some(Expire::DoNotCache));
        assert_eq!(all.of("http://y.org/b"), None);
        for pattern in ["[a", "regex:("] {
            let error = all.push(pattern, Expire::Never).unwrap_err();
            assert!(error.to_string().contains(pattern), "{error}");
        }
    }
}
