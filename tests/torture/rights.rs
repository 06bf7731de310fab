//! Files and folders that may only be read, formats of other versions, and clocks that are wrong.

use crate::{body, names, number, user::User};
use larder::{
    ErrorKind,
    log::{Clock, Log, Options, SystemClock, Times},
};
use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    time::Duration,
};

fn filled(path: &Path) {
    let log = Log::open(path, Options::new()).expect("the cache opens");
    (0..10).for_each(|at| log.put(format!("key-{at}"), body(at)).expect("a put"));
}

fn get(log: &Log, key: &str) -> Option<u64> {
    log.get(key).expect("a read").map(|value| number(&value).expect("a whole value"))
}

#[test]
#[ignore = "needs root to become somebody else; run by ./test"]
fn in_a_folder_that_may_only_be_read_a_cache_is_read_and_written_and_not_compacted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (open, closed) = (folder.path().join("open"), folder.path().join("closed"));
    // Everybody may get there, and start this program.
    let program = folder.path().join("program");
    fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy");
    for path in [folder.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    for (path, mode) in [(&open, 0o666), (&closed, 0o444)] {
        fs::create_dir(path).expect("a folder");
        filled(&path.join("c.larder"));
        fs::set_permissions(path.join("c.larder"), fs::Permissions::from_mode(mode)).expect("a mode");
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).expect("a mode");
    }
    let before = fs::read(closed.join("c.larder")).expect("the file");
    let mut command =
        crate::again::command_of(&program, "rights::the_part_of_nobody", &folder.path().display().to_string());
    let status =
        command.uid(65_534).gid(65_534).status().expect("this program starts as another user, which needs root");
    assert!(status.success(), "{status}");
    assert_eq!(fs::read(closed.join("c.larder")).expect("the file"), before);
    for path in [&open, &closed] {
        assert_eq!(names(path), ["c.larder"]);
    }
    assert_eq!(User::open(&open.join("c.larder")).ask("get new"), "7");
}

/// Nothing, unless this process was started as somebody who may not do much.
#[test]
fn the_part_of_nobody() {
    let Some(folder) = crate::again::task() else { return };
    let (open, closed) = (Path::new(&folder).join("open"), Path::new(&folder).join("closed"));
    let log = Log::open(open.join("c.larder"), Options::new()).expect("a file that may be written");
    log.put("new", body(7)).expect("a put needs no right in the folder");
    assert_eq!(get(&log, "new"), Some(7));
    let error = log.compact().expect_err("no file can be made here");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    log.put("new", body(7)).expect("the cache goes on");
    log.checkpoint().expect("a checkpoint needs no right in the folder");
    log.close().expect("a close");
    let error = Log::open(open.join("another.larder"), Options::new()).expect_err("no file can be made here");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");

    let error = Log::open(closed.join("c.larder"), Options::new()).expect_err("the file may only be read");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    let log = Log::open(closed.join("c.larder"), Options::new().read_only(true)).expect("the file may be read");
    (0..10).for_each(|at| assert_eq!(get(&log, &format!("key-{at}")), Some(at)));
    assert_eq!(log.put("new", body(7)).expect_err("read only").kind(), ErrorKind::ReadOnly);
    assert!(log.check().expect("a check").is_sound());
}

#[test]
fn a_file_of_a_newer_version_is_untouched_and_one_with_unknown_extras_is_used() {
    // Where the number stands in the file header, by FORMAT.md, and what becomes of opening, reading and writing.
    let cases: [(&str, usize, Option<ErrorKind>, Option<ErrorKind>); 4] = [
        ("major", 10, Some(ErrorKind::NewerFormat), None),
        ("incompat", 12, Some(ErrorKind::NewerFormat), None),
        ("ro_compat", 16, None, Some(ErrorKind::NewerFormat)),
        ("compat", 20, None, None),
    ];
    for (what, at, opening, writing) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.larder");
        Log::open(&path, Options::new()).expect("the cache opens");
        let mut bytes = fs::read(&path).expect("the file");
        bytes[at] += 1;
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, &bytes).expect("the file");
        let opened = [false, true].map(|read_only| Log::open(&path, Options::new().read_only(read_only)));
        match opened {
            [Ok(log), Ok(reader)] => {
                assert_eq!(opening, None, "{what}");
                assert_eq!(reader.get("key").expect("a read"), None);
                let results = [log.put("key", body(1)), log.delete("key").map(drop), log.compact(), log.clear()];
                assert_eq!(results.map(|result| result.err().map(|error| error.kind())), [writing; 4], "{what}");
            }
            [Err(error), Err(other)] => assert_eq!([Some(error.kind()), Some(other.kind())], [opening; 2], "{what}"),
            _ => panic!("{what}: those who write and those who read do not agree"),
        }
        let untouched = fs::read(&path).expect("the file") == bytes;
        assert_eq!(untouched, opening.or(writing).is_some(), "{what}");
        assert_eq!(names(folder.path()), ["c.larder"], "{what}");
    }
}

/// The system's clock, some years off.
#[derive(Debug)]
struct Off(i64);

impl Clock for Off {
    fn wall_ms(&self) -> i64 {
        SystemClock.wall_ms() + self.0 * 365 * 24 * 60 * 60 * 1000
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }
}

#[test]
fn a_clock_that_is_ten_years_off_costs_no_entry_that_was_to_be_kept() {
    let day = 24 * 60 * 60 * 1000;
    for years in [-10, 10] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.larder");
        let now = SystemClock.wall_ms();
        let right = Log::open(&path, Options::new().read_only(false)).expect("the cache opens");
        right.put("for ever", body(1)).expect("a put");
        let a_day = Times { created_ms: now, drop_after_ms: now + day };
        right.put_parts("a day", [], body(2), a_day).expect("a put");
        right.close().expect("a close");
        let check = |log: &Log| {
            let a_day = if years > 0 { None } else { Some(2) };
            assert_eq!([get(log, "for ever"), get(log, "a day")], [Some(1), a_day], "{years} years");
        };
        let log = Log::open(&path, Options::new().clock(Off(years))).expect("the cache opens");
        // Order is that of the log: what a clock in the past writes is the newer value all the same.
        for at in [7, 8] {
            log.put("over and over", body(at)).expect("a put");
            assert_eq!(get(&log, "over and over"), Some(at));
        }
        assert_eq!(
            [get(&log, "for ever"), get(&log, "a day")],
            [Some(1), Some(2)],
            "{years} years: reading drops nothing"
        );
        log.compact().expect("a compaction");
        check(&log);
        log.close().expect("a close");
        // And back in time.
        let right = Log::open(&path, Options::new()).expect("the cache opens");
        right.put("over and over", body(9)).expect("a put");
        right.compact().expect("a compaction");
        check(&right);
        assert_eq!(get(&right, "over and over"), Some(9));
        assert!(right.check().expect("a check").is_sound());
    }
}
