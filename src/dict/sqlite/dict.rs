//! One table of a database.

use super::{SqliteConnection, SqliteOptions};
use crate::{
    Error, ErrorKind, Result,
    dict::{
        Change, Dict, DictSize, Expected, New,
        interface::{Values, check_sizes, now_ms},
    },
};
use bytes::Bytes;
use rusqlite::{
    Connection, OptionalExtension, ToSql, params, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use std::{
    any::Any,
    fmt::{self, Write as _},
    iter,
    path::Path,
    sync::Arc,
};

/// The name of the table unless another is given.
const TABLE: &str = "data";

/// As many as one statement of SQLite joins by UNION.
const TOGETHER_MAX: usize = 500;

/// Just under the largest row of SQLite.
const VALUE_MAX: u64 = 999_000_000;

/// A [`Dict`] in a table of an SQLite database: several are tables of one file.
///
/// The table is laid out as that of Python's requests-cache: `key TEXT PRIMARY KEY, value BLOB, expires INTEGER`. A key
/// that is UTF-8 without NUL is stored as text, another as a blob; `expires` is when the value may be dropped, in
/// seconds, or NULL.
///
/// Each batch is a transaction (`BEGIN IMMEDIATE`) and waits for other writers no longer than
/// [`busy_timeout`](SqliteOptions::busy_timeout). A commit survives a power cut, unless with
/// [`fast_save`](SqliteOptions::fast_save). Values are up to 999,000,000 bytes. Clones and other tables of one
/// [`SqliteConnection`] share it, and [`batch_with`](Dict::batch_with) changes two of them at once.
///
/// ```
/// use larder::dict::{Dict, SqliteDict};
///
/// # let folder = tempfile::tempdir()?;
/// let data = SqliteDict::open(folder.path().join("test.sqlite"))?;
/// let other = data.table("other")?;
/// data.bulk_commit(|data| {
///     for n in 0..1000_u32 {
///         data.insert(&n.to_be_bytes(), &(n * 2).to_be_bytes(), None)?;
///     }
///     Ok(())
/// })?;
/// assert_eq!((data.len()?, other.len()?), (1000, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias = "DbDict")]
pub struct SqliteDict {
    connection: SqliteConnection,
    sql: Arc<Sql>,
    text_values: bool,
}

/// The statements on one table.
struct Sql {
    table: String,
    get: String,
    prefix: String,
    put: String,
    remove: String,
}

impl SqliteDict {
    /// The table `data` of a file, which is created if there is none.
    ///
    /// # Errors
    /// As [`SqliteConnection::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_table(path, TABLE, &SqliteOptions::new())
    }

    /// A table of a file, both created if missing.
    ///
    /// # Errors
    /// As [`SqliteConnection::open`] and [`SqliteDict::new`].
    pub fn open_table(path: impl AsRef<Path>, table: &str, options: &SqliteOptions) -> Result<Self> {
        Self::new(SqliteConnection::open(path, options)?, table)
    }

    /// A table of a database that is open already, one of your own too (an [`rusqlite::Connection`]). The table is
    /// created if missing.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name with a NUL or one that SQLite keeps for itself;
    /// [`Busy`](ErrorKind::Busy) and others as they apply.
    pub fn new(connection: impl Into<SqliteConnection>, table: &str) -> Result<Self> {
        let connection = connection.into();
        if table.is_empty() || table.contains('\0') || table.to_ascii_lowercase().starts_with("sqlite_") {
            let message = "the name of a table is not empty, has no NUL and does not begin with `sqlite_`";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let there = connection.read(|connection| {
            let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
            connection.query_row(sql, [table], |_| Ok(())).optional()
        })?;
        let sql = Sql::on(table);
        if there.is_none() {
            connection.write(|connection| {
                let table = &sql.table;
                // The very text of requests-cache, but for the name.
                connection.execute_batch(&format!(
                    "CREATE TABLE IF NOT EXISTS {table} (    key TEXT PRIMARY KEY,    value BLOB,     expires INTEGER)"
                ))?;
                Ok(true)
            })?;
        }
        Ok(Self { connection, sql: Arc::new(sql), text_values: false })
    }

    /// Another table of the same database.
    ///
    /// # Errors
    /// As [`SqliteDict::new`].
    pub fn table(&self, table: &str) -> Result<Self> {
        Self::new(self.connection.clone(), table)
    }

    /// The database.
    #[must_use]
    pub fn connection(&self) -> &SqliteConnection {
        &self.connection
    }

    /// Stores values that are UTF-8 as text, as Python programs store their strings; all as blobs unless set. Both
    /// are read either way.
    #[must_use]
    pub fn text_values(mut self, text: bool) -> Self {
        self.text_values = text;
        self
    }

    /// Whether writes are committed as they come. It is one setting of all tables of the connection. Default: yes.
    #[must_use]
    pub fn can_commit(&self) -> bool {
        self.connection.can_commit()
    }

    /// Sets [`can_commit`](Self::can_commit). While it is off, what is written is pending: this connection sees it,
    /// [`commit`](Self::commit) makes it stay, and it is gone if the last handle is dropped before.
    pub fn set_can_commit(&self, can_commit: bool) {
        self.connection.set_can_commit(can_commit);
    }

    /// Commits what is pending if [`can_commit`](Self::can_commit) is on, or anyway with `force`. Does nothing within
    /// [`bulk_commit`](Self::bulk_commit).
    ///
    /// # Errors
    /// As [`Dict::batch`].
    pub fn commit(&self, force: bool) -> Result<()> {
        self.connection.commit(force)
    }

    /// Makes all that this thread writes to the database meanwhile one transaction: all of it if `act` returns
    /// without an error, else (or if it panics) nothing. Much faster than writes one by one, each of which waits for
    /// the disk. Other threads that write wait for its end, no longer than the busy time-out.
    ///
    /// # Errors
    /// Those of `act`, and of the commit.
    pub fn bulk_commit<T>(&self, act: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.connection.bulk(|| act(self))
    }

    /// Makes the index that finds what may be dropped, by the name that requests-cache gives it.
    pub(crate) fn index_expires(&self) -> Result<()> {
        let there = self.connection.read(|connection| {
            let sql = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'expires_idx'";
            connection.query_row(sql, [], |_| Ok(())).optional()
        })?;
        if there.is_some() || self.connection.is_read_only() {
            return Ok(());
        }
        let sql = format!("CREATE INDEX IF NOT EXISTS expires_idx ON {}(expires)", self.sql.table);
        self.connection.write(|connection| connection.execute_batch(&sql).map(|()| true)).map(drop)
    }

    /// Another dict, if it is a table of the same database.
    fn beside<'d>(&self, other: &'d dyn Dict) -> Option<&'d Self> {
        (other as &dyn Any).downcast_ref::<Self>().filter(|other| other.connection.same_as(&self.connection))
    }

    /// Whether all expectations hold.
    fn holds(&self, connection: &Connection, changes: &[Change<'_>]) -> rusqlite::Result<bool> {
        for change in changes {
            let found = match change.expected {
                Expected::Any => continue,
                Expected::Absent => self.first_bytes(connection, change.key, 0)?,
                Expected::Prefix(prefix) => self.first_bytes(connection, change.key, prefix.len())?,
                Expected::Value(_) => self.value(connection, change.key)?,
            };
            if !change.expected.holds_for(found.as_deref()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn apply(&self, connection: &Connection, changes: &[Change<'_>]) -> rusqlite::Result<()> {
        for change in changes {
            match change.new {
                New::Keep => {}
                New::Remove => drop(connection.prepare_cached(&self.sql.remove)?.execute([Text(change.key)])?),
                New::Put { value, drop_after_ms } => {
                    let mut put = connection.prepare_cached(&self.sql.put)?;
                    let key = Text(change.key);
                    if self.text_values {
                        put.execute(params![key, Text(value), seconds(drop_after_ms)])?;
                    } else {
                        put.execute(params![key, value, seconds(drop_after_ms)])?;
                    }
                }
            }
        }
        Ok(())
    }

    fn value(&self, connection: &Connection, key: &[u8]) -> rusqlite::Result<Option<Bytes>> {
        let mut get = connection.prepare_cached(&self.sql.get)?;
        get.query_row([Text(key)], |row| Ok(bytes(row.get_ref(0)?))).optional()
    }

    fn first_bytes(&self, connection: &Connection, key: &[u8], len: usize) -> rusqlite::Result<Option<Bytes>> {
        let mut prefix = connection.prepare_cached(&self.sql.prefix)?;
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        prefix.query_row(params![Text(key), len], |row| Ok(bytes(row.get_ref(0)?))).optional()
    }

    fn vacuum(&self) -> Result<()> {
        self.connection.outside(|connection| {
            connection.execute_batch("VACUUM")?;
            truncate_wal(connection)
        })
    }
}

impl Dict for SqliteDict {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.connection.read(|connection| self.value(connection, key))
    }

    fn batch(&self, changes: &[Change<'_>]) -> Result<bool> {
        Ok(self.batch_with(changes, self, &[])? == Some(true))
    }

    fn keys(&self) -> Result<Vec<Bytes>> {
        let mut keys = self.connection.read(|connection| {
            let mut all = connection.prepare_cached(&format!("SELECT key FROM {}", self.sql.table))?;
            let keys = all.query_map([], |row| Ok(bytes(row.get_ref(0)?)))?;
            keys.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        // SQLite has text before blobs.
        keys.sort_unstable();
        Ok(keys)
    }

    fn len(&self) -> Result<u64> {
        self.connection.read(|connection| {
            let mut count = connection.prepare_cached(&format!("SELECT count(*) FROM {}", self.sql.table))?;
            let count: i64 = count.query_row([], |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
    }

    fn clear(&self) -> Result<()> {
        self.connection.write(|connection| {
            connection.execute(&format!("DELETE FROM {}", self.sql.table), [])?;
            Ok(true)
        })?;
        let size = self.size()?;
        if size.dead_bytes > size.live_bytes {
            // The entries are gone; that the space comes back too is worth a try and no error.
            let _ = self.vacuum();
        }
        Ok(())
    }

    fn is_atomic(&self) -> bool {
        true
    }

    fn batch_with(&self, changes: &[Change<'_>], other: &dyn Dict, others: &[Change<'_>]) -> Result<Option<bool>> {
        let Some(other) = self.beside(other) else { return Ok(None) };
        check_sizes(changes, VALUE_MAX, "SQLite")?;
        check_sizes(others, VALUE_MAX, "SQLite")?;
        let wrote = self.connection.write(|connection| {
            if !self.holds(connection, changes)? || !other.holds(connection, others)? {
                return Ok(false);
            }
            self.apply(connection, changes)?;
            other.apply(connection, others)?;
            Ok(true)
        });
        wrote.map(Some)
    }

    /// In one statement, and so one transaction.
    fn get_with(&self, keys: &[&[u8]], other: &dyn Dict, others: &[&[u8]]) -> Result<Option<Values>> {
        let mut values = vec![None; keys.len() + others.len()];
        let Some(other) = self.beside(other).filter(|_| values.len() <= TOGETHER_MAX) else { return Ok(None) };
        let asked = iter::repeat_n(self, keys.len()).chain(iter::repeat_n(other, others.len()));
        let mut sql = String::new();
        for (n, dict) in asked.enumerate() {
            // Writing to a String does not fail.
            let between = if n == 0 { "" } else { " UNION ALL " };
            let _ = write!(sql, "{between}SELECT {n}, value FROM {} WHERE key = ?{}", dict.sql.table, n + 1);
        }
        if !sql.is_empty() {
            self.connection.read(|connection| {
                let mut get = connection.prepare_cached(&sql)?;
                let mut rows = get.query(params_from_iter(keys.iter().chain(others).map(|key| Text(key))))?;
                while let Some(row) = rows.next()? {
                    let n = usize::try_from(row.get::<_, i64>(0)?).ok();
                    if let Some(value) = n.and_then(|n| values.get_mut(n)) {
                        *value = Some(bytes(row.get_ref(1)?));
                    }
                }
                Ok(())
            })?;
        }
        let others = values.split_off(keys.len());
        Ok(Some((values, others)))
    }

    fn prefixes(&self, keys: &[&[u8]], len: usize) -> Result<Vec<Option<Bytes>>> {
        self.connection.read(|connection| keys.iter().map(|key| self.first_bytes(connection, key, len)).collect())
    }

    fn compact(&self) -> Result<()> {
        self.connection.write(|connection| {
            let sql = format!("DELETE FROM {} WHERE expires IS NOT NULL AND expires <= ?1", self.sql.table);
            connection.execute(&sql, [now_ms() / 1000])?;
            Ok(true)
        })?;
        self.vacuum()
    }

    /// With `fast_save`, too: what the write-ahead log holds is copied into the file and synced.
    fn flush(&self) -> Result<()> {
        self.connection.outside(|connection| {
            let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
            if synchronous >= 2 {
                return Ok(());
            }
            connection.pragma_update(None, "synchronous", "FULL")?;
            let synced = truncate_wal(connection);
            connection.pragma_update(None, "synchronous", synchronous)?;
            synced
        })
    }

    fn max_value(&self) -> u64 {
        VALUE_MAX
    }

    fn size(&self) -> Result<DictSize> {
        self.connection.read(|connection| {
            let page = pragma(connection, "page_size")?;
            let (all, free) = (pragma(connection, "page_count")?, pragma(connection, "freelist_count")?);
            Ok(DictSize::new(all.saturating_sub(free) * page, free * page, all * page))
        })
    }

    fn location(&self) -> Option<&Path> {
        self.connection.path()
    }
}

impl fmt::Debug for SqliteDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.connection.path();
        f.debug_struct("SqliteDict").field("path", &path).field("table", &self.sql.table).finish_non_exhaustive()
    }
}

impl Sql {
    fn on(table: &str) -> Self {
        let table = format!("\"{}\"", table.replace('"', "\"\""));
        Self {
            get: format!("SELECT value FROM {table} WHERE key = ?1"),
            prefix: format!("SELECT substr(CAST(value AS BLOB), 1, ?2) FROM {table} WHERE key = ?1"),
            put: format!(
                "INSERT INTO {table} (key, value, expires) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires"
            ),
            remove: format!("DELETE FROM {table} WHERE key = ?1"),
            table,
        }
    }
}

/// Bytes as text where they are UTF-8 without NUL, which some tools take for the end; else as a blob.
struct Text<'a>(&'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = !self.0.contains(&0) && std::str::from_utf8(self.0).is_ok();
        Ok(ToSqlOutput::Borrowed(if text { ValueRef::Text(self.0) } else { ValueRef::Blob(self.0) }))
    }
}

fn bytes(value: ValueRef<'_>) -> Bytes {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Bytes::copy_from_slice(bytes),
        ValueRef::Null => Bytes::new(),
        // What other programs may have put there.
        ValueRef::Integer(number) => number.to_string().into(),
        ValueRef::Real(number) => number.to_string().into(),
    }
}

/// When a value may be dropped, as the column has it.
fn seconds(drop_after_ms: i64) -> Option<i64> {
    (drop_after_ms < i64::MAX).then(|| drop_after_ms.div_euclid(1000) + i64::from(drop_after_ms.rem_euclid(1000) > 0))
}

fn truncate_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let value: i64 = connection.pragma_query_value(None, name, |row| row.get(0))?;
    Ok(u64::try_from(value).unwrap_or(0))
}
