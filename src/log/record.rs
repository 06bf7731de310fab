//! One record: its header as a value, and the pure functions that make it from bytes and bytes from it.

use super::{
    fields::{Fields, Writer, crc32_at},
    layout::{
        BODY_MAX, CHUNK_MAX, CODEC_RAW, EXTENT_LEN, FILE_MAX, FLAG_AUX, FLAG_EXTENTS, FLAG_MORE, FLAG_SKIPPABLE,
        FLAGS_KNOWN, HEAD_MAX, INLINE_BODY_MAX, KEY_MAX, LOG_START, RECORD_CRC_FROM, RECORD_HEADER_LEN, RECORD_MAGIC,
        TOUCH_ENTRY_LEN, align_up,
    },
    plant::{Bug, planted},
};

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Alias,
    Delete,
    Clear,
    Chunk,
    Index,
    Touch,
    Seal,
    /// Not known to this code, and marked as one that may be passed over.
    Skipped(u8),
}

impl Kind {
    fn decode(byte: u8, flags: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Put,
            2 => Self::Alias,
            3 => Self::Delete,
            4 => Self::Clear,
            5 => Self::Chunk,
            6 => Self::Index,
            7 => Self::Touch,
            8 => Self::Seal,
            other if flags & FLAG_SKIPPABLE != 0 => Self::Skipped(other),
            _ => return None,
        })
    }

    pub(super) fn encode(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Alias => 2,
            Self::Delete => 3,
            Self::Clear => 4,
            Self::Chunk => 5,
            Self::Index => 6,
            Self::Touch => 7,
            Self::Seal => 8,
            Self::Skipped(other) => other,
        }
    }
}

/// The 96 bytes in front of every record, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) header_crc: u32,
    pub(super) prev_crc: u32,
    pub(super) head_crc: u32,
    pub(super) body_crc: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) codec: u8,
    pub(super) head_ver: u8,
    pub(super) key_len: u32,
    pub(super) head_len: u32,
    pub(super) extent_count: u32,
    pub(super) body_len: u64,
    pub(super) key_hash: u128,
    pub(super) incarnation: u64,
    pub(super) created_ms: i64,
    pub(super) drop_after_ms: i64,
    /// Of a PUT the decoded length of the body, of an ALIAS the incarnation of its target.
    pub(super) raw_len: u64,
}

/// Why the bytes at an offset are not a record that this code can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordFault {
    /// Not a record of this file at this place.
    Invalid,
    /// A sound record header that this code does not understand.
    Newer,
}

impl RecordHeader {
    /// A header with nothing in it but its kind, to start from.
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            header_crc: 0,
            prev_crc: 0,
            head_crc: 0,
            body_crc: 0,
            kind,
            flags: 0,
            codec: 0,
            head_ver: 0,
            key_len: 0,
            head_len: 0,
            extent_count: 0,
            body_len: 0,
            key_hash: 0,
            incarnation: 0,
            created_ms: 0,
            drop_after_ms: i64::MAX,
            raw_len: 0,
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the batch goes on in the next record.
    pub(super) fn more(&self) -> bool {
        self.has(FLAG_MORE)
    }

    pub(super) fn aux(&self) -> bool {
        self.has(FLAG_AUX)
    }

    /// Whether the body is a table of extents.
    pub(super) fn extents(&self) -> bool {
        self.has(FLAG_EXTENTS)
    }

    /// Key and head: what `head_crc` covers.
    pub(super) fn head_part_len(&self) -> u64 {
        u64::from(self.key_len) + u64::from(self.head_len)
    }

    /// The body as it stands behind the head, or the table of extents: what `body_crc` covers.
    pub(super) fn body_part_len(&self) -> u64 {
        if self.extents() { u64::from(self.extent_count) * EXTENT_LEN as u64 } else { self.body_len }
    }

    /// The length of the body as it was put.
    pub(super) fn decoded_len(&self) -> u64 {
        if self.codec == CODEC_RAW { self.body_len } else { self.raw_len }
    }

    /// Where the body part begins, for a record at `offset`.
    pub(super) fn body_part_at(&self, offset: u64) -> u64 {
        offset + RECORD_HEADER_LEN as u64 + self.head_part_len()
    }

    /// From the record's first byte to the next record's.
    pub(super) fn total_len(&self) -> u64 {
        align_up(RECORD_HEADER_LEN as u64 + self.head_part_len() + self.body_part_len())
    }

    /// Whether opening a file checks `body_crc`. The pages of an index have checksums of their own.
    pub(super) fn body_is_checked(&self) -> bool {
        self.kind != Kind::Index
    }

    /// Seals the header for its place, and returns its bytes.
    pub(super) fn encode(&mut self, file_id: u64, offset: u64) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        let mut to = Writer(&mut bytes);
        to.put(&RECORD_MAGIC);
        to.put(&[0; 4]);
        to.put(&self.prev_crc.to_le_bytes());
        to.put(&self.head_crc.to_le_bytes());
        to.put(&self.body_crc.to_le_bytes());
        to.put(&[self.kind.encode(), self.flags, self.codec, self.head_ver]);
        to.put(&self.key_len.to_le_bytes());
        to.put(&self.head_len.to_le_bytes());
        to.put(&self.extent_count.to_le_bytes());
        to.put(&0_u32.to_le_bytes());
        to.put(&self.body_len.to_le_bytes());
        to.put(&self.key_hash.to_le_bytes());
        to.put(&self.incarnation.to_le_bytes());
        to.put(&self.created_ms.to_le_bytes());
        to.put(&self.drop_after_ms.to_le_bytes());
        to.put(&self.raw_len.to_le_bytes());
        debug_assert!(to.0.is_empty(), "the fields are as long as the header");
        self.header_crc = header_crc(file_id, offset, &bytes[RECORD_CRC_FROM..]);
        bytes[RECORD_MAGIC.len()..RECORD_CRC_FROM].copy_from_slice(&self.header_crc.to_le_bytes());
        bytes
    }

    /// Reads the header of a record that stands at `offset` of the file `file_id`.
    pub(super) fn decode(bytes: &[u8], file_id: u64, offset: u64) -> Result<Self, RecordFault> {
        let (header, reserved, flags, kind) = Self::decode_sound(bytes, file_id, offset).ok_or(RecordFault::Invalid)?;
        let Some(kind) = Kind::decode(kind, flags) else { return Err(RecordFault::Newer) };
        let header = Self { kind, ..header };
        if flags & !FLAGS_KNOWN != 0 || reserved != 0 || !header.is_legal(offset) {
            return Err(RecordFault::Newer);
        }
        Ok(header)
    }

    /// Whether the header in these bytes, understood or not, names `chain` as its predecessor.
    pub(super) fn follows(bytes: &[u8], chain: u32) -> bool {
        bytes.get(RECORD_CRC_FROM..).and_then(|rest| Fields(rest).u32()) == Some(chain)
    }

    /// `None` unless magic and checksum are right.
    fn decode_sound(bytes: &[u8], file_id: u64, offset: u64) -> Option<(Self, u32, u8, u8)> {
        let mut fields = Fields(bytes.get(..RECORD_HEADER_LEN)?);
        let magic: [u8; 4] = fields.bytes()?;
        let header_crc = fields.u32()?;
        if magic != RECORD_MAGIC || header_crc != self::header_crc(file_id, offset, fields.0) {
            return None;
        }
        let mut header = Self::new(Kind::Seal);
        header.header_crc = header_crc;
        header.prev_crc = fields.u32()?;
        header.head_crc = fields.u32()?;
        header.body_crc = fields.u32()?;
        let kind = fields.u8()?;
        header.flags = fields.u8()?;
        header.codec = fields.u8()?;
        header.head_ver = fields.u8()?;
        header.key_len = fields.u32()?;
        header.head_len = fields.u32()?;
        header.extent_count = fields.u32()?;
        let reserved = fields.u32()?;
        header.body_len = fields.u64()?;
        header.key_hash = fields.u128()?;
        header.incarnation = fields.u64()?;
        header.created_ms = fields.i64()?;
        header.drop_after_ms = fields.i64()?;
        header.raw_len = fields.u64()?;
        Some((header, reserved, header.flags, kind))
    }

    /// Whether the lengths are ones that a writer of this version may write for the kind.
    fn is_legal(&self, offset: u64) -> bool {
        let keyed = (1..=KEY_MAX).contains(&(self.key_len as usize));
        let headed = self.head_len as usize <= HEAD_MAX;
        let inline = !self.extents() && self.extent_count == 0;
        let bare = self.key_len == 0 && self.head_len == 0 && inline;
        let fits = offset.checked_add(self.body_len).is_some_and(|end| end < FILE_MAX);
        fits && (self.kind == Kind::Put || !self.aux())
            && match self.kind {
                // The bytes that extents name stand before the record, so their sum is bounded by its offset.
                Kind::Put if self.extents() => {
                    keyed && headed && self.body_len <= BODY_MAX.min(offset) && self.extent_count > 0
                }
                Kind::Put => keyed && headed && inline && self.body_len <= INLINE_BODY_MAX,
                Kind::Alias => keyed && headed && inline && (1..=KEY_MAX as u64).contains(&self.body_len),
                Kind::Delete => keyed && self.head_len == 0 && inline && self.body_len == 0,
                Kind::Clear | Kind::Seal => bare && self.body_len == 0,
                Kind::Chunk => bare && (1..=CHUNK_MAX).contains(&self.body_len),
                Kind::Touch => bare && self.body_len.is_multiple_of(TOUCH_ENTRY_LEN as u64),
                Kind::Index => bare,
                Kind::Skipped(_) => headed && self.key_len as usize <= KEY_MAX,
            }
    }
}

fn header_crc(file_id: u64, offset: u64, rest: &[u8]) -> u32 {
    let offset = if planted(Bug::RecordsFloat) { 0 } else { offset };
    crc32_at(file_id, offset, rest)
}

/// A run of body bytes elsewhere in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) crc: u32,
}

impl Extent {
    pub(super) fn encode(&self) -> [u8; EXTENT_LEN] {
        let mut bytes = [0; EXTENT_LEN];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Reads the table of a record at `record_offset` whose header promises `body_len` bytes; `None` if it is illegal.
    pub(super) fn decode_table(table: &[u8], record_offset: u64, body_len: u64) -> Option<Vec<Self>> {
        let mut fields = Fields(table);
        let mut extents = Vec::with_capacity(table.len() / EXTENT_LEN);
        let mut sum = 0_u64;
        while !fields.0.is_empty() {
            let extent = Self { offset: fields.u64()?, len: fields.u32()?, crc: fields.u32()? };
            let end = extent.offset.checked_add(u64::from(extent.len))?;
            if extent.offset < LOG_START || end > record_offset || extent.len == 0 {
                return None;
            }
            sum = sum.checked_add(u64::from(extent.len))?;
            extents.push(extent);
        }
        (sum == body_len).then_some(extents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> RecordHeader {
        let mut header = RecordHeader::new(Kind::Put);
        (header.key_len, header.head_len, header.body_len, header.raw_len) = (3, 5, 1000, 1000);
        (header.key_hash, header.incarnation, header.created_ms) = (1 << 100, 9, -1);
        header
    }

    #[test]
    fn a_header_reads_back_at_its_own_place_only() {
        let mut header = put();
        let bytes = header.encode(7, 12_288);
        assert_eq!(RecordHeader::decode(&bytes, 7, 12_288), Ok(header));
        assert_eq!(RecordHeader::decode(&bytes, 8, 12_288), Err(RecordFault::Invalid));
        assert_eq!(RecordHeader::decode(&bytes, 7, 12_296), Err(RecordFault::Invalid));
        assert_eq!(RecordHeader::decode(&bytes[..95], 7, 12_288), Err(RecordFault::Invalid));
        assert_eq!(header.total_len(), align_up(96 + 3 + 5 + 1000));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let bytes = put().encode(7, 12_288);
        for bit in 0..RECORD_HEADER_LEN * 8 {
            let mut rotten = bytes;
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&rotten, 7, 12_288), Err(RecordFault::Invalid), "bit {bit}");
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_newer_and_what_may_be_skipped_is_skipped() {
        let decode = |change: &dyn Fn(&mut RecordHeader)| {
            let mut header = put();
            change(&mut header);
            let bytes = header.encode(7, 20_000);
            RecordHeader::decode(&bytes, 7, 20_000).map(|header| header.kind)
        };
        assert_eq!(decode(&|_| ()), Ok(Kind::Put));
        assert_eq!(decode(&|h| h.kind = Kind::Skipped(99)), Err(RecordFault::Newer));
        let skippable: &dyn Fn(&mut RecordHeader) = &|h| (h.kind, h.flags) = (Kind::Skipped(99), FLAG_SKIPPABLE);
        assert_eq!(decode(skippable), Ok(Kind::Skipped(99)));
        for illegal in [
            (|h| h.flags = 1 << 7) as fn(&mut RecordHeader),
            |h| h.key_len = 0,
            |h| h.key_len = 65_537,
            |h| h.head_len = (1 << 20) + 1,
            |h| h.body_len = INLINE_BODY_MAX + 1,
            |h| h.body_len = u64::MAX,
            |h| h.extent_count = 1,
            |h| (h.flags, h.extent_count, h.body_len) = (FLAG_EXTENTS, 1, 20_001),
            |h| h.kind = Kind::Delete,
            |h| h.kind = Kind::Clear,
            |h| (h.kind, h.flags) = (Kind::Alias, FLAG_AUX),
        ] {
            assert_eq!(decode(&illegal), Err(RecordFault::Newer));
        }
    }

    #[test]
    fn extents_lie_before_their_record_and_add_up() {
        let table = |extents: &[(u64, u32)]| {
            let bytes: Vec<u8> =
                extents.iter().flat_map(|&(offset, len)| Extent { offset, len, crc: 1 }.encode()).collect();
            bytes
        };
        let decode = |extents: &[(u64, u32)], sum| Extent::decode_table(&table(extents), 20_000, sum);
        assert_eq!(decode(&[(12_288, 10), (13_000, 5)], 15).map(|extents| extents.len()), Some(2));
        assert_eq!(decode(&[(12_288, 10)], 11), None);
        assert_eq!(decode(&[(12_280, 10)], 10), None);
        assert_eq!(decode(&[(19_991, 10)], 10), None);
        assert_eq!(decode(&[(u64::MAX, 10)], 10), None);
        assert_eq!(decode(&[(12_288, 0)], 0), None);
        assert_eq!(Extent::decode_table(&[0; 15], 20_000, 0), None);
    }
}
