//! Which entries were read, and how often: what a log with a size limit goes by when it must drop some.
//!
//! Each process counts for itself. Now and then it writes down what it has counted, as a TOUCH record: hints that
//! others, and the same program when it runs again, take into account.

use super::{clock::Clock, fields::Fields, layout::TOUCH_ENTRY_LEN};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How an entry was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) hits: u64,
    pub(super) last_ms: i64,
}

/// How entries were used, by the hashes of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Uses(HashMap<u128, Used>);

impl Uses {
    /// No more than this many are written down, so that a record of them stays below 8 MiB.
    const COUNT_MAX: usize = 200_000;

    pub(super) fn get(&self, hash: u128) -> Option<Used> {
        self.0.get(&hash).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in what others have counted.
    pub(super) fn merge(&mut self, other: impl IntoIterator<Item = (u128, Used)>) {
        for (hash, used) in other {
            let known = self.0.entry(hash).or_insert(Used { hits: 0, last_ms: i64::MIN });
            known.hits = known.hits.saturating_add(used.hits);
            known.last_ms = known.last_ms.max(used.last_ms);
        }
    }

    /// What is left after entries had to go: those that stay have used up half of their credit.
    pub(super) fn aged(mut self) -> Self {
        // One that was read a million times last year is no better than one that is read all the time.
        const HITS_MAX: u64 = 15;
        self.0.retain(|_, used| {
            used.hits = used.hits.min(HITS_MAX) / 2;
            used.hits > 0
        });
        self
    }

    /// Without those that `gone` names.
    pub(super) fn without(mut self, gone: impl Fn(u128) -> bool) -> Self {
        self.0.retain(|hash, _| !gone(*hash));
        self
    }

    /// The body of a TOUCH record. The latest are in it if there are too many.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_unstable_by_key(|(hash, used)| (std::cmp::Reverse(used.last_ms), **hash));
        all.truncate(Self::COUNT_MAX);
        let mut bytes = Vec::with_capacity(all.len() * TOUCH_ENTRY_LEN);
        for (hash, used) in all {
            bytes.extend(hash.to_le_bytes());
            bytes.extend(used.hits.to_le_bytes());
            bytes.extend(used.last_ms.to_le_bytes());
        }
        bytes
    }

    /// What a TOUCH record says.
    pub(super) fn decode(body: &[u8]) -> impl Iterator<Item = (u128, Used)> {
        body.chunks_exact(TOUCH_ENTRY_LEN).filter_map(|entry| {
            let mut fields = Fields(entry);
            Some((fields.u128()?, Used { hits: fields.u64()?, last_ms: fields.i64()? }))
        })
    }
}

/// What this process has counted since it last wrote it down.
pub(super) struct Usage {
    clock: Arc<dyn Clock>,
    shards: [Mutex<HashMap<u128, Used>>; Usage::SHARDS],
}

impl Usage {
    const SHARDS: usize = 16;
    /// Entries of one shard. Where more are read, those that were read once make way.
    const SHARD_MAX: usize = 16 << 10;

    pub(super) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Arc::clone(clock), shards: Default::default() }
    }

    /// Counts a read.
    pub(super) fn count(&self, hash: u128) {
        let last_ms = self.clock.wall_ms();
        let Some(shard) = usize::try_from(hash % Self::SHARDS as u128).ok().and_then(|at| self.shards.get(at)) else {
            return;
        };
        let mut shard = lock(shard);
        if shard.len() >= Self::SHARD_MAX && !shard.contains_key(&hash) {
            shard.retain(|_, used| used.hits > 1);
            if shard.len() >= Self::SHARD_MAX {
                return;
            }
        }
        let used = shard.entry(hash).or_insert(Used { hits: 0, last_ms });
        *used = Used { hits: used.hits.saturating_add(1), last_ms };
    }

    /// What was counted.
    pub(super) fn counted(&self) -> Uses {
        let mut uses = Uses::default();
        for shard in &self.shards {
            uses.merge(lock(shard).iter().map(|(hash, used)| (*hash, *used)));
        }
        uses
    }

    /// Takes out what stands in the file now. What was counted since stays.
    pub(super) fn forget(&self, written: &Uses) {
        for shard in &self.shards {
            lock(shard).retain(|hash, used| {
                used.hits = used.hits.saturating_sub(written.get(*hash).map_or(0, |written| written.hits));
                used.hits > 0
            });
        }
    }
}

fn lock(shard: &Mutex<HashMap<u128, Used>>) -> MutexGuard<'_, HashMap<u128, Used>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::SystemClock;

    #[test]
    fn what_is_written_down_reads_back_and_adds_up() {
        let usage = Usage::new(&(Arc::new(SystemClock) as Arc<dyn Clock>));
        for hash in [1, 2, 1, 17, 1] {
            usage.count(hash);
        }
        let counted = usage.counted();
        assert_eq!(counted.get(1).map(|used| used.hits), Some(3));
        let mut twice = counted.clone();
        twice.merge(Uses::decode(&counted.encode()));
        assert_eq!(twice.get(1).map(|used| used.hits), Some(6));
        assert_eq!(twice.get(17).map(|used| used.hits), Some(2));
        let aged = twice.aged().without(|hash| hash == 17);
        assert_eq!((aged.get(1).map(|used| used.hits), aged.get(2).map(|used| used.hits)), (Some(3), Some(1)));
        assert_eq!((aged.get(17), aged.clone().aged().get(2)), (None, None));
        usage.count(2);
        usage.forget(&counted);
        let left = usage.counted();
        assert_eq!((left.get(1), left.get(2).map(|used| used.hits)), (None, Some(1)), "read while it was written down");
        usage.forget(&left);
        assert!(usage.counted().is_empty());
    }

    #[test]
    fn it_takes_no_more_memory_than_it_may() {
        let usage = Usage::new(&(Arc::new(SystemClock) as Arc<dyn Clock>));
        usage.count(0);
        for hash in 0..(Usage::SHARD_MAX as u128 + 100) {
            usage.count(hash * Usage::SHARDS as u128);
        }
        assert!(lock(&usage.shards[0]).len() <= Usage::SHARD_MAX);
        assert_eq!(usage.counted().get(0).map(|used| used.hits), Some(2));
    }
}
