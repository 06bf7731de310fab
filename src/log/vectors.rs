//! The golden files of `format-spec/vectors`: our writer makes each of them again byte for byte, and our reader tells
//! of each the JSON that the independent reader tells.
//!
//! `LARDER_WRITE_VECTORS=1 cargo test vectors` writes them anew; a change of any is a change of the format.

use super::{
    Log, Options,
    check::check,
    generation::Generation,
    golden::{env, vectors},
    layout::{CODEC_FRAME, CODEC_PIECES, FLAG_AUX, HEADER_COPY_AT, LOG_START, PAGE_LEN, SLOT_OFFSETS},
    read::{Source, Want},
    shared::Counters,
    view::Role,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Shows the frames, for whoever has to make them anew.
#[test]
#[cfg(feature = "zstd")]
fn the_frames_of_the_vectors_decode() {
    for (bytes, frame) in super::golden::frames() {
        let made = super::codec::encode(&bytes).map(|frame| hex(&frame));
        let decoded = super::codec::decode(&frame, bytes.len() as u64);
        assert_eq!(decoded, Ok(bytes), "zstd makes of it {made:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// [J1] to [J4]: what a reader tells of a file.
fn describe(path: &Path) -> String {
    let file = env().disk.open(path, super::disk::Access::Read).unwrap();
    let generation = Generation::load(&env(), path, file).unwrap();
    let counters = Counters::default();
    let mut entries: Vec<(Vec<u8>, Value)> = Vec::new();
    let mut entries_left = generation.snapshot().unwrap();
    while let Some((_, loc)) = entries_left.next(&generation, &counters).unwrap() {
        let head = generation.read(loc, None, Want::Head, &counters).unwrap().unwrap();
        let (header, key) = (head.header, head.key.clone());
        let body = generation.read(loc, Some(&key), Want::Stored, &counters).unwrap().map(|read| read.body);
        let mut entry = json!({
            "key": hex(&key), "kind": if loc.role == Role::Alias { "alias" } else { "put" }, "offset": loc.offset,
            "head": hex(&head.head), "codec": header.codec, "head_ver": header.head_ver, "aux": header.has(FLAG_AUX),
            "incarnation": format!("{:016x}", header.incarnation),
            "created_ms": header.created_ms, "drop_after_ms": header.drop_after_ms,
            "body": body.as_ref().map(|body| match body.len() {
                0..=64 => json!(hex(body)),
                len => json!({"len": len, "sha256": hex(&Sha256::digest(body))}),
            }),
        });
        if loc.role != Role::Alias && matches!(header.codec, CODEC_FRAME | CODEC_PIECES) {
            let decoded = generation.read(loc, Some(&key), Want::Body, &counters).unwrap();
            entry["decoded_len"] = json!(decoded.map(|read| read.body.len()));
        }
        if loc.role == Role::Alias {
            let value = generation.resolve(&key, Want::Head, Source::Disk, &counters).unwrap();
            entry["to"] = json!(hex(&body.unwrap()));
            entry["target_incarnation"] = json!(format!("{:016x}", header.raw_len));
            entry["resolves_to"] = json!(value.map(|value| hex(&value.key)));
        }
        entries.push((key.to_vec(), entry));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    let report = check(&generation, path).unwrap();
    let described = json!({
        "format": {
            "major": 0, "file_id": format!("{:016x}", generation.header.file_id),
            "created_ms": generation.header.created_ms,
        },
        "end": report.end_offset, "state": format!("{:?}", report.end).to_lowercase(),
        "void_batches": report.void_batches,
        "entries": entries.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>(),
        "counts": {"records": report.records, "entries": report.entries, "aliases": report.aliases},
    });
    let mut text = serde_json::to_string_pretty(&sorted(described)).unwrap();
    text.push('\n');
    text
}

/// The same value with the members of every object in order, however the map type of `serde_json` is set.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(Map::from_iter(members))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors")
}

#[test]
fn every_vector_comes_out_byte_for_byte_and_reads_as_its_json() {
    let write = std::env::var_os("LARDER_WRITE_VECTORS").is_some();
    for (name, bytes) in vectors() {
        let path = folder().join(format!("{name}.larder"));
        let json = path.with_extension("json");
        if write {
            fs::write(&path, &bytes).unwrap();
            fs::write(&json, describe(&path)).unwrap();
        }
        assert!(fs::read(&path).unwrap() == bytes, "{name}: the writer makes other bytes than the golden file");
        assert_eq!(describe(&path), fs::read_to_string(&json).unwrap(), "{name}");
    }
    let names = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files = names.filter(|name| cfg!(feature = "zstd") || !name.starts_with("zstd")).count();
    assert_eq!(files, vectors().len() * 2, "a file in format-spec/vectors that no test makes");
}

/// Lines of the form `0x3000  4c 52 ..  what it is`.
#[test]
fn the_hex_dump_in_the_specification_is_the_vector_three() {
    let text = fs::read_to_string(folder().join("../FORMAT.md")).unwrap();
    let three = fs::read(folder().join("three.larder")).unwrap();
    let mut shown = vec![false; three.len()];
    for line in text.lines().filter_map(|line| line.strip_prefix("    0x")) {
        let (offset, rest) = line.split_once("  ").unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        let bytes = rest.split("  ").next().unwrap().split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap());
        for (i, byte) in bytes.enumerate() {
            assert_eq!(three[offset + i], byte, "offset {:#x}", offset + i);
            shown[offset + i] = true;
        }
    }
    let missing = (0..three.len()).find(|at| three[*at] != 0 && !shown[*at] && !is_header_copy(*at as u64));
    assert_eq!(missing, None, "a byte that is not zero is not shown");
}

fn is_header_copy(at: u64) -> bool {
    at < LOG_START && SLOT_OFFSETS.iter().any(|slot| at >= slot + HEADER_COPY_AT && at < slot + PAGE_LEN)
}

#[test]
fn a_writer_refuses_what_is_damaged_or_newer_and_goes_on_with_what_is_torn() {
    use crate::ErrorKind::{Damaged, NewerFormat};
    for (name, refusal) in [("slots-bad", Some(Damaged)), ("unknown-kind", Some(NewerFormat)), ("torn-tail", None)] {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("copy.larder");
        fs::copy(folder().join(format!("{name}.larder")), &path).unwrap();
        let before = fs::read(&path).unwrap();
        let log = Log::open_in(env(), &path, &Options::new()).unwrap();
        match refusal {
            Some(kind) => {
                assert_eq!(log.put("x", "y").unwrap_err().kind(), kind, "{name}");
                assert!(log.compact().is_err() && log.clear().is_err());
                drop(log);
                assert_eq!(fs::read(&path).unwrap(), before, "{name} was modified");
            }
            None => log.put("x", "y").unwrap(),
        }
    }
}

#[test]
fn compaction_keeps_every_entry_of_every_vector() {
    for (name, _) in vectors() {
        if name == "slots-bad" || name == "unknown-kind" {
            continue;
        }
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("copy.larder");
        fs::copy(folder().join(format!("{name}.larder")), &path).unwrap();
        let log = Log::open_in(env(), &path, &Options::new()).unwrap();
        let content = || -> Vec<_> {
            let keys = log.iter().map(|item| item.unwrap().0);
            let (generation, counters) = (log.shared.current().unwrap(), Counters::default());
            let stored = |key: &[u8]| {
                let read = generation.resolve(key, Want::Stored, Source::Disk, &counters).unwrap();
                read.map(|read| (read.header.codec, read.header.raw_len, read.body))
            };
            keys.map(|key| (log.head(&key).unwrap().unwrap().head, stored(&key), key)).collect()
        };
        let before = content();
        log.compact().unwrap();
        let after = content();
        let readable: Vec<_> = before.into_iter().filter(|(_, body, _)| body.is_some()).collect();
        assert_eq!(after, readable, "{name}");
        // Those whose frames are not what they should be are sound as they are stored.
        assert_eq!(log.check().unwrap().is_sound(), !name.starts_with("zstd"), "{name}");
    }
}
