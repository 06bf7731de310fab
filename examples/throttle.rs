//! Waits between requests that reach the server, and not between those that the cache answers.
//!
//! The server is a closure, so that the example needs no network.

use std::{
    error::Error,
    io::{self, Write},
    thread::sleep,
    time::{Duration, Instant},
};

use larder::{Backend, CachedSession, Response, Result};

/// A hook that gives the server a rest after each request that reached it.
fn throttle(rest: Duration) -> impl Fn(Response) -> Result<Response> {
    move |response| {
        if !response.from_cache() {
            sleep(rest);
        }
        Ok(response)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = |request: &http::Request<bytes::Bytes>| {
        Ok(http::Response::new(format!("the page {}", request.uri().path()).into_bytes()))
    };
    let session = CachedSession::builder("throttle")
        .backend(Backend::Memory)
        .transport(server)
        .on_response(throttle(Duration::from_millis(300)))
        .build()?;

    let mut out = io::stdout().lock();
    for path in ["/1", "/2", "/1", "/2", "/3"] {
        let began = Instant::now();
        let response = session.get(format!("https://example.com{path}")).send()?;
        let from = if response.from_cache() { "cache" } else { "server" };
        writeln!(out, "{:>6}  {:7.2} ms  {}", from, began.elapsed().as_secs_f64() * 1000.0, response.text()?)?;
    }
    Ok(())
}
