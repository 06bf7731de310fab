//! The one error type of the crate: a kind to match on, a sentence to read, and where it happened.

use std::{
    error::Error as StdError,
    fmt, io,
    path::{Path, PathBuf},
};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a caller would branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file exists and is not a larder file. It was not touched.
    NotALarder,
    /// The file was written by a newer version of the format. It was not touched.
    NewerFormat,
    /// A checksum fails where data was acknowledged as safe; see [`Error::offset`].
    Damaged,
    /// Another process (or thread) holds the write lock; the time limit is over.
    Busy,
    /// The disk, the quota or the store is full.
    Full,
    /// The handle, the file or the folder can only be read.
    ReadOnly,
    /// The entry has changed since the version that was expected. Read it again and retry.
    Conflict,
    /// A key, head, body or response is over its limit.
    TooLarge,
    /// An earlier sync failed, so durable writes to this file cannot be promised until it is compacted.
    Poisoned,
    /// The operating system refused a file operation.
    Io,
    /// An argument is not usable: a malformed URL, a setting out of range.
    InvalidInput,
    /// The answer is not recorded, and the mode forbids asking the network.
    OfflineMiss,
    /// The request took longer than its time-out.
    Timeout,
    /// The connection could not be made, or broke; or what the server sends leads nowhere: more redirects than are
    /// followed, a redirect to what is no URL, a 304 that nobody has asked for.
    Network,
    /// The TLS handshake or the certificate failed.
    Tls,
    /// A body or a stored value could not be decoded.
    Decode,
    /// [`error_for_status`](crate::Response::error_for_status) met a status of 400 or above.
    #[cfg_attr(not(feature = "session"), doc(hidden))]
    Status,
    /// A store other than the log failed.
    Store,
    /// The feature that this needs was not compiled in.
    NotBuiltIn,
}

/// An error of larder.
///
/// [`kind`](Error::kind) is for programs, the text for people: it is one sentence that names what to do next.
/// It never contains a credential. Path, offset and URL are there where they apply; the cause is
/// [`source`](StdError::source).
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    offset: Option<u64>,
    url: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error, for implementers of stores and transports.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), path: None, offset: None, url: None, source: None }))
    }

    /// Adds the file or folder that the error is about.
    #[must_use]
    pub fn with_path(mut self, path: impl AsRef<Path>) -> Self {
        self.0.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// Adds the byte offset in the file at which the error was found.
    #[must_use]
    pub fn with_offset(mut self, offset: u64) -> Self {
        self.0.offset = Some(offset);
        self
    }

    /// Adds the URL of the request. The caller redacts it first.
    #[must_use]
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.0.url = Some(url.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file or folder, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The byte offset in the file, where there is one.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The URL with credentials redacted, where there is one.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// Sorts an error of the operating system into a kind; `doing` completes "cannot ...".
    pub(crate) fn io(doing: &str, path: &Path, error: io::Error) -> Self {
        use io::ErrorKind as Os;
        let (kind, advice) = match error.kind() {
            Os::StorageFull | Os::QuotaExceeded | Os::FileTooLarge => {
                (ErrorKind::Full, "; free some space, or clear or compact the cache")
            }
            Os::ReadOnlyFilesystem | Os::PermissionDenied => (ErrorKind::ReadOnly, "; check its owner and mode"),
            _ => (ErrorKind::Io, ""),
        };
        Self::new(kind, format!("cannot {doing}: {error}{advice}")).with_path(path).with_source(error)
    }

    /// The same error for one more caller: a group commit reports one failure to all who waited for it.
    pub(crate) fn duplicate(&self) -> Self {
        let inner = &self.0;
        Self(Box::new(Inner {
            kind: inner.kind,
            message: inner.message.clone(),
            path: inner.path.clone(),
            offset: inner.offset,
            url: inner.url.clone(),
            source: None,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(path) = self.0.path.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            write!(f, " ({}", path.display())?;
            if let Some(offset) = self.0.offset {
                write!(f, ", offset {offset}")?;
            }
            f.write_str(")")?;
        }
        if let Some(url) = self.0.url.as_ref().filter(|url| !url.is_empty()) {
            write!(f, " ({url})")?;
        }
        Ok(())
    }
}

/// The kind and the sentence: what a `main` that returns the error prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_one_sentence_with_its_place() {
        let error = Error::new(ErrorKind::Damaged, "checksum fails; run `repair`").with_path("a.larder").with_offset(7);
        assert_eq!(error.to_string(), "checksum fails; run `repair` (a.larder, offset 7)");
        assert_eq!(format!("{error:?}"), "Damaged: checksum fails; run `repair` (a.larder, offset 7)");
        assert_eq!(Error::new(ErrorKind::Io, "no name").with_path("").with_url("").to_string(), "no name");
    }

    #[test]
    fn operating_system_errors_are_sorted() {
        let full = Error::io("append", Path::new("x"), io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.kind(), ErrorKind::Full);
        let denied = Error::io("open", Path::new("x"), io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(denied.kind(), ErrorKind::ReadOnly);
        assert!(StdError::source(&denied).is_some());
    }

    #[test]
    fn the_error_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
