//! Dicts on a Redis server: one hash each, or a string for each key.

mod batch;
mod connections;
mod hash;
mod strings;

pub use connections::{RedisConnections, RedisOptions};
pub use hash::RedisDict;
pub(crate) use strings::RedisStrings;
