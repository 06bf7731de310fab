//! Where the body of a value stands, as extents, so that it can be read in pieces, and a new head can be put in front of
//! the same body.

use super::{disk::read_exact_at, fields::crc32, generation::Generation, read::Read, record::Extent, shared::Counters};
use crate::{Error, ErrorKind, Result};
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
            .map_err(|error| {
                let message = format!("cannot read an entry: {error}");
                Error::new(ErrorKind::Io, message).with_offset(offset).with_source(error)
            })?;
        let sound = crc32(&[&table]) == header.body_crc;
        let extents = Extent::decode_table(&table, offset, header.body_len).filter(|_| sound);
        counters.unsound.fetch_add(u64::from(extents.is_none()), Ordering::Relaxed);
        Ok(extents)
    }
}
