//! The session: an HTTP client that answers from its cache what it has fetched before.

mod at;
mod backend;
mod basic;
mod body;
mod builder;
pub(crate) mod cache;
mod decode;
mod disabled;
mod fetch;
mod handle;
mod links;
mod open;
mod pairs;
mod put_aside;
mod read_only;
mod redirect;
mod request;
mod response;
mod scheme;
mod send;
mod settings;
#[cfg(feature = "sqlite")]
mod shared;
mod stream;
mod text;
mod transport;
mod unpack;

pub use backend::Backend;
pub use body::Body;
pub use builder::CachedSessionBuilder;
pub use cache::{Cache, CacheHead, CacheStats, CopyProgress, CopyReport, Responses, VerifyReport};
pub use disabled::CacheDisabled;
pub use handle::CachedSession;
pub use links::Link;
pub use request::{Request, RequestBuilder};
pub use response::{CacheStatus, Response};
pub use scheme::{KeyScheme, Serializer};
pub use stream::ResponseStream;
pub use transport::{HopOptions, Timeout, Transport, WireBody};
