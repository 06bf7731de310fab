//! The content codings that are built in, each as a reader over another one.
//!
//! A reader here may lose its place when the one below fails, and say that the body has ended; whoever hands the body
//! out reads no further then. An empty body is empty whatever its headers say: HEAD and 204 have none.

use std::io::Read;
#[cfg(any(feature = "gzip", feature = "zstd"))]
use std::io::{self, BufRead, BufReader};

type Source = Box<dyn Read + Send>;

/// What `Accept-Encoding` says unless the caller says otherwise: what is built in.
pub(super) const ACCEPT_ENCODING: &str =
    match (cfg!(feature = "gzip"), cfg!(feature = "brotli"), cfg!(feature = "zstd")) {
        (false, false, false) => "identity",
        (false, false, true) => "zstd",
        (false, true, false) => "br",
        (false, true, true) => "br, zstd",
        (true, false, false) => "gzip, deflate",
        (true, false, true) => "gzip, deflate, zstd",
        (true, true, false) => "gzip, deflate, br",
        (true, true, true) => "gzip, deflate, br, zstd",
    };

/// Whether a coding, in lower case, can be undone.
pub(super) fn is_built_in(coding: &str) -> bool {
    cfg!(feature = "gzip") && matches!(coding, "gzip" | "x-gzip" | "deflate")
        || cfg!(feature = "brotli") && coding == "br"
        || cfg!(feature = "zstd") && coding == "zstd"
}

/// Undoes one coding; one that is not built in is left as it is.
pub(super) fn undo(coding: &str, from: Source) -> Source {
    match coding {
        #[cfg(feature = "gzip")]
        "gzip" | "x-gzip" => Box::new(Members { source: Some(BufReader::new(from)), member: None }),
        #[cfg(feature = "gzip")]
        "deflate" => Box::new(Inflated { source: BufReader::new(from), inflate: None, ended: false }),
        #[cfg(feature = "brotli")]
        "br" => Box::new(NotEmpty::of(from, |from| Ok(Box::new(brotli_decompressor::Decompressor::new(from, BUFFER))))),
        #[cfg(feature = "zstd")]
        "zstd" => Box::new(NotEmpty::of(from, |from| {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, from))?;
            // A body in this coding needs no larger window (RFC 9659, 3); a hostile one could ask for 2 GiB.
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Ok(Box::new(decoder))
        })),
        _ => from,
    }
}

#[cfg(any(feature = "brotli", feature = "zstd"))]
const BUFFER: usize = 8 << 10;
#[cfg(feature = "zstd")]
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// gzip: members one after the other, as RFC 1952 allows; what follows the last one and is no member is padding, which
/// curl and browsers ignore too.
#[cfg(feature = "gzip")]
struct Members {
    source: Option<BufReader<Source>>,
    member: Option<flate2::bufread::GzDecoder<BufReader<Source>>>,
}

#[cfg(feature = "gzip")]
impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(member) = &mut self.member {
                let n = member.read(buffer)?;
                if n > 0 || buffer.is_empty() {
                    return Ok(n);
                }
                let mut source = self.member.take().map(flate2::bufread::GzDecoder::into_inner);
                let next = source.as_mut().map(|source| source.fill_buf()).transpose()?.unwrap_or_default();
                if !next.starts_with(&[0x1f]) {
                    return Ok(0);
                }
                self.source = source;
            }
            let Some(source) = &mut self.source else { return Ok(0) };
            if source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.member = self.source.take().map(flate2::bufread::GzDecoder::new);
        }
    }
}

/// "deflate" means the zlib format (RFC 9110, 8.4.1.2), but some servers send the bare stream. The first byte tells
/// which it is: of zlib its lower half is 8 (RFC 1950, 2.2), and a bare stream that began so would begin with a stored
/// block whose padding is not zero.
#[cfg(feature = "gzip")]
struct Inflated {
    source: BufReader<Source>,
    inflate: Option<flate2::Decompress>,
    ended: bool,
}

#[cfg(feature = "gzip")]
impl Read for Inflated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use flate2::{Decompress, FlushDecompress, Status};
        while !self.ended && !buffer.is_empty() {
            let input = self.source.fill_buf()?;
            let inflate = match (&mut self.inflate, input.first()) {
                (None, None) => return Ok(0),
                (none @ None, Some(first)) => none.insert(Decompress::new(first & 0x0f == 8)),
                (Some(inflate), _) => inflate,
            };
            let at_end = input.is_empty();
            let (came, gone) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(input, buffer, FlushDecompress::None)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let progress = |after: u64, before: u64| usize::try_from(after - before).unwrap_or(usize::MAX);
            let (read, written) = (progress(inflate.total_in(), came), progress(inflate.total_out(), gone));
            self.source.consume(read);
            self.ended = status == Status::StreamEnd;
            if written > 0 {
                return Ok(written);
            }
            // What had no place in the buffer before may come without further input; what does not is missing.
            if at_end && !self.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if read == 0 && !self.ended {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the stream does not go on"));
            }
        }
        Ok(0)
    }
}

/// Makes a decoder once there is something to decode, for those that take an empty stream for a broken one.
#[cfg(any(feature = "brotli", feature = "zstd"))]
enum NotEmpty<F> {
    Before(Source, F),
    Decoding(Source),
}

#[cfg(any(feature = "brotli", feature = "zstd"))]
impl<F: FnOnce(Source) -> std::io::Result<Source> + Copy> NotEmpty<F> {
    fn of(from: Source, decoder: F) -> Self {
        Self::Before(from, decoder)
    }
}

#[cfg(any(feature = "brotli", feature = "zstd"))]
impl<F: FnOnce(Source) -> std::io::Result<Source> + Copy> Read for NotEmpty<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Self::Before(from, decoder) = self {
            let mut first = [0];
            if from.read(&mut first)? == 0 {
                return Ok(0);
            }
            let from = std::mem::replace(from, Box::new(std::io::empty()));
            *self = Self::Decoding(decoder(Box::new(std::io::Cursor::new(first).chain(from)))?);
        }
        match self {
            Self::Decoding(decoder) => decoder.read(buffer),
            Self::Before(..) => Ok(0),
        }
    }
}
