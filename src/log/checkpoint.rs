//! Checkpoints: an index of the log so far is appended to it, so that opening the file reads only what comes after.
//!
//! The index is made beside running writers; the lock is held to append it, and again to name it in a slot once it is
//! on the medium. A crash in between leaves a record that nobody needs.

use super::{
    append::{Draft as RecordDraft, Step},
    background::UNSYNCED,
    compact::Keep,
    evict::INDEX_SHARE,
    generation::Generation,
    header::Slot,
    index::{Draft, IndexEntry, Mark, Summary, segment_of},
    lock::busy,
    plant::{Bug, planted},
    segment::Segment,
    shared::{Settings, Shared},
    view::Loc,
};
use crate::Result;
use std::{collections::HashSet, sync::Arc};

/// Where a slot says that an index stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexAt {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) summary: Summary,
}

impl IndexAt {
    /// Of an INDEX record.
    pub(super) fn of_record(record: u64, body_len: u64, summary: Summary) -> Self {
        let (offset, len) = segment_of(record, body_len);
        Self { offset, len, summary }
    }

    /// The slot that names it.
    pub(super) fn slot(&self, synced: u64) -> Slot {
        Slot {
            seq: 0,
            index_off: self.offset,
            index_len: self.len,
            covers: self.summary.covers.offset,
            live_bytes: self.summary.live_bytes,
            entries: self.summary.entries(),
            synced,
            covers_crc: self.summary.covers.chain,
        }
    }
}

impl Shared {
    /// Whether so much was appended since the last index that opening the file would take long. What nobody waits to be
    /// durable gets its index with the background sync: each would make the disk write what the other just has.
    pub(super) fn checkpoint_is_due(&self, generation: &Generation) -> bool {
        let view = generation.view();
        let index_len = view.segment().map_or(0, |segment| segment.len());
        let due = view.tail_bytes() > self.env.checkpoints.tail_bytes_max.max(2 * index_len);
        let entries = view.entries();
        drop(view);
        due && !generation.sync_is_put_off(self.env.clock.monotonic())
            && self.has_room_for(generation, entries * INDEX_SHARE)
    }

    /// Whether the log behind the last index is worth one when nobody is going to write any more.
    pub(super) fn checkpoint_is_due_at_close(&self, generation: &Generation) -> bool {
        let view = generation.view();
        view.tail_bytes() > self.env.checkpoints.small_bytes && view.tail_keys() > self.env.checkpoints.small_keys
    }

    /// Writes an index of the log as it is now.
    pub(super) fn checkpoint(&self, settings: &Settings) -> Result<()> {
        self.may_write()?;
        drop(self.lock(settings)?);
        let generation = self.generation();
        // Whoever comes second would write the same again.
        if !generation.checkpointing.enter(settings.lock_timeout) {
            return Err(busy(&self.path));
        }
        let result = self.checkpoint_alone(&generation, settings);
        generation.checkpointing.leave();
        result
    }

    fn checkpoint_alone(&self, generation: &Arc<Generation>, settings: &Settings) -> Result<()> {
        // On a file that has failed nothing is made durable any more.
        generation.check_poison()?;
        let (start, end) = (generation.view().tail_start(), generation.seen());
        if start == end || generation.index_end() == end {
            return generation.wait_until_synced(end, &*self.env.disk, &self.path);
        }
        let mut draft = generation.draft_index()?;
        let Some(guard) = self.lock_in_hand(settings)? else { return Ok(()) };
        if !Arc::ptr_eq(&guard.generation, generation) {
            // A compaction was faster, and has made an index of its own.
            return Ok(());
        }
        let record = generation.view().position();
        if planted(Bug::IndexAhead) {
            draft = draft.covering(record);
        }
        let summary = *draft.summary();
        let body = draft.encode(generation.header.file_id, record.offset);
        let counted = self.counted();
        let uses = self.uses(generation, &counted).encode();
        if !self.has_room_for(generation, (body.len() + uses.len()) as u64) {
            drop(guard);
            // What makes room makes an index, too; and without either all of it is durable, at least.
            self.compact(Keep::LiveIfDue, settings)?;
            let generation = self.generation();
            return generation.wait_until_synced(generation.seen(), &*self.env.disk, &self.path);
        }
        let mut steps = vec![Step::Write(RecordDraft::index(&body))];
        if !uses.is_empty() {
            // It says all that earlier ones say, which stand below the index and are not read any more.
            steps.push(Step::Write(RecordDraft::touch(&uses, self.env.clock.wall_ms())));
        }
        let Some(ticket) = self.apply_locked(&guard, steps, &UNSYNCED)? else { return Ok(()) };
        self.counters.usage.iter().for_each(|usage| usage.forget(&counted));
        drop(guard);
        if !planted(Bug::IndexUnsynced) {
            generation.wait_until_synced(ticket, &*self.env.disk, &self.path)?;
        }
        generation.adopt_index(record.offset, body.len() as u64);
        let Some(guard) = self.lock_in_hand(settings)? else { return Ok(()) };
        if Arc::ptr_eq(&guard.generation, generation) {
            self.write_slot(generation, Some(IndexAt::of_record(record.offset, body.len() as u64, summary)))?;
        }
        Ok(())
    }
}

impl Generation {
    /// Where the newest index ends; 0 without one.
    fn index_end(&self) -> u64 {
        self.view().segment().map_or(0, |segment| segment.offset() + segment.len())
    }

    /// An index of all entries as they are now.
    fn draft_index(&self) -> Result<Draft> {
        loop {
            let (base, summary, (tail, hiding)) = {
                let view = self.view();
                (view.visible_base().cloned(), view.summary(), view.tail_snapshot())
            };
            let mut entries: Vec<_> = tail.iter().map(|(hash, loc)| entry_of(*hash, loc)).collect();
            if let Some(segment) = base
                && !self.gather(&segment, &hiding, &mut entries)
            {
                self.drop_index(&segment)?;
                continue;
            }
            return Ok(Draft::new(entries, summary));
        }
    }

    /// Adds the entries of an index that are not hidden; `false` if the index is bad.
    fn gather(&self, segment: &Segment, hiding: &HashSet<u128>, entries: &mut Vec<IndexEntry>) -> bool {
        let marks: HashSet<Mark> = hiding.iter().map(|hash| Mark::of(*hash)).collect();
        let read = segment.for_each(&*self.file, |entry| {
            // Only the record knows the whole hash; few entries need to be asked.
            // One that cannot be read is what its mark says, as good as always.
            let hidden = marks.contains(&entry.mark())
                && match segment.loc_of(&*self.file, entry.place) {
                    Ok(Some((hash, _))) => hiding.contains(&hash),
                    Ok(None) | Err(_) => true,
                };
            if !hidden {
                entries.push(entry);
            }
        });
        read.is_ok()
    }
}

/// What an index says of an entry.
pub(super) fn entry_of(hash: u128, loc: &Loc) -> IndexEntry {
    IndexEntry::new(hash, loc.offset, loc.len)
}
