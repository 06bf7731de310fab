//! In which form responses are stored, and under which keys.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Error, ErrorKind, Result};

/// The form in which a session stores responses.
///
/// It can be read from a setting: `serializer = "json"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Serializer {
    /// larder's own: compact, with checksums. The default.
    #[default]
    Bincode,
    /// The JSON documents of Python's requests-cache 1.x (`serializer='json'`): one file or server is then read and
    /// written by both. For [`Backend::Sqlite`](crate::Backend::Sqlite) and
    /// [`Backend::Redis`](crate::Backend::Redis), with [`KeyScheme::RequestsCache`]; see there.
    ///
    /// A document has no checksum: damage that leaves it readable is not noticed. Repeated response headers are one,
    /// joined by `", "`, for Python; larder keeps them apart beside that. Bodies are stored decoded, so that
    /// `decode(false)` is not stored. A document that cannot be read is a miss, and replaced.
    Json,
}

/// What the keys of stored responses are made of.
///
/// It can be read from a setting: `key_scheme = "requests_cache"`.
///
/// ```no_run
/// # fn main() -> larder::Result<()> {
/// use larder::{Backend, CachedSession, KeyScheme, Serializer};
///
/// // http_cache.sqlite, as requests_cache.CachedSession('http_cache', serializer='json') has it
/// let session = CachedSession::builder("http_cache")
///     .backend(Backend::Sqlite)
///     .serializer(Serializer::Json)
///     .key_scheme(KeyScheme::RequestsCache)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum KeyScheme {
    /// larder's own: SHA-256 over method, URL, body and who asks. The default.
    #[default]
    Native,
    /// Those of Python's requests-cache 1.3 with `serializer='json'`: 16 hexadecimal digits, which
    /// [`Response::cache_key`](crate::Response::cache_key) shows. With [`Serializer::Json`] both find what the other
    /// has stored.
    ///
    /// They have no place for who asks. Hence a request with credentials (an `Authorization`, a cookie, an API key)
    /// bypasses the cache, unless [`share_across_credentials`](crate::CachedSessionBuilder::share_across_credentials)
    /// says that all users may have each other's answers, which is what Python does. Partitions by name and key
    /// functions do not go with it.
    ///
    /// 64 bits over parts that run into each other are less than what tells larder's own keys apart: two requests may
    /// share one by accident, or by an attacker's design. Use it for caches that Python shares, and for no others.
    ///
    /// [`match_headers`](crate::CachedSessionBuilder::match_headers) and
    /// [`ignored_parameters`](crate::CachedSessionBuilder::ignored_parameters) are part of them: give both sides the
    /// same names. Without any, the names that Python ignores by default are ignored. A header that is ignored tells
    /// nobody apart: to match one while answers are shared across credentials is an error of `build()`.
    ///
    /// What does not match between the two:
    /// * `match_headers=True` in Python, since the headers that each sends by itself differ. The same list of names on
    ///   both sides matches, if the values do.
    /// * A response whose `Vary` names a header that each sends its own value of, such as `User-Agent`, or
    ///   `Accept-Encoding` where one of them undoes more codings: the value is compared with that of the stored
    ///   request. With the same values both find all variants: the one that was stored first under the key of the
    ///   request, the others under keys into which the headers go that `Vary` names. Of those, what Python stored is
    ///   not found by URL once the first one is gone. One that varies by a header that is ignored, or by cookies, is a
    ///   miss for both; one that varies by a `Referer` with a credential in it is a miss here.
    /// * A URL with a user and a password in it: they are part of the key there, and a header here.
    /// * A URL with a `%` that begins no escape beside escapes that were typed as such (`?a=100%&b=%C3%A9`): Python
    ///   escapes each `%` of it again, and which were typed is only guessed here.
    /// * Spellings that browsers have one meaning for and Python has none, such as `\` in a path or `0x7f.1` as host.
    /// * Requests that Python sent with `key_fn` or `content_root_key`, and uploads with a boundary of chance.
    /// * A root of a JSON body that is a list with `NaN` in it.
    /// * What was stored by a Python whose OpenSSL refuses BLAKE2: it uses longer keys.
    ///
    /// Credentials are redacted as everywhere in larder: in more places than Python knows. Where such a name is not
    /// among those that Python ignores, its value is part of the key, and Python cannot make the key anew from what is
    /// stored (`recreate_keys`).
    RequestsCache,
}

impl fmt::Display for Serializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bincode => "bincode",
            Self::Json => "json",
        })
    }
}

impl FromStr for Serializer {
    type Err = Error;

    /// Reads a name in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that is not known.
    fn from_str(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "bincode" => Ok(Self::Bincode),
            "json" => Ok(Self::Json),
            _ => Err(unknown("serializer", name, "bincode, json")),
        }
    }
}

impl fmt::Display for KeyScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::RequestsCache => "requests_cache",
        })
    }
}

impl FromStr for KeyScheme {
    type Err = Error;

    /// Reads a name in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that is not known.
    fn from_str(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().replace('-', "_").as_str() {
            "native" => Ok(Self::Native),
            "requests_cache" => Ok(Self::RequestsCache),
            _ => Err(unknown("key scheme", name, "native, requests_cache")),
        }
    }
}

fn unknown(what: &str, name: &str, known: &str) -> Error {
    let name: String = name.chars().take(40).collect();
    Error::new(ErrorKind::InvalidInput, format!("there is no {what} `{}`; known are {known}", name.escape_debug()))
}

impl<'de> Deserialize<'de> for Serializer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Serializer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyScheme {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for KeyScheme {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_read_from_settings_by_name() {
        assert_eq!("JSON".parse::<Serializer>().unwrap().to_string(), "json");
        assert_eq!("requests-cache".parse::<KeyScheme>().unwrap().to_string(), "requests_cache");
        assert_eq!(serde_json::from_str::<KeyScheme>("\"native\"").unwrap(), KeyScheme::Native);
        assert!("pickle".parse::<Serializer>().unwrap_err().to_string().contains("bincode, json"));
        assert!(serde_json::from_str::<KeyScheme>("\"x\"").is_err());
    }
}
