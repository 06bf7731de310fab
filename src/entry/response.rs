//! A response as a store keeps it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The request that a stored response answers, without its credentials and its body.
///
/// It is kept to show where a response came from and to compare it with the request that is asked: a stored
/// response is served only if method, URL, body digest and partition are the same.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRequest {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body_digest: Option<[u8; 32]>,
    pub(crate) partition: Option<[u8; 16]>,
    pub(crate) variant: Option<[u8; 32]>,
    /// Of the text that a `key_fn` gave: then it is the key, and method, URL and body are not.
    pub(crate) name: Option<[u8; 32]>,
    /// The body, redacted and normalised, where the form in which a response is stored has a place for it: the
    /// documents of requests-cache have.
    pub(crate) body: Option<Bytes>,
}

impl StoredRequest {
    /// The method, in upper case.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The URL that was asked. Credentials in it read `REDACTED`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers that were sent. Credentials in them read `REDACTED`.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl fmt::Debug for StoredRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRequest").field("method", &self.method).field("url", &self.url).finish_non_exhaustive()
    }
}

/// A response as a store keeps it: status, headers, body, times, and the request that it answers.
///
/// Cloning is cheap for the body, which is shared. Times are whole milliseconds, `elapsed` whole microseconds.
/// The body is what `coding` says: decoded content if it is empty (the default), else the bytes of that content
/// coding, as they came over the wire.
///
/// It comes out of a cache with [`Cache::get`](crate::Cache::get) and goes into one with
/// [`Cache::save`](crate::Cache::save).
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use larder::{StoredRequest, StoredResponse};
/// use std::time::{Duration, SystemTime};
///
/// let request = StoredRequest::new("GET", "http://example.org/", &HeaderMap::new(), b"")?;
/// let now = SystemTime::now();
/// let response = StoredResponse::new(request, StatusCode::OK, HeaderMap::new(), "hello", now)
///     .with_expires(Some(now + Duration::from_secs(60)));
/// assert_eq!(response.status(), 200);
/// assert_eq!(&response.bytes()[..], b"hello");
/// assert!(!response.is_expired(now) && response.is_expired(now + Duration::from_secs(60)));
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoredResponse {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
    pub(crate) headers: HeaderMap,
    pub(crate) url: String,
    pub(crate) request: StoredRequest,
    pub(crate) created: SystemTime,
    /// When the origin was last asked, and confirmed that it still holds.
    pub(crate) validated: Option<SystemTime>,
    pub(crate) expires: Option<SystemTime>,
    pub(crate) elapsed: Duration,
    pub(crate) coding: String,
    pub(crate) body: Bytes,
}

impl StoredResponse {
    /// Makes a response that answers `request`, created at `created`, that never expires.
    ///
    /// The final URL is the one of the request; the `with_` methods change what differs.
    pub fn new(
        request: StoredRequest,
        status: StatusCode,
        headers: HeaderMap,
        body: impl Into<Bytes>,
        created: SystemTime,
    ) -> Self {
        Self {
            status,
            reason: String::new(),
            headers,
            url: request.url.clone(),
            request,
            created: whole_milliseconds(created),
            validated: None,
            expires: None,
            elapsed: Duration::ZERO,
            coding: String::new(),
            body: body.into(),
        }
    }

    /// Sets the reason phrase.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Sets when the response expires; `None` is never.
    #[must_use]
    pub fn with_expires(mut self, expires: Option<SystemTime>) -> Self {
        self.expires = expires.map(whole_milliseconds);
        self
    }

    /// Sets when the origin was last asked, and confirmed that the response still holds.
    pub(crate) fn with_validated(mut self, validated: SystemTime) -> Self {
        self.validated = Some(whole_milliseconds(validated));
        self
    }

    /// Sets how long the origin took to answer.
    #[must_use]
    pub fn with_elapsed(mut self, elapsed: Duration) -> Self {
        self.elapsed = Duration::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
        self
    }

    /// Sets the content coding that the body is still in, such as `gzip`; empty if it was decoded.
    #[must_use]
    pub fn with_coding(mut self, coding: impl Into<String>) -> Self {
        self.coding = coding.into();
        self
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The reason phrase; empty if the origin sent none.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The headers as received, repeated ones included; only credentials in `Location` read `REDACTED`.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The URL that gave this response. Credentials in it read `REDACTED`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The request that it answers.
    pub fn request(&self) -> &StoredRequest {
        &self.request
    }

    /// When the response was received.
    pub fn created_at(&self) -> SystemTime {
        self.created
    }

    /// When the origin last confirmed that it still holds; `None` if it was not asked since.
    pub fn validated_at(&self) -> Option<SystemTime> {
        self.validated
    }

    /// When it expires; `None` is never. A response that an unsafe request made invalid may not be served even before.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Whether it is expired at `now`: from the very moment of `expires_at` on.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// How long ago it was received; nothing if that is in the future.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.created).unwrap_or_default()
    }

    /// The host of its URL, in lower case and without port; empty if the URL has none.
    pub fn host(&self) -> &str {
        let authority =
            self.url.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest));
        let end = match authority.rfind(']') {
            Some(end) => end + 1,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        authority.get(..end).unwrap_or_default()
    }

    /// How long the origin took to answer.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The content coding that the body is still in, such as `gzip`; empty if it was decoded.
    pub fn coding(&self) -> &str {
        &self.coding
    }

    /// The memory that it takes apart from its body.
    pub(crate) fn memory(&self) -> usize {
        let request = &self.request;
        let texts = [&self.reason, &self.url, &self.coding, &request.method, &request.url];
        let texts: usize = texts.iter().map(|text| text.capacity()).sum();
        size_of::<Self>() + texts + memory_of(&self.headers) + memory_of(&request.headers)
    }
}

impl fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredResponse")
            .field("status", &self.status.as_u16())
            .field("url", &self.url)
            .field("created", &self.created)
            .field("expires", &self.expires)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The memory of headers: for each that there is room for an entry and its hash, and the value in a block of its own.
fn memory_of(headers: &HeaderMap) -> usize {
    const ENTRY: usize = 112;
    const BLOCK: usize = 48;
    let values: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + BLOCK).sum();
    headers.capacity() * ENTRY + values
}

/// What the head can hold, so that a response is the same before and after it was stored.
fn whole_milliseconds(time: SystemTime) -> SystemTime {
    from_ms(to_ms(time))
}

/// Milliseconds since the Unix epoch, rounded down and limited to what an `i64` holds.
pub(crate) fn to_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            let ns = before.duration().as_nanos();
            i64::try_from(ns.div_ceil(1_000_000)).map_or(i64::MIN, |ms| -ms)
        }
    }
}

/// The time that many milliseconds after the Unix epoch; the epoch itself if the system cannot express it.
pub(crate) fn from_ms(ms: i64) -> SystemTime {
    let span = Duration::from_millis(ms.unsigned_abs());
    let time = if ms < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    time.unwrap_or(UNIX_EPOCH)
}
