//! The engine as a store.

use super::{Ahead, BodyReader, Reads, Stage, Store, StoreStats, Visitor};
use crate::{
    Result,
    log::{self, Entry, Head, Log, Options, Staged, Times, Version, Write},
};
use bytes::Bytes;
use std::path::Path;

/// A [`Store`] in one file: what was committed survives the process and a power cut, as [`Log`] promises.
#[derive(Debug, Clone)]
pub struct LogStore {
    log: Log,
}

impl LogStore {
    /// Opens the file, and creates it if there is none; its folder must exist.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Log::open(path, options).map(Self::from)
    }

    /// The log itself.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl From<Log> for LogStore {
    fn from(log: Log) -> Self {
        Self { log }
    }
}

impl Stage for log::Stage {
    fn finish(self: Box<Self>) -> Result<Staged> {
        log::Stage::finish(*self)
    }
}

impl Reads for log::Reads<'_> {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.entry(key)
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        self.head(key)
    }
}

impl Store for LogStore {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.log.entry(key)
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        self.log.reads()?.head(key)
    }

    fn reads(&self, _ahead: Ahead<'_>) -> Result<Box<dyn Reads + '_>> {
        Ok(Box::new(self.log.reads()?))
    }

    fn commit(&self, writes: Vec<Write>) -> Result<()> {
        self.log.apply(&writes)
    }

    fn update_head(&self, key: &[u8], expected: Version, head: Bytes, times: Times) -> Result<()> {
        self.log.update_head(key, expected, head, times)
    }

    fn stage(&self) -> Result<Box<dyn Stage>> {
        Ok(Box::new(self.log.stage()?))
    }

    fn compresses(&self) -> bool {
        self.log.compresses()
    }

    fn reader(&self, key: &[u8], version: Version) -> Result<Option<Box<dyn BodyReader>>> {
        // The log follows an alias, whose version is another than that of what it leads to.
        let reader = self.log.reader(key)?.filter(|reader| reader.head().version == version);
        Ok(reader.map(|reader| Box::new(reader) as Box<dyn BodyReader>))
    }

    fn visit(&self, each: Visitor<'_>) -> Result<()> {
        for item in &self.log {
            let (key, head) = item?;
            if each(&key, head)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn len(&self) -> Result<u64> {
        self.log.len()
    }

    fn clear(&self) -> Result<()> {
        self.log.clear()
    }

    fn compact(&self) -> Result<()> {
        self.log.compact()
    }

    fn flush(&self) -> Result<()> {
        self.log.flush()
    }

    fn stats(&self) -> Result<StoreStats> {
        let stats = self.log.stats()?;
        let sizes = StoreStats::new(stats.entries, stats.live_bytes, stats.dead_bytes, stats.file_bytes);
        Ok(sizes.with_evictions(stats.evictions))
    }

    fn location(&self) -> Option<&Path> {
        Some(self.log.path())
    }

    fn unsound_reads(&self) -> u64 {
        self.log.unsound_reads()
    }
}
