//! Content codings, undone once and within bounds.
//!
//! Decoding stops at [`max_body`](super::CachedSessionBuilder::max_body), and when the output is larger than both
//! 64 MiB and 200 times what came over the wire: no honest gzip of a text gets there, a bomb does.

use std::{
    io::{self, Read},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_ENCODING};

use super::unpack::Unpacked;
use crate::{Error, ErrorKind, Result};

/// Output below this is decoded whatever its ratio.
pub(super) const FREE_OUTPUT: u64 = 64 << 20;
/// Output above [`FREE_OUTPUT`] may be this many times the input.
pub(super) const MAX_RATIO: u64 = 200;
/// Codings that one body may have. Each costs a pass over the whole body, and honest servers apply one or two.
pub(super) const CODINGS_MAX: usize = 5;

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
    // Between blocks of this size the time is looked at.
    const BLOCK: u64 = 1 << 20;
    // An answer to HEAD, a 204 or a 304 names the coding that a body would have had.
    if wire.is_empty() {
        return Ok((wire.clone(), String::new()));
    }
    let (mut unpacked, left) = Unpacked::whole(io::Cursor::new(wire.clone()), wire.len() as u64, coding)?;
    if !unpacked.is_undone() {
        return Ok((wire.clone(), left));
    }
    let mut output = Vec::new();
    loop {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(took_too_long(coding));
        }
        // One byte more than allowed is asked for, to tell "exactly full" from "over".
        let allowed = max_body.saturating_sub(output.len() as u64).saturating_add(1);
        let read = unpacked.by_ref().take(allowed.min(BLOCK)).read_to_end(&mut output);
        match read.map_err(from_io)? {
            _ if output.len() as u64 > max_body => return Err(too_large(max_body)),
            0 => return Ok((output.into(), left)),
            _ => {}
        }
    }
}

/// The error that an `io::Error` was made of here, or one that says the same.
pub(super) fn from_io(error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|error| {
        let kind = if error.kind() == io::ErrorKind::TimedOut { ErrorKind::Timeout } else { ErrorKind::Network };
        Error::new(kind, format!("the body cannot be read: {error}")).with_source(error)
    })
}

/// The error of a body that is not what its header says.
pub(super) fn malformed(coding: &str, cause: io::Error) -> Error {
    let message = format!(
        "the body is not {coding}, as its Content-Encoding says, or is cut short ({cause}); decode(false) gives the \
         bytes as they came"
    );
    Error::new(ErrorKind::Decode, message).with_source(cause)
}

/// The error of a body that unpacks to more than an honest one.
pub(super) fn unpacks_too_far(coding: &str) -> Error {
    let message = format!(
        "the {coding} body unpacks to more than {MAX_RATIO} times its size and more than {} MiB, as a decompression \
         bomb does; decode(false) gives the bytes as they came",
        FREE_OUTPUT >> 20
    );
    Error::new(ErrorKind::TooLarge, message)
}

fn took_too_long(coding: &str) -> Error {
    let message =
        format!("unpacking the {coding} body took longer than what was left of the time; raise it with timeout(..)");
    Error::new(ErrorKind::Timeout, message)
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
        assert_eq!(decoded(gzip(b"coded"), "new, gzip"), (b"coded".to_vec(), "new".to_owned()));
        assert_eq!(decoded(b"coded".to_vec(), "gzip, new"), (b"coded".to_vec(), "gzip, new".to_owned()));
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
    fn a_deflate_body_is_whole_however_small_the_pieces_are_that_it_is_read_in() {
        let text: Vec<u8> = (0..5000_u32).flat_map(|n| (n / 7).to_be_bytes()).collect();
        for wire in [zlib(&text), raw(&text), zlib(&[7; 100]), zlib(b"")] {
            let whole = decode(&Bytes::from(wire.clone()), "deflate", 1 << 30, None).unwrap().0;
            for size in [1, 2, 31, 32, 33, 100, 4096] {
                let mut reader = crate::session::codings::undo("deflate", Box::new(std::io::Cursor::new(wire.clone())));
                let (mut got, mut piece) = (Vec::new(), vec![0; size]);
                while let n @ 1.. = std::io::Read::read(&mut reader, &mut piece).unwrap() {
                    got.extend_from_slice(&piece[..n]);
                }
                assert!(got == whole, "{size}");
            }
        }
    }

    #[test]
    fn a_deflate_body_that_is_cut_short_is_an_error() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(u32::to_be_bytes).collect();
        for wire in [zlib(&text), raw(&text)] {
            for end in [1, 10, wire.len() / 2, wire.len() - 1] {
                let error = decode(&Bytes::copy_from_slice(&wire[..end]), "deflate", 1 << 30, None).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Decode, "{end}");
            }
        }
    }

    #[test]
    #[cfg(feature = "brotli")]
    fn brotli_is_undone_and_a_cut_is_an_error() {
        let wire = b"\x0b\x02\x80hello\x03";
        assert_eq!(decoded(wire.to_vec(), "br"), (b"hello".to_vec(), String::new()));
        assert_eq!(decoded(gzip(wire), "br, gzip").0, b"hello");
        for end in 1..wire.len() {
            let error = decode(&Bytes::copy_from_slice(&wire[..end]), "br", 1 << 30, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode, "{end}");
        }
    }

    #[test]
    #[cfg(feature = "zstd")]
    fn zstd_is_undone_frame_by_frame_and_a_cut_is_an_error() {
        let frame = |text: &[u8]| zstd::encode_all(text, 3).unwrap();
        let sevens = vec![7; 300_000];
        let wire = [frame(b"abc"), frame(&sevens)].concat();
        let whole = [&b"abc"[..], &sevens].concat();
        assert_eq!(decoded(wire.clone(), "zstd"), (whole, String::new()));
        assert_eq!(decoded(gzip(&frame(b"abc")), "zstd, gzip").0, b"abc");
        for end in [1, 4, wire.len() - 1] {
            let error = decode(&Bytes::copy_from_slice(&wire[..end]), "zstd", 1 << 30, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode, "{end}");
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
