//! What comes back, from the network or from the cache.

use std::{
    borrow::Cow,
    fmt::{self, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::SET_COOKIE};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use url::Url;

use super::{
    links::{Link, links},
    reused::Reused,
    text,
};
use crate::{
    Error, ErrorKind, Result, StoredRequest, StoredResponse,
    policy::{exchange::Forward, redact},
};

/// How the cache took part in an answer; its text is what follows the cache's name in a `Cache-Status` header
/// (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheStatus {
    /// Served from the cache.
    Hit,
    /// Served from the cache although it has expired: the request or a setting accepts that.
    StaleHit,
    /// Served from the cache, after the origin has confirmed that it still holds.
    Revalidated,
    /// Asked of the origin: nothing was stored for the request.
    Miss,
    /// Asked of the origin: something was stored for the URL, but for other request headers (`Vary`).
    VaryMiss,
    /// Asked of the origin: what is stored has expired.
    Stale,
    /// Asked of the origin, because the request wished so.
    Refresh,
    /// Asked of the origin: the method is not one that is cached.
    Method,
    /// Asked of the origin: the cache was told to stay out of it.
    Bypass,
    /// Not asked of anybody: the request wanted an answer from the cache, which had none (`only-if-cached`).
    NotCached,
    /// Asked of the origin by an identical request that was under way, and read along with it.
    Collapsed,
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forward = match self {
            Self::Hit => return f.write_str("hit"),
            Self::StaleHit => return f.write_str("hit; detail=stale"),
            Self::Revalidated => return f.write_str("fwd=stale; fwd-status=304"),
            Self::NotCached => return f.write_str("detail=only-if-cached"),
            Self::Miss => Forward::UriMiss,
            Self::VaryMiss => Forward::VaryMiss,
            Self::Stale => Forward::Stale,
            Self::Refresh => Forward::Request,
            Self::Method => Forward::Method,
            Self::Bypass => Forward::Bypass,
            Self::Collapsed => return f.write_str("fwd=uri-miss; collapsed"),
        };
        write!(f, "fwd={}", forward.as_str())
    }
}

impl From<Forward> for CacheStatus {
    fn from(forward: Forward) -> Self {
        match forward {
            Forward::UriMiss => Self::Miss,
            Forward::VaryMiss => Self::VaryMiss,
            Forward::Stale => Self::Stale,
            Forward::Request => Self::Refresh,
            Forward::Method => Self::Method,
            Forward::Bypass => Self::Bypass,
        }
    }
}

/// An answer, read to its end.
///
/// On a hit it is the same as on the miss that stored it: status, reason, headers with their repeats and order, body
/// and history. Only [`from_cache`](Self::from_cache), [`cache_status`](Self::cache_status) and
/// [`elapsed`](Self::elapsed) tell them apart, and credentials in the URLs of redirect targets, which are not stored.
///
/// Cloning is cheap for the body. `Debug` shows no credentials, headers or body.
#[derive(Clone)]
pub struct Response {
    /// The body is decoded if it is handed out so.
    pub(super) stored: Arc<StoredResponse>,
    pub(super) url: String,
    pub(super) history: Vec<Response>,
    pub(super) elapsed: Duration,
    pub(super) cache_status: CacheStatus,
    pub(super) cache_key: Option<String>,
    /// How the headers differ from the stored ones.
    pub(super) headers: Option<Box<Reused>>,
}

impl Response {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.stored.status()
    }

    /// The reason phrase: what the status code usually reads, as the transport passes on no other; may be empty.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self.stored.reason.as_str() {
            "" => self.status().canonical_reason().unwrap_or_default(),
            reason => reason,
        }
    }

    /// The headers as received; names are in lower case, repeated ones are all there.
    ///
    /// They describe what came over the wire: after decoding, `content-encoding` and `content-length` are still those
    /// of the coded body.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        let stored = &self.stored.headers;
        self.headers.as_ref().map_or(stored, |reused| reused.headers(stored))
    }

    /// The body, decoded unless [`decode(false)`](super::RequestBuilder::decode) was asked for.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.stored.body
    }

    /// The body as text. What decides about its charset, in this order: a byte order mark, the `charset` of
    /// `Content-Type`, what the document itself declares (`<meta charset>` of HTML, the declaration of XML), and else
    /// what it looks like: UTF-8 if it is that, and JSON always is. Malformed bytes become U+FFFD.
    ///
    /// # Errors
    ///
    /// [`Decode`](ErrorKind::Decode) if the charset is not known.
    pub fn text(&self) -> Result<String> {
        let url = Url::parse(&self.url).ok();
        let host = url.as_ref().and_then(Url::host_str);
        text::text(self.headers(), self.bytes(), host).map_err(|error| error.with_url(self.shown_url()))
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// [`Decode`](ErrorKind::Decode) if the body is no JSON or not what `T` expects. It says where: line, column, and
    /// what the body looks like there; of that, text in quotes and words of more than five letters are left out, as
    /// they may be credentials.
    ///
    /// ```
    /// # use larder::{Backend, CachedSession};
    /// # fn main() -> larder::Result<()> {
    /// # let session = CachedSession::builder("cache").backend(Backend::Memory)
    /// #     .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(br#"{"id": 7}"#.to_vec()))).build()?;
    /// #[derive(serde::Deserialize)]
    /// struct User {
    ///     id: u64,
    /// }
    ///
    /// let user: User = session.get("http://example.org/users/7").send()?.json()?;
    /// assert_eq!(user.id, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let body = self.bytes();
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        // JSON is UTF-8 (RFC 8259); what is not may still be an older UTF-16 text, or one in the charset it names.
        let text = match str::from_utf8(body) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(self.text()?),
        };
        serde_json::from_str(&text).map_err(|error| {
            // Its own text quotes the body, which may hold credentials: it is neither shown nor kept as the source.
            let what = match error.classify() {
                Category::Data => "is JSON of another shape than was expected",
                Category::Eof => "is JSON that is cut short",
                Category::Syntax | Category::Io => "is no JSON",
            };
            let (line, column) = (error.line(), error.column());
            let near = match text::excerpt(&text, line, column) {
                near if near.is_empty() => String::new(),
                near => format!(", near `{near}`"),
            };
            let message = format!("the body {what} (line {line}, column {column}{near}); text() gives it as it is");
            Error::new(ErrorKind::Decode, message).with_url(self.shown_url())
        })
    }

    /// The URL that gave this answer: after redirects, the last one.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The redirects that led here, first one first; each is an answer of its own.
    #[must_use]
    pub fn history(&self) -> &[Response] {
        &self.history
    }

    /// How long `send()` took for this answer (on a hit: the look-up); in the history, how long the hop took.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The links of the `Link` headers.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        links(self.headers(), &self.url)
    }

    /// The cookies that the answer sets, as name and value of its `Set-Cookie` headers, in their order; the attributes
    /// behind the first `;` are in [`headers`](Self::headers). The same on a miss and on a hit.
    ///
    /// A header without a name, or that is not UTF-8, is left out. The session keeps and sends back none of them unless
    /// [`cookies`](super::CachedSessionBuilder::cookies) says so.
    ///
    /// ```
    /// # use larder::{Backend, CachedSession};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let session = CachedSession::builder("cache").backend(Backend::Memory)
    /// #     .transport(|_: &http::Request<bytes::Bytes>| {
    /// #         Ok(http::Response::builder().header("set-cookie", "theme=dark; Path=/").body(Vec::new()).unwrap())
    /// #     }).build()?;
    /// let response = session.get("http://example.org/").send()?;
    /// assert_eq!(response.cookies().next(), Some(("theme", "dark")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers().get_all(SET_COOKIE).iter().filter_map(|value| {
            let pair = str::from_utf8(value.as_bytes()).ok()?.split(';').next()?;
            let (name, value) = pair.split_once('=')?;
            let name = name.trim();
            (!name.is_empty()).then(|| (name, value.trim()))
        })
    }

    /// The request that this answers: method, URL and headers as sent. Credentials in them read `REDACTED`.
    #[must_use]
    pub fn request(&self) -> &StoredRequest {
        &self.stored.request
    }

    /// Whether it was served from the cache. After redirects this is about the final answer; each hop knows its own.
    #[must_use]
    pub fn from_cache(&self) -> bool {
        matches!(self.cache_status, CacheStatus::Hit | CacheStatus::StaleHit | CacheStatus::Revalidated)
    }

    /// How the cache took part.
    #[must_use]
    pub fn cache_status(&self) -> CacheStatus {
        self.cache_status
    }

    /// The same with what else there is to say, as a `Cache-Status` header would (RFC 9211): how long the answer is
    /// still fresh, or since when it is not (`ttl`, in seconds), the status that the origin answered with, and whether
    /// and under which key it is stored.
    ///
    /// ```
    /// # use larder::{Backend, CachedSession};
    /// # use std::time::Duration;
    /// # fn main() -> larder::Result<()> {
    /// # let session = CachedSession::builder("cache").backend(Backend::Memory).expire_after(Duration::from_secs(3600))
    /// #     .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(b"hello".to_vec()))).build()?;
    /// let miss = session.get("http://example.org/").send()?;
    /// assert!(miss.cache_status_field().starts_with("larder; fwd=uri-miss; fwd-status=200; stored; ttl=3"));
    /// let hit = session.get("http://example.org/").send()?;
    /// assert!(hit.cache_status_field().starts_with("larder; hit; ttl=3"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn cache_status_field(&self) -> String {
        let mut field = format!("larder; {}", self.cache_status);
        let asked = !self.from_cache() && self.cache_status != CacheStatus::NotCached;
        // Writing to a String does not fail.
        if asked {
            let _ = write!(field, "; fwd-status={}", self.status().as_u16());
        }
        if asked && self.cache_key.is_some() {
            field.push_str("; stored");
        }
        if let Some(expires) = self.stored.expires {
            let now = SystemTime::now();
            let _ = match expires.duration_since(now) {
                Ok(left) => write!(field, "; ttl={}", left.as_secs()),
                Err(since) => write!(field, "; ttl=-{}", since.duration().as_secs()),
            };
        }
        if let Some(key) = &self.cache_key {
            let _ = write!(field, "; key=\"{key}\"");
        }
        field
    }

    /// When the answer came from the origin.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        self.stored.created
    }

    /// When it expires in the cache; `None` if never, or if it is not stored.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.stored.expires
    }

    /// Whether it is expired by now.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.stored.is_expired(SystemTime::now())
    }

    /// Whether the origin confirmed for this request that the stored answer still holds.
    #[must_use]
    pub fn revalidated(&self) -> bool {
        self.cache_status == CacheStatus::Revalidated
    }

    /// The key under which it is stored, for [`Cache::get`](super::Cache::get) and the like; `None` if it is not.
    #[must_use]
    pub fn cache_key(&self) -> Option<&str> {
        self.cache_key.as_deref()
    }

    /// The answer, unless its status is 400 or above.
    ///
    /// # Errors
    ///
    /// [`Status`](ErrorKind::Status) with status and URL.
    pub fn error_for_status(self) -> Result<Self> {
        let status = self.status();
        if !(status.is_client_error() || status.is_server_error()) {
            return Ok(self);
        }
        let message = format!("{} was answered with {} {}", self.request().method(), status.as_u16(), self.reason());
        Err(Error::new(ErrorKind::Status, message.trim_end()).with_url(self.shown_url()))
    }

    /// The answer in the form of the `http` crate.
    #[must_use]
    pub fn into_http(self) -> http::Response<Vec<u8>> {
        let status = self.status();
        let stored = Arc::unwrap_or_clone(self.stored);
        let mut response = http::Response::new(stored.body.into());
        *response.status_mut() = status;
        *response.headers_mut() = match self.headers {
            Some(reused) => reused.into_headers(stored.headers),
            None => stored.headers,
        };
        response
    }

    /// The error with the URL that it is about.
    pub(super) fn located(&self, error: Error) -> Error {
        if error.url().is_some() { error } else { error.with_url(self.shown_url()) }
    }

    pub(super) fn shown_url(&self) -> String {
        redact::url(&self.url, &mut redact::Credentials::default())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status().as_u16())
            .field("url", &self.shown_url())
            .field("body_len", &self.bytes().len())
            .field("cache_status", &self.cache_status)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}
