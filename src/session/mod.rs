//! The session.

pub(crate) mod cache;
