//! Puts a cache under an agent of ureq that exists already, with its own settings; nothing else of the program changes.
//!
//! No network is needed: the server is a thread of this program.

use std::{
    error::Error,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use larder::{Backend, CacheMiddleware, CachedSession};
use ureq::{Agent, ResponseExt};

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let server = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(&stream));
        }
    });

    let session = CachedSession::builder("agent").backend(Backend::Memory).build()?;
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .user_agent("my-program/1.0")
        .middleware(larder::middleware(session.clone()))
        .build()
        .into();

    let mut out = io::stdout().lock();
    for path in ["/users", "/old-address", "/users", "/old-address"] {
        let began = Instant::now();
        let mut response = agent.get(format!("{server}{path}")).call()?;
        let body = response.body_mut().read_to_string()?;
        let from = if CacheMiddleware::from_cache(&response) { "cache" } else { "server" };
        let elapsed = began.elapsed().as_secs_f64() * 1000.0;
        writeln!(out, "{from:>6}  {elapsed:7.2} ms  {path} -> {}  {body}", response.get_uri().path())?;
    }
    let stats = session.cache().stats()?;
    writeln!(out, "{} from the cache, {} from the server", stats.hits, stats.misses)?;
    Ok(())
}

/// A server that takes its time, as servers do.
fn serve(mut stream: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next().transpose()? {
        while lines.next().transpose()?.is_some_and(|header| !header.is_empty()) {}
        thread::sleep(Duration::from_millis(100));
        let (head, body) = match request.split(' ').nth(1) {
            Some("/old-address") => ("301 Moved Permanently\r\nLocation: /users", ""),
            _ => ("200 OK\r\nContent-Type: application/json", r#"{"users": []}"#),
        };
        write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
    Ok(())
}
