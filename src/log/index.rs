//! The pages of an index segment as pure values: what is written at a checkpoint and looked up afterwards.
//!
//! A segment is one page that sums it up and then pages of entries, each with a checksum of its own. The hash of a key
//! says in which page its entry is; a full page overflows into the next.

use super::{
    fields::{Fields, crc32_at},
    layout::{
        INDEX_CHECK_BITS, INDEX_CLASS_BITS, INDEX_ENTRIES_MAX, INDEX_ENTRIES_MEAN, INDEX_ENTRY_LEN,
        INDEX_FLAG_OVERFLOW, INDEX_FLAG_SUMMARY, INDEX_OFFSET_BITS, INDEX_PAGE_HEADER_LEN, LOG_START, PAGE_LEN,
        RECORD_ALIGN, RECORD_HEADER_LEN,
    },
    plant::{Bug, planted},
    walk::Position,
};

/// The bytes of a page in memory.
pub(super) const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_LEN);

/// Where a record stands, how long it is at most, and a few bits of its key's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Place {
    pub(super) fn new(hash: u128, offset: u64, len: u64) -> Self {
        let class = u64::from(class_of(len)) << INDEX_OFFSET_BITS;
        Self((offset / RECORD_ALIGN) | class | (check_bits(hash) << (INDEX_OFFSET_BITS + INDEX_CLASS_BITS)))
    }

    pub(super) fn offset(self) -> u64 {
        (self.0 & ((1 << INDEX_OFFSET_BITS) - 1)) * RECORD_ALIGN
    }

    /// The record is no longer than this, unless it is longer than the highest class says.
    pub(super) fn len_max(self) -> u64 {
        class_len((self.0 >> INDEX_OFFSET_BITS) & ((1 << INDEX_CLASS_BITS) - 1))
    }

    fn check_bits(self) -> u64 {
        self.0 >> (INDEX_OFFSET_BITS + INDEX_CLASS_BITS)
    }
}

/// The top bits of a hash; the low half decides over the page and the order in it.
fn check_bits(hash: u128) -> u64 {
    half(hash >> (u128::BITS - INDEX_CHECK_BITS))
}

fn half(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
}

/// Lengths in quarters of powers of two, from 128 bytes up: a record is read in one call, and little too much of it.
fn class_len(class: u64) -> u64 {
    (4 + class % 4) << (class / 4 + 5)
}

fn class_of(len: u64) -> u8 {
    const CLASSES: u8 = 1 << INDEX_CLASS_BITS;
    (0..CLASSES).find(|class| class_len(u64::from(*class)) >= len).unwrap_or(CLASSES - 1)
}

/// One entry of an index: the low half of a key's hash, and where its record stands. In the order of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IndexEntry {
    h1: u64,
    pub(super) place: Place,
}

impl IndexEntry {
    pub(super) fn new(hash: u128, offset: u64, len: u64) -> Self {
        Self { h1: half(hash), place: Place::new(hash, offset, len) }
    }

    /// All that an entry knows of its key's hash.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.h1, self.place.check_bits())
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self { h1: fields.u64()?, place: Place(fields.u64()?) })
    }

    fn encode(&self) -> [u8; INDEX_ENTRY_LEN] {
        let mut bytes = [0; INDEX_ENTRY_LEN];
        bytes[..8].copy_from_slice(&self.h1.to_le_bytes());
        bytes[8..].copy_from_slice(&self.place.0.to_le_bytes());
        bytes
    }
}

/// The part of a hash that stands in an index. Two keys with one mark are rare, and are told apart by their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark(u64, u64);

impl Mark {
    pub(super) fn of(hash: u128) -> Self {
        Self(half(hash), check_bits(hash))
    }

    /// The page, of so many, in which an entry belongs.
    pub(super) fn page(self, pages: u64) -> u64 {
        home(self.0, pages)
    }

    /// How far into that page it belongs, as a fraction of 2^64.
    fn fraction(self, pages: u64) -> u64 {
        self.0.wrapping_mul(pages)
    }
}

fn home(h1: u64, pages: u64) -> u64 {
    half((u128::from(h1) * u128::from(pages)) >> 64)
}

/// What a segment says of the log below the place that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// The segment holds the state of the log up to here.
    pub(super) covers: Position,
    /// The offset of the last record before that.
    pub(super) last: u64,
    pub(super) live_bytes: u64,
    pub(super) values: u64,
    pub(super) aliases: u64,
    pub(super) aux: u64,
    pub(super) newest_ms: i64,
}

impl Summary {
    pub(super) fn entries(&self) -> u64 {
        self.values + self.aliases + self.aux
    }

    fn encode(&self) -> Vec<u8> {
        [
            &self.covers.offset.to_le_bytes()[..],
            &self.covers.chain.to_le_bytes(),
            &0_u32.to_le_bytes(),
            &self.last.to_le_bytes(),
            &self.live_bytes.to_le_bytes(),
            &self.values.to_le_bytes(),
            &self.aliases.to_le_bytes(),
            &self.aux.to_le_bytes(),
            &self.newest_ms.to_le_bytes(),
        ]
        .concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (offset, chain, _zero) = (fields.u64()?, fields.u32()?, fields.u32()?);
        Some(Self {
            covers: Position { offset, chain },
            last: fields.u64()?,
            live_bytes: fields.u64()?,
            values: fields.u64()?,
            aliases: fields.u64()?,
            aux: fields.u64()?,
            newest_ms: fields.i64()?,
        })
    }

    /// Whether a writer of this version may have written it for a segment at `at` of so many pages.
    fn is_legal(&self, at: u64, pages: u32) -> bool {
        // Far more than bodies of any file add up to, however many heads share them.
        const LIVE_BYTES_MAX: u64 = 1 << 62;
        let covers = self.covers.offset;
        let inside = covers >= LOG_START && covers.is_multiple_of(RECORD_ALIGN) && self.last < covers;
        let before = covers.checked_add(RECORD_HEADER_LEN as u64).is_some_and(|end| end <= at);
        let room = u64::from(pages) * INDEX_ENTRIES_MAX as u64;
        let counts = [self.values, self.aliases, self.aux];
        let counted = counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        inside && before && counted.is_some_and(|sum| sum <= room) && self.live_bytes < LIVE_BYTES_MAX
    }
}

/// A page, or a segment, that is not what it should be. Nobody may take it for the absence of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadPage;

/// Where a page stands: what its checksum and its header must agree with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageAt {
    pub(super) file_id: u64,
    /// Offset of the segment's first page.
    pub(super) segment: u64,
    /// Offset of this page.
    pub(super) offset: u64,
}

impl PageAt {
    /// The number that all pages of a segment carry.
    fn segment_number(self) -> u32 {
        u32::try_from((self.segment / PAGE_LEN) & u64::from(u32::MAX)).unwrap_or(0)
    }

    fn encode(self, count: u16, flags: u16, number: u32, content: &[u8]) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE);
        page.extend([0; 4]);
        page.extend(count.to_le_bytes());
        page.extend(flags.to_le_bytes());
        page.extend(self.segment_number().to_le_bytes());
        page.extend(number.to_le_bytes());
        page.extend_from_slice(content);
        page.resize(PAGE, 0);
        let crc = crc32_at(self.file_id, self.offset, page.get(4..).unwrap_or_default());
        page[..4].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Whether the checksum of a page holds.
    pub(super) fn is_sound(self, page: &[u8]) -> bool {
        let crc = Fields(page).u32();
        crc.is_some() && crc == page.get(4..PAGE).map(|rest| crc32_at(self.file_id, self.offset, rest))
    }

    /// The header of a page whose checksum holds: count, flags and number.
    fn header(self, page: &[u8]) -> Result<(u16, u16, u32), BadPage> {
        let mut fields = Fields(page.get(4..INDEX_PAGE_HEADER_LEN).ok_or(BadPage)?);
        let (count, flags, segment, number) = (fields.u16(), fields.u16(), fields.u32(), fields.u32());
        if segment != Some(self.segment_number()) {
            return Err(BadPage);
        }
        Ok((count.ok_or(BadPage)?, flags.ok_or(BadPage)?, number.ok_or(BadPage)?))
    }
}

/// Reads the first page of a segment: the summary, and how many pages of entries there are.
pub(super) fn decode_summary(page: &[u8], at: PageAt) -> Result<(Summary, u32), BadPage> {
    let (count, flags, pages) = at.header(page)?;
    if !at.is_sound(page) || (count, flags) != (0, INDEX_FLAG_SUMMARY) || pages == 0 {
        return Err(BadPage);
    }
    let summary = Summary::decode(page.get(INDEX_PAGE_HEADER_LEN..).ok_or(BadPage)?).ok_or(BadPage)?;
    if summary.is_legal(at.segment, pages) { Ok((summary, pages)) } else { Err(BadPage) }
}

/// The entries of one page whose checksum is known to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    entries: &'a [u8],
    pub(super) overflows: bool,
}

impl<'a> Page<'a> {
    pub(super) fn decode(page: &'a [u8], at: PageAt, number: u32) -> Result<Self, BadPage> {
        let (count, flags, found) = at.header(page)?;
        if count as usize > INDEX_ENTRIES_MAX || flags & !INDEX_FLAG_OVERFLOW != 0 || found != number {
            return Err(BadPage);
        }
        let end = INDEX_PAGE_HEADER_LEN + usize::from(count) * INDEX_ENTRY_LEN;
        let entries = page.get(INDEX_PAGE_HEADER_LEN..end).ok_or(BadPage)?;
        Ok(Self { entries, overflows: flags & INDEX_FLAG_OVERFLOW != 0 })
    }

    pub(super) fn entries(self) -> impl Iterator<Item = IndexEntry> + 'a {
        self.entries.chunks_exact(INDEX_ENTRY_LEN).filter_map(IndexEntry::decode)
    }

    /// The entries with a mark, in a segment of so many pages.
    ///
    /// Hashes are spread evenly, so that a look where the mark should be is a few entries off (interpolation search).
    /// Halving the page would touch a line of memory with each step, and wait for it before the next.
    pub(super) fn find(self, mark: Mark, pages: u64) -> impl Iterator<Item = Place> + 'a {
        let (entries, _) = self.entries.as_chunks::<INDEX_ENTRY_LEN>();
        let below = |entry: &&[u8; INDEX_ENTRY_LEN]| Fields(*entry).u64().is_some_and(|h1| h1 < mark.0);
        let scaled = u128::from(mark.fraction(pages)) * entries.len() as u128;
        let (before, behind) = entries.split_at(usize::try_from(scaled >> 64).unwrap_or(0));
        let passed = behind.iter().take_while(below).count();
        let back = if passed == 0 { before.iter().rev().take_while(|entry| !below(entry)).count() } else { 0 };
        let same = entries.iter().skip(before.len() + passed - back).map_while(move |entry| {
            let entry = IndexEntry::decode(entry)?;
            (entry.h1 == mark.0).then_some(entry)
        });
        same.filter(move |entry| entry.mark() == mark).map(|entry| entry.place)
    }
}

/// A segment in the making. What depends on where it will stand is filled in last.
#[derive(Debug)]
pub(super) struct Draft {
    summary: Summary,
    /// The entries of each page, and whether it overflows.
    pages: Vec<(Vec<IndexEntry>, bool)>,
}

impl Draft {
    pub(super) fn new(mut entries: Vec<IndexEntry>, summary: Summary) -> Self {
        entries.sort_unstable();
        let pages = entries.len().div_ceil(INDEX_ENTRIES_MEAN).max(1);
        Self { summary, pages: distribute(&entries, pages) }
    }

    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The same entries for a longer log: a planted bug.
    pub(super) fn covering(mut self, position: Position) -> Self {
        self.summary.covers = position;
        self
    }

    /// The body of the INDEX record that is to stand at `record`: padding, the summary, the pages.
    pub(super) fn encode(&self, file_id: u64, record: u64) -> Vec<u8> {
        let body_at = record + RECORD_HEADER_LEN as u64;
        let segment = body_at.next_multiple_of(PAGE_LEN);
        let padding = usize::try_from(segment - body_at).unwrap_or(0);
        let mut body = Vec::with_capacity(padding + (self.pages.len() + 1) * PAGE);
        body.resize(padding, 0);
        let at = |number: u64| PageAt { file_id, segment, offset: segment + number * PAGE_LEN };
        let pages = u32::try_from(self.pages.len()).unwrap_or(u32::MAX);
        body.extend(at(0).encode(0, INDEX_FLAG_SUMMARY, pages, &self.summary.encode()));
        for (number, (entries, overflows)) in (0_u32..).zip(&self.pages) {
            let content: Vec<u8> = entries.iter().flat_map(IndexEntry::encode).collect();
            let count = u16::try_from(entries.len()).unwrap_or(u16::MAX);
            let flags = if *overflows { INDEX_FLAG_OVERFLOW } else { 0 };
            body.extend(at(u64::from(number) + 1).encode(count, flags, number, &content));
        }
        body
    }
}

/// Where the segment of an INDEX record at `record` begins, and how long it is.
pub(super) fn segment_of(record: u64, body_len: u64) -> (u64, u64) {
    let body_at = record + RECORD_HEADER_LEN as u64;
    let segment = body_at.next_multiple_of(PAGE_LEN);
    (segment, (body_at + body_len).saturating_sub(segment))
}

/// Puts sorted entries into their pages, and into the next where one is full.
fn distribute(entries: &[IndexEntry], pages: usize) -> Vec<(Vec<IndexEntry>, bool)> {
    let mut filled: Vec<(Vec<IndexEntry>, bool)> = vec![(Vec::new(), false); pages];
    for entry in entries {
        let mut at = usize::try_from(home(entry.h1, pages as u64)).unwrap_or(0);
        while let Some((page, overflows)) = filled.get_mut(at) {
            if page.len() < INDEX_ENTRIES_MAX {
                page.push(*entry);
                break;
            }
            *overflows |= !planted(Bug::OverflowUnmarked);
            at = (at + 1) % pages;
        }
    }
    for (page, _) in &mut filled {
        page.sort_unstable();
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_ID: u64 = 7;

    fn summary() -> Summary {
        Summary {
            covers: Position { offset: 20_000, chain: 5 },
            last: 19_000,
            live_bytes: 1,
            values: 2,
            aliases: 3,
            aux: 4,
            newest_ms: -5,
        }
    }

    /// The pages of a segment that stands behind a record at 20,000, the summary first.
    fn pages(entries: Vec<IndexEntry>) -> Vec<(PageAt, Vec<u8>)> {
        let body = Draft::new(entries, summary()).encode(FILE_ID, 20_000);
        let (segment, len) = segment_of(20_000, body.len() as u64);
        assert_eq!((segment, len % PAGE_LEN), (20_480, 0));
        let padding = body.len() - usize::try_from(len).unwrap();
        let at = |number| PageAt { file_id: FILE_ID, segment, offset: segment + number * PAGE_LEN };
        (0..).map(at).zip(body[padding..].chunks(PAGE).map(<[u8]>::to_vec)).collect()
    }

    fn find(pages: &[(PageAt, Vec<u8>)], hash: u128) -> Vec<u64> {
        let (mark, count) = (Mark::of(hash), pages.len() - 1);
        let mut number = usize::try_from(mark.page(count as u64)).unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            let (at, bytes) = &pages[number + 1];
            let page = Page::decode(bytes, *at, u32::try_from(number).unwrap()).unwrap();
            found.extend(page.find(mark, count as u64).map(Place::offset));
            if !page.overflows {
                break;
            }
            number = (number + 1) % count;
        }
        found
    }

    fn hash(n: u64) -> u128 {
        u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }

    #[test]
    fn every_entry_is_found_and_no_other() {
        // Miri takes a thousand times as long for each.
        let (counts, others): (&[u64], _) = if cfg!(miri) { (&[9, 171], 50) } else { (&[9, 170, 171, 5000], 1000) };
        for &count in counts {
            let entries = (0..count).map(|n| IndexEntry::new(hash(n), 12_288 + n * 8, 200)).collect();
            let pages = pages(entries);
            let (read, pages_of_entries) = decode_summary(&pages[0].1, pages[0].0).unwrap();
            assert_eq!((read, pages_of_entries as usize), (summary(), pages.len() - 1));
            assert!(pages.iter().all(|(at, page)| at.is_sound(page)));
            for n in 0..count {
                assert_eq!(find(&pages, hash(n)), [12_288 + n * 8]);
            }
            assert!((count..count + others).all(|n| find(&pages, hash(n)).is_empty()));
        }
    }

    #[test]
    fn full_pages_overflow_into_the_next_and_past_the_last_one() {
        // All in the last of four pages: it overflows into the first two.
        let crowded = |n: u64| u128::from(u64::MAX - n);
        let entries: Vec<_> = (0..600).map(|n| IndexEntry::new(crowded(n), 12_288 + n * 8, 200)).collect();
        let pages = pages(entries);
        assert_eq!(pages.len(), 5);
        for n in 0..600 {
            assert_eq!(find(&pages, crowded(n)), [12_288 + n * 8]);
        }
        assert_eq!(find(&pages, crowded(600)), [0_u64; 0]);
    }

    #[test]
    fn keys_with_one_mark_are_all_candidates() {
        let entries = (0..3).map(|n| IndexEntry::new(9, 12_288 + n * 8, 200)).collect();
        assert_eq!(find(&pages(entries), 9), [12_288, 12_296, 12_304]);
    }

    #[test]
    fn any_flipped_bit_makes_a_page_bad() {
        let pages = pages((0..200).map(|n| IndexEntry::new(hash(n), 12_288 + n * 8, 200)).collect());
        for (number, (at, page)) in pages.iter().enumerate() {
            let step = if cfg!(miri) { 4999 } else { 1 };
            for bit in (0..PAGE * 8).step_by(if number == 0 { step } else { 97 * step }) {
                let mut rotten = page.clone();
                rotten[bit / 8] ^= 1 << (bit % 8);
                assert!(!at.is_sound(&rotten), "page {number}, bit {bit}");
                assert!(number > 0 || decode_summary(&rotten, *at).is_err());
            }
            let elsewhere = PageAt { offset: at.offset + PAGE_LEN, ..*at };
            assert!(!elsewhere.is_sound(page), "a page is valid in its own place only");
        }
    }

    #[test]
    fn a_place_keeps_its_offset_and_a_length_that_is_enough() {
        for len in [1_u64, 128, 129, 1000, 8192, 100_000, 7 << 20] {
            let place = Place::new(u128::MAX, (1 << 48) - 8, len);
            assert_eq!(place.offset(), (1 << 48) - 8);
            assert!(place.len_max() >= len && place.len_max() <= (len + len / 4).max(128), "{len}");
        }
        assert_eq!(Place::new(0, 12_288, 1 << 31).len_max(), 7 << 20);
    }
}
