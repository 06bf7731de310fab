//! Stale answers are made fresh behind the caller's back.

use std::{sync::PoisonError, thread};

use super::{
    CachedSession,
    request::{Options, Request},
    send::Course,
};
use crate::{entry::Key, policy::exchange::Refresh};

/// Threads at a time. What is stale beyond that is refreshed by a later request.
const AT_ONCE: usize = 32;

impl CachedSession {
    /// Asks the origin in a thread of its own, unless one is at it for this key already. A failure is of no concern to
    /// anybody: the next request finds what is stored as stale as before.
    pub(super) fn refresh_behind(&self, request: Request, options: &Options, key: Key) {
        {
            let mut refreshing = self.refreshing().lock().unwrap_or_else(PoisonError::into_inner);
            if refreshing.len() >= AT_ONCE || !refreshing.insert(key) {
                return;
            }
        }
        let turn = Turn { session: self.clone(), key };
        let options = Options { refresh: Refresh::Validate, ..options.clone() };
        // Without a thread the turn is over, and the next request tries again.
        let _ = thread::Builder::new().name("larder-refresh".to_owned()).spawn(move || {
            let _ = Course::new(&turn.session, &options).run(request);
        });
    }
}

/// Ends when it is dropped, also in a panic.
struct Turn {
    session: CachedSession,
    key: Key,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.session.refreshing().lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
