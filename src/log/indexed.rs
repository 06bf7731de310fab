//! Logs with an index on the real disk: that it is made, used, and never trusted blindly.

use super::{
    Log, Options, Times,
    env::Env,
    sim::Call,
    watched::{Told, Watched},
};
use crate::ErrorKind;
use std::{
    fs, io,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// A log of many entries with an index, reopened.
fn indexed(path: &std::path::Path, options: &Options) -> Log {
    let log = Log::open(path, Options::new().fast_save(true)).unwrap();
    for n in 0..3000_u32 {
        log.put_parts(format!("key {n}"), n.to_le_bytes(), vec![b'v'; n as usize % 700], Times::kept(i64::from(n)))
            .unwrap();
    }
    for n in (0..3000).step_by(7) {
        log.delete(format!("key {n}")).unwrap();
    }
    log.alias("alias", "key 1").unwrap();
    log.close().unwrap();
    Log::open(path, options.clone()).unwrap()
}

fn check_indexed(log: &Log) {
    for n in 0..3000_u32 {
        let wanted = (n % 7 != 0).then(|| vec![b'v'; n as usize % 700]);
        assert_eq!(log.get(format!("key {n}")).unwrap().as_deref(), wanted.as_deref(), "key {n}");
    }
    assert_eq!(log.get("key 3000").unwrap(), None);
    assert_eq!(log.get("alias").unwrap().unwrap(), vec![b'v'; 1]);
    assert_eq!(log.len().unwrap(), 3000 - 429);
    assert_eq!(log.iter().count(), 3000 - 429);
    let mut created: Vec<_> = log.iter().map(|item| item.unwrap().1.times.created_ms).collect();
    assert!(created.is_sorted());
    created.dedup();
    assert_eq!(created.len(), 3000 - 429);
}

#[test]
fn closing_a_large_log_leaves_an_index_and_opening_reads_nothing_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    for options in [Options::new(), Options::new().map_index(false)] {
        let log = indexed(&path, &options);
        assert!(log.shared.generation().view().segment().is_some());
        assert_eq!(log.shared.generation().view().records(), 1, "opening walks over the record of the index alone");
        check_indexed(&log);
        // What is written behind the index goes before it.
        log.put("key 1", "new").unwrap();
        log.delete("key 2").unwrap();
        log.put("key 7", "back").unwrap();
        let check = |log: &Log| {
            assert_eq!(log.get("alias").unwrap().as_deref(), Some(&b"new"[..]));
            assert_eq!(log.get("key 2").unwrap(), None);
            assert_eq!(log.get("key 7").unwrap().as_deref(), Some(&b"back"[..]));
            assert_eq!((log.len().unwrap(), log.iter().count()), (3000 - 429, 3000 - 429));
        };
        check(&log);
        log.close().unwrap();
        let log = Log::open(&path, options).unwrap();
        check(&log);
        log.compact().unwrap();
        check(&log);
        assert!(log.shared.generation().view().segment().is_some(), "a compaction leaves an index too");
        assert_eq!(log.shared.generation().view().tail_keys(), 0);
        log.clear().unwrap();
        assert!(log.is_empty().unwrap() && log.get("key 1").unwrap().is_none() && log.iter().next().is_none());
        log.close().unwrap();
    }
}

#[test]
fn a_rotten_page_costs_the_index_and_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let log = indexed(&path, &Options::new());
    let (offset, len) = {
        let generation = log.shared.generation();
        let view = generation.view();
        let segment = view.segment().unwrap();
        (segment.offset(), segment.len())
    };
    log.close().unwrap();
    let sound = fs::read(&path).unwrap();
    for page in 0..len / 4096 {
        for options in [Options::new(), Options::new().map_index(false)] {
            let mut rotten = sound.clone();
            rotten[usize::try_from(offset + page * 4096 + 30).unwrap()] ^= 1;
            fs::write(&path, &rotten).unwrap();
            let log = Log::open(&path, options).unwrap();
            check_indexed(&log);
            assert!(log.shared.generation().view().segment().is_none(), "page {page} was believed");
            log.put("key 1", "v").unwrap();
            log.checkpoint().unwrap();
            assert!(log.shared.generation().view().segment().is_some());
            check_indexed(&log);
            log.close().unwrap();
        }
    }
}

#[test]
fn a_file_that_ends_within_its_index_is_read_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    indexed(&path, &Options::new()).close().unwrap();
    let sound = fs::read(&path).unwrap();
    // The index is the last record of the file.
    for cut in [1, 4096, 40_000] {
        fs::write(&path, &sound[..sound.len() - cut]).unwrap();
        let log = Log::open(&path, Options::new().read_only(true)).unwrap();
        check_indexed(&log);
        assert!(log.shared.generation().view().segment().is_none());
    }
}

/// A handle as of another process.
fn elsewhere(path: &std::path::Path) -> Log {
    Watched::unwatched().open(path, &Options::new())
}

#[test]
fn nobody_stands_on_an_index_that_it_merely_walked_past() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let (walker, writer) = (elsewhere(&path), elsewhere(&path));
    for n in 0..300_u32 {
        writer.put(format!("key {n}"), n.to_le_bytes()).unwrap();
        walker.put(format!("mine {n}"), n.to_le_bytes()).unwrap();
        if n % 100 == 50 {
            writer.checkpoint().unwrap();
        }
    }
    assert_eq!(walker.len().unwrap(), 600);
    assert!(walker.shared.generation().view().segment().is_none());
    assert!(writer.shared.generation().view().segment().is_some());
    for log in [&walker, &writer, &elsewhere(&path)] {
        for n in 0..300_u32 {
            for name in ["key", "mine"] {
                assert_eq!(log.get(format!("{name} {n}")).unwrap().unwrap(), n.to_le_bytes().to_vec());
            }
        }
    }
}

#[test]
fn a_bad_index_beside_a_second_damage_shortens_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let log = indexed(&path, &Options::new().map_index(false));
    log.put("behind", "the index").unwrap();
    let (segment, record) = {
        let generation = log.shared.generation();
        let hash = generation.header.hash(b"key 1501");
        let record = generation.find(hash).unwrap().unwrap().offset;
        let view = generation.view();
        (view.segment().map(|segment| (segment.offset(), segment.len())).unwrap(), record)
    };
    let whole = fs::read(&path).unwrap();
    let mut rotten = whole.clone();
    rotten[usize::try_from(record).unwrap() + 20] ^= 1;
    for page in 1..segment.1 / 4096 {
        rotten[usize::try_from(segment.0 + page * 4096 + 30).unwrap()] ^= 1;
    }
    // In place, as rot comes: the same inode, under an open handle.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&rotten, 0).unwrap();
    assert_eq!(log.get("key 2000").unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(log.put("key 2000", "new").unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(log.get("behind").unwrap().as_deref(), Some(&b"the index"[..]), "what needs no index is there");
    log.close().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), whole.len() as u64, "nobody may cut the file");
}

#[test]
fn nobody_waits_for_a_sync_that_cannot_reach_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path().join("c.larder"), Options::new()).unwrap();
    log.put("key", "value").unwrap();
    let generation = log.shared.generation();
    let (disk, path) = (Arc::clone(&log.shared.env.disk), log.path().to_path_buf());
    let waits = thread::spawn(move || generation.wait_until_synced(generation.seen() + 8, &*disk, &path));
    for _ in 0..1000 {
        if waits.is_finished() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(waits.is_finished(), "it waits for ever");
    assert_eq!(waits.join().unwrap().unwrap_err().kind(), ErrorKind::Damaged);
}

#[test]
fn a_file_on_which_a_sync_has_failed_gets_no_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let fails = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&fails);
    let disk = Watched::new(move |told| {
        if told == Told::Before(Call::Sync) && now.load(Ordering::Relaxed) {
            Err(io::Error::other("no sync"))
        } else {
            Ok(())
        }
    });
    let log = disk.open(&path, &Options::new());
    log.put("key", "value").unwrap();
    fails.store(true, Ordering::Relaxed);
    assert_eq!(log.put("key", "other").unwrap_err().kind(), ErrorKind::Io);
    fails.store(false, Ordering::Relaxed);
    let len = fs::metadata(&path).unwrap().len();
    assert_eq!(log.checkpoint().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(fs::metadata(&path).unwrap().len(), len);
    log.compact().unwrap();
    log.checkpoint().unwrap();
}

#[test]
fn a_forked_child_waits_for_no_lock_that_a_thread_of_its_parent_holds() {
    static PID: AtomicU32 = AtomicU32::new(1);
    let folder = tempfile::tempdir().unwrap();
    let env = Env { pid: || PID.load(Ordering::Relaxed), shared: false, background: false, ..Env::default() };
    let log = Log::open_in(env, &folder.path().join("c.larder"), &Options::new().fast_save(true)).unwrap();
    log.put("key", "value").unwrap();
    let parent = log.shared.generation();
    // At the fork another thread was in the middle of a sync and of a checkpoint; in the child it is not there.
    let _sync = parent.sync.lock().unwrap();
    assert!(parent.checkpointing.enter(Duration::ZERO) && parent.gate.enter(Duration::ZERO));
    PID.store(2, Ordering::Relaxed);
    let child = thread::spawn(move || {
        log.put("key", "of the child").unwrap();
        log.flush().unwrap();
        log.checkpoint().unwrap();
        log.compact().unwrap();
        assert_eq!(log.get("key").unwrap().as_deref(), Some(&b"of the child"[..]));
        log.close().unwrap();
    });
    for _ in 0..1000 {
        if child.is_finished() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(child.is_finished(), "it waits for ever");
    child.join().unwrap();
}
