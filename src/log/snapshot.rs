//! All entries of a generation as they are at one moment, in log order, without the memory of holding them.

use super::{
    generation::Generation,
    index::{BadPage, Mark, Place},
    segment::Segment,
    shared::Counters,
    view::{Loc, Sought},
    walk::Position,
};
use crate::{Error, ErrorKind, Result};
use std::{collections::HashSet, io, sync::Arc, sync::atomic::Ordering};

/// The entries of a log up to a position. Eight bytes for each that an index holds.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) position: Position,
    base: Option<Arc<Segment>>,
    places: std::vec::IntoIter<Place>,
    /// Keys whose indexed state does not count any more.
    hiding: HashSet<u128>,
    /// Where their records stand, so that nobody misses one that cannot be read.
    hidden: HashSet<u64>,
    tail: std::vec::IntoIter<(u128, Loc)>,
}

impl Generation {
    /// Where the newest state of a key stands; `None` if it is absent.
    pub(super) fn find(&self, hash: u128) -> Result<Option<Loc>> {
        loop {
            // Not in the match: the lock of the view must not be held over a read.
            let sought = self.view().find(hash);
            let segment = match sought {
                Sought::Absent => return Ok(None),
                Sought::At(loc) => return Ok(Some(loc)),
                Sought::Indexed(segment) => segment,
            };
            match segment.locate(&*self.file, hash) {
                Ok(found) => return found.map_err(read_failed),
                Err(BadPage) => self.drop_index(&segment)?,
            }
        }
    }

    /// All entries as they are now.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        loop {
            let (base, position, (tail, hiding)) = {
                let view = self.view();
                (view.visible_base().cloned(), view.position(), view.tail_snapshot())
            };
            let (mut places, mut hidden) = (Vec::new(), HashSet::new());
            let marks: HashSet<Mark> = hiding.iter().map(|hash| Mark::of(*hash)).collect();
            if let Some(segment) = &base {
                places.reserve(usize::try_from(segment.summary().entries()).unwrap_or(0));
                let read = segment.for_each(&*self.file, |entry| {
                    places.push(entry.place);
                    if marks.contains(&entry.mark()) {
                        hidden.insert(entry.place.offset());
                    }
                });
                if read.is_err() {
                    self.drop_index(segment)?;
                    continue;
                }
                places.sort_unstable_by_key(|place| place.offset());
            }
            let (places, tail) = (places.into_iter(), tail.into_iter());
            return Ok(Snapshot { position, base, places, hiding, hidden, tail });
        }
    }

    /// Does without an index that has proved bad: reads the log from its beginning.
    pub(super) fn drop_index(&self, bad: &Arc<Segment>) -> Result<()> {
        self.read_anew(false, |view| view.segment().is_some_and(|segment| Arc::ptr_eq(segment, bad)))
    }
}

impl Snapshot {
    /// The next entry. One that an index names and that is not there is counted and passed over.
    pub(super) fn next(&mut self, generation: &Generation, counters: &Counters) -> Result<Option<(u128, Loc)>> {
        while let (Some(segment), Some(place)) = (&self.base, self.places.next()) {
            let look = || segment.loc_of(&*generation.file, place);
            // A read that fails once is no reason to miss an entry.
            match look().or_else(|_| look()) {
                Ok(Some((hash, _))) if self.hiding.contains(&hash) => {}
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) | Err(_) if self.hidden.contains(&place.offset()) => {}
                Ok(None) => _ = counters.unsound.fetch_add(1, Ordering::Relaxed),
                Err(error) => return Err(read_failed(error).with_offset(place.offset())),
            }
        }
        Ok(self.tail.next())
    }
}

pub(super) fn read_failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read an entry: {error}")).with_source(error)
}
