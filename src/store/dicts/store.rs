//! [`DictStore`]: two dicts as a [`Store`].

use super::{
    batch::{Batch, Place},
    record::{Header, Kind},
};
use crate::{
    Error, ErrorKind, Result,
    dict::{Change, Dict, Expected},
    log::{Entry, Head, Write},
    store::{Ahead, Reads, Store, StoreStats, Visitor},
};
use bytes::Bytes;
use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How often a batch is made anew because another store changed what was read for it.
const TRIES_MAX: u32 = 32;

/// How long a batch waits for those of other threads, where dicts cannot change together.
const TURN_MAX: Duration = Duration::from_secs(5);

/// Bytes that are read of a record for its head; a longer one takes a second read.
const PROBED: usize = 4096;

/// Records that are probed at once during a visit.
const PROBED_AT_ONCE: usize = 256;

/// A [`Store`] of two dicts: the responses, and whatever leads to them (aliases and bookkeeping).
///
/// This is how to keep a cache in a place of your own: implement [`Dict`] for it, and make two.
///
/// Keys are written in lower-case hex, so that they are text in any dict. Each value carries checksums over its key,
/// its head and its body: one that fails is absent, and counted in [`unsound_reads`](Store::unsound_reads).
///
/// A batch is atomic if both dicts are of one database that can change them together
/// ([`batch_with`](Dict::batch_with), as two tables of an SQLite file can). Elsewhere the batches of one `DictStore`
/// take turns, and those of several (in other processes) see each key alone change atomically: what a batch expects
/// is compared before anything is written, and again as each key is; a conflict that shows only then leaves a part of
/// the batch, which the next try completes. So does a crash, and responses are written before what leads to them.
///
/// ```
/// use larder::{Backend, CachedSession, dict::MemoryDict, store::DictStore};
///
/// # fn main() -> larder::Result<()> {
/// let store = DictStore::new(MemoryDict::new(), MemoryDict::new());
/// let session = CachedSession::builder("cache").backend(Backend::custom(store)).build()?;
/// # Ok(())
/// # }
/// ```
pub struct DictStore {
    responses: Arc<dyn Dict>,
    aliases: Arc<dyn Dict>,
    /// Where bookkeeping goes. Among the responses it makes counting them a matter of reading their heads.
    aux: Place,
    joint: bool,
    turn: Turn,
    unsound: AtomicU64,
}

/// The beginning of a record, as a dict has it.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) bytes: Bytes,
    pub(super) header: Option<Header>,
    /// `None` if it cannot be read.
    pub(super) head: Option<Head>,
}

impl DictStore {
    /// Makes a store of two dicts, which must not be the same.
    pub fn new(responses: impl Dict, aliases: impl Dict) -> Self {
        // Nothing is changed: it is asked whether that could be done together.
        let joint = matches!(responses.batch_with(&[], &aliases, &[]), Ok(Some(_)));
        Self {
            responses: Arc::new(responses),
            aliases: Arc::new(aliases),
            aux: Place::Aliases,
            joint,
            turn: Turn::default(),
            unsound: AtomicU64::new(0),
        }
    }

    /// Keeps bookkeeping among the responses.
    #[cfg(feature = "redis")]
    pub(super) fn with_aux_among_responses(self) -> Self {
        Self { aux: Place::Responses, ..self }
    }

    pub(super) fn responses(&self) -> &dyn Dict {
        &*self.responses
    }

    pub(super) fn aliases(&self) -> &dyn Dict {
        &*self.aliases
    }

    pub(super) fn dict(&self, place: Place) -> &dyn Dict {
        match place {
            Place::Responses => self.responses(),
            Place::Aliases => self.aliases(),
        }
    }

    /// Which dict a record belongs into.
    pub(super) fn place_of(&self, kind: Kind) -> Place {
        match kind {
            Kind::Value => Place::Responses,
            Kind::Alias => Place::Aliases,
            Kind::Aux => self.aux,
        }
    }

    /// Whether what was found is a value, or an alias whose target is there.
    pub(super) fn leads_somewhere(&self, probe: &Probe) -> Result<bool> {
        let Some(header) = probe.header.filter(|header| header.kind == Kind::Alias) else { return Ok(true) };
        match header.target(&probe.bytes) {
            Some((incarnation, to)) => self.is_there(incarnation, &to),
            None => Ok(false),
        }
    }

    /// Whether the target of an alias is there, and has been since the alias was made.
    fn is_there(&self, incarnation: u64, key: &[u8]) -> Result<bool> {
        let found = self.find(key)?.and_then(|probe| probe.header);
        Ok(found.is_some_and(|header| incarnation == 0 || incarnation == header.incarnation))
    }

    /// What stands under a key and can be read.
    fn find(&self, key: &[u8]) -> Result<Option<Probe>> {
        let name = name(key);
        for place in [Place::Responses, Place::Aliases] {
            if let Some(probe) = probe(self.dict(place), &[(key, &name)])?.pop().flatten() {
                if probe.head.is_none() {
                    self.count_unsound();
                }
                return Ok(Some(probe).filter(|probe| probe.head.is_some()));
            }
        }
        Ok(None)
    }

    /// Calls `each` with what can be read of the responses' dict, bookkeeping included.
    fn visit_all(&self, mut each: impl FnMut(&[u8], Kind, Head) -> Result<bool>) -> Result<()> {
        let names = self.responses.keys()?;
        // Others may have put there what they like.
        let keys: Vec<_> = names.iter().filter_map(|name| Some((key(name)?, name))).collect();
        for keys in keys.chunks(PROBED_AT_ONCE) {
            let asked: Vec<_> = keys.iter().map(|(key, name)| (&key[..], &name[..])).collect();
            for ((key, _), probe) in keys.iter().zip(probe(self.responses(), &asked)?) {
                let Some(Probe { header, head, .. }) = probe else { continue };
                let (Some(header), Some(head)) = (header, head) else {
                    self.count_unsound();
                    continue;
                };
                if !each(key, header.kind, head)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Removes the aliases whose target is gone. One that was made before its target waits for it.
    fn remove_dangling(&self) -> Result<()> {
        for stored in &self.aliases.keys()? {
            let Some(key) = key(stored) else { continue };
            let Some(probe) = probe(self.aliases(), &[(&key, stored)])?.pop().flatten() else { continue };
            let target = probe.header.and_then(|header| header.target(&probe.bytes));
            if target.is_some_and(|(incarnation, _)| incarnation != 0) && !self.leads_somewhere(&probe)? {
                self.aliases.batch(&[Change::remove(stored).expecting(Expected::Prefix(&probe.bytes))])?;
            }
        }
        Ok(())
    }

    /// The entry that a record holds, if it can be read, and leads somewhere if it is an alias.
    fn to_entry(&self, key: &[u8], record: &Bytes) -> Result<Option<Entry>> {
        let header = Header::decode(key, record);
        let Some(entry) = header.and_then(|header| header.to_entry(record)) else {
            self.count_unsound();
            return Ok(None);
        };
        match header.and_then(|header| header.target(record)) {
            Some((incarnation, to)) if !self.is_there(incarnation, &to)? => Ok(None),
            _ => Ok(Some(entry)),
        }
    }

    fn count_unsound(&self) {
        self.unsound.fetch_add(1, Ordering::Relaxed);
    }

    fn try_commit(&self, writes: &[Write]) -> Result<bool> {
        let mut batch = Batch::read(self, writes)?;
        batch.check(writes)?;
        for write in writes {
            batch.add(write)?;
        }
        batch.send()
    }
}

impl Store for DictStore {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let name = name(key);
        for place in [Place::Responses, Place::Aliases] {
            if let Some(bytes) = self.dict(place).get(&name)? {
                return self.to_entry(key, &bytes);
            }
        }
        Ok(None)
    }

    /// What is named ahead is read together, if it is more than one key and the dicts can.
    fn reads(&self, ahead: Ahead<'_>) -> Result<Box<dyn Reads + '_>> {
        let keys: Vec<_> = ahead.map(|key| (name(&key), key)).collect();
        let names: Vec<_> = keys.iter().map(|(name, _)| &name[..]).collect();
        let together = if keys.len() > 1 { self.responses.get_with(&names, self.aliases(), &names)? } else { None };
        let (values, others) = together.unwrap_or_default();
        let values = values.into_iter().zip(others).map(|(value, other)| value.or(other));
        let read = keys.into_iter().zip(values).map(|((_, key), value)| (key, value)).collect();
        Ok(Box::new(Together { store: self, read }))
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        match self.find(key)? {
            Some(probe) if self.leads_somewhere(&probe)? => Ok(probe.head),
            _ => Ok(None),
        }
    }

    fn commit(&self, writes: Vec<Write>) -> Result<()> {
        let _turn = if self.joint { None } else { Some(self.turn.take()?) };
        for tried in 1..=TRIES_MAX {
            if self.try_commit(&writes)? {
                return Ok(());
            }
            thread::sleep(Duration::from_micros(u64::from(tried) * 100));
        }
        Err(Error::new(ErrorKind::Conflict, "others change the same entries all the time; try again"))
    }

    fn is_atomic(&self) -> bool {
        self.joint
    }

    fn visit(&self, each: Visitor<'_>) -> Result<()> {
        self.visit_all(|key, kind, head| Ok(kind != Kind::Value || each(key, head)?.is_continue()))
    }

    fn len(&self) -> Result<u64> {
        if self.aux == Place::Aliases {
            return self.responses.len();
        }
        let mut values = 0;
        self.visit_all(|_, kind, _| {
            values += u64::from(kind == Kind::Value);
            Ok(true)
        })?;
        Ok(values)
    }

    fn clear(&self) -> Result<()> {
        self.responses.clear()?;
        self.aliases.clear()
    }

    fn compact(&self) -> Result<()> {
        self.responses.compact()?;
        self.remove_dangling()?;
        self.aliases.compact()
    }

    fn flush(&self) -> Result<()> {
        self.responses.flush()?;
        self.aliases.flush()
    }

    fn stats(&self) -> Result<StoreStats> {
        let size = self.responses.size()?;
        Ok(StoreStats::new(self.len()?, size.live_bytes, size.dead_bytes, size.file_bytes))
    }

    fn location(&self) -> Option<&Path> {
        self.responses.location()
    }

    fn unsound_reads(&self) -> u64 {
        self.unsound.load(Ordering::Relaxed)
    }
}

/// Reads after some that were made together.
struct Together<'a> {
    store: &'a DictStore,
    /// Keys and their records.
    read: Vec<(Bytes, Option<Bytes>)>,
}

impl Reads for Together<'_> {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        match self.read.iter().find(|(read, _)| read == key) {
            Some((_, Some(record))) => self.store.to_entry(key, record),
            Some((_, None)) => Ok(None),
            None => self.store.entry(key),
        }
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        if self.read.iter().any(|(read, _)| read == key) {
            return Ok(self.entry(key)?.map(|entry| Head::of(&entry)));
        }
        self.store.head(key)
    }
}

impl fmt::Debug for DictStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DictStore")
            .field("responses", &self.responses)
            .field("aliases", &self.aliases)
            .finish_non_exhaustive()
    }
}

/// Reads the beginnings of records: keys, and their names in a dict.
pub(super) fn probe(dict: &dyn Dict, keys: &[(&[u8], &[u8])]) -> Result<Vec<Option<Probe>>> {
    let names: Vec<_> = keys.iter().map(|(_, name)| *name).collect();
    let prefixes = dict.prefixes(&names, PROBED)?;
    let mut probes = Vec::with_capacity(keys.len());
    for ((key, name), bytes) in keys.iter().zip(prefixes) {
        let Some(mut bytes) = bytes else {
            probes.push(None);
            continue;
        };
        let mut header = Header::decode(key, &bytes);
        if let Some(long) = header.filter(|header| header.short_len() > PROBED && bytes.len() == PROBED) {
            bytes = dict.prefixes(&[name], long.short_len())?.pop().flatten().unwrap_or_default();
            // It may be another by now.
            header = Header::decode(key, &bytes);
        }
        let head = header.and_then(|header| header.to_head(&bytes));
        probes.push(Some(Probe { bytes, header, head }));
    }
    Ok(probes)
}

/// Whose turn it is to commit.
#[derive(Default)]
struct Turn {
    taken: Mutex<bool>,
    free: Condvar,
}

struct Taken<'a>(&'a Turn);

impl Turn {
    fn take(&self) -> Result<Taken<'_>> {
        let started = Instant::now();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            let Some(left) = TURN_MAX.checked_sub(started.elapsed()) else {
                return Err(Error::new(ErrorKind::Busy, "other threads write to the store all the time; try again"));
            };
            taken = self.free.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Ok(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.free.notify_one();
    }
}

/// A key as the dicts have it: in hex, which any dict takes as text, and any person.
pub(super) fn name(key: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    key.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]).collect()
}

fn key(name: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = name.as_chunks::<2>();
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}
