//! A store that a session must not change.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use crate::{
    Error, ErrorKind, Result,
    log::{Entry, Head, Version, Write},
    store::{Ahead, BodyReader, Reads, Store, StoreStats, Visitor},
};

/// Another store, of which only the reading methods are passed on. A log can be opened so itself.
#[derive(Debug)]
pub(super) struct ReadOnly(pub(super) Arc<dyn Store>);

fn refused() -> Error {
    Error::new(ErrorKind::ReadOnly, "the session is read-only, so its cache cannot be changed")
}

impl Store for ReadOnly {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.0.entry(key)
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        self.0.head(key)
    }

    fn reads(&self, ahead: Ahead<'_>) -> Result<Box<dyn Reads + '_>> {
        self.0.reads(ahead)
    }

    fn commit(&self, _writes: Vec<Write>) -> Result<()> {
        Err(refused())
    }

    fn reader(&self, key: &[u8], version: Version) -> Result<Option<Box<dyn BodyReader>>> {
        self.0.reader(key, version)
    }

    fn visit(&self, each: Visitor<'_>) -> Result<()> {
        self.0.visit(each)
    }

    fn visit_aliases(&self, each: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>) -> Result<()> {
        self.0.visit_aliases(each)
    }

    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn clear(&self) -> Result<()> {
        Err(refused())
    }

    fn compact(&self) -> Result<()> {
        Err(refused())
    }

    fn flush(&self) -> Result<()> {
        self.0.flush()
    }

    fn stats(&self) -> Result<StoreStats> {
        self.0.stats()
    }

    fn location(&self) -> Option<&Path> {
        self.0.location()
    }

    fn is_atomic(&self) -> bool {
        self.0.is_atomic()
    }

    fn unsound_reads(&self) -> u64 {
        self.0.unsound_reads()
    }
}
