//! One batch of writes, turned into changes of the two dicts.

use super::{
    record::{Draft, Kind, STAMP_LEN},
    store::{DictStore, Probe, name, probe},
};
use crate::{
    Error, ErrorKind, Result,
    dict::{Change, Dict, Expected, New},
    log::{Times, Write},
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What stands under the keys that a batch touches, and what it makes of them.
pub(super) struct Batch<'a> {
    store: &'a DictStore,
    /// Ordered, so that two batches on the same keys take them in the same order.
    slots: BTreeMap<Bytes, Slot>,
    random: Random,
}

struct Slot {
    name: Vec<u8>,
    /// What was read, in each dict.
    response: Option<Probe>,
    alias: Option<Probe>,
    /// Since when the key has been there without interruption, as the batch has it so far.
    incarnation: Option<u64>,
    new: Outcome,
}

/// What a batch makes of a key.
enum Outcome {
    Kept,
    Removed,
    Set { kind: Kind, record: Vec<u8>, drop_after_ms: i64 },
}

impl<'a> Batch<'a> {
    /// Reads what is there.
    pub(super) fn read(store: &'a DictStore, writes: &[Write]) -> Result<Self> {
        let mut slots = BTreeMap::new();
        for write in writes {
            let (Write::Put { key, .. }
            | Write::PutStaged { key, .. }
            | Write::Alias { key, .. }
            | Write::Delete { key }
            | Write::Expect { key, .. }) = write;
            let to = if let Write::Alias { to, .. } = write { Some(to) } else { None };
            for key in [Some(key), to].into_iter().flatten() {
                slots.entry(key.clone()).or_insert_with(|| Slot::new(key));
            }
        }
        let keys: Vec<_> = slots.iter().map(|(key, slot)| (&key[..], &slot.name[..])).collect();
        let (responses, aliases) = (probe(store.responses(), &keys)?, probe(store.aliases(), &keys)?);
        for (slot, (response, alias)) in slots.values_mut().zip(responses.into_iter().zip(aliases)) {
            (slot.response, slot.alias) = (response, alias);
            slot.incarnation = slot.sound().and_then(|probe| probe.header).map(|header| header.incarnation);
        }
        let random = Random::new()?;
        Ok(Self { store, slots, random })
    }

    /// Fails with `Conflict` unless all that the writes expect is so.
    pub(super) fn check(&self, writes: &[Write]) -> Result<()> {
        for write in writes {
            let Write::Expect { key, version } = write else { continue };
            let slot = self.slots.get(key);
            let found = match slot.and_then(Slot::sound) {
                Some(probe) if self.store.leads_somewhere(probe)? => Some(probe),
                _ => None,
            };
            if found.and_then(|probe| probe.head.as_ref()).map(|head| head.version) != *version {
                return Err(Error::new(ErrorKind::Conflict, "the entry has changed; read it again and retry"));
            }
        }
        Ok(())
    }

    /// Makes one more write part of the batch.
    pub(super) fn add(&mut self, write: &Write) -> Result<()> {
        match write {
            Write::Put { key, head, body, times, aux } => self.put(key, head, body, *times, *aux),
            Write::PutStaged { key, head, body, times, aux } => match body.as_bytes() {
                Some(body) => self.put(key, head, body, *times, *aux),
                None => Err(Error::new(ErrorKind::InvalidInput, "the body was staged by another store")),
            },
            Write::Alias { key, to, head, times } => {
                // 0: there is no target yet, and any will do.
                let incarnation = self.slots.get(to).and_then(|slot| slot.incarnation).unwrap_or(0);
                let body = [&incarnation.to_le_bytes()[..], to].concat();
                self.set(key, Kind::Alias, head, &body, *times)
            }
            Write::Delete { key } => {
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.incarnation = None;
                    slot.new = Outcome::Removed;
                }
                Ok(())
            }
            Write::Expect { .. } => Ok(()),
        }
    }

    /// Applies it. `false` if something that was read has changed since.
    pub(super) fn send(&self) -> Result<bool> {
        let (responses, aliases) = (self.store.responses(), self.store.aliases());
        let (mine, theirs) = (self.changes(Place::Responses), self.changes(Place::Aliases));
        if let Some(done) = responses.batch_with(&mine, aliases, &theirs)? {
            return Ok(done);
        }
        // One after the other, so that whatever is cut short leaves nothing that leads to nothing: what is only
        // expected is not sent, as it would hold for a moment only.
        let puts = |kind: Kind| {
            let chosen = move |slot: &Slot| matches!(&slot.new, Outcome::Set { kind: own, .. } if *own == kind);
            let place = self.store.place_of(kind);
            let slots = self.slots.values().filter(move |slot| chosen(slot));
            (place, slots.map(move |slot| slot.change(place, self.store)).collect::<Vec<_>>())
        };
        for kind in [Kind::Aux, Kind::Value, Kind::Alias] {
            let (place, changes) = puts(kind);
            if !send(self.store.dict(place), &changes)? {
                return Ok(false);
            }
        }
        for (dict, changes) in [(responses, &mine), (aliases, &theirs)] {
            let removals: Vec<_> = changes.iter().copied().filter(|change| change.new == New::Remove).collect();
            if !send(dict, &removals)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn put(&mut self, key: &Bytes, head: &[u8], body: &[u8], times: Times, aux: bool) -> Result<()> {
        self.set(key, if aux { Kind::Aux } else { Kind::Value }, head, body, times)
    }

    fn set(&mut self, key: &Bytes, kind: Kind, head: &[u8], body: &[u8], times: Times) -> Result<()> {
        let version = self.random.version();
        let fresh = self.random.incarnation();
        let Some(slot) = self.slots.get_mut(key) else { return Ok(()) };
        let incarnation = *slot.incarnation.get_or_insert(fresh);
        let record = Draft { version, incarnation, times, kind, head, body }.encode(key);
        let max = self.store.dict(self.store.place_of(kind)).max_value();
        if record.len() as u64 > max {
            let message = format!("the entry takes {} bytes, and the store at most {max}; use the log", record.len());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        slot.new = Outcome::Set { kind, record, drop_after_ms: times.drop_after_ms };
        Ok(())
    }

    fn changes(&self, place: Place) -> Vec<Change<'_>> {
        self.slots.values().map(|slot| slot.change(place, self.store)).collect()
    }
}

/// Which of the two dicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Responses,
    Aliases,
}

impl Slot {
    fn new(key: &Bytes) -> Self {
        Self { name: name(key), response: None, alias: None, incarnation: None, new: Outcome::Kept }
    }

    /// What is there and can be read.
    fn sound(&self) -> Option<&Probe> {
        [&self.response, &self.alias].into_iter().flatten().next().filter(|probe| probe.head.is_some())
    }

    /// The change in one of the dicts: what was read there is expected to be there still.
    fn change(&self, place: Place, store: &DictStore) -> Change<'_> {
        let found = if place == Place::Responses { &self.response } else { &self.alias };
        let expected = found
            .as_ref()
            .map_or(Expected::Absent, |probe| Expected::Prefix(probe.bytes.get(..STAMP_LEN).unwrap_or(&probe.bytes)));
        let change = match &self.new {
            Outcome::Set { kind, record, drop_after_ms } if store.place_of(*kind) == place => {
                Change::put(&self.name, record).drop_after_ms(*drop_after_ms)
            }
            // The other dict may have had it.
            Outcome::Set { .. } | Outcome::Removed if found.is_some() => Change::remove(&self.name),
            Outcome::Set { .. } | Outcome::Removed | Outcome::Kept => return Change::expect(&self.name, expected),
        };
        change.expecting(expected)
    }
}

fn send(dict: &dyn Dict, changes: &[Change<'_>]) -> Result<bool> {
    if changes.is_empty() { Ok(true) } else { dict.batch(changes) }
}

/// Random bytes for the versions and incarnations of one batch.
struct Random {
    seed: [u8; 16],
    count: u64,
}

impl Random {
    fn new() -> Result<Self> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(|error| {
            Error::new(ErrorKind::Io, format!("the operating system gives no random bytes: {error}"))
        })?;
        Ok(Self { seed, count: 0 })
    }

    /// Differs from all others.
    fn version(&mut self) -> [u8; 16] {
        self.count += 1;
        (u128::from_le_bytes(self.seed).wrapping_add(self.count.into())).to_le_bytes()
    }

    /// Never 0.
    fn incarnation(&mut self) -> u64 {
        let [high, low] = [0, 8].map(|at| self.seed[at..].first_chunk().copied().unwrap_or_default());
        let mixed = u64::from_le_bytes(high) ^ u64::from_le_bytes(low).rotate_left(32);
        mixed.wrapping_add(self.count).max(1)
    }
}
