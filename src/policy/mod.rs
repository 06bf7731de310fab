//! What may be served and stored, and under which key: pure functions of request, response, settings and time.

pub(crate) mod compressed;
pub(crate) mod exchange;
mod expire;
mod json;
pub(crate) mod key;
mod multipart;
pub(crate) mod normalize;
pub(crate) mod partition;
pub(crate) mod redact;
pub(crate) mod requests_cache;
pub(crate) mod secret_names;

pub use exchange::Mode;
pub use expire::Expire;
