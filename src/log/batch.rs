//! [`Batch`]: several writes that are applied together.

use super::{
    entry::{Times, Version, Write},
    handle::Log,
};
use crate::Result;
use bytes::Bytes;

/// Writes that become visible together, survive a crash together, or leave no trace.
///
/// ```
/// use larder::log::{Log, Options};
/// let folder = tempfile::tempdir()?;
/// let log = Log::open(folder.path().join("cache.larder"), Options::new())?;
/// let mut batch = log.batch();
/// batch.put("a", "1");
/// batch.put("b", "2");
/// batch.alias("c", "b");
/// batch.commit()?;
/// assert_eq!(log.len()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch<'a> {
    log: &'a Log,
    writes: Vec<Write>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(log: &'a Log) -> Self {
        Self { log, writes: Vec::new() }
    }

    /// Stores a value with an empty head, created now and never dropped.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        let times = self.now();
        self.put_parts(key, [], value, times)
    }

    /// Stores a value with its head and times.
    pub fn put_parts(
        &mut self,
        key: impl AsRef<[u8]>,
        head: impl AsRef<[u8]>,
        body: impl AsRef<[u8]>,
        times: Times,
    ) -> &mut Self {
        self.write(Write::Put { key: copy(key), head: copy(head), body: copy(body), times, aux: false })
    }

    /// Makes a key lead to another.
    pub fn alias(&mut self, new: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> &mut Self {
        let times = self.now();
        self.alias_with(new, to, [], times)
    }

    /// Makes a key lead to another, with a head and times of its own.
    pub fn alias_with(
        &mut self,
        new: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
        head: impl AsRef<[u8]>,
        times: Times,
    ) -> &mut Self {
        self.write(Write::Alias { key: copy(new), to: copy(to), head: copy(head), times })
    }

    /// Removes a key.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        self.write(Write::Delete { key: copy(key) })
    }

    /// Has the batch fail with [`Conflict`](crate::ErrorKind::Conflict) unless a key is in this state when the batch
    /// is committed; `None` is for a key that must not be there.
    pub fn expect(&mut self, key: impl AsRef<[u8]>, version: Option<Version>) -> &mut Self {
        self.write(Write::Expect { key: copy(key), version })
    }

    /// Adds any write.
    pub fn write(&mut self, write: Write) -> &mut Self {
        self.writes.push(write);
        self
    }

    /// Applies all of it, in order, or nothing.
    ///
    /// # Errors
    /// As [`Log::apply`].
    pub fn commit(self) -> Result<()> {
        self.log.apply(&self.writes)
    }

    fn now(&self) -> Times {
        self.log.now()
    }
}

fn copy(bytes: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(bytes.as_ref())
}
