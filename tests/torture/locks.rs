//! Locks that somebody does not give back: a wait for them ends, and reading needs none.

use crate::{body, number, user::User};
use larder::{
    ErrorKind,
    log::{Log, Options},
};
use rustix::process::Signal;
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

/// A cache with one entry; its folder goes with it.
fn cache() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.larder");
    Log::open(&path, Options::new()).and_then(|log| log.put("key", body(1))).expect("a cache");
    (folder, path)
}

/// Writing fails in time, and reading does not wait.
fn is_busy(path: &Path) {
    let log = Log::open(path, Options::new().lock_timeout(SHORT)).expect("the cache opens");
    let kinds = [
        log.put("key", body(2)).expect_err("the lock is taken").kind(),
        log.delete("key").expect_err("the lock is taken").kind(),
        log.compact().expect_err("the lock is taken").kind(),
        log.clear().expect_err("the lock is taken").kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Busy; 4]);
    for log in [&log, &Log::open(path, Options::new().read_only(true)).expect("the cache opens")] {
        assert_eq!(log.get("key").expect("a read").and_then(|value| number(&value)), Some(1));
        assert_eq!(log.len().expect("a count"), 1);
    }
}

#[test]
fn a_writer_that_is_stopped_with_the_lock_keeps_others_waiting_no_longer_than_they_want() {
    let (_folder, path) = cache();
    let mut user = User::open(&path);
    assert_eq!(user.ask("hold held 7"), "locked");
    user.signal(Signal::STOP);
    is_busy(&path);
    // It is told to go on and does not hear it yet.
    user.tell("go on");
    is_busy(&path);
    user.signal(Signal::CONT);
    let log = Log::open(&path, Options::new().lock_timeout(LONG)).expect("the cache opens");
    log.put("key", body(2)).expect("a put");
    assert_eq!(user.answer(), "ok");
    assert_eq!(user.ask("get key"), "2");
    assert_eq!(log.get("held").expect("a read").and_then(|value| number(&value)), Some(7));
}

#[test]
fn a_writer_that_is_killed_with_the_lock_gives_it_back() {
    let (_folder, path) = cache();
    let mut user = User::open(&path);
    assert_eq!(user.ask("hold held 7"), "locked");
    is_busy(&path);
    drop(user);
    let log = Log::open(&path, Options::new().lock_timeout(LONG)).expect("the cache opens");
    log.put("key", body(2)).expect("a put");
    assert_eq!(log.get("held").expect("a read"), None);
}

#[test]
fn somebody_who_may_only_read_and_holds_the_lock_is_an_error_and_no_wait_without_end() {
    let (_folder, path) = cache();
    let holder = File::open(&path).expect("the file, to read");
    holder.lock().expect("the lock");
    is_busy(&path);
    holder.unlock().expect("the lock");
    Log::open(&path, Options::new().lock_timeout(LONG)).and_then(|log| log.put("key", body(2))).expect("a put");
}

#[test]
#[ignore = "needs root to be somebody else; run by ./test"]
fn another_user_who_may_only_read_and_holds_the_lock_is_an_error_and_no_wait_without_end() {
    const NOBODY: u32 = 65_534;
    let (folder, path) = cache();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
    let mut holder = Command::new("flock")
        .args(["--exclusive", "--no-fork"])
        .arg(&path)
        .args(["sh", "-c", "echo locked; exec sleep 600"])
        .uid(NOBODY)
        .gid(NOBODY)
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock starts as another user: this test needs root, and flock of util-linux");
    let mut line = String::new();
    let output = holder.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert_eq!(line, "locked\n");
    is_busy(&path);
    holder.kill().and_then(|()| holder.wait()).expect("its end");
    Log::open(&path, Options::new().lock_timeout(LONG)).and_then(|log| log.put("key", body(2))).expect("a put");
}
