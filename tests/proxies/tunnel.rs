//! A proxy that makes tunnels, as an HTTP proxy (`CONNECT`) or by SOCKS 5 with a password.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

pub(crate) struct Tunnel {
    address: SocketAddr,
    tls: bool,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

type Greet = Arc<dyn Fn(&mut dyn Stream) -> io::Result<Option<(String, TcpStream)>> + Send + Sync>;

impl Tunnel {
    /// An HTTP proxy that lets in whoever has this `Proxy-Authorization`.
    pub(crate) fn start(tls: Option<Arc<ServerConfig>>, password: Option<&'static str>) -> Self {
        Self::with(tls, Arc::new(move |client| connect(client, password)))
    }

    /// A SOCKS 5 proxy that wants this user and password.
    pub(crate) fn socks(user: &'static str, password: &'static str) -> Self {
        Self::with(None, Arc::new(move |client| socks(client, user, password)))
    }

    fn with(tls: Option<Arc<ServerConfig>>, greet: Greet) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let tunnel = Self { address, tls: tls.is_some(), asked: Arc::clone(&asked), stop: Arc::clone(&stop) };
        thread::spawn(move || {
            for socket in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (greet, tls, asked, socket) =
                    (Arc::clone(&greet), tls.clone(), Arc::clone(&asked), socket.unwrap());
                thread::spawn(move || {
                    // A client that goes away is its own business.
                    let _ = serve(&socket, tls, &greet, &asked);
                    let _ = socket.shutdown(Shutdown::Both);
                });
            }
        });
        tunnel
    }

    pub(crate) fn url(&self, userinfo: &str) -> String {
        let (scheme, host) = if self.tls { ("https", "localhost") } else { ("http", "127.0.0.1") };
        format!("{scheme}://{userinfo}{host}:{}", self.address.port())
    }

    /// What it was asked to connect to, and did.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    socket: &TcpStream,
    tls: Option<Arc<ServerConfig>>,
    greet: &Greet,
    asked: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let copy = socket.try_clone()?;
    let mut client: Box<dyn Stream> = match tls {
        Some(tls) => Box::new(StreamOwned::new(ServerConnection::new(tls).map_err(io::Error::other)?, copy)),
        None => Box::new(copy),
    };
    let Some((what, mut server)) = greet(&mut *client)? else { return client.flush() };
    asked.lock().unwrap().push(what);
    // Each in turn, as a TLS stream cannot be read and written by two threads.
    for side in [socket, &server] {
        side.set_read_timeout(Some(Duration::from_millis(2)))?;
    }
    while pass(&mut *client, &mut server)? && pass(&mut server, &mut *client)? {}
    server.shutdown(Shutdown::Both)
}

/// Hands on what is there; `false` at the end.
fn pass(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<bool> {
    let mut buffer = vec![0; 16_384];
    match from.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(n) => to.write_all(&buffer[..n]).and_then(|()| to.flush()).map(|()| true),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(true),
        Err(error) => Err(error),
    }
}

fn connect(client: &mut dyn Stream, password: Option<&str>) -> io::Result<Option<(String, TcpStream)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(byte(client)?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap().to_owned();
    let given = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    if given != password {
        client.write_all(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(None);
    }
    let Some(target) = line.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")) else {
        client.write_all(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(None);
    };
    let server = reach(target)?;
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    client.flush()?;
    Ok(Some((line, server)))
}

/// The servers of the tests listen at one address, whatever they are called.
fn reach(target: &str) -> io::Result<TcpStream> {
    TcpStream::connect(format!("127.0.0.1:{}", target.rsplit(':').next().unwrap_or_default()))
}

fn socks(client: &mut dyn Stream, user: &str, password: &str) -> io::Result<Option<(String, TcpStream)>> {
    let mut take = |len: usize| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        client.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let methods = usize::from(take(2)?[1]);
    let offers_password = take(methods)?.contains(&2);
    client.write_all(&[5, if offers_password { 2 } else { 0xff }])?;
    if !offers_password {
        return Ok(None);
    }
    let text = |client: &mut dyn Stream| -> io::Result<String> {
        let mut bytes = vec![0; usize::from(byte(client)?)];
        client.read_exact(&mut bytes)?;
        String::from_utf8(bytes).map_err(io::Error::other)
    };
    byte(client)?;
    let right = (text(client)?, text(client)?) == (user.to_owned(), password.to_owned());
    client.write_all(&[1, u8::from(!right)])?;
    if !right {
        return Ok(None);
    }
    let mut head = [0; 4];
    client.read_exact(&mut head)?;
    let host = match head[3] {
        1 => {
            let mut address = [0; 4];
            client.read_exact(&mut address)?;
            std::net::Ipv4Addr::from(address).to_string()
        }
        4 => {
            let mut address = [0; 16];
            client.read_exact(&mut address)?;
            std::net::Ipv6Addr::from(address).to_string()
        }
        _ => text(client)?,
    };
    let port = u16::from_be_bytes([byte(client)?, byte(client)?]);
    let server = reach(&format!("{host}:{port}"))?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(Some((host, server)))
}

fn byte(from: &mut dyn Stream) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}
