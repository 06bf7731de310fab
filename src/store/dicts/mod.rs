//! A store made of two dicts: responses, and what leads to them.

mod batch;
mod record;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

pub use store::DictStore;
