//! What a session promises, one test per promise, against an origin in this process.
//!
//! Promises that do not depend on where responses are kept are tested over every backend.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(dead_code, reason = "other tests use what these have no use for")]

#[path = "../support/mod.rs"]
mod support;

mod authentication;
mod bodies;
mod caching;
mod cookies;
mod credentials;
mod diagnosis;
mod disabled;
mod failing;
mod global;
mod hooks;
mod laws;
mod laws_policy;
mod laws_storage;
mod limit;
mod middleware;
mod offline;
mod parameters;
mod policy;
mod redirects;
mod requests;
mod retries;
mod rfc;
mod sent_bodies;
#[cfg(any(feature = "redis", feature = "mongodb"))]
mod servers;
mod settings;
mod sharing;
mod streaming;
mod streams;

use std::sync::atomic::{AtomicUsize, Ordering};

use larder::{Backend, CachedSession, CachedSessionBuilder};
use tempfile::TempDir;

/// Where the responses of a test are kept.
pub(crate) struct Place {
    pub(crate) backend: Backend,
    name: String,
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(backend: Backend) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // A server is shared by all tests.
        let name = match backend {
            Backend::RedisAt(_) | Backend::MongoAt(_) => {
                format!("session-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
            }
            _ => "cache".to_owned(),
        };
        Self { backend, name, folder: tempfile::tempdir().unwrap() }
    }

    /// On the server that `./test` has put there.
    #[cfg(any(feature = "redis", feature = "mongodb"))]
    pub(crate) fn on_server(variable: &str) -> Self {
        let address = std::env::var(variable);
        let address = address.unwrap_or_else(|_| panic!("{variable} is not set; run ./test, which starts the servers"));
        Self::new(address.parse().unwrap())
    }

    /// A session in this place; those of one place, unless it is in memory, share it.
    pub(crate) fn builder(&self) -> CachedSessionBuilder {
        CachedSession::builder(&self.name).backend(self.backend.clone()).location(self.folder.path())
    }

    pub(crate) fn session(&self) -> CachedSession {
        self.builder().build().unwrap()
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.backend, Backend::Memory)
    }

    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("cache.larder")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if matches!(self.backend, Backend::RedisAt(_) | Backend::MongoAt(_)) && !std::thread::panicking() {
            self.session().cache().clear().unwrap();
        }
    }
}

/// Runs each function as a test over every backend.
macro_rules! over_all_backends {
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
        #[cfg(feature = "redis")]
        mod redis {
            $(
                #[test]
                #[ignore = "needs Redis; run by ./test"]
                fn $name() { super::$name(&crate::Place::on_server("LARDER_REDIS")); }
            )*
        }
        #[cfg(feature = "redis-cluster")]
        mod redis_cluster {
            $(
                #[test]
                #[ignore = "needs a Redis cluster; run by ./test"]
                fn $name() { super::$name(&crate::Place::on_server("LARDER_REDIS_CLUSTER")); }
            )*
        }
        #[cfg(feature = "mongodb")]
        mod mongodb {
            $(
                #[test]
                #[ignore = "needs MongoDB; run by ./test"]
                fn $name() { super::$name(&crate::Place::on_server("LARDER_MONGO")); }
            )*
        }
    };
}
pub(crate) use over_all_backends;
