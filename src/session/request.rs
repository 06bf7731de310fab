//! What is asked: the builder of a request, and the request that comes out of it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, COOKIE, USER_AGENT},
};
use serde::Serialize;
use url::{Url, form_urlencoded};

use super::{
    Body, CachedSession, Response, ResponseStream, Timeout, basic, codings,
    hooks::Hooks,
    pairs::{HeaderPair, TextPair},
    settings::Settings,
};
use crate::{Error, ErrorKind, Expire, Result, policy::redact};

const AGENT: &str = concat!("larder/", env!("CARGO_PKG_VERSION"));

/// A request that is about to be looked up or sent, as [`key_fn`](super::CachedSessionBuilder::key_fn) sees it.
///
/// It holds what will be sent, credentials included; only `Debug` leaves them out.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) body: Bytes,
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

    /// The body; empty if there is none.
    pub fn body(&self) -> &Bytes {
        &self.body
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
            .finish()
    }
}

/// What one request asks of the session beyond its settings.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) timeout: Option<Timeout>,
    pub(super) redirects: Option<usize>,
    pub(super) decode: Option<bool>,
    pub(super) expire: Option<Expire>,
    pub(super) refresh: bool,
    pub(super) only_if_cached: bool,
    pub(super) no_store: bool,
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
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    body_type: Option<&'static str>,
    options: Options,
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
            body: Bytes::new(),
            body_type: None,
            options: Options::default(),
            error,
        }
    }

    /// Adds a query parameter behind those of the URL; a name may be added more than once.
    ///
    /// The value is a text, a number or whatever else can be written as text.
    #[expect(clippy::needless_pass_by_value, reason = "callers write 2, not &2")]
    pub fn query(mut self, name: impl AsRef<str>, value: impl ToString) -> Self {
        self.query.push((name.as_ref().to_owned(), value.to_string()));
        self
    }

    /// Adds a header; a name may be added more than once. It replaces the session's headers of that name.
    pub fn header(mut self, name: impl TryInto<HeaderName>, value: impl TryInto<HeaderValue>) -> Self {
        match header(name, value) {
            Ok((name, value)) => drop(self.headers.append(name, value)),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Adds headers: a [`HeaderMap`], or pairs of name and value, each by value or by reference.
    pub fn headers<P: HeaderPair>(mut self, headers: impl IntoIterator<Item = P>) -> Self {
        let mut last = None;
        for pair in headers {
            match pair.header_pair(last.as_ref()) {
                Ok((name, value)) => {
                    self.headers.append(name.clone(), value);
                    last = Some(name);
                }
                Err(error) => self.fail(error),
            }
        }
        self
    }

    /// Sets the body. It is part of the cache key.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into().into_bytes();
        self.body_type = None;
        self
    }

    /// Sets the body to a value as JSON, and `Content-Type` unless it is set.
    pub fn json(mut self, value: impl Serialize) -> Self {
        match serde_json::to_vec(&value) {
            Ok(json) => {
                self.body = json.into();
                self.body_type = Some("application/json");
            }
            Err(error) => self.fail(format!("the body cannot be written as JSON: {error}")),
        }
        self
    }

    /// Sets the body to an HTML form (`application/x-www-form-urlencoded`), and `Content-Type` unless it is set.
    ///
    /// The fields are pairs of name and value, by value or by reference.
    pub fn form<P: TextPair>(mut self, fields: impl IntoIterator<Item = P>) -> Self {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for field in fields {
            let (name, value) = field.text_pair();
            form.append_pair(name, value);
        }
        self.body = form.finish().into();
        self.body_type = Some("application/x-www-form-urlencoded");
        self
    }

    /// Limits how long this request may take; see [`Timeout`]. A hit is not limited.
    pub fn timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.options.timeout = Some(timeout.into());
        self
    }

    /// Follows at most this many redirects instead of the session's number. With 0 the redirect itself is the answer.
    pub fn redirects(mut self, limit: usize) -> Self {
        self.options.redirects = Some(limit);
        self
    }

    /// Whether content codings (gzip, deflate) are undone. With `false` the bytes are handed out as they came.
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

    /// Asks the origin even if an answer is stored, and replaces what is stored.
    ///
    /// The same as [`force_refresh`](Self::force_refresh) until revalidation exists: then this may be answered with what
    /// is stored, if the origin confirms that it still holds.
    pub fn refresh(mut self) -> Self {
        self.options.refresh = true;
        self
    }

    /// Asks the origin without regard to what is stored, and replaces it.
    ///
    /// The same as [`refresh`](Self::refresh) until revalidation exists.
    pub fn force_refresh(mut self) -> Self {
        self.options.refresh = true;
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
    pub fn on_response(mut self, hook: impl Fn(Response) -> Result<Response> + Send + Sync + 'static) -> Self {
        self.options.on_response.add(hook);
        self
    }

    /// Adds HTTP basic authentication.
    pub fn basic_auth(self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        self.secret(basic::authorization(user.as_ref(), password.as_ref()))
    }

    /// Adds a bearer token.
    pub fn bearer_auth(self, token: impl AsRef<str>) -> Self {
        self.secret(format!("Bearer {}", token.as_ref()))
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
    /// A miss is stored when its body has been read to the end, see [`ResponseStream`]. A filter is asked, and hooks are
    /// called, before the body has come: they see an answer without one.
    ///
    /// # Errors
    /// As [`send`](Self::send), but for what concerns the body: that is an error of reading it.
    pub fn send_stream(self) -> Result<ResponseStream> {
        let (session, request, options) = prepare(self)?;
        session.run_stream(request, &options)
    }

    fn secret(mut self, value: String) -> Self {
        match HeaderValue::try_from(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.headers.insert(AUTHORIZATION, value);
            }
            Err(_) => self.fail("the credentials contain characters that a header cannot hold".to_owned()),
        }
        self
    }

    fn fail(&mut self, error: String) {
        self.error.get_or_insert(error);
    }
}

/// The request that was built, with what the session adds.
fn prepare(builder: RequestBuilder) -> Result<(CachedSession, Request, Options)> {
    let RequestBuilder { session, method, url, query, mut headers, body, body_type, options, error } = builder;
    if let Some(error) = error {
        return Err(invalid(error));
    }
    let settings = session.settings();
    let mut url = parse_url(&url)?;
    let defaults: Vec<_> = settings
        .query
        .iter()
        .filter(|(name, _)| !query.iter().any(|(own, _)| own == name))
        .filter(|(name, _)| !url.query_pairs().any(|(own, _)| own == *name))
        .cloned()
        .collect();
    if !(defaults.is_empty() && query.is_empty()) {
        url.query_pairs_mut().extend_pairs(defaults).extend_pairs(query);
    }
    if let Some(body_type) = body_type {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(body_type));
    }
    let request = complete(method, url, headers, body, settings);
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
    let body = body.into().into_bytes();
    Ok(complete(parts.method, url, parts.headers, body, settings))
}

pub(super) fn parse_url(text: &str) -> Result<Url> {
    let shown = || redact::url(text, &mut redact::Credentials::default());
    let url = Url::parse(text).map_err(|error| {
        invalid(format!("the URL is not valid ({error}); it begins with http:// or https://")).with_url(shown())
    })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(invalid("only http:// and https:// can be asked").with_url(shown())),
    }
}

/// Adds what every request carries unless it says otherwise, so that nothing is sent that is not shown.
fn complete(method: Method, url: Url, headers: HeaderMap, body: Bytes, settings: &Settings) -> Request {
    let headers = if headers.is_empty() {
        Arc::clone(&settings.plain_headers)
    } else {
        Arc::new(with_defaults(headers, &settings.headers))
    };
    let mut request = Request { method, url, headers, body };
    take_userinfo(&mut request);
    request
}

/// The headers of a request together with those of the session that it has none of, and those of every session.
pub(super) fn with_defaults(mut headers: HeaderMap, session: &HeaderMap) -> HeaderMap {
    let own: Vec<HeaderName> = headers.keys().cloned().collect();
    for (name, value) in session.iter().filter(|(name, _)| !own.contains(name)) {
        headers.append(name.clone(), value.clone());
    }
    let defaults = [(USER_AGENT, AGENT), (ACCEPT, "*/*"), (ACCEPT_ENCODING, codings::ACCEPT_ENCODING)];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    for name in [AUTHORIZATION, COOKIE] {
        headers.get_mut(name).into_iter().for_each(|value| value.set_sensitive(true));
    }
    headers
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
    if let Ok(mut value) = HeaderValue::try_from(basic::authorization(&user, &password)) {
        value.set_sensitive(true);
        Arc::make_mut(&mut request.headers).entry(AUTHORIZATION).or_insert(value);
    }
}

pub(super) fn header(
    name: impl TryInto<HeaderName>,
    value: impl TryInto<HeaderValue>,
) -> Result<(HeaderName, HeaderValue), String> {
    let name = name.try_into().map_err(|_| "a header name holds characters that HTTP does not allow".to_owned())?;
    let value =
        value.try_into().map_err(|_| format!("the value of the header {name} holds a line break or the like"))?;
    Ok((name, value))
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}
