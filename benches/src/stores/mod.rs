//! The engines behind one trait, each as its documentation recommends for values of this size.

pub mod cacache;
pub mod fjall;
pub mod larder;
pub mod lmdb;
pub mod raw;
pub mod redb;
pub mod sled;
pub mod sqlite;
