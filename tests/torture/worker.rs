//! Processes that write until they are killed.

use crate::{again, body};
use larder::{
    ErrorKind,
    log::{Log, Options},
};
use std::{fs, io::Write as _, path::PathBuf, process::Child};

/// Keys of one writer; each is overwritten again and again.
pub(crate) const KEYS: u64 = 40;
/// Every so many writes are a batch of two keys that always hold the same.
const BATCH_EVERY: u64 = 5;
const COMPACT_EVERY: u64 = 150;

/// What a worker does.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: usize,
    pub(crate) cache: PathBuf,
    /// The numbers of the writes that were acknowledged, 8 bytes each.
    pub(crate) acks: PathBuf,
    pub(crate) writes: bool,
    pub(crate) compacts: bool,
    pub(crate) fast_save: bool,
    /// The first number to write.
    pub(crate) first: u64,
}

impl Task {
    pub(crate) fn start(&self) -> Child {
        let task = format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}",
            self.id,
            self.cache.display(),
            self.acks.display(),
            self.writes,
            self.compacts,
            self.fast_save,
            self.first
        );
        again::start("worker::the_part_of_a_worker", &task)
    }

    fn parse(task: &str) -> Option<Self> {
        let mut lines = task.lines();
        Some(Self {
            id: lines.next()?.parse().ok()?,
            cache: lines.next()?.into(),
            acks: lines.next()?.into(),
            writes: lines.next()? == "true",
            compacts: lines.next()? == "true",
            fast_save: lines.next()? == "true",
            first: lines.next()?.parse().ok()?,
        })
    }

    /// The numbers that were acknowledged; a number cut off in the middle was not.
    pub(crate) fn acknowledged(&self) -> Vec<u64> {
        let bytes = fs::read(&self.acks).unwrap_or_default();
        bytes.chunks_exact(8).map(|number| u64::from_le_bytes(number.try_into().expect("8 bytes"))).collect()
    }
}

pub(crate) fn key(worker: usize, number: u64) -> String {
    format!("worker {worker}, key {}", number % KEYS)
}

/// Both keys of the batch that comes with some numbers.
pub(crate) fn twins(worker: usize) -> [String; 2] {
    [format!("worker {worker}, left"), format!("worker {worker}, right")]
}

pub(crate) fn has_twins(number: u64) -> bool {
    number.is_multiple_of(BATCH_EVERY)
}

/// Nothing, unless this process was started as a worker.
#[test]
fn the_part_of_a_worker() {
    let Some(task) = again::task() else { return };
    let task = Task::parse(&task).expect("a task");
    let options = Options::new().fast_save(task.fast_save);
    let log = Log::open(&task.cache, options).expect("the cache opens");
    if task.writes {
        write_for_ever(&task, &log);
    }
    loop {
        compact(&log);
    }
}

fn write_for_ever(task: &Task, log: &Log) {
    let mut acks = fs::File::options().append(true).create(true).open(&task.acks).expect("the file of numbers");
    for number in task.first.. {
        if has_twins(number) {
            let mut batch = log.batch();
            batch.put(key(task.id, number), body(number));
            for key in twins(task.id) {
                batch.put(key, body(number));
            }
            batch.commit().expect("a batch");
        } else {
            log.put(key(task.id, number), body(number)).expect("a put");
        }
        acks.write_all(&number.to_le_bytes()).expect("a number written down");
        if task.compacts && number.is_multiple_of(COMPACT_EVERY) {
            compact(log);
        }
    }
}

fn compact(log: &Log) {
    match log.compact() {
        // Another process compacts.
        Err(error) if error.kind() == ErrorKind::Busy => {}
        result => result.expect("a compaction"),
    }
}
