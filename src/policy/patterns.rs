//! Patterns of URLs, and which expiry a URL has: that of the first pattern that it matches.

use super::expire::Expire;
use crate::{Error, ErrorKind, Result};
use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;
use std::borrow::Cow;

/// A pattern with this before it is a regular expression.
const REGEX: &str = "regex:";

/// A pattern of URLs, as [`urls_expire_after`](crate::CachedSessionBuilder::urls_expire_after) and `larder ls`, `rm`
/// and `expire` take it.
///
/// It is a glob: `*` stands for any text (slashes too, so `**` is the same), `?` for one character, `[ab]` for one of
/// these, `{a,b}` for one of those. It is compared with the URL behind its scheme, and may name a scheme
/// (`https://...`); what it begins, it matches to the end, so that `example.com/a` stands for all that begins so, and
/// `example.com/` for all of this host (`example.com` alone for `example.com.au` as well). The host is compared without
/// regard to case. Behind `regex:` stands a regular expression, which is searched for in the whole URL.
///
/// Patterns are compared with URLs as they are stored, without credentials, where what is stored is chosen; with the
/// URL that is sent, where an expiry is.
///
/// ```
/// use larder::UrlPattern;
///
/// let pattern = UrlPattern::new("*.example.com/static/*.png")?;
/// assert!(pattern.matches("https://cdn.example.com/static/a/b.png?size=2"));
/// assert!(!pattern.matches("https://cdn.example.com/static/a/b.jpg"));
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct UrlPattern(Kind);

/// Patterns of URLs, each with the expiry of what matches it; the first match counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct UrlExpiry(Vec<(UrlPattern, Expire)>);

#[derive(Debug, Clone)]
enum Kind {
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
        let named = |error| Error::new(ErrorKind::InvalidInput, format!("urls_expire_after: {error}"));
        self.0.push((UrlPattern::new(pattern).map_err(named)?, expire));
        Ok(())
    }

    pub(crate) fn of(&self, url: &str) -> Option<Expire> {
        self.0.iter().find(|(pattern, _)| pattern.matches(url)).map(|(_, expire)| *expire)
    }
}

impl UrlPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it is neither a glob nor, behind `regex:`, a regular expression.
    pub fn new(pattern: impl AsRef<str>) -> Result<Self> {
        let text = pattern.as_ref();
        let invalid = |error: &dyn std::fmt::Display| {
            let message = format!("`{}` is not a pattern of URLs: {error}", text.escape_debug());
            Error::new(ErrorKind::InvalidInput, message)
        };
        if let Some(regex) = text.strip_prefix(REGEX) {
            return Regex::new(regex).map(|regex| Self(Kind::Regex(regex))).map_err(|error| invalid(&error));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()).filter(|scheme| scheme != "*"), rest),
            None => (None, text),
        };
        // A star matches slashes too, so two of them are one; what a pattern begins, it matches to the end.
        let mut glob = lower_host(rest).into_owned();
        glob.push('*');
        while glob.contains("**") {
            glob = glob.replace("**", "*");
        }
        let built = GlobBuilder::new(&glob).literal_separator(false).backslash_escape(true).build();
        let glob = built.map_err(|error| invalid(&error.kind()))?;
        Ok(Self(Kind::Glob { scheme, rest: glob.compile_matcher() }))
    }

    /// Whether the pattern stands for a URL. A glob stands for absolute URLs alone.
    #[must_use]
    pub fn matches(&self, url: &str) -> bool {
        let (scheme, rest) = match &self.0 {
            Kind::Regex(regex) => return regex.is_match(url),
            Kind::Glob { scheme, rest } => (scheme, rest),
        };
        let Some((own, behind)) = url.split_once("://") else { return false };
        scheme.as_ref().is_none_or(|scheme| scheme.eq_ignore_ascii_case(own))
            && rest.is_match(lower_host(behind).as_ref())
    }
}

/// What follows a scheme, with the host in lower case: a host has no case, and what follows it has.
fn lower_host(text: &str) -> Cow<'_, str> {
    let (host, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
    if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return text.into();
    }
    (host.to_ascii_lowercase() + rest).into()
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
            ("example.com/A", "https://Example.COM/A", true),
            ("https://example.com", "HTTPS://example.com/", true),
            ("*", "example.com", false),
            ("example.com", "https://www.example.com/", false),
            ("example.com", "https://example.com.au/", true),
            ("example.com/", "https://example.com.au/", false),
            ("{a,b}.example.com/x", "http://b.example.com/xyz", true),
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
            assert_eq!(UrlPattern::new(pattern).unwrap().matches(url), want, "{pattern} {url}");
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
