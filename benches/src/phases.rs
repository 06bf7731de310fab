//! What is measured. Each phase runs in a process of its own, on an empty folder.

use crate::{
    entries,
    process::Writer,
    session,
    store::{Peer, Result, Store, Use},
    work::Work,
};
use std::{
    fs,
    hint::black_box,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Some work, and the rows of the table that come of it.
pub struct Phase {
    pub name: &'static str,
    pub rows: &'static [Row],
    /// One value for each row; the last ones are left out where the engine cannot.
    pub run: fn(&Bench) -> Result<Vec<f64>>,
}

/// A row of the table.
pub struct Row {
    pub label: &'static str,
    pub unit: &'static str,
    pub more_is_better: bool,
}

const fn more(label: &'static str, unit: &'static str) -> Row {
    Row { label, unit, more_is_better: true }
}

const fn less(label: &'static str, unit: &'static str) -> Row {
    Row { label, unit, more_is_better: false }
}

pub const PHASES: &[Phase] = &[
    Phase { name: "durable1", rows: &[more("durable put, 1 thread", "put/s")], run: |bench| puts(bench, 1) },
    Phase { name: "durable8", rows: &[more("durable put, 8 threads", "put/s")], run: |bench| puts(bench, 8) },
    Phase { name: "fast", rows: &[more("fast put", "put/s")], run: fast_puts },
    Phase { name: "batch", rows: &[less("1,000 puts in one durable batch", "ms")], run: batch },
    Phase { name: "get", rows: &[less("get, zipf", "us"), less("get, uniform", "us"), less("miss", "us")], run: gets },
    Phase { name: "hot", rows: &[less("get of 10 KiB, hot", "us"), less(SESSION_HIT, "us")], run: hot },
    Phase {
        name: "open",
        rows: &[
            less("open of 200,000 x 1 KiB + a get", "ms"),
            less("the same after kill -9", "ms"),
            less("clear of 200,000 x 1 KiB", "ms"),
        ],
        run: open_and_clear,
    },
    Phase {
        name: "space",
        rows: &[
            less("space after each key was put 3 times", "x live"),
            less("space after compaction", "x live"),
            more("compaction", "live MB/s"),
        ],
        run: space,
    },
    Phase {
        name: "beside",
        rows: &[
            less("get, reader alone", "us"),
            less("get beside a writing process", "us"),
            more("speed beside it / alone", "x"),
        ],
        run: beside,
    },
    Phase { name: "entries", rows: ENTRIES, run: |bench| entries::run(bench, &[1_000, 10_000, 100_000, 1_000_000]) },
    Phase { name: "entries7", rows: ENTRIES7, run: |bench| entries::run(bench, &[10_000_000]) },
];

/// A phase of minutes, which has to be asked for.
pub const LONG: &str = "entries7";
pub const SESSION_HIT: &str = "session.get(..).send(), hit of 10 KiB";

const ENTRIES: &[Row] = &[
    less("put at 10^3 entries", "us"),
    less("get at 10^3", "us"),
    less("memory for each of 10^3", "bytes"),
    less("put at 10^4 entries", "us"),
    less("get at 10^4", "us"),
    less("memory for each of 10^4", "bytes"),
    less("put at 10^5 entries", "us"),
    less("get at 10^5", "us"),
    less("memory for each of 10^5", "bytes"),
    less("put at 10^6 entries", "us"),
    less("get at 10^6", "us"),
    less("memory for each of 10^6", "bytes"),
];
const ENTRIES7: &[Row] =
    &[less("put at 10^7 entries", "us"), less("get at 10^7", "us"), less("memory for each of 10^7", "bytes")];

/// One engine in one folder.
pub struct Bench {
    pub peer: &'static Peer,
    pub folder: PathBuf,
    pub scale: f64,
}

impl Bench {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "counts")]
    pub fn count(&self, full: usize) -> usize {
        (full as f64 * self.scale).ceil() as usize
    }

    pub fn open(&self, wanted: Use) -> Result<Box<dyn Store>> {
        (self.peer.open)(&self.folder, wanted)
    }

    /// Stores all items durably, and closes.
    fn load(&self, work: &Work) -> Result<()> {
        self.load_version(work, 0, 1000)
    }

    fn load_version(&self, work: &Work, version: usize, batch_len: usize) -> Result<()> {
        let store = self.open(Use::Durable)?;
        let items: Vec<_> = (0..work.len()).map(|i| work.item_in_version(i, version)).collect();
        items.chunks(batch_len).try_for_each(|items| store.put_all(items))
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn per_second(count: usize, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

fn millis(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

/// Every thread puts its share, all of them wait for the medium each time.
fn puts(bench: &Bench, threads: usize) -> Result<Vec<f64>> {
    let (work, store) = (Work::responses(bench.count(2000)), bench.open(Use::Durable)?);
    store.put(b"first", b"what is made on the first write is made")?;
    let (work, store) = (&work, &store);
    let started = Instant::now();
    thread::scope(|scope| {
        let put_share = move |first| {
            (first..work.len()).step_by(threads).try_for_each(|i| {
                let (key, body) = work.item(i);
                store.put(key, body)
            })
        };
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || put_share(first))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a thread has panicked")?)
    })?;
    Ok(vec![per_second(work.len(), started)])
}

fn fast_puts(bench: &Bench) -> Result<Vec<f64>> {
    let (work, store) = (Work::responses(bench.count(10_000)), bench.open(Use::Fast)?);
    store.put(b"first", b"what is made on the first write is made")?;
    let started = Instant::now();
    for i in 0..work.len() {
        let (key, body) = work.item(i);
        store.put(key, body)?;
    }
    Ok(vec![per_second(work.len(), started)])
}

fn batch(bench: &Bench) -> Result<Vec<f64>> {
    let (work, store) = (Work::responses(bench.count(1000)), bench.open(Use::Durable)?);
    store.put(b"first", b"what is made on the first write is made")?;
    let items: Vec<_> = (0..work.len()).map(|i| work.shared_item(i)).collect();
    let started = Instant::now();
    store.put_all_shared(&items)?;
    Ok(vec![millis(started)])
}

fn gets(bench: &Bench) -> Result<Vec<f64>> {
    let work = Work::responses(bench.count(10_000));
    bench.load(&work)?;
    let store = bench.open(Use::Durable)?;
    for i in 0..work.len() {
        expect(&*store, work.item(i))?;
    }
    let count = bench.count(50_000);
    let zipf = micros_per_get(&*store, &work, &work.zipf(count))?;
    let uniform = micros_per_get(&*store, &work, &work.uniform(count))?;
    let absent: Vec<_> = (0..bench.count(200_000)).map(|i| format!("GET https://api.example.com/none/{i}")).collect();
    let started = Instant::now();
    for key in &absent {
        if store.get(key.as_bytes())?.is_some() {
            return Err("a key is there that was never put".into());
        }
    }
    Ok(vec![zipf, uniform, 1e6 / per_second(absent.len(), started)])
}

/// Reads of what was read a moment ago; of larder also through a session.
fn hot(bench: &Bench) -> Result<Vec<f64>> {
    const KEYS: usize = 200;
    let work = Work::of_len(KEYS, 10 << 10);
    bench.load(&work)?;
    let store = bench.open(Use::Durable)?;
    let order: Vec<usize> = (0..bench.count(400_000)).map(|i| i % KEYS).collect();
    micros_per_get(&*store, &work, &order[..order.len().min(4 * KEYS)])?;
    let mut values = vec![micros_per_get(&*store, &work, &order)?];
    if bench.peer.name.starts_with("larder") {
        let tier = if bench.peer.name == "larder" { 32 << 20 } else { 0 };
        values.push(session::micros_per_hit(&bench.folder, tier, bench.count(100_000))?);
    }
    Ok(values)
}

/// The loop that all reads are measured with. It touches both ends of each body, and gives up on the rest of the order
/// after some seconds.
#[expect(clippy::cast_precision_loss, reason = "counts")]
fn micros_per_get(store: &dyn Store, work: &Work, order: &[usize]) -> Result<f64> {
    const TIME_MAX: Duration = Duration::from_secs(4);
    const CHUNK_LEN: usize = 100;
    let (started, mut done) = (Instant::now(), 0);
    for chunk in order.chunks(CHUNK_LEN) {
        for i in chunk {
            let body = store.get(work.item(*i).0)?.ok_or("a body is missing")?;
            black_box((body.first(), body.last()));
        }
        done += chunk.len();
        if started.elapsed() > TIME_MAX {
            break;
        }
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / done as f64)
}

fn expect(store: &dyn Store, (key, body): (&[u8], &[u8])) -> Result<()> {
    let found = store.get(key)?;
    if found.as_deref() == Some(body) { Ok(()) } else { Err("a body is missing or wrong".into()) }
}

fn open_and_clear(bench: &Bench) -> Result<Vec<f64>> {
    let work = Work::small(bench.count(200_000));
    bench.load(&work)?;
    let open = || -> Result<_> {
        let started = Instant::now();
        let store = bench.open(Use::Durable)?;
        expect(&*store, work.item(work.len() / 2))?;
        Ok((millis(started), store))
    };
    let (clean, store) = open()?;
    drop(store);
    let writer = Writer::start(bench, Use::Durable, "small", work.len())?;
    thread::sleep(Duration::from_millis(300));
    writer.kill()?;
    let (killed, store) = open()?;
    for i in (0..work.len()).step_by(997) {
        expect(&*store, work.item(i))?;
    }
    let started = Instant::now();
    store.clear()?;
    Ok(vec![clean, killed, millis(started)])
}

#[expect(clippy::cast_precision_loss, reason = "sizes")]
fn space(bench: &Bench) -> Result<Vec<f64>> {
    let work = Work::responses(bench.count(5000));
    // In pieces, so that engines that tidy up by themselves have the occasion.
    (0..3).try_for_each(|version| bench.load_version(&work, version, 100))?;
    let live = work.bytes() as f64;
    let used = settled_size(&bench.folder)? as f64 / live;
    let store = bench.open(Use::Durable)?;
    let started = Instant::now();
    if !store.compact()? {
        return Ok(vec![used]);
    }
    let rate = live / 1e6 / started.elapsed().as_secs_f64();
    let compacted = settled_size(&bench.folder)? as f64 / live;
    expect(&*bench.open(Use::Durable)?, work.item_in_version(work.len() / 2, 2))?;
    Ok(vec![used, compacted, rate])
}

/// The space that the folder takes on the disk, once nobody works on it in the background any more.
fn settled_size(folder: &Path) -> Result<u64> {
    const PAUSE: Duration = Duration::from_millis(300);
    let mut size = size_of(folder)?;
    for _ in 0..50 {
        thread::sleep(PAUSE);
        let before = std::mem::replace(&mut size, size_of(folder)?);
        if size == before {
            break;
        }
    }
    Ok(size)
}

fn size_of(folder: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => size += size_of(&path)?,
            Ok(meta) => size += meta.blocks() * 512,
            // Gone since it was listed.
            Err(_) => {}
        }
    }
    Ok(size)
}

fn beside(bench: &Bench) -> Result<Vec<f64>> {
    let work = Work::responses(bench.count(2000));
    bench.load(&work)?;
    let store = bench.open(Use::BesideWriter)?;
    let order = work.uniform(bench.count(100_000));
    micros_per_get(&*store, &work, &order)?;
    let alone = micros_per_get(&*store, &work, &order)?;
    let writer = Writer::start(bench, Use::BesideReader, "responses", work.len())?;
    let beside = micros_per_get(&*store, &work, &order)?;
    writer.kill()?;
    Ok(vec![alone, beside, alone / beside])
}
