//! Damage that a log has met: files that were put aside, entries that failed their checksum.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::{Error, ErrorKind, log::Log};

/// Knows which damage of a log has been told of.
#[derive(Debug)]
pub(super) struct PutAside {
    log: Log,
    told: AtomicUsize,
    told_unsound: AtomicU64,
}

impl PutAside {
    pub(super) fn of(log: Log) -> Self {
        Self { log, told: AtomicUsize::new(0), told_unsound: AtomicU64::new(0) }
    }

    /// One error for each file that was put aside since the last call, and one if entries were unreadable.
    pub(super) fn news(&self) -> Vec<Error> {
        let files = self.log.quarantined();
        let told = self.told.fetch_max(files.len(), Ordering::Relaxed);
        let report = |path| {
            let message = "the cache was damaged and has been put aside, and an empty one has taken its place; \
                           `larder::log::repair` saves what is sound in it";
            Error::new(ErrorKind::Damaged, message).with_path(path)
        };
        files.into_iter().skip(told).map(report).chain(self.unsound()).collect()
    }

    fn unsound(&self) -> Option<Error> {
        let unsound = self.log.stats().ok()?.unsound_reads;
        if unsound <= self.told_unsound.fetch_max(unsound, Ordering::Relaxed) {
            return None;
        }
        let message =
            "a stored response failed its checksum and was taken as absent; `Log::check` lists what is damaged";
        Some(Error::new(ErrorKind::Damaged, message).with_path(self.log.path()))
    }
}
