//! Partitions: whoever asks with other credentials gets other stored responses.
//!
//! A partition is a slow salted hash of the credentials (Argon2id, RFC 9106), so that whoever reads the file cannot
//! guess a password from it at any useful speed.

use super::{key, redact::Credentials};
use crate::{Error, ErrorKind, Result};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, PoisonError},
};

/// Random bytes that a store keeps, so that equal credentials have other partitions in another store.
pub(crate) type Salt = [u8; 16];

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Partitions that a session remembers, so that it computes each only once.
const MEMO_LEN_MAX: usize = 1024;

/// Computes partitions and remembers the latest.
pub(crate) struct Partitions {
    /// Of this process alone: the memo holds no digest of a credential that means anything elsewhere.
    process_key: [u8; 32],
    memo: Mutex<Memo>,
}

#[derive(Default)]
struct Memo {
    partitions: HashMap<[u8; 32], [u8; 16]>,
    /// Oldest first.
    order: VecDeque<[u8; 32]>,
}

impl Partitions {
    /// Fails with `Io` if the operating system has no random bytes.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { process_key: random()?, memo: Mutex::default() })
    }

    /// The partition of these credentials; `None` if there are none. Takes some 20 ms the first time, under no lock.
    pub(crate) fn of(&self, credentials: &Credentials, salt: &Salt) -> Result<Option<[u8; 16]>> {
        if credentials.is_empty() {
            return Ok(None);
        }
        let secret = credentials.to_bytes();
        let id = key::digest(&[&self.process_key, salt, &secret]);
        if let Some(partition) = self.memo().partitions.get(&id) {
            return Ok(Some(*partition));
        }
        let partition = slow_hash(&secret, salt)?;
        self.memo().insert(id, partition);
        Ok(Some(partition))
    }

    fn memo(&self) -> std::sync::MutexGuard<'_, Memo> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitions").finish_non_exhaustive()
    }
}

impl Memo {
    fn insert(&mut self, id: [u8; 32], partition: [u8; 16]) {
        if self.partitions.insert(id, partition).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > MEMO_LEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.partitions.remove(&oldest);
        }
    }
}

/// The credentials that stand for a partition named by hand.
pub(crate) fn named(name: &str) -> Credentials {
    let mut credentials = Credentials::default();
    credentials.push("partition", name);
    credentials
}

/// The partition of what was fetched without knowing from whom, which nobody gets who wants to know. It is not secret.
pub(crate) fn unverified(partition: Option<[u8; 16]>) -> [u8; 16] {
    let partition = partition.as_ref().map_or(&[][..], |partition| partition);
    let digest = key::digest(&[b"unverified", partition]);
    digest.first_chunk().copied().unwrap_or_default()
}

/// The partition of what was fetched with credentials that are not known any more, which nobody asks for.
pub(crate) fn of_nobody() -> [u8; 16] {
    let digest = key::digest(&[b"credentials that are not known"]);
    digest.first_chunk().copied().unwrap_or_default()
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(ErrorKind::Io, "the operating system has no random bytes").with_source(error))?;
    Ok(bytes)
}

fn slow_hash(secret: &[u8], salt: &Salt) -> Result<[u8; 16]> {
    let failed =
        |error| Error::new(ErrorKind::InvalidInput, "cannot compute the partition of credentials").with_source(error);
    let mut out = [0; 16];
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(out.len())).map_err(failed)?;
    let mut memory = vec![Block::default(); params.block_count()];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(secret, salt, &mut out, &mut memory)
        .map_err(failed)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(value: &str) -> Credentials {
        let mut credentials = Credentials::default();
        credentials.push("token", value);
        credentials
    }

    /// The same as `argon2.low_level.hash_secret_raw(secret, salt, 2, 19456, 1, 16, Type.ID)` of argon2-cffi.
    #[test]
    fn the_hash_is_argon2id_with_the_parameters_that_files_depend_on() {
        let hash = slow_hash(b"password", &[1; 16]).unwrap();
        assert_eq!(u128::from_be_bytes(hash), 0x6010_f23f_1007_e6a1_bbb7_5be4_464f_4fa7);
    }

    #[test]
    fn a_partition_depends_on_the_credentials_and_the_salt_alone() {
        let (one, other) = (Partitions::new().unwrap(), Partitions::new().unwrap());
        let salt = [1; 16];
        let alice = one.of(&credentials("alice"), &salt).unwrap();
        assert!(alice.is_some());
        assert_eq!(one.of(&credentials("alice"), &salt).unwrap(), alice);
        assert_eq!(other.of(&credentials("alice"), &salt).unwrap(), alice);
        assert_ne!(one.of(&credentials("bob"), &salt).unwrap(), alice);
        assert_ne!(one.of(&credentials("alice"), &[2; 16]).unwrap(), alice);
        assert_ne!(one.of(&named("alice"), &salt).unwrap(), alice);
        assert_eq!(one.of(&Credentials::default(), &salt).unwrap(), None);
    }

    #[test]
    fn the_memo_forgets_the_oldest() {
        let mut memo = Memo::default();
        let id = |n: usize| key::digest(&[&n.to_be_bytes()]);
        for n in 0..=MEMO_LEN_MAX {
            memo.insert(id(n), [0; 16]);
            memo.insert(id(n), [0; 16]);
        }
        assert_eq!((memo.partitions.len(), memo.order.len()), (MEMO_LEN_MAX, MEMO_LEN_MAX));
        assert!(!memo.partitions.contains_key(&id(0)) && memo.partitions.contains_key(&id(MEMO_LEN_MAX)));
    }
}
