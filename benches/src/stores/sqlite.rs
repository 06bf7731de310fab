//! `SQLite`, one table, with a write-ahead log or with the rollback journal that is its default. It has no checksums.

use crate::store::{Result, Store, Use};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

struct Sqlite(Mutex<Connection>);

pub fn open_wal(folder: &Path, wanted: Use) -> Result<Box<dyn Store>> {
    open(folder, wanted, "WAL")
}

pub fn open_default(folder: &Path, wanted: Use) -> Result<Box<dyn Store>> {
    open(folder, wanted, "DELETE")
}

fn open(folder: &Path, wanted: Use, journal: &str) -> Result<Box<dyn Store>> {
    let connection = Connection::open(folder.join("kv.sqlite"))?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", journal)?;
    connection.pragma_update(None, "synchronous", if wanted == Use::Fast { "OFF" } else { "FULL" })?;
    connection.execute("CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, body BLOB NOT NULL)", ())?;
    Ok(Box::new(Sqlite(Mutex::new(connection))))
}

impl Sqlite {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Sqlite {
    fn put(&self, key: &[u8], body: &[u8]) -> Result<()> {
        self.put_all(&[(key, body)])
    }

    fn put_all(&self, items: &[(&[u8], &[u8])]) -> Result<()> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO kv VALUES (?1, ?2)")?;
            for (key, body) in items {
                insert.execute((key, body))?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let connection = self.connection();
        let mut select = connection.prepare_cached("SELECT body FROM kv WHERE key = ?1")?;
        let body: Option<Vec<u8>> = select.query_row((key,), |row| row.get(0)).optional()?;
        Ok(body.map(Bytes::from))
    }

    fn clear(&self) -> Result<()> {
        self.connection().execute("DELETE FROM kv", ())?;
        Ok(())
    }

    fn compact(self: Box<Self>) -> Result<bool> {
        self.connection().execute_batch("VACUUM")?;
        Ok(true)
    }
}
