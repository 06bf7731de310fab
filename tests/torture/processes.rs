//! Several processes on one file.

use crate::{
    again::{kill, setting},
    body, names, number,
    worker::{KEYS, Task, has_twins, key, twins},
};
use larder::log::{Log, Options};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

const KILLS: u64 = 100;
/// However many kills are wanted, an everyday run ends.
const TIME_MAX: Duration = Duration::from_secs(45);

#[test]
fn what_four_writers_acknowledged_survives_kill_9() {
    let wanted = setting("LARDER_KILLS", KILLS);
    let limit = if wanted > KILLS { Duration::MAX } else { TIME_MAX };
    let folder = tempfile::tempdir().expect("a folder");
    let mut workers: Vec<_> = (0..4)
        .map(|id| {
            Worker::start(task(folder.path(), id, |task| (task.compacts, task.fast_save) = (id < 2, id % 2 == 1)))
        })
        .collect();
    let started = Instant::now();
    let mut chance = 0x9E37_79B9_7F4A_7C15_u64;
    let mut kills = 0;
    while kills < wanted && started.elapsed() < limit {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        thread::sleep(Duration::from_micros(chance % 200_000));
        let at = usize::try_from(chance >> 32).expect("64 bits") % workers.len();
        let worker = workers.swap_remove(at);
        let task = worker.kill();
        let log = Log::open(&task.cache, Options::new().read_only(kills % 2 == 0)).expect("the cache opens");
        check(&log, &task);
        workers.push(Worker::start(task.go_on()));
        kills += 1;
    }
    assert!(kills >= wanted.min(KILLS / 2), "only {kills} kills in {:?}", started.elapsed());
    let tasks: Vec<_> = workers.into_iter().map(Worker::kill).collect();
    let log = Log::open(&tasks[0].cache, Options::new()).expect("the cache opens");
    for task in &tasks {
        check(&log, task);
    }
    let report = log.check().expect("a check");
    assert!(report.is_sound(), "{report:?}");
    assert!(names(&folder.path().join("cache")).iter().all(|name| name == "c.larder" || name == "c.larder.new"));
    log.put("after", "all").expect("the cache takes writes");
    log.compact().expect("the cache can be compacted");
    assert_eq!(names(&folder.path().join("cache")), ["c.larder"]);
    eprintln!("{kills} kills in {:.1?}", started.elapsed());
}

#[test]
fn two_compactors_beside_two_writers_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let workers: Vec<_> = (0..4)
        .map(|id| Worker::start(task(folder.path(), id, |task| (task.writes, task.compacts) = (id < 2, id >= 2))))
        .collect();
    thread::sleep(Duration::from_secs(4));
    let tasks: Vec<_> = workers.into_iter().map(Worker::kill).collect();
    let log = Log::open(&tasks[0].cache, Options::new()).expect("the cache opens");
    for task in tasks.iter().filter(|task| task.writes) {
        assert!(task.acknowledged().len() > 50, "a writer was kept from writing");
        check(&log, task);
    }
}

#[test]
fn a_reader_follows_other_processes_through_their_compactions() {
    let folder = tempfile::tempdir().expect("a folder");
    let worker = Worker::start(task(folder.path(), 0, |task| task.compacts = true));
    let reader = loop {
        match Log::open(&worker.task.cache, Options::new().read_only(true)) {
            Ok(log) => break log,
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    };
    let started = Instant::now();
    let mut newest = BTreeMap::new();
    while started.elapsed() < Duration::from_secs(3) {
        // What was acknowledged before the read begins is there, and a key never goes back.
        for (key, acknowledged) in latest(&worker.task) {
            let value = reader.get(&key).expect("a read").unwrap_or_else(|| panic!("{key} is gone"));
            let found = number(&value).expect("a whole value");
            let before = newest.insert(key.clone(), found).unwrap_or(0);
            assert!(found >= acknowledged.max(before), "{key}: {found} after {acknowledged} and {before}");
        }
    }
    worker.kill();
}

/// A task in a folder of its own; `change` makes it a special one.
fn task(folder: &Path, id: usize, change: impl FnOnce(&mut Task)) -> Task {
    let cache = folder.join("cache");
    std::fs::create_dir_all(&cache).expect("a folder");
    let acks = folder.join(format!("acks-{id}"));
    let (cache, fast_save) = (cache.join("c.larder"), false);
    let mut task = Task { id, cache, acks, writes: true, compacts: false, fast_save, first: 1 };
    change(&mut task);
    task
}

impl Task {
    /// The same once more, from behind the number that may have been in work.
    fn go_on(mut self) -> Self {
        let acknowledged = self.acknowledged();
        self.first = acknowledged.last().map_or(self.first, |last| last + 2);
        // Only the newest count; with all of them each kill would take longer than the one before.
        let twins = acknowledged.iter().rev().find(|number| has_twins(**number));
        let mut newest: BTreeMap<u64, u64> = acknowledged.iter().map(|number| (number % KEYS, *number)).collect();
        newest.extend(twins.map(|number| (KEYS, *number)));
        let newest: BTreeSet<u64> = newest.into_values().collect();
        let bytes: Vec<u8> = newest.into_iter().flat_map(u64::to_le_bytes).collect();
        std::fs::write(&self.acks, bytes).expect("the acknowledged numbers are written");
        self
    }
}

struct Worker {
    task: Task,
    child: Child,
}

impl Worker {
    fn start(task: Task) -> Self {
        Self { child: task.start(), task }
    }

    fn kill(self) -> Task {
        kill(self.child, &self.task.cache);
        self.task
    }
}

/// The last number that was acknowledged under each key.
fn latest(task: &Task) -> BTreeMap<String, u64> {
    task.acknowledged().into_iter().map(|number| (key(task.id, number), number)).collect()
}

/// Everything that a worker, dead by now, saw acknowledged is there, and what is there was put there.
fn check(log: &Log, task: &Task) {
    let acknowledged = task.acknowledged();
    let latest_number = acknowledged.last().copied().unwrap_or(0);
    // The write that was in work when the worker died may be there or not.
    let newest = latest_number.max(task.first.saturating_sub(1)) + 1;
    for (key, least) in latest(task) {
        let value = log.get(&key).expect("a read").unwrap_or_else(|| panic!("{key}: {least} is lost"));
        let found = number(&value).unwrap_or_else(|| panic!("{key} holds what nobody put there"));
        assert!(found >= least && found <= newest && found % KEYS == least % KEYS, "{key}: {found}, not {least}");
    }
    let [left, right] = twins(task.id).map(|key| log.get(key).expect("a read"));
    assert_eq!(left, right, "a batch of worker {} is not whole", task.id);
    let least = acknowledged.iter().rev().find(|number| has_twins(**number)).copied().unwrap_or(0);
    let found = left.map_or(0, |value| number(&value).expect("a whole value"));
    assert!(found >= least && found <= newest, "the batch of worker {}: {found}, not {least}", task.id);
    assert_eq!(number(&body(found)), Some(found));
}
