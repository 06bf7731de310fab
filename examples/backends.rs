//! What a hit and a save cost, and how much room 1,000 responses take, in each backend of this build.
//!
//! ```text
//! cargo run --release --all-features --example backends
//! ```
//!
//! Servers are measured where `LARDER_REDIS` and `LARDER_MONGO` name one. Responses are 10 KiB of text that does not
//! repeat, without a network: what is left is the cost of the session and its store.

#![expect(clippy::print_stdout, reason = "this program prints its figures")]

use std::{error::Error, path::Path, time::Instant};

use bytes::Bytes;
use larder::{Backend, CachedSession};

const RESPONSES: usize = 1000;
const BODY: usize = 10 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{RESPONSES} responses of {BODY} bytes, microseconds each (median)\n");
    println!("| backend | save | hit | bytes stored per response |");
    println!("|---|---:|---:|---:|");
    let mut backends = vec![("memory", "memory".to_owned(), false)];
    backends.push(("log", "log".to_owned(), false));
    backends.push(("log, fast_save", "log".to_owned(), true));
    if cfg!(feature = "sqlite") {
        backends.push(("sqlite", "sqlite".to_owned(), false));
        backends.push(("sqlite, fast_save", "sqlite".to_owned(), true));
    }
    for (name, variable) in
        [("redis", "LARDER_REDIS"), ("redis cluster", "LARDER_REDIS_CLUSTER"), ("mongodb", "LARDER_MONGO")]
    {
        backends.extend(std::env::var(variable).ok().map(|address| (name, address, false)));
    }
    for (name, backend, fast_save) in backends {
        measure(name, &backend.parse()?, fast_save)?;
    }
    #[cfg(feature = "sqlite")]
    bulk()?;
    Ok(())
}

fn measure(name: &str, backend: &Backend, fast_save: bool) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let session = CachedSession::builder("larder-bench")
        .backend(backend.clone())
        .location(folder.path())
        .fast_save(fast_save)
        .strict(true)
        .transport(|request: &http::Request<Bytes>| Ok(http::Response::new(body(request.uri().path()))))
        .build()?;
    session.cache().clear()?;
    let before = used(backend, folder.path())?;
    let save = median(|n| ask(&session, n, false))?;
    session.cache().flush()?;
    let size = used(backend, folder.path())?.saturating_sub(before) / RESPONSES as u64;
    let hit = median(|n| ask(&session, n, true))?;
    let size = if size == 0 { "-".to_owned() } else { size.to_string() };
    println!("| {name} | {save:.0} | {hit:.1} | {size} |");
    session.cache().clear()?;
    Ok(())
}

fn ask(session: &CachedSession, n: usize, from_cache: bool) -> Result<(), Box<dyn Error>> {
    let response = session.get(format!("http://example.org/{n}")).send()?;
    assert_eq!((response.from_cache(), response.bytes().len()), (from_cache, BODY));
    Ok(())
}

/// The median time of doing something with each response, in microseconds.
fn median(act: impl Fn(usize) -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::with_capacity(RESPONSES);
    for n in 0..RESPONSES {
        let started = Instant::now();
        act(n)?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times[RESPONSES / 2].as_secs_f64() * 1e6)
}

/// Text that does not repeat, and differs by path.
fn body(path: &str) -> Vec<u8> {
    let mut state = path.bytes().fold(1_u64, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + u8::try_from((state >> 33) % 26).unwrap_or(0)
    };
    (0..BODY).map(|_| next()).collect()
}

/// What is in use where the backend keeps its responses.
fn used(backend: &Backend, folder: &Path) -> Result<u64, Box<dyn Error>> {
    match backend {
        #[cfg(feature = "redis")]
        Backend::RedisAt(url) if url.starts_with("redis:") => {
            let mut link = redis::Client::open(url.as_str())?.get_connection()?;
            let info: String = redis::cmd("INFO").arg("memory").query(&mut link)?;
            let used = info.lines().find_map(|line| line.strip_prefix("used_memory_dataset:"));
            Ok(used.unwrap_or("0").trim().parse()?)
        }
        #[cfg(feature = "mongodb")]
        Backend::MongoAt(uri) => {
            let database = mongodb::sync::Client::with_uri_str(uri)?.database("larder-bench");
            let stats = database.run_command(mongodb::bson::doc! { "dbStats": 1 }).run()?;
            // A number of whatever type fits.
            let size = stats.get("dataSize").map(ToString::to_string).unwrap_or_default();
            Ok(size.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0))
        }
        _ => {
            let mut bytes = 0;
            for file in std::fs::read_dir(folder)? {
                bytes += file?.metadata()?.len();
            }
            Ok(bytes)
        }
    }
}

/// One by one, and in bulk.
#[cfg(feature = "sqlite")]
fn bulk() -> Result<(), Box<dyn Error>> {
    use larder::dict::{Dict, SqliteDict};

    let folder = tempfile::tempdir()?;
    let dict = SqliteDict::open(folder.path().join("bulk.sqlite"))?;
    let insert = |from: u32, to: u32| (from..to).try_for_each(|n| dict.insert(&n.to_be_bytes(), &[7; 100], None));
    let started = Instant::now();
    insert(0, 500)?;
    let single = started.elapsed().as_secs_f64() / 500.0;
    let started = Instant::now();
    dict.bulk_commit(|_| insert(1000, 11_000))?;
    let bulk = started.elapsed().as_secs_f64() / 10_000.0;
    println!(
        "\nSqliteDict: {:.1} us an insert, {:.2} us in a bulk_commit: {:.0} x faster",
        single * 1e6,
        bulk * 1e6,
        single / bulk
    );
    Ok(())
}
