//! Replaying what was recorded, and saying what is missing.

mod miss;
mod nearest;

pub(crate) use miss::{Recorded, miss, not_recorded};
