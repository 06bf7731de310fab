//! What many small entries cost: each put and get, and memory.

use crate::{
    phases::Bench,
    store::{Result, Store, Use},
    work::Random,
};
use std::{fs, hint::black_box, time::Instant};

const BODY: [u8; 100] = [b'b'; 100];
const BATCH: usize = 1000;
const GETS: usize = 100_000;

/// For each of these numbers of entries: microseconds for a put as that many are reached, and for a get of any, and the
/// bytes of memory that the process has come to take for each entry since it opened the store. Files that are mapped do
/// not count.
#[expect(clippy::cast_precision_loss, reason = "counts")]
pub fn run(bench: &Bench, counts: &[usize]) -> Result<Vec<f64>> {
    let before = anonymous_bytes()?;
    let store = bench.open(Use::Fast)?;
    let (mut values, mut done) = (Vec::new(), 0);
    for count in counts.iter().map(|count| bench.count(*count)) {
        // The last tenth of the way, which no longer feels how small the store was.
        let mut measured = (Instant::now(), done);
        while done < count {
            let items: Vec<_> = (done..count.min(done + BATCH)).map(key).collect();
            if measured.1 < count - count / 10 && done >= count - count / 10 {
                measured = (Instant::now(), done);
            }
            store.put_all(&items.iter().map(|key| (&key[..], &BODY[..])).collect::<Vec<_>>())?;
            done += items.len();
        }
        values.push(measured.0.elapsed().as_secs_f64() * 1e6 / (done - measured.1).max(1) as f64);
        values.push(micros_per_get(&*store, count)?);
        values.push(anonymous_bytes()?.saturating_sub(before) as f64 / count as f64);
    }
    Ok(values)
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn micros_per_get(store: &dyn Store, count: usize) -> Result<f64> {
    let mut random = Random::new(11);
    let keys: Vec<_> = (0..GETS.min(count * 4)).map(|_| key(random.below(count))).collect();
    let started = Instant::now();
    for key in &keys {
        black_box(store.get(key)?.ok_or("a body is missing")?.len());
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / keys.len() as f64)
}

fn key(i: usize) -> Vec<u8> {
    format!("GET https://api.example.com/v1/items/{i:08}?fields=all").into_bytes()
}

/// Memory of the process that no file stands behind.
fn anonymous_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}
