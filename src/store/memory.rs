//! A store that lives as long as its process.

use super::{Store, StoreStats, Visitor};
use crate::{
    Error, ErrorKind, Result,
    log::{Entry, Head, Memo, Times, Version, Write},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A [`Store`] in memory. Dropping it forgets everything; deleting an entry frees its memory at once.
///
/// There is no limit on its size. What a reader makes of an entry may be kept [beside it](Memo), and is no part of the
/// numbers that the store tells.
///
/// ```
/// use larder::{log::{Times, Write}, store::{MemoryStore, Store}};
///
/// let store = MemoryStore::new();
/// let (key, head, body) = ("key".into(), "head".into(), "body".into());
/// store.commit(vec![Write::Put { key, head, body, times: Times::kept(0), aux: false }])?;
/// assert_eq!(&store.entry(b"key")?.expect("it is there").body[..], b"body");
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: HashMap<Bytes, Record>,
    /// The number of the latest write; versions and incarnations are taken from it.
    number: u64,
    bytes: u64,
    values: u64,
}

/// What stands under a key.
struct Record {
    value: Value,
    head: Bytes,
    times: Times,
    memo: Memo,
    number: u64,
    /// The write since which the key has been there without interruption. An alias names the one of its target.
    incarnation: u64,
}

enum Value {
    Body { body: Bytes, aux: bool },
    Alias { to: Bytes, incarnation: u64 },
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code of others runs under the lock, and what runs does not panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MemoryStore").field("values", &state.values).field("bytes", &state.bytes).finish()
    }
}

impl Store for MemoryStore {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.state().entry(key))
    }

    fn commit(&self, writes: Vec<Write>) -> Result<()> {
        let mut state = self.state();
        for write in &writes {
            if let Write::PutStaged { body, .. } = write
                && body.as_bytes().is_none()
            {
                return Err(Error::new(ErrorKind::InvalidInput, "the body was staged by another store"));
            }
            if let Write::Expect { key, version } = write
                && state.entry(key).map(|entry| entry.version) != *version
            {
                return Err(Error::new(ErrorKind::Conflict, "the entry has changed; read it again and retry"));
            }
        }
        for write in writes {
            state.apply(write);
        }
        Ok(())
    }

    fn visit(&self, each: Visitor<'_>) -> Result<()> {
        let state = self.state();
        let listed = state.records.iter().filter(|(_, record)| record.is_listed());
        let keys: Vec<_> = listed.map(|(key, _)| key.clone()).collect();
        drop(state);
        for key in keys {
            let Some(entry) = self.state().entry(&key) else { continue };
            if entry.alias_to.is_none() && each(&key, Head::of(&entry))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn len(&self) -> Result<u64> {
        Ok(self.state().values)
    }

    fn clear(&self) -> Result<()> {
        let mut state = self.state();
        *state = State { number: state.number, ..State::default() };
        Ok(())
    }

    fn compact(&self) -> Result<()> {
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> Result<StoreStats> {
        let state = self.state();
        Ok(StoreStats { entries: state.values, live_bytes: state.bytes, ..StoreStats::default() })
    }

    fn location(&self) -> Option<&Path> {
        None
    }
}

impl State {
    fn entry(&self, key: &[u8]) -> Option<Entry> {
        let record = self.records.get(key)?;
        let version = Version::new(0, record.number);
        let entry = match &record.value {
            Value::Body { body, .. } => Some(Entry::new(record.head.clone(), body.clone(), record.times, version)),
            Value::Alias { to, incarnation } => {
                let target = self.records.get(to)?;
                (*incarnation == 0 || *incarnation == target.incarnation)
                    .then(|| Entry::new_alias(to.clone(), record.head.clone(), record.times, version))
            }
        };
        entry.map(|entry| entry.with_memo(record.memo.clone()))
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Put { key, head, body, times, aux } => self.insert(key, head, times, Value::Body { body, aux }),
            Write::PutStaged { key, head, body, times, aux } => {
                let body = body.as_bytes().cloned().unwrap_or_default();
                self.insert(key, head, times, Value::Body { body, aux });
            }
            Write::Alias { key, to, head, times } => {
                // 0: there is no target yet, and any will do.
                let incarnation = self.records.get(&to).map_or(0, |target| target.incarnation);
                self.insert(key, head, times, Value::Alias { to, incarnation });
            }
            Write::Delete { key } => self.remove(&key),
            Write::Expect { .. } => {}
        }
    }

    fn insert(&mut self, key: Bytes, head: Bytes, times: Times, value: Value) {
        self.number += 1;
        let number = self.number;
        let incarnation = self.records.get(&key).map_or(number, |old| old.incarnation);
        self.remove(&key);
        let memo = Memo::beside(head.len());
        let record = Record { value, head, times, memo, number, incarnation };
        self.bytes += record.bytes(&key);
        self.values += u64::from(record.is_listed());
        self.records.insert(key, record);
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(old) = self.records.remove(key) {
            self.bytes -= old.bytes(key);
            self.values -= u64::from(old.is_listed());
        }
    }
}

impl Record {
    fn is_listed(&self) -> bool {
        matches!(self.value, Value::Body { aux: false, .. })
    }

    fn bytes(&self, key: &[u8]) -> u64 {
        let rest = match &self.value {
            Value::Body { body, .. } => body.len(),
            Value::Alias { to, .. } => to.len(),
        };
        (key.len() + self.head.len() + rest) as u64
    }
}
