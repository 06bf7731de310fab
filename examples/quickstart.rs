//! Fetches a few URLs through a session and shows what came from the network and what from the file.
//!
//! No network is needed: the server is a thread of this program, on a port of this machine (`PORT=` changes it).
//! Run it twice: the second run answers from the file.

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::ExitCode,
    thread,
    time::Duration,
};

use larder::{CachedSession, Response};

const DEFAULT_PORT: u16 = 18_080;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let port = match env::var("PORT") {
        Ok(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or("PORT must be the number of a port, such as PORT=18081")?,
        Err(_) => DEFAULT_PORT,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        let another = port.checked_add(1).unwrap_or(DEFAULT_PORT);
        format!("the example's server cannot use port {port} ({error}); set another one: PORT={another}")
    })?;
    thread::spawn(move || serve(&listener));

    let session = CachedSession::builder("quickstart").location("target/quickstart").build()?;
    let mut out = io::stdout().lock();
    for path in ["/users?page=1", "/users?page=2", "/old-address", "/users?page=1"] {
        let response = session.get(format!("http://127.0.0.1:{port}{path}")).send()?;
        show(&mut out, path, &response)?;
    }
    let stats = session.cache().stats()?;
    writeln!(out, "\n{} from the file, {} from the network", stats.hits, stats.misses)?;
    writeln!(out, "the file: target/quickstart/quickstart.larder, {} bytes", stats.file_bytes)?;
    if stats.misses > 0 {
        writeln!(out, "Run it again: then everything comes from the file. Delete the file to begin anew.")?;
    }
    Ok(())
}

fn show(out: &mut impl Write, path: &str, response: &Response) -> io::Result<()> {
    let from = if response.from_cache() { "file" } else { "network" };
    let elapsed = response.elapsed().as_secs_f64() * 1000.0;
    let redirects = if response.history().is_empty() { "" } else { ", redirected" };
    writeln!(out, "{from:>7}  {elapsed:8.3} ms  {}{redirects}  {path}", response.status())
}

/// A server that takes its time, as servers do.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || answer(&stream));
    }
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next().transpose()? {
        while lines.next().transpose()?.is_some_and(|header| !header.is_empty()) {}
        thread::sleep(Duration::from_millis(100));
        let target = request.split(' ').nth(1).unwrap_or("/");
        let (head, body) = if target == "/old-address" {
            ("301 Moved Permanently\r\nLocation: /users?page=3", String::new())
        } else {
            ("200 OK\r\nContent-Type: application/json", format!("{{\"target\": \"{target}\", \"users\": []}}"))
        };
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}
