//! What every engine can do for the phases.

use crate::stores;
use bytes::Bytes;
use std::path::Path;

pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A write that has returned survives a power cut.
    Durable,
    /// A write need not survive more than the end of the process.
    Fast,
    /// Durable writes beside a reader in another process.
    BesideReader,
    /// Reads beside a writer in another process.
    BesideWriter,
}

/// An open store. Dropping it closes it in good order.
pub trait Store: Send + Sync {
    /// Stores one value, as durably as the store was opened for.
    fn put(&self, key: &[u8], body: &[u8]) -> Result<()>;

    /// Stores many values in one batch or transaction.
    fn put_all(&self, items: &[(&[u8], &[u8])]) -> Result<()>;

    /// The same of bodies that caller and store may share.
    fn put_all_shared(&self, items: &[(&[u8], Bytes)]) -> Result<()> {
        self.put_all(&items.iter().map(|(key, body)| (*key, &body[..])).collect::<Vec<_>>())
    }

    /// The value, in memory that outlives the call.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Removes everything.
    fn clear(&self) -> Result<()>;

    /// Gives the space of what is dead back, and closes the store; `false` if the engine has no such call.
    fn compact(self: Box<Self>) -> Result<bool>;
}

/// An engine.
#[derive(Debug)]
pub struct Peer {
    pub name: &'static str,
    /// The package whose version is printed; none for the bare append.
    pub package: Option<&'static str>,
    pub open: fn(&Path, Use) -> Result<Box<dyn Store>>,
    /// Phases that it has no means for, or cannot end in reasonable time.
    pub cannot: &'static [&'static str],
}

/// All engines, in the order of the columns. Ratios are to the first.
pub const PEERS: &[Peer] = &[
    Peer { name: "raw", package: None, open: stores::raw::open, cannot: &[] },
    // The limit of a format in which the file's size is not the end of the log.
    Peer {
        name: "raw-pre",
        package: None,
        open: stores::raw::open_zero_filled,
        cannot: &["fast", "get", "hot", "open", "space", "beside", "entries", "entries7"],
    },
    Peer { name: "larder", package: Some("larder"), open: stores::larder::open, cannot: &[] },
    // Writes do not know of the tier.
    Peer {
        name: "larder-0",
        package: Some("larder"),
        open: stores::larder::open_without_tier,
        cannot: &["durable1", "durable8", "fast", "batch", "open", "space"],
    },
    Peer { name: "redb", package: Some("redb"), open: stores::redb::open, cannot: &[] },
    // It lets no second process in.
    Peer { name: "fjall", package: Some("fjall"), open: stores::fjall::open, cannot: &["beside"] },
    Peer { name: "lmdb", package: Some("heed"), open: stores::lmdb::open, cannot: &[] },
    Peer { name: "sqlite-wal", package: Some("rusqlite"), open: stores::sqlite::open_wal, cannot: &[] },
    Peer { name: "sqlite", package: Some("rusqlite"), open: stores::sqlite::open_default, cannot: &[] },
    // It lets no second process in.
    Peer { name: "sled", package: Some("sled"), open: stores::sled::open, cannot: &["beside"] },
    // It never syncs; opening it does nothing, and 200,000 entries are 400,000 files.
    Peer {
        name: "cacache",
        package: Some("cacache"),
        open: stores::cacache::open,
        cannot: &["durable1", "durable8", "batch", "open", "entries", "entries7"],
    },
];
