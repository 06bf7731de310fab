//! Content codings, undone once and within bounds.
//!
//! Decoding stops at [`max_body`](super::CachedSessionBuilder::max_body), and when the output is larger than both
//! 64 MiB and 200 times what came over the wire: no honest gzip of a text gets there, a bomb does.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_ENCODING};

use crate::{Error, ErrorKind, Result};

/// Output below this is decoded whatever its ratio.
pub(super) const FREE_OUTPUT: u64 = 64 << 20;
/// Output above [`FREE_OUTPUT`] may be this many times the input.
pub(super) const MAX_RATIO: u64 = 200;
/// Codings that one body may have. Each costs a pass over the whole body, and honest servers apply one or two.
pub(super) const CODINGS_MAX: usize = 5;

/// What `Accept-Encoding` says unless the caller says otherwise: what is built in.
pub(super) const ACCEPT_ENCODING: &str = if cfg!(feature = "gzip") { "gzip, deflate" } else { "identity" };

/// The content codings that the headers name, in the order in which they were applied, joined by `, `;
/// empty without any.
pub(super) fn coding_of(headers: &HeaderMap) -> String {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let listed = value.split(',').map(|coding| coding.trim().to_owned());
        codings.extend(listed.filter(|coding| !coding.is_empty() && coding != "identity"));
    }
    codings.join(", ")
}

/// Undoes the codings of `coding`, last first, up to one that is not built in; gives the bytes and what is left of
/// the list. It stops at `deadline`.
///
/// # Errors
///
/// [`Decode`](ErrorKind::Decode) where the bytes are not what the header says, or are coded too often;
/// [`TooLarge`](ErrorKind::TooLarge) where the output is over its bound; [`Timeout`](ErrorKind::Timeout).
pub(super) fn decode(wire: &Bytes, coding: &str, max_body: u64, deadline: Option<Instant>) -> Result<(Bytes, String)> {
    // An answer to HEAD, a 204 or a 304 names the coding that a body would have had.
    if wire.is_empty() {
        return Ok((wire.clone(), String::new()));
    }
    let mut codings: Vec<&str> = coding.split(',').map(str::trim).filter(|coding| !coding.is_empty()).collect();
    if codings.len() > CODINGS_MAX {
        return Err(too_many_codings(codings.len()));
    }
    let ratio_bound = FREE_OUTPUT.max(MAX_RATIO.saturating_mul(wire.len() as u64));
    let mut bytes = wire.clone();
    while let Some(last) = codings.last() {
        let Some(decoded) = undo(last, &bytes, Bounds { len: ratio_bound.min(max_body), deadline }) else { break };
        bytes = decoded.map_err(|failure| failure.into_error(last, max_body < ratio_bound, max_body))?;
        codings.pop();
    }
    Ok((bytes, codings.join(", ")))
}

/// Where undoing a coding stops.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "gzip"), expect(dead_code, reason = "there is nothing to undo"))]
struct Bounds {
    len: u64,
    deadline: Option<Instant>,
}

/// Why undoing a coding stopped.
enum Failure {
    #[cfg(feature = "gzip")]
    Malformed(std::io::Error),
    #[cfg(feature = "gzip")]
    OverBound,
    #[cfg(feature = "gzip")]
    TookTooLong,
}

impl Failure {
    #[cfg(not(feature = "gzip"))]
    fn into_error(self, _: &str, _: bool, _: u64) -> Error {
        match self {}
    }

    #[cfg(feature = "gzip")]
    fn into_error(self, coding: &str, by_size: bool, max_body: u64) -> Error {
        match self {
            Self::Malformed(cause) => Error::new(
                ErrorKind::Decode,
                format!(
                    "the body is not {coding}, as its Content-Encoding says, or is cut short ({cause}); \
                     decode(false) gives the bytes as they came"
                ),
            )
            .with_source(cause),
            Self::TookTooLong => Error::new(
                ErrorKind::Timeout,
                format!(
                    "unpacking the {coding} body took longer than what was left of the time; raise it with timeout(..)"
                ),
            ),
            Self::OverBound if by_size => too_large(max_body),
            Self::OverBound => Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the {coding} body unpacks to more than {MAX_RATIO} times its size and more than {} MiB, as a \
                     decompression bomb does; decode(false) gives the bytes as they came",
                    FREE_OUTPUT >> 20
                ),
            ),
        }
    }
}

pub(super) fn too_many_codings(count: usize) -> Error {
    let message = format!(
        "the body has {count} content codings, and no more than {CODINGS_MAX} are undone; decode(false) gives the bytes \
         as they came"
    );
    Error::new(ErrorKind::Decode, message)
}

/// The error of a body over `max_body`.
pub(super) fn too_large(max_body: u64) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("the body is larger than {max_body} bytes; raise the limit with max_body(..) of the session's builder"),
    )
}

/// One coding undone; `None` if it is not built in.
#[cfg(feature = "gzip")]
fn undo(coding: &str, bytes: &[u8], bounds: Bounds) -> Option<Result<Bytes, Failure>> {
    match coding {
        "gzip" | "x-gzip" => Some(gunzip(bytes, bounds)),
        "deflate" => Some(inflate(bytes, bounds)),
        _ => None,
    }
}

#[cfg(not(feature = "gzip"))]
fn undo(_coding: &str, _bytes: &[u8], _bounds: Bounds) -> Option<Result<Bytes, Failure>> {
    None
}

/// Members one after the other, as RFC 1952 allows; what follows the last one and is no member is padding, which
/// curl and browsers ignore too.
#[cfg(feature = "gzip")]
fn gunzip(mut bytes: &[u8], bounds: Bounds) -> Result<Bytes, Failure> {
    let mut output = Vec::new();
    loop {
        let mut member = flate2::bufread::GzDecoder::new(bytes);
        read_bounded(&mut member, &mut output, bounds)?;
        bytes = member.into_inner();
        if !bytes.starts_with(&[0x1f, 0x8b]) {
            return Ok(output.into());
        }
    }
}

/// "deflate" means the zlib format (RFC 9110, 8.4.1.2), but some servers send the bare stream.
#[cfg(feature = "gzip")]
fn inflate(bytes: &[u8], bounds: Bounds) -> Result<Bytes, Failure> {
    let mut output = Vec::new();
    match read_bounded(&mut flate2::bufread::ZlibDecoder::new(bytes), &mut output, bounds) {
        Err(Failure::Malformed(as_zlib)) => {
            output.clear();
            match read_bounded(&mut flate2::bufread::DeflateDecoder::new(bytes), &mut output, bounds) {
                Err(Failure::Malformed(_)) => Err(Failure::Malformed(as_zlib)),
                result => result.map(|()| output.into()),
            }
        }
        result => result.map(|()| output.into()),
    }
}

#[cfg(feature = "gzip")]
fn read_bounded(decoder: &mut impl std::io::Read, output: &mut Vec<u8>, bounds: Bounds) -> Result<(), Failure> {
    use std::io::Read;
    // Between blocks of this size the time is looked at.
    const BLOCK: u64 = 1 << 20;
    loop {
        if bounds.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Failure::TookTooLong);
        }
        // One byte more than allowed is asked for, to tell "exactly full" from "over".
        let allowed = bounds.len.saturating_sub(output.len() as u64).saturating_add(1);
        let read = decoder.take(allowed.min(BLOCK)).read_to_end(output).map_err(Failure::Malformed)?;
        if output.len() as u64 > bounds.len {
            return Err(Failure::OverBound);
        }
        if read == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[cfg(feature = "gzip")]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(wire: Vec<u8>, coding: &str) -> (Vec<u8>, String) {
        let (bytes, left) = decode(&wire.into(), coding, 1 << 30, None).unwrap();
        (bytes.to_vec(), left)
    }

    #[test]
    fn gzip_zlib_and_bare_deflate_are_undone() {
        for (wire, coding) in
            [(gzip(b"abc"), "gzip"), (gzip(b"abc"), "x-gzip"), (zlib(b"abc"), "deflate"), (raw(b"abc"), "deflate")]
        {
            assert_eq!(decoded(wire, coding), (b"abc".to_vec(), String::new()), "{coding}");
        }
    }

    #[test]
    fn several_codings_are_undone_last_first_up_to_one_that_is_unknown() {
        assert_eq!(decoded(zlib(&gzip(b"abc")), "gzip, deflate"), (b"abc".to_vec(), String::new()));
        assert_eq!(decoded(gzip(b"brotli"), "br, gzip"), (b"brotli".to_vec(), "br".to_owned()));
        assert_eq!(decoded(b"brotli".to_vec(), "gzip, br"), (b"brotli".to_vec(), "gzip, br".to_owned()));
    }

    #[test]
    fn members_are_joined_and_padding_after_the_last_is_ignored() {
        let mut wire = gzip(b"abc");
        wire.extend(gzip(b"def"));
        wire.extend([0; 9]);
        assert_eq!(decoded(wire, "gzip").0, b"abcdef");
    }

    #[test]
    fn an_empty_body_is_left_alone() {
        assert_eq!(decoded(Vec::new(), "gzip"), (Vec::new(), String::new()));
    }

    #[test]
    fn what_is_not_gzip_is_an_error_that_names_the_way_out() {
        for wire in [b"plain text".to_vec(), gzip(&[7; 5000])[..20].to_vec()] {
            let error = decode(&wire.into(), "gzip", 1 << 30, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(error.to_string().contains("decode(false)"), "{error}");
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_its_bound() {
        let bomb = gzip(&vec![0; 65 << 20]);
        assert!(MAX_RATIO * (bomb.len() as u64) < 65 << 20, "{} bytes", bomb.len());
        let error = decode(&bomb.into(), "gzip", 1 << 30, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("bomb"), "{error}");
    }

    #[test]
    fn output_of_exactly_max_body_is_allowed_and_one_byte_more_is_not() {
        assert_eq!(decode(&gzip(&[1; 100]).into(), "gzip", 100, None).unwrap().0.len(), 100);
        let error = decode(&gzip(&[1; 101]).into(), "gzip", 100, None).unwrap_err();
        assert!(error.to_string().contains("100 bytes"), "{error}");
    }

    #[test]
    fn five_codings_are_undone_and_six_are_not() {
        let mut wire = b"abc".to_vec();
        for _ in 0..5 {
            wire = gzip(&wire);
        }
        assert_eq!(decoded(wire.clone(), &["gzip"; 5].join(", ")).0, b"abc");
        let error = decode(&gzip(&wire).into(), &["gzip"; 6].join(", "), 1 << 30, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains("6 content codings"), "{error}");
    }

    #[test]
    fn decoding_stops_when_its_time_is_over() {
        let error = decode(&gzip(b"abc").into(), "gzip", 1 << 30, Some(Instant::now())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }

    #[test]
    fn codings_are_read_from_all_lines_in_any_case() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_ENCODING, "Gzip , identity".parse().unwrap());
        headers.append(CONTENT_ENCODING, "DEFLATE".parse().unwrap());
        assert_eq!(coding_of(&headers), "gzip, deflate");
    }
}
