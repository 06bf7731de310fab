//! Answers that are played to ureq from memory, so that what it says of them is what it says of those from the network:
//! where they come from and by which way, which statuses are errors, how many redirects are too many.
//!
//! It runs under the configuration that the request brings along, which is that of the agent that was asked.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::Read,
    net::{Ipv4Addr, SocketAddr},
};

use http::{
    HeaderMap, HeaderName, Request, Response, StatusCode, Uri,
    header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING},
};
use ureq::{
    Agent, Body, Error, RequestExt,
    config::Config,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

use super::replaying_agent;
use crate::ResponseStream;

/// The answers, first one first.
#[derive(Default)]
pub(super) struct Script(VecDeque<Answer>);

struct Answer {
    head: Vec<u8>,
    body: Option<ResponseStream>,
}

thread_local! {
    /// What the connections that are made next in this thread bring.
    static PLAYING: RefCell<VecDeque<Answer>> = const { RefCell::new(VecDeque::new()) };
}

/// What is about a connection that is not here.
const OF_THE_CONNECTION: [HeaderName; 2] = [CONNECTION, TRANSFER_ENCODING];

impl Script {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A redirect to somewhere.
    pub(super) fn redirect(&mut self, status: StatusCode, headers: &HeaderMap, target: &str) {
        // Those of its body are left out with that.
        let unfit = [CONTENT_ENCODING, CONTENT_LENGTH, LOCATION];
        let mut head = status_line(status);
        for (name, value) in headers.iter().filter(|(name, _)| !unfit.contains(name)) {
            write(&mut head, name, value.as_bytes());
        }
        write(&mut head, &LOCATION, target.as_bytes());
        write(&mut head, &CONTENT_LENGTH, b"0");
        head.extend_from_slice(b"\r\n");
        self.0.push_back(Answer { head, body: None });
    }

    /// The end of the way. Text that was turned into UTF-8 before is not to be turned again.
    pub(super) fn last(&mut self, stream: ResponseStream, is_transcoded: bool) {
        let mut head = status_line(stream.status());
        for (name, value) in stream.headers() {
            let value = match value.as_bytes() {
                // What stands behind the type is what says how to turn it.
                value if is_transcoded && name == CONTENT_TYPE => {
                    value.split(|byte| *byte == b';').next().unwrap_or(value)
                }
                value => value,
            };
            write(&mut head, name, value);
        }
        head.extend_from_slice(b"\r\n");
        self.0.push_back(Answer { head, body: Some(stream) });
    }

    /// What the agent of the request makes of it, and whether it went all the way.
    pub(super) fn run(self, request: &Request<()>) -> Result<(Response<Body>, bool), Error> {
        // With the agent's configuration beside it, also where the request has none of its own.
        let Some(config) = request.clone().middleware_config() else { return Err(Error::HostNotFound) };
        let request = config.build();
        PLAYING.set(self.0);
        let response = replaying_agent().run(request);
        let left = PLAYING.take();
        response.map(|response| (response, left.is_empty()))
    }
}

/// The body ends with the connection, unless its length is known.
fn status_line(status: StatusCode) -> Vec<u8> {
    format!("HTTP/1.1 {} -\r\nconnection: close\r\n", status.as_u16()).into_bytes()
}

fn write(head: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    if OF_THE_CONNECTION.contains(name) {
        return;
    }
    for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// An agent whose connections lead into memory.
pub(super) fn agent() -> Agent {
    Agent::with_parts(Config::default(), Memory, Nowhere)
}

#[derive(Debug)]
struct Memory;

impl Connector for Memory {
    type Out = Played;

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<Played>, Error> {
        const BUFFER: usize = 16 << 10;
        let Answer { head, body } = PLAYING.with_borrow_mut(VecDeque::pop_front).ok_or(Error::ConnectionFailed)?;
        // A head has to fit in whole.
        let room = head.len().max(BUFFER);
        Ok(Some(Played { buffers: LazyBuffers::new(room, BUFFER), head: Some(head), body }))
    }
}

struct Played {
    buffers: LazyBuffers,
    head: Option<Vec<u8>>,
    body: Option<ResponseStream>,
}

impl std::fmt::Debug for Played {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Played").finish_non_exhaustive()
    }
}

impl Transport for Played {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, _: usize, _: NextTimeout) -> Result<(), Error> {
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let room = self.buffers.input_append_buf();
        let n = match (self.head.take(), &mut self.body) {
            (Some(head), _) => {
                let room = room.get_mut(..head.len()).ok_or(Error::ConnectionFailed)?;
                room.copy_from_slice(&head);
                head.len()
            }
            (None, Some(body)) => body.read(room)?,
            (None, None) => 0,
        };
        self.buffers.input_appended(n);
        Ok(n > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// Finds every host at an address that nobody connects to.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(addresses)
    }
}
