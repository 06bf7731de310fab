//! Seeds and mutations of them, without a fuzzer.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Runs a body on its seeds, and for `LARDER_FUZZ_SECONDS` on mutations of them, every other one of them repaired.
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
pub(crate) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = vec![root.join("fuzz/seeds").join(target)];
    if ["open_bytes", "open_mutated"].contains(&target) {
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
