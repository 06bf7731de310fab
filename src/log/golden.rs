//! What is in the golden files of `format-spec/vectors`: as the engine writes it, or put together record by record.

#[cfg(feature = "zstd")]
use super::layout::{CODEC_FRAME, CODEC_PIECES};
use super::{
    Clock, Log, Options, Times, Write,
    env::Env,
    fields::crc32,
    header::{FileHeader, Slots},
    layout::{FLAG_EXTENTS, FLAG_MORE, FLAG_SKIPPABLE, LOG_START, PAGE_LEN, RECORD_HEADER_LEN, SLOT_OFFSETS, align_up},
    record::{Extent, Kind, RecordHeader},
};
use bytes::Bytes;
use std::{fs, sync::Arc, time::Duration};

const NOW_MS: i64 = 1_700_000_000_000;

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn wall_ms(&self) -> i64 {
        NOW_MS
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

pub(super) fn env() -> Env {
    Env { clock: Arc::new(Fixed), seed: Some(42), background: false, shared: false, ..Env::default() }
}

/// A file as the engine writes it.
fn written(work: impl FnOnce(&Log)) -> Vec<u8> {
    written_with(&Options::new(), work)
}

fn written_with(options: &Options, work: impl FnOnce(&Log)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vector.larder");
    let log = Log::open_in(env(), &path, options).unwrap();
    work(&log);
    log.close().unwrap();
    fs::read(path).unwrap()
}

fn times() -> Times {
    Times::kept(NOW_MS)
}

/// A file put together record by record, for what the engine reads and does not write.
struct Forge {
    header: FileHeader,
    bytes: Vec<u8>,
    chain: u32,
}

impl Forge {
    fn new() -> Self {
        let bytes = written(|_| ());
        let header = FileHeader::decode(&bytes).unwrap();
        Self { chain: header.crc, header, bytes }
    }

    fn at(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn record(&mut self, mut header: RecordHeader, key: &[u8], head: &[u8], body: &[u8]) -> u64 {
        let offset = self.at();
        header.prev_crc = self.chain;
        header.key_len = u32::try_from(key.len()).unwrap();
        header.head_len = u32::try_from(head.len()).unwrap();
        header.head_crc = crc32(&[key, head]);
        if header.kind != Kind::Index {
            header.body_crc = crc32(&[body]);
        }
        if !header.extents() {
            header.body_len = body.len() as u64;
        }
        if !key.is_empty() {
            header.key_hash = self.header.hash(key);
        }
        self.bytes.extend(header.encode(self.header.file_id, offset));
        for piece in [key, head, body] {
            self.bytes.extend(piece);
        }
        self.bytes.resize(usize::try_from(align_up(self.at())).unwrap(), 0);
        self.chain = header.header_crc;
        offset
    }

    fn put(&mut self, key: &str, body: &str) -> u64 {
        let mut header = RecordHeader::new(Kind::Put);
        header.created_ms = NOW_MS;
        header.incarnation = self.header.file_id ^ self.at();
        header.raw_len = body.len() as u64;
        self.record(header, key.as_bytes(), b"", body.as_bytes())
    }

    fn put_extents(&mut self, key: &str, head: &str, extents: &[Extent], incarnation: Option<u64>) -> u64 {
        let mut header = RecordHeader::new(Kind::Put);
        header.created_ms = NOW_MS;
        header.flags = FLAG_EXTENTS;
        header.extent_count = u32::try_from(extents.len()).unwrap();
        header.body_len = extents.iter().map(|extent| u64::from(extent.len)).sum();
        header.raw_len = header.body_len;
        header.incarnation = incarnation.unwrap_or(self.header.file_id ^ self.at());
        let table: Vec<u8> = extents.iter().flat_map(Extent::encode).collect();
        self.record(header, key.as_bytes(), head.as_bytes(), &table)
    }

    fn bare(&mut self, kind: Kind, flags: u8, body: &[u8]) -> u64 {
        let mut header = RecordHeader::new(kind);
        header.flags = flags;
        self.record(header, b"", b"", body)
    }
}

/// The file that section 26 of FORMAT.md shows byte by byte.
fn three(log: &Log) {
    log.put_parts("apple", "small", "the body", times()).unwrap();
    log.alias("fruit", "apple").unwrap();
    log.delete("fruit").unwrap();
}

fn aliases(log: &Log) {
    log.put("value", "v").unwrap();
    log.alias("to value", "value").unwrap();
    log.alias("to alias", "to value").unwrap();
    log.alias("early", "late").unwrap();
    log.put("late", "came later").unwrap();
    log.put("renewed", "old").unwrap();
    log.alias("to renewed", "renewed").unwrap();
    log.delete("renewed").unwrap();
    log.put("renewed", "new").unwrap();
    log.alias("circle 1", "circle 2").unwrap();
    log.alias("circle 2", "circle 1").unwrap();
    log.alias("chain 1", "value").unwrap();
    for i in 2..=9 {
        log.alias(format!("chain {i}"), format!("chain {}", i - 1)).unwrap();
    }
    log.alias_with("with head", "value", "a head of its own", Times { created_ms: 1, drop_after_ms: 2 }).unwrap();
}

fn deletes(log: &Log) {
    log.put("a", "1").unwrap();
    log.put("b", "2").unwrap();
    log.delete("a").unwrap();
    log.put("a", "3").unwrap();
    log.delete("b").unwrap();
    log.delete("c").unwrap();
}

fn a_batch(log: &Log) {
    log.put("gone", "x").unwrap();
    let mut batch = log.batch();
    batch.put("a", "1").put_parts("b", "head", "2", times()).alias("c", "b").delete("gone").put("a", "last wins");
    batch.write(Write::Put {
        key: Bytes::from_static(b"aux"),
        head: Bytes::from_static(b"kept by the layer above"),
        body: Bytes::new(),
        times: times(),
        aux: true,
    });
    batch.commit().unwrap();
}

fn flip(bytes: &mut [u8], at: u64) {
    bytes[usize::try_from(at).unwrap()] ^= 0x40;
}

fn void_batch() -> Vec<u8> {
    let mut forge = Forge::new();
    forge.put("a", "old");
    let more = |forge: &mut Forge, key: &str| {
        let mut header = RecordHeader::new(Kind::Put);
        (header.flags, header.created_ms, header.incarnation) = (FLAG_MORE, NOW_MS, 1);
        forge.record(header, key.as_bytes(), b"", b"part of the void batch")
    };
    more(&mut forge, "a");
    let rotten = more(&mut forge, "b");
    forge.put("c", "part of the void batch");
    forge.put("d", "after it");
    flip(&mut forge.bytes, rotten + RECORD_HEADER_LEN as u64 + 3);
    forge.bytes
}

fn index(log: &Log) {
    for key in ["a", "b", "c"] {
        log.put(key, "indexed").unwrap();
    }
    log.alias("to c", "c").unwrap();
    log.checkpoint().unwrap();
    log.put("b", "overwritten behind the index").unwrap();
    log.put("d", "new behind the index").unwrap();
    log.delete("a").unwrap();
}

/// An index, and behind it a CLEAR.
fn index_cleared(log: &Log) {
    index(log);
    log.append_clear().unwrap();
    log.put("e", "after the clear").unwrap();
}

/// Its page of entries fails its checksum, so that the index is not used.
fn index_rotten() -> Vec<u8> {
    let mut bytes = written(index);
    let slot = Slots::decode([Some(&bytes[4096..4160]), Some(&bytes[8192..8256])], file_id(&bytes)).best().unwrap();
    flip(&mut bytes, slot.index_off + PAGE_LEN + 20);
    bytes
}

fn file_id(bytes: &[u8]) -> u64 {
    FileHeader::decode(bytes).unwrap().file_id
}

fn chunks() -> Vec<u8> {
    let mut forge = Forge::new();
    let mut extents = Vec::new();
    for (body, used) in [("first piece, ", true), ("a piece that nobody points at", false), ("second piece", true)] {
        let offset = forge.bare(Kind::Chunk, 0, body.as_bytes()) + RECORD_HEADER_LEN as u64;
        if used {
            let len = u32::try_from(body.len()).unwrap();
            extents.push(Extent { offset, len, crc: crc32(&[body.as_bytes()]) });
        }
    }
    forge.put_extents("whole", "head", &extents, None);
    extents[1].crc ^= 1;
    forge.put_extents("broken", "head", &extents, None);
    forge.bytes
}

fn extents() -> Vec<u8> {
    let mut forge = Forge::new();
    let (key, body) = ("key", "a body that stays where it is");
    let first = forge.put(key, body);
    let offset = first + (RECORD_HEADER_LEN + key.len()) as u64;
    let extent = Extent { offset, len: u32::try_from(body.len()).unwrap(), crc: crc32(&[body.as_bytes()]) };
    forge.put_extents(key, "new head", &[extent], Some(forge.header.file_id ^ first));
    forge.bytes
}

/// What was read is written down when a log with a limit is closed.
fn touch(log: &Log) {
    for key in ["a", "b", "c"] {
        log.put(key, "x").unwrap();
    }
    for key in ["a", "a", "c", "a"] {
        log.get(key).unwrap();
    }
}

/// Every vector by name.
pub(super) fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let one = |log: &Log| {
        log.put_parts("key", "head", "body", Times { created_ms: NOW_MS, drop_after_ms: NOW_MS + 60_000 }).unwrap();
    };
    let mut torn = written(a_batch);
    torn.truncate(torn.len() - 5);
    // The slot of that file knows of the end that was cut off; a file torn by a crash has none that does.
    torn[usize::try_from(SLOT_OFFSETS[0]).unwrap()..][..64].fill(0);
    let mut rotten = Forge::new();
    rotten.put("a", "old");
    let newer = rotten.put("a", "new");
    flip(&mut rotten.bytes, newer + RECORD_HEADER_LEN as u64 + 2);
    let mut slots_bad = Forge::new();
    slots_bad.put("a", "1");
    let lost = slots_bad.put("b", "2");
    flip(&mut slots_bad.bytes, lost + 8);
    for at in SLOT_OFFSETS {
        flip(&mut slots_bad.bytes, at);
    }
    let between = |kind: u8, flags: u8| {
        let mut forge = Forge::new();
        forge.put("before", "1");
        forge.bare(Kind::Skipped(kind), flags, b"of another time");
        forge.put("after", "2");
        forge.bytes
    };
    let sealed = |forge: &mut Forge| {
        forge.put("a", "1");
        forge.bare(Kind::Seal, 0, b"");
    };
    let mut seal = Forge::new();
    sealed(&mut seal);
    let cleared = || {
        let mut forge = Forge::new();
        forge.put("a", "1");
        forge.put("b", "2");
        let mut alias = RecordHeader::new(Kind::Alias);
        (alias.created_ms, alias.incarnation, alias.raw_len) = (NOW_MS, 5, forge.header.file_id ^ LOG_START);
        forge.record(alias, b"c", b"", b"a");
        forge.bare(Kind::Clear, 0, b"");
        forge.put("a", "after the clear");
        forge.bytes
    };
    vec![
        ("empty", written(|_| ())),
        ("one", written(one)),
        ("three", written(three)),
        ("aliases", written(aliases)),
        ("deletes", written(deletes)),
        ("batch", written(a_batch)),
        ("void-batch", void_batch()),
        ("torn-tail", torn),
        ("rotten-body", rotten.bytes),
        ("slots-bad", slots_bad.bytes),
        ("index", written(index)),
        ("index-cleared", written(index_cleared)),
        ("index-rotten", index_rotten()),
        ("chunks", chunks()),
        ("extents", extents()),
        ("touch", written_with(&Options::new().max_size(1 << 20), touch)),
        ("seal", seal.bytes),
        ("unknown-skippable", between(200, FLAG_SKIPPABLE)),
        ("unknown-kind", between(201, 0)),
        ("cleared", cleared()),
        #[cfg(feature = "zstd")]
        ("zstd", zstd()),
        #[cfg(feature = "zstd")]
        ("zstd-pieces", zstd_pieces()),
    ]
}

/// Frames that zstd made once, so that the vectors do not depend on which zstd makes others: what it decodes to,
/// and the frame.
#[cfg(feature = "zstd")]
pub(super) fn frames() -> [(Vec<u8>, Vec<u8>); 3] {
    let unhex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let text = b"{\"id\": 17, \"name\": \"a line that comes again\"}\n";
    [
        (
            text.repeat(40),
            unhex(
                "28b52ffd603006bd0100e4027b226964223a2031372c20226e616d65223a202261206c696e65207468617420636f6d657320616761696e227d0a0100fe37feaa0c",
            ),
        ),
        (
            text.repeat(3000),
            unhex(
                "28b52ffda0101b0200c40100e4027b226964223a2031372c20226e616d65223a202261206c696e65207468617420636f6d657320616761696e227d0a01007efe8fb92a03450000082001000cdb0321",
            ),
        ),
        (
            text.repeat(7),
            unhex(
                "28b52ffd604200bd0100e4027b226964223a2031372c20226e616d65223a202261206c696e65207468617420636f6d657320616761696e227d0a01008e88aa2a03",
            ),
        ),
    ]
}

/// Bodies of one frame. The writer may make other frames of them, so these are put together.
#[cfg(feature = "zstd")]
fn zstd() -> Vec<u8> {
    let [(text, frame), (long, two_blocks), _] = frames();
    let mut forge = Forge::new();
    let put = |forge: &mut Forge, key: &str, raw_len: usize, stored: &[u8]| {
        let mut header = RecordHeader::new(Kind::Put);
        (header.created_ms, header.incarnation) = (NOW_MS, forge.header.file_id ^ forge.at());
        (header.codec, header.raw_len) = (CODEC_FRAME, raw_len as u64);
        forge.record(header, key.as_bytes(), b"head", stored)
    };
    let first = put(&mut forge, "page", text.len(), &frame);
    put(&mut forge, "two blocks", long.len(), &two_blocks);
    put(&mut forge, "empty", 0, &[0x28, 0xB5, 0x2F, 0xFD, 0x20, 0, 1, 0, 0]);
    put(&mut forge, "other length", text.len() + 1, &frame);
    put(&mut forge, "more behind it", text.len(), &[&frame[..], b"x"].concat());
    let offset = first + (RECORD_HEADER_LEN + "page".len() + "head".len()) as u64;
    let extent = Extent { offset, len: u32::try_from(frame.len()).unwrap(), crc: crc32(&[&frame]) };
    let mut header = RecordHeader::new(Kind::Put);
    (header.created_ms, header.incarnation) = (NOW_MS, forge.header.file_id ^ forge.at());
    (header.flags, header.extent_count, header.body_len) = (FLAG_EXTENTS, 1, frame.len() as u64);
    (header.codec, header.raw_len) = (CODEC_FRAME, text.len() as u64);
    forge.record(header, b"new head", b"another head", &extent.encode());
    forge.bytes
}

/// Bodies of several frames.
#[cfg(feature = "zstd")]
fn zstd_pieces() -> Vec<u8> {
    let [(text, frame), _, (rest, short)] = frames();
    let mut forge = Forge::new();
    let mut pieces = Vec::new();
    for frame in [&frame, &frame, &short] {
        let offset = forge.bare(Kind::Chunk, 0, frame) + RECORD_HEADER_LEN as u64;
        pieces.push(Extent { offset, len: u32::try_from(frame.len()).unwrap(), crc: crc32(&[frame]) });
    }
    let put = |forge: &mut Forge, key: &str, pieces: &[Extent]| {
        let mut header = RecordHeader::new(Kind::Put);
        (header.created_ms, header.incarnation) = (NOW_MS, forge.header.file_id ^ forge.at());
        (header.flags, header.extent_count) = (FLAG_EXTENTS, u32::try_from(pieces.len()).unwrap());
        header.body_len = pieces.iter().map(|piece| u64::from(piece.len)).sum();
        (header.codec, header.raw_len) = (CODEC_PIECES, (2 * text.len() + rest.len()) as u64);
        let table: Vec<u8> = pieces.iter().flat_map(Extent::encode).collect();
        forge.record(header, key.as_bytes(), b"head", &table);
    };
    put(&mut forge, "pieces", &pieces);
    put(&mut forge, "short piece first", &[pieces[2], pieces[1], pieces[0]]);
    for (key, codec) in [("inline", CODEC_PIECES), ("not assigned", 77)] {
        let mut header = RecordHeader::new(Kind::Put);
        (header.created_ms, header.incarnation) = (NOW_MS, forge.header.file_id ^ forge.at());
        (header.codec, header.raw_len) = (codec, text.len() as u64);
        forge.record(header, key.as_bytes(), b"", &frame);
    }
    forge.bytes
}
