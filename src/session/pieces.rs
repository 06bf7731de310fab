//! Ways to go through a body: by line, by piece, into a file.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use encoding_rs::{Decoder, UTF_8};

use super::{
    ResponseStream,
    decode::{from_io, too_large},
    text,
};
use crate::{Error, Result};

const PIECE: usize = 64 << 10;

/// The lines of a body: [`ResponseStream::lines`].
#[must_use = "nothing is stored before the body is read"]
pub struct Lines {
    stream: ResponseStream,
    /// `None` once there is nothing more to read.
    decoder: Option<Decoder>,
    failed: Option<Error>,
    text: String,
    /// Where the next line begins, and how far no line break was found.
    start: usize,
    searched: usize,
}

impl Lines {
    pub(super) fn new(stream: ResponseStream) -> Self {
        // The decoder itself looks for a byte order mark.
        let (decoder, failed) = match text::named(stream.headers(), &[]) {
            Ok(encoding) => (Some(encoding.unwrap_or(UTF_8).new_decoder()), None),
            Err(error) => (None, Some(stream.response().located(error))),
        };
        Self { stream, decoder, failed, text: String::new(), start: 0, searched: 0 }
    }

    /// Reads on; `None` at the end.
    fn read(&mut self) -> Option<()> {
        let decoder = self.decoder.as_mut()?;
        let mut piece = [0; PIECE / 8];
        let read = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.text.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let came = match read {
            Ok(n) => piece.get(..n).unwrap_or_default(),
            Err(error) => {
                self.failed = Some(self.stream.response().located(from_io(error)));
                self.decoder = None;
                self.text.clear();
                self.searched = 0;
                return None;
            }
        };
        let last = came.is_empty();
        self.text.reserve(decoder.max_utf8_buffer_length(came.len()).unwrap_or(came.len() * 4));
        let _ = decoder.decode_to_string(came, &mut self.text, last);
        if last {
            self.decoder = None;
        }
        Some(())
    }
}

impl Iterator for Lines {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        loop {
            if let Some(at) = self.text.get(self.searched..).and_then(|rest| rest.find('\n')) {
                let end = self.searched + at;
                let line = self.text.get(self.start..end).unwrap_or_default();
                let line = line.strip_suffix('\r').unwrap_or(line).to_owned();
                self.start = end + 1;
                self.searched = self.start;
                return Some(Ok(line));
            }
            self.searched = self.text.len();
            if (self.searched - self.start) as u64 > self.stream.max_body() {
                self.failed = Some(self.stream.response().located(too_large(self.stream.max_body())));
                self.decoder = None;
                self.text.clear();
                (self.start, self.searched) = (0, 0);
            }
            if self.read().is_none() {
                break;
            }
        }
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        let rest = self.text.split_off(self.start);
        self.text.clear();
        (self.start, self.searched) = (0, 0);
        (!rest.is_empty()).then_some(Ok(rest))
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// A body in pieces: [`ResponseStream::chunks`].
#[derive(Debug)]
#[must_use = "nothing is stored before the body is read"]
pub struct Chunks {
    stream: ResponseStream,
    len: usize,
    ended: bool,
}

impl Chunks {
    pub(super) fn new(stream: ResponseStream, len: usize) -> Self {
        Self { stream, len: len.max(1), ended: false }
    }
}

impl Iterator for Chunks {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Result<Bytes>> {
        if self.ended {
            return None;
        }
        let mut piece = Vec::with_capacity(self.len.min(PIECE));
        let read = self.stream.by_ref().take(self.len as u64).read_to_end(&mut piece);
        self.ended = read.as_ref().map_or(true, |n| *n < self.len);
        match read {
            Ok(0) => None,
            Ok(_) => Some(Ok(piece.into())),
            Err(error) => Some(Err(self.stream.response().located(from_io(error)))),
        }
    }
}

/// Where [`ResponseStream::copy_to`] writes: the path of a file, or `&mut` a [`Write`].
pub trait CopyTarget: sealed::Sealed {
    #[doc(hidden)]
    fn take(self, stream: ResponseStream) -> Result<u64>;
}

mod sealed {
    use std::{io::Write, path::PathBuf};

    pub trait Sealed {}

    impl<P: AsRef<std::path::Path> + ?Sized> Sealed for &P {}
    impl<W: Write + ?Sized> Sealed for &mut W {}
    impl Sealed for PathBuf {}
    impl Sealed for String {}
}

impl<P: AsRef<Path> + ?Sized> CopyTarget for &P {
    fn take(self, stream: ResponseStream) -> Result<u64> {
        to_file(stream, self.as_ref())
    }
}

impl CopyTarget for PathBuf {
    fn take(self, stream: ResponseStream) -> Result<u64> {
        to_file(stream, &self)
    }
}

impl CopyTarget for String {
    fn take(self, stream: ResponseStream) -> Result<u64> {
        to_file(stream, self.as_ref())
    }
}

impl<W: Write + ?Sized> CopyTarget for &mut W {
    fn take(self, stream: ResponseStream) -> Result<u64> {
        copy(stream, self, |error| Error::io("write the body", Path::new(""), error))
    }
}

fn to_file(stream: ResponseStream, path: &Path) -> Result<u64> {
    let part = Part::beside(path)?;
    let n = copy(stream, &mut &part.file, |error| Error::io("write the file", path, error))?;
    part.rename(path)?;
    Ok(n)
}

fn copy(
    mut stream: ResponseStream,
    to: &mut (impl Write + ?Sized),
    failed: impl Fn(io::Error) -> Error,
) -> Result<u64> {
    let mut piece = vec![0; PIECE];
    let mut all = 0;
    loop {
        let n = match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(stream.response().located(from_io(error))),
        };
        to.write_all(piece.get(..n).unwrap_or_default()).map_err(&failed)?;
        all += n as u64;
    }
    to.flush().map_err(&failed)?;
    Ok(all)
}

/// A file that has not got its name yet; gone when dropped before.
struct Part {
    file: File,
    path: Option<PathBuf>,
}

impl Part {
    fn beside(path: &Path) -> Result<Self> {
        let failed = |error| Error::io("make the file", path, error);
        let Some(name) = path.file_name() else {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")));
        };
        for n in 0_u32.. {
            let mut part = OsString::from(".");
            part.push(name);
            part.push(format!(".{}-{n}.part", std::process::id()));
            let part = path.with_file_name(part);
            match OpenOptions::new().write(true).create_new(true).open(&part) {
                Ok(file) => return Ok(Self { file, path: Some(part) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    fn rename(mut self, to: &Path) -> Result<()> {
        let Some(path) = self.path.take() else { return Ok(()) };
        fs::rename(&path, to).map_err(|error| {
            self.path = Some(path);
            Error::io("name the file", to, error)
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What is left of a file that was not wanted is in nobody's way.
            let _ = fs::remove_file(path);
        }
    }
}
