//! Keys and values of any serde type, over any dict.

use super::{Change, Dict};
use crate::{Error, ErrorKind, Result};
use bincode::config::{self, Config};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, marker::PhantomData, sync::Arc, time::SystemTime};

/// What decoding may allocate: a hostile length in a value must not take the memory of the machine.
const DECODED_MAX: usize = 1 << 30;

/// A dict of typed keys and values: any serde types, in the bincode form, over any [`Dict`].
///
/// What was stored as another type, or is damaged, is an error ([`Decode`](ErrorKind::Decode)) where it does not happen
/// to be a value of this type as well. Two equal keys must have one form: not so for a `HashMap` as a key.
///
/// ```
/// use larder::dict::{MemoryDict, Typed};
///
/// let squares: Typed<u32, Vec<u64>, _> = Typed::new(MemoryDict::new());
/// squares.insert(&7, &vec![7, 49])?;
/// assert_eq!(squares.get(&7)?, Some(vec![7, 49]));
/// assert_eq!(squares.len()?, 1);
/// # Ok::<(), larder::Error>(())
/// ```
#[doc(alias("DbPickleDict", "MongoPickleDict", "SQLitePickleDict"))]
pub struct Typed<K, V, D = Arc<dyn Dict>> {
    dict: D,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned, D: Dict> Typed<K, V, D> {
    /// Puts types on a dict.
    pub fn new(dict: D) -> Self {
        Self { dict, types: PhantomData }
    }

    /// The dict itself.
    pub fn dict(&self) -> &D {
        &self.dict
    }

    /// The value under a key.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) if it is not of this type; else as [`Dict::get`].
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        self.dict.get(&encode(key)?)?.map(|value| decode(&value)).transpose()
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if serde cannot serialise it; else as [`Dict::insert`].
    pub fn insert(&self, key: &K, value: &V) -> Result<()> {
        self.insert_until(key, value, None)
    }

    /// The same with a value that may be dropped from then on; see [`Dict::insert`].
    ///
    /// # Errors
    /// As [`insert`](Typed::insert).
    pub fn insert_until(&self, key: &K, value: &V, drop_after: Option<SystemTime>) -> Result<()> {
        self.dict.insert(&encode(key)?, &encode(value)?, drop_after)
    }

    /// Sets or removes the value of a key if it is the expected one; see [`Dict::compare_and_swap`].
    ///
    /// # Errors
    /// As [`insert`](Typed::insert).
    pub fn compare_and_swap(&self, key: &K, expected: Option<&V>, new: Option<&V>) -> Result<bool> {
        let (expected, new) = (expected.map(encode).transpose()?, new.map(encode).transpose()?);
        self.dict.compare_and_swap(&encode(key)?, expected.as_deref(), new.as_deref())
    }

    /// Sets several values, as one [batch](Dict::batch).
    ///
    /// # Errors
    /// As [`insert`](Typed::insert).
    pub fn insert_all<'a>(&self, items: impl IntoIterator<Item = (&'a K, &'a V)>) -> Result<()>
    where
        K: 'a,
        V: 'a,
    {
        let items = items.into_iter().map(|(key, value)| Ok((encode(key)?, encode(value)?)));
        let items = items.collect::<Result<Vec<_>>>()?;
        let changes: Vec<_> = items.iter().map(|(key, value)| Change::put(key, value)).collect();
        self.dict.batch(&changes).map(drop)
    }

    /// Removes a key. Returns whether it was there.
    ///
    /// # Errors
    /// As [`Dict::remove`].
    pub fn remove(&self, key: &K) -> Result<bool> {
        self.dict.remove(&encode(key)?)
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// As [`Dict::contains`].
    pub fn contains(&self, key: &K) -> Result<bool> {
        self.dict.contains(&encode(key)?)
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// As [`Dict::len`].
    pub fn len(&self) -> Result<u64> {
        self.dict.len()
    }

    /// Whether there are no keys.
    ///
    /// # Errors
    /// As [`Dict::len`].
    pub fn is_empty(&self) -> Result<bool> {
        self.dict.is_empty()
    }

    /// All keys, in the order of their bincode forms.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) if one is not of this type; else as [`Dict::keys`].
    pub fn keys(&self) -> Result<Vec<K>> {
        self.dict.keys()?.iter().map(|key| decode(key)).collect()
    }

    /// All keys with their values, in the order of [`keys`](Typed::keys).
    ///
    /// # Errors
    /// As [`Dict::items`]; an item that is not of this type is a [`Decode`](ErrorKind::Decode) error.
    pub fn items(&self) -> Result<impl Iterator<Item = Result<(K, V)>>> {
        let typed = |item: Result<(Bytes, Bytes)>| {
            let (key, value) = item?;
            Ok((decode(&key)?, decode(&value)?))
        };
        Ok(self.dict.items()?.map(typed))
    }

    /// Removes all keys.
    ///
    /// # Errors
    /// As [`Dict::clear`].
    pub fn clear(&self) -> Result<()> {
        self.dict.clear()
    }
}

impl<K, V, D: fmt::Debug> fmt::Debug for Typed<K, V, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typed").field(&self.dict).finish()
    }
}

fn bincode_config() -> impl Config {
    config::standard().with_limit::<DECODED_MAX>()
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    bincode::serde::encode_to_vec(value, config::standard()).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("the value cannot be serialised: {error}")).with_source(error)
    })
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let wrong =
        || Error::new(ErrorKind::Decode, "what is stored is not of this type; read it as what it was stored as");
    let (value, len) =
        bincode::serde::decode_from_slice(bytes, bincode_config()).map_err(|error| wrong().with_source(error))?;
    if len == bytes.len() { Ok(value) } else { Err(wrong()) }
}
