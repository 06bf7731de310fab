//! larder, over the stores that need no server.

use crate::{Client, Origin, Policy, Result};
use larder::{Backend, CachedSession, Response};
use std::{
    path::Path,
    time::{Duration, Instant},
};

#[derive(Clone, Copy)]
pub enum Store {
    Log,
    LogWithoutTier,
    Memory,
    Sqlite,
}

impl Store {
    pub const ALL: [Self; 4] = [Self::Log, Self::LogWithoutTier, Self::Memory, Self::Sqlite];

    pub fn label(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::LogWithoutTier => "log without its tier",
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
        }
    }
}

pub fn open(store: Store, policy: Policy, folder: &Path, origin: &Origin) -> Result<Box<dyn Client>> {
    let (backend, tier) = match store {
        Store::Log => (Backend::Log, 32 << 20),
        Store::LogWithoutTier => (Backend::Log, 0),
        Store::Memory => (Backend::Memory, 0),
        Store::Sqlite => (Backend::Sqlite, 0),
    };
    let session = CachedSession::builder(format!("{} {}", store.label(), policy.name()))
        .backend(backend)
        .location(folder)
        .fast_save(true)
        .memory_tier(tier)
        .cache_control(policy != Policy::Plain)
        .build()?;
    Ok(Box::new(Larder { session, urls: origin.urls(policy) }))
}

struct Larder {
    session: CachedSession,
    urls: Vec<String>,
}

impl Larder {
    fn get(&self, page: usize) -> Result<Response> {
        Ok(self.session.get(&self.urls[page]).send()?)
    }
}

impl Client for Larder {
    fn body(&mut self, page: usize) -> Result<Vec<u8>> {
        Ok(self.get(page)?.bytes().to_vec())
    }

    fn hits(&mut self, first: usize, count: usize) -> Result<Duration> {
        let started = Instant::now();
        for n in first..first + count {
            let response = self.get(n % self.urls.len())?;
            if !response.from_cache() || response.bytes().is_empty() {
                return Err("a stored answer is missing".into());
            }
        }
        Ok(started.elapsed())
    }
}
