//! Where the bytes of an answer come from while they are handed out, and where they are stored meanwhile.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use super::{CachedSession, cache::Marks, decode, flight::Lead, unpack::Unpacked};
use crate::{Error, ErrorKind, Mode, Result, StoredResponse, entry::Key, log::Version, store::Stage};

/// A body that is read once, from its beginning to its end.
pub(super) struct Source {
    from: Unpacked,
    saving: Option<Saving>,
    /// What is stored and turns out not to be readable.
    stored: Option<Stored>,
    /// Of the bytes that are handed out, where it is known beforehand.
    announced: Option<u64>,
    max_body: u64,
    handed: u64,
    pub(super) limits: Limits,
    /// Under which the body is stored, once it is.
    pub(super) key: Option<Key>,
    /// What the store of a strict session said. It comes in the place of the end, so that no byte is lost.
    refused: Option<Error>,
}

/// How long one read may take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) deadline: Option<Instant>,
    pub(super) read: Option<Duration>,
}

impl Limits {
    /// When a wait that begins at this time is over.
    pub(super) fn after(self, now: Instant) -> Option<Instant> {
        let read = self.read.and_then(|read| now.checked_add(read));
        self.deadline.into_iter().chain(read).min()
    }

    /// Whether a read by the other limits ends before a wait by these has to.
    pub(super) fn outlast(self, other: Self, now: Instant) -> bool {
        self.after(now).is_none_or(|limit| other.after(now).is_some_and(|end| end <= limit))
    }
}

/// A body that is stored while it is handed out. Dropped before its end, it leaves nothing.
pub(super) struct Saving {
    pub(super) session: CachedSession,
    pub(super) stage: Box<dyn Stage>,
    pub(super) hops: Vec<StoredResponse>,
    pub(super) response: StoredResponse,
    pub(super) marks: Marks,
    /// Others may want the same: they are told when it is stored, or will not be.
    pub(super) lead: Option<Lead>,
}

/// What a hit is read from.
pub(super) struct Stored {
    pub(super) session: CachedSession,
    pub(super) key: Key,
    pub(super) version: Option<Version>,
}

impl Source {
    /// A body from the cache.
    pub(super) fn stored(reader: impl Read + Send + 'static, coding: &str, stored: Stored) -> Result<Self> {
        Ok(Self { stored: Some(stored), ..Self::of(Unpacked::new(reader, coding)?.0) })
    }

    /// A body that comes over the network; what is left of its codings is left in it.
    pub(super) fn received(from: Unpacked, announced: Option<u64>, max_body: u64, limits: Limits) -> Self {
        Self { announced, max_body, limits, ..Self::of(from) }
    }

    /// A body that is in memory.
    pub(super) fn whole(body: bytes::Bytes) -> Self {
        Self::of(Unpacked::as_it_comes(Box::new(io::Cursor::new(body))))
    }

    fn of(from: Unpacked) -> Self {
        Self {
            from,
            saving: None,
            stored: None,
            announced: None,
            max_body: u64::MAX,
            handed: 0,
            limits: Limits::default(),
            key: None,
            refused: None,
        }
    }

    pub(super) fn saving(mut self, saving: Option<Saving>) -> Self {
        self.saving = saving;
        self
    }

    /// Whether it is going to be stored.
    pub(super) fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// The largest body that is stored.
    pub(super) fn max_body(&self) -> u64 {
        self.max_body
    }

    /// Hands out what comes next; 0 is the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer).inspect_err(|error| self.give_up(error))?;
        self.handed += n as u64;
        if n == 0 {
            self.finish();
            return match self.refused.take() {
                Some(error) => Err(io::Error::other(error)),
                None => Ok(0),
            };
        }
        if self.handed > self.max_body {
            self.saving = None;
        }
        if let Some(stored) = &self.stored {
            stored.session.cache().count_bytes(n as u64);
        }
        self.store(buffer.get(..n).unwrap_or_default());
        if self.announced == Some(self.handed) {
            self.finish();
        }
        Ok(n)
    }

    fn store(&mut self, bytes: &[u8]) {
        let Some(saving) = &mut self.saving else { return };
        let Err(error) = saving.stage.write_all(bytes) else { return };
        let error = error.downcast::<Error>().unwrap_or_else(|error| Error::new(ErrorKind::Store, error.to_string()));
        if let Some(saving) = self.saving.take() {
            self.refused = tolerate(&saving.session, error);
        }
    }

    fn finish(&mut self) {
        let Some(saving) = self.saving.take() else { return };
        let Saving { session, stage, hops, response, marks, lead } = saving;
        let saved = stage.finish().and_then(|body| session.cache().save_fetched(&hops, &response, Some(&body), &marks));
        session.report_damage();
        match saved {
            Ok(key) => self.key = Some(key),
            Err(error) => self.refused = tolerate(&session, error),
        }
        drop(lead);
    }

    /// The body has broken off. One that was stored is deleted, so that the next request fetches it again; offline
    /// there is nothing better than what is stored.
    fn give_up(&mut self, error: &io::Error) {
        self.saving = None;
        let Some(Stored { session, key, version }) = self.stored.take() else { return };
        session.report_damage();
        let broken = matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
        if let Some(version) = version
            && broken
            && session.settings().rules.mode != Mode::Offline
            && let Err(error) = session.cache().condemn(key, version)
        {
            session.report(&error);
        }
    }
}

/// The failure rule: the caller gets the body whatever the store does; the error only if the session is strict.
fn tolerate(session: &CachedSession, error: Error) -> Option<Error> {
    if session.settings().leaves_out(&error) {
        return None;
    }
    session.report(&error);
    session.settings().strict.then_some(error)
}

/// A body as the request wants it, and what is left of its codings.
pub(super) fn unpack(wire: Box<dyn Read + Send>, coding: &str, decoded: bool) -> Result<(Unpacked, String)> {
    if decoded { Unpacked::new(wire, coding) } else { Ok((Unpacked::as_it_comes(wire), coding.to_owned())) }
}

/// Whether what is stored can be handed out as the request wants it: decoded, or as it came over the wire.
pub(super) fn is_as_wished(stored: &StoredResponse, decoded: bool) -> bool {
    decoded || stored.coding == decode::coding_of(&stored.headers)
}
