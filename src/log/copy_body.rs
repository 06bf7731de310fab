//! How a compaction copies bodies: short ones as part of their record, long ones piece by piece, and one to which
//! several heads point, or came to point while it ran, once.

use super::{
    copy::Copier,
    disk::read_exact_at,
    fields::crc32,
    layout::{CODEC_PIECES, CODEC_RAW, EXTENT_LEN, FLAG_EXTENTS},
    plant::{Bug, planted},
    read::{Read, Want},
    record::{Extent, Kind, RecordHeader},
    view::{Loc, Role},
};
use crate::{Error, Result};
use std::{collections::HashMap, sync::atomic::Ordering};

/// Where long bodies of the old file stand in the new one, by their place and length in the old. One entry for each
/// 64 KiB of bodies, or frame of a long body, at most.
pub(super) type Moved = HashMap<(u64, u32), Vec<Extent>>;

impl Copier<'_> {
    /// Copies a value or an alias with all that belongs to it. One that fails a checksum costs itself and no other: it
    /// is counted, and `check` names it. So does one whose time to be dropped lies before `drop_before`.
    pub(super) fn copy_entry(&mut self, loc: Loc, drop_before: i64) -> Result<()> {
        let short = loc.weight() <= self.pieces.whole_max;
        let want = if short && loc.elsewhere == 0 || loc.role == Role::Alias { Want::Stored } else { Want::Head };
        let Some(read) = self.old.read(loc, None, want, self.counters)? else { return Ok(()) };
        if read.header.drop_after_ms < drop_before {
            return Ok(());
        }
        if want == Want::Stored {
            return self.copy_whole(&read);
        }
        let Some(extents) = self.old.extents_of(&read, self.counters)? else { return Ok(()) };
        if self.copy_behind_moved(&read, &extents)? {
            return Ok(());
        }
        // A long key or head is no reason to cut a body that is not there; what is cut into frames stays so.
        if (!short || read.header.codec == CODEC_PIECES) && !extents.is_empty() {
            return self.copy_in_pieces(&read, extents);
        }
        let read = self.old.read(loc, None, Want::Stored, self.counters)?;
        read.map_or(Ok(()), |read| self.copy_whole(&read))
    }

    /// Copies an entry that fits in memory; a body that stood elsewhere becomes part of the record.
    fn copy_whole(&mut self, read: &Read) -> Result<()> {
        let mut header = read.header;
        header.flags &= !FLAG_EXTENTS;
        header.extent_count = 0;
        if planted(Bug::CompactForgetsCodec) {
            header.codec = CODEC_RAW;
        }
        header.body_crc = crc32(&[&read.body]);
        let offset = header.body_part_at(self.position().offset);
        let moved = u64::from(header.kind == Kind::Put) * header.body_len >= self.pieces.shared_min;
        if let Some([from]) = moved.then(|| self.old.extents_of(read, self.counters)).transpose()?.flatten().as_deref()
        {
            self.note_moved(*from, vec![Extent { offset, crc: header.body_crc, ..*from }]);
        }
        self.write(header, &read.key, &read.head, &read.body)
    }

    /// Copies a value whose body is in the new file already; `false` if it is not.
    fn copy_behind_moved(&mut self, read: &Read, old: &[Extent]) -> Result<bool> {
        let moved: Option<Vec<_>> = old.iter().map(|extent| self.moved.get(&(extent.offset, extent.len))).collect();
        let Some(moved) = moved.filter(|moved| !moved.is_empty()) else { return Ok(false) };
        let moved: Vec<Extent> = moved.into_iter().flatten().copied().collect();
        self.write_behind(read, if planted(Bug::ExtentsNotMoved) { old } else { &moved })?;
        Ok(true)
    }

    /// Copies a value whose body does not fit in memory, as chunks. What was copied of a body that then fails its
    /// checksum stays behind as dead bytes.
    fn copy_in_pieces(&mut self, read: &Read, old: Vec<Extent>) -> Result<()> {
        let mut new = Vec::new();
        for extent in old {
            if let Some(moved) = self.moved.get(&(extent.offset, extent.len)) {
                new.extend_from_slice(moved);
                continue;
            }
            let Some(chunks) = self.copy_extent(extent)? else {
                self.counters.unsound.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            };
            new.extend_from_slice(&chunks);
            if read.header.codec == CODEC_PIECES {
                // Short in the file, however long it is.
                self.moved.insert((extent.offset, extent.len), chunks);
            } else {
                self.note_moved(extent, chunks);
            }
        }
        self.write_behind(read, &new)
    }

    /// Copies an extent as chunks; `None` if it fails its checksum.
    fn copy_extent(&mut self, whole: Extent) -> Result<Option<Vec<Extent>>> {
        let mut hasher = crc32fast::Hasher::new();
        let mut chunks = Vec::new();
        let (mut offset, mut left) = (whole.offset, whole.len);
        while left > 0 {
            let len = left.min(u32::try_from(self.pieces.chunk).unwrap_or(u32::MAX));
            let bytes = read_exact_at(&*self.old.file, len as usize, offset)
                .map_err(|error| Error::io("read the log", self.path, error).with_offset(offset))?;
            hasher.update(&bytes);
            let mut header = RecordHeader::new(Kind::Chunk);
            header.body_len = u64::from(len);
            header.body_crc = crc32(&[&bytes]);
            chunks.push(Extent { offset: header.body_part_at(self.position().offset), len, crc: header.body_crc });
            self.write(header, &[], &[], &bytes)?;
            (offset, left) = (offset + u64::from(len), left - len);
        }
        Ok((hasher.finalize() == whole.crc).then_some(chunks))
    }

    fn write_behind(&mut self, read: &Read, extents: &[Extent]) -> Result<()> {
        let table: Vec<u8> = extents.iter().flat_map(Extent::encode).collect();
        let mut header = read.header;
        header.flags |= FLAG_EXTENTS;
        header.body_crc = crc32(&[&table]);
        header.extent_count = u32::try_from(table.len() / EXTENT_LEN).unwrap_or(u32::MAX);
        self.write(header, &read.key, &read.head, &table)
    }

    fn note_moved(&mut self, from: Extent, to: Vec<Extent>) {
        if u64::from(from.len) >= self.pieces.shared_min {
            self.moved.insert((from.offset, from.len), to);
        }
    }
}
