//! A log that may take so much space and no more: when it makes room, and what goes.

use super::{
    compact::Keep,
    disk::read_exact_at,
    fields::crc32,
    generation::Generation,
    layout::{LOG_START, RECORD_HEADER_LEN},
    lock::WriteGuard,
    plant::{Bug, planted},
    record::RecordHeader,
    shared::{Settings, Shared},
    usage::{Usage, Uses},
    view::Role,
};
use crate::{Error, ErrorKind, Result};
use std::{collections::HashSet, sync::atomic::Ordering};

/// What an entry takes in an index, about.
pub(super) const INDEX_SHARE: u64 = 24;
/// How often a process that only reads writes down what it has read, at most.
const TOUCH_EVERY_MS: i64 = 60 * 60 * 1000;

impl Shared {
    /// Fails if a value of this length, or a batch, has no place in the log however empty it is.
    pub(super) fn check_size(&self, len: u64) -> Result<()> {
        match self.env.max_size {
            Some(max) if len > max => {
                let message =
                    format!("what is to be stored takes {len} bytes, and the cache may take {max} (max_size)");
                Err(Error::new(ErrorKind::TooLarge, message).with_path(&self.path))
            }
            _ => Ok(()),
        }
    }

    /// Whether the file has outgrown its limit. What a compaction would not take away does not count, as far as there
    /// is room beside the limit: bodies that are being written would come again, and so would the index.
    pub(super) fn is_over(&self, generation: &Generation) -> bool {
        let Some(max) = self.env.max_size else { return false };
        let index_len = generation.view().segment().map_or(0, |segment| segment.len());
        let kept = generation.staged_bytes.load(Ordering::Relaxed) + index_len;
        let beside = LOG_START + kept.min(self.env.size_slack.saturating_sub(LOG_START));
        // A large file takes so long to rewrite that writers need room to go on meanwhile.
        let early = if max > 16 * self.env.size_slack { max / 16 } else { 0 };
        generation.seen().saturating_sub(beside) > max - early
    }

    /// Whether so much may be appended before anything else: `own` are the chunks of what is being written.
    fn has_room(&self, generation: &Generation, own: u64) -> bool {
        let max = self.env.max_size.map(|max| max.saturating_add(self.env.size_slack).saturating_add(own));
        max.is_none_or(|max| generation.seen() <= max) || planted(Bug::RoomNotMade)
    }

    /// Whether a record that is no value may be appended.
    pub(super) fn has_room_for(&self, generation: &Generation, len: u64) -> bool {
        let max = self.env.max_size.map(|max| max.saturating_add(self.env.size_slack));
        max.is_none_or(|max| generation.seen().saturating_add(len) <= max)
    }

    /// The lock for appending. Where the background has not made room in time, this thread does.
    pub(super) fn lock_to_append(&self, settings: &Settings, own: u64) -> Result<WriteGuard> {
        // Each turn is lost only to others who fill the room that was made.
        const TURNS_MAX: usize = 8;
        for _ in 0..TURNS_MAX {
            let guard = self.lock(settings)?;
            if self.has_room(&guard.generation, own) {
                return Ok(guard);
            }
            drop(guard);
            self.compact(Keep::LiveIfDue, settings)?;
        }
        let message = "the cache is as large as it may be, and nothing more can be dropped; raise max_size or clear it";
        Err(Error::new(ErrorKind::Full, message).with_path(&self.path))
    }

    /// The values that a compaction leaves out, so that the rest fits well: first those that nobody has read lately, in
    /// the order in which they were written, then the others, in the order in which they were read.
    pub(super) fn evictions(&self, old: &Generation, uses: &Uses) -> Result<HashSet<u128>> {
        let Some(max) = self.env.max_size.filter(|_| self.is_over(old)) else { return Ok(HashSet::new()) };
        let staged = old.staged_bytes.load(Ordering::Relaxed);
        let target = (max / 10 * 6).min(max.saturating_sub(staged));
        let (mut total, mut values) = (0, Vec::new());
        let mut live = old.snapshot()?;
        loop {
            let (hash, loc) = match live.next(old, &self.counters) {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // It is not copied either, and counted there.
                Err(_) => continue,
            };
            let weight = loc.weight() + INDEX_SHARE;
            total += weight;
            if loc.role == Role::Value || planted(Bug::EvictsBooks) && loc.role == Role::Aux {
                let last_use = uses.get(hash).filter(|_| !planted(Bug::UsesIgnored));
                values.push((last_use.map(|last| last.last_ms), loc.offset, weight, hash));
            }
        }
        values.sort_unstable();
        let newest = values.iter().max_by_key(|(_, offset, ..)| *offset).copied();
        let mut evicted = HashSet::new();
        for value @ (_, _, weight, hash) in values {
            if total <= target {
                break;
            }
            // What was just written is not gone when its writer looks.
            if Some(value) != newest {
                total -= weight;
                evicted.insert(hash);
            }
        }
        // Unless that and bookkeeping would leave no room for whatever is written next, as long as it stays.
        let room = max.saturating_add(self.env.size_slack.saturating_sub(LOG_START) / 2);
        if total > room
            && let Some((.., hash)) = newest
        {
            evicted.insert(hash);
        }
        Ok(evicted)
    }

    /// What this process has counted and not written down yet.
    pub(super) fn counted(&self) -> Uses {
        self.counters.usage.as_ref().map(Usage::counted).unwrap_or_default()
    }

    /// How entries were used, as far as this process knows: what it has counted, and what stands in the file.
    pub(super) fn uses(&self, generation: &Generation, counted: &Uses) -> Uses {
        if self.counters.usage.is_none() {
            return Uses::default();
        }
        let mut uses = counted.clone();
        let touches = generation.view().touches().to_vec();
        for offset in touches {
            // A hint that cannot be read is none.
            if let Some(body) = generation.touch_at(offset) {
                uses.merge(Uses::decode(&body));
            }
        }
        uses
    }

    /// Whether it is time that this process writes down what it has read although it has written nothing.
    pub(super) fn touch_is_due(&self, generation: &Generation) -> bool {
        let Some(usage) = &self.counters.usage else { return false };
        let last = generation.view().touched_ms();
        let due = last.is_none_or(|last| self.env.clock.wall_ms().saturating_sub(last) >= TOUCH_EVERY_MS);
        due && !usage.counted().is_empty()
    }
}

impl Generation {
    /// The body of the TOUCH record at an offset, if it is sound.
    fn touch_at(&self, offset: u64) -> Option<Vec<u8>> {
        let bytes = read_exact_at(&*self.file, RECORD_HEADER_LEN, offset).ok()?;
        let header = RecordHeader::decode(&bytes, self.header.file_id, offset).ok()?;
        let len = usize::try_from(header.body_len).ok()?;
        let body = read_exact_at(&*self.file, len, header.body_part_at(offset)).ok()?;
        (crc32(&[&body]) == header.body_crc).then_some(body)
    }
}
