//! From rows to entries.

use super::SharedStore;
use crate::{
    Error, ErrorKind, Result,
    entry::{
        ALIAS_HEAD, Documented, Key, StoredResponse, decode_document, encode_response, foreign, foreign_digest,
        pickle::{decode_pickle, is_pickle},
        to_ms,
    },
    log::{Entry, Times, Version},
};
use bytes::Bytes;
use http::{HeaderMap, header::VARY};
use siphasher::sip::SipHasher13;
use std::{hash::Hasher, sync::atomic::Ordering};

/// A row that was read.
pub(super) struct Row {
    pub(super) raw: Bytes,
    pub(super) documented: Documented,
}

/// The response at the end of a row; `None` if it cannot be read.
pub(super) type Last = Option<(StoredResponse, Version)>;

impl SharedStore {
    /// The entry of a bookkeeping key.
    pub(super) fn list(&self, key: &[u8]) -> Result<Option<Entry>> {
        let head = self.lists.get(key)?;
        Ok(head.map(|head| {
            let version = version(&[&head]);
            Entry::new(head, Bytes::new(), Times::kept(0), version)
        }))
    }

    /// The entry of a response, a redirect or an alias.
    pub(super) fn read(&self, key: Key) -> Result<Option<Entry>> {
        let Some((own, step)) = key.foreign() else {
            // A name that people chose.
            return self.plain_alias(&key.to_hex());
        };
        let name = hex(own);
        if let Some(row) = self.row(own)? {
            let at = if step > 0 { usize::from(step) } else { self.position(&row.documented, own).unwrap_or(0) };
            return self.present(own, own, &row, at).map(Some);
        }
        if step > 0 {
            return Ok(None);
        }
        let Some(to) = self.redirects.get(name.as_bytes())?.as_deref().and_then(parse) else { return Ok(None) };
        let Some(row) = self.row(to)? else { return Ok(None) };
        match self.position(&row.documented, own).filter(|at| *at < row.documented.hops.len()) {
            Some(at) => self.present(own, to, &row, at).map(Some),
            None => self.plain_alias(&name),
        }
    }

    /// Where the response at the end of a row is found, unless it has a row of its own: then the row is a copy.
    pub(super) fn last_step(&self, key: [u8; 8]) -> Result<Option<(Key, Last)>> {
        let row = match self.row(key) {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Decode => return Ok(Some((first(key), None))),
            Err(error) => return Err(error),
        };
        let hops = row.documented.hops.len();
        let step = match self.position(&row.documented, key) {
            Some(at) if at == hops => 0,
            _ => u8::try_from(hops).unwrap_or(u8::MAX),
        };
        if step > 0 && self.own_row(key, &row.documented.response)?.is_some() {
            return Ok(None);
        }
        let version = version(&[&row.raw]);
        let mut response = row.documented.response;
        let own = if step == 0 { Some(key) } else { self.keys_of(&response).first().copied() };
        response.request.name = Some(foreign(own.unwrap_or(key), 0));
        Ok(Some((Key::from_digest(foreign(key, step)), Some((response, version)))))
    }

    /// The row under a key. What is damaged is absent, and counted; a pickle that is refused is an error.
    pub(super) fn row(&self, key: [u8; 8]) -> Result<Option<Row>> {
        let Some(raw) = self.responses.get(hex(key).as_bytes())? else { return Ok(None) };
        let documented = if is_pickle(&raw) {
            let pickled = decode_pickle(&raw).map_err(|refused| {
                let message = format!(
                    "the pickle of entry {} is not read: at byte {}, {}",
                    hex(key),
                    refused.offset,
                    refused.why
                );
                Error::new(ErrorKind::Decode, message)
            });
            Some(pickled?)
        } else {
            decode_document(&raw)
        };
        if documented.is_none() {
            self.unsound.fetch_add(1, Ordering::Relaxed);
        }
        Ok(documented.map(|documented| Row { raw, documented }))
    }

    /// Which redirect of a row has this key; behind the last one is the response itself.
    fn position(&self, documented: &Documented, key: [u8; 8]) -> Option<usize> {
        if documented.hops.is_empty() {
            return Some(0);
        }
        // The response first: Python keeps it under its own key with nothing before it.
        if self.keys_of(&documented.response).contains(&key) {
            return Some(documented.hops.len());
        }
        // A redirect has a key for each variant of what it leads to.
        let headers = &documented.response.headers;
        documented.hops.iter().position(|hop| self.keys_before(hop, headers).contains(&key))
    }

    /// One step of the row under `row_key`, as it was asked for by `key`.
    fn present(&self, key: [u8; 8], row_key: [u8; 8], row: &Row, at: usize) -> Result<Entry> {
        let hops = &row.documented.hops;
        let Some(hop) = hops.get(at) else {
            let mut response = row.documented.response.clone();
            // Behind redirects it has another key than the row.
            let all = if hops.is_empty() { vec![key] } else { self.keys_of(&response) };
            let own = if all.contains(&key) { key } else { all.first().copied().unwrap_or(key) };
            response.request.name = Some(foreign(own, 0));
            let (head, times) = (encode_response(&response)?, times(&response));
            return Ok(Entry::new(head, response.body, times, version(&[&row.raw])));
        };
        let step = |at: usize| Key::from_digest(foreign(row_key, u8::try_from(at).unwrap_or(u8::MAX)));
        let to = match hops.get(at + 1) {
            None => self.own_row(row_key, &row.documented.response)?.unwrap_or_else(|| step(at + 1)),
            Some(next) => {
                self.own_alias(row_key, next, &row.documented.response.headers)?.unwrap_or_else(|| step(at + 1))
            }
        };
        let mut hop = StoredResponse { body: Bytes::new(), ..hop.clone() };
        let own =
            if at == 0 || self.keys_of(&hop).contains(&key) { Some(key) } else { self.keys_of(&hop).first().copied() };
        hop.request.name = Some(foreign(own.unwrap_or(key), 0));
        let version = version(&[&row.raw, &hex(key).into_bytes()]);
        Ok(Entry::new_alias(to.to_bytes(), encode_response(&hop)?, times(&hop), version))
    }

    /// The key of the row that a response has for itself, beside the one with its redirects.
    fn own_row(&self, row_key: [u8; 8], response: &StoredResponse) -> Result<Option<Key>> {
        let varies = response.headers.contains_key(VARY);
        let all = self.keys_of(response);
        for key in all.iter().copied().filter(|key| *key != row_key) {
            let is_there = if varies {
                // Another variant may have the key.
                self.row(key)?.is_some_and(|row| self.keys_of(&row.documented.response) == all)
            } else {
                self.responses.contains(hex(key).as_bytes())?
            };
            if is_there {
                return Ok(Some(first(key)));
            }
        }
        Ok(None)
    }

    /// The key of a redirect in the middle of a row, if it leads to that row.
    fn own_alias(&self, row_key: [u8; 8], hop: &StoredResponse, end: &HeaderMap) -> Result<Option<Key>> {
        for key in self.keys_before(hop, end) {
            let to = self.redirects.get(hex(key).as_bytes())?;
            if key != row_key
                && to.as_deref().and_then(parse) == Some(row_key)
                && !self.responses.contains(hex(key).as_bytes())?
            {
                return Ok(Some(first(key)));
            }
        }
        Ok(None)
    }

    fn plain_alias(&self, name: &str) -> Result<Option<Entry>> {
        let Some(to) = self.redirects.get(name.as_bytes())? else { return Ok(None) };
        let Some(key) = parse(&to).filter(|key| hex(*key) != name) else { return Ok(None) };
        if !self.responses.contains(&to)? {
            return Ok(None);
        }
        let (head, version) = (Bytes::from_static(ALIAS_HEAD), version(&[&to]));
        Ok(Some(Entry::new_alias(first(key).to_bytes(), head, Times::kept(0), version)))
    }

    /// What is written with a response, or else what may be its key.
    pub(super) fn keys_of(&self, response: &StoredResponse) -> Vec<[u8; 8]> {
        self.keys_before(response, &response.headers)
    }

    /// The same of a redirect before an answer with these headers.
    fn keys_before(&self, hop: &StoredResponse, end: &HeaderMap) -> Vec<[u8; 8]> {
        let written = hop.request.name.map(Key::from_digest).and_then(|key| key.foreign());
        written.map_or_else(|| (self.keys_of)(&hop.request, end), |(key, _)| vec![key])
    }
}

/// The key of a response of its own, or of the first redirect of a row.
pub(super) fn first(key: [u8; 8]) -> Key {
    Key::from_digest(foreign(key, 0))
}

/// A key as it is written there.
pub(super) fn hex(key: [u8; 8]) -> String {
    first(key).to_hex()
}

pub(super) fn parse(name: &[u8]) -> Option<[u8; 8]> {
    let digest = foreign_digest(std::str::from_utf8(name).ok()?)?;
    Key::from_digest(digest).foreign().map(|(key, _)| key)
}

pub(super) fn times(response: &StoredResponse) -> Times {
    Times::kept(to_ms(response.created))
}

/// A version that changes with what is stored: equal bytes are as good as the same write.
pub(super) fn version(parts: &[&[u8]]) -> Version {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    Version::new(0, hasher.finish())
}
