//! One database: a connection that writes and one that reads, shared by all threads.

use crate::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags, ffi::ErrorCode};
use std::{
    fmt, fs,
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// Statements kept ready on each connection: those of four tables.
const STATEMENTS_MAX: usize = 32;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    fast_save: bool,
    read_only: bool,
    busy_timeout: Duration,
}

impl SqliteOptions {
    /// Durable commits, 5 seconds of waiting for other writers.
    #[must_use]
    pub fn new() -> Self {
        Self { fast_save: false, read_only: false, busy_timeout: Duration::from_secs(5) }
    }

    /// Whether commits return before they are on the medium (`PRAGMA synchronous = OFF`). Default: no. With it, a power
    /// cut may lose commits and may damage the file; a crash of the process does neither.
    #[must_use]
    pub fn fast_save(mut self, fast_save: bool) -> Self {
        self.fast_save = fast_save;
        self
    }

    /// Whether the file is only read; it must exist. Default: no.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// How long a call waits for other threads and processes before it fails with
    /// [`Busy`](ErrorKind::Busy). Default: 5 seconds.
    #[must_use]
    pub fn busy_timeout(mut self, limit: Duration) -> Self {
        self.busy_timeout = limit;
        self
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A database that any number of [`SqliteDict`](super::SqliteDict)s are tables of. Clones share it.
///
/// An existing connection is taken over with `SqliteConnection::from(connection)`; its pragmas stay as they are, and
/// [`with`](SqliteConnection::with) lends it out again.
#[derive(Clone)]
pub struct SqliteConnection {
    inner: Arc<Inner>,
}

struct Inner {
    path: Option<PathBuf>,
    /// So that reading does not wait for the syncs of writers; none for a connection that was handed in. Closed before
    /// the one that writes: only that can move what is in the WAL into the file, and only when it is the last.
    reader: Option<Mutex<Connection>>,
    state: Mutex<State>,
    /// Told when a bulk is over.
    turn: Condvar,
    /// Whether the writing connection may hold what is not committed.
    open: AtomicBool,
    busy_timeout: Duration,
}

struct State {
    connection: Connection,
    /// The thread whose bulk is under way.
    owner: Option<ThreadId>,
    can_commit: bool,
}

impl SqliteConnection {
    /// Opens a database file (`:memory:` is one in memory), and creates it if there is none (mode 0600).
    ///
    /// A new file gets a write-ahead log (WAL); one that is there keeps its journal mode.
    ///
    /// # Errors
    /// [`NotALarder`](ErrorKind::NotALarder) if the file is no SQLite database, which is not touched;
    /// [`Busy`](ErrorKind::Busy), [`ReadOnly`](ErrorKind::ReadOnly), [`Io`](ErrorKind::Io) as they apply.
    pub fn open(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Self> {
        let path = path.as_ref();
        if path == Path::new(":memory:") {
            let connection = Connection::open_in_memory().map_err(|error| sqlite_error("open", None, error))?;
            return Ok(Self::from(connection));
        }
        let fail = |error| sqlite_error("open", Some(path), error);
        let new = !options.read_only && create(path)?;
        let access =
            if options.read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
        let connection = connect(path, access, options).map_err(fail)?;
        if new {
            use_wal(&connection, options.busy_timeout).map_err(fail)?;
        }
        let synchronous = if options.fast_save { "OFF" } else { "FULL" };
        connection.pragma_update(None, "synchronous", synchronous).map_err(fail)?;
        let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, options).map_err(fail)?;
        Ok(Self::assemble(connection, Some(reader), Some(path.to_owned()), options.busy_timeout))
    }

    /// Lends the connection out. A transaction that is left open is one for the dicts as well.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy) if another thread's bulk does not end in time.
    pub fn with<T>(&self, act: impl FnOnce(&Connection) -> T) -> Result<T> {
        let state = self.lock()?;
        let result = act(&state.connection);
        self.note_open(&state);
        Ok(result)
    }

    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// Whether nothing can be written.
    pub(super) fn is_read_only(&self) -> bool {
        self.state().connection.is_readonly("main").unwrap_or(false)
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(super) fn can_commit(&self) -> bool {
        self.state().can_commit
    }

    pub(super) fn set_can_commit(&self, can_commit: bool) {
        self.state().can_commit = can_commit;
    }

    /// Commits what is pending, if that may be or must.
    pub(super) fn commit(&self, force: bool) -> Result<()> {
        let state = self.lock()?;
        if state.owner.is_none() && (state.can_commit || force) && !state.connection.is_autocommit() {
            let done = state.connection.execute_batch("COMMIT");
            self.note_open(&state);
            done.map_err(|error| self.error("commit to", error))?;
        }
        Ok(())
    }

    /// Runs something whose writes are one transaction of this thread; others wait for their turn.
    pub(super) fn bulk<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let me = thread::current().id();
        let mut state = self.lock()?;
        if state.owner == Some(me) {
            drop(state);
            return act();
        }
        if state.connection.is_autocommit() {
            state.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| self.error("write to", error))?;
        }
        state.owner = Some(me);
        self.note_open(&state);
        drop(state);
        let result = catch_unwind(AssertUnwindSafe(act));
        let mut state = self.state();
        state.owner = None;
        let ended = match &result {
            // SQLite may have taken all of it back by itself, on a full disk for one.
            Ok(Ok(_)) if state.connection.is_autocommit() => {
                Err(Error::new(ErrorKind::Store, "the database has taken the transaction back; try again"))
            }
            Ok(Ok(_)) => state.connection.execute_batch("COMMIT").map_err(|error| self.error("commit to", error)),
            _ => Ok(()),
        };
        roll_back(&state.connection, ended.is_err() || !matches!(result, Ok(Ok(_))));
        self.note_open(&state);
        drop(state);
        self.inner.turn.notify_all();
        let value = result.unwrap_or_else(|panic| resume_unwind(panic))?;
        ended.map(|()| value)
    }

    /// Runs writes as one transaction, or as a part of the one that is open; `Ok(false)` and errors take them back.
    pub(super) fn write(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<bool>) -> Result<bool> {
        let state = self.lock()?;
        let connection = &state.connection;
        let within = !connection.is_autocommit();
        let begin = if within { "SAVEPOINT larder" } else { "BEGIN IMMEDIATE" };
        let wrote = connection.execute_batch(begin).and_then(|()| {
            let wrote = act(connection)?;
            if wrote && within {
                connection.execute_batch("RELEASE larder")?;
            } else if wrote && state.can_commit {
                connection.execute_batch("COMMIT")?;
            }
            Ok(wrote)
        });
        if !matches!(wrote, Ok(true)) {
            if within && !connection.is_autocommit() {
                // Nothing is left to be done about an error here: the transaction as a whole will fail.
                let _ = connection.execute_batch("ROLLBACK TO larder; RELEASE larder");
            } else {
                roll_back(connection, true);
            }
        }
        self.note_open(&state);
        wrote.map_err(|error| self.error("write to", error))
    }

    /// Reads on the connection that sees what this thread has written.
    pub(super) fn read<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let fail = |error| self.error("read", error);
        if let Some(reader) = &self.inner.reader {
            let pending = self.inner.open.load(Ordering::Acquire).then(|| self.state());
            // What another thread's bulk has not committed is not there yet.
            let me = thread::current().id();
            match pending.filter(|state| state.owner.is_none_or(|owner| owner == me)) {
                Some(state) => return act(&state.connection).map_err(fail),
                None => return act(&reader.lock().unwrap_or_else(PoisonError::into_inner)).map_err(fail),
            }
        }
        act(&self.lock()?.connection).map_err(fail)
    }

    /// Runs what cannot be part of a transaction; not done while one is open.
    pub(super) fn outside(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<()> {
        let state = self.lock()?;
        if !state.connection.is_autocommit() {
            let message = "a transaction is open on the database; commit it first";
            return Err(Error::new(ErrorKind::Busy, message));
        }
        act(&state.connection).map_err(|error| self.error("write to", error))
    }

    pub(super) fn error(&self, doing: &str, error: rusqlite::Error) -> Error {
        sqlite_error(doing, self.path(), error)
    }

    fn assemble(connection: Connection, reader: Option<Connection>, path: Option<PathBuf>, limit: Duration) -> Self {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let open = AtomicBool::new(!connection.is_autocommit());
        let state = Mutex::new(State { connection, owner: None, can_commit: true });
        let reader = reader.map(Mutex::new);
        let inner = Inner { path, state, turn: Condvar::new(), open, reader, busy_timeout: limit };
        Self { inner: Arc::new(inner) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of a lent connection's user leaves at worst an open transaction, which is looked for.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, when no other thread's bulk is under way.
    fn lock(&self) -> Result<MutexGuard<'_, State>> {
        let me = thread::current().id();
        let started = Instant::now();
        let mut state = self.state();
        while state.owner.is_some_and(|owner| owner != me) {
            let Some(left) = self.inner.busy_timeout.checked_sub(started.elapsed()) else {
                let message = "another thread's bulk of writes to the database takes too long; try again";
                let error = Error::new(ErrorKind::Busy, message);
                return Err(match self.path() {
                    Some(path) => error.with_path(path),
                    None => error,
                });
            };
            let waited = self.inner.turn.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state)
    }

    fn note_open(&self, state: &State) {
        self.inner.open.store(!state.connection.is_autocommit(), Ordering::Release);
    }
}

/// Takes a connection over as it is: journal mode, pragmas, busy time-out, an open transaction.
impl From<Connection> for SqliteConnection {
    fn from(connection: Connection) -> Self {
        let path = connection.path().filter(|path| !path.is_empty()).map(PathBuf::from);
        Self::assemble(connection, None, path, SqliteOptions::new().busy_timeout)
    }
}

impl fmt::Debug for SqliteConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteConnection").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

/// Creates the file for the user alone, so that the files that SQLite puts beside it are so too. Returns whether it is
/// empty.
fn create(path: &Path) -> Result<bool> {
    let open = fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    let file = match open {
        Ok(file) => file,
        Err(error) => return Err(Error::io("open the database", path, error)),
    };
    let metadata = file.metadata().map_err(|error| Error::io("read the size of the database", path, error))?;
    Ok(metadata.len() == 0)
}

fn connect(path: &Path, access: OpenFlags, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(options.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // The first look at the file: it may be something else.
    connection.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    Ok(connection)
}

/// Another process may be doing the same, and SQLite does not wait for it here.
fn use_wal(connection: &Connection, limit: Duration) -> rusqlite::Result<()> {
    let started = Instant::now();
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
            Err(error) if is_busy(&error) && started.elapsed() < limit => thread::sleep(Duration::from_millis(5)),
            result => return result,
        }
    }
}

fn roll_back(connection: &Connection, needed: bool) {
    if needed && !connection.is_autocommit() {
        // The error that led here is the one to tell of.
        let _ = connection.execute_batch("ROLLBACK");
    }
}

/// Whether there is a journal of a change that was cut off, which a connection that only reads cannot take back.
fn is_half_changed(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Sorts an error of SQLite into a kind; `doing` completes "cannot ... the database".
fn sqlite_error(doing: &str, path: Option<&Path>, error: rusqlite::Error) -> Error {
    let (kind, advice) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Busy, "; another connection holds it: try again, or raise the busy time-out")
        }
        Some(ErrorCode::DiskFull) => (ErrorKind::Full, "; free some space, or clear or compact the cache"),
        Some(ErrorCode::ReadOnly) if is_half_changed(&error) => {
            (ErrorKind::ReadOnly, "; a program died while it changed it: open it for writing once, to take that back")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (ErrorKind::ReadOnly, "; check its owner and mode"),
        Some(ErrorCode::NotADatabase) => (ErrorKind::NotALarder, "; choose another file"),
        Some(ErrorCode::DatabaseCorrupt) => (ErrorKind::Damaged, "; take it from a backup, or remove it"),
        Some(ErrorCode::TooBig) => (ErrorKind::TooLarge, "; use the log for values of this size"),
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => (ErrorKind::Io, ""),
        _ => (ErrorKind::Store, ""),
    };
    let sorted = Error::new(kind, format!("cannot {doing} the database: {error}{advice}")).with_source(error);
    match path {
        Some(path) => sorted.with_path(path),
        None => sorted,
    }
}
