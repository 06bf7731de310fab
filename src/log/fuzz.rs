//! The bodies of the fuzz targets, and a seeded mutation loop that runs them without a fuzzer.
//!
//! Each takes any bytes and must return: no panic, no endless loop, no allocation beyond the size of the input.

#![expect(clippy::missing_panics_doc, reason = "a panic is how they report")]

#[cfg(test)]
pub(crate) mod looped;
mod repaired;

use super::{
    check::check,
    disk::{DiskFile, Stat},
    env::Env,
    generation::Generation,
    layout::{CODEC_RAW, LOG_START},
    read::{Source, Want},
    record::{Extent, RecordHeader},
    shared::Counters,
    view::{Loc, Role},
};
use crate::Result;
use std::{
    io::{self, IoSlice},
    path::Path,
};

/// Decodes any bytes as the header of a record and as a table of extents; what decodes must encode to the same bytes.
pub fn record_decode(data: &[u8]) {
    let (file_id, offset) = (7, LOG_START);
    if let Ok(mut header) = RecordHeader::decode(data, file_id, offset) {
        assert!(header.total_len() >= 96 && header.total_len().is_multiple_of(8));
        assert_eq!(header.encode(file_id, offset), data[..96], "a header has one encoding");
    }
    if let Some(extents) = Extent::decode_table(data, 1 << 40, data.len() as u64) {
        let table: Vec<u8> = extents.iter().flat_map(Extent::encode).collect();
        assert_eq!(table, data, "a table has one encoding");
    }
}

/// Opens any bytes as a file, and reads everything that is in it.
pub fn open_bytes(data: &[u8]) {
    let (env, path) = (Env::default(), Path::new("fuzzed.larder"));
    let load = || Generation::load(&env, path, Box::new(Memory(data.to_vec())));
    let Ok(generation) = load() else { return };
    let again = load().expect("the same bytes open the same way");
    let counters = Counters::default();
    let Ok(entries) = entries_of(&generation, &counters) else { return };
    assert_eq!(entries, entries_of(&again, &counters).expect("memory does not fail"));
    for (hash, loc) in entries {
        assert!(loc.offset + loc.len <= data.len() as u64 && loc.elsewhere <= loc.offset);
        let Ok(Some(read)) = generation.read(loc, None, Want::Body, &counters) else { continue };
        match read.header.codec {
            _ if loc.role == Role::Alias => assert!(read.body.len() <= data.len()),
            CODEC_RAW => assert!(read.body.len() <= data.len()),
            _ => assert_eq!(read.body.len() as u64, read.header.raw_len, "no more than the record says"),
        }
        let stored = generation.read(loc, None, Want::Stored, &counters).expect("memory does not fail");
        assert!(stored.expect("what decodes is there").body.len() <= data.len());
        let head = generation.read(loc, None, Want::Head, &counters).expect("memory does not fail");
        assert_eq!(head.expect("what reads whole reads in part").head, read.head);
        let honest = hash == generation.header.hash(&read.key);
        if let Ok(Some(found)) = generation.resolve(&read.key, Want::Body, Source::Disk, &counters) {
            assert!(found.loc.role != Role::Alias);
            assert!(!honest || loc.role == Role::Alias || found.body == read.body);
        }
    }
    let report = check(&generation, path).expect("memory does not fail");
    assert!(report.end_offset <= (data.len() as u64).max(LOG_START));
    let _ = super::repair::salvage(&Memory(data.to_vec()), &generation.header, data.len() as u64);
}

/// The same with the checksums made right first, so that what they cover is looked at.
pub fn open_mutated(data: &[u8]) {
    let mut data = data.to_vec();
    repaired::repair(&mut data);
    open_bytes(&data);
}

/// Takes the bytes as the choices of a history: operations, crashes, deaths and faults on a simulated disk. What the
/// log shows must be what a model says that it may show.
pub fn ops_with_crash(data: &[u8]) {
    if let Err(why) = super::sim::history_of(data) {
        panic!("{why}");
    }
}

fn entries_of(generation: &Generation, counters: &Counters) -> Result<Vec<(u128, Loc)>> {
    let mut snapshot = generation.snapshot()?;
    let mut entries = Vec::new();
    while let Some(entry) = snapshot.next(generation, counters)? {
        entries.push(entry);
    }
    Ok(entries)
}

/// A file in memory, to be read.
#[derive(Debug)]
struct Memory(Vec<u8>);

impl DiskFile for Memory {
    fn stat(&self) -> io::Result<Stat> {
        let size = self.0.len() as u64;
        Ok(Stat { dev: 0, ino: 0, nlink: 1, size, uid: 0, gid: 0, mode: 0o600, is_file: true })
    }

    fn pread(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let end = start.saturating_add(len).min(self.0.len());
        buf.extend_from_slice(&self.0[start..end]);
        Ok(end - start)
    }

    fn pwritev(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, _: u64, _: usize) -> io::Result<Option<super::map::Map>> {
        Ok(None)
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn unlock(&self) -> io::Result<()> {
        Ok(())
    }

    fn adopt(&self, _: &Stat) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::layout::RECORD_HEADER_LEN,
        looped::{run, seeds},
        *,
    };
    use crate::log::{fields::crc32_at, layout::RECORD_MAGIC};
    use std::fs;

    /// Makes the checksums of record headers right again, so that what they cover is looked at.
    fn repair_checksums(data: &mut [u8], file_id: u64, base: u64) {
        let mut prev = None;
        for at in (0..data.len().saturating_sub(RECORD_HEADER_LEN - 1)).step_by(8) {
            if data[at..].starts_with(&RECORD_MAGIC) {
                if let Some(prev) = prev {
                    data[at + 8..at + 12].copy_from_slice(&u32::to_le_bytes(prev));
                }
                let crc = crc32_at(file_id, base + at as u64, &data[at + 8..at + RECORD_HEADER_LEN]);
                data[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
                prev = Some(crc);
            }
        }
    }

    #[test]
    fn record_decode_survives_mutations() {
        run("record_decode", record_decode, |data| repair_checksums(data, 7, LOG_START));
    }

    #[test]
    fn open_bytes_survives_mutations() {
        run("open_bytes", open_bytes, |data| {
            if let Some(id) = data.get(24..32).and_then(|id| id.try_into().ok()) {
                repair_checksums(data, u64::from_le_bytes(id), 0);
            }
        });
    }

    #[test]
    fn open_mutated_survives_mutations() {
        run("open_mutated", open_mutated, |_| {});
    }

    /// A golden file is sound already, so that repairing changes nothing but what it has wrong on purpose.
    #[test]
    fn repairing_a_sound_file_changes_nothing() {
        for (name, file) in seeds("open_bytes") {
            let mut repaired = file.clone();
            repaired::repair(&mut repaired);
            let wrong = ["rotten", "bad", "torn", "void"].iter().any(|word| name.contains(word));
            assert!(wrong || repaired == file || !file.starts_with(b"LARDER"), "{name}");
        }
    }

    #[test]
    fn ops_with_crash_survives_mutations() {
        run("ops_with_crash", ops_with_crash, |_| {});
    }

    /// The seeds of `record_decode` are the first records of the vectors, as if they stood where the target looks.
    /// `LARDER_WRITE_VECTORS=1 cargo test seeds` writes them anew.
    #[test]
    fn the_seeds_of_record_decode_come_from_the_vectors() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/record_decode");
        for (name, vector) in seeds("open_bytes") {
            let Some(record) = vector.get(12_288..12_288 + RECORD_HEADER_LEN) else { continue };
            let mut record = record.to_vec();
            repair_checksums(&mut record, 7, LOG_START);
            let path = folder.join(format!("{name}.bin"));
            if std::env::var_os("LARDER_WRITE_VECTORS").is_some() {
                fs::write(&path, &record).unwrap();
            }
            assert!(fs::read(&path).is_ok_and(|seed| seed == record), "{} is out of date", path.display());
        }
    }
}
