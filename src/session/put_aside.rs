//! Damaged files that were put aside.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Error, ErrorKind, log::Log};

/// Knows which damaged files of a log have been told of.
#[derive(Debug)]
pub(super) struct PutAside {
    log: Log,
    told: AtomicUsize,
}

impl PutAside {
    pub(super) fn of(log: Log) -> Self {
        Self { log, told: AtomicUsize::new(0) }
    }

    /// One error for each file that was put aside since the last call.
    pub(super) fn news(&self) -> Vec<Error> {
        let files = self.log.quarantined();
        let told = self.told.fetch_max(files.len(), Ordering::Relaxed);
        let report = |path| {
            let message = "the cache was damaged and has been put aside, and an empty one has taken its place; \
                           `larder::log::repair` saves what is sound in it";
            Error::new(ErrorKind::Damaged, message).with_path(path)
        };
        files.into_iter().skip(told).map(report).collect()
    }
}
