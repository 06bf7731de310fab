//! Several reads after one look at the file.

use super::{
    entry::{Entry, Head},
    generation::Generation,
    read::{Source, Want},
    shared::Counters,
};
use crate::Result;
use std::sync::Arc;

/// Reads that see what was written until they were begun, by this and other processes. What this process writes or
/// reads later they may see as well.
#[derive(Debug)]
pub(crate) struct Reads<'a> {
    pub(super) generation: Arc<Generation>,
    pub(super) counters: &'a Counters,
}

impl Reads<'_> {
    /// The entry of a key itself: a value, or an alias that is not followed. An alias whose target is gone is not
    /// there.
    pub(crate) fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let read = self.generation.read_own(key, Want::Body, Source::Tier, self.counters)?;
        Ok(read.map(|read| read.into_entry(&self.generation)))
    }

    /// The same without the body.
    pub(crate) fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        let read = self.generation.read_own(key, Want::Head, Source::Tier, self.counters)?;
        Ok(read.map(|read| read.into_head(&self.generation)))
    }
}

#[cfg(test)]
mod tests {
    use crate::log::{
        Options,
        sim::Call,
        watched::{Told, Watched},
    };
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    #[test]
    fn the_file_is_looked_at_once_for_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.larder");
        // That the path still names this file is looked up about once a second, and does not count.
        let looks = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&looks);
        let disk = Watched::new(move |told| {
            if matches!(told, Told::Before(Call::Stat)) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let (log, elsewhere) = (disk.open(&path, &Options::new()), Watched::unwatched().open(&path, &Options::new()));
        for key in ["one", "other"] {
            elsewhere.put(key, key).unwrap();
        }
        // Taking in what is new costs another.
        assert!(log.reads().unwrap().head(b"other").unwrap().is_some());
        for tier_is_warm in [false, true] {
            looks.store(0, Ordering::Relaxed);
            let reads = log.reads().unwrap();
            for key in ["one", "other"] {
                assert_eq!(reads.entry(key.as_bytes()).unwrap().unwrap().body, key);
                assert_eq!(reads.head(key.as_bytes()).unwrap().unwrap().body_len, key.len() as u64);
            }
            assert_eq!(looks.load(Ordering::Relaxed), 1, "with a warm tier: {tier_is_warm}");
        }
        elsewhere.put("later", "x").unwrap();
        assert!(log.reads().unwrap().entry(b"later").unwrap().is_some());
    }
}
