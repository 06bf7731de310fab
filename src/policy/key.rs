//! The key of a request: what makes two requests the same to the cache.

use super::{
    normalize,
    redact::{self, Credentials},
};
use crate::{
    Result,
    entry::{Key, Namespace, StoredRequest},
};
use bytes::Bytes;
use http::HeaderMap;
use sha2::{Digest, Sha256};

/// Part of every base, so that a later scheme never meets the keys of this one.
const SCHEME: &[u8] = b"larder-1";

/// What identifies a request, with nothing secret in it.
///
/// The partition, which stands for the credentials, is filled in by the caller: it needs the salt of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// In upper case.
    pub(crate) method: String,
    /// Redacted and normalised, without fragment.
    pub(crate) url: String,
    /// Of the redacted normal form of the body; `None` if there is no body.
    pub(crate) body_digest: Option<[u8; 32]>,
    pub(crate) partition: Option<[u8; 16]>,
    pub(crate) variant: Option<[u8; 32]>,
}

/// A request as the cache sees it: its identity, its redacted form to be stored, and the credentials taken out.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) identity: Identity,
    /// The URL as it was asked, redacted.
    pub(crate) url: String,
    /// The headers as they were asked, redacted.
    pub(crate) headers: HeaderMap,
    pub(crate) credentials: Credentials,
}

impl Asked {
    /// Redacts a request, then normalises it. Fails with `InvalidInput` if the URL is not an absolute one.
    pub(crate) fn new(method: &str, url: &str, headers: &HeaderMap, body: &[u8]) -> Result<Self> {
        let mut credentials = Credentials::default();
        let shown = redact::url(url, &mut credentials);
        let headers = redact::headers(headers, &mut credentials);
        let content_type = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let body = normalize::body(content_type, body, &mut credentials);
        credentials.sort();
        let identity = Identity {
            method: method.to_ascii_uppercase(),
            url: normalize::url(&shown)?,
            body_digest: body.map(|body| digest(&[body.kind.as_bytes(), &body.bytes])),
            partition: None,
            variant: None,
        };
        Ok(Self { identity, url: shown, headers, credentials })
    }

    /// What is stored of the request beside its response.
    pub(crate) fn to_stored(&self) -> StoredRequest {
        StoredRequest {
            method: self.identity.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body_digest: self.identity.body_digest,
            partition: self.identity.partition,
            variant: self.identity.variant,
        }
    }
}

impl Identity {
    /// The identity that a stored request was filed under. Fails with `InvalidInput` if its URL is not one.
    pub(crate) fn of(request: &StoredRequest) -> Result<Self> {
        Ok(Self {
            method: request.method.clone(),
            url: normalize::url(&request.url)?,
            body_digest: request.body_digest,
            partition: request.partition,
            variant: request.variant,
        })
    }

    /// The key of the request apart from who asks and which variant was chosen.
    pub(crate) fn base(&self) -> [u8; 32] {
        let body = self.body_digest.as_ref().map_or(&[][..], |digest| digest);
        digest(&[SCHEME, self.method.as_bytes(), self.url.as_bytes(), body])
    }

    /// The key of the response.
    pub(crate) fn key(&self) -> Key {
        let partition = self.partition.as_ref().map_or(&[][..], |partition| partition);
        let variant = self.variant.as_ref().map_or(&[][..], |variant| variant);
        Key::from_digest(digest(&[&self.base(), partition, variant]))
    }

    /// The key of the list of responses to the same URL and body.
    pub(crate) fn list_key(&self) -> Bytes {
        let body = self.body_digest.as_ref().map_or(&[][..], |digest| digest);
        let mut key = vec![Namespace::Url as u8];
        key.extend_from_slice(&digest(&[self.url.as_bytes(), body]));
        key.into()
    }

    /// Whether `stored` is what this asks for. Guards against a key that leads to a wrong response for any reason.
    pub(crate) fn matches(&self, stored: &StoredRequest) -> bool {
        Self::of(stored).is_ok_and(|stored| stored == *self)
    }
}

/// The key of a name that is not a key itself, such as an alias chosen by people.
pub(crate) fn named(name: &str) -> Key {
    Key::from_digest(digest(&[b"larder-name", name.as_bytes()]))
}

/// SHA-256 over the parts, each behind its length (8 bytes, big-endian), so that no two lists of parts are alike.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}
