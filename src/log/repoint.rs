//! Where the body of a value stands, as extents, so that it can be read in pieces, and a new head can be put in front
//! of the same body.

use super::{
    codec,
    disk::read_exact_at,
    fields::crc32,
    generation::Generation,
    layout::{CODEC_FRAME, CODEC_PIECES},
    read::{Read, Want},
    record::Extent,
    shared::Counters,
    snapshot::read_failed,
    view::{Loc, Role},
};
use crate::Result;
use std::{io, sync::atomic::Ordering};

impl Generation {
    /// The extents of a value's body, none for an empty one; `None` if they cannot be believed, which is counted.
    ///
    /// The body itself is not read: the checksums that vouch for it are in the record or in its table.
    pub(super) fn extents_of(&self, read: &Read, counters: &Counters) -> Result<Option<Vec<Extent>>> {
        let (header, offset) = (&read.header, read.loc.offset);
        let at = header.body_part_at(offset);
        if !header.extents() {
            let len = u32::try_from(header.body_len).unwrap_or(u32::MAX);
            let extent = Extent { offset: at, len, crc: header.body_crc };
            // An empty body has no extent to point at, and is none to keep.
            return Ok(Some(if len == 0 { Vec::new() } else { vec![extent] }));
        }
        let table = usize::try_from(header.body_part_len())
            .map_err(|_| io::ErrorKind::OutOfMemory.into())
            .and_then(|len| read_exact_at(&*self.file, len, at))
            .map_err(|error| read_failed(error).with_offset(offset))?;
        let sound = crc32(&[&table]) == header.body_crc;
        let extents = Extent::decode_table(&table, offset, header.body_len).filter(|_| sound);
        counters.unsound.fetch_add(u64::from(extents.is_none()), Ordering::Relaxed);
        Ok(extents)
    }

    /// Whether an entry reads back as it was written. Found out piece by piece: a body need not fit in memory.
    pub(super) fn is_sound(&self, loc: Loc, key: Option<&[u8]>, counters: &Counters) -> Result<bool> {
        let Some(read) = self.read(loc, key, Want::Head, counters)? else { return Ok(false) };
        if read.loc.role == Role::Alias {
            return Ok(true);
        }
        let Some(extents) = self.extents_of(&read, counters)? else { return Ok(false) };
        for extent in &extents {
            let sound = match self.crc_of(extent) {
                Ok(crc) => crc == extent.crc,
                // The file has been cut short under us.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
                Err(error) => return Err(read_failed(error).with_offset(extent.offset)),
            };
            if !sound {
                counters.unsound.fetch_add(1, Ordering::Relaxed);
                return Ok(false);
            }
        }
        self.decodes(&read, &extents, counters)
    }

    /// Whether a body decodes to what its record says. What this build cannot decode is taken at its checksums.
    fn decodes(&self, read: &Read, extents: &[Extent], counters: &Counters) -> Result<bool> {
        match read.header.codec {
            CODEC_FRAME if codec::BUILT_IN => Ok(self.read(read.loc, None, Want::Body, counters)?.is_some()),
            CODEC_PIECES if codec::BUILT_IN => {
                let named = if read.header.extents() { extents } else { &[] };
                let decoded = self.each_piece(read.header.raw_len, named, |_| ()).map_err(read_failed)?;
                counters.unsound.fetch_add(u64::from(decoded.is_err()), Ordering::Relaxed);
                Ok(decoded.is_ok())
            }
            _ => Ok(true),
        }
    }

    fn crc_of(&self, extent: &Extent) -> io::Result<u32> {
        const PIECE: u64 = 1 << 20;
        let mut hasher = crc32fast::Hasher::new();
        let end = extent.offset + u64::from(extent.len);
        let mut offset = extent.offset;
        while offset < end {
            let len = PIECE.min(end - offset);
            hasher.update(&read_exact_at(&*self.file, usize::try_from(len).unwrap_or(0), offset)?);
            offset += len;
        }
        Ok(hasher.finalize())
    }
}
