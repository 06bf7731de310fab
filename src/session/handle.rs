//! The handle that users hold.

use std::{
    collections::HashSet,
    fmt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use http::Method;

use super::{
    Backend, Body, Cache, CacheDisabled, CachedSessionBuilder, RequestBuilder, Response, ResponseStream,
    flight::Flights,
    put_aside::PutAside,
    request::{self, Options, Request},
    send::Course,
    settings::Settings,
    trace,
    transport::Transport,
    urls::KnownUrls,
};
use crate::{Error, Result, entry::Key};

/// An HTTP session that keeps the responses it gets, and answers from them.
///
/// By default it stores the answer to every GET with status 200, for ever, whatever its cache headers say; the
/// [builder](Self::builder) changes that. Clones share everything; a session may be used from many threads at once.
///
/// It blocks the calling thread. In an async program, call it from the runtime's blocking threads
/// (`tokio::task::spawn_blocking`).
///
/// ```no_run
/// use larder::{Backend, CachedSession};
///
/// # fn main() -> larder::Result<()> {
/// let session = CachedSession::new("cache", Backend::Log)?; // cache.larder in the working directory
/// let users = session.get("https://api.example.com/v1/users").query("page", "2").send()?;
/// println!("{} bytes, from the cache: {}", users.bytes().len(), users.from_cache());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CachedSession {
    inner: Arc<Inner>,
}

struct Inner {
    /// Tells sessions apart for `cache_disabled`.
    id: u64,
    settings: Settings,
    transport: Arc<dyn Transport>,
    cache: Cache,
    put_aside: Arc<PutAside>,
    flights: Arc<Flights>,
    urls: KnownUrls,
    /// The keys whose responses are being made fresh behind their callers' backs.
    refreshing: Arc<Mutex<HashSet<Key>>>,
}

impl CachedSession {
    /// A session with default settings.
    ///
    /// The name is that of the file without its extension, or a path to it; missing folders are made (mode 0700).
    ///
    /// # Errors
    ///
    /// As [`CachedSessionBuilder::build`].
    pub fn new(name: impl AsRef<Path>, backend: Backend) -> Result<Self> {
        Self::builder(name).backend(backend).build()
    }

    /// A builder for a session; see [`CachedSessionBuilder`] for what can be set.
    pub fn builder(name: impl AsRef<Path>) -> CachedSessionBuilder {
        CachedSessionBuilder::new(name.as_ref())
    }

    pub(super) fn assemble(
        settings: Settings,
        cache: Cache,
        transport: Arc<dyn Transport>,
        put_aside: PutAside,
    ) -> Self {
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        let id = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let (put_aside, flights) = (Arc::new(put_aside), Arc::default());
        let (urls, refreshing) = (KnownUrls::default(), Arc::default());
        let session =
            Self { inner: Arc::new(Inner { id, settings, transport, cache, put_aside, flights, urls, refreshing }) };
        session.report_damage();
        session
    }

    /// The same session with other settings.
    pub(super) fn with_settings(&self, settings: Settings) -> Self {
        let Inner { id, transport, cache, put_aside, flights, refreshing, .. } = &*self.inner;
        let (transport, cache) = (Arc::clone(transport), cache.clone());
        let (put_aside, flights) = (Arc::clone(put_aside), Arc::clone(flights));
        let (urls, refreshing) = (KnownUrls::default(), Arc::clone(refreshing));
        Self { inner: Arc::new(Inner { id: *id, settings, transport, cache, put_aside, flights, urls, refreshing }) }
    }

    /// A GET request.
    pub fn get(&self, url: impl AsRef<str>) -> RequestBuilder {
        RequestBuilder::new(self.clone(), Some(Method::GET), url.as_ref())
    }

    /// A POST request. It is cached only if [`allowable_methods`](CachedSessionBuilder::allowable_methods) names it.
    pub fn post(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    pub fn put(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A PATCH request.
    pub fn patch(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A DELETE request.
    pub fn delete(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// A HEAD request.
    pub fn head(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// An OPTIONS request.
    pub fn options(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::OPTIONS, url)
    }

    /// A request of any method, given as text or as a [`Method`](http::Method), which is sent in upper case. What is
    /// wrong with method or URL is reported by [`send`](RequestBuilder::send).
    pub fn request(&self, method: impl AsRef<str>, url: impl AsRef<str>) -> RequestBuilder {
        let method = Method::try_from(method.as_ref().to_ascii_uppercase().as_str()).ok();
        RequestBuilder::new(self.clone(), method, url.as_ref())
    }

    /// Sends a request of the `http` crate, or serves it from the cache; redirects are followed like those of any
    /// other. The URI must be absolute. The session's headers are added where the request has none of their name, its
    /// query parameters are not.
    ///
    /// # Errors
    ///
    /// As [`RequestBuilder::send`].
    ///
    /// ```
    /// # use larder::{Backend, CachedSession};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let session = CachedSession::builder("cache").backend(Backend::Memory)
    /// #     .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(b"hello".to_vec()))).build()?;
    /// let request = http::Request::get("http://example.org/").header("accept", "text/plain").body(())?;
    /// assert_eq!(session.send(request)?.text()?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(&self, request: http::Request<impl Into<Body>>) -> Result<Response> {
        self.run(request::from_http(request, self.settings())?, &Options::default())
    }

    /// Disables the cache of this session and its clones in this thread until the guard is dropped: nothing is read
    /// from it and nothing stored.
    ///
    /// ```
    /// # use larder::{Backend, CachedSession};
    /// # fn main() -> larder::Result<()> {
    /// # let session = CachedSession::builder("cache").backend(Backend::Memory)
    /// #     .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(b"hello".to_vec()))).build()?;
    /// session.get("http://example.org/").send()?;
    /// {
    ///     let _guard = session.cache_disabled();
    ///     assert!(!session.get("http://example.org/").send()?.from_cache());
    /// }
    /// assert!(session.get("http://example.org/").send()?.from_cache());
    /// # Ok(())
    /// # }
    /// ```
    pub fn cache_disabled(&self) -> CacheDisabled {
        CacheDisabled::new(self.inner.id)
    }

    /// The stored responses, to look at and to change.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.inner.cache
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(super) fn transport(&self) -> &dyn Transport {
        &*self.inner.transport
    }

    pub(super) fn refreshing(&self) -> &Mutex<HashSet<Key>> {
        &self.inner.refreshing
    }

    /// What was read lately.
    pub(super) fn urls(&self) -> &KnownUrls {
        &self.inner.urls
    }

    /// What is under way.
    pub(super) fn flights(&self) -> &Arc<Flights> {
        &self.inner.flights
    }

    pub(super) fn id(&self) -> u64 {
        self.inner.id
    }

    /// Tells of a damaged file that was put aside meanwhile.
    pub(super) fn report_damage(&self) {
        for error in self.inner.put_aside.news() {
            self.report(&error);
        }
    }

    pub(super) fn report(&self, error: &Error) {
        trace::store_failed(error);
        self.inner.cache.count_error();
        if let Some(hook) = &self.inner.settings.on_store_error {
            hook(error);
        }
    }

    /// The answer to a request up to its body.
    pub(super) fn run_stream(&self, request: Request, options: &Options) -> Result<ResponseStream> {
        self.run_course(request, options, Course::new(self, options))
    }

    pub(super) fn run_course(&self, request: Request, options: &Options, course: Course<'_>) -> Result<ResponseStream> {
        let stream = traced(request, |request| course.run_stream(request))?;
        trace::answered(stream.response());
        stream.hooked(|response| self.hooked(response, options))
    }

    pub(super) fn run(&self, request: Request, options: &Options) -> Result<Response> {
        let response = traced(request, |request| Course::new(self, options).run(request))?;
        trace::answered(&response);
        self.hooked(response, options)
    }

    /// The hooks of the session, then those of the request.
    pub(super) fn hooked(&self, response: Response, options: &Options) -> Result<Response> {
        let response = self.settings().on_response.run(response)?;
        options.on_response.run(response)
    }
}

/// Tells of a failure.
fn traced<T>(request: Request, run: impl FnOnce(Request) -> Result<T>) -> Result<T> {
    #[cfg(feature = "tracing")]
    let asked = trace::asked(&request);
    let result = run(request);
    #[cfg(feature = "tracing")]
    if let (Err(error), Some(asked)) = (&result, &asked) {
        trace::failed(asked, error);
    }
    result
}

impl fmt::Debug for CachedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut session = f.debug_struct("CachedSession");
        if let Some(path) = self.inner.cache.store().location() {
            session.field("path", &path);
        }
        session.field("mode", &self.inner.settings.rules.mode).finish_non_exhaustive()
    }
}
