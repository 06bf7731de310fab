//! What a key leads to, and the operations of a batch: the values that cross the engine's border.

use super::{memo::Memo, staged::Staged};
use bytes::Bytes;

/// When an entry was made, and from when on it may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]

pub struct Times {
    /// Creation, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// A compaction may drop the entry after this time, in milliseconds since the Unix epoch; `i64::MAX` is never.
    /// Until then, and until such a compaction, the entry is there: the engine does not judge freshness.
    pub drop_after_ms: i64,
}

impl Times {
    /// Times of an entry that is never dropped.
    #[must_use]
    pub fn kept(created_ms: i64) -> Self {
        Self { created_ms, drop_after_ms: i64::MAX }
    }
}

/// Names one state of one key, for compare-and-set: it changes with every write to the key.
///
/// It is valid as long as the file is not compacted; after a compaction an old version no longer compares equal,
/// and an operation that expects it fails with [`Conflict`](crate::ErrorKind::Conflict).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    generation: u64,
    number: u64,
}

impl Version {
    /// Makes a version, for implementers of stores: `number` must differ between two states of a key.
    #[must_use]
    pub fn new(generation: u64, number: u64) -> Self {
        Self { generation, number }
    }
}

/// A value or an alias, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The small part of the value.
    pub head: Bytes,
    /// The body; empty for an alias.
    pub body: Bytes,
    /// When it was made and may be dropped.
    pub times: Times,
    /// The state of the key.
    pub version: Version,
    /// The key that an alias points at; `None` for a value.
    pub alias_to: Option<Bytes>,
    memo: Memo,
}

impl Entry {
    /// Makes a value, for implementers of stores.
    pub fn new(head: Bytes, body: Bytes, times: Times, version: Version) -> Self {
        Self { head, body, times, version, alias_to: None, memo: Memo::default() }
    }

    /// Makes an alias, for implementers of stores.
    pub fn new_alias(to: Bytes, head: Bytes, times: Times, version: Version) -> Self {
        Self { head, body: Bytes::new(), times, version, alias_to: Some(to), memo: Memo::default() }
    }

    /// Where a reader may keep what it made of the entry; of use only if the entry is in a memory tier.
    pub fn memo(&self) -> &Memo {
        &self.memo
    }

    pub(crate) fn with_memo(self, memo: Memo) -> Self {
        Self { memo, ..self }
    }
}

/// An entry without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The small part of the value.
    pub head: Bytes,
    /// When it was made and may be dropped.
    pub times: Times,
    /// The length of the body in bytes.
    pub body_len: u64,
    /// The state of the key.
    pub version: Version,
    /// The key that an alias points at; `None` for a value.
    pub alias_to: Option<Bytes>,
}

impl Head {
    /// The head of an entry.
    pub fn of(entry: &Entry) -> Self {
        Self {
            head: entry.head.clone(),
            times: entry.times,
            body_len: entry.body.len() as u64,
            version: entry.version,
            alias_to: entry.alias_to.clone(),
        }
    }
}

/// One operation of a batch, which is applied whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Stores a value under a key, whatever stood there.
    Put {
        /// The key, 1 byte to 64 KiB.
        key: Bytes,
        /// The small part, up to 1 MiB.
        head: Bytes,
        /// The large part.
        body: Bytes,
        /// When it was made and may be dropped.
        times: Times,
        /// Bookkeeping of the layer above: neither counted by `len` nor listed by `iter`.
        aux: bool,
    },
    /// The same with a body that was staged before; [`put_staged`](Self::put_staged) makes it where it is needed.
    PutStaged {
        /// The key, 1 byte to 64 KiB.
        key: Bytes,
        /// The small part, up to 1 MiB.
        head: Bytes,
        /// The large part.
        body: Staged,
        /// When it was made and may be dropped.
        times: Times,
        /// As in [`Put`](Self::Put).
        aux: bool,
    },
    /// Makes a key lead to another, whatever stood there.
    Alias {
        /// The key, 1 byte to 64 KiB.
        key: Bytes,
        /// The key that it leads to.
        to: Bytes,
        /// A head of the alias's own; if empty, reading the head of the alias gives that of the target.
        head: Bytes,
        /// When it was made and may be dropped.
        times: Times,
    },
    /// Removes a key; nothing happens if it is absent.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Fails the batch with [`Conflict`](crate::ErrorKind::Conflict) unless the key is in this state (`None`: absent)
    /// when the batch begins.
    Expect {
        /// The key.
        key: Bytes,
        /// Its state.
        version: Option<Version>,
    },
}

impl Write {
    /// Stores a staged body: as a [`Put`](Self::Put) if it is in memory, which every store takes, else as a
    /// [`PutStaged`](Self::PutStaged), which only the store that staged it takes.
    #[must_use]
    pub fn put_staged(key: Bytes, head: Bytes, body: &Staged, times: Times, aux: bool) -> Self {
        match body.as_bytes() {
            Some(bytes) => Self::Put { key, head, body: bytes.clone(), times, aux },
            None => Self::PutStaged { key, head, body: body.clone(), times, aux },
        }
    }
}
