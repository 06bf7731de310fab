//! A value or an alias as the bytes of one value of a dict.
//!
//! ```text
//!  0   4  magic "LDR1"
//!  4   4  CRC-32 of the bytes from 8 up to the end of the header, then the key
//!  8  16  version: random, another for each write
//! 24   8  incarnation: since when the key has been there without interruption
//! 32   8  created, 40  8  drop after: milliseconds since the Unix epoch, signed
//! 48   8  length of the body
//! 56   4  length of the head, 60  4  CRC-32 of the head, 64  4  CRC-32 of the body
//! 68   1  kind: 0 a value, 1 bookkeeping, 2 an alias; 69  3  zero
//! 72      head, body
//! ```
//! Numbers are little-endian. The body of an alias is the incarnation of its target (8 bytes; 0: any) and the key that
//! it leads to. Nothing is believed before its checksum was compared, and the key is part of it: a value that has got
//! under another key is as damaged as one that was cut.

use crate::log::{Entry, Head, Times, Version};
use bytes::Bytes;

/// The fixed part at the beginning.
pub(super) const HEADER_LEN: usize = 72;

/// Bytes that name a state of a key: magic, checksum and version.
pub(super) const STAMP_LEN: usize = 24;

const MAGIC: &[u8; 4] = b"LDR1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    Aux,
    Alias,
}

/// The fixed part, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) version: [u8; 16],
    pub(super) incarnation: u64,
    pub(super) times: Times,
    pub(super) body_len: u64,
    pub(super) head_len: u32,
    head_crc: u32,
    body_crc: u32,
    pub(super) kind: Kind,
}

impl Header {
    /// Reads the beginning of what is stored under a key; `None` if it is damaged or no record.
    pub(super) fn decode(key: &[u8], bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        let crc = u32::from_le_bytes(*header[4..].first_chunk()?);
        if !header.starts_with(MAGIC) || crc != header_crc(header, key) {
            return None;
        }
        let kind = match header[68] {
            0 => Kind::Value,
            1 => Kind::Aux,
            2 => Kind::Alias,
            _ => return None,
        };
        Some(Self {
            version: *header[8..].first_chunk()?,
            incarnation: u64::from_le_bytes(*header[24..].first_chunk()?),
            times: Times {
                created_ms: i64::from_le_bytes(*header[32..].first_chunk()?),
                drop_after_ms: i64::from_le_bytes(*header[40..].first_chunk()?),
            },
            body_len: u64::from_le_bytes(*header[48..].first_chunk()?),
            head_len: u32::from_le_bytes(*header[56..].first_chunk()?),
            head_crc: u32::from_le_bytes(*header[60..].first_chunk()?),
            body_crc: u32::from_le_bytes(*header[64..].first_chunk()?),
            kind,
        })
    }

    /// The version as stores show it.
    pub(super) fn version(&self) -> Version {
        let [high, low] = [0, 8].map(|at| self.version[at..].first_chunk().copied().unwrap_or_default());
        Version::new(u64::from_le_bytes(high), u64::from_le_bytes(low))
    }

    /// How many bytes header, head, and what an alias names take.
    pub(super) fn short_len(&self) -> usize {
        let named = if self.kind == Kind::Alias { self.body_len } else { 0 };
        let len = HEADER_LEN as u64 + u64::from(self.head_len) + named;
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    /// The head, out of the beginning of the record; `None` if it is damaged or cut.
    fn head(&self, bytes: &Bytes) -> Option<Bytes> {
        let end = HEADER_LEN + self.head_len as usize;
        let head = (bytes.len() >= end).then(|| bytes.slice(HEADER_LEN..end))?;
        (crc32fast::hash(&head) == self.head_crc).then_some(head)
    }

    /// The body, out of the whole record.
    fn body(&self, bytes: &Bytes) -> Option<Bytes> {
        let start = HEADER_LEN + self.head_len as usize;
        let body = (bytes.len() >= start).then(|| bytes.slice(start..))?;
        (body.len() as u64 == self.body_len && crc32fast::hash(&body) == self.body_crc).then_some(body)
    }

    /// What an alias names: the incarnation of its target (0: any) and the key. `None` if it is none, or damaged.
    pub(super) fn target(&self, bytes: &Bytes) -> Option<(u64, Bytes)> {
        let body = (self.kind == Kind::Alias).then(|| self.body(bytes)).flatten()?;
        let incarnation = u64::from_le_bytes(*body.first_chunk()?);
        Some((incarnation, body.slice(8..)))
    }

    /// The head of a value or an alias, out of at least [`short_len`](Self::short_len) bytes.
    pub(super) fn to_head(self, bytes: &Bytes) -> Option<Head> {
        let head = self.head(bytes)?;
        let entry = match self.kind {
            Kind::Alias => Entry::new_alias(self.target(bytes)?.1, head, self.times, self.version()),
            Kind::Value | Kind::Aux => Entry::new(head, Bytes::new(), self.times, self.version()),
        };
        let body_len = if self.kind == Kind::Alias { 0 } else { self.body_len };
        Some(Head { body_len, ..Head::of(&entry) })
    }

    /// The value or alias, out of the whole record.
    pub(super) fn to_entry(self, bytes: &Bytes) -> Option<Entry> {
        let head = self.head(bytes)?;
        Some(match self.kind {
            Kind::Alias => Entry::new_alias(self.target(bytes)?.1, head, self.times, self.version()),
            Kind::Value | Kind::Aux => Entry::new(head, self.body(bytes)?, self.times, self.version()),
        })
    }
}

/// What is to be written under a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) version: [u8; 16],
    pub(super) incarnation: u64,
    pub(super) times: Times,
    pub(super) kind: Kind,
    pub(super) head: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Draft<'_> {
    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.head.len() + self.body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.version);
        bytes.extend_from_slice(&self.incarnation.to_le_bytes());
        bytes.extend_from_slice(&self.times.created_ms.to_le_bytes());
        bytes.extend_from_slice(&self.times.drop_after_ms.to_le_bytes());
        bytes.extend_from_slice(&(self.body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.head.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(self.head).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(self.body).to_le_bytes());
        bytes.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        if let Some(header) = bytes.first_chunk::<HEADER_LEN>() {
            let crc = header_crc(header, key);
            bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        }
        bytes.extend_from_slice(self.head);
        bytes.extend_from_slice(self.body);
        bytes
    }
}

fn header_crc(header: &[u8; HEADER_LEN], key: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[8..]);
    hasher.update(key);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(kind: Kind, body: &[u8]) -> Draft<'_> {
        let times = Times { created_ms: -1, drop_after_ms: 5 };
        Draft { version: [7; 16], incarnation: 9, times, kind, head: b"head", body }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let bytes: Bytes = draft(Kind::Value, b"body").encode(b"key").into();
        let header = Header::decode(b"key", &bytes).unwrap();
        let entry = header.to_entry(&bytes).unwrap();
        assert_eq!((&entry.head[..], &entry.body[..], entry.times.created_ms), (&b"head"[..], &b"body"[..], -1));
        let head = header.to_head(&bytes.slice(..header.short_len())).unwrap();
        assert_eq!((head.body_len, head.version), (4, entry.version));
        let bytes: Bytes = draft(Kind::Alias, b"\x05\0\0\0\0\0\0\0to").encode(b"key").into();
        let header = Header::decode(b"key", &bytes).unwrap();
        assert_eq!(header.target(&bytes).unwrap(), (5, Bytes::from_static(b"to")));
        assert_eq!(header.to_head(&bytes).unwrap().alias_to.as_deref(), Some(&b"to"[..]));
    }

    #[test]
    fn every_flipped_bit_every_cut_and_every_other_key_is_noticed() {
        let bytes: Bytes = draft(Kind::Value, b"body").encode(b"key").into();
        let read = |key: &[u8], bytes: &Bytes| Header::decode(key, bytes)?.to_entry(bytes);
        assert!(read(b"key", &bytes).is_some());
        assert!(read(b"kez", &bytes).is_none());
        for len in 0..bytes.len() {
            assert!(read(b"key", &bytes.slice(..len)).is_none(), "cut to {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(b"key", &damaged.into()).is_none(), "bit {bit}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(read(b"key", &longer.into()).is_none());
    }
}
