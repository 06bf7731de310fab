//! The in-memory map of a log: which record holds the newest state of each key.

use super::{
    header::FileHeader,
    layout::LOG_START,
    plant::{Bug, planted},
    record::{Kind, RecordHeader},
    walk::{Batch, Found, Position},
};
use std::collections::HashMap;

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

/// All keys of a log up to a position.
#[derive(Debug)]
pub(super) struct View {
    map: HashMap<u128, Loc>,
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
}

impl View {
    /// A log without records.
    pub(super) fn new(header: &FileHeader) -> Self {
        Self {
            map: HashMap::new(),
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
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Offset of the last record, and its checksum.
    pub(super) fn last_record(&self) -> Option<(u64, u32)> {
        self.last.map(|offset| (offset, self.position.chain))
    }

    pub(super) fn find(&self, hash: u128) -> Option<Loc> {
        self.map.get(&hash).copied()
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
        self.map.len() as u64
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// First offsets of the batches that a failing checksum voids.
    pub(super) fn void_batches(&self) -> &[u64] {
        &self.void_batches
    }

    /// The latest creation time of any value or alias.
    pub(super) fn newest_ms(&self) -> i64 {
        self.newest_ms
    }

    /// Whether a compaction has left this file behind, as far as the file itself says.
    pub(super) fn sealed(&self) -> bool {
        self.sealed
    }

    /// All entries in log order.
    pub(super) fn in_log_order(&self) -> Vec<(u128, Loc)> {
        let mut all: Vec<_> = self.map.iter().map(|(hash, loc)| (*hash, *loc)).collect();
        all.sort_unstable_by_key(|(_, loc)| loc.offset);
        all
    }

    /// Takes in the batch that ends at `position`.
    pub(super) fn publish(&mut self, batch: &Batch, position: Position) {
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
                self.apply(found);
            }
        }
        self.position = position;
    }

    fn apply(&mut self, found: &Found) {
        let header = &found.header;
        match header.kind {
            Kind::Put | Kind::Alias => {
                self.insert(header.key_hash, Loc::of(found));
                self.newest_ms = self.newest_ms.max(header.created_ms);
            }
            Kind::Delete => self.remove(header.key_hash),
            Kind::Clear => self.clear(),
            Kind::Seal => self.sealed = true,
            Kind::Chunk | Kind::Index | Kind::Touch | Kind::Skipped(_) => {}
        }
    }

    fn insert(&mut self, hash: u128, loc: Loc) {
        self.remove(hash);
        self.live_bytes += loc.weight();
        *self.counter(loc.role) += 1;
        self.map.insert(hash, loc);
    }

    fn remove(&mut self, hash: u128) {
        if let Some(old) = self.map.remove(&hash) {
            self.live_bytes -= old.weight();
            *self.counter(old.role) -= 1;
        }
    }

    fn clear(&mut self) {
        if planted(Bug::ClearKeepsValues) {
            self.map.retain(|_, loc| loc.role != Role::Alias);
            return;
        }
        self.map = HashMap::new();
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
