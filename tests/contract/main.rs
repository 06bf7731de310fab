//! The laws of stores and dicts, over all that come with the crate.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod damaged;
mod dicts;
mod servers;
mod stores;
