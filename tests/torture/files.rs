//! What stands in the folder: whose files are touched, and what a file looks like from outside.

use crate::{body, names, number};
use larder::{
    ErrorKind,
    log::{Log, Options},
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, SystemTime},
};

/// Files that are somebody else's.
fn foreign() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("text", b"Dear diary, today I wrote a cache.\n".repeat(400)),
        ("a short text", b"x".to_vec()),
        ("SQLite", [b"SQLite format 3\0".as_slice(), &[0; 4080]].concat()),
        ("many zeros", vec![0; 100_000]),
        ("almost ours", [b"LARDER\r\n\x1a\r".as_slice(), &[0; 20_000]].concat()),
    ]
}

fn mtime(path: &Path) -> SystemTime {
    fs::symlink_metadata(path).and_then(|meta| meta.modified()).expect("a time")
}

/// Content and time of a file.
fn state(path: &Path) -> (Vec<u8>, SystemTime) {
    (fs::read(path).expect("a file"), mtime(path))
}

fn filled(path: &Path) -> Log {
    let log = Log::open(path, Options::new()).expect("the cache opens");
    for at in 0..20 {
        log.put(format!("key {at}"), body(at)).expect("a put");
    }
    log
}

fn check(log: &Log, count: u64) {
    for at in 0..count {
        let value = log.get(format!("key {at}")).expect("a read").unwrap_or_else(|| panic!("{at} is lost"));
        assert_eq!(number(&value), Some(at));
    }
}

#[test]
fn five_hundred_reads_change_not_a_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.larder");
    let log = filled(&path);
    log.alias("alias", "key 1").expect("an alias");
    log.close().expect("a close");
    let before = state(&path);
    thread::sleep(Duration::from_millis(20));
    for read_only in [true, false] {
        let log = Log::open(&path, Options::new().read_only(read_only)).expect("the cache opens");
        for round in 0..500 {
            check(&log, 1);
            assert_eq!(log.get("alias").expect("a read").as_deref(), Some(&body(1)[..]));
            assert!(log.head(format!("key {}", round % 20)).expect("a read").is_some());
            assert_eq!(log.iter().flatten().count(), 20);
            assert_eq!(log.get("absent").expect("a read"), None);
        }
        assert!(log.check().expect("a check").is_sound());
        log.close().expect("a close");
    }
    assert_eq!(state(&path), before);
    assert_eq!(names(folder.path()), ["c.larder"]);
}

#[test]
fn a_file_of_another_kind_is_refused_and_untouched() {
    for (what, bytes) in foreign() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.larder");
        fs::write(&path, &bytes).expect("a file");
        let before = state(&path);
        for options in [Options::new(), Options::new().read_only(true)] {
            let error = Log::open(&path, options).map(|_| ()).expect_err(what);
            assert_eq!(error.kind(), ErrorKind::NotALarder, "{what}: {error}");
        }
        assert_eq!(state(&path), before, "{what}");
        assert_eq!(names(folder.path()), ["c.larder"], "{what}");
    }
}

#[test]
fn a_file_of_another_kind_at_the_name_of_the_new_file_is_refused_and_untouched() {
    for (what, bytes) in foreign() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, new) = (folder.path().join("c.larder"), folder.path().join("c.larder.new"));
        let log = filled(&path);
        fs::write(&new, &bytes).expect("a file");
        let before = state(&new);
        refuses_to_build(&log, what);
        drop(log);
        fs::remove_file(&path).expect("the cache");
        refuses_to_create(&path, what);
        assert_eq!(state(&new), before, "{what}");
    }
}

#[test]
fn a_fifo_a_symlink_and_a_hard_link_at_the_name_of_the_new_file_are_untouched() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, new) = (folder.path().join("c.larder"), folder.path().join("c.larder.new"));
    let precious = folder.path().join("precious");
    let log = filled(&path);
    // Even one that looks like ours is not to be written through a link.
    fs::copy(&path, &precious).expect("a copy");
    let before = state(&precious);
    let nowhere = folder.path().join("nowhere");
    let make: [(&str, Make<'_>); 4] = [
        ("a FIFO", &|at| mknodat(CWD, at, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO")),
        ("a symbolic link", &|at| symlink(&precious, at).expect("a link")),
        ("a link to nowhere", &|at| symlink(&nowhere, at).expect("a link")),
        ("a hard link", &|at| fs::hard_link(&precious, at).expect("a link")),
    ];
    for (what, make) in make {
        let (other, other_new) = (folder.path().join("d.larder"), folder.path().join("d.larder.new"));
        make(&new);
        refuses_to_build(&log, what);
        fs::remove_file(&new).expect("it is still there");
        make(&other_new);
        refuses_to_create(&other, what);
        fs::remove_file(&other_new).expect("it is still there");
    }
    assert_eq!(state(&precious), before);
    assert_eq!(names(folder.path()), ["c.larder", "precious"]);
    log.compact().expect("the way is free");
    check(&log, 20);
}

/// Puts something at a path.
type Make<'a> = &'a dyn Fn(&Path);

/// A compaction fails, and the cache goes on.
fn refuses_to_build(log: &Log, what: &str) {
    let error = log.compact().expect_err(what);
    assert_eq!(error.kind(), ErrorKind::NotALarder, "{what}: {error}");
    check(log, 20);
    log.put("more", body(1)).unwrap_or_else(|error| panic!("{what}: {error}"));
}

fn refuses_to_create(path: &Path, what: &str) {
    let error = Log::open(path, Options::new()).map(|_| ()).expect_err(what);
    assert_eq!(error.kind(), ErrorKind::NotALarder, "{what}: {error}");
    assert!(!path.exists(), "{what}");
}

#[test]
fn a_path_that_names_no_regular_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.larder");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    assert_eq!(Log::open(&path, Options::new()).expect_err("a FIFO").kind(), ErrorKind::NotALarder);
    fs::remove_file(&path).expect("the FIFO is still there");
    fs::create_dir(&path).expect("a folder");
    assert_eq!(Log::open(&path, Options::new()).expect_err("a folder").kind(), ErrorKind::NotALarder);
    assert_eq!(names(folder.path()), ["c.larder"]);
}

#[test]
fn a_file_of_length_0_is_taken_with_its_mode() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.larder");
    fs::write(&path, []).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
    filled(&path).close().expect("a close");
    assert_eq!(mode(&path), 0o640);
    check(&Log::open(&path, Options::new().read_only(true)).expect("the cache opens"), 20);
    assert_eq!(names(folder.path()), ["c.larder"]);
}

#[test]
fn the_file_is_its_owners_alone_and_a_compaction_keeps_its_mode() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.larder");
    let log = filled(&path);
    assert_eq!(mode(&path), 0o600);
    log.compact().expect("a compaction");
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).expect("a mode");
    log.compact().expect("a compaction");
    assert_eq!(mode(&path), 0o664);
    check(&log, 20);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn a_copy_cut_off_anywhere_opens_and_never_keeps_a_writer_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.larder");
    let log = filled(&path);
    let bytes = fs::read(&path).expect("the file");
    let ends = [64, 100, 4096, 5000, 8192, 12_287, 12_288].into_iter().chain((12_300..bytes.len()).step_by(613));
    for end in ends {
        let copy = folder.path().join(format!("copy-{end}.larder"));
        fs::write(&copy, &bytes[..end]).expect("a copy");
        let reader = Log::open(&copy, Options::new().read_only(true)).expect("a copy opens");
        let writer = Log::open(&copy, Options::new()).expect("a copy opens");
        let len = reader.len().expect("a count");
        check(&reader, len);
        let (done, wait) = mpsc::channel();
        let put = thread::spawn(move || {
            writer.put("more", "1").expect("a put");
            let _ = done.send(writer.len().expect("a count"));
        });
        let after = wait.recv_timeout(Duration::from_secs(20));
        assert_eq!(after, Ok(len + 1), "a put into a copy of {end} bytes");
        put.join().expect("a put");
        assert_eq!(reader.len().expect("a count"), len + 1, "a copy of {end} bytes");
    }
    drop(log);
}

#[test]
fn two_handles_of_one_process_see_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.larder");
    let (one, two) = (filled(&path), Log::open(&path, Options::new().fast_save(true)).expect("the cache opens"));
    check(&two, 20);
    two.put("key 0", body(100)).expect("a put");
    assert_eq!(one.get("key 0").expect("a read").as_deref(), Some(&body(100)[..]));
    one.compact().expect("a compaction");
    two.put("key 0", body(0)).expect("a put");
    check(&one, 20);
    two.clear().expect("a clear");
    assert_eq!(one.len().expect("a count"), 0);
    // A write from within a listing does not wait for itself.
    one.put("a", "1").expect("a put");
    for entry in &two {
        let (key, _) = entry.expect("an entry");
        two.delete(&key).expect("a delete");
    }
    assert_eq!(one.len().expect("a count"), 0);
}

#[test]
fn many_threads_write_and_read_at_once() {
    const THREADS: u64 = 12;
    const WRITES: u64 = 100;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.larder");
    let log = Log::open(&path, Options::new()).expect("the cache opens");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = log.clone();
            scope.spawn(move || {
                for at in (0..WRITES).map(|at| thread * WRITES + at) {
                    log.put(format!("key {at}"), body(at)).expect("a put");
                    let value = log.get(format!("key {at}")).expect("a read").expect("what was just put");
                    assert_eq!(number(&value), Some(at));
                    if at % 50 == 0 && thread < 2 {
                        log.compact().expect("a compaction");
                    }
                    let change = |entry: Option<larder::log::Entry>| {
                        let count = entry.and_then(|entry| number(&entry.body)).unwrap_or(0) + 1;
                        let times = larder::log::Times::kept(0);
                        larder::log::Change::Put { head: Vec::new(), body: body(count), times }
                    };
                    log.update("count", change).expect("an update");
                }
            });
        }
    });
    check(&log, THREADS * WRITES);
    assert_eq!(log.get("count").expect("a read").and_then(|value| number(&value)), Some(THREADS * WRITES));
    drop(log);
    check(&Log::open(&path, Options::new()).expect("the cache opens"), THREADS * WRITES);
}

#[test]
fn bodies_of_any_size_come_back_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.larder");
    let log = Log::open(&path, Options::new()).expect("the cache opens");
    let sizes = [0, 1, 7, 8, 4095, 4096, 4097, 1 << 16, (1 << 20) - 1, 1 << 20, (4 << 20) + 3, 40 << 20];
    let make = |size: usize| body(size as u64 | 1 << 40).into_iter().cycle().take(size).collect::<Vec<u8>>();
    for size in sizes {
        log.put(format!("size {size}"), make(size)).expect("a put");
    }
    let check = |log: &Log| {
        for size in sizes {
            let value = log.get(format!("size {size}")).expect("a read").expect("a value");
            assert!(value[..] == make(size)[..], "the body of {size} bytes");
        }
    };
    check(&log);
    log.compact().expect("a compaction");
    check(&log);
    drop(log);
    check(&Log::open(&path, Options::new().read_only(true)).expect("the cache opens"));
}
