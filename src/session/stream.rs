//! Answers whose body is handed out piece by piece, and stored on the way.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::{
    CacheStatus, Link, Response,
    decode::{from_io, too_large},
    pieces::{Chunks, CopyTarget, Lines},
    source::Source,
    spool::{Spool, SpoolReader},
};
use crate::{Result, StoredRequest};

/// An answer whose body has yet to be read: [`RequestBuilder::send_stream`](super::RequestBuilder::send_stream).
///
/// It has the attributes of a [`Response`] and [`Read`]s the body, decoded unless the request wanted it as it came.
/// [`bytes`](Self::bytes), [`text`](Self::text), [`json`](Self::json) and [`into_response`](Self::into_response) read
/// what is left of it to its end; [`lines`](Self::lines), [`chunks`](Self::chunks) and [`copy_to`](Self::copy_to) go
/// through it. Neither a miss nor a hit keeps more than a few MiB of it in memory, provided the store can (the log can;
/// a store that keeps whole values holds a body that is being stored in memory).
///
/// A miss is stored once its body has been read to the end: the read that returns 0, or that hands out the last byte of
/// an announced length. A body that breaks off, is dropped before, or turns out larger than
/// [`max_body`](super::CachedSessionBuilder::max_body) is not stored; the last is handed out all the same. A read that
/// fails is followed by none that does not. If the store fails, the body is handed out all the same, and a strict
/// session gets the error in the place of its end.
///
/// A hit is read from the response that was found, whatever is stored in its place meanwhile. A stored piece that fails
/// its checksum is an error of the kind [`InvalidData`](io::ErrorKind::InvalidData) when it is reached; what was read
/// before was sound, and the next request asks the origin again.
///
/// Identical requests that are made while the body of a miss is being read
/// [share it](super::CachedSessionBuilder::single_flight).
///
/// ```
/// # use larder::{Backend, CachedSession};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let session = CachedSession::builder("cache").backend(Backend::Memory)
/// #     .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(vec![7; 100_000]))).build()?;
/// let mut stream = session.get("http://example.org/large").send_stream()?;
/// assert!(!stream.from_cache());
/// assert_eq!(std::io::copy(&mut stream, &mut std::io::sink())?, 100_000);
/// assert!(session.get("http://example.org/large").send_stream()?.from_cache());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is stored before the body is read"]
pub struct ResponseStream {
    response: Response,
    body: SpoolReader,
    max_body: u64,
}

/// Attributes that do not need the body.
macro_rules! as_of_the_response {
    ($($(#[$meta:meta])* $name:ident -> $type:ty;)*) => {
        $(
            #[doc = concat!("As [`Response::", stringify!($name), "`].")]
            $(#[$meta])*
            #[must_use]
            pub fn $name(&self) -> $type {
                self.response.$name()
            }
        )*
    };
}

impl ResponseStream {
    pub(super) fn new(response: Response, body: SpoolReader, max_body: u64) -> Self {
        Self { response, body, max_body }
    }

    as_of_the_response! {
        status -> StatusCode;
        reason -> &str;
        headers -> &HeaderMap;
        url -> &str;
        history -> &[Response];
        /// It is the time up to the head of the answer.
        elapsed -> Duration;
        links -> Vec<Link>;
        request -> &StoredRequest;
        from_cache -> bool;
        cache_status -> CacheStatus;
        /// On a miss it says `stored` once the body has been read to its end.
        cache_status_field -> String;
        created_at -> SystemTime;
        expires_at -> Option<SystemTime>;
        is_expired -> bool;
        revalidated -> bool;
        /// On a miss it is there once the body has been read to its end.
        cache_key -> Option<&str>;
    }

    /// As [`Response::cookies`].
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.response.cookies()
    }

    /// As [`Response::error_for_status`]: the stream, unless its status is 400 or above.
    ///
    /// # Errors
    ///
    /// [`Status`](crate::ErrorKind::Status) with status and URL; the body is not read then.
    pub fn error_for_status(self) -> Result<Self> {
        match self.response.clone().error_for_status() {
            Ok(_) => Ok(self),
            Err(error) => Err(error),
        }
    }

    /// Reads what is left of the body and gives the answer with it.
    ///
    /// # Errors
    ///
    /// As [`send`](super::RequestBuilder::send): [`TooLarge`](crate::ErrorKind::TooLarge) for more than
    /// [`max_body`](super::CachedSessionBuilder::max_body).
    pub fn into_response(mut self) -> Result<Response> {
        let body = self.rest().map_err(|error| self.response.located(error))?;
        let mut response = self.response;
        Arc::make_mut(&mut response.stored).body = body;
        Ok(response)
    }

    /// What is left of the body.
    ///
    /// # Errors
    ///
    /// As [`into_response`](Self::into_response).
    pub fn bytes(self) -> Result<Bytes> {
        self.into_response().map(|response| response.bytes().clone())
    }

    /// What is left of the body as text, as [`Response::text`] gives it.
    ///
    /// # Errors
    ///
    /// As [`into_response`](Self::into_response) and [`Response::text`].
    pub fn text(self) -> Result<String> {
        self.into_response()?.text()
    }

    /// What is left of the body as JSON, as [`Response::json`] gives it.
    ///
    /// # Errors
    ///
    /// As [`into_response`](Self::into_response) and [`Response::json`].
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.into_response()?.json()
    }

    /// The answer in the form of the `http` crate, with what is left of its body.
    ///
    /// # Errors
    ///
    /// As [`into_response`](Self::into_response).
    pub fn into_http(self) -> Result<http::Response<Vec<u8>>> {
        self.into_response().map(Response::into_http)
    }

    /// The body line by line, without the line breaks (`\n` or `\r\n`), each as soon as it has come.
    ///
    /// A byte order mark decides about the charset, else that of `Content-Type`, else it is UTF-8: what
    /// [`text`](Self::text) finds out by looking at the whole cannot be known here. Malformed bytes become U+FFFD.
    ///
    /// An item is an error where the body breaks off, for a charset that is not known, and for a line of more than
    /// [`max_body`](super::CachedSessionBuilder::max_body) bytes; it is the last one.
    ///
    /// ```
    /// # use larder::{Backend, CachedSession};
    /// # fn main() -> larder::Result<()> {
    /// # let session = CachedSession::builder("cache").backend(Backend::Memory)
    /// #     .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(b"one\r\ntwo\n".to_vec()))).build()?;
    /// let stream = session.get("http://example.org/log").send_stream()?;
    /// let lines: Vec<String> = stream.lines().collect::<larder::Result<_>>()?;
    /// assert_eq!(lines, ["one", "two"]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "nothing is stored before the body is read"]
    pub fn lines(self) -> Lines {
        Lines::new(self)
    }

    /// The body in pieces of this many bytes, all but the last; 0 is taken as 1.
    ///
    /// An item is an error where the body breaks off; it is the last one.
    #[must_use = "nothing is stored before the body is read"]
    pub fn chunks(self, len: usize) -> Chunks {
        Chunks::new(self, len)
    }

    /// Writes what is left of the body to a file, given by its path, or to `&mut` anything that can be written to.
    /// Gives the number of bytes.
    ///
    /// A file gets its name when all of it is there: one that is there already is replaced whole or stays as it is,
    /// with the mode that new files have. It is not synced to the disk.
    ///
    /// # Errors
    ///
    /// [`Network`](crate::ErrorKind::Network) and others where the body breaks off; [`Io`](crate::ErrorKind::Io),
    /// [`Full`](crate::ErrorKind::Full), [`ReadOnly`](crate::ErrorKind::ReadOnly) from the file.
    ///
    /// ```
    /// # use larder::{Backend, CachedSession};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let session = CachedSession::builder("cache").backend(Backend::Memory)
    /// #     .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(vec![7; 100_000]))).build()?;
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("large.bin");
    /// assert_eq!(session.get("http://example.org/large").send_stream()?.copy_to(&path)?, 100_000);
    /// assert_eq!(std::fs::metadata(&path)?.len(), 100_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy_to(self, target: impl CopyTarget) -> Result<u64> {
        target.take(self)
    }

    pub(super) fn max_body(&self) -> u64 {
        self.max_body
    }

    pub(crate) fn response(&self) -> &Response {
        &self.response
    }

    /// Lets hooks see it, without its body. If they give back another answer, that takes its place, body and all.
    pub(super) fn hooked(self, hooks: impl FnOnce(Response) -> Result<Response>) -> Result<Self> {
        let Self { response, body, max_body } = self;
        let before = Arc::clone(&response.stored);
        let response = hooks(response)?;
        let body = if Arc::ptr_eq(&before, &response.stored) {
            body
        } else {
            Spool::reader(Source::whole(response.bytes().clone()))
        };
        Ok(Self { response, body, max_body })
    }

    fn rest(&mut self) -> Result<Bytes> {
        let mut body = Vec::new();
        let max = self.max_body;
        self.take(max.saturating_add(1)).read_to_end(&mut body).map_err(from_io)?;
        if body.len() as u64 > max { Err(too_large(max)) } else { Ok(body.into()) }
    }
}

impl Read for ResponseStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (n, key) = self.body.read(buffer)?;
        if let Some(key) = key
            && self.response.cache_key.is_none()
        {
            self.response.cache_key = Some(key.to_hex());
        }
        Ok(n)
    }
}

impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream").field("response", &self.response).finish_non_exhaustive()
    }
}
