//! The session: an HTTP client that answers from its cache what it has fetched before.

mod at;
mod auth;
mod backend;
mod basic;
mod body;
mod builder;
pub(crate) mod cache;
mod client;
mod client_errors;
mod codings;
#[cfg(feature = "cookies")]
mod cookies;
mod decode;
mod deliver;
mod delivery;
mod disabled;
mod dress;
mod environment;
mod fetch;
mod forward;
mod handle;
mod links;
pub mod multipart;
mod no_proxy;
mod open;
mod pairs;
mod params;
mod proxies;
mod put_aside;
mod read_only;
mod redirect;
mod request;
mod response;
mod retries;
mod scheme;
mod send;
mod settings;
#[cfg(any(feature = "sqlite", feature = "redis"))]
mod shared;
mod stream;
mod text;
mod tls;
mod transport;
mod unpack;

pub use backend::Backend;
pub use body::Body;
pub use builder::CachedSessionBuilder;
pub use cache::{Cache, CacheHead, CacheStats, CopyProgress, CopyReport, Responses, VerifyReport};
#[cfg(feature = "cookies")]
pub use cookies::CookieJar;
pub use disabled::CacheDisabled;
pub use handle::CachedSession;
pub use links::Link;
pub use proxies::{Proxies, Proxy};
pub use request::{Request, RequestBuilder};
pub use response::{CacheStatus, Response};
pub use retries::Retries;
pub use scheme::{KeyScheme, Serializer};
pub use stream::ResponseStream;
pub use tls::{ClientCert, Verify};
pub use transport::{HopOptions, Timeout, Transport, WireBody};
