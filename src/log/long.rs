//! Values with long bodies: written and read piece by piece, or put whole and cut into chunks here, so that no write
//! holds the lock for long.

use super::{
    append::{Payload, Step, Table, check_head, check_key},
    entry::{Times, Write},
    handle::Log,
    lock::{WriteGuard, busy},
    plant::{Bug, planted},
    read::{Source, Want},
    reader::Reader,
    staged::{Stage, Staged, Writer},
};
use crate::Result;
use bytes::Bytes;
use std::sync::PoisonError;

impl Log {
    /// Begins a value whose body comes piece by piece, of whatever length up to 4 GiB.
    ///
    /// ```
    /// use larder::log::{Log, Options};
    /// use std::io::{Read, Write};
    /// let folder = tempfile::tempdir()?;
    /// let log = Log::open(folder.path().join("cache.larder"), Options::new())?;
    /// let mut writer = log.writer("key", "head")?;
    /// for _ in 0..1000 {
    ///     writer.write_all(b"a piece of the body, ")?;
    /// }
    /// writer.commit()?;
    /// let mut reader = log.reader("key")?.expect("it was just stored");
    /// let mut start = [0; 7];
    /// reader.read_exact(&mut start)?;
    /// assert_eq!((&start, reader.len()), (b"a piece", 21_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` or `TooLarge` for a key or head out of range.
    pub fn writer(&self, key: impl AsRef<[u8]>, head: impl AsRef<[u8]>) -> Result<Writer> {
        let (key, head) = (key.as_ref(), head.as_ref());
        check_key(key)?;
        check_head(head)?;
        self.shared.may_write()?;
        Ok(Writer::new(self, key, head))
    }

    /// Begins a body that comes piece by piece, to be stored later as part of a batch ([`Write::PutStaged`]).
    ///
    /// # Errors
    /// `ReadOnly`.
    pub fn stage(&self) -> Result<Stage> {
        self.shared.may_write()?;
        Ok(Stage::new(self))
    }

    /// Opens the body of the value that a key leads to, to be read piece by piece.
    ///
    /// Aliases are followed as in [`get`](Self::get). A body that was stored in one piece of more than 1 MiB is read
    /// once to verify it before this returns.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn reader(&self, key: impl AsRef<[u8]>) -> Result<Option<Reader>> {
        let generation = self.shared.current()?;
        let counters = &self.shared.counters;
        let Some(read) = generation.resolve(key.as_ref(), Want::Head, Source::Tier, counters)? else { return Ok(None) };
        let Some(extents) = generation.extents_of(&read, counters)? else { return Ok(None) };
        Reader::new(&self.shared, &generation, read, &extents)
    }

    /// Whether a body is put as chunks.
    pub(super) fn is_long(&self, body: &[u8]) -> bool {
        body.len() > self.shared.env.pieces.inline_max
    }

    /// Stores a value whose body is long.
    pub(super) fn put_long(&self, key: &[u8], head: &[u8], body: &[u8], times: Times) -> Result<()> {
        check_key(key)?;
        check_head(head)?;
        let (key, head) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(head));
        self.apply_staged(&[Write::PutStaged { key, head, body: self.stage_whole(body)?, times, aux: false }])
    }

    /// Whether a batch holds a body that is in chunks, or is to be.
    pub(super) fn needs_chunks(&self, writes: &[Write]) -> bool {
        writes.iter().any(|write| match write {
            Write::PutStaged { body, .. } => body.as_bytes().is_none_or(|body| self.is_long(body)),
            Write::Put { body, .. } => self.is_long(body),
            _ => false,
        })
    }

    /// Applies such a batch. What can never be stored is found before anything is written.
    pub(super) fn apply_with_chunks(&self, writes: &[Write]) -> Result<()> {
        writes.iter().try_for_each(Write::check)?;
        let staged = writes.iter().map(|write| match write {
            Write::Put { key, head, body, times, aux } if self.is_long(body) => {
                let (key, head, body) = (key.clone(), head.clone(), self.stage_whole(body)?);
                Ok(Write::PutStaged { key, head, body, times: *times, aux: *aux })
            }
            other => Ok(other.clone()),
        });
        self.apply_staged(&staged.collect::<Result<Vec<_>>>()?)
    }

    fn apply_staged(&self, writes: &[Write]) -> Result<()> {
        let payloads: Vec<_> = writes.iter().map(|write| self.payload_of(write)).collect();
        let (guard, tables) = self.lock_with(&writes.iter().filter_map(staged_body).collect::<Vec<_>>())?;
        let mut tables = tables.into_iter();
        let steps = writes.iter().zip(payloads).map(|(write, payload)| {
            let table = staged_body(write).and_then(|_| tables.next()).flatten();
            Step::of(write, table.map_or(payload, Payload::Chunks))
        });
        let steps = steps.collect::<Result<_>>()?;
        let ticket = self.shared.apply_locked(&guard, steps, &self.settings)?;
        self.acknowledge(guard, ticket)
    }

    fn stage_whole(&self, body: &[u8]) -> Result<Staged> {
        let mut stage = self.stage()?;
        stage.append(body)?;
        stage.finish()
    }

    /// Locks the file once all staged bodies are in it and on the medium; gives the tables that name their chunks.
    ///
    /// A value must not reach the medium without the chunks that it names: a crash would leave neither the old value
    /// nor the new.
    fn lock_with(&self, staged: &[&Staged]) -> Result<(WriteGuard, Vec<Option<Table>>)> {
        // Each turn is lost only to a compaction or a clear at that moment.
        const TURNS_MAX: usize = 16;
        for _ in 0..TURNS_MAX {
            for chunks in staged.iter().filter_map(|staged| staged.chunks()) {
                let mut chunks = chunks.write().unwrap_or_else(PoisonError::into_inner);
                drop(chunks.lock(self)?);
                if !planted(Bug::ChunksUnsynced) {
                    let generation = &chunks.generation;
                    let end = chunks.end().min(generation.seen());
                    generation.wait_until_synced(end, &*self.shared.env.disk, self.path())?;
                }
            }
            let guard = self.shared.lock(&self.settings)?;
            let tables = staged.iter().map(|staged| {
                let Some(chunks) = staged.chunks() else { return Some(None) };
                let chunks = chunks.read().unwrap_or_else(PoisonError::into_inner);
                (chunks.are_in(&guard.generation) || planted(Bug::ChunksLeftBehind))
                    .then(|| Some(chunks.table(staged.len())))
            });
            if let Some(tables) = tables.collect() {
                return Ok((guard, tables));
            }
        }
        Err(busy(self.path()))
    }
}

fn staged_body(write: &Write) -> Option<&Staged> {
    match write {
        Write::PutStaged { body, .. } => Some(body),
        _ => None,
    }
}
