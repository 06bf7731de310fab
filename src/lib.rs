//! larder: an embedded, single-file HTTP response cache.

#[cfg(feature = "session")]
mod entry;
mod error;
pub mod log;
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
pub use policy::{Expire, Mode};
#[cfg(feature = "session")]
pub use session::{
    Backend, Body, Cache, CacheDisabled, CacheStats, CacheStatus, CachedSession, CachedSessionBuilder, HopOptions,
    Link, Request, RequestBuilder, Response, Responses, Timeout, Transport, WireBody,
};
