//! Identical requests that are under way at once: one is sent, the others wait for what it stores, or read its body
//! along.
//!
//! What is the same is said by the key, partition and variant included, as far as they are known: requests for a URL of
//! which nothing is stored are under way as one, and those that the answer turns out not to be for as one for each
//! variant. Under the keys of requests-cache a variant has a key that nobody knows before it is stored, so that there a
//! stream is joined by its URL alone.
//!
//! Nobody who leads waits for another, so that no circle can come about; and a wait ends whatever becomes of the
//! leader, as its [`Lead`] is dropped in the end.

use std::{
    cell::Cell,
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{Response, request::Request, spool::Spool};
use crate::entry::Key;

thread_local! {
    /// The flights that requests lead which are under way in this thread.
    static LEADING: Cell<usize> = const { Cell::new(0) };
}

/// The requests of a session that are under way.
#[derive(Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<Key, Arc<Flight>>>,
    landed: AtomicU64,
}

/// What others see of a request that is under way.
pub(super) struct Flight {
    phase: Mutex<Phase>,
    changed: Condvar,
}

enum Phase {
    Waiting,
    /// The head of the answer is there, and its body is being read and stored.
    Streaming(Arc<Stream>),
    Over,
}

/// An answer that can be read along.
pub(super) struct Stream {
    pub(super) request: Request,
    pub(super) fragment: Option<String>,
    pub(super) limit: usize,
    pub(super) decode: bool,
    pub(super) response: Response,
    pub(super) spool: Weak<Spool>,
}

/// Held by the request that is sent. Dropping it ends the wait of all others.
pub(super) struct Lead {
    flights: Arc<Flights>,
    keys: Vec<Key>,
    flight: Arc<Flight>,
}

/// While one lives, requests of this thread do not wait for others.
pub(super) struct Leading;

/// How a request takes part.
pub(super) enum Part {
    Lead(Lead),
    Follow(Arc<Flight>),
}

/// How a wait ended.
pub(super) enum Waited {
    /// The time is over.
    TooLong,
    /// There is an answer to read along.
    Stream(Arc<Stream>),
    Over,
}

impl Flights {
    /// Leads, unless the same is under way.
    pub(super) fn join(self: &Arc<Self>, key: Key) -> Part {
        match self.under_way().entry(key) {
            Entry::Occupied(flight) => Part::Follow(Arc::clone(flight.get())),
            Entry::Vacant(place) => {
                let flight = Arc::new(Flight { phase: Mutex::new(Phase::Waiting), changed: Condvar::new() });
                place.insert(Arc::clone(&flight));
                Part::Lead(Lead { flights: Arc::clone(self), keys: vec![key], flight })
            }
        }
    }

    /// How many have ended: if that has changed since a look-up, there may be something by now.
    pub(super) fn landed(&self) -> u64 {
        self.landed.load(Ordering::Acquire)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Waits until the leader is done, or has an answer to read along.
    pub(super) fn wait(&self, limit: Option<Instant>) -> Waited {
        let mut phase = self.phase();
        loop {
            match &*phase {
                Phase::Streaming(stream) => return Waited::Stream(Arc::clone(stream)),
                Phase::Over => return Waited::Over,
                Phase::Waiting => {}
            }
            phase = match limit {
                None => self.changed.wait(phase).unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    let left = limit.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Waited::TooLong;
                    }
                    self.changed.wait_timeout(phase, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Lets others read the body along, for as long as it is being stored.
    pub(super) fn stream(&self, stream: Stream) {
        self.enter(Phase::Streaming(Arc::new(stream)));
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, next: Phase) {
        *self.phase() = next;
        self.changed.notify_all();
    }
}

impl Lead {
    pub(super) fn is_of(&self, key: Key) -> bool {
        self.keys.contains(&key)
    }

    /// Lets others wait for it under another key as well, unless something is under way there.
    pub(super) fn lead_also(&mut self, key: Key) {
        if let Entry::Vacant(place) = self.flights.under_way().entry(key) {
            place.insert(Arc::clone(&self.flight));
            self.keys.push(key);
        }
    }

    /// The flight, to be told of the stream once that owns the lead.
    pub(super) fn flight(&self) -> Arc<Flight> {
        Arc::clone(&self.flight)
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // In this order, under the lock: whoever leads next has to learn that something has landed since it looked.
        let mut under_way = self.flights.under_way();
        self.flights.landed.fetch_add(1, Ordering::Release);
        for key in &self.keys {
            under_way.remove(key);
        }
        drop(under_way);
        self.flight.enter(Phase::Over);
    }
}

impl Leading {
    pub(super) fn begin() -> Self {
        LEADING.set(LEADING.get() + 1);
        Self
    }

    /// Whether a request of this thread leads: another one, made by a hook of it, would wait for itself.
    pub(super) fn is_here() -> bool {
        LEADING.get() > 0
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        // While a thread ends its locals may be gone already.
        let _ = LEADING.try_with(|leading| leading.set(leading.get().saturating_sub(1)));
    }
}
