//! Bodies that come piece by piece: chunks that are appended as they come, and named by a value when all are there.

use super::{
    append::{Draft, Step, Table},
    background::UNSYNCED,
    codec,
    disk::read_exact_at,
    entry::{Times, Write},
    fields::crc32,
    generation::Generation,
    handle::Log,
    layout::{BODY_MAX, CODEC_PIECES, CODEC_RAW, RECORD_HEADER_LEN},
    lock::WriteGuard,
    plant::{Bug, planted},
    record::Extent,
};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::{
    fmt, io,
    sync::{Arc, RwLock, atomic::Ordering},
};

/// A body that is complete and belongs to no value yet: what [`Stage::finish`] gives and [`Write::PutStaged`] takes.
///
/// Dropped without being stored, it leaves at most dead bytes in the file.
#[derive(Clone)]
pub struct Staged {
    len: u64,
    place: Place,
    stays: bool,
}

#[derive(Clone)]
enum Place {
    Memory(Bytes),
    Chunks(Arc<RwLock<Chunks>>),
}

/// Chunks of one body, and the generation in whose file they are.
pub(super) struct Chunks {
    pub(super) generation: Arc<Generation>,
    extents: Vec<Extent>,
    codec: u8,
}

impl Staged {
    /// A body in memory, for stores that keep whole values.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self { len: bytes.len() as u64, place: Place::Memory(bytes), stays: false }
    }

    /// Asks the store not to compress it, since it is compressed already; of use before it is stored for the first time,
    /// while it is in memory. A store that does not [compress](super::Options::compress) takes no notice.
    #[must_use]
    pub fn as_it_is(mut self) -> Self {
        self.stays = true;
        self
    }

    /// Whether it is not to be compressed.
    #[must_use]
    pub fn is_to_stay(&self) -> bool {
        self.stays
    }

    /// The length of the body in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the body has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The body, if it is in memory; one that a log has in its file is not.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.place {
            Place::Memory(bytes) => Some(bytes),
            Place::Chunks(_) => None,
        }
    }

    /// The chunks, unless it is in memory.
    pub(super) fn chunks(&self) -> Option<&RwLock<Chunks>> {
        match &self.place {
            Place::Memory(_) => None,
            Place::Chunks(chunks) => Some(chunks),
        }
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Two are equal if they are in memory and hold the same bytes, or are the same one.
impl PartialEq for Staged {
    fn eq(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::Memory(a), Place::Memory(b)) => a == b,
            (Place::Chunks(a), Place::Chunks(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for Staged {}

/// A body in the making. Made by [`Log::stage`].
///
/// It keeps up to 1 MiB in memory. A body that stays below that is stored with its value; a longer one is appended in
/// chunks of 1 MiB as it comes, of which nobody knows before a value names them. Each holds the writer lock for itself.
/// What is dropped or fails leaves nothing but dead bytes, which the next compaction removes.
///
/// After an error nothing more can be written.
pub struct Stage {
    log: Log,
    buffer: Vec<u8>,
    written: Option<Chunks>,
    /// What goes into one chunk; where bodies are compressed a little less than it holds, since the frame of what cannot
    /// be compressed is longer than that.
    piece_len: usize,
    len: u64,
    failed: bool,
}

impl Stage {
    pub(super) fn new(log: &Log) -> Self {
        let chunk_len = log.shared.env.pieces.chunk;
        let piece_len = if log.settings.compress { chunk_len - (chunk_len / 64).max(32) } else { chunk_len };
        Self { log: log.clone(), buffer: Vec::new(), written: None, piece_len, len: 0, failed: false }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// As [`Log::put`], if what is left in memory cannot be written; `InvalidInput` after a write that has failed.
    pub fn finish(mut self) -> Result<Staged> {
        if self.failed {
            return Err(Error::new(ErrorKind::InvalidInput, "an earlier write of this body has failed"));
        }
        if self.written.is_none() {
            return Ok(Staged::from_bytes(Bytes::from(std::mem::take(&mut self.buffer))));
        }
        if !self.buffer.is_empty() {
            self.write_chunk()?;
        }
        let place = match self.written.take() {
            Some(chunks) => Place::Chunks(Arc::new(RwLock::new(chunks))),
            None => Place::Memory(Bytes::new()),
        };
        Ok(Staged { len: self.len, place, stays: false })
    }

    /// Appends to the body.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        if self.len + bytes.len() as u64 > BODY_MAX {
            return Err(Error::new(ErrorKind::TooLarge, "a body is longer than 4 GiB"));
        }
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            // A body of exactly one chunk may still end here, and then needs none.
            if self.buffer.len() == self.piece_len {
                self.write_chunk()?;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(self.piece_len - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    fn write_chunk(&mut self) -> Result<()> {
        let mut frame = None;
        let chunks = match &mut self.written {
            Some(chunks) => chunks,
            None => {
                // The first piece decides for all of the body.
                let room = codec::worthwhile(self.buffer.len());
                frame = self.log.settings.compress.then(|| codec::encode_piece(&self.buffer, room)).flatten();
                let codec = if frame.is_some() { CODEC_PIECES } else { CODEC_RAW };
                let generation = self.log.shared.generation();
                self.written.insert(Chunks { generation, extents: Vec::new(), codec })
            }
        };
        if chunks.codec == CODEC_PIECES && frame.is_none() {
            let frame_len_max = self.log.shared.env.pieces.chunk;
            frame = Some(codec::encode_piece(&self.buffer, frame_len_max).ok_or_else(no_frame)?);
        }
        chunks.append(&self.log, frame.as_deref().unwrap_or(&self.buffer))?;
        self.buffer.clear();
        Ok(())
    }
}

impl io::Write for Stage {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("an earlier write of this body has failed"));
        }
        if let Err(error) = self.append(bytes) {
            self.failed = true;
            return Err(io::Error::other(error));
        }
        Ok(bytes.len())
    }

    /// Does nothing: nobody can see the body before it is stored.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("len", &self.len).finish_non_exhaustive()
    }
}

/// A value whose body comes piece by piece. Made by [`Log::writer`].
///
/// It is there for others once [`commit`](Self::commit) has returned, and leaves nothing but dead bytes if it is
/// dropped before. See [`Stage`] for what it costs.
#[derive(Debug)]
#[must_use = "nothing is stored until it is committed"]
pub struct Writer {
    stage: Stage,
    key: Bytes,
    head: Bytes,
    times: Times,
}

impl Writer {
    pub(super) fn new(log: &Log, key: &[u8], head: &[u8]) -> Self {
        let (key, head) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(head));
        Self { stage: Stage::new(log), key, head, times: log.now() }
    }

    /// When the value was made and may be dropped. Default: made when the writer was, never dropped.
    pub fn times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// Stores the value, in place of whatever stood under its key.
    ///
    /// # Errors
    /// As [`Log::put`]; then the key is as it was before.
    pub fn commit(self) -> Result<()> {
        let log = self.stage.log.clone();
        let body = self.stage.finish()?;
        log.apply(&[Write::PutStaged { key: self.key, head: self.head, body, times: self.times, aux: false }])
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stage.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stage.flush()
    }
}

impl Chunks {
    /// Appends a chunk, behind those that are there.
    fn append(&mut self, log: &Log, bytes: &[u8]) -> Result<()> {
        let guard = self.lock(log)?;
        let offset = guard.generation.view().position().offset + RECORD_HEADER_LEN as u64;
        let draft = Draft::chunk(bytes);
        let extent = Extent { offset, len: u32::try_from(bytes.len()).unwrap_or(u32::MAX), crc: draft.body_crc() };
        // A chunk that nobody names need not be durable; the value that will name it waits for it.
        let ticket = log.shared.apply_locked(&guard, vec![Step::Write(draft)], &UNSYNCED)?;
        log.shared.start_background();
        log.shared.acknowledge(guard, ticket, &UNSYNCED)?;
        self.generation.staged_bytes.fetch_add(u64::from(extent.len), Ordering::Relaxed);
        self.extents.push(extent);
        Ok(())
    }

    /// What they count for in the file where they are.
    fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| u64::from(extent.len)).sum()
    }

    /// The lock of the file in which the chunks are; brings them there first if it has changed.
    pub(super) fn lock(&mut self, log: &Log) -> Result<WriteGuard> {
        loop {
            let guard = log.shared.lock(&log.settings)?;
            if self.are_in(&guard.generation) || planted(Bug::ChunksLeftBehind) {
                if self.extents.is_empty() {
                    self.generation = Arc::clone(&guard.generation);
                }
                return Ok(guard);
            }
            let generation = Arc::clone(&guard.generation);
            drop(guard);
            self.carry_over(log, generation)?;
        }
    }

    /// Whether a value may name the chunks in a file: they are in it, and no CLEAR stands behind one of them.
    pub(super) fn are_in(&self, generation: &Arc<Generation>) -> bool {
        let Some(first) = self.extents.first() else { return true };
        Arc::ptr_eq(&self.generation, generation) && generation.view().cleared_at() < first.offset
    }

    /// Appends the chunks anew: a compaction took those that no value names yet for dead, or a CLEAR has passed them.
    /// They stay where they are until all of them are there, so that whoever fails can try again.
    fn carry_over(&mut self, log: &Log, generation: Arc<Generation>) -> Result<()> {
        let mut moved = Self { generation, extents: Vec::with_capacity(self.extents.len()), codec: self.codec };
        for extent in &self.extents {
            let bytes = read_exact_at(&*self.generation.file, extent.len as usize, extent.offset)
                .map_err(|error| Error::io("read a part of a body back", log.path(), error))?;
            if crc32(&[&bytes]) != extent.crc {
                let message = "a part of a body does not read back as it was written";
                return Err(Error::new(ErrorKind::Io, message).with_path(log.path()));
            }
            moved.append(log, &bytes)?;
        }
        *self = moved;
        Ok(())
    }

    /// The table of extents that names them.
    pub(super) fn table(&self, raw_len: u64) -> Table {
        let extents = self.extents.iter().flat_map(Extent::encode).collect();
        Table { extents, codec: self.codec, body_len: self.bytes(), raw_len }
    }

    /// Behind the last of them.
    pub(super) fn end(&self) -> u64 {
        self.extents.iter().map(|extent| extent.offset + u64::from(extent.len)).max().unwrap_or(0)
    }
}

fn no_frame() -> Error {
    Error::new(ErrorKind::Io, "there is no memory to compress a body")
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.generation.staged_bytes.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}
