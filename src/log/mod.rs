//! The engine: key -> (head, body) in one append-only file.
//!
//! It knows no HTTP. [`Log`] is the handle; `format-spec/FORMAT.md` in the repository describes the file.

mod append;
mod background;
mod batch;
#[cfg_attr(not(feature = "session"), expect(dead_code, reason = "what has bookkeeping is the session"))]
mod bookkeeping;
#[cfg(test)]
mod bounds;
mod change;
mod check;
mod checkpoint;
mod chunks;
mod clock;
mod codec;
mod commit;
mod compact;
mod copy;
mod copy_body;
mod disk;
mod entry;
mod env;
mod evict;
mod fields;
#[cfg(feature = "zstd")]
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod generation;
#[cfg(test)]
mod golden;
mod handle;
mod header;
mod index;
#[cfg(test)]
mod indexed;
#[cfg(test)]
mod interleaved;
mod iter;
mod layout;
#[cfg(test)]
mod limits;
mod lock;
mod long;
#[cfg(all(test, loom))]
mod loomed;
mod map;
mod memo;
mod new_file;
mod open;
mod options;
mod plant;
mod presence;
mod read;
mod reader;
#[cfg_attr(not(any(test, feature = "session")), expect(dead_code, reason = "a store reads so"))]
mod reads;
mod real_disk;
mod record;
mod repair;
mod repoint;
mod segment;
mod shared;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "a fuzzer needs its histories, not its tests"))]
mod sim;
mod snapshot;
mod staged;
mod stats;
mod statx;
#[cfg(test)]
mod streams;
mod sync;
#[cfg(test)]
mod tests;
mod tier;
mod usage;
#[cfg(test)]
mod vectors;
mod view;
mod walk;
#[cfg(test)]
mod watched;
mod writeback;

pub use batch::Batch;
#[cfg_attr(not(feature = "session"), expect(unused_imports, reason = "there is no layer above"))]
pub(crate) use bookkeeping::{BookRecord, Bookkeeping, Pruned};
pub use change::Change;
pub use check::{CheckReport, LogEnd};
pub use clock::{Clock, SystemClock};
pub use entry::{Entry, Head, Times, Version, Write};
pub use handle::Log;
pub use iter::Iter;
pub use memo::Memo;
pub use options::{OnDamage, Options};
pub use reader::Reader;
#[cfg_attr(not(feature = "session"), expect(unused_imports, reason = "there is no layer above"))]
pub(crate) use reads::Reads;
pub use repair::{RepairReport, repair};
pub use staged::{Stage, Staged, Writer};
pub use stats::Stats;
