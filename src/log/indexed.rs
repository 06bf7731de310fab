//! Logs with an index on the real disk: that it is made, used, and never trusted blindly.

use super::{Log, Options, Times};
use std::fs;

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
