//! Values with long bodies: written and read piece by piece, or put whole and cut into chunks here, so that no write
//! holds the lock for long.

use super::{
    append::{Payload, Step, Table, check_head, check_key},
    chunks::{Chunked, Chunks, Packing},
    entry::{Times, Write},
    handle::Log,
    layout::BODY_MAX,
    lock::{Turns, WriteGuard, busy},
    plant::{Bug, planted},
    read::{Source, Want},
    reader::Reader,
    staged::{Stage, Staged, Writer},
};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::{cmp::Reverse, sync::Arc};

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

    /// Whether a value is too long to be written in one piece.
    pub(super) fn is_long(&self, key: &[u8], head: &[u8], body: &[u8]) -> bool {
        key.len() + head.len() + body.len() > self.shared.env.pieces.inline_max
    }

    /// Stores a value whose body is long.
    pub(super) fn put_long(&self, key: &[u8], head: &[u8], body: &[u8], times: Times) -> Result<()> {
        check_key(key)?;
        check_head(head)?;
        let body = self.stage_whole(body)?;
        let (key, head) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(head));
        self.apply_staged(&[Write::PutStaged { key, head, body, times, aux: false }])
    }

    /// Whether a batch holds a body that is in chunks, or more than may be written under one hold of the lock.
    pub(super) fn needs_chunks(&self, writes: &[Write]) -> bool {
        let staged =
            writes.iter().any(|write| matches!(write, Write::PutStaged { body, .. } if body.chunks().is_some()));
        staged || writes.iter().map(inline_len).sum::<usize>() > self.shared.env.pieces.inline_max
    }

    /// Applies such a batch. What can never be stored is found before anything is written.
    pub(super) fn apply_with_chunks(&self, writes: &[Write]) -> Result<()> {
        writes.iter().try_for_each(Write::check)?;
        let ahead = self.ahead(writes);
        let bodies: Vec<&[u8]> = ahead.iter().filter_map(|at| writes.get(*at).and_then(inline_body)).collect();
        let mut writes = writes.to_vec();
        for (at, body) in ahead.into_iter().zip(self.stage_all(&bodies)?) {
            let Some(write) = writes.get_mut(at) else { continue };
            if let Write::Put { key, head, times, aux, .. } | Write::PutStaged { key, head, times, aux, .. } = write {
                let (key, head) = (key.clone(), head.clone());
                *write = Write::PutStaged { key, head, body, times: *times, aux: *aux };
            }
        }
        self.apply_staged(&writes)
    }

    /// The writes whose bodies go out ahead, as chunks: the longest, so many that what is left of the batch may be
    /// written under one hold of the lock. A body of a few bytes would take more as a chunk.
    fn ahead(&self, writes: &[Write]) -> Vec<usize> {
        let pieces = self.shared.env.pieces;
        let mut left: usize = writes.iter().map(inline_len).sum();
        let len = |at: &usize| writes.get(*at).and_then(inline_body).map_or(0, <[u8]>::len);
        let mut longest: Vec<usize> = (0..writes.len()).filter(|at| len(at) >= pieces.ahead_min).collect();
        longest.sort_by_key(|at| Reverse(len(at)));
        longest.retain(|at| {
            let wanted = left > pieces.inline_max;
            left -= if wanted { len(at) } else { 0 };
            wanted
        });
        longest.sort_unstable();
        longest
    }

    fn apply_staged(&self, writes: &[Write]) -> Result<()> {
        // What is not in chunks is compressed before the lock is there.
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

    /// Stages a body that is there in whole.
    pub(super) fn stage_whole(&self, body: &[u8]) -> Result<Staged> {
        self.stage_all(&[body]).map(|mut staged| staged.remove(0))
    }

    /// Stages bodies that are there in whole, with as much under each hold of the lock as that may take.
    fn stage_all(&self, bodies: &[&[u8]]) -> Result<Vec<Staged>> {
        let pieces = self.shared.env.pieces;
        let mut chunks = Chunks::none(self);
        let (mut staged, mut hold, mut bytes) = (Vec::with_capacity(bodies.len()), Vec::new(), 0);
        let mut count = 0;
        for body in bodies {
            if body.len() as u64 > BODY_MAX {
                return Err(Error::new(ErrorKind::TooLarge, "a body is longer than 4 GiB"));
            }
            let first = count;
            let mut packing = Packing::new(self);
            for piece in body.chunks(packing.piece_len()) {
                let piece = packing.pack(piece)?;
                if bytes + piece.len() > pieces.inline_max && !hold.is_empty() {
                    chunks.append(self, &hold)?;
                    hold.clear();
                    bytes = 0;
                }
                bytes += piece.len();
                hold.push(piece);
                count += 1;
            }
            staged.push((first..count, packing.codec(), body.len() as u64));
        }
        if !hold.is_empty() {
            chunks.append(self, &hold)?;
        }
        let chunks = Arc::new(Chunked::new(chunks));
        let staged = staged.into_iter();
        Ok(staged.map(|(range, codec, len)| Staged::in_chunks(&chunks, range, codec, len)).collect())
    }

    /// Locks the file once all staged bodies are in it and on the medium; gives the tables that name their chunks.
    pub(super) fn lock_with(&self, staged: &[&Staged]) -> Result<(WriteGuard, Vec<Option<Table>>)> {
        let mut turns = Turns::default();
        while turns.next(&self.shared.env, self.settings.lock_timeout) {
            let mut brought: Option<&Arc<Chunked>> = None;
            for (chunks, ..) in staged.iter().filter_map(|staged| staged.chunks()) {
                if brought.is_none_or(|last| !Arc::ptr_eq(last, chunks)) {
                    chunks.bring_along(self)?;
                    brought = Some(chunks);
                }
            }
            let own = staged.iter().filter_map(|staged| staged.chunks().map(|_| staged.len())).sum();
            let guard = self.shared.lock_to_append(&self.settings, own)?;
            let tables = staged.iter().map(|staged| {
                let Some((chunks, range, codec)) = staged.chunks() else { return Some(None) };
                let chunks = chunks.now();
                let usable = chunks.are_in(&guard.generation) || planted(Bug::ChunksLeftBehind);
                usable.then(|| Some(chunks.table(range, codec, staged.len())))
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

/// The body that a write holds in memory.
fn inline_body(write: &Write) -> Option<&[u8]> {
    match write {
        Write::Put { body, .. } => Some(body),
        Write::PutStaged { body, .. } => body.as_bytes().map(|bytes| &bytes[..]),
        _ => None,
    }
}

impl Write {
    /// The bytes that it stores, wherever they stand by now.
    pub(super) fn weight(&self) -> u64 {
        let apart = staged_body(self).filter(|body| body.chunks().is_some()).map_or(0, Staged::len);
        inline_len(self) as u64 + apart
    }
}

/// What a write appends as part of its batch, but for headers and tables.
fn inline_len(write: &Write) -> usize {
    let body = inline_body(write).map_or(0, <[u8]>::len);
    match write {
        Write::Put { key, head, .. } | Write::PutStaged { key, head, .. } => key.len() + head.len() + body,
        Write::Alias { key, to, head, .. } => key.len() + to.len() + head.len(),
        Write::Delete { key } => key.len(),
        Write::Expect { .. } => 0,
    }
}
