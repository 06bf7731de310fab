//! One body for several readers: each reads it from its beginning, at its own pace, and whoever is the farthest fetches
//! what comes next.
//!
//! Nobody waits for a slower reader, and nobody depends on the one that asked first: if that goes away, the others read
//! on. What was fetched is kept in memory while others may still join, and in a file without a name once it is more
//! than that and there are some.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::source::{Limits, Source};
use crate::{Error, ErrorKind, entry::Key};

/// How much of a body is kept in memory for those who may join. Past it, a body that nobody has joined is not shared.
const WINDOW: usize = 4 << 20;

pub(super) struct Spool {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Away while somebody reads from it, and once there is nothing left to read.
    source: Option<Box<Source>>,
    kept: Kept,
    /// How much was fetched.
    len: u64,
    readers: usize,
    end: Option<Result<(), (io::ErrorKind, Error)>>,
    key: Option<Key>,
    limits: Limits,
    kept_max: u64,
}

/// What was fetched, from its beginning.
enum Kept {
    Memory(Vec<u8>),
    File(File),
    Nothing,
}

/// A place in the body.
pub(super) struct SpoolReader {
    spool: Arc<Spool>,
    position: u64,
    limits: Limits,
    /// It is the one whose request brought the body, so that its limits are those of the connection.
    first: bool,
}

impl Spool {
    /// The first reader of a body. Others may join if it is going to be stored.
    pub(super) fn reader(source: Source) -> SpoolReader {
        let kept = if source.is_saving() { Kept::Memory(Vec::new()) } else { Kept::Nothing };
        let (limits, kept_max) = (source.limits, source.max_body());
        let source = Some(Box::new(source));
        let state = State { source, kept, len: 0, readers: 1, end: None, key: None, limits, kept_max };
        let spool = Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() });
        SpoolReader { spool, position: 0, limits, first: true }
    }

    /// Joins at the beginning; `None` if that is not kept any more, or for a reader with less time than a read of the
    /// connection may take: it could only wait until another reads on, and that need not be soon.
    pub(super) fn join(self: &Arc<Self>, limits: Limits) -> Option<SpoolReader> {
        let mut state = self.state();
        let in_time = state.end.is_some() || limits.outlast(state.limits, Instant::now());
        if matches!(state.kept, Kept::Nothing) || matches!(state.end, Some(Err(_))) || !in_time {
            return None;
        }
        state.readers += 1;
        drop(state);
        Some(SpoolReader { spool: Arc::clone(self), position: 0, limits, first: false })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever panicked was not holding the lock: the source is read without it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpoolReader {
    pub(super) fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Reads on; gives the key too, once the body is stored.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<Key>)> {
        if buffer.is_empty() {
            return Ok((0, None));
        }
        let now = Instant::now();
        let limit = self.limits.after(now);
        let mut state = self.spool.state();
        let source = loop {
            if self.limits.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(too_long());
            }
            if self.position < state.len {
                let n = state.copy(self.position, buffer)?;
                self.position += n as u64;
                return Ok((n, state.key));
            }
            match &state.end {
                Some(Ok(())) => return Ok((0, state.key)),
                Some(Err((kind, error))) => return Err(io::Error::new(*kind, error.duplicate())),
                None => {}
            }
            let may_fetch = self.first || self.limits.outlast(state.limits, now);
            if may_fetch && let Some(source) = state.source.take() {
                break source;
            }
            if !may_fetch && state.readers == 1 {
                return Err(given_up());
            }
            state = self.wait(state, limit)?;
        };
        drop(state);
        self.fetch(source, buffer)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, limit: Option<Instant>) -> io::Result<MutexGuard<'s, State>> {
        let Some(limit) = limit else {
            return Ok(self.spool.changed.wait(state).unwrap_or_else(PoisonError::into_inner));
        };
        let left = limit.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(too_long());
        }
        Ok(self.spool.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    fn fetch(&mut self, source: Box<Source>, buffer: &mut [u8]) -> io::Result<(usize, Option<Key>)> {
        let mut turn = Turn { spool: &self.spool, source: Some(source) };
        let read = match &mut turn.source {
            Some(source) => source.read(buffer),
            None => Ok(0),
        };
        let source = turn.source.take();
        let mut state = self.spool.state();
        state.key = source.as_ref().and_then(|source| source.key).or(state.key);
        let n = match read {
            Ok(0) => {
                state.end = Some(Ok(()));
                0
            }
            Ok(n) => {
                state.keep(buffer.get(..n).unwrap_or_default());
                state.source = source;
                self.position += n as u64;
                n
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                state.source = source;
                self.spool.changed.notify_all();
                return Err(error);
            }
            Err(error) => {
                let kind = error.kind();
                let error = error.downcast::<Error>().unwrap_or_else(|error| {
                    Error::new(ErrorKind::Network, format!("the body broke off: {error}")).with_source(error)
                });
                state.end = Some(Err((kind, error.duplicate())));
                self.spool.changed.notify_all();
                return Err(io::Error::new(kind, error));
            }
        };
        self.spool.changed.notify_all();
        Ok((n, state.key))
    }
}

impl Drop for SpoolReader {
    fn drop(&mut self) {
        self.spool.state().readers -= 1;
        self.spool.changed.notify_all();
    }
}

impl State {
    /// What is kept of the body from a place on.
    fn copy(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.kept {
            Kept::Memory(bytes) => {
                let rest = usize::try_from(position).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                let n = rest.len().min(buffer.len());
                let (Some(to), Some(from)) = (buffer.get_mut(..n), rest.get(..n)) else { return Ok(0) };
                to.copy_from_slice(from);
                Ok(n)
            }
            Kept::File(file) => {
                let left = usize::try_from(self.len - position).unwrap_or(usize::MAX).min(buffer.len());
                match file.read_at(buffer.get_mut(..left).unwrap_or_default(), position)? {
                    0 => Err(fell_behind()),
                    n => Ok(n),
                }
            }
            Kept::Nothing => Err(fell_behind()),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let start = self.len;
        self.len += bytes.len() as u64;
        let kept = std::mem::replace(&mut self.kept, Kept::Nothing);
        self.kept = match kept {
            Kept::Memory(mut kept) if kept.len() + bytes.len() <= WINDOW => {
                kept.extend_from_slice(bytes);
                Kept::Memory(kept)
            }
            // Nobody else reads it, and nobody can join any more.
            _ if self.readers == 1 => Kept::Nothing,
            // What is larger than may be stored may have no end at all.
            _ if self.len > self.kept_max => Kept::Nothing,
            Kept::Memory(kept) => spill(&[&kept, bytes]).map_or(Kept::Nothing, Kept::File),
            Kept::File(file) if file.write_all_at(bytes, start).is_ok() => Kept::File(file),
            Kept::File(_) | Kept::Nothing => Kept::Nothing,
        };
    }
}

/// Whoever reads from the source, without the lock. If that panics, the body has broken off for the others.
struct Turn<'a> {
    spool: &'a Spool,
    source: Option<Box<Source>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.source.take().is_some() {
            self.spool.state().end =
                Some(Err((io::ErrorKind::Other, Error::new(ErrorKind::Network, "reading the body panicked"))));
            self.spool.changed.notify_all();
        }
    }
}

/// A file that has lost its name already, so that nothing is left of it whatever happens.
fn spill(parts: &[&[u8]]) -> io::Result<File> {
    let mut name = [0; 16];
    getrandom::fill(&mut name).map_err(io::Error::other)?;
    let path = std::env::temp_dir().join(format!("larder-{:032x}", u128::from_le_bytes(name)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    let mut at = 0;
    for part in parts {
        file.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(file)
}

fn too_long() -> io::Error {
    let error = Error::new(ErrorKind::Timeout, "the body took too long; raise the limit with timeout(..)");
    io::Error::new(io::ErrorKind::TimedOut, error)
}

fn fell_behind() -> io::Error {
    let message = "this reader fell too far behind the others that read the same body; ask again";
    io::Error::other(Error::new(ErrorKind::Network, message))
}

fn given_up() -> io::Error {
    let message = "the request that brought this body was given up, and may take longer than this one; ask again";
    io::Error::other(Error::new(ErrorKind::Network, message))
}
