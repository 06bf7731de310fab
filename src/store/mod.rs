//! Where stored responses live: the trait [`Store`], and the stores that come with the crate.

#[cfg(test)]
mod contract;
mod interface;
mod log;
mod memory;

pub use interface::{BodyReader, Stage, Store, StoreStats, Visitor};
pub use log::LogStore;
pub use memory::MemoryStore;
