//! The engine: key -> (head, body) in one append-only file.

mod clock;
mod disk;
mod entry;
mod real_disk;

pub use clock::{Clock, SystemClock};
pub use entry::{Entry, Head, Times, Version, Write};
