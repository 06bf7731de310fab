//! The server behind the answers.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::Reply;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

#[derive(Default)]
struct Shared {
    routes: Mutex<HashMap<String, Handler>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
}

/// A server on a free loopback port; gone when dropped.
pub(crate) struct Origin {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// The same behind TLS.
    pub(crate) fn start_tls(config: &Arc<rustls::ServerConfig>) -> Self {
        Self::start_with(Some(config))
    }

    fn start_with(tls: Option<&Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            {
                let tls = tls.cloned();
                move || accept(&listener, tls.as_ref(), &shared)
            }
        });
        Self { address, tls: tls.is_some(), shared, accepting: Some(accepting) }
    }

    /// Answers every request for the path, whatever its query.
    pub(crate) fn route(&self, path: &str, reply: Reply) -> &Self {
        self.handle(path, move |_| reply.clone())
    }

    pub(crate) fn handle(&self, path: &str, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> &Self {
        self.shared.routes.lock().unwrap().insert(path.to_owned(), Arc::new(handler));
        self
    }

    pub(crate) fn url(&self, path: &str) -> String {
        // The certificates of the tests are for this name.
        let host = if self.tls { "https://localhost" } else { "http://127.0.0.1" };
        format!("{host}:{}{path}", self.port())
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often the path was asked for.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| seen.path() == path).count()
    }

    pub(crate) fn total_hits(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// All requests, in their order.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The last request for the path.
    pub(crate) fn last(&self, path: &str) -> Seen {
        self.shared.seen.lock().unwrap().iter().rfind(|seen| seen.path() == path).cloned().unwrap()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then closes the listener.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            // Most are closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, tls: Option<&Arc<rustls::ServerConfig>>, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        shared.connections.fetch_add(1, Ordering::SeqCst);
        shared.streams.lock().unwrap().push(stream.try_clone().unwrap());
        let (shared, tls) = (Arc::clone(shared), tls.cloned());
        thread::spawn(move || {
            let socket = stream.try_clone().unwrap();
            // A client that goes away is its own business.
            let _ = match tls {
                Some(tls) => {
                    let session = rustls::ServerConnection::new(tls).unwrap();
                    serve(rustls::StreamOwned::new(session, stream), &shared)
                }
                None => serve(stream, &shared),
            };
            let _ = socket.shutdown(Shutdown::Both);
        });
    }
}

fn serve(stream: impl Read + Write, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read_request(&mut stream)? {
        let handler = shared.routes.lock().unwrap().get(seen.path()).cloned();
        shared.seen.lock().unwrap().push(seen.clone());
        let reply = handler.map_or_else(|| Reply::new(404).body("no such page"), |handler| handler(&seen));
        let asked_to_close = seen.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !reply.write(stream.get_mut(), seen.method == "HEAD")? || asked_to_close {
            return stream.get_mut().flush();
        }
    }
    Ok(())
}

fn read_request(input: &mut impl BufRead) -> io::Result<Option<Seen>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if header("transfer-encoding") == Some("chunked") {
        while let len @ 1.. = read_chunk_len(input)? {
            let before = body.len();
            body.resize(before + len, 0);
            input.read_exact(&mut body[before..])?;
            input.read_line(&mut String::new())?;
        }
        input.read_line(&mut String::new())?;
    } else {
        body.resize(header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0), 0);
        input.read_exact(&mut body)?;
    }
    Ok(Some(Seen { method, target, headers, body }))
}

fn read_chunk_len(input: &mut impl BufRead) -> io::Result<usize> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)
}
