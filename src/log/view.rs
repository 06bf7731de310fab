//! Where the newest state of each key stands: an index for what is old, a map in memory for what is new.

use super::{
    header::FileHeader,
    index::Summary,
    layout::LOG_START,
    plant::{Bug, planted},
    record::{Kind, RecordHeader},
    segment::Segment,
    walk::{Batch, Found, Position},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// What the newest record of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Value,
    /// A value that the layer above keeps for itself.
    Aux,
    Alias,
}

/// Where the newest record of a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loc {
    pub(super) offset: u64,
    /// The whole record.
    pub(super) len: u64,
    /// Body bytes elsewhere in the file that its extents name.
    pub(super) elsewhere: u64,
    pub(super) incarnation: u64,
    pub(super) role: Role,
}

/// All keys of a log up to a position: the state below it that an index holds, and what was written since.
#[derive(Debug)]
pub(super) struct View {
    base: Option<Arc<Segment>>,
    tail: HashMap<u128, Touched>,
    /// Bytes of chunks behind the index, which opening the file passes over.
    chunk_bytes: u64,
    /// The place of the last CLEAR, which hides an index that covers less.
    cleared_at: u64,
    position: Position,
    /// The last record's offset, to notice that somebody wrote another file over this one.
    last: Option<u64>,
    values: u64,
    aliases: u64,
    aux: u64,
    live_bytes: u64,
    newest_ms: i64,
    records: u64,
    void_batches: Vec<u64>,
    sealed: bool,
    /// Where TOUCH records stand behind the index, and when the last of them was written.
    touches: Vec<u64>,
    touched_ms: Option<i64>,
}

/// A key that the log names behind the index: its place, or none if it was deleted. Deleted keys are kept too where no
/// index has them, since one that is being made at the moment may.
#[derive(Debug, Clone, Copy)]
struct Touched {
    at: u64,
    loc: Option<Loc>,
}

/// What a view knows of a key.
#[derive(Debug)]
pub(super) enum Sought {
    Absent,
    At(Loc),
    /// Whatever the index says.
    Indexed(Arc<Segment>),
}

impl View {
    /// A log without records.
    pub(super) fn new(header: &FileHeader) -> Self {
        Self {
            base: None,
            tail: HashMap::new(),
            chunk_bytes: 0,
            cleared_at: 0,
            position: Position { offset: LOG_START, chain: header.crc },
            last: None,
            values: 0,
            aliases: 0,
            aux: 0,
            live_bytes: 0,
            newest_ms: i64::MIN,
            records: 0,
            void_batches: Vec::new(),
            sealed: false,
            touches: Vec::new(),
            touched_ms: None,
        }
    }

    /// The state of a log that an index holds.
    pub(super) fn indexed(segment: Segment) -> Self {
        let summary = *segment.summary();
        Self {
            base: Some(Arc::new(segment)),
            tail: HashMap::new(),
            chunk_bytes: 0,
            cleared_at: 0,
            position: summary.covers,
            last: (summary.last >= LOG_START).then_some(summary.last),
            values: summary.values,
            aliases: summary.aliases,
            aux: summary.aux,
            live_bytes: summary.live_bytes,
            newest_ms: summary.newest_ms,
            records: 0,
            void_batches: Vec::new(),
            sealed: false,
            touches: Vec::new(),
            touched_ms: None,
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Offset of the last record, and its checksum.
    pub(super) fn last_record(&self) -> Option<(u64, u32)> {
        self.last.map(|offset| (offset, self.position.chain))
    }

    pub(super) fn find(&self, hash: u128) -> Sought {
        match self.tail.get(&hash) {
            Some(touched) => touched.loc.map_or(Sought::Absent, Sought::At),
            None => self.visible_base().map_or(Sought::Absent, |segment| Sought::Indexed(Arc::clone(segment))),
        }
    }

    /// Values that are not the upper layer's bookkeeping.
    pub(super) fn values(&self) -> u64 {
        self.values
    }

    pub(super) fn aliases(&self) -> u64 {
        self.aliases
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub(super) fn entries(&self) -> u64 {
        self.values + self.aliases + self.aux
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The index below, if there is one.
    pub(super) fn segment(&self) -> Option<&Arc<Segment>> {
        self.base.as_ref()
    }

    /// The place of the last CLEAR behind the index; 0 without one.
    pub(super) fn cleared_at(&self) -> u64 {
        self.cleared_at
    }

    /// Where the log behind the index begins.
    pub(super) fn tail_start(&self) -> u64 {
        self.segment().map_or(LOG_START, |segment| segment.summary().covers.offset)
    }

    /// The bytes behind the index that opening the file reads.
    pub(super) fn tail_bytes(&self) -> u64 {
        (self.position.offset - self.tail_start()).saturating_sub(self.chunk_bytes)
    }

    /// The keys that were written behind the index.
    pub(super) fn tail_keys(&self) -> usize {
        self.tail.len()
    }

    /// First offsets of the batches that a failing checksum voids.
    pub(super) fn void_batches(&self) -> &[u64] {
        &self.void_batches
    }

    /// The latest creation time of any value or alias.
    pub(super) fn newest_ms(&self) -> i64 {
        self.newest_ms
    }

    /// Where TOUCH records stand behind the index.
    pub(super) fn touches(&self) -> &[u64] {
        &self.touches
    }

    /// When the last of them was written.
    pub(super) fn touched_ms(&self) -> Option<i64> {
        self.touched_ms
    }

    /// Whether a compaction has left this file behind, as far as the file itself says.
    pub(super) fn sealed(&self) -> bool {
        self.sealed
    }

    /// What an index made now would say of the log.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            covers: self.position,
            last: self.last.unwrap_or(0),
            live_bytes: self.live_bytes,
            values: self.values,
            aliases: self.aliases,
            aux: self.aux,
            newest_ms: self.newest_ms,
        }
    }

    /// The entries behind the index in log order, and the keys whose indexed state does not count any more.
    pub(super) fn tail_snapshot(&self) -> (Vec<(u128, Loc)>, HashSet<u128>) {
        let mut live: Vec<_> =
            self.tail.iter().filter_map(|(hash, touched)| touched.loc.map(|loc| (*hash, loc))).collect();
        live.sort_unstable_by_key(|(_, loc)| loc.offset);
        let hiding = if self.visible_base().is_some() { self.tail.keys().copied().collect() } else { HashSet::new() };
        (live, hiding)
    }

    /// The index, unless a CLEAR hides it.
    pub(super) fn visible_base(&self) -> Option<&Arc<Segment>> {
        let hidden = |segment: &&Arc<Segment>| self.cleared_at >= segment.summary().covers.offset;
        self.base.as_ref().filter(|segment| !hidden(segment) || planted(Bug::ClearKeepsIndexed))
    }

    /// The keys of a batch whose indexed state it replaces or removes, and what they become.
    pub(super) fn uncovers(&self, batch: &Batch) -> Vec<(u128, Role)> {
        if self.visible_base().is_none() {
            return Vec::new();
        }
        let touches = |found: &&Found| matches!(found.header.kind, Kind::Put | Kind::Alias | Kind::Delete);
        let keys = batch.records.iter().filter(touches).map(|found| (found.header.key_hash, Loc::of(found).role));
        keys.filter(|(hash, _)| !self.tail.contains_key(hash)).collect()
    }

    /// Takes in the batch that ends at `position`; `replaced` is the indexed state of the keys that it `uncovers`.
    pub(super) fn publish(&mut self, batch: &Batch, position: Position, replaced: &HashMap<u128, Loc>) {
        if let Some(first) = batch.records.first().filter(|_| !batch.unsound.is_empty()) {
            self.void_batches.push(first.offset);
        }
        for found in &batch.records {
            self.records += 1;
            self.last = Some(found.offset);
            let void = if planted(Bug::VoidsOneRecord) {
                batch.unsound.contains(&found.offset)
            } else {
                !batch.unsound.is_empty()
            };
            if !void {
                self.apply(found, replaced);
            }
        }
        self.position = position;
    }

    fn apply(&mut self, found: &Found, replaced: &HashMap<u128, Loc>) {
        let header = &found.header;
        match header.kind {
            Kind::Put | Kind::Alias => {
                let loc = Loc::of(found);
                self.touch(header.key_hash, found.offset, Some(loc), replaced);
                self.newest_ms = self.newest_ms.max(header.created_ms);
            }
            Kind::Delete => self.touch(header.key_hash, found.offset, None, replaced),
            Kind::Clear => self.clear(found.offset),
            Kind::Seal => self.sealed = true,
            Kind::Chunk => self.chunk_bytes += header.total_len(),
            Kind::Touch => {
                self.touches.push(found.offset);
                self.touched_ms = Some(self.touched_ms.map_or(header.created_ms, |last| last.max(header.created_ms)));
            }
            Kind::Index | Kind::Skipped(_) => {}
        }
    }

    fn touch(&mut self, hash: u128, at: u64, loc: Option<Loc>, replaced: &HashMap<u128, Loc>) {
        let old = match self.tail.get(&hash) {
            Some(touched) => touched.loc,
            // A CLEAR in the same batch may have hidden what was found for it.
            None => self.visible_base().and_then(|_| replaced.get(&hash).copied()),
        };
        if let Some(old) = old {
            self.live_bytes -= old.weight().min(self.live_bytes);
            let counter = self.counter(old.role);
            *counter = counter.saturating_sub(1);
        }
        if let Some(loc) = loc {
            self.live_bytes += loc.weight();
            *self.counter(loc.role) += 1;
        }
        if loc.is_none() && planted(Bug::DeleteKeepsIndexed) {
            self.tail.remove(&hash);
        } else {
            self.tail.insert(hash, Touched { at, loc });
        }
    }

    /// Counts an entry that a compaction has copied, and whose key the index that it makes will hold.
    pub(super) fn count(&mut self, found: &Found, position: Position) {
        let loc = Loc::of(found);
        self.records += 1;
        self.live_bytes += loc.weight();
        *self.counter(loc.role) += 1;
        self.newest_ms = self.newest_ms.max(found.header.created_ms);
        self.last = Some(found.offset);
        self.position = position;
    }

    /// Stands on a newer index from now on, and forgets what that holds.
    pub(super) fn adopt(&mut self, segment: Segment) {
        let covers = segment.summary().covers.offset;
        debug_assert!(covers <= self.position.offset, "an index cannot be ahead of the log");
        self.tail.retain(|_, touched| touched.at >= covers);
        self.tail.shrink_to_fit();
        // Chunks that came while the index was made count like the rest: they are few.
        self.chunk_bytes = 0;
        self.touches.retain(|at| *at >= covers);
        self.base = Some(Arc::new(segment));
    }

    fn clear(&mut self, at: u64) {
        if planted(Bug::ClearKeepsValues) {
            self.tail.retain(|_, touched| touched.loc.is_some_and(|loc| loc.role != Role::Alias));
            return;
        }
        self.tail = HashMap::new();
        self.touches.clear();
        self.cleared_at = at;
        (self.values, self.aliases, self.aux, self.live_bytes) = (0, 0, 0, 0);
    }

    fn counter(&mut self, role: Role) -> &mut u64 {
        match role {
            Role::Value => &mut self.values,
            Role::Alias => &mut self.aliases,
            Role::Aux => &mut self.aux,
        }
    }
}

impl Loc {
    pub(super) fn of(found: &Found) -> Self {
        let header: &RecordHeader = &found.header;
        Self {
            offset: found.offset,
            len: header.total_len(),
            elsewhere: if header.extents() { header.body_len } else { 0 },
            incarnation: header.incarnation,
            role: match header.kind {
                Kind::Alias => Role::Alias,
                _ if header.aux() => Role::Aux,
                _ => Role::Value,
            },
        }
    }

    /// The bytes of the file that must stay for this entry.
    pub(super) fn weight(&self) -> u64 {
        self.len + self.elsewhere
    }
}
