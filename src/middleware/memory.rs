//! Answers that are played to ureq from memory, so that what it says of them is what it says of those from the network:
//! where they come from and by which way, which statuses are errors, how many redirects are too many.
//!
//! It runs under the configuration that the request brings along, which is that of the agent that was asked.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
};

use http::{
    HeaderMap, Request, Response, StatusCode, Uri,
    header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING},
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

/// The answers, first one first.
#[derive(Default)]
pub(super) struct Script(VecDeque<Vec<u8>>);

thread_local! {
    /// What the connections that are made next in this thread bring.
    static PLAYING: RefCell<VecDeque<Vec<u8>>> = const { RefCell::new(VecDeque::new()) };
}

impl Script {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A redirect to somewhere.
    pub(super) fn redirect(&mut self, status: StatusCode, headers: &HeaderMap, target: &str) {
        // They are about a body that is not here, and a connection that is not either.
        let unfit = [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING];
        let mut answer = head(status);
        for (name, value) in headers.iter().filter(|(name, _)| !unfit.contains(name)) {
            write(&mut answer, name.as_str(), value.as_bytes());
        }
        write(&mut answer, "location", target.as_bytes());
        answer.extend_from_slice(b"\r\n");
        self.0.push_back(answer);
    }

    /// The end of the way.
    pub(super) fn last(&mut self, status: StatusCode) {
        let mut answer = head(status);
        answer.extend_from_slice(b"\r\n");
        self.0.push_back(answer);
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

fn head(status: StatusCode) -> Vec<u8> {
    format!("HTTP/1.1 {} -\r\ncontent-length: 0\r\nconnection: close\r\n", status.as_u16()).into_bytes()
}

fn write(answer: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        answer.extend_from_slice(part);
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
        let answer = PLAYING.with_borrow_mut(VecDeque::pop_front).ok_or(Error::ConnectionFailed)?;
        let room = answer.len().max(BUFFER);
        Ok(Some(Played { buffers: LazyBuffers::new(room, BUFFER), answer: Some(answer) }))
    }
}

struct Played {
    buffers: LazyBuffers,
    answer: Option<Vec<u8>>,
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
        let Some(answer) = self.answer.take() else { return Ok(false) };
        let mut room = self.buffers.input_append_buf();
        let n = room.len().min(answer.len());
        room.write_all(answer.get(..n).unwrap_or_default())?;
        self.buffers.input_appended(n);
        if let Some(rest) = answer.get(n..).filter(|rest| !rest.is_empty()) {
            self.answer = Some(rest.to_vec());
        }
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
