//! How long a server is waited for.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// The limit of a call unless a program says otherwise.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);

/// The limit while the server does not answer.
const IMPATIENT: Duration = Duration::from_millis(250);

/// Waits its full time once. A server that has let a call wait in vain is given a short time only, until it answers: a
/// request is a dozen calls, and would wait a dozen times.
#[derive(Debug, Default)]
pub(super) struct Patience {
    lost: AtomicBool,
}

impl Patience {
    /// How long the next call may take.
    pub(super) fn limit(&self, full: Duration) -> Duration {
        if self.lost.load(Ordering::Relaxed) { full.min(IMPATIENT) } else { full }
    }

    /// Whether the last call waited in vain.
    pub(super) fn learn(&self, in_vain: bool) {
        self.lost.store(in_vain, Ordering::Relaxed);
    }
}
