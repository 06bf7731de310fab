//! What went wrong, and the exit code for it.

use larder::ErrorKind;
use std::{error::Error, fmt, io, io::Write};

/// The documented exit codes; see `larder --help`.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const DAMAGED: u8 = 4;
const STATUS: u8 = 22;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    Library(larder::Error),
    Io(String, io::Error),
    Usage(String),
    NotFound(String),
    /// There is damage, or a difference; it has been written out already.
    Damaged(String),
    Status(u16),
}

impl Failure {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io(doing.into(), error)
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Library(error) => match error.kind() {
                ErrorKind::InvalidInput | ErrorKind::NotBuiltIn => USAGE,
                ErrorKind::OfflineMiss => NOT_FOUND,
                _ => FAILED,
            },
            Self::Io(..) => FAILED,
            Self::Usage(_) => USAGE,
            Self::NotFound(_) => NOT_FOUND,
            Self::Damaged(_) => DAMAGED,
            Self::Status(_) => STATUS,
        }
    }

    /// Whether the reader of the output has gone away, which is its good right.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(_, error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Tells of it on the standard error.
    pub(crate) fn tell(&self) {
        let mut text = format!("larder: {self}");
        let mut cause = match self {
            Self::Library(error) => error.source(),
            _ => None,
        };
        while let Some(error) = cause {
            let line = error.to_string();
            if !text.contains(&line) {
                text.push_str("\n  because: ");
                text.push_str(&line);
            }
            cause = error.source();
        }
        // There is nowhere else to tell that the standard error is closed.
        let _ = writeln!(io::stderr(), "{text}");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(error) => error.fmt(f),
            Self::Io(doing, error) => write!(f, "cannot {doing}: {error}"),
            Self::Usage(text) | Self::NotFound(text) | Self::Damaged(text) => f.write_str(text),
            Self::Status(status) => write!(f, "the answer has the status {status}"),
        }
    }
}

impl From<larder::Error> for Failure {
    fn from(error: larder::Error) -> Self {
        Self::Library(error)
    }
}
