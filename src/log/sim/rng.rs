//! The one source of chance: a seed gives the same history on every machine.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// A splitmix64 generator, or the bytes of a fuzzer as long as there are any.
#[derive(Debug, Clone)]
pub(super) struct Rng {
    state: u64,
    /// The next choices, shared by all generators of a history.
    bytes: Option<Arc<Mutex<VecDeque<u8>>>>,
}

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, bytes: None }
    }

    /// Each byte decides one choice; among more than 256 it decides roughly.
    pub(super) fn of_bytes(data: &[u8]) -> Self {
        Self { state: 0, bytes: Some(Arc::new(Mutex::new(data.iter().copied().collect()))) }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let chosen =
            self.bytes.as_ref().and_then(|bytes| bytes.lock().unwrap_or_else(PoisonError::into_inner).pop_front());
        // The highest byte is the one that decides, see `below`.
        chosen.map_or(z, |byte| z >> 8 | u64::from(byte) << 56)
    }

    /// A number from 0 to one below `end`, which is at least 1.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.next()) * end as u128;
        usize::try_from(wide >> 64).expect("below a usize")
    }

    /// A number of the range, both ends included.
    pub(super) fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    /// True `percent` times of a hundred.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// An independent generator, so that one part may draw more without changing what another draws.
    pub(super) fn fork(&mut self) -> Self {
        Self { state: self.next(), bytes: self.bytes.clone() }
    }
}
