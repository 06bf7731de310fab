//! A dict that lives as long as its process.

use super::{
    Change, Dict, New,
    interface::{DictSize, now_ms},
};
use crate::Result;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A [`Dict`] in memory. Dropping it forgets everything. There is no limit on its size.
#[derive(Default)]
pub struct MemoryDict {
    entries: Mutex<BTreeMap<Bytes, (Bytes, i64)>>,
}

impl MemoryDict {
    /// Makes an empty dict.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Bytes, (Bytes, i64)>> {
        // No code of others runs under the lock, and what runs does not panic half-way.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dict for MemoryDict {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.entries().get(key).map(|(value, _)| value.clone()))
    }

    fn batch(&self, changes: &[Change<'_>]) -> Result<bool> {
        let mut entries = self.entries();
        let value = |key| entries.get(key).map(|(value, _)| &value[..]);
        if !changes.iter().all(|change| change.expected.holds_for(value(change.key))) {
            return Ok(false);
        }
        for change in changes {
            match change.new {
                New::Keep => {}
                New::Remove => drop(entries.remove(change.key)),
                New::Put { value, drop_after_ms } => {
                    let (key, value) = (Bytes::copy_from_slice(change.key), Bytes::copy_from_slice(value));
                    entries.insert(key, (value, drop_after_ms));
                }
            }
        }
        Ok(true)
    }

    fn keys(&self) -> Result<Vec<Bytes>> {
        Ok(self.entries().keys().cloned().collect())
    }

    fn len(&self) -> Result<u64> {
        Ok(self.entries().len() as u64)
    }

    fn clear(&self) -> Result<()> {
        self.entries().clear();
        Ok(())
    }

    fn is_atomic(&self) -> bool {
        true
    }

    fn compact(&self) -> Result<()> {
        let now = now_ms();
        self.entries().retain(|_, (_, drop_after_ms)| *drop_after_ms > now);
        Ok(())
    }

    fn size(&self) -> Result<DictSize> {
        let live = self.entries().iter().map(|(key, (value, _))| (key.len() + value.len()) as u64).sum();
        Ok(DictSize::new(live, 0, 0))
    }
}

impl fmt::Debug for MemoryDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDict").field("keys", &self.entries().len()).finish()
    }
}
