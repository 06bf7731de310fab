//! One batch in the making: what was read for it, and what it will write.

use super::lists::Lists;
use crate::{
    Result,
    entry::{ALIAS_HEAD, Key, StoredResponse, UrlEntry, Variants, decode_response, encode_response, to_ms},
    log::{Head, Staged, Times, Version, Write},
    policy::{compressed::is_compressed, key::Identity, vary::Vary},
    store::Store,
};
use bytes::Bytes;
use http::header;
use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, SystemTime},
};

/// How long after its expiry a response without validator is kept for stale and offline use.
const KEPT_EXPIRED: Duration = Duration::from_secs(24 * 60 * 60);

/// Aliases on the way from a key to its response. More than any chain of redirects that is followed.
pub(super) const STEPS_MAX: usize = 64;

/// The marks of URLs, by the keys of their lists, as they were when the URLs were asked.
pub(crate) type Marks = BTreeMap<Bytes, u64>;

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

    /// Empties the list of a URL, whatever it names.
    pub(super) fn unlist(&mut self, identity: &Identity) -> Result<()> {
        self.urls.remove_all(self.store, &identity.list_key())
    }

    /// What is listed under the URL of a request.
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
        marks: &Marks,
    ) -> Result<Key> {
        let (last, home) = self.put(response, staged, marks)?;
        self.put_hops(hops, home, marks)?;
        Ok(last)
    }

    /// Stores redirects, last first, each as an alias of the next, and the last one of `to`.
    pub(super) fn put_hops(&mut self, hops: &[StoredResponse], mut to: Key, marks: &Marks) -> Result<()> {
        let mut seen = HashSet::from([to]);
        for hop in hops.iter().rev() {
            let home = Identity::of(&hop.request)?.home();
            // A site may redirect to the URL that was asked, to set a cookie. The later answer counts.
            if seen.insert(home) {
                self.put_hop(hop, to, marks)?;
                to = home;
            }
        }
        Ok(())
    }

    /// Stores a response under the key of its request, and lists it under its URL. Gives its key, and the one that
    /// leads to it whatever its variant.
    fn put(&mut self, response: &StoredResponse, staged: Option<&Staged>, marks: &Marks) -> Result<(Key, Key)> {
        let identity = Identity::of(&response.request)?;
        let key = identity.key();
        self.put_among_variants(&identity, response)?;
        let (times, head, aux) = (times(response), encode_response(response)?, false);
        self.writes.push(match staged {
            Some(body) => Write::put_staged(key.to_bytes(), head, body, times, aux),
            None if self.store.compresses() && is_compressed(&response.coding, &response.headers) => {
                let body = Staged::from_bytes(response.body.clone()).as_it_is();
                Write::PutStaged { key: key.to_bytes(), head, body, times, aux }
            }
            None => Write::Put { key: key.to_bytes(), head, body: response.body.clone(), times, aux },
        });
        self.list(&identity, key, marks)?;
        Ok((key, identity.home()))
    }

    /// Stores a redirect hop as an alias of `to`, and lists it under its URL and under `to`.
    fn put_hop(&mut self, hop: &StoredResponse, to: Key, marks: &Marks) -> Result<()> {
        let identity = Identity::of(&hop.request)?;
        let key = identity.key();
        self.put_among_variants(&identity, hop)?;
        self.put_alias(key, to, encode_response(hop)?, times(hop))?;
        self.list(&identity, key, marks)
    }

    /// Has the record that leads to the variants of a request name this one; or, where the response does not vary,
    /// takes away the variants, none of which will be chosen again.
    fn put_among_variants(&mut self, identity: &Identity, response: &StoredResponse) -> Result<()> {
        let (home, key, root) = (identity.home(), identity.key(), identity.list_key());
        let head = self.store.head(home.as_bytes())?;
        let version = head.as_ref().map(|head| head.version);
        let old = head.as_ref().and_then(|head| Variants::decode(&head.head));
        if identity.variant.is_none() {
            let gone = if old.is_some() { self.variants_of(identity)? } else { Vec::new() };
            for entry in gone {
                if let Some(head) = self.store.head(entry.key.as_bytes())? {
                    self.deleted.insert(entry.key);
                    self.expect(entry.key, head.version);
                    self.writes.push(Write::Delete { key: entry.key.to_bytes() });
                }
                self.urls.remove(self.store, &root, entry.key)?;
            }
            return Ok(());
        }
        if head.is_some() && old.is_none() {
            // A response that did not vary gives way.
            self.urls.mark(self.store, &root, &identity.url)?;
            self.urls.remove(self.store, &root, home)?;
        }
        let mut new = old.clone().unwrap_or_else(|| Variants::new(identity.base(), identity.partition, key));
        new.note(Vary::of(&response.headers).names(), key);
        self.writes.push(Write::Expect { key: home.to_bytes(), version });
        if old.as_ref() != Some(&new) {
            self.put_variants(home, &new)?;
        }
        Ok(())
    }

    fn put_variants(&mut self, home: Key, variants: &Variants) -> Result<()> {
        let (head, times) = (variants.encode()?, Times::kept(self.now_ms));
        self.writes.push(Write::Put { key: home.to_bytes(), head, body: Bytes::new(), times, aux: true });
        Ok(())
    }

    /// What is listed as a variant of the same request.
    fn variants_of(&mut self, identity: &Identity) -> Result<Vec<UrlEntry>> {
        let base = identity.base();
        let mut listed = self.listed(identity)?;
        listed.retain(|entry| entry.variant.is_some() && entry.base == base && entry.partition == identity.partition);
        Ok(listed)
    }

    /// Makes everything that is stored for a URL stale, and what is under way to be stored for it.
    pub(super) fn invalidate(&mut self, identity: &Identity) -> Result<()> {
        self.urls.raise_mark(self.store, &identity.list_key(), &identity.url)
    }

    /// Lists what was confirmed as stored when its URL had this mark.
    pub(super) fn confirm(&mut self, identity: &Identity, key: Key, marks: &Marks) -> Result<()> {
        if self.store.head(key.as_bytes())?.is_some() { self.list(identity, key, marks) } else { Ok(()) }
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
        // Redirects to a response that varies lead to the record of its variants.
        let varied = Some(Identity::of(&response.request)?).filter(|identity| identity.variant.is_some());
        let targets: Vec<Key> = [key].into_iter().chain(varied.map(|identity| identity.home())).collect();
        for (alias, head) in self.aliases_leading_to(&targets)? {
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
        path.extend(self.aliases_leading_to(&[last])?);
        self.delete_one(last, &head)?;
        for (alias, head) in path {
            self.delete_one(alias, &head)?;
        }
        Ok(true)
    }

    /// Has the record that leads to the variants of a request name one that is left; without any, it goes, with what
    /// leads to it.
    fn delete_from_variants(&mut self, identity: &Identity, key: Key) -> Result<()> {
        let home = identity.home();
        let Some(head) = self.store.head(home.as_bytes())? else { return Ok(()) };
        let Some(mut variants) = Variants::decode(&head.head) else { return Ok(()) };
        match self.variants_of(identity)?.last() {
            Some(left) if variants.latest == key => {
                variants.latest = left.key;
                self.expect(home, head.version);
                self.put_variants(home, &variants)
            }
            Some(_) => Ok(()),
            None => {
                for (alias, head) in self.aliases_leading_to(&[home])? {
                    self.delete_one(alias, &head)?;
                }
                self.delete_one(home, &head)
            }
        }
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

    fn list(&mut self, identity: &Identity, key: Key, marks: &Marks) -> Result<()> {
        let root = identity.list_key();
        let current = self.urls.mark(self.store, &root, &identity.url)?;
        let item = UrlEntry {
            key,
            method: identity.method.clone(),
            base: identity.base(),
            partition: identity.partition,
            variant: identity.variant,
            // What was asked for before the URL was invalidated is older than that.
            mark: marks.get(&root).map_or(current, |asked| current.min(*asked)),
        };
        self.urls.add(self.store, &root, &identity.url, item)
    }

    /// The keys from `key` to its response, both included; empty if it leads to none.
    fn path(&self, key: Key) -> Result<Vec<(Key, Head)>> {
        let mut path: Vec<(Key, Head)> = Vec::new();
        let (mut next, mut steps) = (Some(key), 0);
        while let Some(key) = next {
            let Some(head) = self.store.head(key.as_bytes())? else { return Ok(Vec::new()) };
            steps += 1;
            if steps > STEPS_MAX {
                return Ok(Vec::new());
            }
            if let Some(variants) = Variants::decode(&head.head) {
                next = Some(variants.latest);
                continue;
            }
            next = head.alias_to.as_deref().and_then(Key::from_bytes);
            path.push((key, head));
        }
        Ok(path)
    }

    /// Every alias that leads to one of these keys, directly or not.
    pub(super) fn aliases_leading_to(&mut self, keys: &[Key]) -> Result<Vec<(Key, Head)>> {
        let mut seen: HashSet<Key> = keys.iter().copied().collect();
        let mut found = Vec::new();
        let mut open = keys.to_vec();
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
        let Some(identity) = identity else { return Ok(()) };
        self.urls.remove(self.store, &identity.list_key(), key)?;
        if identity.variant.is_some() { self.delete_from_variants(&identity, key) } else { Ok(()) }
    }

    fn expect(&mut self, key: Key, version: Version) {
        self.writes.push(Write::Expect { key: key.to_bytes(), version: Some(version) });
    }
}

/// When a store may drop a response: never while it can be served or revalidated.
pub(super) fn times(response: &StoredResponse) -> Times {
    let has_validator = [header::ETAG, header::LAST_MODIFIED].iter().any(|name| response.headers.contains_key(name));
    let drop_after = match response.expires {
        Some(expires) if !has_validator => expires.checked_add(KEPT_EXPIRED).map_or(i64::MAX, to_ms),
        _ => i64::MAX,
    };
    // Of two variants the one that was received or confirmed last is chosen.
    let created_ms = to_ms(response.validated.unwrap_or(response.created));
    Times { created_ms, drop_after_ms: drop_after }
}
