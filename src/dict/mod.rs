//! Dictionary-like objects: bytes under byte keys, in memory, in files, on servers.
//!
//! [`Dict`] is what they have in common, [`Typed`] puts serde keys and values on top of any of them, and
//! [`DictStore`](crate::store::DictStore) makes the store of a session of two.

pub mod contract;
mod interface;
mod log;
mod memory;
#[cfg(feature = "mongodb")]
mod mongo;
#[cfg(any(feature = "redis", feature = "mongodb"))]
mod patience;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "session")]
mod typed;

pub use interface::{Change, Dict, DictSize, Expected, Items, New, Values};
pub use log::LogDict;
pub use memory::MemoryDict;
#[cfg(feature = "mongodb")]
pub use mongo::{MongoConnections, MongoDict, MongoOptions};
#[cfg(feature = "redis")]
pub(crate) use redis::RedisStrings;
#[cfg(feature = "redis")]
pub use redis::{RedisConnections, RedisDict, RedisOptions};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteConnection, SqliteDict, SqliteOptions};
#[cfg(feature = "session")]
pub use typed::Typed;
