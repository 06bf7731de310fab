//! URLs that were asked a short while ago, with what was made of them: most are asked again and again, and reading one
//! takes as long as finding its answer in memory.

use std::{fmt, sync::Arc};

use quick_cache::sync::Cache;
use url::Url;

use super::request::parse_url;
use crate::{
    Result,
    policy::{key::Forms, redact::Credentials},
};

/// How many are remembered.
const URLS_MAX: usize = 512;
/// Longer ones are not.
const LEN_MAX: usize = 1024;

/// Remembers URLs in which there is nothing to hide, by their spelling.
pub(super) struct KnownUrls(Cache<Box<str>, Arc<Known>>);

struct Known {
    url: Url,
    normal: String,
}

impl KnownUrls {
    /// As [`parse_url`].
    pub(super) fn parse(&self, text: &str) -> Result<Url> {
        self.0.get(text).map_or_else(|| parse_url(text), |known| Ok(known.url.clone()))
    }

    /// As [`Forms::of`], if the same parameters are ignored each time.
    pub(super) fn forms(&self, url: &Url, found: &mut Credentials) -> Result<Forms> {
        let text = url.as_str();
        if let Some(known) = self.0.get(text) {
            return Ok(Forms { shown: text.to_owned(), normal: known.normal.clone() });
        }
        let forms = Forms::of(url, found)?;
        if found.is_empty() && forms.shown == text && text.len() <= LEN_MAX {
            let known = Known { url: url.clone(), normal: forms.normal.clone() };
            self.0.insert(text.into(), Arc::new(known));
        }
        Ok(forms)
    }
}

impl Default for KnownUrls {
    fn default() -> Self {
        Self(Cache::new(URLS_MAX))
    }
}

/// How many there are: what was asked is nobody's business.
impl fmt::Debug for KnownUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownUrls({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(urls: &KnownUrls, text: &str, found: &mut Credentials) -> (String, String) {
        let Forms { shown, normal } = urls.forms(&urls.parse(text).unwrap(), found).unwrap();
        (shown, normal)
    }

    #[test]
    fn what_is_remembered_is_what_reading_it_says() {
        let urls = KnownUrls::default();
        for text in ["http://a.test/b?y=2&x=1", "http://a.test/%7Eb#part", "https://a.test:444/", "http://a.test/ü"] {
            let fresh = Forms::of(&parse_url(text).unwrap(), &mut Credentials::default()).unwrap();
            for _ in 0..3 {
                let found = &mut Credentials::default();
                assert_eq!(forms(&urls, text, found), (fresh.shown.clone(), fresh.normal.clone()));
                assert!(found.is_empty());
                assert_eq!(urls.parse(text).unwrap(), parse_url(text).unwrap());
            }
        }
        assert_eq!(urls.0.len(), 4);
    }

    #[test]
    fn credentials_are_found_each_time_and_not_remembered() {
        let urls = KnownUrls::default();
        let ignored = Arc::new(["page".to_owned()].into());
        for _ in 0..2 {
            let mut found = Credentials::default();
            let (shown, _) = forms(&urls, "http://a.test/?api_key=hush", &mut found);
            assert_eq!((shown.as_str(), found.len()), ("http://a.test/?api_key=REDACTED", 1));
            let (_, normal) = forms(&urls, "http://a.test/?page=1", &mut Credentials::ignoring(&ignored));
            assert!(!normal.contains('1'), "{normal}");
        }
        let long = format!("http://a.test/{}", "x".repeat(LEN_MAX));
        forms(&urls, &long, &mut Credentials::default());
        assert!(urls.parse("nonsense").is_err());
        assert_eq!(urls.0.len(), 0);
    }
}
