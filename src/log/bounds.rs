//! What long bodies may cost others, and what one bad place in the file may cost: counted call by call.

use super::{
    Change, Log, Options, Times, Write as Op,
    sim::Call,
    watched::{Told, Watched},
};
use crate::ErrorKind;
use std::{
    io::{self, Read, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

const MIB: usize = 1 << 20;

/// A number that grows with calls and falls back to nothing, and the highest that it has been.
#[derive(Default)]
struct Gauge {
    now: AtomicU64,
    max: AtomicU64,
}

impl Gauge {
    fn add(&self, len: usize) {
        let now = self.now.fetch_add(len as u64, Ordering::Relaxed) + len as u64;
        self.max.fetch_max(now, Ordering::Relaxed);
    }

    fn reset(&self) {
        self.now.store(0, Ordering::Relaxed);
    }

    fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }
}

/// A log on a disk that is gauged.
fn gauged(path: &Path, options: &Options, tell: impl Fn(Told, &Gauge) + Send + Sync + 'static) -> (Log, Arc<Gauge>) {
    let gauge = Arc::new(Gauge::default());
    let watched = Arc::clone(&gauge);
    let disk = Watched::new(move |told| {
        tell(told, &watched);
        Ok(())
    });
    (disk.open(path, options), gauge)
}

fn body(len: usize, seed: u8) -> Vec<u8> {
    let byte = |n: usize| u8::try_from(n % 251).unwrap().wrapping_mul(seed) ^ u8::try_from(n / 1000 % 256).unwrap();
    (0..len).map(byte).collect()
}

#[test]
fn no_write_holds_the_lock_for_more_than_8_mib() {
    let folder = tempfile::tempdir().unwrap();
    let (log, held) =
        gauged(&folder.path().join("c.larder"), &Options::new().fast_save(true), |told, held| match told {
            Told::Before(Call::Write { len, .. }) => held.add(len),
            Told::After(Call::Lock | Call::Unlock) => held.reset(),
            _ => {}
        });
    let whole = body(30 * MIB, 3);
    log.put("put", &whole).unwrap();
    log.update("update", |_| Change::Put { head: b"h".to_vec(), body: whole.clone(), times: Times::kept(1) }).unwrap();
    log.update("update", |entry| {
        assert_eq!(entry.unwrap().body, whole);
        Change::Put { head: b"i".to_vec(), body: whole.clone(), times: Times::kept(1) }
    })
    .unwrap();
    let mut writer = log.writer("stream", "head").unwrap();
    writer.write_all(&whole).unwrap();
    writer.commit().unwrap();
    let mut batch = log.batch();
    for n in 0..40 {
        batch.put(format!("large {n}"), &whole[n..n + MIB]);
    }
    for n in 0..1000 {
        batch.put(format!("middle {n}"), &whole[n..n + 20_000]);
        batch.put(format!("small {n}"), &whole[n..n + 10]);
    }
    batch.commit().unwrap();
    let version = log.head("put").unwrap().unwrap().version;
    log.update_head("put", version, "head", Times::kept(2)).unwrap();

    assert!(held.max() <= 8 * MIB as u64 + 400_000, "{} bytes under one hold of the lock", held.max());
    for key in ["put", "update", "stream"] {
        assert!(log.get(key).unwrap().unwrap() == whole, "{key}");
    }
    for n in 0..1000 {
        assert!(n >= 40 || log.get(format!("large {n}")).unwrap().unwrap() == whole[n..n + MIB]);
        assert!(log.get(format!("middle {n}")).unwrap().unwrap() == whole[n..n + 20_000]);
        assert!(log.get(format!("small {n}")).unwrap().unwrap() == whole[n..n + 10]);
    }
    assert!(log.check().unwrap().is_sound());
}

#[test]
fn a_long_update_gives_way_to_a_write_that_came_between_and_to_no_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let whole = body(9 * MIB, 3);
    for compacts in [false, true] {
        let other = Watched::unwatched().open(&path, &Options::new());
        let armed = Arc::new(AtomicBool::new(false));
        let fire = Arc::clone(&armed);
        // The first time that the update gives the lock back is after its closure has run.
        let disk = Watched::new(move |told| {
            if told == Told::After(Call::Unlock) && fire.swap(false, Ordering::AcqRel) {
                if compacts { other.compact().unwrap() } else { other.put("key", "between").unwrap() }
            }
            Ok(())
        });
        let log = disk.open(&path, &Options::new());
        log.put("key", "old").unwrap();
        armed.store(true, Ordering::Release);
        let done = log.update("key", |_| Change::Put { head: Vec::new(), body: whole.clone(), times: Times::kept(1) });
        if compacts {
            done.unwrap();
            assert!(log.get("key").unwrap().unwrap() == whole);
        } else {
            assert_eq!(done.unwrap_err().kind(), ErrorKind::Conflict);
            assert_eq!(log.get("key").unwrap().as_deref(), Some(&b"between"[..]));
        }
        assert!(!armed.load(Ordering::Acquire));
    }
}

#[test]
fn threads_that_store_one_staged_body_do_not_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new().fast_save(true).lock_timeout(Duration::from_secs(20));
    let log = Log::open(folder.path().join("c.larder"), options).unwrap();
    let whole = body(2 * MIB, 5);
    let mut stage = log.stage().unwrap();
    stage.write_all(&whole).unwrap();
    let staged = stage.finish().unwrap();
    let started = std::time::Instant::now();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (log, staged) = (&log, &staged);
            scope.spawn(move || {
                for n in 0..60 {
                    let (key, head) = (format!("{thread}:{n}").into(), "".into());
                    let put = Op::PutStaged { key, head, body: staged.clone(), times: Times::kept(0), aux: false };
                    log.apply(&[put]).unwrap();
                    if n % 20 == 19 {
                        log.compact().unwrap();
                    }
                }
            });
        }
    });
    // Two that wait for each other wait for the whole of the time-out.
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(log.len().unwrap(), 240);
    assert!(log.get("3:59").unwrap().unwrap() == whole);
}

#[test]
fn a_read_that_is_interrupted_for_ever_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let interrupts = Arc::new(AtomicU64::new(0));
    let left = Arc::clone(&interrupts);
    let disk = Watched::new(move |told| {
        let interrupted = matches!(told, Told::Before(Call::Read { .. })) && left.load(Ordering::Relaxed) > 0;
        if interrupted {
            left.fetch_sub(1, Ordering::Relaxed);
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    });
    let log = disk.open(&folder.path().join("c.larder"), &Options::new());
    let mut writer = log.writer("key", "").unwrap();
    writer.write_all(&body(3 * MIB, 5)).unwrap();
    writer.commit().unwrap();
    let mut reader = log.reader("key").unwrap().unwrap();
    interrupts.store(100_000, Ordering::Relaxed);
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::Other);
    assert!(interrupts.swap(0, Ordering::Relaxed) > 99_000);
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 3 * MIB);
}

#[test]
fn a_stream_leaves_no_more_than_64_mib_unsynced_without_any_thread_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let (log, unsynced) =
        gauged(&folder.path().join("c.larder"), &Options::new().fast_save(true), |told, unsynced| match told {
            Told::Before(Call::Write { len, .. }) => unsynced.add(len),
            Told::Before(Call::Sync) => unsynced.reset(),
            _ => {}
        });
    let mut writer = log.writer("key", "").unwrap();
    let piece = body(MIB, 7);
    for _ in 0..150 {
        writer.write_all(&piece).unwrap();
    }
    assert!(unsynced.max() <= 66 * MIB as u64, "{} bytes were never synced", unsynced.max());
    drop(writer);
}

#[test]
fn a_stream_does_not_go_on_unsynced_for_more_than_5_seconds() {
    #[derive(Debug, Default)]
    struct Slow(AtomicU64);
    impl super::Clock for Slow {
        fn wall_ms(&self) -> i64 {
            0
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (clock, syncs) = (Arc::new(Slow::default()), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&syncs);
    let disk = Watched::new(move |told| {
        count.fetch_add(u64::from(told == Told::Before(Call::Sync)), Ordering::Relaxed);
        Ok(())
    });
    let env = super::env::Env { clock: clock.clone(), ..disk.env() };
    let log = Log::open_in(env, &folder.path().join("c.larder"), &Options::new().fast_save(true)).unwrap();
    let mut writer = log.writer("key", "").unwrap();
    let (before, piece) = (syncs.load(Ordering::Relaxed), body(MIB, 7));
    for _ in 0..21 {
        writer.write_all(&piece).unwrap();
        clock.0.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(syncs.load(Ordering::Relaxed) - before, 3);
}

#[test]
fn check_and_expect_hold_no_whole_body_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (log, longest) = gauged(&folder.path().join("c.larder"), &Options::new(), |told, longest| {
        if let Told::Before(Call::Read { len, .. }) = told {
            longest.add(len);
            longest.reset();
        }
    });
    log.put("key", body(7 * MIB, 7)).unwrap();
    assert!(log.check().unwrap().is_sound());
    let mut batch = log.batch();
    batch.expect("key", None).put("key", "other");
    assert_eq!(batch.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert!(longest.max() <= MIB as u64, "{} bytes were read at once", longest.max());
    assert_eq!(log.get("key").unwrap().unwrap().len(), 7 * MIB);
}

#[test]
fn a_long_stream_is_no_reason_for_an_index_and_opening_passes_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let (log, _) = gauged(&path, &Options::new().fast_save(true), |_, _| {});
    for n in 0..2000 {
        log.put(format!("key {n}"), [7; 1000]).unwrap();
    }
    log.checkpoint().unwrap();
    let mut writer = log.writer("stream", "").unwrap();
    for n in 0..40 {
        writer.write_all(&body(MIB, n)).unwrap();
        assert!(!log.shared.checkpoint_is_due(&log.shared.generation()));
    }
    let (read_only, read) = gauged(&path, &Options::new().read_only(true), |told, read| {
        if let Told::Before(Call::Read { len, .. }) = told {
            read.add(len);
        }
    });
    assert_eq!(read_only.len().unwrap(), 2000);
    assert!(read.max() < 6 * MIB as u64, "opening has read {} bytes", read.max());
    writer.commit().unwrap();
    assert_eq!(read_only.get("stream").unwrap().unwrap().len(), 39 * MIB + MIB);
}

/// A log with an index whose records can be made unreadable one by one.
fn with_bad_sectors(path: &Path) -> (Log, Arc<AtomicU64>) {
    let writer = Log::open(path, Options::new().fast_save(true)).unwrap();
    for n in 0..2000_u32 {
        writer.put(format!("key {n}"), vec![7; 1000 + n as usize % 50]).unwrap();
    }
    writer.close().unwrap();
    let bad = Arc::new(AtomicU64::new(u64::MAX));
    let at = Arc::clone(&bad);
    let disk = Watched::new(move |told| match told {
        Told::Before(Call::Read { offset, len })
            if (offset..offset + len as u64).contains(&at.load(Ordering::Relaxed)) =>
        {
            Err(io::Error::other("a bad sector"))
        }
        _ => Ok(()),
    });
    let log = disk.open(path, &Options::new().fast_save(true).memory_tier(0));
    assert!(log.shared.generation().view().segment().is_some());
    (log, bad)
}

fn place_of(log: &Log, key: &str) -> u64 {
    let generation = log.shared.generation();
    generation.find(generation.header.hash(key.as_bytes())).unwrap().unwrap().offset
}

#[test]
fn an_unreadable_record_that_was_overwritten_elsewhere_costs_nothing() {
    for change in ["put", "delete"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.larder");
        let (log, bad) = with_bad_sectors(&path);
        bad.store(place_of(&log, "key 5"), Ordering::Relaxed);
        let other = Watched::unwatched().open(&path, &Options::new());
        let left = if change == "put" {
            other.put("key 5", "new").unwrap();
            2000
        } else {
            other.delete("key 5").unwrap();
            1999
        };
        let check = |log: &Log| {
            assert_eq!(log.get("key 9").unwrap().unwrap().len(), 1009);
            assert_eq!(log.get("key 5").unwrap().as_deref(), (change == "put").then_some(&b"new"[..]));
            assert_eq!(log.len().unwrap(), left);
            assert_eq!(log.iter().map(Result::unwrap).count() as u64, left);
        };
        check(&log);
        log.put("key 7", "more").unwrap();
        log.checkpoint().unwrap();
        check(&log);
        log.compact().unwrap();
        // The new file lies elsewhere.
        bad.store(u64::MAX, Ordering::Relaxed);
        check(&log);
        assert!(log.check().unwrap().is_sound());
    }
}

#[test]
fn an_unreadable_record_costs_its_own_key_and_can_be_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (log, bad) = with_bad_sectors(&folder.path().join("c.larder"));
    bad.store(place_of(&log, "key 5"), Ordering::Relaxed);
    assert_eq!(log.get("key 5").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(log.put("key 5", "new").unwrap_err().kind(), ErrorKind::Io);
    log.put("key 9", "new").unwrap();
    assert_eq!(log.get("key 9").unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(log.iter().filter(Result::is_err).count(), 1);
    assert!(log.delete("key 5").unwrap());
    log.put("key 5", "new").unwrap();
    assert_eq!(log.get("key 5").unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(log.len().unwrap(), 2000);
    log.compact().unwrap();
    bad.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(log.iter().map(Result::unwrap).count(), 2000);
}
