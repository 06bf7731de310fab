//! The bodies of the fuzz targets, and a seeded mutation loop that runs them without a fuzzer.
//!
//! Each takes any bytes and must return: no panic, no endless loop, no allocation beyond the size of the input.

use super::{
    check::check,
    disk::{DiskFile, Stat},
    env::Env,
    generation::Generation,
    layout::LOG_START,
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
        assert!(read.body.len() <= data.len());
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

/// Runs a target over its seeds and over mutations of them, without the fuzzer.
#[cfg(test)]
pub(crate) mod replay {
    use super::Path;
    use std::{
        fs,
        path::PathBuf,
        time::{Duration, Instant},
    };

    /// A small generator of numbers that look random and are the same every time.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, end: usize) -> usize {
            usize::try_from(self.next() % end.max(1) as u64).unwrap()
        }
    }

    /// The seeds of a target with their names.
    pub(super) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut folders: Vec<PathBuf> = vec![root.join("fuzz/seeds").join(target)];
        if target == "open_bytes" {
            folders.push(root.join("format-spec/vectors"));
        }
        let mut paths: Vec<_> = folders
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap_or_else(|_| panic!("no seeds in {}", folder.display())))
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_none_or(|end| end != "json"))
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "no seeds for {target}");
        let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
    }

    /// Changes some bytes, the length, or the order of pieces.
    fn mutate(data: &mut Vec<u8>, random: &mut Random) {
        const INTERESTING: [u64; 8] = [0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, u32::MAX as u64, u64::MAX];
        for _ in 0..=random.below(4) {
            // Most of a file's first pages is nothing; what matters is in the header, the slots and the log.
            let log = data.len().saturating_sub(12_288);
            let at = match random.below(8) {
                0 => random.below(64),
                1 => 4096 * (1 + random.below(2)) + random.below(64),
                _ if log > 0 => 12_288 + random.below(log),
                _ => random.below(data.len()),
            };
            if at >= data.len() {
                continue;
            }
            match random.below(6) {
                0 => data[at] ^= 1 << random.below(8),
                1 => data[at] = random.next().to_le_bytes()[0],
                2 => {
                    let value = INTERESTING[random.below(8)].to_le_bytes();
                    let len = [1, 2, 4, 8][random.below(4)].min(data.len() - at);
                    data[at..at + len].copy_from_slice(&value[..len]);
                }
                3 => data.truncate(at),
                4 => {
                    let len = random.below(200).min(data.len() - at);
                    let piece = data[at..at + len].to_vec();
                    data.extend(piece);
                }
                _ => {
                    let len = random.below(64).min(data.len() - at);
                    data.drain(at..at + len);
                }
            }
        }
    }

    pub(crate) fn run(target: &str, body: fn(&[u8]), repair: fn(&mut [u8])) {
        let seeds = seeds(target);
        for (_, seed) in &seeds {
            body(seed);
        }
        let seconds = std::env::var("LARDER_FUZZ_SECONDS").map_or(1, |text| text.parse().expect("a number of seconds"));
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut n = 0_u64;
        while Instant::now() < until {
            n += 1;
            let mut random = Random(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let mut data = seeds[random.below(seeds.len())].1.clone();
            mutate(&mut data, &mut random);
            if random.below(2) == 0 {
                repair(&mut data);
            }
            let outcome = std::panic::catch_unwind(|| body(&data));
            if outcome.is_err() {
                let kept = std::env::temp_dir().join(format!("larder-fuzz-{target}-{n}.bin"));
                fs::write(&kept, &data).unwrap();
                panic!("{target} fails on mutation {n}; the bytes are in {}", kept.display());
            }
        }
        // Shown with `--nocapture`.
        eprintln!("{target}: {} seeds and {n} mutations in {seconds} s", seeds.len());
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::layout::RECORD_HEADER_LEN,
        replay::{run, seeds},
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
