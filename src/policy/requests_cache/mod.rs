//! The keys of Python's requests-cache 1.3.3, so that both find what the other has stored.
//!
//! `requests_cache.cache_keys.create_key`, over what `requests` makes of a URL before: `BLAKE2b` with 8 bytes over the
//! plain concatenation of method, URL, body, `True` if certificates are verified, matched headers, and the serializer.

mod body;
mod json;
mod url;

use blake2::{Blake2b, Digest, digest::consts::U8};
use http::{HeaderMap, HeaderName, header};
use std::borrow::Cow;

use super::redact::REDACTED;

/// What requests-cache ignores and redacts unless told otherwise: names of headers, parameters and JSON members.
pub(crate) const IGNORED: [&str; 9] = [
    "Authorization",
    "Proxy-Authorization",
    "X-API-Key",
    "X-Auth-Token",
    "X-API-Token",
    "X-Access-Token",
    "access_token",
    "api_key",
    "apikey",
];

/// The name that the serializer `json` has in a key.
pub(crate) const JSON: &str = "SerializerPipeline(name=json, n_stages=2)";

/// The same of `pickle`, its default.
#[cfg(any(feature = "sqlite", feature = "redis"))]
pub(crate) const PICKLE: &str = "SerializerPipeline(name=pickle, n_stages=2)";

/// The settings of a requests-cache session that its keys depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRules {
    /// Header names whose values tell requests apart.
    pub(crate) match_headers: Vec<String>,
    /// Names whose values do not. Case-sensitive for parameters and JSON members, as there.
    pub(crate) ignored: Vec<String>,
    /// As `str(serializer)` shows it.
    pub(crate) serializer: String,
}

impl Default for KeyRules {
    fn default() -> Self {
        Self {
            match_headers: Vec::new(),
            ignored: IGNORED.iter().map(|&name| name.to_owned()).collect(),
            serializer: JSON.to_owned(),
        }
    }
}

/// A request as its key depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyed<'a> {
    pub(crate) method: &'a str,
    /// With its fragment, which is part of the key.
    pub(crate) url: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    /// Whether the server's certificate is verified.
    pub(crate) verify: bool,
}

impl KeyRules {
    /// The key; `None` if the URL is not one.
    pub(crate) fn key(&self, request: &Keyed<'_>) -> Option<[u8; 8]> {
        let mut hasher = Blake2b::<U8>::new();
        hasher.update(request.method.to_uppercase());
        hasher.update(url::normal(request.url, self)?);
        hasher.update(self.body(request.headers, request.body));
        if request.verify {
            hasher.update("True");
        }
        for part in self.matched(request.headers) {
            hasher.update(part);
        }
        hasher.update(&self.serializer);
        Some(hasher.finalize().into())
    }

    /// The key of a variant behind the first that was stored, which has the key without any: the names that it varies
    /// by count like headers to match. A cookie does not.
    pub(crate) fn variant_key(&self, names: &[HeaderName], request: &Keyed<'_>) -> Option<[u8; 8]> {
        let mut rules = self.clone();
        rules.match_headers.extend(names.iter().filter(|name| **name != header::COOKIE).map(ToString::to_string));
        rules.key(request)
    }

    /// Whether what was stored for one request answers another, as far as the headers go that it varies by. One that is
    /// ignored tells nothing: whoever sends it has to ask.
    pub(crate) fn is_same_variant(&self, names: &[HeaderName], stored: &HeaderMap, asked: &HeaderMap) -> bool {
        names.iter().all(|name| {
            let hidden = asked.contains_key(name) && self.ignores_header(name.as_str());
            !hidden && self.header(stored, name.as_str()) == self.header(asked, name.as_str())
        })
    }

    /// The normal form of a body, with the values of ignored names replaced.
    pub(crate) fn body<'a>(&self, headers: &HeaderMap, body: &'a [u8]) -> Cow<'a, [u8]> {
        body::normal(headers.get(header::CONTENT_TYPE), body, self)
    }

    fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|ignored| ignored == name)
    }

    /// Whether the values of a header tell no two requests apart.
    pub(crate) fn ignores_header(&self, name: &str) -> bool {
        self.ignored.iter().any(|ignored| ignored.eq_ignore_ascii_case(name))
    }

    /// `name=value` of each header to match that is there.
    fn matched(&self, headers: &HeaderMap) -> Vec<Vec<u8>> {
        let mut names: Vec<_> = self.match_headers.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        names.iter().filter_map(|name| Some([name.as_bytes(), b"=", &self.header(headers, name)?].concat())).collect()
    }

    /// The value of a header as it is compared: the items of a list in lower case, sorted.
    fn header(&self, headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
        let values: Vec<_> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
        if values.is_empty() {
            return None;
        }
        if self.ignores_header(name) {
            return Some(REDACTED.as_bytes().to_vec());
        }
        let value = values.join(&b", "[..]);
        if !value.contains(&b',') {
            return Some(value);
        }
        let value = value.to_ascii_lowercase();
        let mut items: Vec<_> = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).collect();
        items.retain(|item| !item.is_empty());
        items.sort_unstable();
        Some(items.join(&b", "[..]))
    }
}

#[cfg(test)]
mod tests;
