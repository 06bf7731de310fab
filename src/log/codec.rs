//! How bodies are encoded in the file: as they are, as one zstd frame, or, where they are long, each piece as a frame
//! of its own, so that any place of a body is reached by decoding one piece.

use super::{
    layout::{CHUNK_MAX, FRAME_RAW_MAX, FRAME_WINDOW_LOG_MAX, PIECE_RAW_MAX},
    record::Extent,
};
use crate::{Error, ErrorKind};

#[cfg(feature = "zstd")]
use super::frames;
#[cfg(not(feature = "zstd"))]
use absent as frames;

/// Whether this build can compress bodies and read compressed ones.
pub(super) const BUILT_IN: bool = cfg!(feature = "zstd");

/// Shorter bodies are mostly header and padding in the file anyway.
const SMALL: usize = 256;

/// Why a stored body cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// This build cannot.
    #[cfg_attr(feature = "zstd", expect(dead_code, reason = "only a build without zstd says so"))]
    NotBuiltIn,
    /// It is not what its record promises.
    Unsound,
}

/// The error for a body that this build cannot decode: never a miss.
pub(super) fn not_built_in() -> Error {
    let message =
        "the value is compressed, in a way that this build does not know; build larder with the feature `zstd`";
    Error::new(ErrorKind::NotBuiltIn, message)
}

/// The body as one frame; `None` if it is better stored as it is: small, long, or compressed already.
pub(super) fn encode(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < SMALL || body.len() as u64 > FRAME_RAW_MAX {
        return None;
    }
    frames::compress(body, worthwhile(body.len()))
}

/// A piece of a long body as a frame; `None` if that takes more than `room`.
pub(super) fn encode_piece(piece: &[u8], room: usize) -> Option<Vec<u8>> {
    frames::compress(piece, room)
}

/// What compressed bytes may take at most to be worth the time of decoding them: an eighth less.
pub(super) fn worthwhile(len: usize) -> usize {
    len - len / 8
}

/// The body that one frame holds.
pub(super) fn decode(stored: &[u8], raw_len: u64) -> Result<Vec<u8>, Undecodable> {
    if BUILT_IN && (raw_len > FRAME_RAW_MAX || content_len(stored) != Some(raw_len)) {
        return Err(Undecodable::Unsound);
    }
    frames::decompress(stored, raw_len)
}

/// How a long body is cut: each piece but the last is as long as the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) piece_len: u64,
    raw_len: u64,
}

impl Cut {
    /// Of the extents of a body whose first piece is `first`; `None` if they cannot come to `raw_len` bytes.
    pub(super) fn new(extents: &[Extent], first: &[u8], raw_len: u64) -> Option<Self> {
        let piece_len = content_len(first).filter(|len| (1..=PIECE_RAW_MAX).contains(len))?;
        let short = extents.iter().all(|extent| u64::from(extent.len) <= CHUNK_MAX);
        (short && raw_len.div_ceil(piece_len) == extents.len() as u64).then_some(Self { piece_len, raw_len })
    }

    /// The bytes of the piece with this number.
    pub(super) fn decode(&self, number: usize, stored: &[u8]) -> Result<Vec<u8>, Undecodable> {
        let start = number as u64 * self.piece_len;
        decode(stored, self.piece_len.min(self.raw_len.saturating_sub(start)))
    }
}

/// What a frame says that it decodes to (RFC 8878, section 3.1.1.1). `None` if it does not say so, needs a dictionary
/// or more memory than a reader of streams has, or is no frame.
pub(super) fn content_len(frame: &[u8]) -> Option<u64> {
    const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
    const SINGLE_SEGMENT: u8 = 1 << 5;
    const RESERVED_AND_DICTIONARY: u8 = 0b1011;
    let (descriptor, rest) = frame.strip_prefix(&MAGIC)?.split_first()?;
    if descriptor & RESERVED_AND_DICTIONARY != 0 {
        return None;
    }
    let single = descriptor & SINGLE_SEGMENT != 0;
    let (window, rest) =
        if single { (None, rest) } else { rest.split_first().map(|(byte, rest)| (Some(byte), rest))? };
    let field = |len: usize| {
        let mut bytes = [0; 8];
        bytes.get_mut(..len)?.copy_from_slice(rest.get(..len)?);
        Some(u64::from_le_bytes(bytes))
    };
    let len = match descriptor >> 6 {
        0 if !single => None,
        0 => field(1),
        1 => field(2).map(|len| len + 256),
        2 => field(4),
        _ => field(8),
    }?;
    let window = window.map_or(len, |byte| {
        let base = 1_u64 << (10 + u32::from(byte >> 3));
        base + base / 8 * u64::from(byte & 7)
    });
    (window <= 1 << FRAME_WINDOW_LOG_MAX).then_some(len)
}

/// What a build without zstd has in its place.
#[cfg(not(feature = "zstd"))]
mod absent {
    use super::Undecodable;

    pub(super) fn compress(_: &[u8], _: usize) -> Option<Vec<u8>> {
        None
    }

    pub(super) fn decompress(_: &[u8], _: u64) -> Result<Vec<u8>, Undecodable> {
        Err(Undecodable::NotBuiltIn)
    }
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_clearly_smaller_stays_as_it_is() {
        let text = b"a line of some text that comes again and again\n".repeat(30);
        let frame = encode(&text).expect("it is worth it");
        assert!(frame.len() < text.len() / 2);
        assert_eq!(decode(&frame, text.len() as u64), Ok(text.clone()));
        assert_eq!(encode(&text[..SMALL - 1]), None);
        assert_eq!(encode(&frame), None);
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..100_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        assert_eq!(encode(&noise), None);
        let piece = encode_piece(&noise, noise.len() + 64).expect("a piece must be a frame, whatever it holds");
        assert_eq!(decode(&piece, noise.len() as u64), Ok(noise));
    }

    #[test]
    fn a_frame_that_is_not_what_its_record_promises_is_unsound() {
        let text = vec![b'a'; 3 << 20];
        let frame = encode(&text).unwrap();
        assert_eq!(content_len(&frame), Some(text.len() as u64));
        for (stored, raw_len) in [
            (&frame[..], text.len() as u64 - 1),
            (&frame[..], text.len() as u64 + 1),
            (&frame[..], u64::MAX),
            (&frame[..frame.len() - 1], text.len() as u64),
            (&[&frame[..], b"x"].concat()[..], text.len() as u64),
            (&[&frame[..], &frame[..]].concat()[..], text.len() as u64),
            (&frame[..5], text.len() as u64),
            (b"", 0),
        ] {
            assert_eq!(decode(stored, raw_len), Err(Undecodable::Unsound), "{} {raw_len}", stored.len());
        }
        // A header that promises another length than the blocks hold.
        let mut liar = encode(&text[..1000]).unwrap();
        let at = liar.windows(2).position(|two| two == (1000_u16 - 256).to_le_bytes()).unwrap();
        liar[at] += 1;
        assert_eq!(content_len(&liar), Some(1001));
        assert_eq!(decode(&liar, 1001), Err(Undecodable::Unsound));
        // A frame that decodes to more than 16 MiB is none of ours, however small it is.
        let mut bomb = frame.clone();
        let size = bomb.windows(4).position(|four| four == (3_u32 << 20).to_le_bytes()).unwrap();
        bomb[size..size + 4].copy_from_slice(&u32::to_le_bytes(17 << 20));
        assert_eq!(decode(&bomb, 17 << 20), Err(Undecodable::Unsound));
    }

    #[test]
    fn pieces_but_the_last_are_as_long_as_the_first() {
        let extent = |len| Extent { offset: 20_000, len, crc: 0 };
        let first = encode_piece(&[7; 1000], 200).unwrap();
        let cut = |extents: &[Extent], raw_len| Cut::new(extents, &first, raw_len).is_some();
        assert!(cut(&[extent(20)], 1000) && cut(&[extent(20)], 1) && cut(&[extent(20), extent(9)], 1001));
        assert!(!cut(&[extent(20)], 0) && !cut(&[extent(20)], 1001) && !cut(&[extent(20), extent(9)], 1000));
        assert!(!cut(&[extent(20), extent(9)], u64::MAX) && !cut(&[extent((1 << 20) + 1)], 1000));
        let cut = Cut::new(&[extent(20), extent(20)], &first, 1500).unwrap();
        assert_eq!(cut.decode(0, &first), Ok(vec![7; 1000]));
        assert_eq!(cut.decode(1, &first), Err(Undecodable::Unsound));
        assert_eq!(cut.decode(1, &encode_piece(&[8; 500], 200).unwrap()), Ok(vec![8; 500]));
    }
}
