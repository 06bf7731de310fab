//! http-cache-ureq with its default manager, redb.

use crate::{Client, Origin, Policy, Result};
use http_cache_ureq::{CacheMode, CachedAgent, CachedResponse, RedbManager};
use std::{
    path::Path,
    time::{Duration, Instant},
};

pub fn open(policy: Policy, folder: &Path, origin: &Origin) -> Result<Box<dyn Client>> {
    // It always evaluates its policy; this mode takes what is stale as well.
    let mode = if policy == Policy::Plain { CacheMode::ForceCache } else { CacheMode::Default };
    let manager = RedbManager::new(folder.join(format!("{}.redb", policy.name())))?;
    let agent = CachedAgent::builder().cache_manager(manager).cache_mode(mode).build()?;
    Ok(Box::new(HttpCache { agent, urls: origin.urls(policy) }))
}

struct HttpCache {
    agent: CachedAgent<RedbManager>,
    urls: Vec<String>,
}

impl HttpCache {
    async fn get(&self, page: usize) -> Result<CachedResponse> {
        Ok(self.agent.get(&self.urls[page]).call().await?)
    }
}

impl Client for HttpCache {
    fn body(&mut self, page: usize) -> Result<Vec<u8>> {
        Ok(smol::block_on(self.get(page))?.into_bytes())
    }

    /// One executor for all of them, as a program that is asynchronous has it.
    fn hits(&mut self, first: usize, count: usize) -> Result<Duration> {
        smol::block_on(async {
            let started = Instant::now();
            for n in first..first + count {
                let response = self.get(n % self.urls.len()).await?;
                // `is_cached` is true of every answer that has gone through the cache; the header tells.
                if response.header("x-cache") != Some("HIT") || response.as_bytes().is_empty() {
                    return Err("a stored answer is missing".into());
                }
            }
            Ok(started.elapsed())
        })
    }
}
