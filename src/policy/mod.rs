//! What may be served and stored, and under which key: pure functions of request, response, settings and time.

mod cache_control;
pub(crate) mod compressed;
#[cfg(test)]
mod differential;
pub(crate) mod exchange;
mod expire;
pub(crate) mod freshness;
pub(crate) mod invalidate;
mod json;
pub(crate) mod key;
mod multipart;
pub(crate) mod normalize;
pub(crate) mod partition;
mod patterns;
pub(crate) mod range;
pub(crate) mod redact;
pub(crate) mod requests_cache;
pub(crate) mod secret_names;
pub(crate) mod storable;
pub(crate) mod validate;
pub(crate) mod vary;

pub use exchange::Mode;
pub use expire::{Expire, Staleness};
pub use patterns::UrlPattern;
