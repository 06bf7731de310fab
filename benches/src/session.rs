//! What a hit costs through a session.

use crate::{
    answered::{self, BODY, KEYS},
    store::Result,
};
use larder::CachedSession;
use std::{path::Path, time::Instant};

/// Microseconds for `session.get(url).send()` of a stored answer, warm.
#[expect(clippy::cast_precision_loss, reason = "counts")]
pub fn micros_per_hit(folder: &Path, tier: u64, count: usize) -> Result<f64> {
    let builder = CachedSession::builder("session").location(folder).fast_save(true).memory_tier(tier);
    let (session, urls) = (answered::session(builder)?, answered::urls());
    for url in urls.iter().cycle().take(4 * KEYS) {
        session.get(url).send()?;
    }
    let started = Instant::now();
    for url in urls.iter().cycle().take(count) {
        let response = session.get(url).send()?;
        if !response.from_cache() || response.bytes().len() != BODY {
            return Err("a stored answer is missing".into());
        }
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / count as f64)
}
