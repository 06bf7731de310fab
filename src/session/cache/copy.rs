//! Copies what one cache holds into another, whatever stores and keys they have.

use super::{
    Cache, Marks,
    chain::{Chain, Lookup, With},
    plan::Plan,
};
use crate::{
    Error, ErrorKind, Result,
    entry::{Key, StoredResponse, decode_response, foreign, is_alias_head, to_ms},
    log::{Staged, Version},
    policy::{
        key::{Asked, Identity, digest},
        partition,
        redact::{self, Credentials},
        requests_cache::Keyed,
        vary::{Vary, variant},
    },
};
use bytes::Bytes;
use http::HeaderMap;
use std::{fmt::Write as _, io, ops::ControlFlow};

/// Bodies longer than this are copied piece by piece.
const WHOLE_MAX: u64 = 8 << 20;

/// What [`Cache::update`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CopyReport {
    /// Responses that were copied.
    pub copied: u64,
    /// Responses that were there already, the same.
    pub unchanged: u64,
    /// Redirects and aliases that were copied.
    pub aliases: u64,
    /// Responses that the other cache's keys have no place for, and those that could not be read.
    pub skipped: u64,
    /// Bytes of the bodies that were copied.
    pub bytes: u64,
}

/// How far [`Cache::update_with`] is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CopyProgress<'a> {
    /// Responses that are done, one way or another.
    pub done: u64,
    /// Responses that there are.
    pub total: u64,
    /// What was done so far.
    pub report: CopyReport,
    /// Why the response that was done last was skipped, if it was.
    pub skipped: Option<&'a Error>,
}

/// What [`Cache::verify`] has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Responses that are the same in both.
    pub same: u64,
    /// Responses that this cache does not have.
    pub missing: u64,
    /// Responses that differ in status, URL, headers, expiry or body.
    pub different: u64,
    /// Responses that the keys of this cache have no place for, and those that could not be read.
    pub skipped: u64,
    /// SHA-256 over all that are the same, whatever their order, in hex.
    pub checksum: String,
}

impl VerifyReport {
    /// Whether nothing is missing and nothing differs.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing == 0 && self.different == 0
    }
}

impl Cache {
    /// Copies all responses of another cache into this one, with their redirects and aliases. What both have under one
    /// key is replaced, unless it is the same.
    ///
    /// The caches may be in different stores and have keys of different schemes. With larder's own keys in both,
    /// responses keep their partitions: an empty cache takes over the salt that these depend on; if both have one, the
    /// responses of partitions are copied, but only found by their keys, by URL and in replay. So are those that
    /// requests-cache stored for requests with credentials, since it does not tell whose. Responses to requests
    /// with credentials or with a body that larder stored under its own keys have no place in a cache with those of
    /// requests-cache, and are skipped.
    ///
    /// It goes on where it was interrupted if it is called again.
    ///
    /// ```
    /// # use larder::{Backend, CachedSession};
    /// # fn main() -> larder::Result<()> {
    /// # let origin = |_: &http::Request<bytes::Bytes>| Ok(http::Response::new(b"hello".to_vec()));
    /// let from = CachedSession::builder("a").backend(Backend::Memory).transport(origin).build()?;
    /// from.get("http://example.org/").send()?;
    /// let to = CachedSession::builder("b").backend(Backend::Memory).transport(origin).build()?;
    /// assert_eq!(to.cache().update(from.cache())?.copied, 1);
    /// assert!(to.get("http://example.org/").send()?.from_cache());
    /// assert!(to.cache().verify(from.cache())?.is_whole());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Whatever either store says; what was copied until then stays. A response that cannot be read is skipped.
    pub fn update(&self, other: &Cache) -> Result<CopyReport> {
        self.update_with(other, |_| ControlFlow::Continue(()))
    }

    /// The same, telling how far it is after each response. It ends early if told to.
    ///
    /// # Errors
    /// As [`update`](Cache::update).
    pub fn update_with(
        &self,
        other: &Cache,
        mut each: impl FnMut(&CopyProgress<'_>) -> ControlFlow<()>,
    ) -> Result<CopyReport> {
        let raw = self.inner.foreign.is_none() && other.inner.foreign.is_none();
        if raw && let Some(salt) = other.stored_salt()? {
            self.put_salt(salt)?;
        }
        let keys = other.all_keys()?;
        let mut progress =
            CopyProgress { done: 0, total: keys.len() as u64, report: CopyReport::default(), skipped: None };
        for key in keys {
            let copied = if raw { self.copy_raw(other, key) } else { self.copy_anew(other, key) };
            let skipped = match copied {
                Ok(part) => {
                    progress.report.add(part);
                    None
                }
                Err(error) if is_about_the_entry(&error) => {
                    progress.report.skipped += 1;
                    Some(error)
                }
                Err(error) => return Err(error),
            };
            progress.done += 1;
            let told = CopyProgress { skipped: skipped.as_ref(), ..progress.clone() };
            if each(&told).is_break() {
                return Ok(progress.report);
            }
        }
        if other.inner.foreign.is_some() {
            progress.report.aliases += self.copy_foreign_aliases(other)?;
        }
        Ok(progress.report)
    }

    /// Reads all responses of another cache once more, and compares them with those of this one.
    ///
    /// # Errors
    /// Whatever either store says.
    pub fn verify(&self, other: &Cache) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let mut sum = [0_u8; 32];
        for key in other.all_keys()? {
            let theirs = match other.walk(key, None, 0, With::Body).map(Lookup::found) {
                Ok(Some(chain)) => chain,
                Ok(None) => continue,
                Err(error) if is_about_the_entry(&error) => {
                    report.skipped += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Ok((own, wanted)) = self.own_form(other, key, &theirs.response) else {
                report.skipped += 1;
                continue;
            };
            let wanted = fingerprint(&wanted);
            match self.walk(own, None, usize::MAX, With::Body)?.found() {
                None => report.missing += 1,
                Some(ours) if fingerprint(&ours.response) == wanted => {
                    report.same += 1;
                    sum.iter_mut().zip(wanted).for_each(|(sum, byte)| *sum ^= byte);
                }
                Some(_) => report.different += 1,
            }
        }
        report.checksum = sum.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Ok(report)
    }

    /// One response with its head as it is, and the aliases that lead to it.
    fn copy_raw(&self, other: &Cache, key: Key) -> Result<CopyReport> {
        let Some(head) = other.store().head(key.as_bytes())? else { return Ok(CopyReport::default()) };
        let mut report = CopyReport::default();
        let there = self.store().head(key.as_bytes())?;
        let same = there.is_some_and(|there| there.head == head.head && there.body_len == head.body_len);
        let mut staged = None;
        let mut body = Bytes::new();
        if same {
            report.unchanged = 1;
        } else {
            (report.copied, report.bytes) = (1, head.body_len);
            if head.body_len > WHOLE_MAX {
                staged = Some(self.stage_from(other, key, head.version)?);
            } else {
                let Some(entry) = other.store().entry(key.as_bytes())? else { return Err(unreadable(key)) };
                body = entry.body;
            }
        }
        let response = decode_response(&head.head, body).ok_or_else(|| unreadable(key))?;
        let varied = Some(Identity::of(&response.request)?).filter(|identity| identity.variant.is_some());
        let targets: Vec<Key> = [key].into_iter().chain(varied.map(|identity| identity.home())).collect();
        let aliases = other.plan().aliases_leading_to(&targets)?;
        report.aliases = self.change(|plan| {
            if !same {
                plan.put_chain(&[], &response, staged.as_ref(), &Marks::new())?;
            }
            let mut new = 0;
            // Nearest first, so that what each leads to is there.
            for (alias, head) in &aliases {
                let Some(to) = head.alias_to.as_deref().and_then(Key::from_bytes) else { continue };
                if plan.leads_straight(*alias, to, &head.head)? {
                    continue;
                }
                put_alias(plan, *alias, to, &head.head)?;
                new += 1;
            }
            Ok(new)
        })?;
        Ok(report)
    }

    /// One response under the key that it has here.
    fn copy_anew(&self, other: &Cache, key: Key) -> Result<CopyReport> {
        let Some(chain) = other.walk(key, None, 0, With::Body)?.found() else { return Ok(CopyReport::default()) };
        let (own, response) = self.own_form(other, key, &chain.response)?;
        let there = self.walk(own, None, 0, With::Body)?.found();
        if there.is_some_and(|there| fingerprint(&there.response) == fingerprint(&response)) {
            return Ok(CopyReport { unchanged: 1, ..CopyReport::default() });
        }
        self.save_chain(&[], &response)?;
        let hops = if other.inner.foreign.is_none() { other.plan().aliases_leading_to(&[key])? } else { Vec::new() };
        let mut aliases = 0;
        for (alias, _) in hops {
            if let Some(chain) = other.walk(alias, None, usize::MAX, With::Head)?.found() {
                aliases += u64::from(self.copy_hops(other, &chain, own)?);
            }
        }
        Ok(CopyReport { copied: 1, aliases, bytes: response.body.len() as u64, ..CopyReport::default() })
    }

    /// The redirects of requests-cache, which are listed apart.
    fn copy_foreign_aliases(&self, other: &Cache) -> Result<u64> {
        let mut keys = Vec::new();
        other.store().visit_aliases(&mut |key| {
            keys.extend(Key::from_bytes(key));
            Ok(ControlFlow::Continue(()))
        })?;
        let mut copied = 0;
        for key in keys {
            match other.walk(key, None, usize::MAX, With::Body).map(Lookup::found) {
                Ok(Some(chain)) => {
                    let Ok((own, _)) = self.own_form(other, chain.response.key, &chain.response) else { continue };
                    copied += u64::from(self.copy_hops(other, &chain, own)?);
                }
                Ok(None) => {}
                Err(error) if is_about_the_entry(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(copied)
    }

    /// The redirects before a response that is here already.
    fn copy_hops(&self, other: &Cache, chain: &Chain, to: Key) -> Result<bool> {
        let hops: Result<Vec<_>> =
            chain.hops.iter().map(|hop| Ok(self.own_form(other, chain.response.key, hop)?.1)).collect();
        let Ok(hops) = hops else { return Ok(false) };
        if hops.is_empty() || !self.contains(to.to_hex())? {
            return Ok(false);
        }
        self.save_hops(&hops, to, &Marks::new())?;
        Ok(true)
    }

    /// A response of another cache as it is stored here, and its key.
    fn own_form(&self, other: &Cache, key: Key, response: &StoredResponse) -> Result<(Key, StoredResponse)> {
        let mut response = response.clone();
        let request = &mut response.request;
        match (&self.inner.foreign, &other.inner.foreign) {
            (None, None) => return Ok((key, response)),
            (Some(_), Some(_)) => {}
            (None, Some(_)) => {
                let body = request.body.take().unwrap_or_default();
                let asked = Asked::new(&request.method, &request.url, &request.headers, &body)?;
                request.name = None;
                request.body_digest = asked.identity.body_digest;
                // Python knows fewer credentials than there are, and whose these are is not known.
                if !asked.credentials.is_empty() {
                    request.partition = Some(partition::of_nobody());
                }
                request.url.clone_from(&asked.url);
                request.headers = HeaderMap::clone(&asked.headers);
                let vary = Vary::of(&response.headers);
                request.variant =
                    Some(vary.names()).filter(|names| !names.is_empty()).map(|names| variant(names, &asked.headers));
                response.url = redact::url(&response.url, &mut Credentials::default());
                response.headers = redact::response_headers(&response.headers);
            }
            (Some(rules), None) => {
                if request.partition.is_some() || request.body_digest.is_some() || request.name.is_some() {
                    let message = "a response to a request with credentials, a body or a key of its own has no place \
                                   among the keys of requests-cache";
                    return Err(Error::new(ErrorKind::Decode, message).with_url(response.url));
                }
                let (method, url, headers) = (&request.method, &request.url, &request.headers);
                let keyed = Keyed { method, url, headers, body: b"", verify: true };
                // The latest variant has the key that is looked up first, the others what it leads on to.
                let latest = request.variant.and_then(|_| other.latest_variant(request).transpose()).transpose()?;
                let own = match latest.filter(|(latest, _)| *latest != key) {
                    Some((_, names)) => rules.variant_key(&names, &keyed),
                    None => rules.key(&keyed),
                };
                request.name = own.map(|key| foreign(key, 0));
                request.body = Some(Bytes::new());
                request.variant = None;
            }
        }
        Ok((Identity::of(&response.request)?.key(), response))
    }

    /// The body of another cache's response, staged in this store.
    fn stage_from(&self, other: &Cache, key: Key, version: Version) -> Result<Staged> {
        let reader = other.store().reader(key.as_bytes(), version)?.ok_or_else(|| unreadable(key))?;
        let mut stage = self.store().stage()?;
        io::copy(&mut { reader }, &mut stage).map_err(|error| match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => unreadable(key).with_source(error),
        })?;
        stage.finish()
    }
}

impl CopyReport {
    fn add(&mut self, part: Self) {
        self.copied += part.copied;
        self.unchanged += part.unchanged;
        self.aliases += part.aliases;
        self.skipped += part.skipped;
        self.bytes += part.bytes;
    }
}

fn put_alias(plan: &mut Plan<'_>, alias: Key, to: Key, head: &Bytes) -> Result<()> {
    if is_alias_head(head) {
        return plan.put_plain_alias(alias, to);
    }
    let hop = decode_response(head, Bytes::new()).ok_or_else(|| unreadable(alias))?;
    plan.put_hops(&[hop], to, &Marks::new())
}

fn unreadable(key: Key) -> Error {
    Error::new(ErrorKind::Decode, format!("the response {key} cannot be read"))
}

/// Whether one response is at fault and others may be copied.
fn is_about_the_entry(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Decode | ErrorKind::Damaged | ErrorKind::InvalidInput | ErrorKind::TooLarge)
}

/// What must be the same in both.
fn fingerprint(response: &StoredResponse) -> [u8; 32] {
    let mut names: Vec<_> = response.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let mut headers = Vec::new();
    for name in names {
        // Repeated ones as a cache of requests-cache has them.
        let values: Vec<_> = response.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
        headers.extend_from_slice(&digest(&[name.as_bytes(), &values.join(&b", "[..])]));
    }
    let expires = response.expires.map_or(i64::MAX, to_ms).to_be_bytes();
    let status = response.status.as_u16().to_be_bytes();
    digest(&[&status, response.url.as_bytes(), &headers, &expires, response.coding.as_bytes(), &response.body])
}
