//! The contract of a dictionary.

use crate::Result;
#[cfg(any(feature = "sqlite", feature = "redis", feature = "mongodb"))]
use crate::{Error, ErrorKind};
use bytes::Bytes;
use std::{
    any::Any,
    fmt,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
    vec,
};

/// Bytes under byte keys.
///
/// A dict is shared between threads, and if its place outlives the process, between processes. What a call has
/// acknowledged every later call sees. Implementers write [`get`](Dict::get), [`batch`](Dict::batch),
/// [`keys`](Dict::keys), [`len`](Dict::len) and [`clear`](Dict::clear); everything else follows from these. The laws
/// are in [`contract`](super::contract), as tests for any dict.
///
/// ```
/// use larder::dict::{Dict, MemoryDict};
///
/// let dict = MemoryDict::new();
/// dict.insert(b"apple", b"red", None)?;
/// assert!(dict.compare_and_swap(b"apple", Some(b"red"), Some(b"green"))?);
/// assert_eq!(dict.get(b"apple")?.as_deref(), Some(&b"green"[..]));
/// assert!(dict.remove(b"apple")? && dict.is_empty()?);
/// # Ok::<(), larder::Error>(())
/// ```
pub trait Dict: Any + fmt::Debug + Send + Sync {
    /// The value under a key; `None` if there is none.
    ///
    /// # Errors
    /// Whatever keeps the dict from answering.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Makes several changes, in order, if all that they expect holds. Returns whether it did; if not, nothing is
    /// changed. Expectations are about the state before the batch; a key may come more than once, and its last change
    /// counts.
    ///
    /// Where [`is_atomic`](Dict::is_atomic) others see all changes or none, and so does a crash. Elsewhere that is
    /// so for each key alone: expectations are checked before the first change, and once more with each change; if
    /// one fails only then, the changes before it stay.
    ///
    /// # Errors
    /// [`TooLarge`](crate::ErrorKind::TooLarge) for a value over [`max_value`](Dict::max_value),
    /// [`Full`](crate::ErrorKind::Full), [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Busy`](crate::ErrorKind::Busy),
    /// [`Timeout`](crate::ErrorKind::Timeout) and others as they apply.
    fn batch(&self, changes: &[Change<'_>]) -> Result<bool>;

    /// All keys, in ascending order of their bytes.
    ///
    /// # Errors
    /// As [`get`](Dict::get).
    fn keys(&self) -> Result<Vec<Bytes>>;

    /// How many keys there are.
    ///
    /// # Errors
    /// As [`get`](Dict::get).
    fn len(&self) -> Result<u64>;

    /// Removes all keys of this dict, and nothing of others in the same place.
    ///
    /// # Errors
    /// As [`batch`](Dict::batch).
    fn clear(&self) -> Result<()>;

    /// Whether a batch is seen whole or not at all. Default: no.
    fn is_atomic(&self) -> bool {
        false
    }

    /// Makes changes in this dict and in another, as one [`batch`](Dict::batch), if both are of one database that
    /// can do that. `None` if it cannot, and nothing is changed. Default: it cannot.
    ///
    /// # Errors
    /// As [`batch`](Dict::batch).
    fn batch_with(&self, changes: &[Change<'_>], other: &dyn Dict, others: &[Change<'_>]) -> Result<Option<bool>> {
        let _ = (changes, other, others);
        Ok(None)
    }

    /// The values under several keys of this dict, and of another, asked for together, if both are of one database that
    /// can do that; not necessarily as they were at one moment. `None` if it cannot, or not for so many keys. Default:
    /// it cannot.
    ///
    /// # Errors
    /// As [`get`](Dict::get).
    fn get_with(&self, keys: &[&[u8]], other: &dyn Dict, others: &[&[u8]]) -> Result<Option<Values>> {
        let _ = (keys, other, others);
        Ok(None)
    }

    /// The first bytes of the values under several keys, at most `len` of each. Default: reads them whole.
    ///
    /// # Errors
    /// As [`get`](Dict::get).
    fn prefixes(&self, keys: &[&[u8]], len: usize) -> Result<Vec<Option<Bytes>>> {
        let prefix = |value: Bytes| value.slice(..value.len().min(len));
        keys.iter().map(|key| Ok(self.get(key)?.map(prefix))).collect()
    }

    /// Sets the value of a key. From `drop_after` on, if it is given, the dict may drop it: when its server does so,
    /// or when it is [compacted](Dict::compact). Until then it is there.
    ///
    /// # Errors
    /// As [`batch`](Dict::batch).
    fn insert(&self, key: &[u8], value: &[u8], drop_after: Option<SystemTime>) -> Result<()> {
        self.batch(&[Change::put(key, value).drop_after(drop_after)]).map(drop)
    }

    /// Sets the value of a key, or removes it (`None`), if its value is the expected one (`None`: there is none).
    /// Returns whether it was.
    ///
    /// # Errors
    /// As [`batch`](Dict::batch).
    fn compare_and_swap(&self, key: &[u8], expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        let change = new.map_or_else(|| Change::remove(key), |value| Change::put(key, value));
        self.batch(&[change.expecting(expected.map_or(Expected::Absent, Expected::Value))])
    }

    /// Removes a key. Returns whether it was there.
    ///
    /// # Errors
    /// As [`batch`](Dict::batch).
    fn remove(&self, key: &[u8]) -> Result<bool> {
        self.batch(&[Change::remove(key).expecting(Expected::Prefix(b""))])
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// As [`get`](Dict::get).
    fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.prefixes(&[key], 0)?.pop().flatten().is_some())
    }

    /// Whether there are no keys.
    ///
    /// # Errors
    /// As [`get`](Dict::get).
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// All keys with their values, in ascending order of the keys: those at the time of the call. What is removed
    /// meanwhile is left out. One value is in memory at a time.
    ///
    /// # Errors
    /// As [`get`](Dict::get); so is each item.
    fn items(&self) -> Result<Items<'_>> {
        Ok(Items { keys: self.keys()?.into_iter(), get: Box::new(|key| self.get(key)) })
    }

    /// Drops what may be dropped by now, and gives back the space of what was removed. Default: there is nothing to
    /// do.
    ///
    /// # Errors
    /// As [`batch`](Dict::batch).
    fn compact(&self) -> Result<()> {
        Ok(())
    }

    /// Waits until everything acknowledged is as safe as the dict can make it. Default: it is.
    ///
    /// # Errors
    /// As [`batch`](Dict::batch).
    fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// The largest value in bytes. Default: there is no limit.
    fn max_value(&self) -> u64 {
        u64::MAX
    }

    /// What the place of the dict takes, other dicts in it included. Default: it does not know.
    ///
    /// # Errors
    /// As [`get`](Dict::get).
    fn size(&self) -> Result<DictSize> {
        Ok(DictSize::default())
    }

    /// The file, if there is one. Default: there is none.
    fn location(&self) -> Option<&Path> {
        None
    }
}

/// The values under the keys of one dict, and those under the keys of another: [`Dict::get_with`].
pub type Values = (Vec<Option<Bytes>>, Vec<Option<Bytes>>);

/// One change of a [batch](Dict::batch).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Change<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What must hold before the batch.
    pub expected: Expected<'a>,
    /// What is there after it.
    pub new: New<'a>,
}

/// What a [`Change`] expects of the value that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected<'a> {
    /// Nothing.
    Any,
    /// There is none.
    Absent,
    /// It is this.
    Value(&'a [u8]),
    /// It is there, and begins with these bytes.
    Prefix(&'a [u8]),
}

/// What a [`Change`] makes of the value that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum New<'a> {
    /// Leaves it as it is: for what is only expected.
    Keep,
    /// Removes it, if it is there.
    Remove,
    /// Sets it.
    Put {
        /// The value.
        value: &'a [u8],
        /// From when on it may be dropped, in milliseconds since the Unix epoch; `i64::MAX` is never.
        drop_after_ms: i64,
    },
}

impl<'a> Change<'a> {
    /// Sets a value that is never dropped.
    #[must_use]
    pub fn put(key: &'a [u8], value: &'a [u8]) -> Self {
        Self { key, expected: Expected::Any, new: New::Put { value, drop_after_ms: i64::MAX } }
    }

    /// Removes a key.
    #[must_use]
    pub fn remove(key: &'a [u8]) -> Self {
        Self { key, expected: Expected::Any, new: New::Remove }
    }

    /// Changes nothing, and expects something.
    #[must_use]
    pub fn expect(key: &'a [u8], expected: Expected<'a>) -> Self {
        Self { key, expected, new: New::Keep }
    }

    /// The same change if this holds.
    #[must_use]
    pub fn expecting(self, expected: Expected<'a>) -> Self {
        Self { expected, ..self }
    }

    /// The same with a value that may be dropped from then on (`None`: never).
    #[must_use]
    pub fn drop_after(self, time: Option<SystemTime>) -> Self {
        self.drop_after_ms(time.map_or(i64::MAX, to_ms))
    }

    /// The same in milliseconds since the Unix epoch; `i64::MAX` is never.
    #[must_use]
    pub fn drop_after_ms(mut self, ms: i64) -> Self {
        if let New::Put { drop_after_ms, .. } = &mut self.new {
            *drop_after_ms = ms;
        }
        self
    }
}

impl Expected<'_> {
    /// Whether it holds for what is there, for implementers of dicts.
    #[must_use]
    pub fn holds_for(&self, value: Option<&[u8]>) -> bool {
        match (self, value) {
            (Self::Any, _) | (Self::Absent, None) => true,
            (Self::Value(expected), Some(value)) => *expected == value,
            (Self::Prefix(expected), Some(value)) => value.starts_with(expected),
            _ => false,
        }
    }
}

/// What the place of a dict takes; a dict that does not know a number says 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DictSize {
    /// Bytes that are in use.
    pub live_bytes: u64,
    /// Bytes that [`compact`](Dict::compact) would give back.
    pub dead_bytes: u64,
    /// The size of the file.
    pub file_bytes: u64,
}

impl DictSize {
    /// Makes the numbers, for implementers of dicts.
    #[must_use]
    pub fn new(live_bytes: u64, dead_bytes: u64, file_bytes: u64) -> Self {
        Self { live_bytes, dead_bytes, file_bytes }
    }
}

type Get<'a> = Box<dyn Fn(&[u8]) -> Result<Option<Bytes>> + 'a>;

/// The keys of a dict with their values: [`Dict::items`].
pub struct Items<'a> {
    keys: vec::IntoIter<Bytes>,
    get: Get<'a>,
}

impl Iterator for Items<'_> {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        for key in self.keys.by_ref() {
            match (self.get)(&key) {
                Ok(Some(value)) => return Some(Ok((key, value))),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

impl fmt::Debug for Items<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// A shared dict is a dict.
impl<D: Dict + ?Sized> Dict for Arc<D> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        (**self).get(key)
    }

    fn batch(&self, changes: &[Change<'_>]) -> Result<bool> {
        (**self).batch(changes)
    }

    fn keys(&self) -> Result<Vec<Bytes>> {
        (**self).keys()
    }

    fn len(&self) -> Result<u64> {
        (**self).len()
    }

    fn clear(&self) -> Result<()> {
        (**self).clear()
    }

    fn is_atomic(&self) -> bool {
        (**self).is_atomic()
    }

    fn batch_with(&self, changes: &[Change<'_>], other: &dyn Dict, others: &[Change<'_>]) -> Result<Option<bool>> {
        (**self).batch_with(changes, other, others)
    }

    fn get_with(&self, keys: &[&[u8]], other: &dyn Dict, others: &[&[u8]]) -> Result<Option<Values>> {
        (**self).get_with(keys, other, others)
    }

    fn prefixes(&self, keys: &[&[u8]], len: usize) -> Result<Vec<Option<Bytes>>> {
        (**self).prefixes(keys, len)
    }

    fn compact(&self) -> Result<()> {
        (**self).compact()
    }

    fn flush(&self) -> Result<()> {
        (**self).flush()
    }

    fn max_value(&self) -> u64 {
        (**self).max_value()
    }

    fn size(&self) -> Result<DictSize> {
        (**self).size()
    }

    fn location(&self) -> Option<&Path> {
        (**self).location()
    }
}

/// Refuses values that the dict cannot take, before anything is changed.
#[cfg(any(feature = "sqlite", feature = "redis", feature = "mongodb"))]
pub(super) fn check_sizes(changes: &[Change<'_>], max: u64, whose: &str) -> Result<()> {
    let too_large = |change: &Change<'_>| matches!(change.new, New::Put { value, .. } if value.len() as u64 > max);
    if changes.iter().any(too_large) {
        let message = format!("the value is larger than the {max} bytes that {whose} takes; use the log for it");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}

fn to_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

/// The time by the system's clock.
pub(super) fn now_ms() -> i64 {
    to_ms(SystemTime::now())
}
