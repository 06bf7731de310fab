//! Group commit: many threads append, one of them syncs for all.

use super::{
    generation::{Generation, folder_of},
    plant::{Bug, planted},
    sync::MutexGuard,
};
use crate::{Error, ErrorKind, Result, log::disk::Disk};
use std::{
    io,
    path::Path,
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

/// How much may be written and not yet synced before the background sync is due at once.
pub(super) const UNSYNCED_BYTES_MAX: u64 = 64 << 20;
/// How long something may be written and not yet synced.
pub(super) const UNSYNCED_TIME_MAX: Duration = Duration::from_secs(5);

/// How far one process knows a file to be synced.
#[derive(Debug)]
pub(super) struct SyncState {
    /// Everything below is on the medium.
    synced: u64,
    /// The newest slot, as far as this process knew, when the last sync began: it and those before are on the medium.
    settled: u64,
    /// Whether a thread is in the middle of a sync.
    running: bool,
    /// Threads that wait for it. Waking costs a system call, which a lone writer need not make.
    waiting: usize,
    /// When the oldest write that waits for the background sync was made.
    waiting_since: Option<Duration>,
    /// The first sync that failed. From then on nothing on this file can be promised: the system may have dropped
    /// the pages that it could not write, and a second sync would succeed without them.
    failed: Option<Error>,
}

impl SyncState {
    /// `failed`: whether this process has seen a sync of the file fail before it opened the file again.
    pub(super) fn new(synced: u64, failed: bool) -> Self {
        let failed = failed.then(|| Error::new(ErrorKind::Io, "a sync of the cache file has failed"));
        Self { synced, settled: u64::MAX, running: false, waiting: 0, waiting_since: None, failed }
    }
}

impl Generation {
    /// Returns once everything below `ticket` is on the medium, and the file's name too.
    pub(super) fn wait_until_synced(&self, ticket: u64, disk: &dyn Disk, path: &Path) -> Result<()> {
        if planted(Bug::AckBeforeSync) {
            return Ok(());
        }
        self.sync_folder_once(disk, path)?;
        let mut state = self.sync_state();
        loop {
            if let Some(error) = &state.failed {
                return Err(poisoned(error));
            }
            if state.synced >= ticket {
                return Ok(());
            }
            if self.seen() < ticket {
                // A sync speaks for what this process knows of, and could never reach the ticket.
                let message = "the log has become shorter than what was written";
                return Err(Error::new(ErrorKind::Damaged, message).with_path(path).with_offset(ticket));
            }
            if state.running {
                state.waiting += 1;
                state = self.sync_done.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.waiting -= 1;
                continue;
            }
            state = self.lead_sync(state, path)?;
        }
    }

    /// Syncs for everybody who has appended before the sync begins.
    fn lead_sync<'a>(&'a self, mut state: MutexGuard<'a, SyncState>, path: &Path) -> Result<MutexGuard<'a, SyncState>> {
        state.running = true;
        state.waiting_since = None;
        drop(state);
        // Read before the sync: what is appended while it runs may miss it.
        let (mut covered, slot) = (self.seen(), self.slots().seq());
        let mut result = self.file.sync_data();
        if planted(Bug::SyncCoversLate) {
            covered = self.seen();
        }
        if planted(Bug::SyncRetried) && result.is_err() {
            result = self.file.sync_data();
        }
        let mut state = self.sync_state();
        state.running = false;
        let outcome = match result {
            Ok(()) => {
                state.synced = state.synced.max(covered);
                state.settled = slot;
                Ok(())
            }
            Err(error) => {
                let error = sync_failed("sync the cache file", path, error);
                self.distrust(&mut state, &error);
                Err(error)
            }
        };
        if state.waiting > 0 && !planted(Bug::SyncUntold) {
            self.sync_done.notify_all();
        }
        outcome.map(|()| state)
    }

    /// A new name is durable only after its folder is synced. Whoever acknowledges first in a process sees to it,
    /// since the process that made the file may have died before it did.
    pub(super) fn sync_folder_once(&self, disk: &dyn Disk, path: &Path) -> Result<()> {
        if self.folder_synced.load(Ordering::Acquire) || planted(Bug::FolderUnsynced) {
            return Ok(());
        }
        self.note_folder_synced(disk.sync_dir(folder_of(path)), path)
    }

    /// Takes in how a sync of the folder went.
    pub(super) fn note_folder_synced(&self, result: io::Result<()>, path: &Path) -> Result<()> {
        let synced = result.map_err(|error| sync_failed("sync the cache's folder", folder_of(path), error));
        match &synced {
            Ok(()) => self.folder_synced.store(true, Ordering::Release),
            Err(error) => self.poison(error),
        }
        synced
    }

    /// Notes a write that nobody waits for. Returns whether the background sync should not be waited for.
    pub(super) fn note_unsynced(&self, now: Duration) -> bool {
        let mut state = self.sync_state();
        state.waiting_since.get_or_insert(now);
        self.seen().saturating_sub(state.synced) >= UNSYNCED_BYTES_MAX
    }

    /// Whether the background sync is due.
    pub(super) fn sync_is_due(&self, now: Duration) -> bool {
        self.background_sync(now) == Some(true)
    }

    /// Whether something waits for the background sync, and for a while yet.
    pub(super) fn sync_is_put_off(&self, now: Duration) -> bool {
        self.background_sync(now) == Some(false)
    }

    /// Whether the background sync is due; `None` if nothing waits for it.
    fn background_sync(&self, now: Duration) -> Option<bool> {
        let state = self.sync_state();
        let since = state.waiting_since.filter(|_| state.failed.is_none())?;
        let unsynced = self.seen().saturating_sub(state.synced);
        Some(now.saturating_sub(since) >= UNSYNCED_TIME_MAX || unsynced >= UNSYNCED_BYTES_MAX)
    }

    /// Everything below is on the medium, as far as this process knows.
    pub(super) fn synced(&self) -> u64 {
        self.sync_state().synced
    }

    /// The same, and the number of the newest slot that the last sync of this process has made durable.
    pub(super) fn settled(&self) -> (u64, u64) {
        let state = self.sync_state();
        (state.synced, state.settled)
    }

    /// Marks the file as one on which durable writes can no longer be promised.
    pub(super) fn poison(&self, error: &Error) {
        self.distrust(&mut self.sync_state(), error);
    }

    fn distrust(&self, state: &mut SyncState, error: &Error) {
        self.in_doubt.store(true, Ordering::Release);
        // The file may come to hold something else where it was read.
        self.tier.retire();
        self.failed.insert(&self.stat, self.header.file_id);
        state.failed.get_or_insert_with(|| error.duplicate());
    }

    /// Fails if durable writes can no longer be promised.
    pub(super) fn check_poison(&self) -> Result<()> {
        self.sync_state().failed.as_ref().map_or(Ok(()), |error| Err(poisoned(error)))
    }

    fn sync_state(&self) -> MutexGuard<'_, SyncState> {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whatever the reason, nothing tells what of the data is on the medium: never "full, nothing was stored".
pub(super) fn sync_failed(doing: &str, path: &Path, error: io::Error) -> Error {
    let message = format!("cannot {doing}: {error}; what was written may or may not survive a power cut");
    Error::new(ErrorKind::Io, message).with_path(path).with_source(error)
}

fn poisoned(cause: &Error) -> Error {
    let message = format!("an earlier write failed, so nothing durable can be promised; compact the cache ({cause})");
    Error::new(ErrorKind::Poisoned, message)
}
