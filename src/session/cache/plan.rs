//! One batch in the making: what was read for it, and what it will write.

use super::lists::Lists;
use crate::{
    Result,
    entry::{ALIAS_HEAD, Key, StoredResponse, UrlEntry, decode_response, encode_response, to_ms},
    log::{Head, Staged, Times, Version, Write},
    policy::{compressed::is_compressed, key::Identity},
    store::Store,
};
use bytes::Bytes;
use http::header;
use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

/// How long after its expiry a response without validator is kept for stale and offline use.
const KEPT_EXPIRED: Duration = Duration::from_secs(24 * 60 * 60);

/// Aliases on the way from a key to its response. More than any chain of redirects that is followed.
pub(super) const STEPS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Plan<'a> {
    store: &'a dyn Store,
    now_ms: i64,
    writes: Vec<Write>,
    urls: Lists<UrlEntry>,
    aliases: Lists<Key>,
    deleted: HashSet<Key>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(store: &'a dyn Store, now: SystemTime) -> Self {
        Self {
            store,
            now_ms: to_ms(now),
            writes: Vec::new(),
            urls: Lists::new(),
            aliases: Lists::new(),
            deleted: HashSet::new(),
        }
    }

    /// Whether a key leads to a response.
    pub(super) fn is_there(&self, key: Key) -> Result<bool> {
        Ok(!self.path(key)?.is_empty())
    }

    /// Whether the way from `from` comes by `key`.
    pub(super) fn leads_to(&self, from: Key, key: Key) -> Result<bool> {
        Ok(from == key || self.path(from)?.iter().any(|(step, _)| *step == key))
    }

    /// Whether an alias of this head leads to this key already.
    pub(super) fn leads_straight(&self, alias: Key, to: Key, head: &Bytes) -> Result<bool> {
        let there = self.store.head(alias.as_bytes())?;
        Ok(there.is_some_and(|there| there.alias_to.as_deref() == Some(to.as_bytes()) && there.head == *head))
    }

    /// Empties the list of a URL and body, whatever it names.
    pub(super) fn unlist(&mut self, identity: &Identity) -> Result<()> {
        self.urls.remove_all(self.store, &identity.list_key())
    }

    /// What is listed under the URL and body of a request.
    pub(super) fn listed(&mut self, identity: &Identity) -> Result<Vec<UrlEntry>> {
        self.urls.items(self.store, &identity.list_key())
    }

    /// Stores a response, then the redirects that led to it, last first, each as an alias of the next.
    /// The body is the response's own, or one that was staged.
    pub(super) fn put_chain(
        &mut self,
        hops: &[StoredResponse],
        response: &StoredResponse,
        staged: Option<&Staged>,
    ) -> Result<Key> {
        let last = self.put(response, staged)?;
        self.put_hops(hops, last)?;
        Ok(last)
    }

    /// Stores redirects, last first, each as an alias of the next, and the last one of `to`.
    pub(super) fn put_hops(&mut self, hops: &[StoredResponse], mut to: Key) -> Result<()> {
        let mut seen = HashSet::from([to]);
        for hop in hops.iter().rev() {
            // A site may redirect to the URL that was asked, to set a cookie. The later answer counts.
            if seen.insert(Identity::of(&hop.request)?.key()) {
                to = self.put_hop(hop, to)?;
            }
        }
        Ok(())
    }

    /// Stores a response under the key of its request, and lists it under its URL.
    fn put(&mut self, response: &StoredResponse, staged: Option<&Staged>) -> Result<Key> {
        let identity = Identity::of(&response.request)?;
        let key = identity.key();
        let (times, head, aux) = (times(response), encode_response(response)?, false);
        self.writes.push(match staged {
            Some(body) => Write::put_staged(key.to_bytes(), head, body, times, aux),
            None if self.store.compresses() && is_compressed(&response.coding, &response.headers) => {
                let body = Staged::from_bytes(response.body.clone()).as_it_is();
                Write::PutStaged { key: key.to_bytes(), head, body, times, aux }
            }
            None => Write::Put { key: key.to_bytes(), head, body: response.body.clone(), times, aux },
        });
        self.list(&identity, key)?;
        Ok(key)
    }

    /// Stores a redirect hop as an alias of `to`, and lists it under its URL and under `to`.
    fn put_hop(&mut self, hop: &StoredResponse, to: Key) -> Result<Key> {
        let identity = Identity::of(&hop.request)?;
        let key = identity.key();
        self.put_alias(key, to, encode_response(hop)?, times(hop))?;
        self.list(&identity, key)?;
        Ok(key)
    }

    /// Makes a key lead to another that is there, without a response of its own.
    pub(super) fn put_plain_alias(&mut self, key: Key, to: Key) -> Result<()> {
        self.put_alias(key, to, Bytes::from_static(ALIAS_HEAD), Times::kept(self.now_ms))
    }

    /// Gives a stored response, and the hops that lead to it, another expiry. Returns whether it was there.
    pub(super) fn reset_expiration(&mut self, key: Key, expires: Option<SystemTime>) -> Result<bool> {
        let Some(entry) = self.store.entry(key.as_bytes())? else { return Ok(false) };
        let Some(response) = decode_response(&entry.head, entry.body) else { return Ok(false) };
        let response = response.with_expires(expires);
        self.expect(key, entry.version);
        self.writes.push(Write::Put {
            key: key.to_bytes(),
            head: encode_response(&response)?,
            body: response.body.clone(),
            times: times(&response),
            aux: false,
        });
        for (alias, head) in self.aliases_leading_to(key)? {
            let Some(hop) = decode_response(&head.head, Bytes::new()) else { continue };
            let Some(to) = head.alias_to else { continue };
            let hop = hop.with_expires(expires);
            self.expect(alias, head.version);
            let (head, times) = (encode_response(&hop)?, times(&hop));
            self.writes.push(Write::Alias { key: alias.to_bytes(), to, head, times });
        }
        Ok(true)
    }

    /// Deletes what a key leads to, and every alias that leads there. Nothing happens if `only` says no to the
    /// response (or what of it can be read). Returns whether something is deleted.
    pub(super) fn delete(&mut self, key: Key, only: impl FnOnce(Option<&StoredResponse>) -> bool) -> Result<bool> {
        let mut path = self.path(key)?;
        let Some((last, head)) = path.pop() else { return Ok(false) };
        if self.deleted.contains(&last) || !only(decode_response(&head.head, Bytes::new()).as_ref()) {
            return Ok(false);
        }
        path.extend(self.aliases_leading_to(last)?);
        self.delete_one(last, &head)?;
        for (alias, head) in path {
            self.delete_one(alias, &head)?;
        }
        Ok(true)
    }

    /// Deletes a response, and every alias that leads there, if it is still of this version.
    pub(super) fn delete_version(&mut self, key: Key, version: Version) -> Result<bool> {
        if self.store.head(key.as_bytes())?.is_none_or(|head| head.version != version) {
            return Ok(false);
        }
        // What is written from now on is another version, and the batch is made anew.
        self.expect(key, version);
        self.delete(key, |_| true)
    }

    /// Applies the batch, all or nothing. `Conflict` if something read for it has changed.
    pub(super) fn commit(mut self) -> Result<()> {
        self.urls.finish(self.now_ms, &mut self.writes)?;
        self.aliases.finish(self.now_ms, &mut self.writes)?;
        if self.writes.iter().all(|write| matches!(write, Write::Expect { .. })) {
            return Ok(());
        }
        self.store.commit(self.writes)
    }

    fn put_alias(&mut self, key: Key, to: Key, head: Bytes, times: Times) -> Result<()> {
        self.aliases.add(self.store, &to.aliases_key(), "", key)?;
        self.writes.push(Write::Alias { key: key.to_bytes(), to: to.to_bytes(), head, times });
        Ok(())
    }

    fn list(&mut self, identity: &Identity, key: Key) -> Result<()> {
        let root = identity.list_key();
        let item = UrlEntry {
            key,
            method: identity.method.clone(),
            base: identity.base(),
            partition: identity.partition,
            variant: identity.variant,
            mark: self.urls.mark(self.store, &root, &identity.url)?,
        };
        self.urls.add(self.store, &root, &identity.url, item)
    }

    /// The keys from `key` to its response, both included; empty if it leads to none.
    fn path(&self, key: Key) -> Result<Vec<(Key, Head)>> {
        let mut path: Vec<(Key, Head)> = Vec::new();
        let mut next = Some(key);
        while let Some(key) = next {
            let Some(head) = self.store.head(key.as_bytes())? else { return Ok(Vec::new()) };
            if path.len() > STEPS_MAX {
                return Ok(Vec::new());
            }
            next = head.alias_to.as_deref().and_then(Key::from_bytes);
            path.push((key, head));
        }
        Ok(path)
    }

    /// Every alias that leads to a key, directly or not.
    pub(super) fn aliases_leading_to(&mut self, key: Key) -> Result<Vec<(Key, Head)>> {
        let mut seen = HashSet::from([key]);
        let mut found = Vec::new();
        let mut open = vec![key];
        while let Some(target) = open.pop() {
            for alias in self.aliases.items(self.store, &target.aliases_key())? {
                if seen.contains(&alias) {
                    continue;
                }
                // A list may name an alias that was pointed elsewhere since.
                let Some(head) = self.store.head(alias.as_bytes())? else { continue };
                if head.alias_to.as_deref() == Some(target.as_bytes()) {
                    seen.insert(alias);
                    open.push(alias);
                    found.push((alias, head));
                }
            }
        }
        Ok(found)
    }

    fn delete_one(&mut self, key: Key, head: &Head) -> Result<()> {
        if !self.deleted.insert(key) {
            return Ok(());
        }
        self.expect(key, head.version);
        self.writes.push(Write::Delete { key: key.to_bytes() });
        self.aliases.remove_all(self.store, &key.aliases_key())?;
        let identity = decode_response(&head.head, Bytes::new()).and_then(|stored| Identity::of(&stored.request).ok());
        if let Some(identity) = identity {
            self.urls.remove(self.store, &identity.list_key(), key)?;
        }
        Ok(())
    }

    fn expect(&mut self, key: Key, version: Version) {
        self.writes.push(Write::Expect { key: key.to_bytes(), version: Some(version) });
    }
}

/// When a store may drop a response: never while it can be served or revalidated.
fn times(response: &StoredResponse) -> Times {
    let has_validator = [header::ETAG, header::LAST_MODIFIED].iter().any(|name| response.headers.contains_key(name));
    let drop_after = match response.expires {
        Some(expires) if !has_validator => expires.checked_add(KEPT_EXPIRED).map_or(i64::MAX, to_ms),
        _ => i64::MAX,
    };
    Times { created_ms: to_ms(response.created), drop_after_ms: drop_after }
}
