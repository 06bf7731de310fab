//! What the layer above keeps in a log about its entries, and how a compaction keeps that true, and aliases with it.

use super::{copy::Copier, fields::crc32, presence::incarnation_of, read::Want, view::Loc};
use crate::{Error, Result};
use bytes::Bytes;
use std::{
    collections::{HashMap, HashSet},
    fmt,
};

/// What the layer above knows of its own records (`aux`): they name entries, and must not do so for ever when those are
/// gone.
pub(crate) trait Bookkeeping: fmt::Debug + Send + Sync {
    /// What a compaction makes of a record whose body is empty. `gone` says whether a key leads nowhere any more.
    fn prune(&self, record: &BookRecord<'_>, gone: &mut dyn FnMut(&[u8]) -> bool) -> Pruned;
}

/// A record of the layer above.
#[derive(Debug)]
pub(crate) struct BookRecord<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) head: &'a [u8],
    /// When it was written, and what time it is.
    pub(crate) created_ms: i64,
    pub(crate) now_ms: i64,
}

/// What becomes of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pruned {
    Keep,
    Drop,
    /// It goes on with another head.
    Head(Bytes),
}

/// Records that were changed or dropped, aliases among them, because some keys were gone. If one of these comes back
/// while the compaction runs, they must be as they were: whoever wrote it has found them so.
#[derive(Debug, Default)]
pub(super) struct Relied {
    on: HashMap<u128, Vec<(u128, Loc)>>,
    restored: HashSet<u64>,
}

impl Copier<'_> {
    /// Whether a key is there in the new file too, as far as that is decided by now: not if it was evicted, nor an
    /// alias that led to what was.
    fn stays(&self, hash: u128) -> Result<bool> {
        Ok(self.fate(hash)?.0)
    }

    /// The same, and what was evicted if that is the reason.
    fn fate(&self, hash: u128) -> Result<(bool, Option<u128>)> {
        let mut evicted = None;
        let state = |hash: u128| {
            evicted = self.evicted.contains(&hash).then_some(hash);
            if evicted.is_some() { Ok(None) } else { self.old.present_in_log(hash, self.counters) }
        };
        Ok((incarnation_of(hash, state)?.is_some(), evicted))
    }

    /// Copies an alias, unless it leads nowhere any more: incarnations never return, so what is cut off stays so.
    pub(super) fn copy_alias(&mut self, hash: u128, loc: Loc, drop_before: i64) -> Result<()> {
        let (stays, evicted) = self.fate(hash)?;
        if let Some(target) = evicted {
            self.relied.on.entry(target).or_default().push((hash, loc));
        }
        if stays { self.copy_entry(loc, drop_before) } else { Ok(()) }
    }

    /// Copies a record of the layer above without what it says of entries that are gone.
    pub(super) fn copy_book(&mut self, hash: u128, loc: Loc, drop_before: i64) -> Result<()> {
        let Some(bookkeeping) = &self.bookkeeping else { return self.copy_entry(loc, drop_before) };
        let Some(read) = self.old.read(loc, None, Want::Head, self.counters)? else { return Ok(()) };
        if read.header.body_len > 0 {
            return self.copy_entry(loc, drop_before);
        }
        let record =
            BookRecord { key: &read.key, head: &read.head, created_ms: read.header.created_ms, now_ms: self.now_ms };
        let (mut gone, mut failed) = (Vec::new(), None::<Error>);
        let pruned = bookkeeping.prune(&record, &mut |key| {
            let hash = self.old.header.hash(key);
            match self.stays(hash) {
                Ok(true) => false,
                Ok(false) => {
                    gone.push(hash);
                    true
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        let head = match pruned {
            // Whoever cannot look should not judge.
            _ if failed.is_some() => return self.copy_entry(loc, drop_before),
            Pruned::Keep => return self.copy_entry(loc, drop_before),
            Pruned::Drop => None,
            Pruned::Head(head) => Some(head),
        };
        for key in gone {
            self.relied.on.entry(key).or_default().push((hash, loc));
        }
        let Some(head) = head else { return Ok(()) };
        let mut header = read.header;
        header.head_len = u32::try_from(head.len()).unwrap_or(u32::MAX);
        header.head_crc = crc32(&[&read.key, &head]);
        self.write(header, &read.key, &head, &[])
    }

    /// Takes back what was dropped or changed because a key was gone that has been written again since.
    pub(super) fn restore(&mut self, hash: u128) -> Result<()> {
        for (own, loc) in self.relied.on.remove(&hash).unwrap_or_default() {
            // One that was written anew is copied with the rest.
            if self.old.find(own)? == Some(loc) && self.relied.restored.insert(loc.offset) {
                self.copy_entry(loc, i64::MIN)?;
                self.restore(own)?;
            }
        }
        Ok(())
    }
}
