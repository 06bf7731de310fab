//! Damage that a store has met: files that were put aside, entries that failed their checksum.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::{Error, ErrorKind, log::Log, store::Store};

/// Knows which damage of a store has been told of.
#[derive(Debug)]
pub(super) struct PutAside {
    store: Arc<dyn Store>,
    /// The only store that puts files aside.
    log: Option<Log>,
    told: AtomicUsize,
    told_unsound: AtomicU64,
}

impl PutAside {
    pub(super) fn of(store: Arc<dyn Store>, log: Option<Log>) -> Self {
        Self { store, log, told: AtomicUsize::new(0), told_unsound: AtomicU64::new(0) }
    }

    /// One error for each file that was put aside since the last call, and one if entries were unreadable.
    pub(super) fn news(&self) -> Vec<Error> {
        let files = self.log.as_ref().map(Log::quarantined).unwrap_or_default();
        let told = self.told.fetch_max(files.len(), Ordering::Relaxed);
        let report = |path| {
            let message = "the cache was damaged and has been put aside, and an empty one has taken its place; \
                           `larder::log::repair` saves what is sound in it";
            Error::new(ErrorKind::Damaged, message).with_path(path)
        };
        files.into_iter().skip(told).map(report).chain(self.unsound()).collect()
    }

    fn unsound(&self) -> Option<Error> {
        let unsound = self.store.unsound_reads();
        if unsound <= self.told_unsound.fetch_max(unsound, Ordering::Relaxed) {
            return None;
        }
        let advice = if self.log.is_some() { "; `Log::check` lists what is damaged" } else { "" };
        let message = format!("a stored response failed its checksum and was taken as absent{advice}");
        let error = Error::new(ErrorKind::Damaged, message);
        Some(match self.store.location() {
            Some(path) => error.with_path(path),
            None => error,
        })
    }
}
