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
