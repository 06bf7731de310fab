//! Bodies that come piece by piece: chunks that are appended as they come, and named by a value when all are there.

use super::{
    chunks::{Chunked, Chunks, Packing},
    entry::{Times, Write},
    handle::Log,
    layout::BODY_MAX,
};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::{fmt, io, ops::Range, sync::Arc};

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
    /// Some of the chunks of one file, and their codec; bodies that were staged together share them.
    Chunks(Arc<Chunked>, Range<usize>, u8),
}

impl Staged {
    /// A body in memory, for stores that keep whole values.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self { len: bytes.len() as u64, place: Place::Memory(bytes), stays: false }
    }

    /// Asks the store not to compress it, since it is compressed already; of use before it is stored for the first
    /// time, while it is in memory. A store that does not [compress](super::Options::compress) takes no notice.
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
            Place::Chunks(..) => None,
        }
    }

    /// A body in chunks.
    pub(super) fn in_chunks(chunks: &Arc<Chunked>, range: Range<usize>, codec: u8, len: u64) -> Self {
        if len == 0 {
            return Self::from_bytes(Bytes::new());
        }
        Self { len, place: Place::Chunks(Arc::clone(chunks), range, codec), stays: false }
    }

    /// The chunks, which of them are its own, and their codec, unless it is in memory.
    pub(super) fn chunks(&self) -> Option<(&Arc<Chunked>, Range<usize>, u8)> {
        match &self.place {
            Place::Memory(_) => None,
            Place::Chunks(chunks, range, codec) => Some((chunks, range.clone(), *codec)),
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
            (Place::Chunks(a, a_range, _), Place::Chunks(b, b_range, _)) => Arc::ptr_eq(a, b) && a_range == b_range,
            _ => false,
        }
    }
}

impl Eq for Staged {}

/// A body in the making. Made by [`Log::stage`].
///
/// It keeps up to 1 MiB in memory. A body that stays below that is stored with its value; a longer one is appended in
/// chunks of 1 MiB as it comes, of which nobody knows before a value names them. Each holds the writer lock for itself.
/// What is dropped or fails leaves nothing but dead bytes, which the next compaction removes. With
/// [`fast_save`](super::Options::fast_save) too, a write waits for a sync whenever 64 MiB or 5 seconds of writes are
/// not yet on the medium.
///
/// After an error nothing more can be written.
pub struct Stage {
    log: Log,
    buffer: Vec<u8>,
    written: Option<Chunks>,
    packing: Packing,
    len: u64,
    failed: bool,
}

impl Stage {
    pub(super) fn new(log: &Log) -> Self {
        let packing = Packing::new(log);
        Self { log: log.clone(), buffer: Vec::new(), written: None, packing, len: 0, failed: false }
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
        Ok(match self.written.take() {
            Some(chunks) => {
                let all = 0..chunks.count();
                Staged::in_chunks(&Arc::new(Chunked::new(chunks)), all, self.packing.codec(), self.len)
            }
            None => Staged::from_bytes(Bytes::new()),
        })
    }

    /// Appends to the body.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        let piece_len = self.packing.piece_len();
        if self.len + bytes.len() as u64 > BODY_MAX {
            return Err(Error::new(ErrorKind::TooLarge, "a body is longer than 4 GiB"));
        }
        self.log.shared.check_size(self.len + bytes.len() as u64)?;
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            // A body of exactly one chunk may still end here, and then needs none.
            if self.buffer.len() == piece_len {
                self.write_chunk()?;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(piece_len - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    fn write_chunk(&mut self) -> Result<()> {
        let chunks = self.written.get_or_insert_with(|| Chunks::none(&self.log));
        chunks.append(&self.log, &[self.packing.pack(&self.buffer)?])?;
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
