//! A disk that is full.

use crate::{
    again::{join, start, task},
    body, number,
};
use larder::{
    ErrorKind,
    log::{Log, Options},
};
use std::{fs::File, io::Write as _, path::Path, process::Command};

/// A small file system of its own, as long as this lives.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let size = format!("size={mebibytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        let mounted = mount.is_ok_and(|status| status.success());
        assert!(mounted, "a tmpfs could not be mounted at {}: this test needs root", folder.path().display());
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily, since a failing test may still have files open in it.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
#[ignore = "needs root to mount a tmpfs; run by ./test"]
fn a_full_disk_is_an_error_and_clear_makes_room() {
    // In a process of its own: one that another test starts has, for a moment, all files of this one open, and the space
    // of the old file with them.
    join(start("disk::the_part_of_who_fills_it", "fill"), "filling a disk");
}

/// Nothing, unless this process was started to fill a disk.
#[test]
fn the_part_of_who_fills_it() {
    if task().is_none() {
        return;
    }
    for fast_save in [false, true] {
        let disk = Tmpfs::mount(8);
        let path = disk.path().join("c.larder");
        let log = Log::open(&path, Options::new().fast_save(fast_save)).expect("the cache opens");
        let mut stored = 0;
        let error = loop {
            let bytes = [body(stored), vec![7; 100_000]].concat();
            match log.put(format!("key {stored}"), bytes) {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Full, "{error}");
        assert!(stored > 60, "full after {stored} puts");
        let check = |log: &Log| {
            for at in 0..stored {
                let value = log.get(format!("key {at}")).expect("a read").unwrap_or_else(|| panic!("{at} is lost"));
                assert_eq!(number(&value[..value.len() - 100_000]), Some(at));
            }
            assert_eq!(log.len().expect("a count"), stored);
        };
        check(&log);
        // Reading goes on in another process, and a small delete works in spite of all.
        check(&Log::open(&path, Options::new().read_only(true)).expect("the cache opens"));
        assert_eq!(log.put("too much", vec![7; 1 << 20]).expect_err("no room").kind(), ErrorKind::Full);
        check(&log);
        log.clear().expect("clear needs no room to speak of");
        assert_eq!(log.len().expect("a count"), 0);
        log.put("after", vec![7; 5 << 20]).expect("there is room again");
        assert_eq!(log.get("after").expect("a read").map(|value| value.len()), Some(5 << 20));
        assert!(log.check().expect("a check").is_sound());
    }
}

#[test]
#[ignore = "needs root to mount a tmpfs; run by ./test"]
fn deleting_works_on_a_disk_that_others_have_filled() {
    let disk = Tmpfs::mount(8);
    let path = disk.path().join("c.larder");
    let log = Log::open(&path, Options::new()).expect("the cache opens");
    for at in 0..20 {
        log.put(format!("key {at}"), body(at)).expect("a put");
    }
    // All but two pages: more than a delete needs, and less than a put may take.
    let path = disk.path().join("others");
    let mut others = File::create(&path).expect("room for others");
    while others.write_all(&[1; 4096]).is_ok() {}
    let size = others.metadata().expect("a size").len();
    others.set_len(size / 4096 * 4096 - 8192).expect("two pages");
    assert_eq!(log.put("more", vec![1; 20_000]).expect_err("no room").kind(), ErrorKind::Full);
    assert_eq!(log.get("more").expect("a read"), None);
    assert!(log.delete("key 3").expect("a delete"));
    assert_eq!(log.get("key 3").expect("a read"), None);
    log.clear().expect("a clear");
    std::fs::remove_file(&path).expect("others go");
    log.put("more", body(1)).expect("a put");
    assert_eq!(log.len().expect("a count"), 1);
}
