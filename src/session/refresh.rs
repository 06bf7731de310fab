//! Stale answers are made fresh behind the caller's back.

use std::{sync::PoisonError, thread};

use super::{
    CachedSession,
    request::{Options, Request},
    send::Course,
};
use crate::{entry::Key, policy::exchange::Refresh};

impl CachedSession {
    /// Asks the origin in a thread of its own, unless one is at it for this key already. A failure is of no concern to
    /// anybody: the next request finds what is stored as stale as before.
    pub(super) fn refresh_behind(&self, request: Request, options: &Options, key: Key) {
        if !self.refreshing().lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            return;
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
