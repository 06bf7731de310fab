//! What goes through the whole cache.

use super::{
    Cache,
    chain::{Lookup, With},
    plan::Plan,
};
use crate::{
    Expire, Result,
    entry::{Key, StoredResponse, decode_response},
    policy::key::Identity,
    replay::Recorded,
};
use bytes::Bytes;
use std::{ops::ControlFlow, vec};

/// Responses that one batch deletes or changes, so that neither a batch nor the number of syncs grows without bound.
const BATCH_LEN_MAX: usize = 256;

/// Bytes of bodies that one batch rewrites.
const BATCH_BYTES_MAX: u64 = 8 << 20;

/// The stored responses of a cache with their keys, in no particular order: [`Cache::responses`].
///
/// The keys are those at the time of the call; a response that is deleted meanwhile is left out. One response is in
/// memory at a time.
#[derive(Debug)]
pub struct Responses {
    cache: Cache,
    keys: vec::IntoIter<Key>,
}

impl Iterator for Responses {
    type Item = Result<(String, StoredResponse)>;

    fn next(&mut self) -> Option<Self::Item> {
        for key in self.keys.by_ref() {
            match self.cache.walk(key, None, 0, With::Body) {
                Ok(Lookup::Found(chain)) => {
                    return Some(Ok((key.to_hex(), StoredResponse::clone(&chain.response))));
                }
                Ok(Lookup::OtherVariant(_) | Lookup::Nothing) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// A stored response without its body: [`Cache::heads`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CacheHead {
    /// The key of the response.
    pub key: String,
    /// The response; its body is empty.
    pub response: StoredResponse,
    /// The length of the body as it is stored.
    pub body_len: u64,
}

impl Cache {
    /// All stored responses without their bodies, in no particular order, expired ones included.
    ///
    /// One that cannot be decoded is left out, and counted in [`stats`](Cache::stats).
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub fn heads(&self) -> Result<Vec<CacheHead>> {
        let mut heads = Vec::new();
        self.visit(|key, response, body_len| heads.push(CacheHead { key: key.to_hex(), response, body_len }))?;
        Ok(heads)
    }

    /// The URLs of all stored responses, sorted, each once. Credentials in them read `REDACTED`.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub fn urls(&self) -> Result<Vec<String>> {
        let mut urls = Vec::new();
        self.visit(|_, response, _| urls.push(response.url))?;
        urls.sort();
        urls.dedup();
        Ok(urls)
    }

    /// What is recorded, for the error of a request that is not. What cannot be read is left out.
    pub(crate) fn recorded(&self) -> Result<Vec<Recorded>> {
        let mut all = Vec::new();
        self.visit(|_, response, _| {
            all.extend(Identity::of(&response.request).map(|identity| Recorded { url: response.url, identity }));
        })?;
        all.sort_unstable_by(|a, b| (&a.url, &a.identity.method).cmp(&(&b.url, &b.identity.method)));
        Ok(all)
    }

    /// The keys of all stored responses, in no particular order; redirects and aliases are not listed.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub fn keys(&self) -> Result<Vec<String>> {
        Ok(self.all_keys()?.into_iter().map(Key::to_hex).collect())
    }

    /// All stored responses, expired ones included.
    ///
    /// # Errors
    /// Whatever keeps the store from listing its keys. Each item is an error if that response cannot be read; one
    /// that cannot be decoded is left out, and counted in [`stats`](Cache::stats).
    pub fn responses(&self) -> Result<Responses> {
        Ok(Responses { cache: self.clone(), keys: self.all_keys()?.into_iter() })
    }

    /// The stored responses for which this is true: by age, host, code, expiry or whatever else their heads say. The
    /// body is not there to be judged.
    ///
    /// ```
    /// # use larder::{Backend, CachedSession};
    /// # use std::time::{Duration, SystemTime};
    /// # fn main() -> larder::Result<()> {
    /// # let session = CachedSession::builder("cache").backend(Backend::Memory)
    /// #     .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(b"hello".to_vec()))).build()?;
    /// session.get("http://example.org/a").send()?;
    /// let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    /// let old = session.cache().filter(|response| response.age(now) > day)?;
    /// assert_eq!(old.count(), 0);
    /// let ours = session.cache().filter(|response| response.host() == "example.org" && response.status() == 200)?;
    /// assert_eq!(ours.count(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`responses`](Cache::responses).
    pub fn filter(&self, mut keep: impl FnMut(&StoredResponse) -> bool) -> Result<Responses> {
        let mut keys = Vec::new();
        self.visit(|key, response, _| {
            if keep(&response) {
                keys.push(key);
            }
        })?;
        Ok(Responses { cache: self.clone(), keys: keys.into_iter() })
    }

    /// Deletes the responses for which this is true, with the redirects and aliases that lead to them. Returns how
    /// many. The body is not there to be judged.
    ///
    /// # Errors
    /// Whatever the store says; what was deleted until then stays deleted.
    pub fn delete_matching(&self, matches: impl Fn(&StoredResponse) -> bool) -> Result<u64> {
        let mut keys = Vec::new();
        self.visit(|key, response, _| {
            if matches(&response) {
                keys.push(key);
            }
        })?;
        let mut removed = 0;
        for keys in keys.chunks(BATCH_LEN_MAX) {
            removed += self.change(|plan| {
                // It may have been fetched anew since.
                count(plan, keys, |plan, key| plan.delete(key, |response| response.is_some_and(&matches)))
            })?;
        }
        Ok(removed)
    }

    /// Deletes all responses that are expired now, with the redirects and aliases that lead to them. Returns how
    /// many.
    ///
    /// # Errors
    /// Whatever the store says; what was deleted until then stays deleted.
    pub fn remove_expired(&self) -> Result<u64> {
        let now = self.now();
        self.delete_matching(|response| response.is_expired(now))
    }

    /// Gives every stored response, and the redirects that lead to it, this expiry, counted from now. Returns how
    /// many responses.
    ///
    /// # Errors
    /// Whatever the store says; what was changed until then stays changed.
    pub fn reset_expiration(&self, expire: impl Into<Expire>) -> Result<u64> {
        let expires = expire.into().resolve(self.now());
        let mut all = Vec::new();
        self.visit(|key, _, body_len| all.push((key, body_len)))?;
        let mut changed = 0;
        let mut rest = &all[..];
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest));
            let keys: Vec<_> = batch.iter().map(|(key, _)| *key).collect();
            changed += self.change(|plan| count(plan, &keys, |plan, key| plan.reset_expiration(key, expires)))?;
            rest = after;
        }
        Ok(changed)
    }

    /// Calls `each` with key, response without body, and length of the body.
    fn visit(&self, mut each: impl FnMut(Key, StoredResponse, u64)) -> Result<()> {
        self.store().visit(&mut |key, head| {
            if let Some(key) = Key::from_bytes(key) {
                match decode_response(&head.head, Bytes::new()) {
                    Some(response) => each(key, response, head.body_len),
                    None => self.count_error(),
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    pub(super) fn all_keys(&self) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        self.store().visit(&mut |key, _| {
            keys.extend(Key::from_bytes(key));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(keys)
    }
}

fn count(plan: &mut Plan<'_>, keys: &[Key], act: impl Fn(&mut Plan<'_>, Key) -> Result<bool>) -> Result<u64> {
    let mut n = 0;
    for key in keys {
        n += u64::from(act(plan, *key)?);
    }
    Ok(n)
}

/// How many of these go into one batch: at least one.
fn batch_len(all: &[(Key, u64)]) -> usize {
    let mut bytes = 0;
    let fits = all.iter().take(BATCH_LEN_MAX).take_while(|(_, body_len)| {
        bytes += body_len;
        bytes <= BATCH_BYTES_MAX
    });
    fits.count().max(1)
}
