//! [`Iter`]: the values of a log with their heads.

use super::{entry::Head, generation::Generation, read::Want, shared::Shared, snapshot::Snapshot, view::Role};
use crate::Result;
use std::{fmt, sync::Arc};

/// The values of a log, in the order in which they were last written. Made by [`Log::iter`](super::Log::iter).
pub struct Iter {
    shared: Arc<Shared>,
    state: State,
}

enum State {
    Fresh,
    Listing { generation: Arc<Generation>, rest: Box<Snapshot> },
    Done,
}

impl Iter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, state: State::Fresh }
    }

    fn begin(&mut self) -> Result<()> {
        let generation = self.shared.current()?;
        let rest = Box::new(generation.snapshot()?);
        self.state = State::Listing { generation, rest };
        Ok(())
    }
}

impl fmt::Debug for Iter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

impl Iterator for Iter {
    type Item = Result<(Vec<u8>, Head)>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, State::Fresh)
            && let Err(error) = self.begin()
        {
            self.state = State::Done;
            return Some(Err(error));
        }
        let State::Listing { generation, rest } = &mut self.state else { return None };
        loop {
            let loc = match rest.next(generation, &self.shared.counters) {
                Ok(Some((_, loc))) if loc.role == Role::Value => loc,
                Ok(Some(_)) => continue,
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            };
            match generation.read(loc, None, Want::Head, &self.shared.counters) {
                Ok(Some(read)) => return Some(Ok((read.key.to_vec(), read.into_head(generation)))),
                // A record that fails its checksum is not there.
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
