//! Reads and changes the lists that find responses without a scan, inside one batch.

use crate::{
    Result,
    entry::{INLINE_MAX, Index, Item, Key, PAGE_MAX, page_key},
    log::{Times, Version, Write},
    store::Store,
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// The records of lists of one type that a batch has read, with its changes.
#[derive(Debug)]
pub(super) struct Lists<T> {
    /// Ordered, so that equal batches are equal bytes.
    records: BTreeMap<Bytes, Record<T>>,
}

#[derive(Debug)]
struct Record<T> {
    version: Option<Version>,
    index: Index<T>,
    changed: bool,
}

impl<T: Item> Lists<T> {
    pub(super) fn new() -> Self {
        Self { records: BTreeMap::new() }
    }

    /// Adds an item, or replaces the one of the same key. `url` names the list if it is new.
    pub(super) fn add(&mut self, store: &dyn Store, root: &Bytes, url: &str, item: T) -> Result<()> {
        let list = self.read(store, root, url)?;
        let has_room = !list.index.spread && list.index.items.len() < INLINE_MAX;
        if has_room || list.index.find(item.key()).is_some() {
            list.set(item, INLINE_MAX);
            return Ok(());
        }
        list.changed |= !list.index.spread;
        list.index.spread = true;
        let page = page_key(root, item.key().page());
        self.read(store, &page, "")?.set(item, PAGE_MAX);
        Ok(())
    }

    /// Removes the item of a key, if there is one.
    pub(super) fn remove(&mut self, store: &dyn Store, root: &Bytes, key: Key) -> Result<()> {
        let list = self.read(store, root, "")?;
        list.retain(|item| item.key() != key);
        if list.index.spread {
            self.read(store, &page_key(root, key.page()), "")?.retain(|item| item.key() != key);
        }
        Ok(())
    }

    /// All items of a list.
    pub(super) fn items(&mut self, store: &dyn Store, root: &Bytes) -> Result<Vec<T>> {
        let list = self.read(store, root, "")?;
        let mut items = list.index.items.clone();
        if list.index.spread {
            for page in 0..=u8::MAX {
                items.extend_from_slice(&self.read(store, &page_key(root, page), "")?.index.items);
            }
        }
        Ok(items)
    }

    /// Removes a list whole.
    pub(super) fn remove_all(&mut self, store: &dyn Store, root: &Bytes) -> Result<()> {
        let list = self.read(store, root, "")?;
        list.retain(|_| false);
        if list.index.spread {
            list.index.spread = false;
            list.changed = true;
            for page in 0..=u8::MAX {
                self.read(store, &page_key(root, page), "")?.retain(|_| false);
            }
        }
        Ok(())
    }

    /// What counts every save and every invalidation of a URL as older or newer.
    pub(super) fn mark(&mut self, store: &dyn Store, root: &Bytes, url: &str) -> Result<u64> {
        Ok(self.read(store, root, url)?.index.mark)
    }

    /// Makes all items that are listed now older than what comes.
    pub(super) fn raise_mark(&mut self, store: &dyn Store, root: &Bytes, url: &str) -> Result<()> {
        let list = self.read(store, root, url)?;
        list.index.mark += 1;
        list.changed = true;
        Ok(())
    }

    /// The operations that make the changes, if nobody else has changed what was read.
    pub(super) fn finish(self, created_ms: i64, writes: &mut Vec<Write>) -> Result<()> {
        for (key, record) in self.records {
            // Of an unchanged record as well: a concurrent deletion may be about to take the item out.
            writes.push(Write::Expect { key: key.clone(), version: record.version });
            if !record.changed {
                continue;
            }
            if record.index.is_void() {
                writes.push(Write::Delete { key });
            } else {
                let (head, times) = (record.index.encode()?, Times::kept(created_ms));
                writes.push(Write::Put { key, head, body: Bytes::new(), times, aux: true });
            }
        }
        Ok(())
    }

    fn read(&mut self, store: &dyn Store, key: &Bytes, url: &str) -> Result<&mut Record<T>> {
        use std::collections::btree_map::Entry;
        match self.records.entry(key.clone()) {
            Entry::Occupied(record) => Ok(record.into_mut()),
            Entry::Vacant(place) => {
                let head = store.head(key)?;
                let version = head.as_ref().map(|head| head.version);
                let index = head.and_then(|head| Index::decode(&head.head)).unwrap_or_else(|| Index::new(url));
                Ok(place.insert(Record { version, index, changed: false }))
            }
        }
    }
}

impl<T: Item> Record<T> {
    /// Sets an item unless that would make the record larger than `len_max` items.
    fn set(&mut self, item: T, len_max: usize) {
        let items = &mut self.index.items;
        if let Some(old) = items.iter_mut().find(|old| old.key() == item.key()) {
            if *old == item {
                return;
            }
            *old = item;
        } else if items.len() < len_max {
            items.push(item);
        } else {
            return;
        }
        self.changed = true;
    }

    fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        let before = self.index.items.len();
        self.index.items.retain(keep);
        self.changed |= self.index.items.len() < before;
    }
}
