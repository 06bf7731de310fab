//! One cache for a whole process: [`get`] and the like use it wherever they are called.
//!
//! What is installed is the process's, for all of its threads; what the guards [`enabled`] and [`disabled`] change
//! holds in their thread only. All of it may be called from many threads at once. A request uses what is in force when
//! it is made, and goes on with that whatever is installed or uninstalled meanwhile.

use std::{
    cell::RefCell,
    marker::PhantomData,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{Backend, Body, Cache, CachedSession, CachedSessionBuilder, Expire, RequestBuilder, Response, Result};

type Factory = Arc<dyn Fn() -> CachedSession + Send + Sync>;

static INSTALLED: RwLock<Option<Factory>> = RwLock::new(None);

thread_local! {
    /// What the guards of this thread say, each under its number; the last one counts. `None` is no cache.
    static HERE: RefCell<Vec<(u64, Option<CachedSession>)>> = const { RefCell::new(Vec::new()) };
}

/// Installs a cache for the process: [`get`], [`request`] and the like use it from now on, in all threads.
///
/// It takes the builder of a session, or the name of a cache with default settings. What was installed before is
/// replaced; requests that are under way go on with that.
///
/// # Errors
///
/// As [`CachedSessionBuilder::build`]; what was installed stays then.
///
/// ```
/// use larder::{Backend, CachedSession};
///
/// # fn main() -> larder::Result<()> {
/// let settings = CachedSession::builder("cache").backend(Backend::Memory);
/// # let settings = settings.transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(b"hello".to_vec())));
/// larder::install_cache(settings)?;
/// assert_eq!(larder::get("http://example.org/")?.text()?, "hello");
/// assert!(larder::request("GET", "http://example.org/").send()?.from_cache());
/// {
///     let _guard = larder::disabled();
///     assert!(!larder::is_installed());
/// }
/// larder::clear()?;
/// larder::uninstall_cache();
/// # Ok(())
/// # }
/// ```
pub fn install_cache(settings: impl Into<CachedSessionBuilder>) -> Result<()> {
    let session = settings.into().build()?;
    install_cache_with(move || session.clone());
    Ok(())
}

/// The same with a factory of sessions: it is asked for one each time that a request is made, or the cache is wanted,
/// and may give another one each time. Clones of one session share everything and cost next to nothing.
///
/// ```
/// # use larder::{Backend, CachedSession};
/// # fn main() -> larder::Result<()> {
/// # let transport = |_: &http::Request<bytes::Bytes>| Ok(http::Response::new(Vec::new()));
/// # let builder = |name| CachedSession::builder(name).backend(Backend::Memory).transport(transport);
/// let (work, rest) = (builder("work").build()?, builder("rest").build()?);
/// larder::install_cache_with(move || {
///     let is_worker = std::thread::current().name().is_some_and(|name| name.starts_with("worker"));
///     if is_worker { work.clone() } else { rest.clone() }
/// });
/// larder::get("http://example.org/")?;
/// # larder::uninstall_cache();
/// # Ok(())
/// # }
/// ```
#[doc(alias = "session_factory")]
pub fn install_cache_with(factory: impl Fn() -> CachedSession + Send + Sync + 'static) {
    *INSTALLED.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(factory));
}

/// Another name of [`install_cache`]: changes the settings of the process's cache by installing one with others.
///
/// # Errors
///
/// As [`install_cache`].
pub fn configure(settings: impl Into<CachedSessionBuilder>) -> Result<()> {
    install_cache(settings)
}

/// Removes the cache of the process: requests are sent without one from now on. Without one installed nothing happens.
///
/// Its file stays; it is closed once nobody uses it any more.
pub fn uninstall_cache() {
    *INSTALLED.write().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Whether requests of this thread use a cache now: one is installed and not [`disabled`] here, or [`enabled`] here.
#[must_use]
pub fn is_installed() -> bool {
    session().is_some()
}

/// Keeps this thread from using the cache until the guard is dropped. Guards nest, and the innermost one counts.
///
/// Requests are then sent as if none were installed, without the settings of its session too.
pub fn disabled() -> CacheGuard {
    CacheGuard::new(None)
}

/// Makes this thread use another cache until the guard is dropped, whatever is installed. Guards nest, and the
/// innermost one counts.
///
/// # Errors
///
/// As [`CachedSessionBuilder::build`].
pub fn enabled(settings: impl Into<CachedSessionBuilder>) -> Result<CacheGuard> {
    Ok(CacheGuard::new(Some(settings.into().build()?)))
}

/// The cache that requests of this thread use now; `None` if they use none.
#[must_use]
#[doc(alias = "get_cache")]
pub fn cache() -> Option<Cache> {
    session().map(|session| session.cache().clone())
}

/// Removes everything from the cache that is in force. Without one nothing happens.
///
/// # Errors
///
/// As [`Cache::clear`].
pub fn clear() -> Result<()> {
    cache().map_or(Ok(()), |cache| cache.clear())
}

/// Deletes all expired responses from the cache that is in force. Returns how many; without a cache 0.
///
/// # Errors
///
/// As [`Cache::remove_expired`].
pub fn remove_expired() -> Result<u64> {
    cache().map_or(Ok(0), |cache| cache.remove_expired())
}

/// Begins a request of any method, by the cache that is in force, or without one.
///
/// # Panics
///
/// If there is no cache in force and the operating system has no random bytes.
pub fn request(method: impl AsRef<str>, url: impl AsRef<str>) -> RequestBuilder {
    session().unwrap_or_else(without_cache).request(method, url)
}

/// Sends a GET request, by the cache that is in force, or without one.
///
/// # Errors
///
/// As [`RequestBuilder::send`].
pub fn get(url: impl AsRef<str>) -> Result<Response> {
    request("GET", url).send()
}

/// Sends a HEAD request; see [`get`].
///
/// # Errors
///
/// As [`RequestBuilder::send`].
pub fn head(url: impl AsRef<str>) -> Result<Response> {
    request("HEAD", url).send()
}

/// Sends an OPTIONS request; see [`get`].
///
/// # Errors
///
/// As [`RequestBuilder::send`].
pub fn options(url: impl AsRef<str>) -> Result<Response> {
    request("OPTIONS", url).send()
}

/// Sends a DELETE request; see [`get`].
///
/// # Errors
///
/// As [`RequestBuilder::send`].
pub fn delete(url: impl AsRef<str>) -> Result<Response> {
    request("DELETE", url).send()
}

/// Sends a POST request with a body; see [`get`].
///
/// # Errors
///
/// As [`RequestBuilder::send`].
pub fn post(url: impl AsRef<str>, body: impl Into<Body>) -> Result<Response> {
    request("POST", url).body(body).send()
}

/// Sends a PUT request with a body; see [`get`].
///
/// # Errors
///
/// As [`RequestBuilder::send`].
pub fn put(url: impl AsRef<str>, body: impl Into<Body>) -> Result<Response> {
    request("PUT", url).body(body).send()
}

/// Sends a PATCH request with a body; see [`get`].
///
/// # Errors
///
/// As [`RequestBuilder::send`].
pub fn patch(url: impl AsRef<str>, body: impl Into<Body>) -> Result<Response> {
    request("PATCH", url).body(body).send()
}

/// The name of a cache with default settings.
impl From<&str> for CachedSessionBuilder {
    fn from(name: &str) -> Self {
        CachedSession::builder(name)
    }
}

/// The guard of [`enabled`] and [`disabled`]: what it changed is undone when it is dropped.
#[derive(Debug)]
#[must_use = "what it changes is undone as soon as the guard is dropped"]
pub struct CacheGuard {
    number: u64,
    /// Neither Send nor Sync.
    here: PhantomData<*const ()>,
}

impl CacheGuard {
    fn new(session: Option<CachedSession>) -> Self {
        static GUARDS: AtomicU64 = AtomicU64::new(0);
        let number = GUARDS.fetch_add(1, Ordering::Relaxed);
        HERE.with_borrow_mut(|here| here.push((number, session)));
        Self { number, here: PhantomData }
    }
}

impl Drop for CacheGuard {
    fn drop(&mut self) {
        // While a thread ends its locals may be gone already. What is taken out is dropped outside, as it may close a file.
        let _undone = HERE.try_with(|here| {
            let mut here = here.borrow_mut();
            here.iter().position(|(number, _)| *number == self.number).map(|at| here.remove(at))
        });
    }
}

/// The session in force.
fn session() -> Option<CachedSession> {
    if let Some(here) = HERE.with_borrow(|here| here.last().map(|(_, session)| session.clone())) {
        return here;
    }
    // Called without the lock, which it may want itself.
    let factory = INSTALLED.read().unwrap_or_else(PoisonError::into_inner).clone();
    factory.map(|factory| factory())
}

/// A session that neither stores nor serves.
#[expect(clippy::expect_used, reason = "it needs nothing but random bytes")]
fn without_cache() -> CachedSession {
    static SESSION: OnceLock<CachedSession> = OnceLock::new();
    let make = || {
        let builder = CachedSession::builder("none").backend(Backend::Memory).expire_after(Expire::DoNotCache);
        builder.build().expect("the operating system has random bytes")
    };
    SESSION.get_or_init(make).clone()
}
