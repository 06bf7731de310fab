//! Bodies that come and go in pieces, on the real disk.

use super::{Log, Options, Times, Write as Op};
use crate::ErrorKind;
use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

fn open() -> (TempDir, Log) {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path().join("c.larder"), Options::new().fast_save(true)).unwrap();
    (folder, log)
}

fn body(len: usize, seed: u8) -> Vec<u8> {
    let byte = |n: usize| u8::try_from(n % 251).unwrap().wrapping_mul(seed) ^ u8::try_from(n / 1000 % 256).unwrap();
    (0..len).map(byte).collect()
}

fn read(log: &Log, key: &str) -> Vec<u8> {
    let mut body = Vec::new();
    log.reader(key).unwrap().expect("it is there").read_to_end(&mut body).unwrap();
    body
}

#[test]
fn what_is_written_in_pieces_is_read_in_pieces_and_whole() {
    let (_folder, log) = open();
    for len in [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 20 * MIB + 7] {
        let whole = body(len, 7);
        let mut writer = log.writer("key", "head").unwrap().times(Times { created_ms: 1, drop_after_ms: 2 });
        whole.chunks(300_001).for_each(|piece| writer.write_all(piece).unwrap());
        writer.commit().unwrap();
        assert!(log.get("key").unwrap().unwrap() == whole && read(&log, "key") == whole, "{len}");
        let head = log.head("key").unwrap().unwrap();
        assert_eq!((&head.head[..], head.body_len, head.times.created_ms), (&b"head"[..], len as u64, 1));
        log.update_head("key", head.version, "new", Times::kept(3)).unwrap();
        log.compact().unwrap();
        let reader = log.reader("key").unwrap().unwrap();
        assert_eq!((&reader.head().head[..], reader.len()), (&b"new"[..], len as u64));
        assert!(read(&log, "key") == whole, "{len}");
        assert!(log.check().unwrap().is_sound());
    }
    let stats = log.stats().unwrap();
    assert!(stats.file_bytes < 21 * MIB as u64, "a compaction writes a body once, whatever heads came: {stats:?}");
}

#[test]
fn a_reader_seeks_and_keeps_what_it_reads() {
    let (_folder, log) = open();
    let whole = body(3 * MIB + 5, 3);
    for store in [true, false] {
        if store {
            log.put("key", &whole).unwrap();
        } else {
            let mut writer = log.writer("key", "").unwrap();
            writer.write_all(&whole).unwrap();
            writer.commit().unwrap();
        }
        let mut reader = log.reader("key").unwrap().unwrap();
        log.clear().unwrap();
        assert!(log.reader("key").unwrap().is_none());
        for at in [0, 5, MIB - 1, MIB, 3 * MIB, 3 * MIB + 4] {
            assert_eq!(reader.seek(SeekFrom::Start(at as u64)).unwrap(), at as u64);
            let mut two = Vec::new();
            reader.by_ref().take(2).read_to_end(&mut two).unwrap();
            assert_eq!(two, &whole[at..whole.len().min(at + 2)]);
        }
        assert_eq!(reader.seek(SeekFrom::End(-1)).unwrap(), whole.len() as u64 - 1);
        assert!(reader.seek(SeekFrom::Current(-(5 << 20))).is_err());
        reader.seek(SeekFrom::Start(u64::MAX)).unwrap();
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
    }
}

#[test]
fn a_stream_goes_on_over_compactions_and_clears() {
    let (_folder, log) = open();
    let whole = body(5 * MIB, 11);
    let mut writer = log.writer("key", "").unwrap();
    for (n, piece) in whole.chunks(MIB / 2).enumerate() {
        writer.write_all(piece).unwrap();
        match n {
            3 => log.compact().unwrap(),
            5 => log.clear().unwrap(),
            7 => {
                // A CLEAR that no compaction follows at once.
                log.append_clear().unwrap();
                log.put("other", "x").unwrap();
            }
            _ => {}
        }
    }
    let staged = {
        let mut stage = log.stage().unwrap();
        stage.write_all(&whole).unwrap();
        stage.finish().unwrap()
    };
    log.compact().unwrap();
    writer.commit().unwrap();
    assert!(read(&log, "key") == whole);
    let (key, head) = ("staged".into(), "h".into());
    let put = Op::PutStaged { key, head, body: staged, times: Times::kept(0), aux: false };
    // The same body may be stored more than once.
    for _ in 0..2 {
        log.apply(&[Op::Delete { key: "other".into() }, put.clone()]).unwrap();
        log.compact().unwrap();
        assert!(read(&log, "staged") == whole && log.get("other").unwrap().is_none());
    }
    assert!(log.check().unwrap().is_sound());
}

#[test]
fn what_is_dropped_or_refused_leaves_nothing() {
    let (_folder, log) = open();
    log.put("key", "old").unwrap();
    let mut writer = log.writer("key", "").unwrap();
    writer.write_all(&body(3 * MIB, 1)).unwrap();
    drop(writer);
    assert_eq!(log.get("key").unwrap().as_deref(), Some(&b"old"[..]));
    log.compact().unwrap();
    assert!(log.stats().unwrap().file_bytes < 20_000);

    assert_eq!(log.writer("", "").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(log.writer("k", vec![0; MIB + 1]).unwrap_err().kind(), ErrorKind::TooLarge);
    let mut stage = log.stage().unwrap();
    stage.write_all(&body(2 * MIB, 1)).unwrap();
    let expect = Op::Expect { key: "key".into(), version: None };
    let (key, head, body) = ("key".into(), "".into(), stage.finish().unwrap());
    let put = Op::PutStaged { key, head, body, times: Times::kept(0), aux: false };
    assert_eq!(log.apply(&[expect, put]).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(log.get("key").unwrap().as_deref(), Some(&b"old"[..]));
}

#[test]
fn a_rotten_piece_is_an_error_when_it_is_reached_and_the_pieces_before_are_sound() {
    let (folder, log) = open();
    let whole = body(4 * MIB, 5);
    let mut writer = log.writer("key", "").unwrap();
    writer.write_all(&whole).unwrap();
    writer.commit().unwrap();
    log.put("one piece", body(2 * MIB, 9)).unwrap();
    let path = folder.path().join("c.larder");
    let mut bytes = fs::read(&path).unwrap();
    let (third, last) = (12_288 + 2 * (MIB + 96) + 5000, bytes.len() - 5000);
    bytes[third] ^= 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();

    let mut reader = log.reader("key").unwrap().unwrap();
    let mut start = vec![0; 2 * MIB];
    reader.read_exact(&mut start).unwrap();
    assert!(start == whole[..2 * MIB]);
    assert_eq!(reader.read(&mut [0; 9]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    reader.seek(SeekFrom::Start(3 * MIB as u64)).unwrap();
    reader.read_exact(&mut start[..MIB]).unwrap();
    assert!(start[..MIB] == whole[3 * MIB..]);
    assert!(log.reader("one piece").unwrap().is_none(), "what has one checksum is verified before anything of it");
    assert!(log.get("key").unwrap().is_none() && log.stats().unwrap().unsound_reads > 2);
}

#[test]
fn chunks_that_cannot_be_brought_along_at_once_are_not_forgotten() {
    let (folder, log) = open();
    let (path, old) = (folder.path().join("c.larder"), folder.path().join("old"));
    let whole = body(3 * MIB, 13);
    let mut stage = log.stage().unwrap();
    stage.write_all(&whole).unwrap();
    let (key, head, body) = ("key".into(), "".into(), stage.finish().unwrap());
    let put = Op::PutStaged { key, head, body, times: Times::kept(0), aux: false };
    fs::hard_link(&path, &old).unwrap();
    log.compact().unwrap();
    // The second chunk rots in the old file, and heals again.
    let at = 12_288 + (MIB + 96) + 5000;
    let mut bytes = fs::read(&old).unwrap();
    bytes[at] ^= 1;
    fs::write(&old, &bytes).unwrap();
    assert_eq!(log.apply(std::slice::from_ref(&put)).unwrap_err().kind(), ErrorKind::Io);
    assert!(log.get("key").unwrap().is_none());
    bytes[at] ^= 1;
    fs::write(&old, &bytes).unwrap();
    log.apply(&[put]).unwrap();
    assert!(read(&log, "key") == whole && log.check().unwrap().is_sound());
}

/// What compresses well, and differs in each part.
#[cfg(feature = "zstd")]
fn text(len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 80);
    for n in 0.. {
        if text.len() >= len {
            break;
        }
        writeln!(text, "line {n} of a text in which every line is much like the line before").unwrap();
    }
    text.truncate(len);
    text
}

#[cfg(feature = "zstd")]
fn open_compressed(options: Options) -> (TempDir, Log) {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path().join("c.larder"), options.fast_save(true).compress(true)).unwrap();
    (folder, log)
}

#[test]
#[cfg(feature = "zstd")]
fn compressed_bodies_of_every_length_are_read_whole_in_pieces_and_from_any_place() {
    let (_folder, log) = open_compressed(Options::new());
    for len in [0, 1, 255, 256, 70_000, MIB, 3 * MIB + 1, 8 * MIB, 8 * MIB + 1, 20 * MIB + 7] {
        let whole = text(len);
        for streamed in [false, true] {
            let key = format!("{len} {streamed}");
            if streamed {
                let mut writer = log.writer(&key, "head").unwrap();
                whole.chunks(300_001).for_each(|piece| writer.write_all(piece).unwrap());
                writer.commit().unwrap();
            } else {
                log.put_parts(&key, "head", &whole, Times::kept(0)).unwrap();
            }
            for compacted in [false, true] {
                assert!(log.get(&key).unwrap().unwrap() == whole && read(&log, &key) == whole, "{key} {compacted}");
                let head = log.head(&key).unwrap().unwrap();
                assert_eq!((&head.head[..], head.body_len), (&b"head"[..], len as u64));
                let mut reader = log.reader(&key).unwrap().unwrap();
                for at in [len / 2, len / 3, len.saturating_sub(1), 0, len, len / 2 + 1].map(|at| at.min(len)) {
                    reader.seek(SeekFrom::Start(at as u64)).unwrap();
                    let mut three = Vec::new();
                    reader.by_ref().take(3).read_to_end(&mut three).unwrap();
                    assert_eq!(three, &whole[at..len.min(at + 3)], "{key} at {at}");
                }
                log.update_head(&key, head.version, "head", Times::kept(3)).unwrap();
                log.compact().unwrap();
            }
        }
        let stats = log.stats().unwrap();
        assert!(len < 70_000 || stats.file_bytes < 2 * 100_000 + len as u64, "{len}: {stats:?}");
        assert!(log.check().unwrap().is_sound());
        log.clear().unwrap();
    }
}

#[test]
#[cfg(feature = "zstd")]
fn what_is_compressed_or_is_to_stay_is_stored_as_it_is_and_handles_may_differ() {
    let (folder, log) = open_compressed(Options::new().memory_tier(0));
    let plain = Log::open(folder.path().join("c.larder"), Options::new().fast_save(true)).unwrap();
    let whole = text(50_000);
    let size = |log: &Log| log.stats().unwrap().file_bytes;
    let grows = |work: &dyn Fn()| {
        let before = size(&log);
        work();
        size(&log) - before
    };
    assert!(grows(&|| log.put("small", &whole).unwrap()) < 10_000);
    assert!(grows(&|| plain.put("plain", &whole).unwrap()) > 50_000);
    let body = super::Staged::from_bytes(whole.clone().into()).as_it_is();
    let put = Op::PutStaged { key: "stays".into(), head: "".into(), body, times: Times::kept(0), aux: false };
    assert!(grows(&|| log.apply(std::slice::from_ref(&put)).unwrap()) > 50_000);
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..3 * MIB)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .collect();
    log.put("noise", &noise[..50_000]).unwrap();
    // The first piece decides, so that what comes later may be of any sort.
    for (key, body) in
        [("then noise", [&text(2 * MIB), &noise[..]].concat()), ("then text", [&noise, &text(MIB)[..]].concat())]
    {
        let mut writer = log.writer(key, "").unwrap();
        writer.write_all(&body).unwrap();
        writer.commit().unwrap();
        assert!(read(&plain, key) == body && log.get(key).unwrap().unwrap() == body, "{key}");
    }
    for log in [&log, &plain] {
        assert!(["small", "plain", "stays"].iter().all(|key| log.get(key).unwrap().unwrap() == whole));
        assert_eq!(log.get("noise").unwrap().unwrap(), &noise[..50_000]);
        log.compact().unwrap();
    }
    assert!(read(&log, "then noise").ends_with(&noise) && log.check().unwrap().is_sound());
    let times = Times::kept(0);
    log.update("small", |entry| {
        assert_eq!(entry.unwrap().body, whole);
        super::Change::Put { head: vec![1], body: [&whole[..], &whole].concat(), times }
    })
    .unwrap();
    assert_eq!(log.get("small").unwrap().unwrap().len(), 100_000);
}

#[test]
#[cfg(feature = "zstd")]
fn the_tier_keeps_decoded_bodies_and_counts_them() {
    let (_folder, log) = open_compressed(Options::new().memory_tier(1 << 20));
    log.put("a", text(60_000)).unwrap();
    for hits in 0..3 {
        assert_eq!((log.get("a").unwrap().unwrap().len(), log.stats().unwrap().tier_hits), (60_000, hits));
    }
    let stats = log.stats().unwrap();
    assert!((60_000..62_000).contains(&stats.tier_bytes), "{stats:?}");
}

#[test]
#[cfg(not(feature = "zstd"))]
fn a_build_without_zstd_says_so_for_bodies_that_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    assert_eq!(Log::open(&path, Options::new().compress(true)).unwrap_err().kind(), ErrorKind::NotBuiltIn);
    assert!(!path.exists());
    let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors");
    for (name, key) in [("zstd", "page"), ("zstd-pieces", "pieces")] {
        fs::copy(vectors.join(format!("{name}.larder")), &path).unwrap();
        let log = Log::open(&path, Options::new()).unwrap();
        for _ in 0..2 {
            assert_eq!(log.get(key).unwrap_err().kind(), ErrorKind::NotBuiltIn);
            assert_eq!(log.entry(key).unwrap_err().kind(), ErrorKind::NotBuiltIn);
            assert_eq!(log.reader(key).unwrap_err().kind(), ErrorKind::NotBuiltIn);
            let head = log.head(key).unwrap().unwrap();
            assert!(log.contains(key).unwrap() && &head.head[..] == b"head" && head.body_len > 1000);
            log.compact().unwrap();
        }
        assert!(log.check().unwrap().is_sound());
        drop(log);
        super::repair(&path, folder.path().join(name)).unwrap();
    }
}
