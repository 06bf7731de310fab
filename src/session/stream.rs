//! Answers whose body is handed out piece by piece, and stored on the way.

use std::{
    fmt,
    io::{self, Read},
    ops::Deref,
    sync::Arc,
    time::Instant,
};

use super::{CachedSession, Response, decode, unpack::Unpacked};
use crate::{
    Error, ErrorKind, Result, StoredResponse,
    entry::Key,
    store::{BodyReader, Stage},
};

/// An answer whose body has yet to be read: [`RequestBuilder::send_stream`](super::RequestBuilder::send_stream).
///
/// It is a [`Response`] as far as that goes without the body ([`bytes`](Response::bytes) and the like are empty), and
/// [`Read`]s the body, decoded unless the request wanted it as it came. Neither a miss nor a hit keeps more than a few
/// MiB of it in memory, provided the store can (the log can; a store that keeps whole values holds a body that is being
/// stored in memory).
///
/// A miss is stored once its body has been read to the end: the read that returns 0, or that hands out the last byte of
/// an announced length. A body that breaks off, is dropped before, or turns out larger than
/// [`max_body`](super::CachedSessionBuilder::max_body) is not stored; the last is handed out all the same. A stored
/// piece that fails its checksum is an error of the kind [`InvalidData`](io::ErrorKind::InvalidData) when it is
/// reached; what was read before was sound.
///
/// ```
/// # use larder::{Backend, CachedSession};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let session = CachedSession::builder("cache").backend(Backend::Memory)
/// #     .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(vec![7; 100_000]))).build()?;
/// let mut stream = session.get("http://example.org/large").send_stream()?;
/// assert!(!stream.from_cache());
/// assert_eq!(std::io::copy(&mut stream, &mut std::io::sink())?, 100_000);
/// assert!(session.get("http://example.org/large").send_stream()?.from_cache());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is stored before the body is read"]
pub struct ResponseStream {
    response: Response,
    body: Box<StreamBody>,
}

impl ResponseStream {
    pub(super) fn new(response: Response, body: Box<StreamBody>) -> Self {
        Self { response, body }
    }

    /// Reads the body to its end and gives the whole answer.
    ///
    /// # Errors
    /// As [`send`](super::RequestBuilder::send), but that a body of any size is taken.
    pub fn into_response(mut self) -> io::Result<Response> {
        let mut body = Vec::new();
        self.read_to_end(&mut body)?;
        let mut response = self.response;
        Arc::make_mut(&mut response.stored).body = body.into();
        Ok(response)
    }
}

impl Deref for ResponseStream {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}

impl Read for ResponseStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (n, key) = self.body.read(buffer)?;
        if let Some(key) = key {
            self.response.cache_key = Some(key.to_hex());
        }
        Ok(n)
    }
}

impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream").field("response", &self.response).finish_non_exhaustive()
    }
}

/// Where the rest of a body comes from, and where it is stored meanwhile.
pub(super) struct StreamBody {
    from: Unpacked,
    saving: Option<Saving>,
    /// Of the bytes that are handed out, where it is known beforehand.
    announced: Option<u64>,
    max_body: u64,
    deadline: Option<Instant>,
    handed: u64,
}

/// A body that is stored while it is handed out.
pub(super) struct Saving {
    pub(super) session: CachedSession,
    pub(super) stage: Box<dyn Stage>,
    pub(super) hops: Vec<StoredResponse>,
    pub(super) response: StoredResponse,
}

impl StreamBody {
    /// A body from the cache.
    pub(super) fn stored(reader: Box<dyn BodyReader>, coding: &str) -> Result<Self> {
        Ok(Self::of(Unpacked::new(reader, coding)?.0))
    }

    /// A body that comes over the network; what is left of its codings is left in it.
    pub(super) fn received(from: Unpacked, announced: Option<u64>, max_body: u64, deadline: Option<Instant>) -> Self {
        Self { announced, max_body, deadline, ..Self::of(from) }
    }

    fn of(from: Unpacked) -> Self {
        Self { from, saving: None, announced: None, max_body: u64::MAX, deadline: None, handed: 0 }
    }

    pub(super) fn saving(mut self, saving: Option<Saving>) -> Self {
        self.saving = saving;
        self
    }

    /// Hands out what comes next, and the key under which the answer is stored once it is.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<Key>)> {
        if buffer.is_empty() {
            return Ok((0, None));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.saving = None;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the body took too long; raise the limit with timeout(..)",
            ));
        }
        let n = self.from.read(buffer).inspect_err(|_| self.saving = None)?;
        self.handed += n as u64;
        if n == 0 {
            return Ok((0, self.finish()?));
        }
        if self.handed > self.max_body {
            self.saving = None;
        }
        self.store(buffer.get(..n).unwrap_or_default())?;
        let complete = self.announced == Some(self.handed);
        Ok((n, if complete { self.finish()? } else { None }))
    }

    fn store(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(saving) = &mut self.saving else { return Ok(()) };
        let Err(error) = saving.stage.write_all(bytes) else { return Ok(()) };
        let error = error.downcast::<Error>().unwrap_or_else(|error| Error::new(ErrorKind::Store, error.to_string()));
        self.saving.take().map_or(Ok(()), |saving| tolerate(&saving.session, error))
    }

    fn finish(&mut self) -> io::Result<Option<Key>> {
        self.saving.take().map_or(Ok(None), Saving::finish)
    }
}

impl Saving {
    fn finish(self) -> io::Result<Option<Key>> {
        let Self { session, stage, hops, response } = self;
        let saved = stage.finish().and_then(|body| session.cache().save_streamed(&hops, &response, &body));
        session.report_damage();
        match saved {
            Ok(key) => Ok(Some(key)),
            Err(error) => tolerate(&session, error).map(|()| None),
        }
    }
}

/// The failure rule: the caller gets the body whatever the store does, unless the session is strict.
fn tolerate(session: &CachedSession, error: Error) -> io::Result<()> {
    if session.settings().leaves_out(&error) {
        return Ok(());
    }
    session.report(&error);
    if session.settings().strict { Err(io::Error::other(error)) } else { Ok(()) }
}

/// A body as the request wants it, and what is left of its codings.
pub(super) fn unpack(wire: Box<dyn Read + Send>, coding: &str, decoded: bool) -> Result<(Unpacked, String)> {
    if decoded { Unpacked::new(wire, coding) } else { Ok((Unpacked::as_it_comes(wire), coding.to_owned())) }
}

/// Whether what is stored can be handed out as the request wants it: decoded, or as it came over the wire.
pub(super) fn is_as_wished(stored: &StoredResponse, decoded: bool) -> bool {
    decoded || stored.coding == decode::coding_of(&stored.headers)
}
