//! The writer lock: a gate between the threads of this process, then an advisory lock on the file between processes,
//! then the proof that the path still names this file and that its tail is whole. Every wait has a limit.

use super::{
    disk::{DiskFile, Stat, retry},
    env::Env,
    generation::{CaughtUp, Generation, newer_format},
    layout::LOG_START,
    plant::{Bug, planted},
    shared::{OnDamage, Settings, Shared},
    sync::{Condvar, Mutex},
};
use crate::{Error, ErrorKind, Result};
use std::{
    io,
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Lets one thread of the process through at a time, and no thread wait longer than it wants.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<GateState>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    taken: bool,
    /// Waking somebody costs a system call, which most writes need not make.
    waiting: usize,
}

impl Gate {
    pub(super) fn enter(&self, limit: Duration) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A lone writer need not look at the clock.
        let started = state.taken.then(Instant::now);
        while let (true, Some(started)) = (state.taken, started) {
            // A limit beyond what a clock can tell is as good as a day.
            let deadline = started.checked_add(limit).unwrap_or_else(|| started + DAY);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state.waiting += 1;
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        state.taken = true;
        true
    }

    /// Whether somebody is inside.
    pub(super) fn is_taken(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).taken
    }

    pub(super) fn leave(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken = false;
        if state.waiting > 0 {
            self.freed.notify_one();
        }
    }
}

/// The right to append to, cut and compact one generation, as long as it lives.
#[derive(Debug)]
pub(super) struct WriteGuard {
    pub(super) generation: Arc<Generation>,
}

impl WriteGuard {
    /// For a generation whose file this thread has locked and nobody else knows yet.
    pub(super) fn of_locked(generation: Arc<Generation>) -> Self {
        let free = generation.gate.enter(Duration::ZERO);
        debug_assert!(free, "nobody else has the generation");
        Self { generation }
    }
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        // Closing the file would free the lock as well; there is nothing better to do about an error.
        let _ = self.generation.file.unlock();
        self.generation.gate.leave();
    }
}

impl Shared {
    /// Waits for the lock on the file that the path names, and brings the view up to its end.
    pub(super) fn lock(&self, settings: &Settings) -> Result<WriteGuard> {
        self.may_write()?;
        let (started, mut left) = (self.env.clock.monotonic(), settings.lock_timeout);
        loop {
            let Some((guard, stat)) = self.lock_once(left)? else {
                self.reopen(settings)?;
                if left.is_zero() {
                    return Err(busy(&self.path));
                }
                left = self.left_of(settings.lock_timeout, started);
                continue;
            };
            match self.ready(&guard, &stat) {
                Ok(true) => return Ok(guard),
                Ok(false) if left.is_zero() => return Err(busy(&self.path)),
                Ok(false) => drop(guard),
                Err(error) if error.kind() == ErrorKind::Damaged && settings.on_damage == OnDamage::Quarantine => {
                    // The guard goes before the new file is made: nobody holds this lock and waits for that one.
                    self.quarantine(&guard)?;
                    drop(guard);
                }
                Err(error) => return Err(error),
            }
            self.reopen(settings)?;
            left = self.left_of(settings.lock_timeout, started);
        }
    }

    fn left_of(&self, limit: Duration, started: Duration) -> Duration {
        limit.saturating_sub(self.env.clock.monotonic().saturating_sub(started))
    }

    /// Waits for the lock on the file in hand; `None` if that is no longer what the path names. Makes no file and
    /// puts none aside.
    pub(super) fn lock_in_hand(&self, settings: &Settings) -> Result<Option<WriteGuard>> {
        let Some((guard, stat)) = self.lock_once(settings.lock_timeout)? else { return Ok(None) };
        Ok(self.ready(&guard, &stat)?.then_some(guard))
    }

    /// Takes gate and file lock, and says how the file is then; `None` if the path has come to name another one, or
    /// nothing.
    fn lock_once(&self, limit: Duration) -> Result<Option<(WriteGuard, Stat)>> {
        let generation = self.generation();
        if generation.pid != (self.env.pid)() {
            return Ok(None);
        }
        let mut left = limit;
        if !generation.gate.enter(Duration::ZERO) {
            let started = self.env.clock.monotonic();
            if !generation.gate.enter(limit) {
                return Err(busy(&self.path));
            }
            left = self.left_of(limit, started);
        }
        let locked = wait_for(&self.env, &*generation.file, &self.path, left);
        let guard = match locked {
            Ok(()) => WriteGuard { generation },
            Err(error) => {
                generation.gate.leave();
                return Err(error);
            }
        };
        if planted(Bug::IdentityUnchecked) {
            let stat = guard.generation.file.stat();
            return Ok(Some((guard, stat.map_err(|error| Error::io("read the cache file", &self.path, error))?)));
        }
        // What the path names is this file, so that its size comes with its name.
        let named = self.env.disk.stat_path(&self.path);
        let named = named.map_err(|error| Error::io("look up the cache file", &self.path, error))?;
        Ok(named.filter(|named| named.same_file(&guard.generation.stat)).map(|named| (guard, named)))
    }

    /// Brings a locked generation to the state that an append needs; `false` if the file was written over.
    fn ready(&self, guard: &WriteGuard, stat: &Stat) -> Result<bool> {
        let generation = &*guard.generation;
        if !generation.header.writable() {
            return Err(newer_format(&self.path));
        }
        let failed = |error| Error::io("read the cache file", &self.path, error);
        // After a failed sync the log is read anew in any case.
        let in_doubt = generation.in_doubt.load(Ordering::Acquire);
        if generation.has_shrunk(stat.size) || !in_doubt && !generation.is_same_log().map_err(failed)? {
            return Ok(false);
        }
        match generation.catch_up_or_doubt(stat)? {
            // A file that was cut short at the border of a batch looks whole; only the slots know better.
            CaughtUp::Complete if generation.seen() < generation.slots().synced() => {
                generation.check_cut(&self.path).map(|()| true)
            }
            CaughtUp::Complete => Ok(true),
            CaughtUp::Shrunk => Ok(false),
            CaughtUp::Newer => Err(newer_format(&self.path)),
            CaughtUp::Torn => {
                generation.check_cut(&self.path)?;
                cut(generation).map(|()| true).map_err(|error| {
                    let error = Error::io("cut off a torn tail", &self.path, error);
                    // Its sync may have lost what others wrote.
                    generation.poison(&error);
                    error
                })
            }
        }
    }
}

impl Generation {
    /// Fails if the bytes behind the end of the walk may be data that was acknowledged once.
    pub(super) fn check_cut(&self, path: &Path) -> Result<()> {
        let slots = *self.reread_slots();
        let seen = self.seen();
        if slots.both_bad() || seen < slots.synced() {
            let message = "the log is damaged here, before its end; `repair` can save the entries into a new file";
            return Err(Error::new(ErrorKind::Damaged, message).with_path(path).with_offset(seen));
        }
        Ok(())
    }
}

/// Removes what a dead writer left behind, durably: else a later crash could bring it back.
fn cut(generation: &Generation) -> io::Result<()> {
    if planted(Bug::TornTailKept) {
        return Ok(());
    }
    let end = generation.seen().max(LOG_START);
    // Until the rest is gone from the medium one byte stays, so that if this process dies now the next writer finds a
    // torn tail still. One that found the file whole would not know of the sync that is missing, and append.
    generation.file.truncate(end + 1)?;
    if !planted(Bug::CutUnsynced) {
        generation.file.sync_data()?;
    }
    generation.file.truncate(end)
}

/// Turns at something that is lost only to a compaction or a clear at that very moment: some at once, and more, with
/// pauses, until the time for the lock is over.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: u32,
    deadline: Option<Duration>,
}

impl Turns {
    const AT_ONCE: u32 = 16;
    const PAUSE: Duration = Duration::from_millis(1);

    /// Whether there is another.
    pub(super) fn next(&mut self, env: &Env, limit: Duration) -> bool {
        self.taken = self.taken.saturating_add(1);
        if self.taken <= Self::AT_ONCE {
            return true;
        }
        let now = env.clock.monotonic();
        if now >= *self.deadline.get_or_insert(now.saturating_add(limit)) {
            return false;
        }
        env.disk.pause(Self::PAUSE);
        true
    }
}

/// Tries for a file's lock again and again, with growing pauses, up to a limit.
pub(super) fn wait_for(env: &Env, file: &dyn DiskFile, path: &Path, limit: Duration) -> Result<()> {
    const PAUSE_FIRST: Duration = Duration::from_micros(50);
    const PAUSE_MAX: Duration = Duration::from_millis(5);
    let (mut started, mut pause) = (None, PAUSE_FIRST);
    loop {
        match retry(|| file.try_lock()) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => return Err(Error::io("lock the cache file", path, error)),
        }
        let started = *started.get_or_insert_with(|| env.clock.monotonic());
        if env.clock.monotonic().saturating_sub(started) >= limit {
            return Err(busy(path));
        }
        env.disk.pause(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

pub(super) fn busy(path: &Path) -> Error {
    let message = "another process or thread is writing and did not finish in time; try again";
    Error::new(ErrorKind::Busy, message).with_path(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_some_at_once_and_more_until_the_time_is_over() {
        let env = Env::default();
        let count = |limit| {
            let mut turns = Turns::default();
            (0..40).take_while(|_| turns.next(&env, limit)).count()
        };
        assert_eq!((count(Duration::ZERO), count(DAY)), (16, 40));
    }
}
