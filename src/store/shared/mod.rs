//! A cache that Python's requests-cache reads and writes as well: its documents, keys and redirects.
//!
//! What the session keeps as a chain of aliases Python keeps as one row under the key of the first URL, redirects
//! inside, and as further keys of that row. Reading takes such a row apart, writing puts it together: the steps of a
//! chain that have no row of their own have the key of the row and a number. Lists that find responses by URL stand
//! in a place of their own, where Python does not look.

mod read;
mod write;

use super::{Store, StoreStats, Visitor};
use crate::{
    Result,
    dict::Dict,
    entry::{Key, StoredRequest, encode_response},
    log::{Entry, Head, Write},
};
use bytes::Bytes;
use http::HeaderMap;
use std::{
    fmt,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The keys that requests-cache may have given a request: it depends on what is not stored with it. Those that it has
/// for the variants of an answer with these headers come last.
pub(crate) type KeysOf = Arc<dyn Fn(&StoredRequest, &HeaderMap) -> Vec<[u8; 8]> + Send + Sync>;

/// When a row may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// When it expires: the column that says so is Python's as well, and only a clean-up looks at it.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "SQLite alone has that column"))]
    AtExpiry,
    /// An hour later, by the server.
    HourAfter,
}

/// Two dicts of requests-cache, and one for what it knows nothing of.
pub(crate) struct SharedStore {
    responses: Arc<dyn Dict>,
    redirects: Arc<dyn Dict>,
    lists: Arc<dyn Dict>,
    keys_of: KeysOf,
    lapse: Lapse,
    unsound: AtomicU64,
}

impl SharedStore {
    pub(crate) fn new(
        responses: Arc<dyn Dict>,
        redirects: Arc<dyn Dict>,
        lists: Arc<dyn Dict>,
        lapse: Lapse,
        keys_of: KeysOf,
    ) -> Self {
        Self { responses, redirects, lists, keys_of, lapse, unsound: AtomicU64::new(0) }
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore").field("responses", &self.responses).finish_non_exhaustive()
    }
}

impl Store for SharedStore {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        match Key::from_bytes(key) {
            Some(key) => self.read(key),
            None => self.list(key),
        }
    }

    fn commit(&self, writes: Vec<Write>) -> Result<()> {
        self.write(writes)
    }

    fn is_atomic(&self) -> bool {
        false
    }

    fn visit(&self, each: Visitor<'_>) -> Result<()> {
        for name in self.responses.keys()? {
            let Some(key) = read::parse(&name) else { continue };
            let Some((at, found)) = self.last_step(key)? else { continue };
            let head = match found {
                Some(found) => {
                    let (response, version) = found;
                    let entry =
                        Entry::new(encode_response(&response)?, response.body.clone(), read::times(&response), version);
                    Head::of(&entry)
                }
                // It is there and cannot be read: whoever asks for it is told why.
                None => {
                    Head::of(&Entry::new(Bytes::new(), Bytes::new(), crate::log::Times::kept(0), read::version(&[])))
                }
            };
            if each(at.as_bytes(), head)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn visit_aliases(&self, each: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>) -> Result<()> {
        for name in self.redirects.keys()? {
            if let Some(key) = read::parse(&name).map(read::first)
                && each(key.as_bytes())?.is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn len(&self) -> Result<u64> {
        let mut copies = 0;
        for name in self.redirects.keys()? {
            // Those that lead to themselves are the first of a chain.
            if self.redirects.get(&name)?.as_ref() == Some(&name)
                && let Some(key) = read::parse(&name)
                && self.responses.contains(&name)?
            {
                copies += u64::from(self.last_step(key)?.is_none());
            }
        }
        Ok(self.responses.len()?.saturating_sub(copies))
    }

    fn clear(&self) -> Result<()> {
        self.redirects.clear()?;
        self.responses.clear()?;
        self.lists.clear()
    }

    fn compact(&self) -> Result<()> {
        // Of the responses it would drop the expired ones, which can still be revalidated and replayed. The space is
        // that of the whole file in any case.
        self.lists.compact()
    }

    fn flush(&self) -> Result<()> {
        self.responses.flush()
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

#[cfg(test)]
mod tests;
