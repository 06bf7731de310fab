//! larder: an embedded, single-file HTTP response cache.

mod error;
pub mod log;

pub use error::{Error, ErrorKind, Result};
