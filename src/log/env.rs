//! What an engine needs from outside: a disk, two clocks, random numbers.

use super::{
    bookkeeping::Bookkeeping,
    clock::{Clock, SystemClock},
    disk::{Disk, Stat},
    options::MEMORY_TIER,
    real_disk::RealDisk,
};
use crate::{Error, ErrorKind, Result};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// The surroundings of a log. Tests replace them one by one.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// File ids and hash keys are drawn from this where it is set, so that files come out the same every time.
    pub(crate) seed: Option<u64>,
    /// Whether a thread may be started for work in the background; without one, somebody calls `tick`.
    pub(crate) background: bool,
    /// Whether all handles of one path in this process share one state.
    pub(crate) shared: bool,
    /// The number of this process, which changes at a fork.
    pub(crate) pid: fn() -> u32,
    /// A file is compacted by itself when more of it than this, and more than what lives, is dead.
    pub(crate) dead_bytes_max: u64,
    /// Whether index segments are mapped, and not read page by page.
    pub(crate) map_index: bool,
    /// Bytes of memory for the records that are read often.
    pub(crate) memory_tier: u64,
    /// A slot is written again after so much more of the log was synced.
    pub(crate) slot_every_bytes: u64,
    /// Bytes that the file may take, and how many more before a writer must make room itself.
    pub(crate) max_size: Option<u64>,
    pub(crate) size_slack: u64,
    /// What knows the records of the layer above.
    pub(crate) bookkeeping: Option<Arc<dyn Bookkeeping>>,
    /// When an index is written.
    pub(crate) checkpoints: Checkpoints,
    /// How bodies are cut.
    pub(crate) pieces: Pieces,
    /// Files of which this process knows that a sync has failed.
    pub(crate) failed: Arc<FailedFiles>,
}

/// How bodies are cut, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pieces {
    /// A chunk, and what a stream keeps in memory.
    pub(crate) chunk: usize,
    /// What is written under one hold of the lock. Longer bodies, and the longest of a longer batch, are put as chunks.
    pub(crate) inline_max: usize,
    /// A shorter body is no chunk of its own, however long its batch.
    pub(crate) ahead_min: usize,
    /// A compaction copies a longer body piece by piece.
    pub(crate) whole_max: u64,
    /// A body from this length on is written once by a compaction, even if its head changes meanwhile.
    pub(crate) shared_min: u64,
}

/// When an index is written. Reading a log is fast enough that a small one needs none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checkpoints {
    /// While the log is in use: when more than this, and more than twice the length of the last index, has come since.
    pub(crate) tail_bytes_max: u64,
    /// At the end, and by a compaction: if the log behind the last index is longer than this and names more keys.
    pub(crate) small_bytes: u64,
    pub(crate) small_keys: usize,
}

/// Files on which nothing durable can be promised any more by this process, however often they are opened anew.
#[derive(Debug, Default)]
pub(crate) struct FailedFiles(Mutex<HashSet<(u64, u64, u64)>>);

impl FailedFiles {
    pub(super) fn insert(&self, stat: &Stat, file_id: u64) {
        self.lock().insert((stat.dev, stat.ino, file_id));
    }

    pub(super) fn contains(&self, stat: &Stat, file_id: u64) -> bool {
        self.lock().contains(&(stat.dev, stat.ino, file_id))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(u64, u64, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Env {
    fn default() -> Self {
        static FAILED: OnceLock<Arc<FailedFiles>> = OnceLock::new();
        Self {
            disk: Arc::new(RealDisk),
            clock: Arc::new(SystemClock),
            seed: None,
            background: true,
            shared: true,
            pid: std::process::id,
            dead_bytes_max: 16 << 20,
            map_index: true,
            memory_tier: MEMORY_TIER,
            slot_every_bytes: 64 << 20,
            max_size: None,
            size_slack: 16 << 20,
            bookkeeping: None,
            checkpoints: Checkpoints { tail_bytes_max: 16 << 20, small_bytes: 1 << 20, small_keys: 1024 },
            pieces: Pieces {
                chunk: 1 << 20,
                inline_max: 8 << 20,
                ahead_min: 1 << 10,
                whole_max: 1 << 20,
                shared_min: 64 << 10,
            },
            failed: Arc::clone(FAILED.get_or_init(Arc::default)),
        }
    }
}

impl Env {
    /// Bytes that nobody can guess; `salt` tells draws of one seed apart.
    pub(super) fn random<const N: usize>(&self, salt: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        if let Some(seed) = self.seed {
            let mut state = seed ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            for piece in bytes.chunks_mut(8) {
                piece.copy_from_slice(&splitmix(&mut state).to_le_bytes()[..piece.len()]);
            }
        } else {
            getrandom::fill(&mut bytes).map_err(|error| {
                Error::new(ErrorKind::Io, "the operating system gives no random numbers").with_source(error)
            })?;
        }
        Ok(bytes)
    }
}

/// One step of the SplitMix64 generator.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
