//! Content codings, undone while a body is read: the same as [`decode`](super::decode) does with a whole one, within the
//! same bounds.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::decode::{CODINGS_MAX, FREE_OUTPUT, MAX_RATIO, too_many_codings};
use crate::Result;

/// A body with its codings undone.
pub(super) struct Unpacked {
    from: Box<dyn Read + Send>,
    /// Bytes that came over the wire, and bytes that came out; `None` where nothing is undone.
    bound: Option<(Arc<AtomicU64>, u64)>,
}

impl Unpacked {
    /// Undoes the codings of `coding`, last first, up to one that is not built in; gives what is left of the list.
    ///
    /// # Errors
    /// `Decode` where there are more than 5.
    pub(super) fn new(wire: impl Read + Send + 'static, coding: &str) -> Result<(Self, String)> {
        let mut codings: Vec<&str> = coding.split(',').map(str::trim).filter(|coding| !coding.is_empty()).collect();
        if codings.len() > CODINGS_MAX {
            return Err(too_many_codings(codings.len()));
        }
        let came = Arc::new(AtomicU64::new(0));
        let mut from: Box<dyn Read + Send> = Box::new(Counted { from: wire, came: Arc::clone(&came) });
        let mut undone = false;
        while let Some(decoder) = codings.last().and_then(|coding| Decoder::of(coding)) {
            from = decoder.undo(from);
            undone = true;
            codings.pop();
        }
        Ok((Self { from, bound: undone.then_some((came, 0)) }, codings.join(", ")))
    }

    /// A body as it comes.
    pub(super) fn as_it_comes(wire: Box<dyn Read + Send>) -> Self {
        Self { from: wire, bound: None }
    }

    /// Whether some coding is undone, so that the length of the wire says nothing.
    pub(super) fn is_undone(&self) -> bool {
        self.bound.is_some()
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        let Some((came, out)) = &mut self.bound else { return Ok(n) };
        *out += n as u64;
        if *out > FREE_OUTPUT.max(MAX_RATIO.saturating_mul(came.load(Ordering::Relaxed))) {
            let message = format!(
                "the body unpacks to more than {MAX_RATIO} times its size and more than {} MiB, as a decompression bomb \
                 does; decode(false) gives the bytes as they came",
                FREE_OUTPUT >> 20
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(n)
    }
}

/// Counts what is read.
struct Counted<R> {
    from: R,
    came: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.came.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

#[cfg(not(feature = "gzip"))]
enum Decoder {}

#[cfg(not(feature = "gzip"))]
impl Decoder {
    fn of(_: &str) -> Option<Self> {
        None
    }

    fn undo(self, _: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        match self {}
    }
}

#[cfg(feature = "gzip")]
enum Decoder {
    Gzip,
    Deflate,
}

#[cfg(feature = "gzip")]
impl Decoder {
    fn of(coding: &str) -> Option<Self> {
        match coding {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    fn undo(self, from: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        match self {
            Self::Gzip => Box::new(members::Members::new(from)),
            Self::Deflate => Box::new(members::Deflated::new(from)),
        }
    }
}

#[cfg(feature = "gzip")]
mod members {
    use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
    use std::io::{self, BufRead, BufReader, Read};

    type Source = BufReader<Box<dyn Read + Send>>;

    /// gzip: members one after the other, as RFC 1952 allows; what follows the last one and is no member is padding.
    pub(super) enum Members {
        Before(Source),
        Within(GzDecoder<Source>),
        Done,
    }

    impl Members {
        pub(super) fn new(from: Box<dyn Read + Send>) -> Self {
            Self::Before(BufReader::new(from))
        }
    }

    impl Read for Members {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            loop {
                *self = match std::mem::replace(self, Self::Done) {
                    Self::Done => return Ok(0),
                    Self::Before(mut source) => {
                        // An empty body is empty whatever its headers say of its coding: HEAD and 204 have none.
                        if source.fill_buf()?.is_empty() {
                            return Ok(0);
                        }
                        Self::Within(GzDecoder::new(source))
                    }
                    Self::Within(mut member) => match member.read(buffer)? {
                        0 => {
                            let mut source = member.into_inner();
                            if !source.fill_buf()?.starts_with(&[0x1f]) {
                                return Ok(0);
                            }
                            Self::Within(GzDecoder::new(source))
                        }
                        n => {
                            *self = Self::Within(member);
                            return Ok(n);
                        }
                    },
                };
            }
        }
    }

    /// "deflate" means the zlib format (RFC 9110, 8.4.1.2), but some servers send the bare stream: the first two bytes
    /// tell which it is (RFC 1950, 2.2).
    pub(super) enum Deflated {
        Before(Source),
        Zlib(ZlibDecoder<Source>),
        Bare(DeflateDecoder<Source>),
        Done,
    }

    impl Deflated {
        pub(super) fn new(from: Box<dyn Read + Send>) -> Self {
            Self::Before(BufReader::new(from))
        }
    }

    impl Read for Deflated {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if let Self::Before(source) = self {
                let start = source.fill_buf()?;
                let zlib = match start {
                    [] => return Ok(0),
                    [method, flags, ..] => {
                        method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
                    }
                    [method] => *method == 0x78,
                };
                let Self::Before(source) = std::mem::replace(self, Self::Done) else { return Ok(0) };
                *self =
                    if zlib { Self::Zlib(ZlibDecoder::new(source)) } else { Self::Bare(DeflateDecoder::new(source)) };
            }
            match self {
                Self::Zlib(decoder) => decoder.read(buffer),
                Self::Bare(decoder) => decoder.read(buffer),
                Self::Before(_) | Self::Done => Ok(0),
            }
        }
    }
}
