//! What people do with a cache file while programs have it open: move it, remove it, put another in its place, copy
//! over it, link it, copy it.

use crate::{again::wait_until, body, names, number, user::User};
use larder::log::{Log, Options};
use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// A folder with a cache of entries 0 to 9, and a second one that holds others.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().expect("a folder") };
        for (name, first) in [("c.larder", 0), ("other.larder", 100)] {
            let log = Log::open(scene.path(name), Options::new()).expect("the cache opens");
            (first..first + 10).for_each(|at| log.put(format!("key-{at}"), body(at)).expect("a put"));
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Two processes and this one with the cache open; this one reads only.
    fn users(&self) -> (User, User, Log) {
        let path = self.path("c.larder");
        let reader = Log::open(&path, Options::new().read_only(true)).expect("the cache opens");
        (User::open(&path), User::open(&path), reader)
    }
}

fn get(log: &Log, key: &str) -> Option<u64> {
    log.get(key).expect("a read").map(|value| number(&value).expect("a whole value"))
}

/// A file as it is now, under whatever name or none.
fn content(mut file: &File) -> Vec<u8> {
    use std::io::Seek as _;
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a file");
    bytes
}

#[test]
fn a_file_that_is_moved_away_is_left_alone_and_the_next_write_begins_another() {
    let scene = Scene::new();
    let (mut one, mut two, reader) = scene.users();
    fs::rename(scene.path("c.larder"), scene.path("moved.larder")).expect("a move");
    let moved = File::open(scene.path("moved.larder")).expect("the file");
    let before = content(&moved);
    // Where nothing stands, readers stay with what they have.
    assert_eq!([one.ask("get key-3"), two.ask("len")], ["3", "10"]);
    assert_eq!(one.ask("put new 7"), "ok");
    assert_eq!(two.ask("put new-too 8"), "ok");
    assert_eq!([one.ask("get new-too"), two.ask("get new"), two.ask("get key-3")], ["8", "7", "none"]);
    wait_until("the reader comes over", || get(&reader, "key-3").is_none());
    assert_eq!([get(&reader, "new"), get(&reader, "new-too")], [Some(7), Some(8)]);
    drop((one, two, reader));
    assert_eq!(content(&moved), before);
    let moved = Log::open(scene.path("moved.larder"), Options::new()).expect("the cache opens");
    (0..10).for_each(|at| assert_eq!(get(&moved, &format!("key-{at}")), Some(at)));
}

#[test]
fn a_file_that_is_removed_takes_no_more_writes() {
    let scene = Scene::new();
    let (mut one, mut two, reader) = scene.users();
    let gone = File::open(scene.path("c.larder")).expect("the file");
    let before = content(&gone);
    fs::remove_file(scene.path("c.larder")).expect("it goes");
    assert_eq!(one.ask("put new 7"), "ok");
    assert_eq!([two.ask("get new"), two.ask("len"), two.ask("compact"), one.ask("len")], ["7", "1", "ok", "1"]);
    assert_eq!(get(&reader, "new"), Some(7));
    drop((one, two));
    assert_eq!(content(&gone), before);
}

#[test]
fn another_cache_that_is_moved_over_it_is_the_cache_from_then_on() {
    let scene = Scene::new();
    let (mut one, mut two, reader) = scene.users();
    let gone = File::open(scene.path("c.larder")).expect("the file");
    let before = content(&gone);
    fs::rename(scene.path("other.larder"), scene.path("c.larder")).expect("a move");
    assert_eq!(one.ask("put new 7"), "ok");
    assert_eq!([two.ask("get key-105"), two.ask("get key-5"), two.ask("get new")], ["105", "none", "7"]);
    assert_eq!([get(&reader, "key-105"), get(&reader, "key-5"), get(&reader, "new")], [Some(105), None, Some(7)]);
    assert_eq!(
        [one.ask("len"), two.ask("compact"), one.ask("put key-105 1"), two.ask("get key-105")],
        ["11", "ok", "ok", "1"]
    );
    drop((one, two));
    assert_eq!(content(&gone), before);
}

#[test]
fn another_cache_that_is_copied_over_it_in_place_is_the_cache_from_then_on() {
    let scene = Scene::new();
    // Once the longer file comes over the shorter one, once the other way round.
    for (from, longer) in [("other.larder", true), ("c2.larder", false)] {
        fs::copy(scene.path("c.larder"), scene.path("c2.larder")).expect("a backup");
        if longer {
            let log = Log::open(scene.path("other.larder"), Options::new()).expect("the cache opens");
            (200..300).for_each(|at| log.put(format!("key-{at}"), body(at)).expect("a put"));
        }
        let (mut one, mut two, reader) = scene.users();
        assert_eq!(one.ask("put before 6"), "ok");
        fs::copy(scene.path(from), scene.path("c.larder")).expect("a copy");
        assert_eq!(one.ask("put new 7"), "ok");
        let [there, gone] = if longer { ["key-105", "key-5"] } else { ["key-5", "key-105"] };
        let at = if longer { 105 } else { 5 };
        // Until they look at what the file begins with, they find nothing where something stood.
        wait_until("the others come over", || two.ask("get new") == "7" && get(&reader, "new") == Some(7));
        assert_eq!(
            [one.ask(&format!("get {there}")), two.ask(&format!("get {there}"))],
            [at.to_string(), at.to_string()]
        );
        for key in [gone, "before"] {
            assert_eq!([one.ask(&format!("get {key}")), two.ask(&format!("get {key}"))], ["none", "none"]);
            assert_eq!(get(&reader, key), None);
        }
        assert_eq!(get(&reader, there), Some(at));
        drop((one, two, reader));
        let log = Log::open(scene.path("c.larder"), Options::new()).expect("the cache opens");
        assert!(log.check().expect("a check").is_sound());
        drop(log);
        fs::remove_file(scene.path("c.larder"))
            .and_then(|()| fs::rename(scene.path("c2.larder"), scene.path("c.larder")))
            .expect("the first cache again");
    }
}

#[test]
fn a_text_that_is_copied_over_it_is_not_written_to() {
    let scene = Scene::new();
    let (mut one, mut two, reader) = scene.users();
    let text = b"Dear diary, today I copied over a cache.\n".repeat(300);
    fs::write(scene.path("c.larder"), &text).expect("a text");
    assert_eq!([one.ask("put new 7"), two.ask("compact"), one.ask("put new 7")], ["NotALarder"; 3]);
    for at in 0..10 {
        // Nothing, the old value as long as it may be in memory, or an error; never anything else.
        let value = reader.get(format!("key-{at}")).ok().flatten();
        assert!(value.is_none_or(|value| number(&value) == Some(at)));
    }
    drop((one, two, reader));
    assert_eq!(fs::read(scene.path("c.larder")).expect("the text"), text);
    assert_eq!(names(scene.folder.path()), ["c.larder", "other.larder"]);
}

#[test]
fn a_hard_link_is_a_backup_once_the_cache_was_compacted() {
    let scene = Scene::new();
    let (mut one, mut two, reader) = scene.users();
    fs::hard_link(scene.path("c.larder"), scene.path("backup.larder")).expect("a link");
    // As long as both are names of one file, they are one cache.
    let mut third = User::open(&scene.path("backup.larder"));
    assert_eq!([one.ask("put shared 7"), third.ask("get shared")], ["ok", "7"]);
    assert_eq!([third.ask("put shared 8"), two.ask("get shared"), one.ask("put shared 9")], ["ok", "8", "ok"]);
    assert_eq!([two.ask("compact"), one.ask("put new 1"), two.ask("put key-1 5")], ["ok"; 3]);
    let backup = Log::open(scene.path("backup.larder"), Options::new()).expect("the backup opens");
    for log in [&backup, &reader] {
        assert_eq!([get(log, "shared"), get(log, "key-2")], [Some(9), Some(2)]);
    }
    assert_eq!([get(&backup, "key-1"), get(&reader, "key-1")], [Some(1), Some(5)]);
    assert_eq!([get(&backup, "new"), get(&reader, "new")], [None, Some(1)]);
    assert_eq!([third.ask("get new"), third.ask("put only-there 4"), third.ask("get key-1")], ["none", "ok", "1"]);
    assert_eq!([one.ask("get only-there"), two.ask("compact"), third.ask("compact")], ["none", "ok", "ok"]);
    assert_eq!([one.ask("len"), third.ask("len")], ["12", "12"]);
    assert_eq!(names(scene.folder.path()), ["backup.larder", "c.larder", "other.larder"]);
}

#[test]
fn a_symbolic_link_stays_one_and_both_names_are_one_cache() {
    let scene = Scene::new();
    let far = tempfile::tempdir().expect("a folder");
    let link = far.path().join("link.larder");
    symlink(scene.path("c.larder"), &link).expect("a link");
    let (mut one, mut two) = (User::open(&link), User::open(&scene.path("c.larder")));
    assert_eq!(
        [one.ask("put new 7"), two.ask("get new"), one.ask("compact"), two.ask("put new 8")],
        ["ok", "7", "ok", "ok"]
    );
    assert_eq!([one.ask("get new"), one.ask("len")], ["8", "11"]);
    let log = Log::open(&link, Options::new()).expect("the cache opens");
    assert_eq!(log.path(), fs::canonicalize(scene.path("c.larder")).expect("a path"));
    log.compact().expect("a compaction");
    assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
    // What is built anew is built beside the file, not beside the link.
    assert_eq!(names(far.path()), ["link.larder"]);
    assert_eq!(names(scene.folder.path()), ["c.larder", "other.larder"]);
}

#[test]
fn each_of_a_thousand_copies_of_the_open_file_is_a_state_that_it_was_in() {
    const COPIES: usize = 1000;
    const SLOTS: u64 = 32;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.larder");
    let done = AtomicBool::new(false);
    let log = Log::open(&path, Options::new().fast_save(true)).expect("the cache opens");
    thread::scope(|scope| {
        scope.spawn(|| {
            for at in 0.. {
                let mut batch = log.batch();
                for side in ["left", "right"] {
                    batch.put(format!("{side} {}", at % SLOTS), body(at));
                }
                batch.commit().expect("a batch");
                // Small enough to be copied often, and now and then the copy is of a file that is being replaced.
                if at % 500 == 499 {
                    log.compact().expect("a compaction");
                }
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let copy = folder.path().join("copy.larder");
        let mut last = 0;
        for round in 0..COPIES {
            fs::copy(&path, &copy).expect("a copy");
            let log = Log::open(&copy, Options::new()).expect("a copy opens");
            let newest = check_state(&log, SLOTS);
            assert!(newest >= last, "copy {round} ends at {newest}, the one before at {last}");
            last = newest;
            log.put("a copy", "takes writes").expect("a put");
            drop(log);
            fs::remove_file(&copy).expect("the copy");
        }
        done.store(true, Ordering::Relaxed);
        assert!(last > SLOTS, "the writer was kept from writing");
    });
}

/// Checks that a copy holds what the writer had written at some moment, all of it; returns its last number plus one.
fn check_state(log: &Log, slots: u64) -> u64 {
    let newest = (0..slots).filter_map(|slot| get(log, &format!("left {slot}"))).max();
    let end = newest.map_or(0, |newest| newest + 1);
    assert_eq!(log.len().expect("a count"), 2 * end.min(slots), "up to {end}");
    for at in end.saturating_sub(slots)..end {
        for side in ["left", "right"] {
            assert_eq!(get(log, &format!("{side} {}", at % slots)), Some(at), "{side} {}, up to {end}", at % slots);
        }
    }
    end
}

/// The name of what is open is not what counts.
#[test]
fn a_folder_that_is_moved_takes_its_cache_along() {
    let scene = Scene::new();
    let (old, new) = (scene.path("a"), scene.path("b"));
    fs::create_dir(&old).expect("a folder");
    let at = |folder: &Path| folder.join("c.larder");
    let mut user = User::open(&at(&old));
    assert_eq!(user.ask("put key 1"), "ok");
    fs::rename(&old, &new).expect("a move");
    assert_eq!(user.ask("get key"), "1");
    // The path names nothing, and there is no folder to make it in.
    assert_eq!(user.ask("put key 2"), "Io");
    fs::create_dir(&old).expect("a folder");
    assert_eq!([user.ask("put key 3"), user.ask("get key")], ["ok", "3"]);
    assert_eq!(get(&Log::open(at(&new), Options::new()).expect("the cache opens"), "key"), Some(1));
}
