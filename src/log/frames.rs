//! zstd frames, whole and as streams. The library is called here and nowhere else in the engine.

use super::{codec::Undecodable, layout::FRAME_WINDOW_LOG_MAX};
use std::{
    io::{self, BufRead, Read, Seek, SeekFrom},
    sync::{Mutex, PoisonError},
};
use zstd::{
    bulk::{Compressor, Decompressor},
    stream::read::Decoder,
    zstd_safe::{CParameter, find_frame_compressed_size},
};

/// zstd's own default: about half the time of a durable write for bodies of the usual size.
const LEVEL: i32 = 3;

/// Contexts that nobody uses at the moment: making one costs as much as compressing a small body.
struct Idle<T>(Mutex<Vec<T>>);

impl<T> Idle<T> {
    /// As many as threads usually write at a time.
    const KEPT_MAX: usize = 4;

    fn with<R>(&self, make: impl FnOnce() -> io::Result<T>, work: impl FnOnce(&mut T) -> R) -> io::Result<R> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut context = idle.map_or_else(make, Ok)?;
        let result = work(&mut context);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < Self::KEPT_MAX {
            idle.push(context);
        }
        Ok(result)
    }
}

/// The bytes as one frame that names its length; `None` if it takes more than `room`.
pub(super) fn compress(bytes: &[u8], room: usize) -> Option<Vec<u8>> {
    static IDLE: Idle<Compressor<'static>> = Idle(Mutex::new(Vec::new()));
    let make = || {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::WindowLog(FRAME_WINDOW_LOG_MAX))?;
        Ok(compressor)
    };
    let mut frame = Vec::with_capacity(room);
    let compressed = IDLE.with(make, |compressor| compressor.compress_to_buffer(bytes, &mut frame));
    compressed.ok()?.ok()?;
    Some(frame)
}

/// What a frame decodes to, which its header has said already. Exactly one frame, and nothing else.
pub(super) fn decompress(frame: &[u8], raw_len: u64) -> Result<Vec<u8>, Undecodable> {
    static IDLE: Idle<Decompressor<'static>> = Idle(Mutex::new(Vec::new()));
    if find_frame_compressed_size(frame) != Ok(frame.len()) {
        return Err(Undecodable::Unsound);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(raw_len).map_err(|_| Undecodable::Unsound)?);
    let decoded = IDLE.with(Decompressor::new, |context| context.decompress_to_buffer(frame, &mut bytes));
    match decoded {
        Ok(Ok(len)) if len as u64 == raw_len && bytes.len() == len => Ok(bytes),
        _ => Err(Undecodable::Unsound),
    }
}

/// The content of a frame that does not fit in memory, read forwards; going back begins again.
pub(super) struct Frame<R: BufRead> {
    /// `None` after an error.
    decoder: Option<Decoder<'static, R>>,
    at: u64,
    raw_len: u64,
}

impl<R: BufRead + Seek> Frame<R> {
    /// Of a frame whose header says that it decodes to `raw_len`.
    pub(super) fn new(stored: R, raw_len: u64) -> io::Result<Self> {
        Ok(Self { decoder: Some(begin(stored)?), at: 0, raw_len })
    }

    /// Reads from a place of the content.
    pub(super) fn read(&mut self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if position >= self.raw_len {
            return Ok(0);
        }
        let mut decoder = self.decoder.take().ok_or_else(broken)?;
        if position < self.at {
            let mut stored = decoder.finish();
            stored.seek(SeekFrom::Start(0))?;
            (decoder, self.at) = (begin(stored)?, 0);
        }
        self.at += io::copy(&mut decoder.by_ref().take(position - self.at), &mut io::sink())?;
        let n = if self.at == position { decoder.read(buffer)? } else { 0 };
        if n == 0 && !buffer.is_empty() {
            return Err(broken());
        }
        self.at += n as u64;
        self.decoder = Some(decoder);
        Ok(n)
    }
}

fn begin<R: BufRead>(stored: R) -> io::Result<Decoder<'static, R>> {
    let mut decoder = Decoder::with_buffer(stored)?.single_frame();
    decoder.window_log_max(FRAME_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the compressed body does not decode")
}
