//! The records that find responses without a scan: those of one URL, and the aliases of one key.
//!
//! Both are lists. Up to [`INLINE_MAX`] items stand in one record, the root. When a list grows past that, further
//! items go to one of 256 pages, chosen by the item's key, so that a save rewrites a small record however many
//! partitions a URL has, and no head exceeds what the engine takes.

use super::{
    codec::{decode_v1, encode_v1},
    key::Key,
};
use crate::Result;
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Items that the root holds before the list is spread over pages.
pub(crate) const INLINE_MAX: usize = 64;

/// Items that a page holds. Further ones are not listed: such a response is found by its key alone.
pub(crate) const PAGE_MAX: usize = 4096;

/// Something that a list holds once per key.
pub(crate) trait Item: Serialize + DeserializeOwned + Clone + PartialEq {
    fn key(&self) -> Key;
}

/// An alias, in the list of the key that it points at.
impl Item for Key {
    fn key(&self) -> Key {
        *self
    }
}

/// A response or a hop, in the list of its URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UrlEntry {
    pub(crate) key: Key,
    pub(crate) method: String,
    pub(crate) base: [u8; 32],
    pub(crate) partition: Option<[u8; 16]>,
    pub(crate) variant: Option<[u8; 32]>,
    /// The mark of the URL when this was saved. Under a smaller mark than the URL's, it is stale.
    pub(crate) mark: u64,
}

impl Item for UrlEntry {
    fn key(&self) -> Key {
        self.key
    }
}

/// One record of a list: the root or a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index<T> {
    /// The URL, normalised and redacted, in the root of a URL's list; else empty.
    pub(crate) url: String,
    /// Counts what made everything stored before stale.
    pub(crate) mark: u64,
    /// Whether there are pages.
    pub(crate) spread: bool,
    pub(crate) items: Vec<T>,
}

impl<T: Item> Index<T> {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), mark: 0, spread: false, items: Vec::new() }
    }

    pub(crate) fn encode(&self) -> Result<Bytes> {
        encode_v1(self)
    }

    /// `None` if the bytes are of another version or damaged; the caller begins a new list.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        decode_v1(bytes)
    }

    /// Whether the record says nothing that its absence would not say.
    pub(crate) fn is_void(&self) -> bool {
        self.items.is_empty() && self.mark == 0 && !self.spread
    }

    /// The memory that it takes, but for what its items have elsewhere.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.url.capacity() + self.items.capacity() * (size_of::<T>() + 8)
    }

    pub(crate) fn find(&self, key: Key) -> Option<&T> {
        self.items.iter().find(|item| item.key() == key)
    }
}

/// The key of a page of the list whose root has the key `root`.
pub(crate) fn page_key(root: &[u8], page: u8) -> Bytes {
    let mut key = Vec::with_capacity(root.len() + 1);
    key.extend_from_slice(root);
    key.push(page);
    key.into()
}
