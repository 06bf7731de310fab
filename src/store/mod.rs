//! Where stored responses live: the trait [`Store`], and the stores that come with the crate.

pub mod contract;
mod dicts;
mod interface;
mod log;
mod memory;
#[cfg(any(feature = "sqlite", feature = "redis"))]
mod shared;

pub use dicts::DictStore;
pub use interface::{Ahead, BodyReader, Reads, Stage, Store, StoreStats, Visitor};
pub use log::LogStore;
pub use memory::MemoryStore;
#[cfg(any(feature = "sqlite", feature = "redis"))]
pub(crate) use shared::{KeysOf, Lapse, SharedStore};
