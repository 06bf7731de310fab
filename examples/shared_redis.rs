//! One cache for many machines: on a Redis server, or on a Redis Cluster once one server is not enough.
//!
//! ```text
//! cargo run --features redis --example shared_redis -- redis://127.0.0.1:6379/0
//! cargo run --features redis-cluster --example shared_redis -- redis-cluster://10.0.0.1:6379,10.0.0.2:6379
//! ```
//!
//! With several machines nothing changes but the URL. Responses are strings `NAME:KEY`, which a cluster spreads over
//! its nodes; set `maxmemory` and `maxmemory-policy allkeys-lru` on the servers, and they drop what was used least.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use bytes::Bytes;
use larder::{Backend, CachedSession};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(url) = std::env::args().nth(1) else {
        println!("usage: shared_redis redis://HOST:PORT/DB");
        return Ok(());
    };
    // Two sessions, as two machines would have them: what one has fetched, the other is answered from the cache.
    for machine in ["one", "two"] {
        let session = CachedSession::builder("shared-example")
            .backend(url.parse::<Backend>()?)
            .store_timeout(Duration::from_secs(1))
            .expire_after(Duration::from_secs(3600))
            // A cache that is down is no reason to stop working, but one to say so.
            .on_store_error(|error| println!("the cache does not work: {error}"))
            .transport(|_: &http::Request<Bytes>| Ok(http::Response::new(b"hello".to_vec())))
            .build()?;
        let response = session.get("http://example.org/").send()?;
        println!("machine {machine}: {:?}, from the cache: {}", response.text()?, response.from_cache());
    }
    Ok(())
}
