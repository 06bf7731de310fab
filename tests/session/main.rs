//! What a session promises, one test per promise, against an origin in this process.
//!
//! Promises that do not depend on where responses are kept are tested in memory and in a file.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod caching;
mod credentials;
mod diagnosis;
mod disabled;
mod failing;
mod global;
mod hooks;
mod middleware;
mod offline;
mod redirects;
mod requests;
mod rfc;
mod settings;
mod sharing;
mod streaming;
mod streams;

use larder::{Backend, CachedSession, CachedSessionBuilder};
use tempfile::TempDir;

/// Where the responses of a test are kept.
pub(crate) struct Place {
    backend: Backend,
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(backend: Backend) -> Self {
        Self { backend, folder: tempfile::tempdir().unwrap() }
    }

    /// A session in this place; those of one place in a file share it.
    pub(crate) fn builder(&self) -> CachedSessionBuilder {
        CachedSession::builder("cache").backend(self.backend.clone()).location(self.folder.path())
    }

    pub(crate) fn session(&self) -> CachedSession {
        self.builder().build().unwrap()
    }

    /// Whether there is anything left of it in the next session.
    pub(crate) fn keeps(&self) -> bool {
        !matches!(self.backend, Backend::Memory)
    }

    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("cache.larder")
    }
}

/// Runs each function as a test in memory and in files.
macro_rules! in_memory_and_file {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $name() { super::$name(&crate::Place::new(larder::Backend::Memory)); })*
        }
        mod file {
            $(#[test] fn $name() { super::$name(&crate::Place::new(larder::Backend::Log)); })*
        }
        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[test] fn $name() { super::$name(&crate::Place::new(larder::Backend::Sqlite)); })*
        }
    };
}
pub(crate) use in_memory_and_file;
