//! Walking the log: from one record to the next by their lengths, batch by batch, until something does not fit.
//! Nothing here searches for records.

use super::{
    disk::{DiskFile, read_at},
    layout::{LOG_START, RECORD_HEADER_LEN},
    plant::{Bug, planted},
    record::{Kind, RecordFault, RecordHeader},
};
use std::io;

/// A place between two batches: where the next record begins, and the checksum that it must name as its predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) chain: u32,
}

/// A record that was walked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) offset: u64,
    pub(super) header: RecordHeader,
}

/// Records that are visible together or not at all.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Found>,
    /// Offsets of the records whose head or body fails its checksum; one is enough to void the batch.
    pub(super) unsound: Vec<u64>,
}

/// Why a walk goes no further.
#[derive(Debug)]
pub(super) enum End {
    /// The file ends here.
    Clean,
    /// What follows is no complete batch: an append that is going on, or that a crash cut off.
    Torn,
    /// What follows is sound and not understood.
    Newer,
    /// What follows cannot be read.
    Unreadable(io::Error),
}

/// How closely a walk looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// At headers: what a running process does to see what others have appended.
    Headers,
    /// At every checksum that decides what is there, since after a crash any sector may be missing: what opening a file
    /// does. That of a chunk decides nothing; reading the value that names it verifies it.
    Opening,
    /// At every checksum.
    Everything,
}

/// A walk over the bytes `[position, size)` of a file.
pub(super) struct Walk<'a> {
    blocks: Blocks<'a>,
    file_id: u64,
    look: Look,
    position: Position,
    reached: u64,
}

impl<'a> Walk<'a> {
    /// The caller has taken `size` before anything is read, so that all bytes below it are there.
    pub(super) fn new(file: &'a dyn DiskFile, file_id: u64, size: u64, from: Position, look: Look) -> Self {
        let block_len = match look {
            Look::Headers => 64 << 10,
            Look::Opening | Look::Everything => 1 << 20,
        };
        let blocks = Blocks { file, size, block_len, sparse: false, at: 0, bytes: Vec::new() };
        Self { blocks, file_id, look, position: from, reached: from.offset }
    }

    /// The place behind the last complete batch.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The place behind the last record, be it part of a complete batch or not.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    /// The next complete batch.
    pub(super) fn next_batch(&mut self) -> Result<Batch, End> {
        let mut batch = Batch::default();
        // So many of its records have been looked at. Chunks are once something else stands in their batch.
        let (mut checked, mut only_chunks) = (0, true);
        let mut at = self.position;
        loop {
            let found = match self.record(at) {
                Err(End::Clean) if !batch.records.is_empty() => return Err(End::Torn),
                result => result?,
            };
            batch.records.push(found);
            only_chunks &= found.header.kind == Kind::Chunk;
            self.blocks.sparse = only_chunks && self.look == Look::Opening;
            if self.judges(only_chunks) {
                for found in batch.records.get(checked..).unwrap_or_default() {
                    if !self.is_sound(found) {
                        batch.unsound.push(found.offset);
                    }
                }
                checked = batch.records.len();
            }
            self.reached = found.offset + found.header.total_len();
            at = Position { offset: found.offset + found.header.total_len(), chain: found.header.header_crc };
            if !found.header.more() || planted(Bug::MoreIgnored) {
                self.position = at;
                return Ok(batch);
            }
        }
    }

    /// Whether it matters if what a batch holds so far is sound.
    fn judges(&self, only_chunks: bool) -> bool {
        let wanted = match self.look {
            Look::Headers => false,
            Look::Opening => !only_chunks,
            Look::Everything => true,
        };
        wanted && !planted(Bug::BodiesUnchecked)
    }

    fn record(&mut self, at: Position) -> Result<Found, End> {
        let size = self.blocks.size;
        if at.offset == size {
            return Err(End::Clean);
        }
        let bytes = self.blocks.read(at.offset, RECORD_HEADER_LEN).map_err(End::Unreadable)?;
        let header = match RecordHeader::decode(bytes, self.file_id, at.offset) {
            Ok(header) => header,
            // Whether it is understood or not, a record counts only as the successor of the one before.
            Err(RecordFault::Newer) if RecordHeader::follows(bytes, at.chain) => return Err(End::Newer),
            Err(_) => return Err(End::Torn),
        };
        let chained = header.prev_crc == at.chain || planted(Bug::ChainIgnored);
        if !chained || at.offset + header.total_len() > size {
            return Err(End::Torn);
        }
        Ok(Found { offset: at.offset, header })
    }

    /// Whether key, head and body are what the header promises. Bytes that cannot be read are not judged here:
    /// reading the entry will say so, while a verdict would bring an older value back.
    fn is_sound(&mut self, found: &Found) -> bool {
        let Found { offset, header } = *found;
        let head_at = offset + RECORD_HEADER_LEN as u64;
        let head = self.blocks.crc(head_at, header.head_part_len());
        let body = if header.body_is_checked() {
            self.blocks.crc(header.body_part_at(offset), header.body_part_len())
        } else {
            Ok(header.body_crc)
        };
        match (head, body) {
            (Ok(head), Ok(body)) => head == header.head_crc && body == header.body_crc,
            _ => true,
        }
    }
}

/// What is read at once where the next record is far.
const SPARSE_LEN: usize = 4096;

/// Reads a file in large blocks, each once.
struct Blocks<'a> {
    file: &'a dyn DiskFile,
    size: u64,
    block_len: usize,
    /// Whether records are passed over, so that what follows one of them is all that is wanted.
    sparse: bool,
    at: u64,
    bytes: Vec<u8>,
}

impl Blocks<'_> {
    /// The `len` bytes at `offset`, fewer if the file ends before.
    fn read(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        debug_assert!(offset >= LOG_START && len <= self.block_len);
        let rest = self.size.saturating_sub(offset);
        let len = len.min(usize::try_from(rest).unwrap_or(usize::MAX));
        let inside = offset.checked_sub(self.at).and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = inside.filter(|skip| skip + len <= self.bytes.len()) {
            return Ok(self.bytes.get(skip..skip + len).unwrap_or_default());
        }
        self.bytes.clear();
        self.at = offset;
        let block = if self.sparse { len.max(SPARSE_LEN) } else { self.block_len };
        let block = block.min(usize::try_from(rest).unwrap_or(usize::MAX));
        if read_at(self.file, &mut self.bytes, block, offset).is_err() && self.bytes.len() < len {
            // What cannot be read may lie behind what is asked for.
            self.bytes.clear();
            read_at(self.file, &mut self.bytes, len, offset)?;
        }
        Ok(self.bytes.get(..len).unwrap_or(&self.bytes))
    }

    fn crc(&mut self, mut offset: u64, mut len: u64) -> io::Result<u32> {
        let mut hasher = crc32fast::Hasher::new();
        while len > 0 {
            // What is left of the block in hand, or a new block.
            let in_hand = (self.at + self.bytes.len() as u64).saturating_sub(offset);
            let in_hand = if offset >= self.at && in_hand > 0 { in_hand } else { self.block_len as u64 };
            let piece = usize::try_from(len.min(in_hand)).unwrap_or(self.block_len);
            let bytes = self.read(offset, piece)?;
            if bytes.is_empty() {
                break;
            }
            hasher.update(bytes);
            offset += bytes.len() as u64;
            len -= bytes.len() as u64;
        }
        Ok(hasher.finalize())
    }
}
