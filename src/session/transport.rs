//! Sending one hop: the seam below which the network lies, and what fills it by default.

use std::{
    io::{self, Read},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};

use super::{
    body::unreadable,
    proxies::Proxy,
    tls::{ClientCert, Verify},
};
use crate::{Error, ErrorKind, Result};

/// The body of an answer as it comes over the wire, to be read once.
pub type WireBody = Box<dyn Read + Send>;

/// How long a request may take.
///
/// Made from a [`Duration`] (the whole of `send()`, redirects and body included), from a pair of them (to connect;
/// between two reads), or from `None` (no limit, which is the default).
///
/// ```
/// use std::time::Duration;
/// use larder::Timeout;
///
/// let total: Timeout = Duration::from_secs(30).into();
/// let apart: Timeout = (Duration::from_secs(3), Duration::from_secs(10)).into();
/// assert_eq!(total.total, Some(Duration::from_secs(30)));
/// assert_eq!((apart.connect, apart.total), (Some(Duration::from_secs(3)), None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Timeout {
    /// For everything, from the call of `send()` to the last byte of the last body.
    pub total: Option<Duration>,
    /// To resolve the name and to connect, for each hop.
    pub connect: Option<Duration>,
    /// Between two reads, for each hop.
    pub read: Option<Duration>,
}

impl From<Duration> for Timeout {
    fn from(total: Duration) -> Self {
        Self { total: Some(total), ..Self::default() }
    }
}

impl From<Option<Duration>> for Timeout {
    fn from(total: Option<Duration>) -> Self {
        Self { total, ..Self::default() }
    }
}

impl From<(Duration, Duration)> for Timeout {
    fn from((connect, read): (Duration, Duration)) -> Self {
        Self { connect: Some(connect), read: Some(read), ..Self::default() }
    }
}

/// What a [`Transport`] is told besides the request.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct HopOptions {
    /// What is left of the request's time-outs.
    pub timeout: Timeout,
    /// How the server's certificate is verified.
    pub verify: Verify,
    /// What the server is shown if it asks.
    pub client_cert: Option<ClientCert>,
    /// By which proxy the request goes; `None` is straight to the server.
    pub proxy: Option<Proxy>,
}

/// Sends one request and brings one answer: no redirects, no cache, no decoding.
///
/// The contract: the request is sent once, with the headers as given (a `Host`, `Content-Length` and the like may be
/// added); an answer of any status is `Ok`; the body is read lazily, byte for byte as it came over the wire (transfer
/// codings undone, content codings left alone), and a body that ends before its announced length fails with
/// [`io::ErrorKind::UnexpectedEof`], one that takes too long with [`io::ErrorKind::TimedOut`]. Errors are of the kinds
/// [`Timeout`](ErrorKind::Timeout), [`Network`](ErrorKind::Network), [`Tls`](ErrorKind::Tls) or
/// [`InvalidInput`](ErrorKind::InvalidInput) and name no credentials; the session adds the URL.
///
/// Every closure from a request to a response is one, which is what tests and examples use:
///
/// ```
/// use larder::{Backend, CachedSession};
///
/// # fn main() -> larder::Result<()> {
/// let session = CachedSession::builder("cache")
///     .backend(Backend::Memory)
///     .transport(|request: &http::Request<bytes::Bytes>| {
///         Ok(http::Response::new(format!("{} {}", request.method(), request.uri().path()).into_bytes()))
///     })
///     .build()?;
/// assert_eq!(session.get("http://example.org/a").send()?.text()?, "GET /a");
/// assert!(session.get("http://example.org/a").send()?.from_cache());
/// # Ok(())
/// # }
/// ```
pub trait Transport: Send + Sync {
    /// Sends one request.
    ///
    /// # Errors
    ///
    /// When no answer came: see the contract.
    fn send(&self, request: &Request<Bytes>, options: &HopOptions) -> Result<Response<WireBody>>;

    /// Sends one request whose body is read while it is sent: `len` bytes, or in chunks if that is not known.
    ///
    /// Unless a transport can do better, the body is read into memory first.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`InvalidInput`](ErrorKind::InvalidInput) if the body cannot be read.
    fn send_reader(
        &self,
        request: &Request<()>,
        body: &mut (dyn Read + Send),
        len: Option<u64>,
        options: &HopOptions,
    ) -> Result<Response<WireBody>> {
        let _ = len;
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        self.send(&with_body(request, bytes.into()), options)
    }
}

impl<F> Transport for F
where
    F: Fn(&Request<Bytes>) -> Result<Response<Vec<u8>>> + Send + Sync,
{
    fn send(&self, request: &Request<Bytes>, _options: &HopOptions) -> Result<Response<WireBody>> {
        Ok(self(request)?.map(|body| Box::new(io::Cursor::new(body)) as WireBody))
    }
}

/// The request with another body; the one it has is not copied.
pub(super) fn with_body<A, B>(request: &Request<A>, body: B) -> Request<B> {
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// The error of a request, or of a body, that took too long.
pub(super) fn timed_out(method: &http::Method, timeout: Timeout) -> Error {
    let limits = [(timeout.total, "in all"), (timeout.connect, "to connect"), (timeout.read, "between two reads")];
    let limits: Vec<String> =
        limits.iter().filter_map(|(limit, what)| limit.map(|limit| format!("{limit:?} {what}"))).collect();
    let limits = if limits.is_empty() { "no limit of ours".to_owned() } else { limits.join(", ") };
    Error::new(ErrorKind::Timeout, format!("{method} took too long ({limits}); raise the limit with timeout(..)"))
}
