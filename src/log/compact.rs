//! Compaction: what lives is copied into a new file, which then takes the old one's name.
//!
//! The bulk is copied beside running writers; only the last piece is copied under the writer lock. Killed at any step,
//! it leaves the old file whole and at most a dead `NAME.larder.new`.

use super::{
    append::{Draft, Step},
    copy::Copier,
    generation::{Generation, folder_of},
    layout::LOG_START,
    new_file::NewFile,
    open::new_header,
    options::OnDamage,
    plant::{Bug, planted},
    shared::{Settings, Shared},
};
use crate::{Error, ErrorKind, Result};
use std::{sync::Arc, time::Duration};

/// What a compaction takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// All that lives.
    Live,
    /// Nothing: a clear that the old file has no room for.
    Nothing,
}

impl Shared {
    /// Rewrites the file so that it holds what lives and nothing else.
    pub(super) fn compact(&self, keep: Keep, settings: &Settings) -> Result<()> {
        self.may_write()?;
        let new = NewFile::acquire(&self.env, &self.path, settings.lock_timeout)?;
        // Taking the lock once shows early whether the file may be rewritten at all.
        let old = Arc::clone(&self.lock(settings)?.generation);
        self.check_room(&old, keep)?;
        let header = new_header(&self.env, old.header.file_id, Some(old.header.hash_key))?;
        new.begin(&header)?;
        let mut copier = Copier::new(&self.path, &self.counters, &old, &new, header);
        if keep == Keep::Live {
            copier.copy_live(self.drop_before(&old))?;
            copier.copy_appended_until_short()?;
            copier.flush()?;
            // Most of the data reaches the medium here, while writers go on.
            new.sync()?;
        }
        let guard = self.lock(settings)?;
        if !Arc::ptr_eq(&guard.generation, &old) {
            // The path names another file by now: somebody else has compacted, replaced or removed it.
            return Ok(());
        }
        if keep == Keep::Live {
            copier.copy_appended()?;
        }
        let (view, slots) = copier.finish()?;
        let stat = old.file.stat().map_err(|error| Error::io("look up the cache file", &self.path, error))?;
        new.file().adopt(&stat).map_err(|error| Error::io("set the mode of the new file", &self.path, error))?;
        if !planted(Bug::CompactUnsynced) {
            new.sync()?;
        }
        let file = new.publish_over()?;
        let synced = if planted(Bug::FolderUnsynced) { Ok(()) } else { self.env.disk.sync_dir(folder_of(&self.path)) };
        let generation = Generation::built(&self.env, &self.path, file, header, slots, view)?;
        let synced = generation.note_folder_synced(synced, &self.path);
        let generation = Arc::new(generation);
        self.adopt(Arc::clone(&generation));
        // A hint for readers of the old file that have no reason to look at its name; they notice later without it.
        let _ = self.apply_locked(&guard, vec![Step::Write(Draft::seal())], &FAST);
        // Only now may somebody else acknowledge a write to the new file.
        let _ = generation.file.unlock();
        synced
    }

    fn check_room(&self, old: &Generation, keep: Keep) -> Result<()> {
        let live = if keep == Keep::Live { old.view().live_bytes() } else { 0 };
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

/// Settings for what need not be durable, since something else makes it so.
const FAST: Settings = Settings { fast_save: true, on_damage: OnDamage::Error, lock_timeout: Duration::ZERO };
