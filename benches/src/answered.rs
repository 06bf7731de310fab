//! A session whose answers come without a network: 10 KiB with ten headers, which vary.

use larder::{CachedSession, CachedSessionBuilder};

pub const BODY: usize = 10 << 10;
pub const KEYS: usize = 200;

/// What is asked for.
pub fn urls() -> Vec<String> {
    (0..KEYS).map(|n| format!("https://api.example.com/v1/users?page={n}")).collect()
}

pub fn session(builder: CachedSessionBuilder) -> larder::Result<CachedSession> {
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
    builder.transport(answer).build()
}
