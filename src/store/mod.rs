//! Where stored responses live.

mod memory;
mod store;

pub use memory::MemoryStore;
pub use store::{Store, StoreStats};
