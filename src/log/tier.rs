//! The memory tier: records of one generation that are read often, verified and whole.
//!
//! Published records never change, so nothing here is ever invalidated: a key that is written again leads to another
//! offset, and another inode has another tier. Whoever asks must have looked the key up, and compares it.

use super::{layout::CODEC_RAW, memo::Memo, read::Read};
use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use siphasher::sip::SipHasher13;
use std::{
    fmt,
    hash::BuildHasher,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

/// The share of the tier that one record may take, so that a large one does not drive out a hundred small ones.
const SHARE_MAX: u64 = 8;
/// Above this the call into the system is no part of the cost of a read worth saving.
const RECORD_MAX: u64 = 4 << 20;
/// Parts with a lock each. More of them would be too small for the largest records.
const SHARDS: usize = 4;
/// What a record usually takes. The tier remembers half as many evicted offsets as records of this size would fit, and
/// believes that one of these which comes back is read often.
const USUAL: u64 = 4 << 10;
/// The share for what is read often. The rest is room in which others have time to be read a second time.
const HOT: f64 = 0.9;
/// The tier is full where less than this share of it is free: its parts fill unevenly.
const FREE_SHARE: u64 = 8;
/// What a record takes beside its bytes: the entry of the map, and the blocks that its bytes and its memo lie in.
const OVERHEAD: u64 = 512;

/// Records of one generation by their offsets.
pub(super) struct Tier {
    bytes_max: u64,
    /// Offsets follow from lengths that others choose, so their hashes are keyed.
    hash_key: [u8; 16],
    /// Made by the first record that comes: many generations are opened to be written, copied or checked.
    records: OnceLock<Records>,
    /// Made when it is full for the first time.
    door: OnceLock<Door>,
    retired: AtomicBool,
}

type Records = Cache<u64, Read, Weight, Hashing, DefaultLifecycle<u64, Read>>;

impl Tier {
    /// A tier that takes at most so many bytes; 0 keeps nothing.
    pub(super) fn new(bytes_max: u64, hash_key: [u8; 16]) -> Self {
        Self { bytes_max, hash_key, records: OnceLock::new(), door: OnceLock::new(), retired: AtomicBool::new(false) }
    }

    /// The record at an offset, if it is kept.
    pub(super) fn get(&self, offset: u64) -> Option<Read> {
        if self.retired.load(Ordering::Acquire) {
            return None;
        }
        self.records.get()?.get(&offset)
    }

    /// Keeps a record that was read whole, if it is small enough and there is reason to; gives it its memo.
    pub(super) fn keep(&self, mut read: Read) -> Read {
        let memo = Memo::beside(read.head.len());
        if self.retired.load(Ordering::Acquire) {
            return read;
        }
        if weight_of(&read).saturating_add(memo.room() as u64) > (self.bytes_max / SHARE_MAX).min(RECORD_MAX) {
            return read;
        }
        if let Some(records) = self.records().filter(|records| self.admits(records, read.loc.offset)) {
            read.memo = memo;
            records.insert(read.loc.offset, read.clone());
        }
        read
    }

    /// Whether to keep what was read at an offset: all of it while there is room, and after that what was read a short
    /// while ago as well. Else reads all over a large file would pay for keeping records that nobody comes back to.
    fn admits(&self, records: &Records, offset: u64) -> bool {
        let room = self.bytes_max.saturating_sub(records.weight());
        let door = || self.door.get_or_init(|| Door::new(usize_of(self.bytes_max / USUAL)));
        room > self.bytes_max / FREE_SHARE || door().was_here(Hashing(self.hash_key).hash_one(offset))
    }

    /// Forgets everything and keeps nothing any more: the generation is not the current one any more, or its published
    /// bytes may have changed, as after a failed sync.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        if let Some(records) = self.records.get() {
            records.clear();
        }
    }

    /// Takes over what another tier keeps, which is a mistake that only tests make.
    pub(super) fn inherit(&self, other: &Self) {
        for (_, read) in other.records.get().into_iter().flat_map(Cache::iter) {
            self.keep(read);
        }
    }

    /// How many records there are, and what they take.
    pub(super) fn size(&self) -> (u64, u64) {
        self.records.get().map_or((0, 0), |records| (records.len() as u64, records.weight()))
    }

    fn records(&self) -> Option<&Records> {
        if let Some(records) = self.records.get() {
            return Some(records);
        }
        let usual = usize_of(self.bytes_max / USUAL);
        let mut options = OptionsBuilder::new();
        options.shards(SHARDS).estimated_items_capacity(usual).weight_capacity(self.bytes_max).hot_allocation(HOT);
        // It fails for what is not set.
        let options = options.build().ok()?;
        let hashing = Hashing(self.hash_key);
        let empty = || Cache::with_options(options, Weight, hashing, DefaultLifecycle::default());
        Some(self.records.get_or_init(empty))
    }
}

/// Remembers what came by lately, until as much else has come by: the doorkeeper of `TinyLFU` (Einziger, Friedman and
/// Manes 2017) alone. Two that it takes for each other cost one place in the tier.
struct Door(Box<[AtomicU32]>);

impl Door {
    /// For a tier of so many records. Four times as many are remembered.
    fn new(records: usize) -> Self {
        let slots = records.saturating_mul(4).clamp(64, 1 << 20).next_power_of_two();
        Self(std::iter::repeat_with(AtomicU32::default).take(slots).collect())
    }

    /// Whether a hash is remembered; from now on it is.
    fn was_here(&self, hash: u64) -> bool {
        let at = usize_of(hash & (self.0.len() as u64 - 1));
        let mark = u32::try_from(hash >> 32).unwrap_or(0);
        self.0.get(at).is_some_and(|slot| slot.swap(mark, Ordering::Relaxed) == mark)
    }
}

/// As much of a number as the machine can count.
fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (records, bytes) = self.size();
        f.debug_struct("Tier").field("records", &records).field("bytes", &bytes).finish_non_exhaustive()
    }
}

/// What a record takes: its bytes, those of a body that stands elsewhere or was unpacked, and the room of its memo.
fn weight_of(read: &Read) -> u64 {
    let header = &read.header;
    let decoded = header.codec != CODEC_RAW;
    let apart = if header.extents() || decoded { read.body.len() as u64 } else { 0 };
    let gone = if decoded { header.body_part_len() } else { 0 };
    OVERHEAD + header.total_len() - gone + apart + read.memo.room() as u64
}

#[derive(Clone)]
struct Weight;

impl Weighter<u64, Read> for Weight {
    fn weight(&self, _: &u64, read: &Read) -> u64 {
        weight_of(read)
    }
}

#[derive(Clone)]
struct Hashing([u8; 16]);

impl BuildHasher for Hashing {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Error, ErrorKind,
        log::{Change, Entry, Log, Options, Times, env::Env},
    };
    use std::sync::{Arc, Weak};
    use tempfile::TempDir;

    const BODY: usize = 4096;

    fn log(folder: &TempDir, tier: u64) -> Log {
        let options = Options::new().fast_save(true).memory_tier(tier);
        Log::open(folder.path().join("cache.larder"), options).unwrap()
    }

    /// A handle of another process, as far as the engine can tell.
    fn elsewhere(folder: &TempDir, tier: u64) -> Log {
        let env = Env { shared: false, ..Env::default() };
        Log::open_in(env, &folder.path().join("cache.larder"), &Options::new().memory_tier(tier)).unwrap()
    }

    fn fill(log: &Log, count: usize) {
        let mut batch = log.batch();
        for n in 0..count {
            batch.put(key(n), value(n));
        }
        batch.commit().unwrap();
    }

    fn key(n: usize) -> String {
        format!("key {n}")
    }

    fn value(n: usize) -> Vec<u8> {
        n.to_le_bytes().repeat(BODY / 8)
    }

    fn get(log: &Log, n: usize) {
        assert_eq!(log.get(key(n)).unwrap().unwrap(), value(n));
    }

    fn hits(log: &Log, read: impl FnOnce()) -> u64 {
        let before = log.stats().unwrap().tier_hits;
        read();
        log.stats().unwrap().tier_hits - before
    }

    #[test]
    fn what_was_read_once_comes_from_memory() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 1 << 20);
        fill(&log, 2);
        log.alias("alias", key(1)).unwrap();
        assert_eq!(hits(&log, || get(&log, 0)), 0);
        assert_eq!(hits(&log, || get(&log, 0)), 1);
        assert_eq!(log.get("alias").unwrap().unwrap(), value(1));
        assert_eq!(hits(&log, || assert_eq!(log.get("alias").unwrap().unwrap(), value(1))), 2);
        let head = log.head("alias").unwrap().unwrap();
        assert_eq!((head.body_len, head.alias_to.as_deref()), (BODY as u64, Some(key(1).as_bytes())));
    }

    #[test]
    fn it_takes_no_more_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let limit = 256 << 10;
        let log = log(&folder, limit);
        fill(&log, 300);
        for n in (0..300).chain(0..300) {
            get(&log, n);
            assert!(log.stats().unwrap().tier_bytes <= limit);
        }
        let stats = log.stats().unwrap();
        assert!(stats.tier_entries > 40 && stats.tier_bytes > limit / 2, "{stats:?}");
    }

    #[test]
    fn a_large_record_is_not_kept_and_a_head_counts_for_what_is_made_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 256 << 10);
        for (head, body, kept) in [(0, 31 << 10, true), (0, 32 << 10, false), (3400, 0, true), (3500, 0, false)] {
            log.put_parts("key", vec![0; head], vec![0; body], Times::kept(0)).unwrap();
            log.get("key").unwrap();
            assert_eq!(hits(&log, || drop(log.get("key").unwrap())) == 1, kept, "{head} {body}");
        }
    }

    #[test]
    fn a_body_that_stands_elsewhere_counts() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 1 << 20);
        fill(&log, 1);
        let version = log.head(key(0)).unwrap().unwrap().version;
        log.update_head(key(0), version, "head", Times::kept(0)).unwrap();
        get(&log, 0);
        assert!(log.stats().unwrap().tier_bytes > BODY as u64);
    }

    #[test]
    fn what_is_read_often_stays_while_all_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 1 << 20);
        fill(&log, 2500);
        let hot = || (0..60).for_each(|n| get(&log, n));
        // Full before anything is read a second time, so that what is hot has to earn its place.
        (100..500).for_each(|n| get(&log, n));
        (0..4).for_each(|_| hot());
        assert!(hits(&log, hot) > 55);
        (500..2500).for_each(|n| get(&log, n));
        assert!(hits(&log, hot) > 55);
    }

    #[test]
    fn reads_all_over_a_large_file_leave_a_full_tier_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 1 << 20);
        fill(&log, 5000);
        (0..300).for_each(|n| get(&log, n));
        let kept: Vec<_> = (0..300).filter(|n| hits(&log, || get(&log, *n)) == 1).collect();
        assert!(kept.len() > 150, "{}", kept.len());
        (1000..5000).for_each(|n| get(&log, n));
        let still = kept.iter().filter(|n| hits(&log, || get(&log, **n)) == 1).count();
        assert!(still * 10 > kept.len() * 9, "{still} of {}", kept.len());
    }

    #[test]
    fn handles_of_one_file_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (log(&folder, 1 << 20), log(&folder, 0));
        fill(&one, 1);
        get(&one, 0);
        assert_eq!(hits(&other, || get(&other, 0)), 1);
    }

    #[test]
    fn what_others_write_is_seen_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (log(&folder, 1 << 20), elsewhere(&folder, 1 << 20));
        for n in 0..20_u8 {
            there.put("key", [n]).unwrap();
            assert_eq!(here.get("key").unwrap().as_deref(), Some(&[n][..]));
            here.put("key", [n, n]).unwrap();
            assert_eq!(there.get("key").unwrap().as_deref(), Some(&[n, n][..]));
            if n % 4 == 0 {
                there.compact().unwrap();
            }
        }
        there.delete("key").unwrap();
        assert_eq!(here.get("key").unwrap(), None);
    }

    #[test]
    fn another_generation_begins_with_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 1 << 20);
        fill(&log, 3);
        get(&log, 2);
        assert_eq!(log.stats().unwrap().tier_entries, 1);
        log.compact().unwrap();
        assert_eq!(log.stats().unwrap().tier_entries, 0);
        assert_eq!(hits(&log, || get(&log, 2)), 0);
        assert_eq!(hits(&log, || get(&log, 2)), 1);
    }

    #[test]
    fn after_a_failed_sync_nothing_comes_from_memory() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 1 << 20);
        fill(&log, 1);
        get(&log, 0);
        log.shared.generation().poison(&Error::new(ErrorKind::Io, "the disk is gone"));
        assert_eq!(log.stats().unwrap().tier_entries, 0);
        assert_eq!(hits(&log, || (0..3).for_each(|_| get(&log, 0))), 0);
    }

    #[test]
    fn a_tier_of_no_bytes_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 0);
        log.put("empty", "").unwrap();
        for _ in 0..3 {
            assert_eq!(log.get("empty").unwrap().as_deref(), Some(&b""[..]));
        }
        let stats = log.stats().unwrap();
        assert_eq!((stats.tier_hits, stats.tier_entries, stats.tier_bytes), (0, 0, 0));
        let memo = log.entry("empty").unwrap().unwrap().memo().clone();
        memo.keep(&Arc::new(()), 0);
        assert_eq!((memo.room(), memo.get::<()>()), (0, None));
    }

    #[test]
    fn only_reading_a_body_fills_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 1 << 20);
        fill(&log, 3);
        assert_eq!(log.iter().count(), 3);
        assert!(log.head(key(0)).unwrap().is_some() && log.contains(key(1)).unwrap());
        log.update(key(2), |_| Change::Keep).unwrap();
        assert_eq!(log.stats().unwrap().tier_entries, 0);
    }

    #[test]
    fn a_memo_is_shared_and_goes_with_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, 1 << 20);
        let entry = |log: &Log| -> Entry { log.entry("key").unwrap().unwrap() };
        log.put_parts("key", [7; 16], "body", Times::kept(0)).unwrap();
        let first = entry(&log);
        assert_eq!(first.memo().room(), 1024 + 128);
        first.memo().keep(&Arc::new(1_u8), 1024 + 129);
        assert_eq!(first.memo().get::<u8>(), None, "there is no room for it");
        first.memo().keep(&Arc::new(2_u8), 1024 + 128);
        first.memo().keep(&Arc::new(3_u8), 1);
        let kept: Weak<u8> = Arc::downgrade(&entry(&log).memo().get().unwrap());
        assert_eq!(kept.upgrade().as_deref(), Some(&2));
        assert_eq!(entry(&log).memo().get::<u16>(), None);
        log.put_parts("key", [7; 16], "body", Times::kept(0)).unwrap();
        assert_eq!(entry(&log).memo().get::<u8>(), None, "what replaces it has a memo of its own");
        drop(first);
        assert!(kept.upgrade().is_some(), "old records go when their place is needed");
        log.compact().unwrap();
        assert!(kept.upgrade().is_none());
    }
}
