//! The store in an SQLite file.

use super::DictStore;
use crate::{
    Result,
    dict::{SqliteConnection, SqliteDict, SqliteOptions},
};
use std::path::Path;

impl DictStore {
    /// A store in an SQLite file, laid out as that of Python's requests-cache: the tables `responses` and `redirects`,
    /// and an index on when responses may be dropped. What is in them is in larder's own form.
    ///
    /// Batches are atomic.
    ///
    /// # Errors
    /// As [`SqliteConnection::open`].
    pub fn sqlite(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Self> {
        let (responses, redirects) = SqliteDict::open_cache(path, options)?;
        Ok(Self::new(responses, redirects))
    }
}

impl SqliteDict {
    /// The two tables of a cache, laid out as requests-cache has them.
    pub(crate) fn open_cache(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<(Self, Self)> {
        let connection = SqliteConnection::open(path, options)?;
        let responses = Self::new(connection.clone(), "responses")?;
        let redirects = Self::new(connection, "redirects")?;
        responses.index_expires()?;
        Ok((responses, redirects))
    }
}
