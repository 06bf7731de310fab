//! What a hit costs through a session.

use crate::store::Result;
use larder::CachedSession;
use std::{path::Path, time::Instant};

const BODY: usize = 10 << 10;
const KEYS: usize = 200;

/// Microseconds for `session.get(url).send()` of a stored answer of 10 KiB with ten headers, warm.
#[expect(clippy::cast_precision_loss, reason = "counts")]
pub fn micros_per_hit(folder: &Path, tier: u64, count: usize) -> Result<f64> {
    let session = session(folder, tier)?;
    let urls: Vec<String> = (0..KEYS).map(|n| format!("https://api.example.com/v1/users?page={n}")).collect();
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

/// A session that is answered without a network.
fn session(folder: &Path, tier: u64) -> Result<CachedSession> {
    let answer = |_: &http::Request<bytes::Bytes>| {
        let response = http::Response::builder()
            .header("date", "Sun, 06 Nov 1994 08:49:37 GMT")
            .header("content-type", "application/json; charset=utf-8")
            .header("content-length", BODY)
            .header("cache-control", "public, max-age=60, s-maxage=60")
            .header("etag", "\"7d3c4d0fa8f5a4e1b8b0a1f1a4f6d2f1\"")
            .header("vary", "Accept, Accept-Encoding")
            .header("server", "nginx")
            .header("x-request-id", "A1B2:3C4D:5E6F70:818283:84858687")
            .header("strict-transport-security", "max-age=31536000; includeSubdomains")
            .header("x-content-type-options", "nosniff");
        Ok(response.body(vec![b'x'; BODY]).expect("these are headers"))
    };
    let session = CachedSession::builder("session").location(folder).fast_save(true).memory_tier(tier);
    Ok(session.transport(answer).build()?)
}
