//! What two hundred compactions leave behind: nothing.

use crate::{
    again::{join, setting, start, task},
    body, names, number,
};
use larder::log::{Log, Options};
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Compactions before the first look, so that all that is made once is made.
const WARM_UP: u64 = 20;

#[test]
fn two_hundred_compactions_leave_no_file_no_descriptor_no_map_and_no_block() {
    let folder = tempfile::tempdir().expect("a folder");
    // A process of its own: other tests open files meanwhile.
    join(start("leaks::the_part_that_compacts", &folder.path().display().to_string()), "a process that compacts");
}

/// What this process holds, and what its file takes.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    files: Vec<String>,
    descriptors: Vec<PathBuf>,
    threads: usize,
    /// Mappings of files in the folder.
    maps: usize,
    blocks: u64,
}

impl Holdings {
    fn now(folder: &Path) -> Self {
        // Places of what only just went are still listed, with their number.
        let list = |path: &str| fs::read_dir(path).expect("a folder of proc").flatten();
        let mut descriptors: Vec<_> = list("/proc/self/fd").filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
        descriptors.retain(|path| path.starts_with(folder));
        descriptors.sort();
        let maps = fs::read_to_string("/proc/self/maps").expect("maps");
        let place = folder.to_str().expect("a path in UTF-8");
        Self {
            files: names(folder),
            descriptors,
            threads: list("/proc/self/task").count(),
            maps: maps.lines().filter(|line| line.contains(place)).count(),
            blocks: fs::metadata(folder.join("c.larder")).expect("the file").blocks(),
        }
    }
}

/// Nothing, unless this process was started to compact.
#[test]
fn the_part_that_compacts() {
    let Some(folder) = task() else { return };
    let (folder, count) = (PathBuf::from(folder), setting("LARDER_COMPACTIONS", 200));
    let path = folder.join("c.larder");
    let log = Log::open(&path, Options::new()).expect("the cache opens");
    let reader = Log::open(&path, Options::new().read_only(true)).expect("the cache opens");
    for at in 0..2000 {
        log.put(format!("fixed {at}"), body(7)).expect("a put");
    }
    log.checkpoint().expect("a checkpoint");
    let mut before = None;
    for at in 0..WARM_UP + count {
        round(&log, &reader, at);
        if at + 1 == WARM_UP {
            before = Some(Holdings::now(&folder));
        }
    }
    let (before, after) = (before.expect("a first look"), Holdings::now(&folder));
    assert_eq!(before, after, "after {count} compactions");
    assert_eq!(after.files, ["c.larder"]);
    assert!(after.descriptors.len() == 2 && after.maps <= 2, "{after:?}");
    let live = log.stats().expect("sizes").live_bytes;
    assert!(after.blocks * 512 <= live + live / 10 + (1 << 20), "{after:?} for {live} bytes that live");
    eprintln!("{count} compactions, then {after:?}");
}

/// Everything that opens files, maps or memory for a generation, and one compaction.
fn round(log: &Log, reader: &Log, at: u64) {
    for n in 0..4 {
        log.put(format!("key {n}"), body(at)).expect("a put");
    }
    let mut writer = log.writer("stream", []).expect("a stream");
    for _ in 0..3 {
        writer.write_all(&vec![7; 700_000]).expect("a piece");
    }
    writer.commit().expect("a value");
    let dropped = log.writer("dropped", []).map(|mut writer| writer.write_all(&vec![7; 3 << 20]).map(drop));
    dropped.expect("a stream").expect("a piece");
    let mut stream = log.reader("stream").expect("a read").expect("a value");
    let mut list = reader.iter();
    list.next().expect("an entry").expect("an entry");
    log.compact().expect("a compaction");
    // What was begun in the old generation ends in it.
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a body");
    assert_eq!(bytes.len(), 2_100_000);
    assert_eq!(list.flatten().count(), 2004);
    assert_eq!(reader.get("key 1").expect("a read").and_then(|value| number(&value)), Some(at));
}
