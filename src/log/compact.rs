//! Compaction: what lives is copied into a new file, which then takes the old one's name.
//!
//! The bulk is copied beside running writers; only the last piece is copied under the writer lock. Killed at any step,
//! it leaves the old file whole and at most a dead `NAME.larder.new`.

#[cfg(any(test, fuzzing))]
use super::view::Sought;
use super::{
    append::{Draft, Step},
    background::UNSYNCED,
    copy::Copier,
    generation::{Generation, folder_of},
    header::{FileHeader, Slots},
    layout::LOG_START,
    lock::{WriteGuard, busy},
    new_file::NewFile,
    open::new_header,
    plant::{Bug, planted},
    shared::{Settings, Shared},
    view::View,
};
use crate::{Error, ErrorKind, Result};
use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

/// So many entries that cannot be read keep nobody from making room where it must be made.
const UNREADABLE_MAX: u64 = 16;

/// What a compaction takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// All that lives.
    Live,
    /// The same, if it still is worth it when the lock is there: somebody else may have been faster.
    LiveIfDue,
    /// Nothing: a clear that the old file has no room for.
    Nothing,
}

impl Shared {
    /// Rewrites the file so that it holds what lives and nothing else.
    pub(super) fn compact(&self, keep: Keep, settings: &Settings) -> Result<()> {
        // Each turn is lost only to another process that replaces or removes the file at that moment.
        const TURNS_MAX: usize = 8;
        for _ in 0..TURNS_MAX {
            if self.compact_once(keep, settings)? {
                return Ok(());
            }
        }
        Err(busy(&self.path))
    }

    /// `false` if the path has come to name another file meanwhile.
    fn compact_once(&self, keep: Keep, settings: &Settings) -> Result<bool> {
        // Whatever has to be opened, made or put aside for a sound file, this does. Later nobody here may wait for
        // the lock of the new file, which is then our own.
        drop(self.lock(settings)?);
        let new = NewFile::acquire(&self.env, &self.path, settings.lock_timeout)?;
        let Some(guard) = self.lock_in_hand(settings)? else { return Ok(false) };
        let old = Arc::clone(&guard.generation);
        drop(guard);
        if keep == Keep::LiveIfDue && !self.compaction_is_due(&old) {
            return Ok(true);
        }
        self.check_room(&old, keep)?;
        let header = new_header(&self.env, old.header.file_id, Some(old.header.hash_key))?;
        new.begin(&header)?;
        let mut copier = Copier::new(&self.env, &self.path, &self.counters, &old, &new, header);
        let counted = self.counted();
        if keep != Keep::Nothing {
            let uses = self.uses(&old, &counted);
            copier.unreadable_max = if self.is_over(&old) { UNREADABLE_MAX } else { 0 };
            copier.evicted = self.evictions(&old, &uses)?;
            copier.copy_live(self.drop_before(&old))?;
            let uses = if copier.evicted.is_empty() { uses } else { uses.aged() };
            copier.write_touch(&uses.without(|hash| copier.evicted.contains(&hash)))?;
            copier.copy_appended_until_short()?;
            copier.flush()?;
            // Most of the data reaches the medium here, while writers go on.
            new.sync()?;
            copier.copy_appended_until_short()?;
        }
        let Some(guard) = self.lock_in_hand(settings)? else { return Ok(false) };
        if !Arc::ptr_eq(&guard.generation, &old) {
            return Ok(false);
        }
        if keep != Keep::Nothing {
            copier.copy_appended()?;
        }
        let evicted = std::mem::take(&mut copier.evicted);
        let (view, slots) = copier.finish()?;
        let stat = old.file.stat().map_err(|error| Error::io("look up the cache file", &self.path, error))?;
        new.file().adopt(&stat).map_err(|error| Error::io("set the mode of the new file", &self.path, error))?;
        if !planted(Bug::CompactUnsynced) {
            new.sync()?;
        }
        #[cfg(any(test, fuzzing))]
        {
            // Before the process may die in what follows; without what was written again meanwhile.
            let gone = evicted.iter().filter(|hash| !matches!(view.find(**hash), Sought::At(_)));
            self.counters.evicted_hashes.lock().unwrap_or_else(PoisonError::into_inner).extend(gone);
        }
        self.replace(&guard, new, header, slots, view)?;
        self.counters.evicted.fetch_add(evicted.len() as u64, Ordering::Relaxed);
        if let Some(usage) = &self.counters.usage {
            usage.forget(&counted);
        }
        Ok(true)
    }

    /// Puts the new file in the place of the locked old one.
    fn replace(&self, old: &WriteGuard, new: NewFile<'_>, header: FileHeader, slots: Slots, view: View) -> Result<()> {
        // Readers who find the old name gone wait for the new generation, and open no second one.
        let turn = self.reopening.lock().unwrap_or_else(PoisonError::into_inner);
        let file = new.publish_over()?;
        let synced = if planted(Bug::FolderUnsynced) { Ok(()) } else { self.env.disk.sync_dir(folder_of(&self.path)) };
        let generation = Arc::new(Generation::built(&self.env, &self.path, file, header, slots, view)?);
        let synced = generation.note_folder_synced(synced, &self.path);
        // The new file's lock is held since it was made; with its gate no other thread takes that lock for its own.
        // Only when the guard goes may somebody acknowledge a write to the new file.
        let _guard = WriteGuard::of_locked(Arc::clone(&generation));
        self.adopt(generation);
        drop(turn);
        // A hint for readers of the old file that have no reason to look at its name; they notice later without it.
        let _ = self.apply_locked(old, vec![Step::Write(Draft::seal())], &UNSYNCED);
        synced
    }

    fn check_room(&self, old: &Generation, keep: Keep) -> Result<()> {
        let live = if keep == Keep::Nothing { 0 } else { old.view().live_bytes() };
        let needed = live + LOG_START;
        let free = self.env.disk.free_bytes(folder_of(&self.path)).unwrap_or(u64::MAX);
        if free >= needed {
            return Ok(());
        }
        let message =
            format!("compaction needs {needed} bytes and {free} are free; free some space or clear the cache");
        Err(Error::new(ErrorKind::Full, message).with_path(&self.path))
    }

    /// Entries whose time to be dropped lies before this are dropped; `i64::MIN` if the wall clock cannot be trusted.
    fn drop_before(&self, old: &Generation) -> i64 {
        const DRIFT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
        let (wall, monotonic) = self.opened_at;
        let now = self.env.clock.wall_ms();
        let real = self.env.clock.monotonic().saturating_sub(monotonic).as_millis();
        let drift = i128::from(now) - i128::from(wall) - i128::try_from(real).unwrap_or(i128::MAX);
        let jumped = drift.unsigned_abs() > DRIFT_MAX.as_millis();
        if jumped || now < old.view().newest_ms() { i64::MIN } else { now }
    }
}
