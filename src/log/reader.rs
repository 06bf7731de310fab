//! [`Reader`]: a body that is read piece by piece, each verified before its bytes are handed out.

use super::{
    codec::{self, Cut, not_built_in},
    disk::read_exact_at,
    entry::Head,
    fields::crc32,
    generation::Generation,
    layout::{CHUNK_MAX, CODEC_FRAME, CODEC_PIECES, CODEC_RAW},
    read::Read,
    record::{Extent, RecordHeader},
    shared::Shared,
};
#[cfg(feature = "zstd")]
use super::{frames::Frame, layout::FRAME_RAW_MAX};
use crate::{Error, Result};
use std::{
    fmt,
    io::{self, BufRead, Seek, SeekFrom},
    sync::{Arc, atomic::Ordering},
};

/// The body of one value, to be read and sought in. Made by [`Log::reader`](super::Log::reader).
///
/// It holds one piece of up to 1 MiB in memory, of a compressed body up to 3 MiB, and the file that it reads from,
/// whatever happens to the value meanwhile. A piece that fails its checksum is an error of the kind `InvalidData`; the
/// pieces before it were sound. In a compressed body of up to 8 MiB, seeking backwards decodes from the beginning.
pub struct Reader {
    head: Head,
    body: Body,
    position: u64,
}

enum Body {
    /// As it is, or a frame for each piece.
    Pieces(Stored),
    #[cfg(feature = "zstd")]
    Frame(Box<Frame<Stored>>),
}

impl Reader {
    /// `None` if the body fails its checksum.
    pub(super) fn new(
        shared: &Arc<Shared>,
        generation: &Arc<Generation>,
        read: Read,
        extents: &[Extent],
    ) -> Result<Option<Self>> {
        let header = read.header;
        let frames = matches!(header.codec, CODEC_FRAME | CODEC_PIECES);
        if header.codec != CODEC_RAW && !(frames && codec::BUILT_IN) {
            return Err(not_built_in().with_path(&shared.path).with_offset(read.loc.offset));
        }
        let pieces = match header.codec {
            CODEC_PIECES => Pieces::of_frames(shared, generation, extents, &header)?,
            _ => Pieces::new(shared, generation, extents)?,
        };
        let Some(pieces) = pieces else { return Ok(None) };
        let stored = Stored { shared: Arc::clone(shared), generation: Arc::clone(generation), pieces, position: 0 };
        let body = match header.codec {
            #[cfg(feature = "zstd")]
            CODEC_FRAME => match open_frame(stored, header.raw_len)? {
                Some(frame) => Body::Frame(Box::new(frame)),
                None => return Ok(None),
            },
            _ => Body::Pieces(stored),
        };
        Ok(Some(Self { head: read.into_head(generation), body, position: 0 }))
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

/// `None` if its header does not say what the record says.
#[cfg(feature = "zstd")]
fn open_frame(mut stored: Stored, raw_len: u64) -> Result<Option<Frame<Stored>>> {
    let (shared, offset) = (Arc::clone(&stored.shared), stored.pieces.offset());
    let failed = |error| match offset {
        Some(offset) => Error::io("read an entry", &shared.path, error).with_offset(offset),
        None => Error::io("read an entry", &shared.path, error),
    };
    let start = match stored.fill_buf() {
        Ok(start) => start,
        // Its checksum fails, which is counted.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if raw_len > FRAME_RAW_MAX || codec::content_len(start) != Some(raw_len) {
        shared.counters.unsound.fetch_add(1, Ordering::Relaxed);
        return Ok(None);
    }
    Frame::new(stored, raw_len).map(Some).map_err(failed)
}

impl io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.body {
            Body::Pieces(stored) => {
                stored.position = self.position;
                stored.read(buffer)?
            }
            #[cfg(feature = "zstd")]
            Body::Frame(frame) => frame.read(self.position, buffer)?,
        };
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

/// The pieces one after the other.
struct Stored {
    shared: Arc<Shared>,
    generation: Arc<Generation>,
    pieces: Pieces,
    position: u64,
}

impl BufRead for Stored {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.pieces.at(&self.shared, &self.generation, self.position)
    }

    fn consume(&mut self, n: usize) {
        self.position += n as u64;
    }
}

impl io::Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.fill_buf()?;
        let n = rest.len().min(buffer.len());
        let (Some(to), Some(from)) = (buffer.get_mut(..n), rest.get(..n)) else { return Ok(0) };
        to.copy_from_slice(from);
        self.consume(n);
        Ok(n)
    }
}

/// For whoever decodes it, and begins again.
#[cfg(feature = "zstd")]
impl Seek for Stored {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(offset) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        self.position = offset;
        Ok(offset)
    }
}

/// A stored body as pieces that fit in memory, one of which is there.
struct Pieces {
    /// Where in the body each begins, and where it is in the file.
    places: Vec<(u64, Extent)>,
    held: Option<(usize, Vec<u8>)>,
    /// How they are decoded, if each is a frame.
    cut: Option<Cut>,
}

impl Pieces {
    fn new(shared: &Shared, generation: &Generation, extents: &[Extent]) -> Result<Option<Self>> {
        let piece_len = u32::try_from(shared.env.pieces.chunk).unwrap_or(u32::MAX);
        let (mut places, mut start) = (Vec::with_capacity(extents.len()), 0);
        for extent in extents {
            if extent.len <= piece_len {
                places.push((start, *extent));
            } else if !split(shared, generation, *extent, piece_len, start, &mut places)? {
                return Ok(None);
            }
            start += u64::from(extent.len);
        }
        Ok(Some(Self { places, held: None, cut: None }))
    }

    /// Of a body whose extents are frames; `None` if they cannot be.
    fn of_frames(
        shared: &Shared,
        generation: &Generation,
        extents: &[Extent],
        header: &RecordHeader,
    ) -> Result<Option<Self>> {
        let unsound = || {
            shared.counters.unsound.fetch_add(1, Ordering::Relaxed);
            Ok(None)
        };
        let Some(first) = extents.first().filter(|first| header.extents() && u64::from(first.len) <= CHUNK_MAX) else {
            return unsound();
        };
        let frame = match read_piece(shared, generation, first) {
            Ok(frame) => frame,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
            Err(error) => return Err(Error::io("read an entry", &shared.path, error).with_offset(first.offset)),
        };
        let Some(cut) = Cut::new(extents, &frame, header.raw_len) else { return unsound() };
        let Ok(first) = cut.decode(0, &frame) else { return unsound() };
        let places = extents.iter().zip(0..).map(|(extent, number)| (number * cut.piece_len, *extent)).collect();
        Ok(Some(Self { places, held: Some((0, first)), cut: Some(cut) }))
    }

    /// Where the first one stands in the file.
    #[cfg(feature = "zstd")]
    fn offset(&self) -> Option<u64> {
        self.places.first().map(|(_, extent)| extent.offset)
    }

    /// What is left of the piece at a place of the body; nothing at its end.
    fn at(&mut self, shared: &Shared, generation: &Generation, position: u64) -> io::Result<&[u8]> {
        let number = self.places.partition_point(|(start, _)| *start <= position).wrapping_sub(1);
        let Some((start, extent)) = self.places.get(number) else { return Ok(&[]) };
        if self.held.as_ref().is_none_or(|(held, _)| *held != number) {
            let mut piece = read_piece(shared, generation, extent)?;
            if let Some(cut) = self.cut {
                piece = cut.decode(number, &piece).map_err(|_| {
                    shared.counters.unsound.fetch_add(1, Ordering::Relaxed);
                    io::Error::new(io::ErrorKind::InvalidData, "a part of the compressed body does not decode")
                })?;
            }
            self.held = Some((number, piece));
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
