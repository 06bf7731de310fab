//! larder: an embedded, single-file HTTP response cache, and the session that uses it.
//!
//! [`CachedSession`] sends requests as an HTTP client does, and answers from a file what it has fetched before: in the
//! next run, in another thread, in another process. A save that has returned survives a power cut, and what is stored
//! can be replayed offline.
//!
//! ```no_run
//! # #[cfg(feature = "session")]
//! # fn main() -> larder::Result<()> {
//! use larder::{Backend, CachedSession};
//!
//! let session = CachedSession::new("cache", Backend::Log)?; // cache.larder in the working directory
//! let response = session.get("https://api.example.com/v1/users").query("page", "2").send()?;
//! println!("{}, from the cache: {}", response.status(), response.from_cache());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "session"))]
//! # fn main() {}
//! ```
//!
//! * [`CachedSession::builder`] has the settings, [`RequestBuilder`] what one request can ask for, [`Response`] what
//!   comes back, [`Cache`] what can be done with the stored responses.
//! * [`Mode::Offline`] replays a recording and never touches the network.
//! * [`store::Store`] is the place where responses live, and [`dict::Dict`] the dictionary that one is made of most
//!   easily, for those who bring their own; both come with their laws as tests.
//! * [`install_cache`] gives a whole process one cache, which [`get`] and the like use; [`middleware()`] puts a cache
//!   under an agent of ureq that exists already.
//! * [`log::Log`] is the engine alone, a durable key-value log in one file.
//!
//! # Coming from requests-cache
//!
//! What goes by another name here:
//!
//! | there | here |
//! |---|---|
//! | `CachedSession(name, backend, **options)` | [`CachedSession::builder`], one call for each option |
//! | `connection=` of a backend | [`Backend::custom`] of a [`DictStore`](store::DictStore) made with it |
//! | `params=`, `data=`, `files=` | [`query`](RequestBuilder::query) or [`params`](RequestBuilder::params), [`body`](RequestBuilder::body) or [`form`](RequestBuilder::form), [`multipart`](RequestBuilder::multipart) |
//! | `auth=` | [`basic_auth`](RequestBuilder::basic_auth), [`bearer_auth`](RequestBuilder::bearer_auth), [`digest_auth`](RequestBuilder::digest_auth), or [`auth`](RequestBuilder::auth) with a function |
//! | `allow_redirects=False`, `cert=`, `hooks=`, `stream=True` | [`redirects(0)`](RequestBuilder::redirects), [`client_cert`](RequestBuilder::client_cert), [`on_response`](RequestBuilder::on_response), [`send_stream`](RequestBuilder::send_stream) |
//! | `session_factory=` of `install_cache` | [`install_cache_with`] |
//! | `get_cache()` | [`cache`] |
//! | `save_response`, `add_key_mapping` | [`save`](Cache::save), [`alias`](Cache::alias) |
//! | `get_response_and_time`, `has_key`, `has_url` | [`get`](Cache::get), [`contains`](Cache::contains), [`contains_url`](Cache::contains_url) |
//! | `BaseCache` with `responses` and `keys_map` of one's own | [`DictStore::new`](store::DictStore::new) |
//! | `DbDict`, `MongoDict`, `RedisDict` | `SqliteDict`, `MongoDict`, `RedisDict` in [`dict`] |
//! | `DbPickleDict`, `MongoPickleDict` | [`Typed`](dict::Typed) over them |
//!
//! # What differs from requests-cache
//!
//! Settings have the names and the meaning that they have there (1.3), but for what is listed here.
//!
//! * [`cache_control`](CachedSessionBuilder::cache_control) is RFC 9111 whole: ages, validators, conditional and range
//!   requests, HEAD, invalidation by POST and its like. There, of responses only `max-age`, `Expires` and a few more
//!   count, and an ill-formed `Expires` is an exception.
//! * [`refresh`](RequestBuilder::refresh) asks the origin always; there it serves what has no validator.
//! * A `Cache-Control` of a request means what the standard says: `max-age` is a limit of age (and, as there, the
//!   expiry of what is stored now), `no-cache` asks whether what is stored still holds, a bare `max-stale` accepts
//!   anything.
//! * An answer to a request for a part, or with a condition of the caller, is never mixed up with a whole one.
//! * `only_if_cached` is an error of the kind [`OfflineMiss`](ErrorKind::OfflineMiss) where nothing is stored; the
//!   header `Cache-Control: only-if-cached` gives the answer 504 that it gives there.
//! * Only GET is cached unless set, not HEAD. Credentials partition the cache. What varies by request headers (`Vary`)
//!   is kept apart, always, also behind redirects.
//! * There is one background request at a time for [each](CachedSessionBuilder::stale_while_revalidate) stale response;
//!   [`force_refresh`](RequestBuilder::force_refresh) falls back to what is stored if
//!   [`stale_if_error`](CachedSessionBuilder::stale_if_error) is set.
//! * [`ignored_parameters`](CachedSessionBuilder::ignored_parameters) are empty unless set, as credentials are taken
//!   out anyway; they count without regard to case, and at any depth of a JSON body.
//! * A [filter](CachedSessionBuilder::filter) that refuses what is stored has it fetched anew; it does not delete it.
//!
//! # In async programs
//!
//! A session blocks the thread that calls it. Inside an async runtime it belongs on a thread where that is allowed; in
//! tokio, `tokio::task::spawn_blocking(move || session.get(url).send()).await`. Sessions are cheap to clone and to send
//! there.
//!
//! # Features
//!
//! * `session` (default): everything that knows HTTP. Without it, [`log`] builds alone.
//! * `tls` (default): `https://`, through rustls.
//! * `gzip` (default): undoes the content codings gzip and deflate; `brotli`: br; `zstd`: zstd, which can compress
//!   stored bodies too.
//! * `sqlite`, `redis`, `redis-cluster`, `mongodb`: the [`Backend`]s of these names, and dictionaries ([`dict`]) in the
//!   same places; SQLite itself is built in.
//! * `cookies`: a jar of cookies ([RFC 6265](https://www.rfc-editor.org/rfc/rfc6265)).
//! * `multipart`: forms with files.
//! * `digest`: digest authentication.
//! * `socks`: SOCKS proxies.
//! * `tracing`: tells what requests and stores do as events of the target `larder`: at the level DEBUG each request
//!   with method, redacted URL, status, verdict, reason, key and times, at WARN each failure of the store. It warns of
//!   servers that are not verified too.
//! * `cli`: the program `larder`, which fetches through a cache and looks at, changes and copies caches.

// The examples of the README are tests like all others.
#[cfg(all(doctest, feature = "session"))]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod dict;
#[cfg(feature = "session")]
mod entry;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz {
    //! What the fuzz targets run.
    #[cfg(feature = "session")]
    pub use crate::entry::fuzz::head_decode;
    #[cfg(all(feature = "session", any(feature = "sqlite", feature = "redis", fuzzing)))]
    pub use crate::entry::pickle::fuzz as pickle_decode;
    pub use crate::log::fuzz::{open_bytes, open_mutated, ops_with_crash, record_decode};
}
#[cfg(feature = "session")]
mod global;
pub mod log;
#[cfg(feature = "session")]
mod middleware;
#[cfg(feature = "session")]
mod policy;
#[cfg(feature = "session")]
mod replay;
#[cfg(feature = "session")]
mod session;
#[cfg(feature = "session")]
pub mod store;

#[cfg(feature = "session")]
pub use entry::{StoredRequest, StoredResponse};
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "session")]
pub use global::{
    CacheGuard, cache, clear, configure, delete, disabled, enabled, get, head, install_cache, install_cache_with,
    is_installed, options, patch, post, put, remove_expired, request, uninstall_cache,
};
#[cfg(feature = "session")]
pub use middleware::{CacheMiddleware, middleware};
#[cfg(feature = "session")]
pub use policy::{Expire, Mode, Staleness, UrlPattern};
#[cfg(feature = "cookies")]
pub use session::CookieJar;
#[cfg(feature = "session")]
pub use session::{
    Backend, Body, Cache, CacheDisabled, CacheHead, CacheStats, CacheStatus, CachedSession, CachedSessionBuilder,
    Chunks, ClientCert, CopyProgress, CopyReport, CopyTarget, Counters, HopOptions, KeyScheme, Lines, Link, Proxies,
    Proxy, Request, RequestBuilder, Response, ResponseStream, Responses, Retries, Serializer, Timeout, Transport,
    Verify, VerifyReport, WireBody, multipart,
};
