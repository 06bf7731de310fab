//! The record that leads from a request to the variants of its response.
//!
//! A response that varies by headers of the request is stored under a key of its own variant. Where a response without
//! `Vary` would stand, this record says by which headers the variants differ, so that a look-up reads two records
//! whatever the number of variants.

use super::{
    codec::{VERSION_VARIANTS, decode, encode},
    key::Key,
};
use crate::Result;
use bytes::Bytes;
use http::HeaderName;
use serde::{Deserialize, Serialize};

/// Sets of names that are remembered. An origin that varies by ever other headers loses the oldest.
const SETS_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Variants {
    /// Of the request that all of them answer.
    pub(crate) base: [u8; 32],
    pub(crate) partition: Option<[u8; 16]>,
    /// The variant that was stored last.
    pub(crate) latest: Key,
    /// The names by which responses varied, each set sorted, the one of the latest first.
    sets: Vec<Vec<String>>,
}

impl Variants {
    pub(crate) fn new(base: [u8; 32], partition: Option<[u8; 16]>, latest: Key) -> Self {
        Self { base, partition, latest, sets: Vec::new() }
    }

    /// Takes note of a variant that is stored now.
    pub(crate) fn note(&mut self, names: &[HeaderName], key: Key) {
        let names: Vec<String> = names.iter().map(|name| name.as_str().to_owned()).collect();
        self.latest = key;
        self.sets.retain(|set| *set != names);
        self.sets.insert(0, names);
        self.sets.truncate(SETS_MAX);
    }

    /// The sets of names; what is no name is left out.
    pub(crate) fn sets(&self) -> impl Iterator<Item = Vec<HeaderName>> {
        self.sets.iter().map(|set| set.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect())
    }

    /// The names of all sets, sorted, each once.
    pub(crate) fn names(&self) -> Vec<HeaderName> {
        let mut names: Vec<HeaderName> = self.sets().flatten().collect();
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        names
    }

    pub(crate) fn encode(&self) -> Result<Bytes> {
        encode(VERSION_VARIANTS, self)
    }

    /// `None` if the head is that of something else, or damaged.
    pub(crate) fn decode(head: &[u8]) -> Option<Self> {
        decode(VERSION_VARIANTS, head)
    }
}
