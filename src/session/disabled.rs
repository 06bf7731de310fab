//! The guard of `cache_disabled()`.

use std::{cell::RefCell, marker::PhantomData};

thread_local! {
    /// The sessions whose cache is disabled in this thread, each as often as there are guards.
    static DISABLED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Keeps a session and its clones from using their cache in this thread, until it is dropped.
///
/// Guards nest: the cache is used again when the last one is gone. Other threads and other sessions are not
/// concerned, which is why the guard cannot be sent to another thread.
#[derive(Debug)]
#[must_use = "the cache is used again as soon as the guard is dropped"]
pub struct CacheDisabled {
    session: u64,
    /// Neither Send nor Sync.
    here: PhantomData<*const ()>,
}

impl CacheDisabled {
    pub(super) fn new(session: u64) -> Self {
        DISABLED.with_borrow_mut(|disabled| disabled.push(session));
        Self { session, here: PhantomData }
    }
}

impl Drop for CacheDisabled {
    fn drop(&mut self) {
        // While a thread ends its locals may be gone already, and then there is nothing to undo.
        let _ = DISABLED.try_with(|disabled| {
            let mut disabled = disabled.borrow_mut();
            if let Some(at) = disabled.iter().rposition(|session| *session == self.session) {
                disabled.swap_remove(at);
            }
        });
    }
}

/// Whether the session's cache is disabled in this thread.
pub(super) fn is_disabled(session: u64) -> bool {
    DISABLED.with_borrow(|disabled| disabled.contains(&session))
}
