//! What happens beside the callers: the sync that bounds the loss under `fast_save`, compactions that nobody asked
//! for, the slots, and the orderly end.

use super::{
    append::{Draft, Step},
    checkpoint::IndexAt,
    commit::sync_failed,
    compact::Keep,
    disk::write_at,
    generation::Generation,
    header::{FileHeader, Slot, Slots},
    layout::LOG_START,
    options::OnDamage,
    plant::{Bug, planted},
    shared::{Settings, Shared, millis},
};
use crate::{Error, Result};
use std::{
    io::IoSlice,
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

/// How long a file rests after a compaction or a checkpoint that failed.
const TRY_AGAIN_MS: u64 = 60_000;
/// More than this is not copied while somebody waits for the end of a process.
const LIVE_BYTES_AT_CLOSE_MAX: u64 = 64 << 20;
/// How often the background thread looks whether something is due.
const TICK: Duration = Duration::from_millis(500);

/// Settings for what need not be durable, since something else makes it so.
pub(super) const UNSYNCED: Settings =
    Settings { fast_save: true, on_damage: OnDamage::Error, lock_timeout: Duration::ZERO, compress: false };

impl Slot {
    /// A slot of a file without an index.
    pub(super) fn without_index(header: &FileHeader, synced: u64) -> Self {
        Self { covers: LOG_START, covers_crc: header.crc, synced, ..Self::default() }
    }
}

impl Shared {
    /// Does what is due. A thread calls this in production, a simulation when it pleases.
    pub(super) fn tick(&self) -> Result<()> {
        // An index makes all that it covers durable, so that nothing is left to sync where one is due.
        let indexed = self.checkpoint_if_due();
        let generation = self.generation();
        if generation.sync_is_due(self.env.clock.monotonic()) {
            generation.wait_until_synced(generation.seen(), &*self.env.disk, &self.path)?;
        }
        indexed?;
        self.compact_if_due()
    }

    /// Whether so much of the file is dead that rewriting it is worth its cost.
    pub(super) fn compaction_is_due(&self, generation: &Generation) -> bool {
        let view = generation.view();
        // The index would be there after a compaction too.
        let index_len = view.segment().map_or(0, |segment| segment.len());
        // A body that is being written is not dead: a compaction would only have it written again.
        let kept = view.live_bytes() + index_len + generation.staged_bytes.load(Ordering::Relaxed);
        let dead = (view.position().offset - LOG_START).saturating_sub(kept);
        dead > self.env.dead_bytes_max && dead > view.live_bytes() || self.is_over(generation)
    }

    fn checkpoint_if_due(&self) -> Result<()> {
        let (now, generation) = (millis(&*self.env.clock), self.generation());
        let rests = now < self.checkpoint_not_before_ms.load(Ordering::Relaxed);
        // What is about to be rewritten is not worth an index.
        let due = self.checkpoint_is_due(&generation) && !self.compaction_is_due(&generation);
        if rests || !due || self.may_write().is_err() {
            return Ok(());
        }
        let written = self.checkpoint(&Settings::READING);
        if written.is_err() {
            self.checkpoint_not_before_ms.store(now + TRY_AGAIN_MS, Ordering::Relaxed);
        }
        written
    }

    fn compact_if_due(&self) -> Result<()> {
        let now = millis(&*self.env.clock);
        let rests = now < self.compact_not_before_ms.load(Ordering::Relaxed);
        if rests || self.may_write().is_err() || !self.compaction_is_due(&self.generation()) {
            return Ok(());
        }
        let evicted = self.counters.evicted.load(Ordering::Relaxed);
        let compacted = self.compact(Keep::LiveIfDue, &Settings::READING);
        let in_vain = self.is_over(&self.generation()) && self.counters.evicted.load(Ordering::Relaxed) == evicted;
        if compacted.is_err() || in_vain {
            // A full disk does not empty itself in a moment, and where nothing can be dropped there is nothing to do.
            self.compact_not_before_ms.store(now + TRY_AGAIN_MS, Ordering::Relaxed);
        }
        compacted
    }

    /// Starts the background thread, once.
    pub(super) fn start_background(self: &Arc<Self>) {
        if !self.env.background {
            return;
        }
        let pid = (self.env.pid)();
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        // A forked child has its parent's memory and not its threads.
        if background.as_ref().is_none_or(|(owner, _)| *owner != pid) {
            let shared = Arc::downgrade(self);
            let thread = std::thread::Builder::new().name("larder".into()).spawn(move || run(&shared));
            // Without a thread, `flush` and `close` do its work alone: a reason to go on, not to fail.
            *background = thread.ok().map(|handle| (pid, handle.thread().clone()));
        }
    }

    /// Has the background thread look now.
    pub(super) fn wake_background(&self) {
        if let Some((_, thread)) = &*self.background.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
    }

    /// Writes a slot if much was synced since the last one. The caller holds the writer lock. Who makes an index at the
    /// moment writes one in the end, and could not without another sync if this came between.
    pub(super) fn write_due_slot(&self, generation: &Generation) {
        let due = generation.synced() >= generation.slots().synced() + self.env.slot_every_bytes;
        if due && !generation.checkpointing.is_taken() {
            // A slot is a hint: without it a later damage near the end would be taken for a torn tail.
            let _ = self.note_synced(generation);
        }
    }

    /// Notes in the file how far it is known to be synced. Nobody waits for a sync, unless another process has written
    /// a slot since the last one began: no crash must be able to hit both slots.
    fn note_synced(&self, generation: &Generation) -> Result<()> {
        generation.check_poison()?;
        let (synced, settled) = generation.settled();
        let mut slots = generation.reread_slots();
        if slots.seq() != settled && !planted(Bug::SlotsUnsettled) {
            drop(slots);
            return self.write_slot(generation, None);
        }
        let named = slots.best().filter(Slot::names_index);
        let slot =
            named.map_or_else(|| Slot::without_index(&generation.header, synced), |named| Slot { synced, ..named });
        self.put_slot(generation, &mut slots, slot)
    }

    /// Notes in the file that all of it is synced, and where its newest index is. The caller holds the writer lock, so
    /// nobody appends meanwhile.
    pub(super) fn write_slot(&self, generation: &Generation, index: Option<IndexAt>) -> Result<()> {
        generation.check_poison()?;
        // Others may have written slots since this process read them; theirs must not be the one that is overwritten.
        let mut slots = generation.reread_slots();
        let mut end = generation.seen();
        if slots.synced() >= end && index.is_none() {
            return Ok(());
        }
        let (synced, settled) = generation.settled();
        let settled = slots.seq() == settled || planted(Bug::SlotsUnsettled);
        if planted(Bug::SlotAhead) || planted(Bug::IndexUnsynced) {
            // Whatever is on the medium.
        } else if settled && index.as_ref().is_some_and(|index| index.offset + index.len <= synced) {
            // The sync that brought the index there has settled the last slot too: nobody need wait for another.
            end = synced.max(slots.synced());
        } else {
            // This sync also settles the slot that was written last, so that no crash can hit both.
            let synced = generation.file.sync_data();
            synced.map_err(|error| {
                let error = sync_failed("sync the cache file", &self.path, error);
                generation.poison(&error);
                error
            })?;
        }
        let named = slots.best().filter(Slot::names_index);
        let slot = match (index, named) {
            (Some(index), named) if named.is_none_or(|named| named.covers < index.summary.covers.offset) => {
                index.slot(end)
            }
            // Another process may have written a newer index meanwhile.
            (_, Some(named)) => Slot { synced: end, ..named },
            _ => Slot::without_index(&generation.header, end),
        };
        self.put_slot(generation, &mut slots, slot)
    }

    fn put_slot(&self, generation: &Generation, slots: &mut Slots, slot: Slot) -> Result<()> {
        let (offset, bytes) = slots.advance(slot, generation.header.file_id);
        let write = |bytes: &[u8]| write_at(&*generation.file, &mut [IoSlice::new(bytes)], offset);
        // A page that a crash has made unreadable can only be written whole.
        write(&bytes)
            .or_else(|_| write(&generation.header.slot_page(&bytes)))
            .map_err(|error| Error::io("write a slot", &self.path, error))
    }

    /// Makes everything that was written durable.
    pub(super) fn flush(&self) -> Result<()> {
        if self.may_write().is_err() {
            return Ok(());
        }
        let mut generation = self.current()?;
        if generation.pid != (self.env.pid)() {
            // A forked child cannot wait for a sync that a thread of its parent has begun.
            self.reopen(&Settings::READING)?;
            generation = self.generation();
        }
        generation.wait_until_synced(generation.seen(), &*self.env.disk, &self.path)
    }

    /// Writes down what was read, if it is time. Nobody waits until it is on the medium: it is a hint.
    fn touch(&self, settings: &Settings) -> Result<()> {
        if self.may_write().is_err() || !self.touch_is_due(&self.generation()) {
            return Ok(());
        }
        let Some(guard) = self.lock_in_hand(settings)? else { return Ok(()) };
        let counted = self.counted();
        let body = counted.encode();
        // Somebody else may have done so meanwhile.
        if self.touch_is_due(&guard.generation) && self.has_room_for(&guard.generation, body.len() as u64) {
            let touch = Draft::touch(&body, self.env.clock.wall_ms());
            self.apply_locked(&guard, vec![Step::Write(touch)], &UNSYNCED)?;
            guard.generation.written.store(false, Ordering::Relaxed);
            self.counters.usage.iter().for_each(|usage| usage.forget(&counted));
        }
        Ok(())
    }

    /// Syncs and writes a slot, if this process has written anything.
    pub(super) fn close(&self, settings: &Settings) -> Result<()> {
        let generation = self.generation();
        if generation.pid != (self.env.pid)() {
            return Ok(());
        }
        let wrote = generation.written.swap(false, Ordering::AcqRel);
        let touched = self.touch(settings);
        if !wrote {
            return touched;
        }
        if !planted(Bug::SlotAhead) {
            generation.wait_until_synced(generation.seen(), &*self.env.disk, &self.path)?;
        }
        let live = generation.view().live_bytes();
        if self.compaction_is_due(&generation) && live <= LIVE_BYTES_AT_CLOSE_MAX {
            // Programs that run shortly and often would else never live to see one. The slot comes with it.
            return self.compact_if_due();
        }
        if self.checkpoint_is_due_at_close(&generation) {
            return self.checkpoint(settings);
        }
        // If the path names another file by now, or nothing, there is nothing to note in it.
        let Some(guard) = self.lock_in_hand(settings)? else { return Ok(()) };
        if planted(Bug::SlotAhead) || generation.synced() > guard.generation.slots().synced() {
            self.write_slot(&guard.generation, None)?;
        }
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The end of a handle that nobody closed: the same, without anyone to tell of an error.
        let _ = self.close(&Settings { lock_timeout: Duration::from_millis(100), ..Settings::READING });
    }
}

fn run(shared: &Weak<Shared>) {
    loop {
        std::thread::park_timeout(TICK);
        let Some(shared) = shared.upgrade() else { return };
        // A failed sync poisons the generation, and the next durable write says so.
        let _ = shared.tick();
    }
}
