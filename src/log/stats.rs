//! [`Stats`]: what a log holds and how much room it takes.

use super::{layout::LOG_START, shared::Shared};
use crate::{Error, Result};
use std::sync::atomic::Ordering;

/// Sizes and counts of a log. Counters of reads are those of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Values.
    pub entries: u64,
    /// Aliases.
    pub aliases: u64,
    /// Bytes of the file that hold what is there.
    pub live_bytes: u64,
    /// Bytes of the file that a compaction would free.
    pub dead_bytes: u64,
    /// The size of the file.
    pub file_bytes: u64,
    /// Everything below this offset is known to be on the medium.
    pub synced_bytes: u64,
    /// Calls of `get` that found a value.
    pub hits: u64,
    /// Calls of `get` that did not.
    pub misses: u64,
    /// Records that came from the memory tier, by whatever call.
    pub tier_hits: u64,
    /// Records that are in the memory tier.
    pub tier_entries: u64,
    /// Bytes of memory that they take, with what readers may keep beside them.
    pub tier_bytes: u64,
    /// Records that failed a checksum when they were read, and were treated as absent.
    pub unsound_reads: u64,
    /// Batches that were left out when the file was opened, since something in them fails its checksum.
    pub void_batches: u64,
    /// Values that this process has dropped to keep the file within [`Options::max_size`](super::Options::max_size).
    pub evictions: u64,
    /// Damaged files that this process has put aside.
    pub quarantined: u64,
}

impl Stats {
    pub(super) fn of(shared: &Shared) -> Result<Self> {
        let generation = shared.current()?;
        let stat = generation.file.stat();
        let file_bytes = stat.map_err(|error| Error::io("read the cache file's size", &shared.path, error))?.size;
        let view = generation.view();
        let counters = &shared.counters;
        // Heads that share one body count it once each, so live bytes may exceed the log.
        let log_bytes = file_bytes.saturating_sub(LOG_START);
        let (tier_entries, tier_bytes) = generation.tier.size();
        Ok(Self {
            entries: view.values(),
            aliases: view.aliases(),
            live_bytes: view.live_bytes(),
            dead_bytes: log_bytes.saturating_sub(view.live_bytes()),
            file_bytes,
            synced_bytes: generation.synced(),
            hits: counters.hits.load(Ordering::Relaxed),
            misses: counters.misses.load(Ordering::Relaxed),
            tier_hits: counters.tier_hits.load(Ordering::Relaxed),
            tier_entries,
            tier_bytes,
            unsound_reads: counters.unsound.load(Ordering::Relaxed),
            void_batches: view.void_batches().len() as u64,
            evictions: counters.evicted.load(Ordering::Relaxed),
            quarantined: shared.quarantined().len() as u64,
        })
    }
}
