//! From batches to rows.

use super::{
    Lapse, SharedStore,
    read::{hex, parse},
};
use crate::{
    Error, ErrorKind, Result,
    dict::{Change, Dict, Expected},
    entry::{Documented, Key, StoredResponse, decode_response, encode_document, is_alias_head},
    log::{Version, Write},
};
use bytes::Bytes;
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Redirects of one row.
const HOPS_MAX: usize = 64;

/// What Redis keeps after the expiry, as requests-cache has it.
const HOUR: Duration = Duration::from_secs(3600);

/// What one dict is to become.
#[derive(Default)]
struct Changes(Vec<(Bytes, Want)>);

enum Want {
    Is(Option<Bytes>),
    Put(Bytes, Option<SystemTime>),
    Remove,
}

#[derive(Default)]
struct Batch {
    responses: Changes,
    redirects: Changes,
    lists: Changes,
    /// The rows that the batch writes.
    rows: HashMap<[u8; 8], Documented>,
    /// The redirects that it writes, with what each leads to, in order.
    hops: Vec<([u8; 8], Key, StoredResponse)>,
}

impl SharedStore {
    pub(super) fn write(&self, writes: Vec<Write>) -> Result<()> {
        let mut batch = Batch::default();
        for write in writes {
            match write {
                Write::Put { key, head, body, .. } => self.put(&mut batch, &key, head, body)?,
                Write::PutStaged { key, head, body, .. } => {
                    let body = body
                        .as_bytes()
                        .cloned()
                        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the body was staged by another store"))?;
                    self.put(&mut batch, &key, head, body)?;
                }
                Write::Alias { key, to, head, .. } => self.alias(&mut batch, &key, &to, &head)?,
                Write::Delete { key } => delete(&mut batch, key),
                Write::Expect { key, version } => self.expect(&mut batch, &key, version)?,
            }
        }
        self.join_redirects(&mut batch)?;
        for (key, documented) in &batch.rows {
            let row = encode_document(&documented.hops, &documented.response)?;
            let lapse = self.lapse(documented.response.expires);
            batch.responses.0.push((hex(*key).into(), Want::Put(row.into(), lapse)));
        }
        let Batch { responses, redirects, lists, .. } = batch;
        // Lists that name what is not there do no harm.
        if !self.lists.batch(&lists.as_changes())? {
            return Err(conflict());
        }
        let (responses, redirects) = (responses.as_changes(), redirects.as_changes());
        let done = match self.responses.batch_with(&responses, &*self.redirects, &redirects)? {
            Some(done) => done,
            None => self.responses.batch(&responses)? && self.redirects.batch(&redirects)?,
        };
        if done { Ok(()) } else { Err(conflict()) }
    }

    fn put(&self, batch: &mut Batch, key: &Bytes, head: Bytes, body: Bytes) -> Result<()> {
        let Some(at) = Key::from_bytes(key) else {
            batch.lists.0.push((key.clone(), Want::Put(head, None)));
            return Ok(());
        };
        let response = decode_response(&head, body).ok_or_else(not_a_response)?;
        let (key, step) = at.foreign().ok_or_else(foreign_key)?;
        // A step behind redirects stays where they are.
        let hops = match step {
            0 => Vec::new(),
            _ => self.row(key)?.map(|row| row.documented.hops).unwrap_or_default(),
        };
        batch.rows.insert(key, Documented { hops, response });
        Ok(())
    }

    fn alias(&self, batch: &mut Batch, key: &Bytes, to: &Bytes, head: &Bytes) -> Result<()> {
        let (Some(at), Some(to)) = (Key::from_bytes(key), Key::from_bytes(to)) else { return Err(foreign_key()) };
        if is_alias_head(head) {
            let target = self.row_of(batch, to)?;
            batch.redirects.0.push((at.to_hex().into(), Want::Put(hex(target).into(), None)));
            return Ok(());
        }
        let hop = decode_response(head, Bytes::new()).ok_or_else(not_a_response)?;
        let (key, step) = at.foreign().ok_or_else(foreign_key)?;
        if step == 0 {
            batch.hops.push((key, to, hop));
            return Ok(());
        }
        // A redirect inside of a row is replaced there.
        if !batch.rows.contains_key(&key)
            && let Some(row) = self.row(key)?
        {
            batch.rows.insert(key, row.documented);
        }
        let row = batch.rows.get_mut(&key);
        if let Some(old) = row.and_then(|row| row.hops.get_mut(usize::from(step))) {
            *old = hop;
        }
        Ok(())
    }

    fn expect(&self, batch: &mut Batch, key: &Bytes, version: Option<Version>) -> Result<()> {
        use crate::store::Store;
        let found = self.entry(key)?;
        if found.as_ref().map(|entry| entry.version) != version {
            return Err(conflict());
        }
        match Key::from_bytes(key).map(|key| (key.foreign(), key)) {
            None => batch.lists.0.push((key.clone(), Want::Is(found.map(|entry| entry.head)))),
            Some((Some((key, _)), _)) => {
                let name = Bytes::from(hex(key));
                let row = self.responses.get(&name)?;
                batch.responses.0.push((name, Want::Is(row)));
            }
            Some((None, key)) => {
                let name = Bytes::from(key.to_hex());
                let to = self.redirects.get(&name)?;
                batch.redirects.0.push((name, Want::Is(to)));
            }
        }
        Ok(())
    }

    /// Puts each chain of redirects into one row, under the key of the first, and makes all of them keys of it.
    fn join_redirects(&self, batch: &mut Batch) -> Result<()> {
        let hops: HashMap<_, _> = batch.hops.iter().map(|(key, to, hop)| (*key, (*to, hop.clone()))).collect();
        let inner: HashSet<_> = hops.values().filter_map(|(to, _)| to.foreign()).map(|(key, _)| key).collect();
        for (key, ..) in std::mem::take(&mut batch.hops) {
            let is_first = !inner.contains(&key);
            // One that is asked for by itself has a row of its own, which would hide the new one.
            if !is_first && !self.responses.contains(hex(key).as_bytes())? {
                continue;
            }
            let (mut names, mut chain, mut next) =
                (Vec::new(), Vec::new(), Key::from_digest(crate::entry::foreign(key, 0)));
            while let Some((own, (to, hop))) = next.foreign().and_then(|(own, _)| Some((own, hops.get(&own)?))) {
                if names.contains(&own) || chain.len() >= HOPS_MAX {
                    break;
                }
                names.push(own);
                chain.push(hop.clone());
                next = *to;
            }
            let Some(response) = self.end_of(batch, next, &mut chain)? else { continue };
            batch.rows.insert(key, Documented { hops: chain, response });
            for name in names.into_iter().filter(|name| is_first || *name == key) {
                batch.redirects.0.push((hex(name).into(), Want::Put(hex(key).into(), None)));
            }
        }
        Ok(())
    }

    /// The response that a key leads to, with the stored redirects on the way there.
    fn end_of(&self, batch: &Batch, mut key: Key, chain: &mut Vec<StoredResponse>) -> Result<Option<StoredResponse>> {
        for _ in 0..HOPS_MAX {
            if let Some(row) = key.foreign().and_then(|(own, _)| batch.rows.get(&own)) {
                return Ok(Some(row.response.clone()));
            }
            let Some(entry) = self.read(key)? else { return Ok(None) };
            let response = decode_response(&entry.head, entry.body.clone());
            match entry.alias_to.as_deref().map(Key::from_bytes) {
                None => return Ok(response),
                Some(None) => return Ok(None),
                Some(Some(to)) => {
                    chain.extend(response);
                    key = to;
                }
            }
        }
        Ok(None)
    }

    /// The key of the row that a key leads to.
    fn row_of(&self, batch: &Batch, to: Key) -> Result<[u8; 8]> {
        let name = to.to_hex();
        if let Some((key, _)) = to.foreign()
            && (batch.rows.contains_key(&key) || self.responses.contains(name.as_bytes())?)
        {
            return Ok(key);
        }
        let to = self.redirects.get(name.as_bytes())?;
        to.as_deref().and_then(parse).ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the alias leads to nothing"))
    }

    /// When a row may go; whole seconds, rounded as Python rounds them.
    fn lapse(&self, expires: Option<SystemTime>) -> Option<SystemTime> {
        let since = expires?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let rounded = Duration::from_secs(since.as_secs() + u64::from(since.subsec_millis() >= 500));
        let after = if self.lapse == Lapse::HourAfter { HOUR } else { Duration::ZERO };
        UNIX_EPOCH.checked_add(rounded)?.checked_add(after)
    }
}

fn delete(batch: &mut Batch, key: Bytes) {
    let Some(at) = Key::from_bytes(&key) else {
        batch.lists.0.push((key, Want::Remove));
        return;
    };
    let name = Bytes::from(at.to_hex());
    if let Some((own, _)) = at.foreign() {
        batch.rows.remove(&own);
        batch.hops.retain(|(key, ..)| *key != own);
        batch.responses.0.push((name.clone(), Want::Remove));
    }
    batch.redirects.0.push((name, Want::Remove));
}

impl Changes {
    fn as_changes(&self) -> Vec<Change<'_>> {
        self.0.iter().map(|(key, want)| want.as_change(key)).collect()
    }
}

impl Want {
    fn as_change<'a>(&'a self, key: &'a [u8]) -> Change<'a> {
        match self {
            Self::Is(None) => Change::expect(key, Expected::Absent),
            Self::Is(Some(value)) => Change::expect(key, Expected::Value(value)),
            Self::Put(value, lapse) => Change::put(key, value).drop_after(*lapse),
            Self::Remove => Change::remove(key),
        }
    }
}

fn conflict() -> Error {
    Error::new(ErrorKind::Conflict, "the entry has changed; read it again and retry")
}

fn not_a_response() -> Error {
    Error::new(ErrorKind::InvalidInput, "what is to be stored is not a response")
}

fn foreign_key() -> Error {
    Error::new(ErrorKind::InvalidInput, "a cache that is shared with requests-cache has its keys only")
}
