//! Dicts in SQLite files: a table each.

mod connection;
mod dict;

pub use connection::{SqliteConnection, SqliteOptions};
pub use dict::SqliteDict;
