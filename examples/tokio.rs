//! Asks from async code: each request runs on one of tokio's threads for what blocks, and the session is shared by all.
//!
//! No network is needed: the server is a thread of this program.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use larder::{Backend, CachedSession, Error, ErrorKind, Response};
use tokio::{runtime, task};

/// Waits for an answer without keeping other tasks from running.
///
/// A hit takes microseconds and could be had in place; whether it is one is not known before. Dropping the future does not
/// stop the request, it only ends the wait: give the session a timeout.
async fn fetch(session: &CachedSession, url: String) -> larder::Result<Response> {
    let session = session.clone();
    let asked = task::spawn_blocking(move || session.get(url).send());
    asked.await.unwrap_or_else(|error| Err(Error::new(ErrorKind::Network, "the request panicked").with_source(error)))
}

async fn run(server: &str) -> Result<(), Box<dyn std::error::Error>> {
    let session = CachedSession::builder("tokio").backend(Backend::Memory).timeout(Duration::from_secs(10)).build()?;
    let mut out = io::stdout().lock();
    for round in 1..=2 {
        // Identical ones that are under way at once are one request: the server is asked for three pages.
        let pages = ["/a", "/b", "/c", "/a", "/b", "/c"];
        let tasks = pages.map(|page| {
            let (session, url) = (session.clone(), format!("{server}{page}"));
            task::spawn(async move { fetch(&session, url).await })
        });
        for task in tasks {
            let answer = task.await??;
            writeln!(out, "round {round}: {} is {}, {}", answer.url(), answer.text()?, answer.cache_status())?;
        }
    }
    let stats = task::spawn_blocking(move || session.cache().stats()).await??;
    writeln!(out, "{} from the cache, {} from the server", stats.hits, stats.misses)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let server = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(&stream));
        }
    });
    // A runtime of one thread: what blocks has threads of its own. `#[tokio::main]` does as well.
    runtime::Builder::new_current_thread().build()?.block_on(run(&server))
}

/// A server that takes its time, as servers do.
fn serve(mut stream: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next().transpose()? {
        while lines.next().transpose()?.is_some_and(|header| !header.is_empty()) {}
        thread::sleep(Duration::from_millis(100));
        let body = format!("page {}", request.split(' ').nth(1).unwrap_or_default());
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
    Ok(())
}
