//! A store made of two dicts: responses, and what leads to them.

mod batch;
#[cfg(feature = "mongodb")]
mod mongo;
mod record;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

pub use store::DictStore;
