//! A simulated process with its handle.

use super::{
    disk::env,
    limit,
    model::NAME,
    ops::{key, key_count},
    world::World,
};
use crate::{
    Result,
    log::{Log, Options, header::FileHeader, sync::Mutex},
};
use std::{
    path::Path,
    sync::{Arc, PoisonError},
    time::Duration,
};

/// Long enough for nothing: in one thread nobody frees a lock while another waits for it.
const LOCK_TIMEOUT: Duration = Duration::from_millis(20);
/// When the background sync of `fast_save` is due at the latest.
const SYNC_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) number: usize,
    pub(super) log: Log,
    pub(super) fast: bool,
    /// Whether something on the disk had failed since the last crash when it began.
    pub(super) opened_after_fault: bool,
    pub(super) wrote: bool,
    /// When it first wrote something that it has not synced since.
    pub(super) written_at: Option<Duration>,
}

impl Process {
    pub(super) fn sync_is_due(&self, now: Duration) -> bool {
        self.fast && self.written_at.is_some_and(|at| now.saturating_sub(at) >= SYNC_AFTER)
    }
}

/// Opens the cache in a process, with an identity of its own in what it draws at random.
pub(super) fn open(world: &Arc<World>, process: usize, seed: u64, options: Options) -> Result<Log> {
    let options = options.lock_timeout(LOCK_TIMEOUT).memory_tier(tier_of(seed)).compress(compresses(seed, process));
    let limit_seed = seed;
    let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (process as u64) << 32;
    let mut env = env(world, process, seed);
    if options.max_size.is_some() {
        limit::tighten(&mut env, limit_seed);
    }
    Log::open_in(env, Path::new(NAME), &options)
}

/// The values that a handle has dropped to make room since this was last called. It can be asked when the handle is
/// gone.
#[derive(Debug)]
pub(super) struct Evictions {
    hashes: Arc<Mutex<Vec<u128>>>,
    header: FileHeader,
}

impl Evictions {
    pub(super) fn of(log: &Log) -> Self {
        let hashes = Arc::clone(&log.shared.counters.evicted_hashes);
        Self { hashes, header: log.shared.generation().header }
    }

    pub(super) fn take(&self) -> Vec<usize> {
        let hashes = std::mem::take(&mut *self.hashes.lock().unwrap_or_else(PoisonError::into_inner));
        let find = |hash| (0..key_count()).find(|at| self.header.hash(key(*at)) == hash).expect("a key of the history");
        hashes.into_iter().map(find).collect()
    }
}

/// Whether a process compresses: in some histories all do, in some only every other.
pub(super) fn compresses(seed: u64, process: usize) -> bool {
    cfg!(feature = "zstd") && seed % 5 < 2 && (seed.is_multiple_of(5) || process.is_multiple_of(2))
}

/// The memory tier of a history: none, one in which records push each other out, or one that keeps them all.
pub(super) fn tier_of(seed: u64) -> u64 {
    [0, 8 << 10, 1 << 20][usize::try_from(seed % 3).unwrap_or(0)]
}
