//! The handle on the real disk: what each call promises, one behaviour a test.

use super::{Change, Log, Options, Times, Write};
use crate::{ErrorKind, Result};
use bytes::Bytes;
use std::fs;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &TempDir) -> Log {
    Log::open(folder.path().join("cache.larder"), Options::new()).unwrap()
}

fn text(log: &Log, key: &str) -> Option<String> {
    log.get(key).unwrap().map(|body| String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn what_was_put_is_there_after_reopening() {
    let folder = folder();
    let log = open(&folder);
    log.put("a", "1").unwrap();
    log.put("b", "").unwrap();
    log.put("a", "2").unwrap();
    log.close().unwrap();
    let log = open(&folder);
    assert_eq!((text(&log, "a").as_deref(), text(&log, "b").as_deref()), (Some("2"), Some("")));
    assert_eq!((text(&log, "c"), log.len().unwrap()), (None, 2));
    assert!(log.check().unwrap().is_sound());
}

#[test]
fn a_second_handle_sees_what_the_first_writes() {
    let folder = folder();
    let writer = open(&folder);
    let reader = Log::open(folder.path().join("cache.larder"), Options::new().read_only(true)).unwrap();
    writer.put("a", "1").unwrap();
    assert_eq!(text(&reader, "a").as_deref(), Some("1"));
    writer.compact().unwrap();
    writer.put("a", "2").unwrap();
    assert_eq!(text(&reader, "a").as_deref(), Some("2"));
    assert_eq!(reader.put("a", "3").unwrap_err().kind(), ErrorKind::ReadOnly);
}

#[test]
fn an_alias_follows_its_target_until_that_is_deleted() {
    let folder = folder();
    let log = open(&folder);
    log.put("target", "1").unwrap();
    log.alias("alias", "target").unwrap();
    log.alias("alias of alias", "alias").unwrap();
    log.put("target", "2").unwrap();
    assert_eq!(text(&log, "alias of alias").as_deref(), Some("2"));
    assert!(log.delete("target").unwrap());
    log.put("target", "3").unwrap();
    assert_eq!((text(&log, "alias"), text(&log, "alias of alias")), (None, None));
    log.alias("early", "late").unwrap();
    assert!(!log.contains("early").unwrap());
    log.put("late", "4").unwrap();
    log.compact().unwrap();
    assert_eq!(text(&log, "early").as_deref(), Some("4"));
    assert_eq!(log.len().unwrap(), 2, "aliases do not count");
}

#[test]
fn a_ring_of_aliases_is_a_miss() {
    let folder = folder();
    let log = open(&folder);
    let mut batch = log.batch();
    for i in 0..10_000 {
        batch.alias(format!("{i}"), format!("{}", (i + 1) % 10_000));
    }
    batch.commit().unwrap();
    assert_eq!(text(&log, "0"), None);
    assert_eq!(text(&log, "9999"), None);
}

#[test]
fn an_alias_with_a_head_of_its_own_shows_that() {
    let folder = folder();
    let log = open(&folder);
    let times = |created_ms| Times { created_ms, drop_after_ms: 99 };
    log.put_parts("t", "head of t", "body", times(1)).unwrap();
    log.alias("plain", "t").unwrap();
    log.alias_with("hop", "t", "head of hop", times(2)).unwrap();
    let head = |key: &str| {
        let head = log.head(key).unwrap().unwrap();
        (String::from_utf8(head.head.to_vec()).unwrap(), head.times, head.body_len)
    };
    assert_eq!(head("t"), ("head of t".into(), times(1), 4));
    assert_eq!(head("plain"), ("head of t".into(), times(1), 4));
    assert_eq!(head("hop"), ("head of hop".into(), times(2), 4));
    let entry = log.entry("hop").unwrap().unwrap();
    assert_eq!((entry.alias_to.as_deref(), &entry.body[..]), (Some(&b"t"[..]), &b""[..]));
}

#[test]
fn a_batch_is_applied_whole_or_not_at_all() {
    let folder = folder();
    let log = open(&folder);
    log.put("a", "1").unwrap();
    let version = log.head("a").unwrap().unwrap().version;
    let commit = |expected| -> Result<()> {
        let mut batch = log.batch();
        batch.put("b", "2").delete("a").expect("a", expected);
        batch.commit()
    };
    assert_eq!(commit(None).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!((text(&log, "a").as_deref(), text(&log, "b")), (Some("1"), None));
    commit(Some(version)).unwrap();
    assert_eq!((text(&log, "a"), text(&log, "b").as_deref()), (None, Some("2")));
    assert_eq!(commit(Some(version)).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn update_reads_decides_and_writes_in_one() {
    let folder = folder();
    let log = open(&folder);
    let bump = || {
        let change = |current: Option<super::Entry>| {
            let n = current.map_or(0, |entry| entry.body[0]);
            Change::Put { head: vec![], body: vec![n + 1], times: Times::kept(0) }
        };
        log.update("n", change).unwrap();
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| bump()));
        }
    });
    assert_eq!(log.get("n").unwrap().as_deref(), Some(&[100][..]));
    log.update("n", |_| Change::Keep).unwrap();
    assert!(log.contains("n").unwrap());
    log.update("n", |_| Change::Delete).unwrap();
    assert!(!log.contains("n").unwrap());
}

#[test]
fn a_new_head_leaves_the_body_where_it_is() {
    let folder = folder();
    let log = open(&folder);
    let body = vec![7; 1 << 20];
    log.put_parts("a", "old", &body, Times::kept(1)).unwrap();
    let before = log.stats().unwrap().file_bytes;
    for n in 0..3_i64 {
        let version = log.head("a").unwrap().unwrap().version;
        log.update_head("a", version, format!("new {n}"), Times::kept(n)).unwrap();
        assert_eq!(log.update_head("a", version, "late", Times::kept(9)).unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert!(log.stats().unwrap().file_bytes - before < 1000);
    let check = |log: &Log| {
        let entry = log.entry("a").unwrap().unwrap();
        assert_eq!((&entry.head[..], entry.body.len()), (&b"new 2"[..], body.len()));
        assert_eq!(entry.body, body);
    };
    check(&log);
    log.compact().unwrap();
    check(&log);
    log.put("empty", "").unwrap();
    let version = log.head("empty").unwrap().unwrap().version;
    log.update_head("empty", version, "head", Times::kept(0)).unwrap();
    assert_eq!(text(&log, "empty").as_deref(), Some(""));
    drop(log);
    check(&open(&folder));
}

#[test]
fn clear_and_compact_give_the_space_back() {
    let folder = folder();
    let log = open(&folder);
    for i in 0..100 {
        log.put(format!("{}", i % 10), vec![i; 10_000]).unwrap();
    }
    let before = log.stats().unwrap();
    assert!(before.dead_bytes > 800_000, "{before:?}");
    log.compact().unwrap();
    let after = log.stats().unwrap();
    assert_eq!((after.dead_bytes, after.entries, after.live_bytes), (0, 10, before.live_bytes));
    assert_eq!(log.get("3").unwrap().as_deref(), Some(&[93; 10_000][..]));
    log.clear().unwrap();
    assert_eq!((log.len().unwrap(), text(&log, "3")), (0, None));
    assert!(log.stats().unwrap().file_bytes < 20_000);
    log.put("3", "again").unwrap();
    assert_eq!(text(&log, "3").as_deref(), Some("again"));
}

#[test]
fn auxiliary_values_are_neither_counted_nor_listed() {
    let folder = folder();
    let log = open(&folder);
    let put = |key: &'static str, aux| Write::Put {
        key: Bytes::from_static(key.as_bytes()),
        head: Bytes::from_static(b"h"),
        body: Bytes::new(),
        times: Times::kept(0),
        aux,
    };
    log.apply(&[put("shown", false), put("hidden", true)]).unwrap();
    assert_eq!(log.len().unwrap(), 1);
    let keys: Vec<_> = log.iter().map(|item| item.unwrap().0).collect();
    assert_eq!(keys, [b"shown"]);
    assert!(log.contains("hidden").unwrap());
}

#[test]
fn limits_hold_at_the_limit_and_fail_above_it() {
    let folder = folder();
    let log = open(&folder);
    assert_eq!(log.put("", "").unwrap_err().kind(), ErrorKind::InvalidInput);
    let key = vec![1; 64 << 10];
    log.put(&key, "v").unwrap();
    assert_eq!(log.put([&key[..], &[1]].concat(), "v").unwrap_err().kind(), ErrorKind::TooLarge);
    log.put_parts("h", vec![2; 1 << 20], "", Times::kept(0)).unwrap();
    let above = log.put_parts("h", vec![2; (1 << 20) + 1], "", Times::kept(0));
    assert_eq!(above.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(log.head("h").unwrap().unwrap().head.len(), 1 << 20);
    assert_eq!(text(&log, std::str::from_utf8(&key).unwrap()).as_deref(), Some("v"));
}

#[test]
fn a_file_of_another_kind_is_refused_and_left_alone() {
    let folder = folder();
    let path = folder.path().join("cache.larder");
    for content in [&b"some notes"[..], b"SQLite format 3\0", &[0; 9_000], b"L", b"LARDER"] {
        fs::write(&path, content).unwrap();
        let error = Log::open(&path, Options::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotALarder, "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::write(&path, b"").unwrap();
    let log = Log::open(&path, Options::new()).unwrap();
    log.put("a", "1").unwrap();
    assert_eq!(text(&log, "a").as_deref(), Some("1"));
}

#[test]
fn reading_changes_not_a_byte() {
    let folder = folder();
    let path = folder.path().join("cache.larder");
    let log = open(&folder);
    log.put("a", "1").unwrap();
    log.close().unwrap();
    let before = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    let log = open(&folder);
    for _ in 0..500 {
        assert_eq!(text(&log, "a").as_deref(), Some("1"));
    }
    assert_eq!(log.iter().count(), 1);
    log.close().unwrap();
    assert_eq!(before, (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap()));
}

#[test]
fn a_backup_copied_over_the_open_file_is_served_and_kept() {
    let folder = folder();
    let (path, backup) = (folder.path().join("cache.larder"), folder.path().join("backup.larder"));
    let other = Log::open(&backup, Options::new()).unwrap();
    for i in 0..100 {
        other.put(format!("restored {i}"), vec![7; 1000]).unwrap();
    }
    other.close().unwrap();
    for work in [|log: &Log| log.put("new", "1"), |log: &Log| log.compact()] {
        let log = Log::open(&path, Options::new()).unwrap();
        log.put("old", "0").unwrap();
        // In place: the same inode gets the bytes of another file.
        fs::write(&path, fs::read(&backup).unwrap()).unwrap();
        work(&log).unwrap();
        assert!(log.len().unwrap() >= 100);
        assert_eq!(log.get("restored 99").unwrap().as_deref(), Some(&[7; 1000][..]));
        drop(log);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_removed_file_is_made_again_by_a_write_and_not_by_closing() {
    let folder = folder();
    let path = folder.path().join("cache.larder");
    let log = open(&folder);
    log.put("a", "1").unwrap();
    fs::remove_file(&path).unwrap();
    let second = open(&folder);
    assert_eq!(second.len().unwrap(), 0, "another handle of the process begins anew");
    log.put("b", "2").unwrap();
    assert_eq!(text(&second, "b").as_deref(), Some("2"));
    fs::remove_file(&path).unwrap();
    log.compact().unwrap();
    assert!(path.exists());
    log.put("c", "3").unwrap();
    fs::remove_file(&path).unwrap();
    drop((log, second));
    assert!(!path.exists());
}

#[test]
fn a_get_on_a_file_that_was_emptied_makes_no_new_one() {
    let folder = folder();
    let path = folder.path().join("cache.larder");
    let log = open(&folder);
    log.put("a", "1").unwrap();
    fs::write(&path, "").unwrap();
    assert_eq!(log.get("a").unwrap_err().kind(), ErrorKind::NotALarder);
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    log.put("a", "2").unwrap();
    assert_eq!(text(&log, "a").as_deref(), Some("2"));
}

#[test]
fn a_rotten_record_in_synced_data_is_damage_and_a_rotten_value_can_be_written_again() {
    let folder = folder();
    let path = folder.path().join("cache.larder");
    let log = open(&folder);
    for i in 0..10 {
        log.put(format!("{i}"), vec![i; 1000]).unwrap();
    }
    let mut bytes = fs::read(&path).unwrap();
    let record_len = (bytes.len() - 12_288) / 10;
    let flip = |bytes: &mut Vec<u8>, at: usize| {
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
    };
    // A body: the value is absent, and may be expected to be.
    flip(&mut bytes, 12_288 + 3 * record_len + 500);
    assert_eq!(log.get("3").unwrap(), None);
    let mut batch = log.batch();
    batch.expect("3", None).put("3", "again");
    batch.commit().unwrap();
    assert_eq!(log.stats().unwrap().unsound_reads, 2);
    // A header: everything behind it is out of reach for whoever opens the file now.
    bytes = fs::read(&path).unwrap();
    flip(&mut bytes, 12_288 + 4 * record_len + 50);
    let report = log.check().unwrap();
    assert_eq!((report.end, report.is_sound()), (super::LogEnd::Damaged, false));
}

#[test]
fn repair_leaves_a_source_alone_that_stands_where_the_new_file_would_be_built() {
    let folder = folder();
    let log = open(&folder);
    log.put("a", "1").unwrap();
    log.close().unwrap();
    let (from, to) = (folder.path().join("saved.larder.new"), folder.path().join("saved.larder"));
    fs::rename(folder.path().join("cache.larder"), &from).unwrap();
    assert_eq!(super::repair(&from, &to).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(fs::metadata(&from).unwrap().len() > 12_288);
}

#[test]
fn odd_limits_and_odd_files_are_no_trouble() {
    let folder = folder();
    let log = Log::open(folder.path().join("a"), Options::new().lock_timeout(std::time::Duration::MAX)).unwrap();
    log.put("a", "1").unwrap();
    let error = Log::open(folder.path(), Options::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotALarder, "{error}");
    let missing = Log::open(folder.path().join("missing"), Options::new().read_only(true)).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io, "{missing}");
    let nowhere = Log::open(folder.path().join("no/folder"), Options::new()).unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::Io, "{nowhere}");
}

#[test]
fn bookkeeping_stays_bookkeeping_when_it_is_updated() {
    let folder = folder();
    let log = open(&folder);
    let key = Bytes::from_static(b"k");
    let aux = Write::Put { key, head: Bytes::new(), body: Bytes::new(), times: Times::kept(0), aux: true };
    log.apply(&[aux]).unwrap();
    log.update("k", |_| Change::Put { head: vec![], body: vec![1], times: Times::kept(0) }).unwrap();
    assert_eq!((log.len().unwrap(), log.get("k").unwrap().as_deref()), (0, Some(&[1][..])));
}

#[test]
fn a_file_is_compacted_by_itself_and_at_the_latest_when_it_is_closed() {
    let folder = folder();
    let path = folder.path().join("cache.larder");
    let overwrite = |log: &Log| (0..40).for_each(|i| log.put("a", vec![i; 1 << 20]).unwrap());
    let log = Log::open(&path, Options::new().fast_save(true)).unwrap();
    overwrite(&log);
    // The thread is woken by the write that makes it due; how long it takes is the machine's business.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while log.stats().unwrap().dead_bytes > 17 << 20 && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(log.stats().unwrap().dead_bytes <= 18 << 20, "{:?}", log.stats());
    assert_eq!(log.get("a").unwrap().as_deref(), Some(&vec![39; 1 << 20][..]));
    drop(log);

    let env = super::env::Env { background: false, shared: false, ..Default::default() };
    let log = Log::open_in(env, &path, &Options::new()).unwrap();
    overwrite(&log);
    assert!(fs::metadata(&path).unwrap().len() > 40 << 20);
    log.close().unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 2 << 20);
    assert_eq!(open(&folder).get("a").unwrap().as_deref(), Some(&vec![39; 1 << 20][..]));
}
