//! From a key along its redirect hops to the response.

use super::{Cache, plan::STEPS_MAX};
use crate::{
    Result,
    entry::{Index, Key, StoredRequest, StoredResponse, UrlEntry, Variants, decode_response, is_alias_head},
    log::{Entry, Head, Version},
    policy::{
        freshness::{Facts, Held},
        key::{Identity, variant_key},
        requests_cache::KeyRules,
        vary::variant,
    },
    store::{Ahead, Reads},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use std::{cmp::Reverse, iter, ops::Deref, sync::Arc};

/// A stored response and the redirects that led to it.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// First asked first; their bodies are empty.
    pub(crate) hops: Vec<Part>,
    pub(crate) response: Part,
}

/// One stored response of a chain.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) key: Key,
    pub(crate) version: Version,
    /// Whether it is a redirect that leads on, and has no body.
    is_alias: bool,
    decoded: Arc<Decoded>,
    /// Whether it was made invalid since it was stored.
    pub(crate) invalid: bool,
}

/// What a look-up came to.
#[derive(Debug, Clone)]
pub(crate) enum Lookup {
    Found(Chain),
    /// There is something for other values of these request headers; of whichever, where none is named.
    OtherVariant(Vec<HeaderName>),
    Nothing,
}

impl Lookup {
    /// The headers by which it is known to be another variant.
    pub(crate) fn names(&self) -> Vec<HeaderName> {
        match self {
            Self::OtherVariant(names) => names.clone(),
            Self::Found(_) | Self::Nothing => Vec::new(),
        }
    }

    pub(crate) fn found(self) -> Option<Chain> {
        match self {
            Self::Found(chain) => Some(chain),
            Self::OtherVariant(_) | Self::Nothing => None,
        }
    }
}

/// A response as it is decoded from an entry, and kept beside it while the store has that in memory.
#[derive(Debug)]
struct Decoded {
    response: Arc<StoredResponse>,
    facts: Facts,
    /// Of the request that it answers; `None` if its URL is not one.
    identity: Option<Identity>,
    /// The key of the list of its URL.
    list_key: Option<Bytes>,
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
        let facts = Facts::of(&response.headers);
        let identity = Identity::of(&response.request).ok();
        let list_key = identity.as_ref().map(Identity::list_key);
        let memory = response.memory()
            + facts.memory()
            + size_of::<Self>()
            + identity.as_ref().map_or(0, Identity::memory)
            + list_key.as_ref().map_or(0, Bytes::len);
        let decoded = Arc::new(Self { response: Arc::new(response), facts, identity, list_key });
        entry.memo().keep(&decoded, memory);
        Some(decoded)
    }

    /// Whether a request with these headers gets it. The key of a variant does not tell where a 304 has changed by what
    /// the response varies, and the keys of others never do.
    fn is_for(&self, headers: &HeaderMap, rules: Option<&KeyRules>) -> bool {
        let (names, stored) = (self.facts.vary.names(), &self.response.request.headers);
        if names.is_empty() {
            return !self.facts.vary.is_any();
        }
        if let Some(rules) = rules {
            return rules.is_same_variant(names, stored, headers);
        }
        let own = variant(names, headers);
        // What is redacted is stored as part of the variant alone.
        self.response.request.variant == Some(own) || variant(names, stored) == own
    }

    /// Whether it is what is asked for, as the variant that was chosen.
    fn answers(&self, asked: &Identity, chosen: Option<[u8; 32]>) -> bool {
        let (request, identity) = (&self.response.request, self.identity.as_ref());
        match chosen {
            None => asked.matches(request, identity),
            Some(variant) => asked.matches_variant(variant, request, identity),
        }
    }
}

impl Part {
    /// What the policy needs to know of it.
    pub(crate) fn held(&self) -> Held<'_> {
        Held { response: &self.decoded.response, facts: &self.decoded.facts, invalid: self.invalid }
    }

    /// The same entry with the headers that its origin has sent for it since.
    pub(crate) fn with(&self, response: StoredResponse) -> Self {
        let facts = Facts::of(&response.headers);
        let Decoded { identity, list_key, .. } = &*self.decoded;
        let (identity, list_key) = (identity.clone(), list_key.clone());
        let decoded = Decoded { response: Arc::new(response), facts, identity, list_key };
        Self { decoded: Arc::new(decoded), ..self.clone() }
    }

    /// Of the entry that holds the body; `None` if there is none.
    pub(crate) fn body_version(&self) -> Option<Version> {
        (!self.is_alias).then_some(self.version)
    }

    pub(crate) fn response(&self) -> &Arc<StoredResponse> {
        &self.decoded.response
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.decoded.identity.as_ref()
    }
}

impl Deref for Part {
    type Target = StoredResponse;

    fn deref(&self) -> &StoredResponse {
        &self.decoded.response
    }
}

impl Chain {
    /// All parts, first asked first.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.hops.iter().chain([&self.response])
    }

    /// The first redirect alone, as if nothing behind it were stored.
    pub(crate) fn cut(mut self) -> Self {
        if self.hops.is_empty() {
            return self;
        }
        Self { response: self.hops.swap_remove(0), hops: Vec::new() }
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
    /// The same, each marked if it was made invalid since it was stored.
    OwnMarked,
    /// If there is none, the latest of any partition and variant, for replay without the credentials of the recording.
    Any,
}

/// What stands under a key, or which variant of it.
struct Chosen {
    key: Key,
    entry: Entry,
    variant: Option<[u8; 32]>,
    /// The headers by which the variant was chosen.
    names: Vec<HeaderName>,
}

impl Chosen {
    /// What was not chosen among others.
    fn only(key: Key, entry: Entry) -> Self {
        Self { key, entry, variant: None, names: Vec::new() }
    }
}

/// One look-up in the store, however many records it takes.
struct Look<'a> {
    cache: &'a Cache,
    reads: Box<dyn Reads + 'a>,
}

impl Cache {
    /// Finds what is stored for a request with these headers, expired or not, and follows at most `hops_max` redirects:
    /// the response of the chain is the redirect itself where that ends.
    ///
    /// What cannot be decoded or answers another request is absent, and counted as an error. `elsewhere` says where
    /// else a variant may be, given the names of the headers that tell it from the one under the key.
    pub(crate) fn look_up(
        &self,
        asked: &Identity,
        headers: &HeaderMap,
        hops_max: usize,
        (whose, with): (Whose, With),
        elsewhere: impl Fn(&[HeaderName]) -> Option<Identity>,
    ) -> Result<Lookup> {
        let key = asked.key();
        let lists = iter::repeat_with(|| asked.list_key()).take(usize::from(whose == Whose::OwnMarked));
        let mut ahead = iter::once_with(|| key.to_bytes()).chain(lists);
        // A body that is not wanted may be long.
        let look = if with == With::Body { self.look(&mut ahead)? } else { self.look(&mut iter::empty())? };
        let mut own = look.walk(key, Some((asked, Some(headers))), hops_max, with)?;
        if let Lookup::OtherVariant(names) = &own
            && !names.is_empty()
            && let Some(asked) = elsewhere(names)
            && let found @ Lookup::Found(_) = look.walk(asked.key(), Some((&asked, Some(headers))), hops_max, with)?
        {
            own = found;
        }
        match (own, whose) {
            (Lookup::Found(chain), Whose::OwnMarked) => look.marked(chain).map(Lookup::Found),
            (own @ Lookup::Found(_), _) | (own, Whose::Own | Whose::OwnMarked) => Ok(own),
            (own, Whose::Any) => {
                for entry in self.latest_first(asked)? {
                    let asked = Identity { partition: entry.partition, variant: entry.variant, ..asked.clone() };
                    let found = look.walk(entry.key, Some((&asked, None)), hops_max, with)?;
                    if matches!(found, Lookup::Found(_)) {
                        return Ok(found);
                    }
                }
                Ok(own)
            }
        }
    }

    /// As [`Look::walk`].
    pub(super) fn walk(
        &self,
        key: Key,
        asked: Option<(&Identity, Option<&HeaderMap>)>,
        hops_max: usize,
        with: With,
    ) -> Result<Lookup> {
        self.look(&mut iter::empty())?.walk(key, asked, hops_max, with)
    }

    /// The variant of what a stored request asks for that was stored last, and the names by which it differs from
    /// others.
    pub(super) fn latest_variant(&self, request: &StoredRequest) -> Result<Option<(Key, Vec<HeaderName>)>> {
        let entry = self.look(&mut iter::empty())?.read(Identity::of(request)?.home(), With::Head)?;
        let variants = entry.as_ref().and_then(variants_of);
        Ok(variants.map(|variants| (variants.latest, variants.sets().next().unwrap_or_default())))
    }

    /// A record of the list of a URL, decoded once while the store has it in memory.
    pub(super) fn url_list(&self, key: &[u8]) -> Result<Option<Arc<Index<UrlEntry>>>> {
        self.look(&mut iter::empty())?.url_list(key)
    }

    /// Begins a look-up, in which these keys will probably be read.
    fn look(&self, ahead: Ahead<'_>) -> Result<Look<'_>> {
        Ok(Look { cache: self, reads: self.store().reads(ahead)? })
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

impl Look<'_> {
    /// The chain under a key; what is asked is compared with the request that the first part of it answers, and the
    /// headers with those that responses vary by.
    fn walk(
        &self,
        key: Key,
        asked: Option<(&Identity, Option<&HeaderMap>)>,
        hops_max: usize,
        with: With,
    ) -> Result<Lookup> {
        let mut headers = asked.and_then(|(_, headers)| headers);
        let mut asked = asked.map(|(identity, _)| identity);
        let mut hops = Vec::new();
        let mut key = key;
        for _ in 0..STEPS_MAX {
            let Some(entry) = self.read(key, with)? else { return Ok(Lookup::Nothing) };
            let variants = variants_of(&entry);
            let chosen = match &variants {
                Some(variants) => self.choose(variants, headers, with)?,
                None => Some(Chosen::only(key, entry)),
            };
            let Some(Chosen { key: chosen, entry, variant, names }) = chosen else {
                return Ok(Lookup::OtherVariant(variants.map_or_else(Vec::new, |variants| variants.names())));
            };
            let target = entry.alias_to.as_deref().map(Key::from_bytes);
            if let Some(Some(to)) = target
                && is_alias_head(&entry.head)
            {
                // Made by hand: whoever made it says that the response is the right one.
                (key, asked, headers) = (to, None, None);
                continue;
            }
            let decoded =
                Decoded::of(&entry).filter(|found| asked.take().is_none_or(|asked| found.answers(asked, variant)));
            let Some(decoded) = decoded else {
                self.cache.count_error();
                return Ok(Lookup::Nothing);
            };
            let (version, is_alias) = (entry.version, target.is_some());
            let rules = self.cache.foreign_keys();
            // What was chosen by the very names that it varies by was told by its key.
            let told =
                variant.is_some() && variant == decoded.response.request.variant && names == decoded.facts.vary.names();
            if headers.is_some_and(|headers| !told && !decoded.is_for(headers, rules)) {
                return Ok(Lookup::OtherVariant(decoded.facts.vary.names().to_vec()));
            }
            let part = Part { key: chosen, version, is_alias, decoded, invalid: false };
            match target {
                Some(Some(to)) if hops.len() < hops_max => {
                    hops.push(part);
                    key = to;
                }
                _ => return Ok(Lookup::Found(Chain { hops, response: part })),
            }
        }
        Ok(Lookup::Nothing)
    }

    fn read(&self, key: Key, with: With) -> Result<Option<Entry>> {
        match with {
            With::Body => self.reads.entry(key.as_bytes()),
            With::Head => Ok(self.reads.head(key.as_bytes())?.map(without_body)),
        }
    }

    /// The variant for these headers, the latest for none.
    ///
    /// RFC 9111, 4.1: "If multiple stored responses match, the cache will need to choose one to use. When a nominated
    /// request header field has a known mechanism for ranking preference [..], that mechanism MAY be used to choose a
    /// preferred response. If such a mechanism is not available, or leads to equally preferred responses, the most
    /// recent response (as determined by the Date header field) is chosen".
    fn choose(&self, variants: &Variants, headers: Option<&HeaderMap>, with: With) -> Result<Option<Chosen>> {
        let Some(headers) = headers else {
            return Ok(self.read(variants.latest, with)?.map(|entry| Chosen::only(variants.latest, entry)));
        };
        let mut best: Option<(Reverse<i64>, Chosen)> = None;
        for names in variants.sets() {
            let variant = variant(&names, headers);
            let key = variant_key(&variants.base, variants.partition.as_ref(), &variant);
            if let Some(entry) = self.read(key, with)? {
                let age = Reverse(entry.times.created_ms);
                if best.as_ref().is_none_or(|(best, _)| age < *best) {
                    best = Some((age, Chosen { key, entry, variant: Some(variant), names }));
                }
            }
        }
        Ok(best.map(|(_, chosen)| chosen))
    }

    /// Tells of each part whether its URL was invalidated since it was stored.
    fn marked(&self, mut chain: Chain) -> Result<Chain> {
        for part in chain.hops.iter_mut().chain([&mut chain.response]) {
            let Some(root) = &part.decoded.list_key else { continue };
            part.invalid = self.is_invalid(root, part.key)?;
        }
        Ok(chain)
    }

    fn is_invalid(&self, root: &Bytes, key: Key) -> Result<bool> {
        let Some(list) = self.url_list(root)? else { return Ok(false) };
        if list.mark == 0 {
            return Ok(false);
        }
        let listed = match list.find(key) {
            None if list.spread => {
                let page = self.url_list(&crate::entry::page_key(root, key.page()))?;
                page.as_ref().and_then(|page| page.find(key)).map(|entry| entry.mark)
            }
            listed => listed.map(|entry| entry.mark),
        };
        // What the list has no room for may be older than the mark.
        Ok(listed.is_none_or(|mark| mark < list.mark))
    }

    fn url_list(&self, key: &[u8]) -> Result<Option<Arc<Index<UrlEntry>>>> {
        let Some(entry) = self.reads.entry(key)? else { return Ok(None) };
        if let Some(list) = entry.memo().get() {
            return Ok(Some(list));
        }
        let Some(list) = Index::decode(&entry.head) else { return Ok(None) };
        let list = Arc::new(list);
        entry.memo().keep(&list, list.memory());
        Ok(Some(list))
    }
}

/// The record that leads to variants, if the entry is one; decoded once while the store has it in memory.
fn variants_of(entry: &Entry) -> Option<Arc<Variants>> {
    if let Some(variants) = entry.memo().get() {
        return Some(variants);
    }
    let variants = Arc::new(Variants::decode(&entry.head)?);
    entry.memo().keep(&variants, entry.head.len() * 4 + size_of::<Variants>());
    Some(variants)
}
