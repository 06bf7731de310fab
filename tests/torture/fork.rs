//! Forks: what a child does with the handles of its parent. Each test begins in a process of its own.

use crate::{
    again::{join, start, task, wait_until},
    body, number,
    user::User,
};
use larder::{
    ErrorKind,
    log::{Change, Entry, Log, Options, Times},
};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use std::{
    fs::{self, File},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::exit,
    thread,
    time::Duration,
};

/// Does something in a forked child, and ends it.
#[expect(unsafe_code, reason = "there is no safe fork; the argument is below")]
fn fork(run: impl FnOnce()) -> Pid {
    unsafe extern "C" {
        fn fork() -> i32;
    }
    // SAFETY: fork(2) asks for nothing. What a child must not do is to use what other threads of its parent were
    // changing at that moment: the processes that come here were started for this alone and have one thread, and
    // where the engine has one in the background it sleeps. The signature is that of POSIX, where pid_t is an int.
    let pid = unsafe { fork() };
    assert!(pid >= 0, "the system does not fork");
    Pid::from_raw(pid).unwrap_or_else(|| exit(catch_unwind(AssertUnwindSafe(run)).is_err().into()))
}

fn wait_for(child: Pid) {
    let (_, status) = waitpid(Some(child), WaitOptions::empty()).expect("a child").expect("its end");
    assert_eq!(status.exit_status(), Some(0), "the child failed; its message is above");
}

/// Runs a part of this file in a process of its own, to its end.
fn in_a_process(part: &str, folder: &Path) {
    join(start("fork::the_part_of_a_parent", &format!("{part} {}", folder.display())), part);
}

/// Nothing, unless this process was started to fork.
#[test]
fn the_part_of_a_parent() {
    let Some(task) = task() else { return };
    let (part, folder) = task.split_once(' ').expect("a part and a folder");
    let folder = PathBuf::from(folder);
    match part {
        "dies-with-the-lock" => die_with_the_lock(&folder),
        "both" => both_write(&folder),
        _ => fork_in_an_update(&folder),
    }
}

fn cache(folder: &Path) -> PathBuf {
    folder.join("c.larder")
}

fn open(folder: &Path, lock_timeout: Duration) -> Log {
    Log::open(cache(folder), Options::new().lock_timeout(lock_timeout)).expect("the cache opens")
}

fn get(log: &Log, key: &str) -> Option<u64> {
    log.get(key).expect("a read").map(|value| number(&value).expect("a whole value"))
}

const COUNT: u64 = 150;
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_parent_and_its_children_write_through_the_same_handle() {
    let folder = tempfile::tempdir().expect("a folder");
    in_a_process("both", folder.path());
    let log = open(folder.path(), LONG);
    for who in ["parent", "child 0", "child 1", "child 2"] {
        for at in 0..COUNT {
            assert_eq!(get(&log, &format!("{who}, {at}")), Some(at), "{who}, {at}");
        }
    }
    assert!(log.check().expect("a check").is_sound());
}

fn both_write(folder: &Path) {
    let log = open(folder, LONG);
    // So that there is a thread in the background, which children do not have.
    let fast = Log::open(cache(folder), Options::new().fast_save(true).lock_timeout(LONG)).expect("the cache opens");
    fast.put("before", body(1)).expect("a put");
    let write = |log: &Log, who: &str| {
        for at in 0..COUNT {
            let log = if at % 2 == 0 { &fast } else { log };
            log.put(format!("{who}, {at}"), body(at)).expect("a put");
            assert_eq!(get(log, &format!("{who}, {at}")), Some(at));
            assert_eq!(get(log, "before"), Some(1));
        }
    };
    let children: Vec<_> = (0..3)
        .map(|child| {
            fork(|| {
                write(&log, &format!("child {child}"));
                if child == 0 {
                    log.compact().expect("a compaction");
                }
                fast.flush().expect("a flush");
                // In order or not, what it inherited goes without a word to the parent's lock.
                if child == 1 {
                    log.clone().close().expect("a close");
                }
            })
        })
        .collect();
    write(&log, "parent");
    children.into_iter().for_each(wait_for);
    write(&log, "parent");
}

#[test]
fn a_child_waits_for_its_parents_lock_and_does_not_free_it() {
    let folder = tempfile::tempdir().expect("a folder");
    in_a_process("update", folder.path());
    let log = open(folder.path(), LONG);
    assert_eq!([get(&log, "parent"), get(&log, "child"), get(&log, "third")], [Some(1), None, None]);
}

fn fork_in_an_update(folder: &Path) {
    let log = open(folder, Duration::from_millis(200));
    log.put("before", body(1)).expect("a put");
    let change = |_: Option<Entry>| {
        let child = fork(|| {
            assert_eq!(get(&log, "before"), Some(1));
            assert_eq!(log.put("child", body(1)).expect_err("the parent writes").kind(), ErrorKind::Busy);
            log.clone().close().expect("a close");
        });
        wait_for(child);
        // The lock is still there although a process has ended that had it too.
        let third = fork(|| {
            let own = Log::open(cache(folder), Options::new().lock_timeout(Duration::from_millis(200)));
            let error = own.expect("the cache opens").put("third", body(1)).expect_err("the parent writes");
            assert_eq!(error.kind(), ErrorKind::Busy);
        });
        wait_for(third);
        Change::Put { head: Vec::new(), body: body(1), times: Times::kept(0) }
    };
    log.update("parent", change).expect("an update");
}

#[test]
fn a_parent_that_is_killed_while_it_writes_leaves_a_child_that_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let mut parent = start("fork::the_part_of_a_parent", &format!("dies-with-the-lock {}", path.display()));
    wait_until("the parent has the lock", || path.join("locked").exists());
    parent.kill().and_then(|()| parent.wait()).expect("its end");
    // The child has the parent's file open, and with it the lock that nobody can free any more: a limit, not a hang.
    let log = open(path, Duration::from_millis(200));
    assert_eq!(log.put("other", body(1)).expect_err("the lock is taken").kind(), ErrorKind::Busy);
    assert_eq!(get(&log, "before"), Some(1));
    File::create(path.join("write")).expect("a word to the child");
    wait_until("the child has written", || path.join("written").exists());
    log.put("other", body(2)).expect("the lock is free");
    assert_eq!([get(&log, "child"), get(&log, "parent")], [Some(1), None]);
    assert_eq!(User::open(&cache(path)).ask("put third 3"), "ok");
    File::create(path.join("end")).expect("a word to the child");
    wait_until("the child has ended", || path.join("ended").exists());
}

fn die_with_the_lock(folder: &Path) {
    let log = open(folder, LONG);
    log.put("before", body(1)).expect("a put");
    fork(|| {
        wait_until("the parent has died and others have looked", || folder.join("write").exists());
        // Its first write opens the file anew, and lets go of what it shared with the parent.
        log.put("child", body(1)).expect("a put");
        fs::rename(folder.join("write"), folder.join("written")).expect("a word back");
        wait_until("others have written", || folder.join("end").exists());
        assert_eq!(get(&log, "other"), Some(2));
        fs::rename(folder.join("end"), folder.join("ended")).expect("a word back");
    });
    let change = |_: Option<Entry>| -> Change {
        File::create(folder.join("locked")).expect("a word");
        loop {
            thread::sleep(LONG);
            // Nobody kills it: then it does so itself.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    };
    log.update("parent", change).expect("an update");
}
