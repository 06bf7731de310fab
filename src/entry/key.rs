//! Keys of a store: the first byte is the namespace.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a key of a store leads to, as its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Namespace {
    /// A response, or a redirect hop as an alias.
    Response = b'r',
    /// The responses of one URL.
    Url = b'u',
    /// The aliases of one key.
    Target = b't',
    /// The salt of the partitions.
    Salt = b's',
    /// What the cache has done for its users.
    Counters = b'c',
}

/// What stands behind the 8 bytes of a key of requests-cache and the step in a redirect chain, where a digest has its
/// last bytes.
const FOREIGN: &[u8; 23] = b"key of requests-cache 1";

/// A key of requests-cache in the place of a digest.
pub(crate) fn foreign(key: [u8; 8], step: u8) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&key);
    digest[8] = step;
    digest[9..].copy_from_slice(FOREIGN);
    digest
}

/// The key of requests-cache and the step, if that is what is in the place of a digest.
pub(crate) fn as_foreign(digest: &[u8; 32]) -> Option<([u8; 8], u8)> {
    let (key, rest) = digest.split_first_chunk()?;
    (rest[1..] == FOREIGN[..]).then_some((*key, rest[0]))
}

#[cfg(any(feature = "sqlite", feature = "redis", fuzzing))]
pub(super) fn foreign_hex(digest: &[u8; 32]) -> Option<String> {
    as_foreign(digest).map(|(key, _)| hex(&key))
}

/// The first step under a key of requests-cache in hex.
pub(crate) fn foreign_digest(text: &str) -> Option<[u8; 32]> {
    unhex(text).map(|key| foreign(key, 0))
}

/// The key of a response or of a hop: `r` and 32 bytes of a digest. People see it in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "[u8; 32]", into = "[u8; 32]")]
pub(crate) struct Key([u8; Key::LEN]);

impl Key {
    pub(crate) const LEN: usize = 33;

    pub(crate) fn from_digest(digest: [u8; 32]) -> Self {
        let mut key = [Namespace::Response as u8; Self::LEN];
        key[1..].copy_from_slice(&digest);
        Self(key)
    }

    /// The key in the bytes of a store; `None` if they are no key of a response.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let key = <[u8; Self::LEN]>::try_from(bytes).ok()?;
        (key[0] == Namespace::Response as u8).then_some(Self(key))
    }

    /// Reads the hex form; upper case counts as well.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        Self::from_bytes(&unhex::<{ Self::LEN }>(text)?)
    }

    /// A key of requests-cache is shown as it is there.
    pub(crate) fn to_hex(self) -> String {
        self.foreign().map_or_else(|| hex(&self.0), |(key, _)| hex(&key))
    }

    /// The key of requests-cache that it stands for, and the step in the redirects that are stored under it.
    pub(crate) fn foreign(&self) -> Option<([u8; 8], u8)> {
        as_foreign(&(*self).into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }

    /// The digest's first byte: which page of a large index the key is on.
    pub(crate) fn page(&self) -> u8 {
        self.0[1]
    }

    /// Under which the aliases that point at this key are listed.
    pub(crate) fn aliases_key(&self) -> Bytes {
        let mut key = Vec::with_capacity(1 + Self::LEN);
        key.push(Namespace::Target as u8);
        key.extend_from_slice(&self.0);
        key.into()
    }
}

/// Lists hold the digest alone.
impl From<Key> for [u8; 32] {
    fn from(key: Key) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(&key.0[1..]);
        digest
    }
}

impl From<[u8; 32]> for Key {
    fn from(digest: [u8; 32]) -> Self {
        Self::from_digest(digest)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for digit in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from(DIGITS[usize::from(digit)]));
    }
    text
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_hex_form() {
        let key = Key::from_digest([0xa5; 32]);
        let hex = key.to_hex();
        assert_eq!(hex, format!("72{}", "a5".repeat(32)));
        assert_eq!(Key::from_hex(&hex), Some(key));
        assert_eq!(Key::from_hex(&hex.to_uppercase()), Some(key));
    }

    #[test]
    fn a_key_of_requests_cache_is_shown_as_it_is_there() {
        let digest = foreign_digest("2C9aee55ad5927ee").unwrap();
        assert_eq!(Key::from_digest(digest).to_hex(), "2c9aee55ad5927ee");
        let (key, _) = as_foreign(&digest).unwrap();
        let third = Key::from_digest(foreign(key, 3));
        assert_eq!((third.to_hex().as_str(), third.foreign()), ("2c9aee55ad5927ee", Some((key, 3))));
        assert_eq!(Key::from_bytes(third.as_bytes()), Some(third));
        assert_eq!(Key::from_digest([7; 32]).foreign(), None);
        assert_eq!(foreign_digest("2c9aee55ad5927e"), None);
    }

    #[test]
    fn other_texts_and_namespaces_are_no_keys() {
        for text in ["", "72", &"00".repeat(33), &"zz".repeat(33), &"é".repeat(33), &"72".repeat(34)] {
            assert_eq!(Key::from_hex(text), None, "{text}");
        }
        assert_eq!(Key::from_bytes(&[b'u'; 33]), None);
    }
}
