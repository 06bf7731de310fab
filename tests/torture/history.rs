//! A history of several processes: four writers, two readers, and compactions and checkpoints all the while.
//!
//! Every key counts its versions. A writer notes each version before it writes it and again once that is
//! acknowledged; a reader looks up the notes, reads the key, and looks them up again. It must find no version older
//! than the last one acknowledged before, none that nobody had begun to write, and none older than it saw before.
//!
//! In a second history the cache is smaller than what is written, and cleared now and then: a key may be absent at any
//! time, and all else holds all the same.

use crate::again::{join, setting, start, task, wait_until};
use larder::{
    ErrorKind,
    log::{Change, Entry, Log, Options, Times},
};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const WRITERS: u64 = 4;
const READERS: u64 = 2;
/// Keys of each writer alone. The last two are written in one batch.
const OWN_KEYS: u64 = 24;
const TWINS: [u64; 2] = [OWN_KEYS - 2, OWN_KEYS - 1];
/// Every so many versions of a writer's own key say that it is deleted.
const DELETED_EVERY: u64 = 7;
/// Keys whose values are written and read in pieces; that of the first writer is long enough for chunks.
const STREAMED: [u64; 3] = [3, 9, 15];
const LONG: Key = Key { writer: 0, key: STREAMED[0] };
/// Keys that all writers count up.
const SHARED_KEYS: u64 = 4;
const SECONDS: u64 = 20;
const COMPACTIONS_MIN: u64 = 500;
/// The history of a cache that loses values.
const LOSSY_SECONDS: u64 = 8;
const LOSSY_COMPACTIONS_MIN: u64 = 40;
/// About half of what the keys hold when all are there.
const LOSSY_SIZE: u64 = 1_500_000;
/// What may be written beyond that before somebody must make room, and what is being written then.
const BESIDE: u64 = (16 << 20) + 4 * 1_300_000;

/// A key of a writer, or with the number `WRITERS` one of all writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    writer: u64,
    key: u64,
}

impl Key {
    fn name(self) -> String {
        format!("writer {}, key {}", self.writer, self.key)
    }

    /// Whether some version of the range says that the key is deleted, or is the state before the first.
    fn may_be_absent(self, least: u64, most: u64) -> bool {
        least == 0
            || self.writer < WRITERS
                && !TWINS.contains(&self.key)
                && (least..=most).any(|version| version.is_multiple_of(DELETED_EVERY))
    }

    /// The value of a version: the key, the version, and bytes that follow from both.
    fn value(self, version: u64) -> Vec<u8> {
        let seed = self.writer << 56 | self.key << 48 | version;
        let least = if self == LONG { 1_200_000 } else { 8 };
        let len = least + usize::try_from(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 51).expect("13 bits");
        seed.to_le_bytes().into_iter().cycle().take(len).collect()
    }

    /// The version of a value; fails on a value that nobody wrote under this key.
    fn version(self, value: &[u8]) -> u64 {
        let seed = value.first_chunk().map_or(0, |seed| u64::from_le_bytes(*seed));
        let version = seed & ((1 << 48) - 1);
        assert!(self.value(version) == value, "{self:?} holds {} bytes that nobody put there", value.len());
        version
    }
}

/// What a line of the notes says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Begun = 1,
    Acknowledged = 2,
    Compacted = 3,
}

/// The notes of one writer, as a reader has read them: versions begun and acknowledged, by key.
struct Notes {
    path: PathBuf,
    file: Option<File>,
    rest: Vec<u8>,
    begun: [[u64; 32]; 5],
    acknowledged: [[u64; 32]; 5],
    compactions: u64,
}

impl Notes {
    fn of(folder: &Path, writer: u64) -> Self {
        let path = folder.join(format!("notes-{writer}"));
        Self { path, file: None, rest: vec![], begun: [[0; 32]; 5], acknowledged: [[0; 32]; 5], compactions: 0 }
    }

    /// Reads on, as far as whole words have been written.
    fn read_on(&mut self) {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return };
        file.read_to_end(&mut self.rest).expect("notes");
        let whole = self.rest.len() / 8 * 8;
        for word in self.rest.drain(..whole).collect::<Vec<_>>().chunks_exact(8) {
            let version = u64::from_le_bytes(word.try_into().expect("8 bytes")) >> 24;
            let (what, writer, key) = (word[0], usize::from(word[1]), usize::from(word[2]));
            let table = match what {
                1 => &mut self.begun,
                2 => &mut self.acknowledged,
                _ => {
                    self.compactions += 1;
                    continue;
                }
            };
            table[writer][key] = table[writer][key].max(version);
        }
    }
}

fn note(notes: &mut File, word: Word, key: Key, version: u64) {
    let bytes = version << 24 | key.key << 16 | key.writer << 8 | word as u64;
    notes.write_all(&bytes.to_le_bytes()).expect("a word written down");
}

#[test]
fn an_acknowledged_save_is_seen_by_every_later_read_in_any_process_and_no_read_goes_back() {
    run(false, SECONDS, COMPACTIONS_MIN);
}

#[test]
fn a_cache_that_makes_room_and_is_cleared_shows_nothing_old_in_any_process() {
    run(true, LOSSY_SECONDS, LOSSY_COMPACTIONS_MIN);
}

fn run(lossy: bool, seconds: u64, compactions_min: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("cache")).expect("a folder");
    if lossy {
        File::create(folder.path().join("lossy")).expect("a word to all");
    }
    let started = Instant::now();
    let launch =
        |part: &str, id| start("history::the_part_of_one", &format!("{part} {id} {}", folder.path().display()));
    let writers: Vec<_> = (0..WRITERS).map(|id| launch("write", id)).collect();
    wait_until("the cache is there", || cache(folder.path()).exists());
    let readers: Vec<_> = (0..READERS).map(|id| launch("read", id)).collect();
    let mut notes: Vec<_> = (0..WRITERS).map(|id| Notes::of(folder.path(), id)).collect();
    let limit = Duration::from_secs(setting("LARDER_HISTORY_SECONDS", seconds));
    let mut compactions = 0;
    // A machine that is busy with other things takes longer.
    while started.elapsed() < limit || compactions < compactions_min && started.elapsed() < limit * 6 {
        std::thread::sleep(Duration::from_millis(50));
        notes.iter_mut().for_each(Notes::read_on);
        compactions = notes.iter().map(|notes| notes.compactions).sum();
        let len = fs::metadata(cache(folder.path())).expect("the cache").len();
        assert!(!lossy || len <= LOSSY_SIZE + BESIDE, "the file is {len} bytes long");
    }
    File::create(folder.path().join("stop")).expect("a word to all");
    for child in writers.into_iter().chain(readers) {
        join(child, "a writer or reader");
    }
    notes.iter_mut().for_each(Notes::read_on);
    let log = Log::open(cache(folder.path()), Options::new()).expect("the cache opens");
    let mut saves = 0;
    for key in all_keys() {
        let [acknowledged, begun] = versions(&notes, key);
        assert!(key.writer == WRITERS || acknowledged == begun, "{key:?} ended at {acknowledged} and {begun}");
        saves += acknowledged;
        let value = log.get(key.name()).expect("a read");
        let deleted = key.may_be_absent(acknowledged, acknowledged) || lossy && value.is_none();
        assert_eq!(value.map(|value| key.version(&value)), (!deleted).then_some(acknowledged), "{key:?} in the end");
    }
    assert!(log.check().expect("a check").is_sound());
    assert_eq!(crate::names(&folder.path().join("cache")), ["c.larder"]);
    eprintln!("{saves} saves and {compactions} compactions in {:.1?}", started.elapsed());
    assert!(compactions >= compactions_min, "only {compactions} compactions in {:?}", started.elapsed());
}

fn cache(folder: &Path) -> PathBuf {
    folder.join("cache/c.larder")
}

/// Whether values may be gone at any time.
fn is_lossy(folder: &Path) -> bool {
    folder.join("lossy").exists()
}

fn options(folder: &Path) -> Options {
    if is_lossy(folder) { Options::new().max_size(LOSSY_SIZE) } else { Options::new() }
}

fn all_keys() -> impl Iterator<Item = Key> {
    let keys = |writer| if writer == WRITERS { SHARED_KEYS } else { OWN_KEYS };
    (0..=WRITERS).flat_map(move |writer| (0..keys(writer)).map(move |key| Key { writer, key }))
}

/// The last version of a key that was acknowledged, and the last that was begun.
fn versions(notes: &[Notes], key: Key) -> [u64; 2] {
    let at = |number: u64| usize::try_from(number).expect("a small number");
    let last = |table: fn(&Notes) -> &[[u64; 32]; 5]| {
        notes.iter().map(|notes| table(notes)[at(key.writer)][at(key.key)]).max().unwrap_or(0)
    };
    [last(|notes| &notes.acknowledged), last(|notes| &notes.begun)]
}

/// Nothing, unless this process was started for a history.
#[test]
fn the_part_of_one() {
    let Some(task) = task() else { return };
    let mut words = task.splitn(3, ' ');
    let mut word = || words.next().expect("a word").to_owned();
    let (part, id, folder) = (word(), word().parse().expect("a number"), PathBuf::from(word()));
    if part == "write" { write(&folder, id) } else { read(&folder, id) }
}

fn is_over(folder: &Path) -> bool {
    folder.join("stop").exists()
}

/// Writes until it is over. Writers of odd numbers use `fast_save`; the first two compact as well.
fn write(folder: &Path, id: u64) {
    let lossy = is_lossy(folder);
    let options = options(folder).fast_save(id % 2 == 1).lock_timeout(Duration::from_secs(60));
    let log = Log::open(cache(folder), options).expect("the cache opens");
    let path = folder.join(format!("notes-{id}"));
    let mut notes = File::options().append(true).create(true).open(path).expect("notes");
    let mut all_notes: Vec<_> = (0..WRITERS).map(|id| Notes::of(folder, id)).collect();
    let mut next = [0_u64; 32];
    for round in 0_u64.. {
        let own = Key { writer: id, key: round % OWN_KEYS };
        let version = &mut next[usize::try_from(own.key).expect("a small number")];
        *version += 1;
        let twins = TWINS.map(|key| Key { key, ..own });
        if own.key == TWINS[0] {
            for key in twins {
                note(&mut notes, Word::Begun, key, *version);
            }
            let mut batch = log.batch();
            for key in twins {
                batch.put(key.name(), key.value(*version));
            }
            batch.commit().expect("a batch");
            for key in twins {
                note(&mut notes, Word::Acknowledged, key, *version);
            }
        } else if own.key != TWINS[1] {
            note(&mut notes, Word::Begun, own, *version);
            if own.may_be_absent(*version, *version) {
                assert!(log.delete(own.name()).expect("a delete") || lossy, "{own:?} is gone already");
            } else if STREAMED.contains(&own.key) {
                let mut writer = log.writer(own.name(), []).expect("a stream");
                for piece in own.value(*version).chunks(70_000) {
                    writer.write_all(piece).expect("a piece");
                }
                writer.commit().expect("a value");
            } else {
                log.put(own.name(), own.value(*version)).expect("a put");
            }
            note(&mut notes, Word::Acknowledged, own, *version);
        }
        if round % 5 == id {
            count_up(&log, &mut notes, &mut all_notes, Key { writer: WRITERS, key: round / 5 % SHARED_KEYS });
        }
        if round % 20 == 0 && id < 2 {
            compact(&log, &mut notes);
        }
        if lossy && round % 100 == 50 && id == 0 {
            log.clear().expect("a clear");
            // Nobody else writes these.
            for key in 0..OWN_KEYS {
                let name = Key { writer: id, key }.name();
                assert!(log.get(&name).expect("a read").is_none(), "{name} is still there");
            }
        }
        if round % 30 == 0 && id > 1 {
            match log.checkpoint() {
                Err(error) if error.kind() == ErrorKind::Busy => {}
                result => result.expect("a checkpoint"),
            }
        }
        // One of the four leaves and comes back as a program would, one looks after all is on the medium.
        if round % 64 == 0 {
            log.flush().expect("a flush");
            if is_over(folder) {
                return log.close().expect("a close");
            }
        }
    }
}

fn compact(log: &Log, notes: &mut File) {
    match log.compact() {
        Err(error) if error.kind() == ErrorKind::Busy => {}
        result => {
            result.expect("a compaction");
            note(notes, Word::Compacted, Key { writer: 0, key: 0 }, 0);
        }
    }
}

/// Counts a key of all writers up by one.
fn count_up(log: &Log, notes: &mut File, all_notes: &mut [Notes], key: Key) {
    let mut version = 0;
    let change = |entry: Option<Entry>| {
        // Where the value may be gone, the notes have its version: whoever wrote one before noted it under this lock.
        all_notes.iter_mut().for_each(Notes::read_on);
        let begun = versions(all_notes, key)[1];
        version = entry.map_or(begun, |entry| key.version(&entry.body)) + 1;
        assert_eq!(version, begun + 1, "{key:?}");
        note(notes, Word::Begun, key, version);
        Change::Put { head: Vec::new(), body: key.value(version), times: Times::kept(0) }
    };
    log.update(key.name(), change).expect("an update");
    note(notes, Word::Acknowledged, key, version);
}

/// Reads until it is over, the second reader through a handle that may write.
fn read(folder: &Path, id: u64) {
    let lossy = is_lossy(folder);
    let options = || options(folder).read_only(id == 0);
    let mut log = Log::open(cache(folder), options()).expect("the cache opens");
    let mut notes: Vec<_> = (0..WRITERS).map(|id| Notes::of(folder, id)).collect();
    let mut newest = vec![0; all_keys().count()];
    let mut reads = 0_u64;
    while !is_over(folder) {
        for (at, key) in all_keys().enumerate() {
            notes.iter_mut().for_each(Notes::read_on);
            let least = versions(&notes, key)[0].max(newest[at]);
            let value = if STREAMED.contains(&key.key) && least.is_multiple_of(2) {
                read_in_pieces(&log, key)
            } else {
                log.get(key.name()).expect("a read").map(|value| value.to_vec())
            };
            notes.iter_mut().for_each(Notes::read_on);
            let most = versions(&notes, key)[1];
            match value.map(|value| key.version(&value)) {
                Some(found) => {
                    assert!((least..=most).contains(&found), "{key:?}: {found}, not {least} to {most}");
                    newest[at] = found;
                }
                None => assert!(lossy || key.may_be_absent(least, most), "{key:?} is absent, not at {least} to {most}"),
            }
            // The second twin is not behind the first.
            if key.key == TWINS[0] && key.writer < WRITERS {
                newest[at + 1] = newest[at + 1].max(newest[at]);
            }
            reads += 1;
        }
        if reads % 4096 < all_keys().count() as u64 {
            // Another program that looks now: it sees no less than one that was there all the time.
            log = Log::open(cache(folder), options()).expect("the cache opens");
        }
    }
    eprintln!("reader {id}: {reads} reads");
    assert!(reads > 500, "only {reads} reads");
}

fn read_in_pieces(log: &Log, key: Key) -> Option<Vec<u8>> {
    let mut reader = log.reader(key.name()).expect("a read")?;
    let mut value = Vec::new();
    reader.read_to_end(&mut value).expect("a body");
    Some(value)
}
