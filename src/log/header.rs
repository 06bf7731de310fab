//! The file header, written once, and the two slots, the only bytes of a file that are ever overwritten.

use super::{
    fields::{Fields, crc32, crc32_at},
    layout::{
        FILE_HEADER_LEN, FILE_MAGIC, HEADER_COPY_AT, INCOMPAT_KNOWN, LOG_START, MAJOR, PAGE_LEN, RECORD_ALIGN,
        RECORD_HEADER_LEN, RO_COMPAT_KNOWN, SLOT_LEN, SLOT_OFFSETS,
    },
};
use siphasher::sip128::SipHasher13;

/// The identity of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) file_id: u64,
    pub(super) hash_key: [u8; 16],
    pub(super) created_ms: i64,
    pub(super) incompat: u32,
    pub(super) ro_compat: u32,
    pub(super) compat: u32,
    /// The checksum as it stands in the file: where the chain of records begins.
    pub(super) crc: u32,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// The magic is not there: somebody else's file.
    Foreign,
    /// The magic is there and the checksum fails.
    Damaged,
    /// Sound, and of a version or with features that this code does not know.
    Newer,
}

impl FileHeader {
    pub(super) fn new(file_id: u64, hash_key: [u8; 16], created_ms: i64) -> Self {
        let mut header = Self { file_id, hash_key, created_ms, incompat: 0, ro_compat: 0, compat: 0, crc: 0 };
        header.crc = crc32(&[&header.body()]);
        header
    }

    pub(super) fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let mut bytes = [0; FILE_HEADER_LEN];
        let (body, crc) = bytes.split_at_mut(FILE_HEADER_LEN - 4);
        body.copy_from_slice(&self.body());
        crc.copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    fn body(&self) -> Vec<u8> {
        [
            &FILE_MAGIC[..],
            &MAJOR.to_le_bytes(),
            &self.incompat.to_le_bytes(),
            &self.ro_compat.to_le_bytes(),
            &self.compat.to_le_bytes(),
            &self.file_id.to_le_bytes(),
            &self.hash_key,
            &self.created_ms.to_le_bytes(),
            &0_u32.to_le_bytes(),
        ]
        .concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let mut fields = Fields(bytes);
        if fields.bytes() != Some(FILE_MAGIC) {
            return Err(HeaderFault::Foreign);
        }
        let header = bytes.get(..FILE_HEADER_LEN).and_then(|all| Self::fields_behind_magic(fields, all));
        let (major, reserved, header) = header.ok_or(HeaderFault::Damaged)?;
        if major != MAJOR || header.incompat & !INCOMPAT_KNOWN != 0 || reserved != 0 {
            return Err(HeaderFault::Newer);
        }
        Ok(header)
    }

    /// `None` if the checksum fails.
    fn fields_behind_magic(mut fields: Fields<'_>, all: &[u8]) -> Option<(u16, u32, Self)> {
        let major = fields.u16()?;
        let header = Self {
            incompat: fields.u32()?,
            ro_compat: fields.u32()?,
            compat: fields.u32()?,
            file_id: fields.u64()?,
            hash_key: fields.bytes()?,
            created_ms: fields.i64()?,
            crc: 0,
        };
        let reserved = fields.u32()?;
        let crc = fields.u32()?;
        let sound = crc == crc32(&[all.get(..FILE_HEADER_LEN - 4)?]);
        sound.then_some((major, reserved, Self { crc, ..header }))
    }

    /// Whether this code may append to the file.
    pub(super) fn writable(&self) -> bool {
        self.ro_compat & !RO_COMPAT_KNOWN == 0
    }

    /// The hash under which a key is found.
    pub(super) fn hash(&self, key: &[u8]) -> u128 {
        SipHasher13::new_with_key(&self.hash_key).hash(key).as_u128()
    }

    /// All bytes before the log of a file that holds nothing yet: the header, two empty slots, two header copies.
    pub(super) fn first_pages(&self) -> Vec<u8> {
        let mut pages = vec![0; usize::try_from(PAGE_LEN).unwrap_or(usize::MAX)];
        pages[..FILE_HEADER_LEN].copy_from_slice(&self.encode());
        for _ in SLOT_OFFSETS {
            pages.extend(self.slot_page(&[0; SLOT_LEN]));
        }
        pages
    }

    /// A whole slot page: the slot, and the copy of this header.
    pub(super) fn slot_page(&self, slot: &[u8; SLOT_LEN]) -> Vec<u8> {
        let mut page = vec![0; usize::try_from(PAGE_LEN).unwrap_or(usize::MAX)];
        let copy_at = usize::try_from(HEADER_COPY_AT).unwrap_or(usize::MAX);
        page[..SLOT_LEN].copy_from_slice(slot);
        page[copy_at..copy_at + FILE_HEADER_LEN].copy_from_slice(&self.encode());
        page
    }
}

/// A hint about the log: how far it was synced, and where its index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slot {
    pub(super) seq: u64,
    pub(super) index_off: u64,
    pub(super) index_len: u64,
    pub(super) covers: u64,
    pub(super) live_bytes: u64,
    pub(super) entries: u64,
    pub(super) synced: u64,
    pub(super) covers_crc: u32,
}

impl Slot {
    /// Whether it names an index segment that a writer of this version may have written.
    pub(super) fn names_index(&self) -> bool {
        let aligned = self.index_off.is_multiple_of(PAGE_LEN) && self.index_len.is_multiple_of(PAGE_LEN);
        let covers = self.covers >= LOG_START && self.covers.is_multiple_of(RECORD_ALIGN);
        let before = self.covers.checked_add(RECORD_HEADER_LEN as u64).is_some_and(|end| end <= self.index_off);
        let end = self.index_off.checked_add(self.index_len);
        aligned && covers && before && self.index_len >= 2 * PAGE_LEN && end.is_some_and(|end| end <= self.synced)
    }

    fn encode(&self, file_id: u64, offset: u64) -> [u8; SLOT_LEN] {
        let body = [
            &self.seq.to_le_bytes()[..],
            &self.index_off.to_le_bytes(),
            &self.index_len.to_le_bytes(),
            &self.covers.to_le_bytes(),
            &self.live_bytes.to_le_bytes(),
            &self.entries.to_le_bytes(),
            &self.synced.to_le_bytes(),
            &self.covers_crc.to_le_bytes(),
        ]
        .concat();
        let mut bytes = [0; SLOT_LEN];
        let (front, crc) = bytes.split_at_mut(SLOT_LEN - 4);
        front.copy_from_slice(&body);
        crc.copy_from_slice(&crc32_at(file_id, offset, &body).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], file_id: u64, offset: u64) -> SlotState {
        if bytes.len() == SLOT_LEN && bytes.iter().all(|byte| *byte == 0) {
            return SlotState::Empty;
        }
        Self::decode_sound(bytes, file_id, offset).map_or(SlotState::Bad, SlotState::Good)
    }

    fn decode_sound(bytes: &[u8], file_id: u64, offset: u64) -> Option<Self> {
        let mut fields = Fields(bytes.get(..SLOT_LEN)?);
        let slot = Self {
            seq: fields.u64()?,
            index_off: fields.u64()?,
            index_len: fields.u64()?,
            covers: fields.u64()?,
            live_bytes: fields.u64()?,
            entries: fields.u64()?,
            synced: fields.u64()?,
            covers_crc: fields.u32()?,
        };
        let crc = fields.u32()?;
        (crc == crc32_at(file_id, offset, bytes.get(..SLOT_LEN - 4)?)).then_some(slot)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Empty,
    Good(Slot),
    Bad,
}

/// What the two slots say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slots([SlotState; 2]);

impl Slots {
    /// Two empty slots, as a new file has them.
    pub(super) const EMPTY: Self = Self([SlotState::Empty; 2]);

    /// Reads both; `None` stands for a page that cannot be read.
    pub(super) fn decode(pages: [Option<&[u8]>; 2], file_id: u64) -> Self {
        let state = |i: usize| pages[i].map_or(SlotState::Bad, |page| Slot::decode(page, file_id, SLOT_OFFSETS[i]));
        Self([state(0), state(1)])
    }

    /// The newest good slot.
    pub(super) fn best(&self) -> Option<Slot> {
        let good = self.0.iter().filter_map(|state| match state {
            SlotState::Good(slot) => Some(*slot),
            _ => None,
        });
        good.max_by_key(|slot| slot.seq)
    }

    /// The number of the newest good slot; 0 without one.
    pub(super) fn seq(&self) -> u64 {
        self.best().map_or(0, |best| best.seq)
    }

    /// Whether nothing is known of how far the log was synced, although it once was written down.
    pub(super) fn both_bad(&self) -> bool {
        self.0 == [SlotState::Bad; 2]
    }

    /// Everything below this offset was synced, as far as is known.
    pub(super) fn synced(&self) -> u64 {
        self.best().map_or(LOG_START, |slot| slot.synced.max(LOG_START))
    }

    /// Sets the next slot: its sequence number follows the best one's, and it takes the place of a bad, an empty or
    /// the older slot. Returns where and what to write.
    pub(super) fn advance(&mut self, mut slot: Slot, file_id: u64) -> (u64, [u8; SLOT_LEN]) {
        let best = self.best();
        slot.seq = best.map_or(1, |best| best.seq.wrapping_add(1));
        let target = match self.0 {
            [SlotState::Good(a), SlotState::Good(b)] => usize::from(a.seq > b.seq),
            [_, SlotState::Bad] if self.0[0] != SlotState::Bad => 1,
            [SlotState::Good(_), SlotState::Empty] => 1,
            _ => 0,
        };
        self.0[target] = SlotState::Good(slot);
        (SLOT_OFFSETS[target], slot.encode(file_id, SLOT_OFFSETS[target]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FileHeader {
        FileHeader::new(7, *b"0123456789abcdef", 1_700_000_000_000)
    }

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        let bytes = header().encode();
        assert_eq!(FileHeader::decode(&bytes), Ok(header()));
        for bit in 0..FILE_HEADER_LEN * 8 {
            let mut rotten = bytes;
            rotten[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 80 { HeaderFault::Foreign } else { HeaderFault::Damaged };
            assert_eq!(FileHeader::decode(&rotten), Err(expected), "bit {bit}");
        }
        for len in 0..FILE_HEADER_LEN {
            assert!(FileHeader::decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn a_header_with_unknown_features_is_newer_and_read_only_features_are_not_writable() {
        let with = |change: fn(&mut FileHeader)| {
            let mut header = header();
            change(&mut header);
            header.crc = crc32(&[&header.body()]);
            FileHeader::decode(&header.encode())
        };
        assert_eq!(with(|h| h.incompat = 1), Err(HeaderFault::Newer));
        assert!(!with(|h| h.ro_compat = 1).unwrap().writable());
        assert!(with(|h| h.compat = 1).unwrap().writable());
    }

    #[test]
    fn slots_take_turns_and_a_bad_one_is_replaced_first() {
        let mut slots = Slots::EMPTY;
        assert_eq!((slots.best(), slots.synced()), (None, LOG_START));
        let at = |synced| Slot { synced, ..Slot::default() };
        let (first, page) = slots.advance(at(100_000), 7);
        assert_eq!(first, SLOT_OFFSETS[0]);
        assert_eq!(Slots::decode([Some(&page), Some(&[0; 64])], 7), slots);
        let (second, _) = slots.advance(at(200_000), 7);
        assert_eq!((second, slots.synced()), (SLOT_OFFSETS[1], 200_000));
        let (third, _) = slots.advance(at(300_000), 7);
        assert_eq!((third, slots.synced()), (SLOT_OFFSETS[0], 300_000));
        let mut torn = Slots::decode([Some(&page), None], 7);
        assert_eq!((torn.synced(), torn.both_bad()), (100_000, false));
        assert_eq!(torn.advance(at(400_000), 7).0, SLOT_OFFSETS[1]);
        assert!(Slots::decode([None, Some(&page)], 7).both_bad(), "a slot is valid in its own place only");
        assert!(Slots::decode([Some(&page), None], 8).both_bad(), "and in its own file only");
    }
}
