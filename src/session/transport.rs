//! Sending one hop: the seam below which the network lies, and what fills it by default.

use std::{
    io::{self, Read},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};

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
}

impl<F> Transport for F
where
    F: Fn(&Request<Bytes>) -> Result<Response<Vec<u8>>> + Send + Sync,
{
    fn send(&self, request: &Request<Bytes>, _options: &HopOptions) -> Result<Response<WireBody>> {
        Ok(self(request)?.map(|body| Box::new(io::Cursor::new(body)) as WireBody))
    }
}

/// The transport of a session that was given no other: HTTP/1.1 by `ureq`, connections kept and shared.
#[derive(Debug, Clone)]
pub(crate) struct UreqTransport {
    agent: ureq::Agent,
}

impl UreqTransport {
    pub(crate) fn new() -> Self {
        // Everything that ureq would do on its own account is off: each header that it would add stands in the
        // request, so that what is shown and stored as "sent" was sent.
        let config = ureq::Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .build();
        Self { agent: config.into() }
    }
}

impl Transport for UreqTransport {
    fn send(&self, request: &Request<Bytes>, options: &HopOptions) -> Result<Response<WireBody>> {
        let method = request.method();
        let timeout = options.timeout;
        let fail = |error| map_error(method, timeout, error);
        let response = if request.body().is_empty() && !expects_body(method) {
            self.run(request_with(request, ()), timeout)
        } else {
            self.run(request_with(request, &request.body()[..]), timeout)
        };
        let (parts, body) = response.map_err(fail)?.into_parts();
        // The convenience readers of ureq stop at 10 MiB; how much is too much is the session's business.
        let body = body.into_with_config().limit(u64::MAX).reader();
        Ok(Response::from_parts(parts, Box::new(UreqBody(body))))
    }
}

impl UreqTransport {
    fn run<S: ureq::AsSendBody>(
        &self,
        request: Request<S>,
        timeout: Timeout,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        // Limits of its own cost a request the cached TLS configuration until a request without them has made it.
        if timeout == Timeout::default() {
            return self.agent.run(request);
        }
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(timeout.total)
            .timeout_resolve(timeout.connect)
            .timeout_connect(timeout.connect)
            .timeout_per_read(timeout.read)
            .build();
        self.agent.run(request)
    }
}

/// The request with another body; the one it has is not copied.
fn request_with<B>(request: &Request<Bytes>, body: B) -> Request<B> {
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// POST, PUT and PATCH say `Content-Length: 0` when they have no body; many servers insist on it.
fn expects_body(method: &http::Method) -> bool {
    matches!(*method, http::Method::POST | http::Method::PUT | http::Method::PATCH)
}

/// Tells time-outs apart from other read errors, so that nobody above has to know ureq.
struct UreqBody(ureq::BodyReader<'static>);

impl Read for UreqBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let timed_out = matches!(error.get_ref().and_then(|e| e.downcast_ref()), Some(ureq::Error::Timeout(_)));
            if timed_out { io::Error::new(io::ErrorKind::TimedOut, error) } else { error }
        })
    }
}

fn map_error(method: &http::Method, timeout: Timeout, error: ureq::Error) -> Error {
    use ureq::Error as Cause;
    let (kind, message) = match &error {
        Cause::Timeout(_) => return timed_out(method, timeout).with_source(error),
        Cause::Io(cause) if is_timeout(cause) => return timed_out(method, timeout).with_source(error),
        // Its text repeats the URL, credentials and all: it is not kept as the source.
        Cause::BadUri(_) => {
            let message = format!("cannot send {method}: the URL is not one that HTTP can ask for");
            return Error::new(ErrorKind::InvalidInput, message);
        }
        Cause::HostNotFound => {
            (ErrorKind::Network, "the host name does not resolve; check the name and the DNS".into())
        }
        Cause::ConnectionFailed => (ErrorKind::Network, "no connection; check that the server runs".into()),
        Cause::Tls(_) | Cause::TlsRequired => (ErrorKind::Tls, tls_advice(&error)),
        #[cfg(feature = "tls")]
        Cause::Rustls(_) => (ErrorKind::Tls, tls_advice(&error)),
        Cause::Http(_) => (ErrorKind::InvalidInput, format!("the request cannot be written as HTTP ({error})")),
        Cause::Io(cause) if is_tls(cause) => (ErrorKind::Tls, tls_advice(&error)),
        Cause::Io(cause) => (ErrorKind::Network, io_advice(cause)),
        Cause::Protocol(_) => {
            (ErrorKind::Network, format!("the server's answer is not valid HTTP ({error}); check address and port"))
        }
        other => (ErrorKind::Network, other.to_string()),
    };
    Error::new(kind, format!("cannot send {method}: {message}")).with_source(error)
}

fn is_timeout(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// rustls reports a bad certificate as an I/O error of the first read or write.
fn is_tls(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::InvalidData
}

fn tls_advice(error: &ureq::Error) -> String {
    if cfg!(feature = "tls") {
        format!("the TLS connection failed ({error}); check the certificate, the name in the URL and the clock")
    } else {
        "https needs the feature `tls`, which is not compiled in".to_owned()
    }
}

fn io_advice(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("{cause}; check that the server runs and that address and port are right")
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            format!("the server closed the connection before it answered ({cause}); try again")
        }
        _ => cause.to_string(),
    }
}

/// The error of a request, or of a body, that took too long.
pub(super) fn timed_out(method: &http::Method, timeout: Timeout) -> Error {
    let limits = [(timeout.total, "in all"), (timeout.connect, "to connect"), (timeout.read, "between two reads")];
    let limits: Vec<String> =
        limits.iter().filter_map(|(limit, what)| limit.map(|limit| format!("{limit:?} {what}"))).collect();
    let limits = if limits.is_empty() { "no limit of ours".to_owned() } else { limits.join(", ") };
    Error::new(ErrorKind::Timeout, format!("{method} took too long ({limits}); raise the limit with timeout(..)"))
}
