//! The cache: a store of responses, without any policy about serving them.

mod books;
mod chain;
mod copy;
mod counters;
mod lists;
mod plan;
mod salt;
#[cfg(test)]
mod tests;
mod walkers;

pub(crate) use books::Books;
pub(crate) use chain::{Chain, Lookup, Part, Whose, With};
pub use copy::{CopyProgress, CopyReport, VerifyReport};
pub use counters::Counters;
pub(crate) use plan::Marks;
pub(crate) use salt::PartitionBy;
pub use walkers::{CacheHead, Responses};

use crate::{
    Error, ErrorKind, Result,
    entry::{Key, StoredResponse, UrlEntry, encode_response, foreign, foreign_digest},
    log::{Clock, Staged, Version},
    policy::{
        key::{self, Asked, Identity},
        partition::Partitions,
        redact::{self, Credentials, Ignored},
        requests_cache::{KeyRules, Keyed},
    },
    store::Store,
};
use bytes::Bytes;
use counters::Live;
use http::HeaderMap;
use plan::Plan;
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use url::Url;

/// How often a batch is made anew because somebody else has changed what was read for it.
const TRIES_MAX: u32 = 16;

/// The stored responses of a session, to look at and to change: [`session.cache()`](crate::CachedSession::cache).
///
/// A key, where one is asked for, is one of three texts: the key of a response in hex, as
/// [`keys`](Cache::keys) and [`Response::cache_key`](crate::Response::cache_key) give it; an `http` or `https` URL,
/// which stands for a GET of it without credentials; or any other text, which is a name made by
/// [`alias`](Cache::alias). For all responses to a URL, whatever the method and body, and whoever asked, use
/// [`contains_url`](Cache::contains_url) and [`delete_url`](Cache::delete_url).
///
/// A URL is taken as it is: the session's own [query](crate::CachedSessionBuilder::query) is not added to it.
///
/// Nothing here judges freshness: expired responses are found like others. Each change is one atomic batch, but for
/// those to all responses, which go in steps. Cloning gives another handle to the same cache.
///
/// ```
/// # use larder::{Backend, CachedSession};
/// # fn main() -> larder::Result<()> {
/// # let session = CachedSession::builder("cache").backend(Backend::Memory)
/// #     .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(b"hello".to_vec()))).build()?;
/// session.get("http://example.org/a").send()?;
/// let cache = session.cache();
/// assert!(cache.contains_url("http://example.org/a")?);
/// assert_eq!(cache.urls()?, ["http://example.org/a"]);
/// let (response, created) = cache.get("http://example.org/a")?.expect("it was just saved");
/// assert_eq!(&response.bytes()[..], b"hello");
/// assert_eq!(response.created_at(), created);
/// cache.delete_url("http://example.org/a")?;
/// assert!(cache.is_empty()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    partitions: Partitions,
    ignored: Ignored,
    /// How keys are made, if not in our own way.
    foreign: Option<KeyRules>,
    /// Held by whoever had a conflict, so that threads of one process do not conflict for ever.
    contended: Mutex<()>,
    counters: Live,
    errors: AtomicU64,
    /// Responses whose bodies could not be read, and that could not be deleted either.
    condemned: Mutex<Vec<(Key, Version)>>,
}

/// Counts and sizes of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Stored responses; redirect hops and aliases are not counted.
    pub entries: u64,
    /// Bytes of the store that are in use.
    pub live_bytes: u64,
    /// Bytes that a compaction would give back.
    pub dead_bytes: u64,
    /// The size of the file; 0 if there is none.
    pub file_bytes: u64,
    /// Responses that this process has dropped to keep the file within
    /// [`max_size`](crate::CachedSessionBuilder::max_size).
    pub evictions: u64,
    /// Requests of this session and its clones that were answered from the cache.
    pub hits: u64,
    /// Requests of this session and its clones that were not.
    pub misses: u64,
    /// Bytes of bodies that came from the cache for this session and its clones.
    pub bytes_saved: u64,
    /// How much longer the origins took when they were asked for what came from the cache since.
    pub time_saved: Duration,
    /// Hits, misses, bytes and time of all runs and all sessions of this cache, as far as they were stored: at each
    /// [`flush`](Cache::flush) and when the last handle of a session's cache is dropped, unless it is read-only.
    /// [`clear`](Cache::clear) forgets them. This session's own are in it.
    pub all_runs: Counters,
    /// Failures of the store and unreadable responses, which did not break the requests that met them.
    pub errors: u64,
}

impl Cache {
    /// Fails with `Io` if the operating system has no random bytes.
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                clock,
                partitions: Partitions::new()?,
                ignored: Ignored::default(),
                foreign: None,
                contended: Mutex::new(()),
                counters: Live::default(),
                errors: AtomicU64::new(0),
                condemned: Mutex::default(),
            }),
        })
    }

    /// With the keys of requests-cache. To be called before the cache is cloned.
    pub(crate) fn with_foreign_keys(mut self, rules: Option<KeyRules>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.foreign = rules;
        }
        self
    }

    /// With requests in which the values of some parameters do not matter. To be called before the cache is cloned.
    pub(crate) fn ignoring(mut self, ignored: Ignored) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.ignored = ignored;
        }
        self
    }

    pub(crate) fn foreign_keys(&self) -> Option<&KeyRules> {
        self.inner.foreign.as_ref()
    }

    /// The response under a key, and when it was received; `None` if there is none.
    ///
    /// Aliases and redirects are followed to the final response. A URL stands for a GET of it without credentials.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    #[doc(alias("get_response_and_time", "get_response"))]
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<(StoredResponse, SystemTime)>> {
        let chain = self.walk(self.resolve(key.as_ref()), None, usize::MAX, With::Body)?.found();
        Ok(chain.map(|chain| (StoredResponse::clone(&chain.response), chain.response.created_at())))
    }

    /// Stores a response under the key of the request that it answers, and returns that key.
    ///
    /// What was stored under the key is replaced.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the URL of its request is not one, and whatever the store says.
    #[doc(alias = "save_response")]
    pub fn save(&self, response: &StoredResponse) -> Result<String> {
        let Some(rules) = &self.inner.foreign else {
            return self.save_chain(&[], response).map(Key::to_hex);
        };
        let mut response = response.clone();
        let request = &mut response.request;
        if request.body_digest.is_some() && request.body.is_none() {
            let message = "the key needs the body of the request, which is not stored with this response";
            return Err(Error::new(ErrorKind::InvalidInput, message).with_url(request.url.clone()));
        }
        let body = request.body.get_or_insert_default();
        let asked = Keyed { method: &request.method, url: &request.url, headers: &request.headers, body, verify: true };
        request.name = rules.key(&asked).map(|key| foreign(key, 0));
        self.save_chain(&[], &response).map(Key::to_hex)
    }

    /// Makes `new` lead to the response under `to`, as a further key of it.
    ///
    /// If `new` is a URL, a GET of it without credentials is answered with that response from now on.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if nothing is stored under `to`, or if it leads to `new` itself.
    #[doc(alias("add_key_mapping", "save_redirect"))]
    pub fn alias(&self, new: impl AsRef<str>, to: impl AsRef<str>) -> Result<()> {
        let (new, to) = (self.resolve(new.as_ref()), self.resolve(to.as_ref()));
        self.change(|plan| {
            if plan.leads_to(to, new)? {
                return Err(Error::new(ErrorKind::InvalidInput, "an alias cannot lead to itself"));
            }
            if !plan.is_there(to)? {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "nothing is stored under the key that the alias names",
                ));
            }
            plan.put_plain_alias(new, to)
        })
    }

    /// Deletes the response that a key leads to, and all redirects and aliases that lead to it. Returns whether
    /// there was one.
    ///
    /// A URL stands for a GET of it without credentials; for a URL use [`delete_url`](Cache::delete_url).
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn delete(&self, key: impl AsRef<str>) -> Result<bool> {
        let key = self.resolve(key.as_ref());
        self.change(|plan| plan.delete(key, |_| true))
    }

    /// Deletes every response to this URL, whatever the method and the body of the request, whoever asked, with all
    /// redirects and aliases that lead to one of them. Returns whether there were any.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it is not a URL, and whatever the store says.
    pub fn delete_url(&self, url: impl AsRef<str>) -> Result<bool> {
        let identity = self.get_of(url.as_ref())?;
        self.change(|plan| delete_listed(plan, &identity))
    }

    /// Whether a key leads to a response, expired or not.
    ///
    /// A URL stands for a GET of it without credentials; for a URL use [`contains_url`](Cache::contains_url).
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    #[doc(alias = "has_key")]
    pub fn contains(&self, key: impl AsRef<str>) -> Result<bool> {
        self.plan().is_there(self.resolve(key.as_ref()))
    }

    /// Whether there is a response to this URL, expired or not, whatever the method and the body of the request,
    /// whoever asked.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it is not a URL, and whatever keeps the store from answering.
    #[doc(alias = "has_url")]
    pub fn contains_url(&self, url: impl AsRef<str>) -> Result<bool> {
        let identity = self.get_of(url.as_ref())?;
        let mut plan = self.plan();
        if plan.is_there(identity.key())? {
            return Ok(true);
        }
        for entry in plan.listed(&identity)? {
            if plan.is_there(entry.key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many responses are stored; redirects and aliases are not counted.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub fn len(&self) -> Result<u64> {
        self.store().len()
    }

    /// Whether no response is stored.
    ///
    /// # Errors
    /// As [`len`](Cache::len).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Removes everything.
    ///
    /// Entries of other sessions that share the store go as well. The salt of the partitions stays the same.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn clear(&self) -> Result<()> {
        self.clear_but_salt()
    }

    /// Gives back the space of what was deleted or replaced.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn compact(&self) -> Result<()> {
        self.store().compact()
    }

    /// Waits until everything that was saved is on the disk, which only `fast_save` needs, and stores the
    /// [counters](CacheStats::all_runs).
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn flush(&self) -> Result<()> {
        self.inner.store_counters()?;
        self.store().flush()
    }

    /// Counts and sizes.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub fn stats(&self) -> Result<CacheStats> {
        let (store, counters) = (self.store().stats()?, self.inner.counters.now());
        Ok(CacheStats {
            entries: store.entries,
            live_bytes: store.live_bytes,
            dead_bytes: store.dead_bytes,
            file_bytes: store.file_bytes,
            evictions: store.evictions,
            hits: counters.hits,
            misses: counters.misses,
            bytes_saved: counters.bytes,
            time_saved: counters.time_saved,
            all_runs: self.inner.counters_of_all_runs()?,
            errors: self.inner.errors.load(Ordering::Relaxed),
        })
    }

    /// Stores a response and the redirects that led to it, first asked first, in one batch. Returns the key of the
    /// response.
    pub(crate) fn save_chain(&self, hops: &[StoredResponse], response: &StoredResponse) -> Result<Key> {
        self.save_fetched(hops, response, None, &Marks::new())
    }

    /// The same of what was asked when its URLs had these marks, with the body that was staged in the store if it was.
    pub(crate) fn save_fetched(
        &self,
        hops: &[StoredResponse],
        response: &StoredResponse,
        body: Option<&Staged>,
        marks: &Marks,
    ) -> Result<Key> {
        self.change(|plan| plan.put_chain(hops, response, body, marks))
    }

    /// Stores redirects, first asked first, the last of which led to what is stored under `to` already.
    pub(crate) fn save_hops(&self, hops: &[StoredResponse], to: Key, marks: &Marks) -> Result<()> {
        self.change(|plan| if plan.is_there(to)? { plan.put_hops(hops, to, marks) } else { Ok(()) })
    }

    /// Replaces the head of a stored response by that of `response`, which its origin has confirmed; the body stays
    /// where it is. If somebody has changed the entry meanwhile, that counts, and nothing happens.
    pub(crate) fn confirm(&self, part: &Part, response: &StoredResponse, marks: &Marks) -> Result<()> {
        let head = encode_response(response)?;
        match self.store().update_head(part.key.as_bytes(), part.version, head, plan::times(response)) {
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(()),
            result => result?,
        }
        match part.identity() {
            Some(identity) if part.invalid => self.change(|plan| plan.confirm(identity, part.key, marks)),
            _ => Ok(()),
        }
    }

    /// Makes everything stored for these URLs invalid, whoever asked, whatever the method, body and variant, and what
    /// is being fetched for them now.
    pub(crate) fn invalidate(&self, urls: &[Url]) -> Result<()> {
        let asked: Vec<_> = urls.iter().map(|url| self.get_of_parsed(url)).collect::<Result<_>>()?;
        // What others store is not listed, so that a mark on the list would not count for it.
        let has_lists = self.inner.foreign.is_none();
        self.change(|plan| {
            asked.iter().try_for_each(|asked| {
                if has_lists { plan.invalidate(asked) } else { delete_listed(plan, asked).map(drop) }
            })
        })
    }

    /// The key of the list of a URL, and its mark now.
    pub(crate) fn mark(&self, identity: &Identity) -> Result<(Bytes, u64)> {
        let root = identity.list_key();
        let mark = self.url_list(&root)?.map_or(0, |list| list.mark);
        Ok((root, mark))
    }

    /// Deletes a response that is of no use any more, unless it has been written since: its body turned out to be
    /// unreadable, or its origin has taken back that it may be stored. If it cannot be deleted, this handle and its
    /// clones remember it.
    pub(crate) fn condemn(&self, key: Key, version: Version) -> Result<()> {
        const REMEMBERED_MAX: usize = 1024;
        let deleted = self.change(|plan| plan.delete_version(key, version));
        if deleted.is_err() {
            let mut condemned = self.condemned();
            if condemned.len() < REMEMBERED_MAX && !condemned.contains(&(key, version)) {
                condemned.push((key, version));
            }
        }
        match deleted {
            Err(error) if error.kind() != ErrorKind::ReadOnly => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether its body is known to be unreadable.
    pub(crate) fn is_condemned(&self, key: Key, version: Version) -> bool {
        self.condemned().contains(&(key, version))
    }

    fn condemned(&self) -> MutexGuard<'_, Vec<(Key, Version)>> {
        self.inner.condemned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.inner.store
    }

    /// Counts a hit: how many bytes came with it, and how much longer its origin took.
    pub(crate) fn count_hit(&self, bytes: u64, time_saved: Duration) {
        self.inner.counters.hit(bytes, time_saved);
    }

    /// Counts bytes of a hit that are read after it was counted.
    pub(crate) fn count_bytes(&self, bytes: u64) {
        self.inner.counters.bytes(bytes);
    }

    pub(crate) fn count_miss(&self) {
        self.inner.counters.miss();
    }

    pub(crate) fn count_error(&self) {
        self.inner.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// The time that everything here goes by.
    pub(crate) fn now(&self) -> SystemTime {
        let ms = self.inner.clock.wall_ms();
        UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    fn listed(&self, identity: &Identity) -> Result<Vec<UrlEntry>> {
        self.plan().listed(identity)
    }

    fn plan(&self) -> Plan<'_> {
        Plan::new(self.store(), self.now())
    }

    /// The key that a text stands for.
    fn resolve(&self, text: &str) -> Key {
        let hex = if self.inner.foreign.is_some() { foreign_digest(text).map(Key::from_digest) } else { None };
        if let Some(key) = hex.or_else(|| Key::from_hex(text)) {
            return key;
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if matches!(scheme.as_deref(), Some("http" | "https"))
            && let Ok(identity) = self.get_of(text)
        {
            return identity.key();
        }
        key::named(text)
    }

    /// A GET of a URL without credentials.
    fn get_of(&self, url: &str) -> Result<Identity> {
        let parsed = Url::parse(url).map_err(|error| {
            let shown = redact::url(url, &mut Credentials::default());
            Error::new(ErrorKind::InvalidInput, format!("not a URL: {error}")).with_url(shown)
        })?;
        self.get_of_parsed(&parsed)
    }

    fn get_of_parsed(&self, url: &Url) -> Result<Identity> {
        let mut identity = Asked::ignoring(&self.inner.ignored, "GET", url, &Arc::default(), &[])?.identity;
        if let Some(rules) = &self.inner.foreign {
            let asked = Keyed { method: "GET", url: url.as_str(), headers: &HeaderMap::new(), body: &[], verify: true };
            identity.name = rules.key(&asked).map(|key| foreign(key, 0));
        }
        Ok(identity)
    }

    /// Makes a batch and applies it; makes it anew if something has changed in between.
    fn change<T>(&self, make: impl Fn(&mut Plan<'_>) -> Result<T>) -> Result<T> {
        let mut turn = None;
        for tried in 1.. {
            let mut plan = self.plan();
            let value = make(&mut plan)?;
            match plan.commit() {
                Err(error) if error.kind() == ErrorKind::Conflict && tried < TRIES_MAX => {
                    turn.get_or_insert_with(|| self.inner.contended.lock().unwrap_or_else(PoisonError::into_inner));
                    // Others may be processes, which the lock does not hold back.
                    std::thread::sleep(Duration::from_micros(u64::from(tried * tried) * 50));
                }
                result => return result.map(|()| value),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "others change the same entry all the time; try again"))
    }
}

/// Deletes what is stored under the key of a request, and what is listed under its URL. Whether there was any.
fn delete_listed(plan: &mut Plan<'_>, identity: &Identity) -> Result<bool> {
    let mut any = plan.delete(identity.key(), |_| true)?;
    for entry in plan.listed(identity)? {
        any |= plan.delete(entry.key, |_| true)?;
    }
    plan.unlist(identity)?;
    Ok(any)
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("store", &self.inner.store).finish_non_exhaustive()
    }
}
