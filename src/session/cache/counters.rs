//! What a cache has done for its users, in this run and in all of them.

use super::Inner;
use crate::{
    ErrorKind, Result,
    entry::Namespace,
    log::{Times, Version, Write},
};
use bytes::Bytes;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What a cache has done for its users: in [`CacheStats`](super::CacheStats).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Requests that were answered from the cache.
    pub hits: u64,
    /// Requests that were not.
    pub misses: u64,
    /// Bytes of bodies that came from the cache, as they were handed out.
    pub bytes: u64,
    /// How much longer the origins took for the heads of these answers, when they were fetched.
    pub time_saved: Duration,
}

/// The counters of this run.
#[derive(Debug, Default)]
pub(super) struct Live {
    hits: AtomicU64,
    misses: AtomicU64,
    bytes: AtomicU64,
    time_us: AtomicU64,
    /// What of them the store has.
    stored: Mutex<Counters>,
}

impl Live {
    pub(super) fn hit(&self, bytes: u64, time_saved: Duration) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.bytes(bytes);
        self.time_us.fetch_add(u64::try_from(time_saved.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self, bytes: u64) {
        if bytes > 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn now(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            hits: get(&self.hits),
            misses: get(&self.misses),
            bytes: get(&self.bytes),
            time_saved: Duration::from_micros(get(&self.time_us)),
        }
    }
}

impl Inner {
    /// The counters of all runs, this one included.
    pub(super) fn counters_of_all_runs(&self) -> Result<Counters> {
        let stored = self.counters.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let (earlier, _) = self.stored_counters()?;
        Ok(earlier.and(self.counters.now().since(*stored)))
    }

    /// Adds what has come since the last time to what the store has; a store that cannot be written keeps nothing.
    ///
    /// Each of several processes adds its own.
    pub(super) fn store_counters(&self) -> Result<()> {
        const TRIES_MAX: usize = 16;
        let mut stored = self.counters.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.counters.now();
        let news = now.since(*stored);
        if news == Counters::default() {
            return Ok(());
        }
        for _ in 0..TRIES_MAX {
            let (earlier, version) = self.stored_counters()?;
            let put = Write::Put {
                key: counters_key(),
                head: earlier.and(news).encode(),
                body: Bytes::new(),
                times: Times::kept(self.clock.wall_ms()),
                aux: true,
            };
            match self.store.commit(vec![Write::Expect { key: counters_key(), version }, put]) {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) if error.kind() == ErrorKind::ReadOnly => return Ok(()),
                result => {
                    *stored = if result.is_ok() { now } else { *stored };
                    return result;
                }
            }
        }
        // They are not worth more; the next time takes them along.
        Ok(())
    }

    fn stored_counters(&self) -> Result<(Counters, Option<Version>)> {
        let head = self.store.head(&counters_key())?;
        let version = head.as_ref().map(|head| head.version);
        Ok((head.and_then(|head| Counters::decode(&head.head)).unwrap_or_default(), version))
    }
}

/// The last handle stores them. Whatever keeps it from that is in nobody's way.
impl Drop for Inner {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = self.store_counters();
        }
    }
}

impl Counters {
    const VERSION: u8 = 1;
    const LEN: usize = 33;

    fn and(self, more: Self) -> Self {
        Self {
            hits: self.hits.saturating_add(more.hits),
            misses: self.misses.saturating_add(more.misses),
            bytes: self.bytes.saturating_add(more.bytes),
            time_saved: self.time_saved.saturating_add(more.time_saved),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            hits: self.hits.saturating_sub(before.hits),
            misses: self.misses.saturating_sub(before.misses),
            bytes: self.bytes.saturating_sub(before.bytes),
            time_saved: self.time_saved.saturating_sub(before.time_saved),
        }
    }

    fn encode(self) -> Bytes {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.push(Self::VERSION);
        let time_us = u64::try_from(self.time_saved.as_micros()).unwrap_or(u64::MAX);
        for number in [self.hits, self.misses, self.bytes, time_us] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.into()
    }

    /// `None` if it is of another version.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[Self::VERSION]).filter(|_| bytes.len() == Self::LEN)?;
        let mut numbers = rest.chunks_exact(8).filter_map(|part| Some(u64::from_le_bytes(part.try_into().ok()?)));
        Some(Self {
            hits: numbers.next()?,
            misses: numbers.next()?,
            bytes: numbers.next()?,
            time_saved: Duration::from_micros(numbers.next()?),
        })
    }
}

fn counters_key() -> Bytes {
    Bytes::from_static(&[Namespace::Counters as u8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_come_back_as_they_were_and_others_are_not_read() {
        let counters = Counters { hits: 1, misses: u64::MAX, bytes: 3, time_saved: Duration::from_micros(4) };
        let bytes = counters.encode();
        assert_eq!(Counters::decode(&bytes), Some(counters));
        for bad in [&bytes[..32], &[], &[2; 33], &[1; 34]] {
            assert_eq!(Counters::decode(bad), None);
        }
        assert_eq!(counters.and(counters).misses, u64::MAX);
        assert_eq!(counters.since(counters), Counters::default());
    }
}
