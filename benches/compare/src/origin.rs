//! An HTTP server on loopback, in this process.

use crate::{Policy, Result, work::Work};
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::SystemTime,
};

const BODY: usize = 10 << 10;

pub struct Origin {
    address: std::net::SocketAddr,
    work: Work,
    served: AtomicUsize,
}

impl Origin {
    /// Serves so many pages of 10 KiB of JSON-like text until the process ends.
    pub fn start(pages: usize) -> Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let origin = Arc::new(Self { address, work: Work::of_len(pages, BODY), served: AtomicUsize::new(0) });
        let serving = origin.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let origin = serving.clone();
                // A client that goes away is no failure.
                thread::spawn(move || drop(origin.serve(&stream)));
            }
        });
        Ok(origin)
    }

    /// Where the pages are that a client under this policy asks for; their number follows.
    pub fn prefix(&self, policy: Policy) -> String {
        let folder = if policy == Policy::Vary { "varying" } else { "v1" };
        format!("http://{}/{folder}/users?page=", self.address)
    }

    pub fn urls(&self, policy: Policy) -> Vec<String> {
        let prefix = self.prefix(policy);
        (0..self.work.len()).map(|page| format!("{prefix}{page}")).collect()
    }

    pub fn body(&self, page: usize) -> &[u8] {
        self.work.item(page).1
    }

    /// Requests that have come so far.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// Answers the requests of one connection.
    fn serve(&self, mut stream: &TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut lines = BufReader::new(stream).lines();
        while let Some(request) = lines.next() {
            let request = request?;
            for line in lines.by_ref() {
                if line?.is_empty() {
                    break;
                }
            }
            self.served.fetch_add(1, Ordering::SeqCst);
            stream.write_all(&self.answer(&request)?)?;
        }
        Ok(())
    }

    /// Ten headers, as they are common with an API, eleven with Vary.
    fn answer(&self, request: &str) -> Result<Vec<u8>> {
        let target = request.split(' ').nth(1).ok_or("this is no request line")?;
        let (_, page) = target.split_once("?page=").ok_or("there are only pages here")?;
        let body = self.body(page.parse()?);
        let vary = if target.starts_with("/varying/") { "vary: Accept, Accept-Encoding\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 200 OK\r\n\
             date: {}\r\n\
             content-type: application/json; charset=utf-8\r\n\
             content-length: {}\r\n\
             cache-control: public, max-age=86400, s-maxage=86400\r\n\
             etag: \"7d3c4d0fa8f5a4e1b8b0a1f1a4f6d2f1\"\r\n\
             last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             {vary}\
             server: nginx\r\n\
             x-request-id: A1B2:3C4D:5E6F70:818283:84858687\r\n\
             strict-transport-security: max-age=31536000; includeSubdomains\r\n\
             x-content-type-options: nosniff\r\n\r\n",
            httpdate::fmt_http_date(SystemTime::now()),
            body.len()
        );
        Ok([head.as_bytes(), body].concat())
    }
}
