//! Threads on which the driver runs.
//!
//! The driver drives an async runtime of its own and waits for it, which panics on a thread of another runtime. Here it
//! never meets one; and whoever has a call in it can stop waiting, which the driver does not offer.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// A few threads, started when they are needed.
#[derive(Clone)]
pub(super) struct Workers {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    ready: Condvar,
    threads_max: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Workers {
    pub(super) fn new(threads_max: usize) -> Self {
        Self { inner: Arc::new(Inner { state: Mutex::default(), ready: Condvar::new(), threads_max }) }
    }

    /// Runs something on one of the threads and waits for its value; `None` if that takes longer than the limit, or
    /// cannot be had. What has not begun by then does not begin.
    pub(super) fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let job: Job = Box::new({
            let given_up = Arc::clone(&given_up);
            move || {
                if !given_up.load(Ordering::Acquire) {
                    // Whoever waited may be gone.
                    let _ = sender.send(act());
                }
            }
        });
        self.add(job);
        let value = receiver.recv_timeout(limit).ok();
        given_up.store(true, Ordering::Release);
        value
    }

    fn add(&self, job: Job) {
        let mut state = self.inner.state();
        state.jobs.push_back(job);
        if state.idle < state.jobs.len() && state.threads < self.inner.threads_max {
            let inner = Arc::clone(&self.inner);
            let started = thread::Builder::new().name("larder-mongodb".to_owned()).spawn(move || inner.work());
            state.threads += usize::from(started.is_ok());
        }
        drop(state);
        self.inner.ready.notify_one();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // A panic of the driver ends the call that met it, and not the thread.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                state = self.state();
                continue;
            }
            state.idle += 1;
            let (again, waited) = self.ready.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = again;
            state.idle -= 1;
            if waited.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("threads", &self.inner.state().threads).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_from_another_thread_and_nobody_waits_for_ever() {
        let workers = Workers::new(2);
        let here = thread::current().id();
        let there = workers.run(Duration::from_secs(60), || thread::current().id());
        assert!(there.is_some_and(|there| there != here));
        let (end, waits) = mpsc::channel::<()>();
        assert!(workers.run(Duration::from_millis(10), move || waits.recv().is_ok()).is_none());
        assert!(workers.run(Duration::from_secs(60), || panic!("on purpose")).is_none_or(|()| true));
        assert_eq!(workers.run(Duration::from_secs(60), || 7), Some(7));
        drop(end);
    }
}
