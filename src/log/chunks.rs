//! Chunks in a file that no value names yet: appended as they come, brought along when a compaction or a clear passes
//! them.

use super::{
    append::{Draft, Step, Table},
    background::UNSYNCED,
    codec,
    disk::read_exact_at,
    fields::crc32,
    generation::Generation,
    handle::Log,
    layout::{CODEC_PIECES, CODEC_RAW, RECORD_HEADER_LEN, align_up},
    lock::{Gate, Turns, WriteGuard, busy},
    plant::{Bug, planted},
    record::Extent,
};
use crate::{Error, ErrorKind, Result};
use std::{
    borrow::Cow,
    ops::Range,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

/// Chunks, and the generation in whose file they are.
pub(super) struct Chunks {
    generation: Arc<Generation>,
    extents: Vec<Extent>,
}

impl Chunks {
    /// None yet.
    pub(super) fn none(log: &Log) -> Self {
        Self { generation: log.shared.generation(), extents: Vec::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.extents.len()
    }

    /// Appends chunks behind those that are there, all under one hold of the lock. Waits for the sync that bounds what
    /// a power cut may take, if that is due: a stream is faster than any thread in the background.
    pub(super) fn append<P: AsRef<[u8]>>(&mut self, log: &Log, pieces: &[P]) -> Result<()> {
        let guard = self.lock(log)?;
        self.append_locked(log, guard, pieces)
    }

    fn append_locked<P: AsRef<[u8]>>(&mut self, log: &Log, guard: WriteGuard, pieces: &[P]) -> Result<()> {
        // What could never be made durable is not worth its space.
        guard.generation.check_poison()?;
        let mut offset = guard.generation.view().position().offset;
        let (mut steps, mut extents) = (Vec::with_capacity(pieces.len()), Vec::with_capacity(pieces.len()));
        for piece in pieces {
            let piece = piece.as_ref();
            let draft = Draft::chunk(piece);
            let (at, len) = (offset + RECORD_HEADER_LEN as u64, u32::try_from(piece.len()).unwrap_or(u32::MAX));
            extents.push(Extent { offset: at, len, crc: draft.body_crc() });
            offset = align_up(at + u64::from(len));
            steps.push(Step::Write(draft));
        }
        // A chunk that nobody names need not be durable; the value that will name it waits for it.
        let ticket = log.shared.apply_locked(&guard, steps, &UNSYNCED)?;
        log.shared.start_background();
        log.shared.acknowledge(guard, ticket, &UNSYNCED)?;
        let bytes: u64 = extents.iter().map(|extent| u64::from(extent.len)).sum();
        self.generation.staged_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.extents.append(&mut extents);
        if self.generation.sync_is_due(log.shared.env.clock.monotonic()) {
            self.generation.wait_until_synced(self.end(), &*log.shared.env.disk, log.path())?;
        }
        Ok(())
    }

    /// The lock of the file in which the chunks are; brings them there first if it has changed.
    fn lock(&mut self, log: &Log) -> Result<WriteGuard> {
        let mut turns = Turns::default();
        while turns.next(&log.shared.env, log.settings.lock_timeout) {
            let guard = log.shared.lock_to_append(&log.settings, self.bytes())?;
            if self.are_in(&guard.generation) || planted(Bug::ChunksLeftBehind) {
                if self.extents.is_empty() {
                    self.generation = Arc::clone(&guard.generation);
                }
                return Ok(guard);
            }
            let generation = Arc::clone(&guard.generation);
            drop(guard);
            if let Some(moved) = self.carried_over(log, generation)? {
                *self = moved;
            }
        }
        Err(busy(log.path()))
    }

    /// Whether a value may name the chunks in a file: they are in it, and no CLEAR stands behind one of them.
    pub(super) fn are_in(&self, generation: &Arc<Generation>) -> bool {
        let Some(first) = self.extents.first() else { return true };
        Arc::ptr_eq(&self.generation, generation) && generation.view().cleared_at() < first.offset
    }

    /// Appends the chunks anew: a compaction took those that no value names yet for dead, or a CLEAR has passed them.
    /// They stay where they are until all of them are there, so that whoever fails can try again; `None` if the same
    /// has happened again meanwhile.
    fn carried_over(&self, log: &Log, generation: Arc<Generation>) -> Result<Option<Self>> {
        let mut moved = Self { generation, extents: Vec::with_capacity(self.extents.len()) };
        for extent in &self.extents {
            let bytes = read_exact_at(&*self.generation.file, extent.len as usize, extent.offset)
                .map_err(|error| Error::io("read a part of a body back", log.path(), error))?;
            if crc32(&[&bytes]) != extent.crc {
                let message = "a part of a body does not read back as it was written";
                return Err(Error::new(ErrorKind::Io, message).with_path(log.path()));
            }
            let guard = log.shared.lock_to_append(&log.settings, self.bytes())?;
            if !(Arc::ptr_eq(&moved.generation, &guard.generation) && moved.are_in(&guard.generation)) {
                return Ok(None);
            }
            moved.append_locked(log, guard, &[&bytes])?;
        }
        Ok(Some(moved))
    }

    /// The table of extents that names some of them.
    pub(super) fn table(&self, range: Range<usize>, codec: u8, raw_len: u64) -> Table {
        let named = self.extents.get(range).unwrap_or_default();
        let body_len = named.iter().map(|extent| u64::from(extent.len)).sum();
        Table { extents: named.iter().flat_map(Extent::encode).collect(), codec, body_len, raw_len }
    }

    fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| u64::from(extent.len)).sum()
    }

    /// Behind the last of them.
    fn end(&self) -> u64 {
        self.extents.iter().map(|extent| extent.offset + u64::from(extent.len)).max().unwrap_or(0)
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.generation.staged_bytes.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

/// How the pieces of one body become chunks: as they are, or each as a frame if that is worth it for the first.
#[derive(Debug)]
pub(super) struct Packing {
    compress: bool,
    chunk_len: usize,
    codec: Option<u8>,
}

impl Packing {
    pub(super) fn new(log: &Log) -> Self {
        Self { compress: log.settings.compress, chunk_len: log.shared.env.pieces.chunk, codec: None }
    }

    /// What goes into one chunk; where bodies are compressed a little less than it holds, since the frame of what
    /// cannot be compressed is longer than that.
    pub(super) fn piece_len(&self) -> usize {
        if self.compress { self.chunk_len - (self.chunk_len / 64).max(32) } else { self.chunk_len }
    }

    /// The next piece, as it is to be stored. All but the last are of the same length.
    pub(super) fn pack<'a>(&mut self, piece: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        let room = match self.codec {
            None if self.compress => codec::worthwhile(piece.len()),
            Some(CODEC_PIECES) => self.chunk_len,
            _ => 0,
        };
        let frame = if room > 0 { codec::encode_piece(piece, room) } else { None };
        if self.codec == Some(CODEC_PIECES) && frame.is_none() {
            return Err(Error::new(ErrorKind::Io, "there is no memory to compress a body"));
        }
        self.codec.get_or_insert(if frame.is_some() { CODEC_PIECES } else { CODEC_RAW });
        Ok(frame.map_or(Cow::Borrowed(piece), Cow::Owned))
    }

    /// How the pieces are encoded.
    pub(super) fn codec(&self) -> u8 {
        self.codec.unwrap_or(CODEC_RAW)
    }
}

/// Chunks that are complete, and may be stored by several threads at once.
pub(super) struct Chunked {
    /// Locked only to look, never while anybody waits for a file.
    now: Mutex<Arc<Chunks>>,
    /// Lets one thread at a time bring them along.
    moving: Gate,
}

impl Chunked {
    pub(super) fn new(chunks: Chunks) -> Self {
        Self { now: Mutex::new(Arc::new(chunks)), moving: Gate::default() }
    }

    /// Where they are now.
    pub(super) fn now(&self) -> Arc<Chunks> {
        Arc::clone(&self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Brings them into the file that the path names, and onto the medium: a value must not reach that without the
    /// chunks that it names, or a crash would leave neither the old value nor the new.
    pub(super) fn bring_along(&self, log: &Log) -> Result<()> {
        if !self.moving.enter(log.settings.lock_timeout) {
            return Err(busy(log.path()));
        }
        let brought = self.bring_along_alone(log);
        self.moving.leave();
        let chunks = brought?;
        if planted(Bug::ChunksUnsynced) {
            return Ok(());
        }
        let end = chunks.end().min(chunks.generation.seen());
        chunks.generation.wait_until_synced(end, &*log.shared.env.disk, log.path())
    }

    fn bring_along_alone(&self, log: &Log) -> Result<Arc<Chunks>> {
        let mut turns = Turns::default();
        while turns.next(&log.shared.env, log.settings.lock_timeout) {
            let generation = Arc::clone(&log.shared.lock(&log.settings)?.generation);
            let chunks = self.now();
            if chunks.are_in(&generation) || planted(Bug::ChunksLeftBehind) {
                return Ok(chunks);
            }
            if let Some(moved) = chunks.carried_over(log, generation)? {
                *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(moved);
            }
        }
        Err(busy(log.path()))
    }
}
