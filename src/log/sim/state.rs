//! What a log should hold: the model, written from the rules of the engine and not from its code.

use super::ops::{Op, Outcome, Part, Stored, key, key_count};
use crate::log::entry::{Entry, Head};
use bytes::Bytes;
use std::sync::Arc;

/// The most aliases that a read follows.
const HOPS_MAX: usize = 8;

/// What stands under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Value {
        stored: Arc<Stored>,
        aux: bool,
        incarnation: u64,
    },
    /// `bound` is the incarnation of the target, 0 for a target that was absent.
    Alias {
        to: usize,
        bound: u64,
        head: Arc<Stored>,
        incarnation: u64,
    },
}

impl Cell {
    fn incarnation(&self) -> u64 {
        match self {
            Self::Value { incarnation, .. } | Self::Alias { incarnation, .. } => *incarnation,
        }
    }
}

/// A record as a writer would log it: nothing in it depends any more on what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rec {
    Set(usize, Option<Cell>),
    Clear,
}

/// What an operation comes to, before anything is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    Batch(Vec<Rec>),
    /// An expectation of the batch does not hold.
    Conflict,
}

/// Gives every key that comes into being a number of its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Mint(u64);

impl Mint {
    fn fresh(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What a handle shows of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) entries: Vec<Option<Entry>>,
    pub(super) bodies: Vec<Option<Bytes>>,
    pub(super) len: u64,
    pub(super) list: Vec<(Vec<u8>, Head)>,
}

impl Seen {
    /// The names of what is seen, for a trace.
    pub(super) fn brief(&self) -> String {
        let name = |entry: &Option<Entry>| {
            let Some(entry) = entry else { return "-".into() };
            let text = if entry.alias_to.is_some() { "alias".into() } else { show_bytes(Some(&entry.body)) };
            text.split('.').next().unwrap_or_default().to_string()
        };
        self.entries.iter().map(name).collect::<Vec<String>>().join(" | ")
    }
}

/// All keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    cells: Vec<Option<Cell>>,
}

impl State {
    pub(super) fn new() -> Self {
        Self { cells: vec![None; key_count()] }
    }

    pub(super) fn apply(&mut self, batch: &[Rec]) {
        for rec in batch {
            match rec {
                Rec::Set(key, cell) => self.cells[*key].clone_from(cell),
                Rec::Clear => self.cells.fill(None),
            }
        }
    }

    /// Whether a key counts as being there when it is written to or aliased. An alias that can never lead anywhere
    /// again is as good as gone, since a compaction drops it.
    fn in_being(&self, key: usize) -> bool {
        let mut at = key;
        for _ in 0..=key_count() {
            match &self.cells[at] {
                None => return false,
                Some(Cell::Value { .. } | Cell::Alias { bound: 0, .. }) => return true,
                Some(Cell::Alias { to, bound, .. }) => {
                    if self.cells[*to].as_ref().is_none_or(|target| target.incarnation() != *bound) {
                        return false;
                    }
                    at = *to;
                }
            }
        }
        // A ring of aliases: a write to any of them opens it.
        true
    }

    fn incarnation(&self, key: usize) -> Option<u64> {
        self.in_being(key).then(|| self.cells[key].as_ref().map(Cell::incarnation)).flatten()
    }

    /// Whether reading the key itself finds something: an alias does not if its target is not there.
    pub(super) fn is_visible(&self, key: usize) -> bool {
        match &self.cells[key] {
            Some(Cell::Alias { to, .. }) => self.in_being(key) && self.in_being(*to),
            cell => cell.is_some(),
        }
    }

    /// The cell that a read shows.
    fn visible(&self, key: usize) -> Option<&Cell> {
        self.cells[key].as_ref().filter(|_| self.is_visible(key))
    }

    /// The key of the value that a key leads to.
    pub(super) fn target(&self, key: usize) -> Option<usize> {
        let mut at = key;
        for _ in 0..=HOPS_MAX {
            match self.visible(at)? {
                Cell::Value { .. } => return Some(at),
                Cell::Alias { to, .. } => at = *to,
            }
        }
        None
    }

    /// The value that a key leads to.
    pub(super) fn resolve(&self, key: usize) -> Option<&Arc<Stored>> {
        match &self.cells[self.target(key)?] {
            Some(Cell::Value { stored, .. }) => Some(stored),
            _ => None,
        }
    }

    /// Whether a value stands under a key that is not bookkeeping.
    pub(super) fn is_value(&self, key: usize) -> bool {
        matches!(self.cells[key], Some(Cell::Value { aux: false, .. }))
    }

    /// Whether nothing but a value stands under a key.
    pub(super) fn may_be_evicted(&self, key: usize) -> bool {
        self.cells[key].is_none() || self.is_value(key)
    }

    /// The bytes of the bookkeeping.
    pub(super) fn books(&self) -> u64 {
        let len = |cell: &Option<Cell>| match cell {
            Some(Cell::Value { stored, aux: true, .. }) => (stored.head.len() + stored.body.len()) as u64,
            _ => 0,
        };
        self.cells.iter().map(len).sum()
    }

    /// The bytes that an operation stores.
    pub(super) fn weight_of(&self, op: &Op) -> u64 {
        let len = |part: &Part| match part {
            Part::Put { key: at, value, .. } => key(*at).len() + value.head.len() + value.body.len(),
            Part::Alias { key: at, to, head } => key(*at).len() + key(*to).len() + head.head.len(),
            Part::Delete { key: at } => key(*at).len(),
            Part::Expect { .. } => 0,
        };
        op.parts(self).unwrap_or_default().iter().map(len).sum::<usize>() as u64
    }

    pub(super) fn len(&self) -> u64 {
        self.cells.iter().filter(|cell| matches!(cell, Some(Cell::Value { aux: false, .. }))).count() as u64
    }

    /// What an operation would write now.
    pub(super) fn plan(&self, op: &Op, mint: &mut Mint) -> Plan {
        if *op == Op::Clear {
            return Plan::Batch(vec![Rec::Clear]);
        }
        let Some(parts) = op.parts(self) else { return Plan::Conflict };
        let mut after = self.clone();
        let mut batch = Vec::with_capacity(parts.len());
        for part in &parts {
            let Some(rec) = after.rec(part, mint) else { continue };
            after.apply(std::slice::from_ref(&rec));
            batch.push(rec);
        }
        Plan::Batch(batch)
    }

    fn rec(&self, part: &Part, mint: &mut Mint) -> Option<Rec> {
        let mut incarnation = |key: usize| self.incarnation(key).unwrap_or_else(|| mint.fresh());
        Some(match part {
            Part::Put { key, value, aux } => {
                let (stored, incarnation) = (Arc::clone(value), incarnation(*key));
                Rec::Set(*key, Some(Cell::Value { stored, aux: *aux, incarnation }))
            }
            Part::Alias { key, to, head } => {
                // Bound before the alias itself comes into being: one that names itself is bound to nothing new.
                let bound = self.incarnation(*to).unwrap_or(0);
                let (head, incarnation) = (Arc::clone(head), incarnation(*key));
                Rec::Set(*key, Some(Cell::Alias { to: *to, bound, head, incarnation }))
            }
            Part::Delete { key } if self.cells[*key].is_none() => return None,
            Part::Delete { key } => Rec::Set(*key, None),
            Part::Expect { .. } => return None,
        })
    }

    /// Whether a key is bookkeeping of the layer above.
    pub(super) fn is_aux(&self, key: usize) -> bool {
        matches!(self.cells[key], Some(Cell::Value { aux: true, .. }))
    }

    /// The write that gives a key a new head and keeps the rest; `None` if there is nothing to keep.
    pub(super) fn with_head(&self, key: usize, head: &Arc<Stored>) -> Option<Part> {
        Some(match self.visible(key)? {
            Cell::Value { stored, aux, .. } => {
                let value = Stored { head: head.head.clone(), body: stored.body.clone(), times: head.times };
                Part::Put { key, value: Arc::new(value), aux: *aux }
            }
            Cell::Alias { to, .. } => Part::Alias { key, to: *to, head: Arc::clone(head) },
        })
    }

    /// Whether an operation that did not fail returned what it should have.
    pub(super) fn check_outcome(&self, op: &Op, outcome: &Outcome) -> Result<(), String> {
        let fits = match (op, outcome) {
            (Op::Get(at) | Op::Read(at), Outcome::Body(seen)) => return self.check_body(*at, seen.as_ref()),
            (Op::Head(at), Outcome::Head(seen)) => return self.check_head(*at, seen.as_ref()),
            (Op::Entry(at), Outcome::Entry(seen)) => return self.check_entry(*at, seen.as_ref()),
            (Op::Iter, Outcome::List(list)) => return self.check_list(list),
            (Op::All, Outcome::Seen(seen)) => return self.check(seen),
            (Op::Update { key, .. }, Outcome::Entry(seen)) => {
                let (wanted, seen) = (self.resolve(*key), seen.as_ref());
                wanted.map(|stored| (&stored.head, &stored.body)) == seen.map(|entry| (&entry.head, &entry.body))
            }
            // An alias that cannot be followed, since the disk fails, counts as one that leads somewhere.
            (Op::Delete { key }, Outcome::Flag(true)) => self.cells[*key].is_some(),
            (Op::Delete { key } | Op::Contains(key), Outcome::Flag(flag)) => *flag == self.resolve(*key).is_some(),
            (Op::Len | Op::Stats, Outcome::Len(len)) => *len == self.len(),
            (Op::Check, Outcome::Sound(_)) | (_, Outcome::Done) => true,
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("{op:?} returned {outcome:?} in {self:?}")) }
    }

    pub(super) fn check_entry(&self, at: usize, seen: Option<&Entry>) -> Result<(), String> {
        let fits = match (self.visible(at), seen) {
            (None, None) => true,
            (Some(Cell::Value { stored, .. }), Some(entry)) => {
                entry.alias_to.is_none()
                    && stored.head == entry.head
                    && stored.body == entry.body
                    && stored.times.is_none_or(|times| times == entry.times)
            }
            (Some(Cell::Alias { to, head, .. }), Some(entry)) => {
                entry.alias_to.as_deref() == Some(key(*to))
                    && head.head == entry.head
                    && head.times.is_none_or(|times| times == entry.times)
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("key {at}: wanted {:?}, got {}", self.visible(at), show_entry(seen))) }
    }

    pub(super) fn check_body(&self, at: usize, seen: Option<&Bytes>) -> Result<(), String> {
        if self.resolve(at).map(|stored| &stored.body) == seen {
            return Ok(());
        }
        Err(format!("body of key {at}: wanted {:?}, got {}", self.resolve(at), show_bytes(seen)))
    }

    fn check_head(&self, at: usize, seen: Option<&Head>) -> Result<(), String> {
        let wanted = self.visible(at).zip(self.resolve(at)).map(|(cell, value)| {
            let (own, to) = match cell {
                Cell::Alias { to, head, .. } => (Some(head).filter(|head| !head.head.is_empty()), Some(key(*to))),
                Cell::Value { .. } => (None, None),
            };
            let head = own.unwrap_or(value);
            (&head.head[..], head.times, value.body.len() as u64, to)
        });
        let fits = match (wanted, seen) {
            (None, None) => true,
            (Some((head, times, body_len, to)), Some(seen)) => {
                (head, body_len, to) == (&seen.head[..], seen.body_len, seen.alias_to.as_deref())
                    && times.is_none_or(|times| times == seen.times)
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("head of key {at}: wanted {wanted:?}, got {seen:?}")) }
    }

    pub(super) fn check_list(&self, list: &[(Vec<u8>, Head)]) -> Result<(), String> {
        if list.len() as u64 != self.len() {
            return Err(format!("{} entries listed, {} wanted", list.len(), self.len()));
        }
        let mut listed = vec![false; key_count()];
        for (name, head) in list {
            let at = (0..key_count()).find(|at| key(*at) == name).ok_or_else(|| format!("{name:?} was never put"))?;
            let is_value = matches!(self.cells[at], Some(Cell::Value { aux: false, .. }));
            if std::mem::replace(&mut listed[at], true) || !is_value {
                return Err(format!("key {at} is listed and should not be, or twice"));
            }
            self.check_head(at, Some(head))?;
        }
        Ok(())
    }

    /// Whether this is what a handle shows.
    pub(super) fn check(&self, seen: &Seen) -> Result<(), String> {
        for at in 0..key_count() {
            self.check_entry(at, seen.entries[at].as_ref())?;
            self.check_body(at, seen.bodies[at].as_ref())?;
        }
        if seen.len != self.len() {
            return Err(format!("len is {}, {} wanted", seen.len, self.len()));
        }
        self.check_list(&seen.list)
    }
}

fn show_entry(entry: Option<&Entry>) -> String {
    entry.map_or("nothing".into(), |entry| {
        format!("to {:?}, head {:?}, {}", entry.alias_to, entry.head, show_bytes(Some(&entry.body)))
    })
}

fn show_bytes(bytes: Option<&Bytes>) -> String {
    bytes.map_or("nothing".into(), |bytes| format!("{} bytes {:?}", bytes.len(), &bytes[..bytes.len().min(16)]))
}
