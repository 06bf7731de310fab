//! Records answers once, then replays them with the network out of bounds, as a test does with its fixtures.
//!
//! The recording is made from a server that is a closure, so that the example needs no network either.

use std::{
    error::Error,
    io::{self, Write},
};

use larder::{CachedSession, ErrorKind, Mode};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let folder = tempfile::tempdir()?;
    let fixture = folder.path().join("api");

    // Once, by hand, with the network: everything that is asked is recorded in api.larder.
    let server = |request: &http::Request<bytes::Bytes>| {
        let query = request.uri().query().unwrap_or_default();
        Ok(http::Response::new(format!("users of {query}").into_bytes()))
    };
    let recorder = CachedSession::builder(&fixture).transport(server).build()?;
    for page in ["1", "2"] {
        let url = "https://api.example.com/v1/users";
        recorder.get(url).query("page", page).bearer_auth("a token, which is not recorded").send()?;
    }
    writeln!(out, "recorded: {}", recorder.cache().urls()?.join(", "))?;
    drop(recorder);

    // Ever after, in the tests: no network, no credentials, and not a byte of the file changes.
    let session = CachedSession::builder(&fixture).mode(Mode::Offline).build()?;
    let response = session.get("https://api.example.com/v1/users?page=2").send()?;
    writeln!(out, "replayed: {} {}", response.status(), response.text()?)?;

    match session.get("https://api.example.com/v1/users?page=3").send() {
        Err(error) if error.kind() == ErrorKind::OfflineMiss => writeln!(out, "missing:  {error}")?,
        other => return Err(format!("expected a miss, got {other:?}").into()),
    }
    Ok(())
}
