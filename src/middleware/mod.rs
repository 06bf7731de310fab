//! The cache under an agent of ureq that exists already.

mod memory;
mod one_call;

use std::{fmt, io::Read, sync::OnceLock};

use bytes::Bytes;
use http::{
    Request, Response,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
};
use ureq::{
    Agent, Body, SendBody,
    middleware::{Middleware, MiddlewareNext},
};

use crate::{CachedSession, Error, ErrorKind, ResponseStream};
use memory::Script;
use one_call::{Called, OneCall};

/// Puts the cache of a session under an existing [`ureq::Agent`].
///
/// What the agent sends goes through the cache: what is stored comes from there, and the rest is sent by the agent,
/// with its own configuration: proxies, TLS, time-outs, redirects, headers. Of the session only the settings about
/// storing and serving count, hooks included, and none that are about sending. The answers are the agent's: errors for
/// statuses, [`get_uri`](ureq::ResponseExt::get_uri), [`get_redirect_history`](ureq::ResponseExt::get_redirect_history)
/// and the ways to read a body are the same on a hit as on a miss. [`from_cache`] tells them apart.
///
/// The first of an agent's middlewares sees a request first: what stands before this one sees hits too, what stands
/// behind it does not.
///
/// # What differs from a session's own requests
///
/// * An answer with a status of 400 or above can only be stored if the agent does not make it an error
///   (`http_status_as_error(false)`), as there is nothing of it left otherwise.
/// * Of redirects that the agent followed only the URLs are known. They are stored as `302 Found` without further
///   headers. Those of requests with a body are sent and not stored, and make nothing that is stored invalid.
/// * Bodies of requests that the cache has to do with are read into memory.
/// * What ureq has decoded (its features `gzip`, `brotli`, `charset`) is stored decoded, as it removes the headers that
///   say so.
/// * Whether the agent verifies certificates cannot be seen here. One that does not should have a cache of its own.
/// * Nor can what is added behind it to say who asks: by middlewares that stand behind this one, by the agent's own jar
///   (ureq's feature `cookies`), by client certificates. Give each user a session with a
///   [`partition`](crate::CachedSessionBuilder::partition) of its own then.
/// * A failure of larder is [`ureq::Error::Other`] with a [`larder::Error`](crate::Error) in it.
///
/// ```
/// use larder::{Backend, CachedSession};
/// use ureq::Agent;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let session = CachedSession::builder("cache").backend(Backend::Memory).build()?;
/// let agent: Agent = Agent::config_builder()
///     .timeout_global(Some(std::time::Duration::from_secs(10)))
///     .middleware(larder::middleware(session.clone()))
///     .build()
///     .into();
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("http://{}/", listener.local_addr()?);
/// # std::thread::spawn(move || {
/// #     use std::io::{Read, Write};
/// #     let (mut stream, _) = listener.accept().unwrap();
/// #     let _ = stream.read(&mut [0; 4096]).unwrap();
/// #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
/// # });
/// for _ in 0..2 {
///     assert_eq!(agent.get(&url).call()?.body_mut().read_to_string()?, "hello");
/// }
/// assert_eq!(session.cache().stats()?.hits, 1);
/// # Ok(())
/// # }
/// ```
///
/// [`from_cache`]: CacheMiddleware::from_cache
#[must_use]
pub fn middleware(session: CachedSession) -> CacheMiddleware {
    CacheMiddleware { caching: session.for_caching(), session }
}

/// The cache of a session as a middleware of ureq: [`larder::middleware`](middleware()).
#[derive(Clone)]
pub struct CacheMiddleware {
    session: CachedSession,
    /// The same without its own way to send requests.
    caching: CachedSession,
}

/// Beside the answer: whether it came from the cache.
#[derive(Clone, Copy)]
struct FromCache(bool);

impl CacheMiddleware {
    /// Whether an answer of the agent came from the cache.
    #[must_use]
    pub fn from_cache(response: &Response<Body>) -> bool {
        response.extensions().get().is_some_and(|FromCache(from_cache)| *from_cache)
    }

    /// The session whose cache it is.
    #[must_use]
    pub fn session(&self) -> &CachedSession {
        &self.session
    }
}

impl fmt::Debug for CacheMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheMiddleware").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Middleware for CacheMiddleware {
    fn handle(&self, request: Request<SendBody>, next: MiddlewareNext) -> Result<Response<Body>, ureq::Error> {
        if !self.caching.takes_part(request.method(), request.uri(), request.headers()) {
            return next.handle(request);
        }
        let (parts, body) = request.into_parts();
        let mut bytes = Vec::new();
        body.into_reader().read_to_end(&mut bytes)?;
        let asked = Request::from_parts(parts.clone(), Bytes::from(bytes));
        let call = OneCall::new(Request::from_parts(parts.clone(), ()), next);
        match self.caching.run_through(&call, asked) {
            Ok(stream) => answer(&Request::from_parts(parts, ()), stream),
            Err(error) => match call.into_result() {
                Called::Not => Err(ureq::Error::Other(Box::new(error))),
                Called::Failed(error) => Err(error),
                Called::NotForUs(response) => Ok(response),
            },
        }
    }
}

/// The answer as the agent would give it: what it makes of the same answers when they come from memory.
fn answer(request: &Request<()>, stream: ResponseStream) -> Result<Response<Body>, ureq::Error> {
    let hops = stream.history();
    let mut script = Script::new();
    for (n, hop) in hops.iter().enumerate() {
        let target = hops.get(n + 1).map_or(stream.url(), |next| next.url());
        script.redirect(hop.status(), hop.headers(), target);
    }
    let from_cache = FromCache(stream.from_cache());
    let mut headers = stream.headers().clone();
    script.last(stream, transcodes());
    let (mut response, to_the_end) = script.run(request)?;
    response.extensions_mut().insert(from_cache);
    if to_the_end {
        // Where ureq decodes it removes the headers that say so.
        if !response.headers().contains_key(CONTENT_ENCODING) && headers.remove(CONTENT_ENCODING).is_some() {
            headers.remove(CONTENT_LENGTH);
        }
        *response.headers_mut() = headers;
    }
    Ok(response)
}

/// Whether ureq was built to turn text into UTF-8 on the way (its feature `charset`): what is stored is that then, and
/// must not be turned again.
fn transcodes() -> bool {
    static TRANSCODES: OnceLock<bool> = OnceLock::new();
    *TRANSCODES.get_or_init(|| {
        let mut text = Body::builder().mime_type("text/plain").charset("iso-8859-1").data([0xe9]);
        text.read_to_vec().is_ok_and(|bytes| bytes != [0xe9])
    })
}

/// An agent that replays answers from memory and has no network.
fn replaying_agent() -> &'static Agent {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    AGENT.get_or_init(memory::agent)
}

fn not_possible(message: &str) -> Error {
    Error::new(ErrorKind::Network, message)
}
