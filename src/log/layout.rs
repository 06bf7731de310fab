//! Where everything stands in the file: every offset, size, magic number and limit of the format, and nothing else.
//! `format-spec/FORMAT.md` says it in prose.

/// First bytes of the file.
pub(super) const FILE_MAGIC: [u8; 10] = *b"LARDER\r\n\x1a\n";
/// The version of the format that this code reads and writes.
pub(super) const MAJOR: u16 = 0;
/// Bits of `incompat` and `ro_compat` that this code knows: none yet.
pub(super) const INCOMPAT_KNOWN: u32 = 0;
pub(super) const RO_COMPAT_KNOWN: u32 = 0;

pub(super) const FILE_HEADER_LEN: usize = 64;
/// The unit in which header and slots are laid out, so that none shares a physical sector with another.
pub(super) const PAGE_LEN: u64 = 4096;
pub(super) const SLOT_LEN: usize = 64;
pub(super) const SLOT_OFFSETS: [u64; 2] = [PAGE_LEN, 2 * PAGE_LEN];
/// Where in each slot page a copy of the file header stands, for `repair` alone.
pub(super) const HEADER_COPY_AT: u64 = 2048;
/// The first record.
pub(super) const LOG_START: u64 = 3 * PAGE_LEN;

/// First bytes of a record.
pub(super) const RECORD_MAGIC: [u8; 4] = *b"LREC";
pub(super) const RECORD_HEADER_LEN: usize = 96;
/// Bytes of a record header that its own checksum does not cover: the magic and the checksum.
pub(super) const RECORD_CRC_FROM: usize = 8;
pub(super) const RECORD_ALIGN: u64 = 8;
pub(super) const EXTENT_LEN: usize = 16;
pub(super) const TOUCH_ENTRY_LEN: usize = 32;

pub(super) const FLAG_MORE: u8 = 1;
pub(super) const FLAG_SKIPPABLE: u8 = 1 << 1;
pub(super) const FLAG_EXTENTS: u8 = 1 << 2;
pub(super) const FLAG_AUX: u8 = 1 << 3;
pub(super) const FLAGS_KNOWN: u8 = FLAG_MORE | FLAG_SKIPPABLE | FLAG_EXTENTS | FLAG_AUX;

/// An index segment: one page that sums it up, then pages of entries.
pub(super) const INDEX_PAGE_HEADER_LEN: usize = 16;
pub(super) const INDEX_ENTRY_LEN: usize = 16;
pub(super) const INDEX_ENTRIES_MAX: usize = 255;
/// Entries that a writer puts into a page on average: two thirds, so that few pages overflow.
pub(super) const INDEX_ENTRIES_MEAN: usize = 170;
/// The page is full, and entries of it stand in the next one.
pub(super) const INDEX_FLAG_OVERFLOW: u16 = 1;
pub(super) const INDEX_FLAG_SUMMARY: u16 = 1 << 1;
/// How the second half of an index entry is divided, from its low bits up: place, length class, check bits.
pub(super) const INDEX_OFFSET_BITS: u32 = 45;
pub(super) const INDEX_CLASS_BITS: u32 = 6;
pub(super) const INDEX_CHECK_BITS: u32 = 13;

/// Stored as is.
pub(super) const CODEC_RAW: u8 = 0;
/// One zstd frame.
pub(super) const CODEC_FRAME: u8 = 1;
/// Each extent is a zstd frame, a piece of the body.
pub(super) const CODEC_PIECES: u8 = 2;
/// A body of one frame decodes to no more, and a piece to no more than a chunk holds.
pub(super) const FRAME_RAW_MAX: u64 = 16 << 20;
pub(super) const PIECE_RAW_MAX: u64 = CHUNK_MAX;
/// No frame needs more memory than this to be decoded as a stream, the usual buffers aside.
pub(super) const FRAME_WINDOW_LOG_MAX: u32 = 20;

pub(super) const KEY_MAX: usize = 64 << 10;
pub(super) const HEAD_MAX: usize = 1 << 20;
/// What one write call takes, less room for header, key and head.
pub(super) const INLINE_BODY_MAX: u64 = (2 << 30) - (64 << 10);
pub(super) const CHUNK_MAX: u64 = 1 << 20;
pub(super) const BODY_MAX: u64 = 4 << 30;
/// Offsets stay below this, so that an index entry holds one in 45 bits.
pub(super) const FILE_MAX: u64 = 1 << 48;
pub(super) const ALIAS_HOPS_MAX: usize = 8;

const _: () = assert!(LOG_START.is_multiple_of(PAGE_LEN) && PAGE_LEN.is_multiple_of(RECORD_ALIGN));
const _: () = assert!((RECORD_HEADER_LEN as u64).is_multiple_of(RECORD_ALIGN));
const _: () = assert!(SLOT_OFFSETS[1] + PAGE_LEN == LOG_START);
const _: () = assert!(HEADER_COPY_AT + FILE_HEADER_LEN as u64 <= PAGE_LEN && HEADER_COPY_AT >= SLOT_LEN as u64);
const _: () = assert!(FILE_MAX / RECORD_ALIGN <= 1 << INDEX_OFFSET_BITS);
const _: () = assert!(INDEX_OFFSET_BITS + INDEX_CLASS_BITS + INDEX_CHECK_BITS == u64::BITS);
const _: () = assert!((INDEX_PAGE_HEADER_LEN + INDEX_ENTRIES_MAX * INDEX_ENTRY_LEN) as u64 == PAGE_LEN);

/// The next offset at which a record may begin.
pub(super) const fn align_up(offset: u64) -> u64 {
    offset.next_multiple_of(RECORD_ALIGN)
}
