//! Where the body of a value stands, as a table of extents, so that a new head can be put in front of the same body.

use super::{
    disk::read_exact_at,
    generation::Generation,
    read::Read,
    record::{Extent, Kind},
};
use std::io;

/// The extents of a value's body; `None` for an alias, which has no body.
///
/// The body itself is not read: the checksums that vouch for it are in the record or in its table already.
pub(super) fn table_of(generation: &Generation, read: &Read) -> io::Result<Option<Vec<u8>>> {
    let (header, offset) = (&read.header, read.loc.offset);
    if header.kind == Kind::Alias {
        return Ok(None);
    }
    if header.extents() {
        let len = usize::try_from(header.body_part_len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        return read_exact_at(&*generation.file, len, header.body_part_at(offset)).map(Some);
    }
    let len = u32::try_from(header.body_len).map_err(|_| io::ErrorKind::InvalidData)?;
    let extent = Extent { offset: header.body_part_at(offset), len, crc: header.body_crc };
    // An empty body has no extent to point at, and is none to keep.
    Ok(Some(if len == 0 { Vec::new() } else { extent.encode().to_vec() }))
}
