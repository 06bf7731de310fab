//! From a key along its redirect hops to the response.

use super::{Cache, plan::STEPS_MAX};
use crate::{
    Result,
    entry::{Key, StoredResponse, UrlEntry, decode_response, is_alias_head},
    log::{Entry, Head, Version},
    policy::{exchange::Found, key::Identity},
};
use bytes::Bytes;
use std::{cmp::Reverse, sync::Arc};

/// A stored response and the redirects that led to it.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// Of the response.
    pub(crate) key: Key,
    /// First asked first; their bodies are empty.
    pub(crate) hops: Vec<Arc<StoredResponse>>,
    pub(crate) response: Arc<StoredResponse>,
    /// Of the entry that holds the body; `None` if it is a redirect, which has none.
    pub(crate) version: Option<Version>,
}

/// A response as it is decoded from an entry, and kept beside it while the store has that in memory.
#[derive(Debug)]
struct Decoded {
    response: Arc<StoredResponse>,
    /// Of the request that it answers; `None` if its URL is not one.
    identity: Option<Identity>,
}

impl Decoded {
    /// What was kept for an entry, or what is kept from now on. `None` if it cannot be decoded.
    ///
    /// A body in a content coding is kept as it is: that is how it is stored only by those who want it so.
    fn of(entry: &Entry) -> Option<Arc<Self>> {
        if let Some(decoded) = entry.memo().get() {
            return Some(decoded);
        }
        let response = decode_response(&entry.head, entry.body.clone())?;
        let identity = Identity::of(&response.request).ok();
        let memory = response.memory() + size_of::<Self>() + identity.as_ref().map_or(0, Identity::memory);
        let decoded = Arc::new(Self { response: Arc::new(response), identity });
        entry.memo().keep(&decoded, memory);
        Some(decoded)
    }

    fn answers(&self, asked: &Identity) -> bool {
        asked.matches(&self.response.request, self.identity.as_ref())
    }
}

impl Chain {
    /// What the policy needs to know of it.
    pub(crate) fn found(&self) -> Found {
        let parts = self.hops.iter().chain([&self.response]);
        Found { expires: parts.filter_map(|part| part.expires_at()).min() }
    }
}

/// What a look-up brings of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Head,
    Body,
}

fn without_body(head: Head) -> Entry {
    match head.alias_to {
        Some(to) => Entry::new_alias(to, head.head, head.times, head.version),
        None => Entry::new(head.head, Bytes::new(), head.times, head.version),
    }
}

/// Whose responses a look-up may find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those of the partition that is asked.
    Own,
    /// If there is none, the latest of any partition and variant, for replay without the credentials of the recording.
    Any,
}

impl Cache {
    /// Finds what is stored for a request, expired or not, and follows at most `hops_max` redirects: the response
    /// of the chain is the redirect itself where that ends.
    ///
    /// What cannot be decoded or answers another request is absent, and counted as an error.
    pub(crate) fn look_up(&self, asked: &Identity, hops_max: usize, whose: Whose, with: With) -> Result<Option<Chain>> {
        let own = self.walk(asked.key(), Some(asked), hops_max, with)?;
        if own.is_some() || whose == Whose::Own {
            return Ok(own);
        }
        for entry in self.latest_first(asked)? {
            let asked = Identity { partition: entry.partition, variant: entry.variant, ..asked.clone() };
            let found = self.walk(entry.key, Some(&asked), hops_max, with)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The chain under a key; `asked` is compared with the request that the first part of it answers.
    pub(super) fn walk(
        &self,
        key: Key,
        asked: Option<&Identity>,
        hops_max: usize,
        with: With,
    ) -> Result<Option<Chain>> {
        let mut hops = Vec::new();
        let (mut key, mut asked) = (key, asked);
        for _ in 0..STEPS_MAX {
            let entry = match with {
                With::Body => self.store().entry(key.as_bytes())?,
                With::Head => self.store().head(key.as_bytes())?.map(without_body),
            };
            let Some(entry) = entry else { return Ok(None) };
            let target = entry.alias_to.as_deref().map(Key::from_bytes);
            if let Some(Some(to)) = target
                && is_alias_head(&entry.head)
            {
                // Made by hand: whoever made it says that the response is the right one.
                (key, asked) = (to, None);
                continue;
            }
            let decoded = Decoded::of(&entry).filter(|found| asked.take().is_none_or(|asked| found.answers(asked)));
            let Some(decoded) = decoded else {
                self.count_error();
                return Ok(None);
            };
            let response = Arc::clone(&decoded.response);
            match target {
                Some(Some(to)) if hops.len() < hops_max => {
                    hops.push(response);
                    key = to;
                }
                _ => {
                    let version = target.is_none().then_some(entry.version);
                    return Ok(Some(Chain { key, hops, response, version }));
                }
            }
        }
        Ok(None)
    }

    fn latest_first(&self, asked: &Identity) -> Result<Vec<UrlEntry>> {
        let base = asked.base();
        let mut dated = Vec::new();
        for entry in self.listed(asked)?.into_iter().filter(|entry| entry.base == base) {
            if let Some(head) = self.store().head(entry.key.as_bytes())? {
                dated.push((Reverse(head.times.created_ms), entry));
            }
        }
        dated.sort_by_key(|(created, _)| *created);
        Ok(dated.into_iter().map(|(_, entry)| entry).collect())
    }
}
