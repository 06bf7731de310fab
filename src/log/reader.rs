//! [`Reader`]: a body that is read piece by piece, each verified before its bytes are handed out.

use super::{disk::read_exact_at, entry::Head, fields::crc32, generation::Generation, record::Extent, shared::Shared};
use crate::{Error, Result};
use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
    sync::{Arc, atomic::Ordering},
};

/// The body of one value, to be read and sought in. Made by [`Log::reader`](super::Log::reader).
///
/// It holds one piece of up to 1 MiB in memory, and the file that it reads from, whatever happens to the value
/// meanwhile. A piece that fails its checksum is an error of the kind `InvalidData`; the pieces before it were sound.
pub struct Reader {
    shared: Arc<Shared>,
    generation: Arc<Generation>,
    head: Head,
    body: Pieces,
    position: u64,
}

impl Reader {
    /// `None` if the body fails its checksum.
    pub(super) fn new(
        shared: &Arc<Shared>,
        generation: &Arc<Generation>,
        head: Head,
        extents: &[Extent],
    ) -> Result<Option<Self>> {
        let body = Pieces::new(shared, generation, extents)?;
        let (shared, generation) = (Arc::clone(shared), Arc::clone(generation));
        Ok(body.map(|body| Self { shared, generation, head, body, position: 0 }))
    }

    /// The head of the value.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The length of the body in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.head.body_len
    }

    /// Whether the body has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.body.at(&self.shared, &self.generation, self.position)?;
        let n = rest.len().min(buffer.len());
        let (Some(to), Some(from)) = (buffer.get_mut(..n), rest.get(..n)) else { return Ok(0) };
        to.copy_from_slice(from);
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
        };
        let before_start = || io::Error::new(io::ErrorKind::InvalidInput, "a place before the beginning of the body");
        self.position = target.ok_or_else(before_start)?;
        Ok(self.position)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("len", &self.len()).field("position", &self.position).finish_non_exhaustive()
    }
}

/// A stored body as pieces that fit in memory, one of which is there.
struct Pieces {
    /// Where in the body each begins, and where it is in the file.
    pieces: Vec<(u64, Extent)>,
    held: Option<(usize, Vec<u8>)>,
}

impl Pieces {
    fn new(shared: &Shared, generation: &Generation, extents: &[Extent]) -> Result<Option<Self>> {
        let piece_len = u32::try_from(shared.env.pieces.chunk).unwrap_or(u32::MAX);
        let (mut pieces, mut start) = (Vec::with_capacity(extents.len()), 0);
        for extent in extents {
            if extent.len <= piece_len {
                pieces.push((start, *extent));
            } else if !split(shared, generation, *extent, piece_len, start, &mut pieces)? {
                return Ok(None);
            }
            start += u64::from(extent.len);
        }
        Ok(Some(Self { pieces, held: None }))
    }

    /// What is left of the piece at a place of the body; nothing at its end.
    fn at(&mut self, shared: &Shared, generation: &Generation, position: u64) -> io::Result<&[u8]> {
        let number = self.pieces.partition_point(|(start, _)| *start <= position).wrapping_sub(1);
        let Some((start, extent)) = self.pieces.get(number) else { return Ok(&[]) };
        if self.held.as_ref().is_none_or(|(held, _)| *held != number) {
            self.held = Some((number, read_piece(shared, generation, extent)?));
        }
        let skip = usize::try_from(position - start).unwrap_or(usize::MAX);
        Ok(self.held.as_ref().and_then(|(_, bytes)| bytes.get(skip..)).unwrap_or_default())
    }
}

/// Cuts a long extent, whose one checksum covers all of it, into pieces with checksums of their own: it is read once to
/// verify it and to make them, and again when it is wanted. `false` if it fails that one.
fn split(
    shared: &Shared,
    generation: &Generation,
    whole: Extent,
    piece_len: u32,
    mut start: u64,
    pieces: &mut Vec<(u64, Extent)>,
) -> Result<bool> {
    let failed = |error| Error::io("read an entry", &shared.path, error);
    let mut hasher = crc32fast::Hasher::new();
    let mut done = 0;
    while done < whole.len {
        let (offset, len) = (whole.offset + u64::from(done), piece_len.min(whole.len - done));
        let bytes = read_exact_at(&*generation.file, len as usize, offset).map_err(failed)?;
        hasher.update(&bytes);
        pieces.push((start, Extent { offset, len, crc: crc32(&[&bytes]) }));
        start += u64::from(len);
        done += len;
    }
    let sound = hasher.finalize() == whole.crc;
    shared.counters.unsound.fetch_add(u64::from(!sound), Ordering::Relaxed);
    Ok(sound)
}

fn read_piece(shared: &Shared, generation: &Generation, extent: &Extent) -> io::Result<Vec<u8>> {
    let bytes = read_exact_at(&*generation.file, extent.len as usize, extent.offset)?;
    if crc32(&[&bytes]) == extent.crc {
        return Ok(bytes);
    }
    shared.counters.unsound.fetch_add(1, Ordering::Relaxed);
    Err(io::Error::new(io::ErrorKind::InvalidData, "a part of the body fails its checksum"))
}
