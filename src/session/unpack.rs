//! Content codings, undone while a body is read: the one decoder, for bodies in pieces and for whole ones.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    codings,
    decode::{CODINGS_MAX, FREE_OUTPUT, MAX_RATIO, malformed, too_many_codings, unpacks_too_far},
};
use crate::{Error, ErrorKind, Result};

/// A body with its codings undone. After a read that failed nothing more can be read.
pub(super) struct Unpacked {
    from: Box<dyn Read + Send>,
    wire: Arc<Wire>,
    /// The codings that are undone, as an error names them; empty where nothing is.
    undone: String,
    out: u64,
}

/// What is known of the bytes as they came.
struct Wire {
    came: AtomicU64,
    /// It was the wire that failed, and not a decoder.
    broke: AtomicBool,
}

impl Unpacked {
    /// Undoes the codings of `coding`, last first, up to one that is not built in; gives what is left of the list.
    ///
    /// # Errors
    /// `Decode` where there are more than 5.
    pub(super) fn new(wire: impl Read + Send + 'static, coding: &str) -> Result<(Self, String)> {
        Self::known(wire, 0, coding)
    }

    /// The same of a body whose length is beyond doubt, as all of it is here: its ratio is that of the whole.
    pub(super) fn whole(wire: impl Read + Send + 'static, len: u64, coding: &str) -> Result<(Self, String)> {
        Self::known(wire, len, coding)
    }

    fn known(wire: impl Read + Send + 'static, len: u64, coding: &str) -> Result<(Self, String)> {
        let mut codings: Vec<&str> = coding.split(',').map(str::trim).filter(|coding| !coding.is_empty()).collect();
        if codings.len() > CODINGS_MAX {
            return Err(too_many_codings(codings.len()));
        }
        let built_in = codings.iter().rev().take_while(|coding| codings::is_built_in(coding)).count();
        let undone = codings.split_off(codings.len() - built_in);
        let state = Arc::new(Wire { came: AtomicU64::new(len), broke: AtomicBool::new(false) });
        let mut from: Box<dyn Read + Send> =
            Box::new(Counted { from: wire, wire: Arc::clone(&state), counts: len == 0 });
        for coding in undone.iter().rev() {
            from = codings::undo(coding, from);
        }
        let unpacked = Self { from, wire: state, undone: undone.join(", "), out: 0 };
        Ok((unpacked, codings.join(", ")))
    }

    /// A body as it comes.
    pub(super) fn as_it_comes(wire: Box<dyn Read + Send>) -> Self {
        let state = Arc::new(Wire { came: AtomicU64::new(0), broke: AtomicBool::new(false) });
        let from = Box::new(Counted { from: wire, wire: Arc::clone(&state), counts: false });
        Self { from, wire: state, undone: String::new(), out: 0 }
    }

    /// Whether some coding is undone, so that the length of the wire says nothing.
    pub(super) fn is_undone(&self) -> bool {
        !self.undone.is_empty()
    }

    fn sorted(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        if !self.wire.broke.load(Ordering::Relaxed) {
            return io::Error::new(io::ErrorKind::InvalidData, malformed(&self.undone, error));
        }
        let error = error.downcast::<Error>().unwrap_or_else(|error| {
            let sort = if kind == io::ErrorKind::TimedOut { ErrorKind::Timeout } else { ErrorKind::Network };
            Error::new(sort, error.to_string()).with_source(error)
        });
        io::Error::new(kind, error)
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer).map_err(|error| self.sorted(error))?;
        self.out += n as u64;
        let bound = FREE_OUTPUT.max(MAX_RATIO.saturating_mul(self.wire.came.load(Ordering::Relaxed)));
        if self.is_undone() && self.out > bound {
            return Err(io::Error::new(io::ErrorKind::InvalidData, unpacks_too_far(&self.undone)));
        }
        Ok(n)
    }
}

/// Counts what is read, and goes on where a read was interrupted: no decoder has to be able to.
struct Counted<R> {
    from: R,
    wire: Arc<Wire>,
    counts: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.from.read(buffer) {
                Ok(n) => {
                    if self.counts {
                        self.wire.came.fetch_add(n as u64, Ordering::Relaxed);
                    }
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.wire.broke.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }
}
