//! What is asked: the builder of a request, and the request that comes out of it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Method,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE},
};
use serde::Serialize;
use url::Url;

use super::{
    Body, CachedSession, Response, ResponseStream, Timeout,
    auth::Auth,
    basic,
    delivery::{Delivery, secret_value},
    dress::Extra,
    headers::{join_cookies, with_defaults},
    hooks::Hooks,
    multipart::Form,
    pairs::TextPair,
    params,
    settings::Settings,
};
use crate::{
    Error, ErrorKind, Expire, Result,
    policy::{exchange::Refresh, redact},
};

/// A request that is about to be looked up or sent, as [`key_fn`](super::CachedSessionBuilder::key_fn) sees it.
///
/// It holds what will be sent, credentials included; only `Debug` leaves them out.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) body: Bytes,
    /// What most requests have nothing of.
    pub(super) extra: Option<Arc<Extra>>,
}

impl Request {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The absolute URL, without userinfo: that has become an `Authorization` header.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body; empty if there is none, or if it is read while it is sent, which makes it no part of a key.
    #[doc(alias = "data")]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Who asks, where that is more than a header.
    pub(super) fn auth(&self) -> Option<&Auth> {
        self.extra.as_ref()?.auth.as_ref()
    }

    /// The body, if it is not in memory.
    pub(super) fn body_to_send(&self) -> Option<&Body> {
        self.extra.as_ref()?.body.as_ref()
    }

    /// Reads a body that is not in memory, so that it is part of the key.
    pub(super) fn settle_body(&mut self, max: u64) -> Result<()> {
        if let Some(body) = self.body_to_send() {
            self.body = body.read(max)?;
            self.change_extra(|extra| extra.body = None);
        }
        Ok(())
    }

    pub(super) fn change_extra(&mut self, change: impl FnOnce(&mut Extra)) {
        if let Some(extra) = &mut self.extra {
            change(Arc::make_mut(extra));
        }
    }

    /// The URL as it may be shown and stored.
    pub(super) fn shown_url(&self) -> String {
        redact::url(self.url.as_str(), &mut redact::Credentials::default())
    }

    /// In the form of the `http` crate, for the transport.
    pub(super) fn to_http(&self) -> Result<http::Request<Bytes>> {
        let end = self.url.as_str().find('#').unwrap_or(self.url.as_str().len());
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(&self.url.as_str()[..end])
            .body(self.body.clone())
            .map_err(|_| invalid("the URL is not one that HTTP can ask for").with_url(self.shown_url()))?;
        *request.headers_mut() = HeaderMap::clone(&self.headers);
        Ok(request)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.shown_url())
            .field("headers", &redact::headers(&self.headers, &mut redact::Credentials::default()))
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What few requests are given: a plain one is not to carry its weight.
#[derive(Clone, Default)]
pub(super) struct Rare {
    /// Parts of the query as they are to be sent.
    pub(super) raw_query: Vec<String>,
    /// Names of parameters that the session does not add.
    pub(super) removed_query: Vec<String>,
    /// Names of headers that neither the session nor anybody else adds.
    pub(super) removed: Vec<HeaderName>,
    pub(super) cookies: Vec<(String, String)>,
}

/// What one request asks of the session beyond its settings.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) timeout: Option<Timeout>,
    pub(super) redirects: Option<usize>,
    pub(super) decode: Option<bool>,
    pub(super) expire: Option<Expire>,
    pub(super) refresh: Refresh,
    pub(super) only_if_cached: bool,
    pub(super) no_store: bool,
    pub(super) delivery: Option<Box<Delivery>>,
    pub(super) on_response: Hooks,
}

/// Builds a request; [`send`](Self::send) sends it or serves it from the cache.
///
/// Nothing here fails: an invalid URL, method, header or body is reported by `send()`.
///
/// ```
/// use larder::{Backend, CachedSession};
/// # fn origin(request: &http::Request<bytes::Bytes>) -> larder::Result<http::Response<Vec<u8>>> {
/// #     Ok(http::Response::new(request.uri().to_string().into_bytes()))
/// # }
///
/// # fn main() -> larder::Result<()> {
/// let session = CachedSession::builder("cache").backend(Backend::Memory).transport(origin).build()?;
/// let response = session
///     .get("http://example.org/search")
///     .query("q", "red herring")
///     .header("Accept-Language", "en")
///     .send()?;
/// assert_eq!(response.text()?, "http://example.org/search?q=red+herring");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a request does nothing until `send()`"]
pub struct RequestBuilder {
    session: CachedSession,
    method: Method,
    url: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    body: Option<Box<Body>>,
    rare: Option<Box<Rare>>,
    pub(super) options: Options,
    error: Option<String>,
}

impl RequestBuilder {
    pub(super) fn new(session: CachedSession, method: Option<Method>, url: &str) -> Self {
        let error = method.is_none().then(|| "the method is not a valid HTTP method".to_owned());
        Self {
            session,
            method: method.unwrap_or_default(),
            url: url.to_owned(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            rare: None,
            options: Options::default(),
            error,
        }
    }

    /// Sets the body. It is part of the cache key if the request takes part in the cache; see [`Body`].
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = Some(Box::new(body.into()));
        self
    }

    /// Sets the body to a value as JSON, and `Content-Type` unless it is set.
    pub fn json(self, value: impl Serialize) -> Self {
        let body = Body::json(value).unwrap_or_else(|error| Body::failed(error.kind(), error.to_string()));
        self.body(body)
    }

    /// Sets the body to an HTML form (`application/x-www-form-urlencoded`), and `Content-Type` unless it is set.
    ///
    /// The fields are pairs of name and value, by value or by reference.
    pub fn form<P: TextPair>(self, fields: impl IntoIterator<Item = P>) -> Self {
        self.body(Body::form(fields))
    }

    /// Sets the body to a form with files (`multipart/form-data`), and `Content-Type` unless it is set; see [`Form`].
    #[doc(alias = "files")]
    pub fn multipart(self, form: Form) -> Self {
        self.body(form)
    }

    /// Limits how long this request may take; see [`Timeout`]. A hit is not limited.
    pub fn timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.options.timeout = Some(timeout.into());
        self
    }

    /// Follows at most this many redirects instead of the session's number. With 0 the redirect itself is the answer.
    #[doc(alias = "allow_redirects")]
    pub fn redirects(mut self, limit: usize) -> Self {
        self.options.redirects = Some(limit);
        self
    }

    /// Whether content codings are undone, instead of the session's
    /// [setting](super::CachedSessionBuilder::decode). With `false` the bytes are handed out as they came.
    pub fn decode(mut self, decode: bool) -> Self {
        self.options.decode = Some(decode);
        self
    }

    /// When the answer expires if it is stored now, instead of the session's setting.
    ///
    /// What is stored already keeps its time. [`Expire::DoNotCache`] neither reads nor stores.
    pub fn expire_after(mut self, expire: impl Into<Expire>) -> Self {
        self.options.expire = Some(expire.into());
        self
    }

    /// Asks the origin even if an answer is stored. If that has a validator (`ETag`, `Last-Modified`), the origin is
    /// asked whether it still holds, and a 304 makes it the answer; else what comes replaces what is stored.
    pub fn refresh(mut self) -> Self {
        self.options.refresh = Refresh::Validate;
        self
    }

    /// Asks the origin without regard to what is stored, and replaces it. What is stored is served only where
    /// [`stale_if_error`](super::CachedSessionBuilder::stale_if_error) is set and no answer comes.
    pub fn force_refresh(mut self) -> Self {
        self.options.refresh = Refresh::Force;
        self
    }

    /// Answers from the cache or fails with [`OfflineMiss`](ErrorKind::OfflineMiss); the network is not touched.
    pub fn only_if_cached(mut self) -> Self {
        self.options.only_if_cached = true;
        self
    }

    /// Neither reads the cache for this request nor stores the answer.
    pub fn no_store(mut self) -> Self {
        self.options.no_store = true;
        self
    }

    /// Adds a hook that sees the answer after those of the session; see
    /// [`CachedSessionBuilder::on_response`](super::CachedSessionBuilder::on_response).
    #[doc(alias = "hooks")]
    pub fn on_response(mut self, hook: impl Fn(Response) -> Result<Response> + Send + Sync + 'static) -> Self {
        self.options.on_response.add(hook);
        self
    }

    /// Serves the request from the cache, or sends it; the body is read to its end.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what the builder was given;
    /// [`Timeout`](ErrorKind::Timeout), [`Network`](ErrorKind::Network), [`Tls`](ErrorKind::Tls) from the network;
    /// [`Decode`](ErrorKind::Decode), [`TooLarge`](ErrorKind::TooLarge) for a body that is broken or over its limit;
    /// [`OfflineMiss`](ErrorKind::OfflineMiss) if the network is out of bounds. A status of 400 and above is no error,
    /// and neither is a failing store, unless the session is strict.
    pub fn send(self) -> Result<Response> {
        let (session, request, options) = prepare(self)?;
        session.run(request, &options)
    }

    /// Sends the request, or answers it from the cache, up to the head of the answer; the body is then read in pieces.
    ///
    /// A miss is stored when its body has been read to the end, see [`ResponseStream`]. A filter is asked, and hooks
    /// are called, before the body has come: they see an answer without one.
    ///
    /// # Errors
    /// As [`send`](Self::send), but for what concerns the body: that is an error of reading it.
    #[doc(alias = "stream")]
    pub fn send_stream(self) -> Result<ResponseStream> {
        let (session, request, options) = prepare(self)?;
        session.run_stream(request, &options)
    }

    pub(super) fn secret(mut self, value: String) -> Self {
        match secret_value(value) {
            Ok(value) => drop(self.headers.insert(AUTHORIZATION, value)),
            Err(error) => self.fail(error.to_string()),
        }
        self.delivery().auth = None;
        self
    }

    pub(super) fn authenticated(mut self, auth: Auth) -> Self {
        self.headers.remove(AUTHORIZATION);
        self.delivery().auth = Some(auth);
        self
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn delivery(&mut self) -> &mut Delivery {
        self.options.delivery.get_or_insert_default()
    }

    pub(super) fn fail(&mut self, error: String) {
        self.error.get_or_insert(error);
    }
}

/// The request that was built, with what the session adds.
fn prepare(builder: RequestBuilder) -> Result<(CachedSession, Request, Options)> {
    let RequestBuilder { session, method, url, query, headers, body, rare, options, error } = builder;
    if let Some(error) = error {
        return Err(invalid(error).with_url(shown(&url)));
    }
    let settings = session.settings();
    let mut url = session.urls().parse(&url)?;
    if !(query.is_empty() && settings.query.is_empty() && rare.is_none()) {
        params::add_to(&mut url, query, &settings.query, rare.as_deref());
    }
    let mut auth = None;
    if let Some(own) = options.delivery.as_deref() {
        own.check()?;
        auth.clone_from(&own.auth);
    }
    let plain = Request { method, url, headers: Arc::clone(&settings.plain_headers), body: Bytes::new(), extra: None };
    let request = complete(plain, headers, body.map(|body| *body), rare, auth, settings)?;
    Ok((session, request, options))
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL and the headers may hold credentials that no parser has looked at yet.
        f.debug_struct("RequestBuilder").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Takes a request of the `http` crate; the session's headers are added where the request has none of their name.
pub(super) fn from_http<B: Into<Body>>(request: http::Request<B>, settings: &Settings) -> Result<Request> {
    let (parts, body) = request.into_parts();
    let url = parse_url(&parts.uri.to_string())?;
    let plain_headers = Arc::clone(&settings.plain_headers);
    let plain = Request { method: parts.method, url, headers: plain_headers, body: Bytes::new(), extra: None };
    complete(plain, parts.headers, Some(body.into()), None, None, settings)
}

pub(super) fn parse_url(text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| {
        invalid(format!("the URL is not valid ({error}); it begins with http:// or https://")).with_url(shown(text))
    })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(invalid("only http:// and https:// can be asked").with_url(shown(text))),
    }
}

/// A URL as an error may show it, valid or not.
fn shown(url: &str) -> String {
    redact::url(url, &mut redact::Credentials::default())
}

/// Adds what every request carries unless it says otherwise, so that nothing is sent that is not shown, to a request
/// that has the headers of one that says nothing.
fn complete(
    mut request: Request,
    mut headers: HeaderMap,
    body: Option<Body>,
    rare: Option<Box<Rare>>,
    auth: Option<Auth>,
    settings: &Settings,
) -> Result<Request> {
    let mut extra = Extra::default();
    if let Some(mut body) = body {
        if let Some(content_type) = body.take_type() {
            headers.entry(CONTENT_TYPE).or_insert(content_type);
        }
        match body.as_bytes() {
            Some(bytes) => request.body = bytes.clone(),
            None => match body.error() {
                Some(error) => return Err(error),
                None => extra.body = Some(body),
            },
        }
    }
    let mut removed = Vec::new();
    if let Some(rare) = rare {
        (removed, extra.cookies) = (rare.removed, rare.cookies);
    }
    // What the session says of who asks counts where the request says nothing.
    if auth.is_some() {
        removed.push(AUTHORIZATION);
        extra.auth = auth;
    } else if settings.delivery.auth.is_some() && !headers.contains_key(AUTHORIZATION) {
        extra.auth.clone_from(&settings.delivery.auth);
    }
    if !(headers.is_empty() && removed.is_empty()) {
        // It follows from the body; a wrong one would keep the server waiting.
        headers.remove(CONTENT_LENGTH);
        let mut headers = with_defaults(headers, settings, &removed);
        join_cookies(&mut headers);
        request.headers = Arc::new(headers);
    }
    if !extra.is_empty() {
        request.extra = Some(Arc::new(extra));
    }
    take_userinfo(&mut request);
    Ok(request)
}

/// Turns `user:password@` of the URL into the header that it stands for.
pub(super) fn take_userinfo(request: &mut Request) {
    if request.url.username().is_empty() && request.url.password().is_none() {
        return;
    }
    let user = basic::percent_decoded(request.url.username());
    let password = basic::percent_decoded(request.url.password().unwrap_or_default());
    // Both only fail for URLs that have no host, and those of http have one.
    let cleared = request.url.set_username("").and_then(|()| request.url.set_password(None));
    debug_assert!(cleared.is_ok());
    // Whoever says who asks in another way means that.
    if request.auth().is_none()
        && let Ok(value) = secret_value(basic::authorization(&user, &password))
    {
        Arc::make_mut(&mut request.headers).entry(AUTHORIZATION).or_insert(value);
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}
