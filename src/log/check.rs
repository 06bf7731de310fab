//! Checking a file: everything is read, nothing is changed.

use super::{
    checkpoint::entry_of,
    generation::Generation,
    header::Slot,
    shared::Counters,
    view::View,
    walk::{End, Look, Walk},
};
use crate::{Error, Result};
use std::{collections::HashMap, path::Path};

/// How the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogEnd {
    /// With the file.
    Clean,
    /// With the rest of an append that was cut off. The next writer removes it; nothing acknowledged is lost.
    Torn,
    /// With bytes that make no sense although acknowledged data should be there; see [`repair`](super::repair).
    Damaged,
    /// With a record of a newer version.
    Newer,
}

/// What [`Log::check`](super::Log::check) found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// Records of all kinds up to the end.
    pub records: u64,
    /// Values.
    pub entries: u64,
    /// Aliases.
    pub aliases: u64,
    /// Where the log ends.
    pub end_offset: u64,
    /// How it ends.
    pub end: LogEnd,
    /// Where batches begin in which some checksum fails; older values of their keys are served instead.
    pub void_batches: Vec<u64>,
    /// Whether the index that the file names is unusable, or says something else than the log. It then costs time and
    /// no entry: whoever meets the bad page reads the log without it. The next checkpoint makes a new one.
    pub bad_index: bool,
    /// Where entries stand whose body cannot be verified although their record is sound; they read as absent.
    pub unreadable: Vec<u64>,
}

impl CheckReport {
    /// Whether everything is as it should be. A torn end is: it holds nothing that was acknowledged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let complete = self.void_batches.is_empty() && self.unreadable.is_empty() && !self.bad_index;
        complete && matches!(self.end, LogEnd::Clean | LogEnd::Torn)
    }
}

/// Reads all of a generation anew, as if it had just been opened.
pub(super) fn check(generation: &Generation, path: &Path) -> Result<CheckReport> {
    let size = generation.file.stat().map_err(|error| Error::io("read the cache file's size", path, error))?.size;
    let mut view = View::new(&generation.header);
    let slots = *generation.reread_slots();
    let named = slots.best().filter(Slot::names_index);
    let mut bad_index = named.is_some();
    let mut walk = Walk::new(&*generation.file, generation.header.file_id, size, view.position(), Look::Everything);
    let end = loop {
        if let Some(slot) = named.filter(|slot| slot.covers == walk.position().offset) {
            // Where a batch is void by now, the index may know its entries from better days.
            bad_index = !index_agrees(generation, &slot, &view) && view.void_batches().is_empty();
        }
        match walk.next_batch() {
            Ok(batch) => view.publish(&batch, walk.position(), &HashMap::new()),
            Err(end) => break end,
        }
    };
    // What this process has synced or seen is as good as what a slot says.
    let synced = slots.synced().max(generation.synced());
    let end = match end {
        End::Unreadable(error) => {
            return Err(Error::io("read the log", path, error).with_offset(walk.position().offset));
        }
        End::Newer => LogEnd::Newer,
        _ if view.position().offset < synced => LogEnd::Damaged,
        End::Torn if slots.both_bad() => LogEnd::Damaged,
        End::Torn => LogEnd::Torn,
        End::Clean => LogEnd::Clean,
    };
    let mut unreadable = Vec::new();
    for (_, loc) in view.tail_snapshot().0 {
        if !generation.is_sound(loc, None, &Counters::default())? {
            unreadable.push(loc.offset);
        }
    }
    Ok(CheckReport {
        records: view.records(),
        entries: view.values(),
        aliases: view.aliases(),
        end_offset: view.position().offset,
        end,
        void_batches: view.void_batches().to_vec(),
        bad_index,
        unreadable,
    })
}

/// Whether the index that a slot names holds what the log below it holds.
fn index_agrees(generation: &Generation, slot: &Slot, view: &View) -> bool {
    let Some(segment) = generation.open_segment(slot.index_off, slot.index_len) else { return false };
    let mut indexed = Vec::new();
    let read = segment.for_each(&*generation.file, |entry| indexed.push(entry));
    let mut logged: Vec<_> = view.tail_snapshot().0.iter().map(|(hash, loc)| entry_of(*hash, loc)).collect();
    indexed.sort_unstable();
    logged.sort_unstable();
    read.is_ok() && *segment.summary() == view.summary() && indexed == logged
}
