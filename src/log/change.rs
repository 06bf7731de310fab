//! Writes that depend on what is there: an entry read, changed and written, and a head replaced.

use super::{
    append::{Draft, Payload, Step, check_head, check_key},
    entry::{Entry, Times, Version, Write},
    fields::crc32,
    generation::Generation,
    handle::Log,
    layout::CODEC_RAW,
    plant::{Bug, planted},
    read::{Read, Source, Want},
    record::{Extent, RecordHeader},
    view::Role,
};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::path::Path;

/// What [`Log::update`] does with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Leaves it as it is.
    Keep,
    /// Removes it.
    Delete,
    /// Stores a value in its place.
    Put {
        /// The small part, up to 1 MiB.
        head: Vec<u8>,
        /// The large part.
        body: Vec<u8>,
        /// When it was made and may be dropped.
        times: Times,
    },
}

impl Log {
    /// Reads an entry, decides, and writes, with no other write in between.
    ///
    /// The closure gets the value that the key leads to, whole, and runs under the writer lock: it must be short, and
    /// must not write to the log.
    ///
    /// A value of more than 8 MiB that it puts is written piece by piece, between which others may write. If one of
    /// them changes what the closure has seen, the update fails and changes nothing.
    ///
    /// # Errors
    /// `Conflict` as just said; else as [`put`](Self::put).
    pub fn update(&self, key: impl AsRef<[u8]>, change: impl FnOnce(Option<Entry>) -> Change) -> Result<()> {
        let key = key.as_ref();
        check_key(key)?;
        let guard = self.shared.lock_to_append(&self.settings, 0)?;
        let current = guard.generation.resolve(key, Want::Body, Source::Disk, &self.shared.counters)?;
        // What was bookkeeping stays bookkeeping.
        let aux = current.as_ref().is_some_and(|read| read.header.aux() && read.key == key);
        let seen = current.clone();
        let (head, body, times) = match change(current.map(|read| read.into_entry(&guard.generation))) {
            Change::Keep => return Ok(()),
            Change::Delete => {
                let ticket =
                    self.shared.apply_locked(&guard, vec![Step::Write(Draft::delete(key)?)], &self.settings)?;
                return self.acknowledge(guard, ticket);
            }
            Change::Put { head, body, times } => (head, body, times),
        };
        self.shared.check_size((key.len() + head.len() + body.len()) as u64)?;
        if self.is_long(key, &head, &body) && !body.is_empty() {
            check_head(&head)?;
            let seen = seen.map(|read| Seen::of(&read, &guard.generation));
            drop(guard);
            let (key, head) = (Bytes::copy_from_slice(key), Bytes::from(head));
            return self.replace_long(seen.as_ref(), key, head, body, times, aux);
        }
        let draft = Draft::put(key, &head, self.payload(&body), times, aux)?;
        let ticket = self.shared.apply_locked(&guard, vec![Step::Write(draft)], &self.settings)?;
        self.acknowledge(guard, ticket)
    }

    /// Puts a long value in the place of what was seen, if that is still there.
    fn replace_long(
        &self,
        seen: Option<&Seen>,
        key: Bytes,
        head: Bytes,
        body: Vec<u8>,
        times: Times,
        aux: bool,
    ) -> Result<()> {
        let staged = self.stage_whole(&body)?;
        drop(body);
        let (guard, tables) = self.lock_with(&[&staged])?;
        let now = guard.generation.resolve(&key, Want::Head, Source::Disk, &self.shared.counters)?;
        let same = match (seen, now) {
            (None, None) => true,
            (Some(seen), Some(now)) => self.is_same(seen, &key, &now, &guard.generation)?,
            _ => false,
        };
        if !same {
            let message = "the entry has changed while its long value was written; read it again and retry";
            return Err(Error::new(ErrorKind::Conflict, message).with_path(self.path()));
        }
        let put = Write::PutStaged { key, head, body: staged, times, aux };
        let table = tables.into_iter().next().flatten();
        let step = Step::of(&put, table.map_or(Payload::AsIs(&[]), Payload::Chunks))?;
        let ticket = self.shared.apply_locked(&guard, vec![step], &self.settings)?;
        self.acknowledge(guard, ticket)
    }

    /// Whether a value is the one that was seen; a compaction may have moved it.
    fn is_same(&self, seen: &Seen, key: &[u8], now: &Read, generation: &Generation) -> Result<bool> {
        if generation.version(&now.loc) == seen.version {
            return Ok(true);
        }
        if generation.header.file_id == seen.file_id {
            return Ok(false);
        }
        let whole = generation.resolve(key, Want::Body, Source::Disk, &self.shared.counters)?;
        Ok(whole.is_some_and(|whole| Seen::of(&whole, generation).content == seen.content))
    }

    /// Replaces the head and the times of an entry and leaves its body where it is, however large.
    ///
    /// Of an alias it replaces the alias's own head. With `fast_save` it may wait for a sync, if the body was written
    /// a moment ago: the new record must not reach the medium without the body that it points at.
    ///
    /// # Errors
    /// `Conflict` if the entry is no longer in the version expected; else as [`put`](Self::put).
    pub fn update_head(
        &self,
        key: impl AsRef<[u8]>,
        expected: Version,
        head: impl AsRef<[u8]>,
        times: Times,
    ) -> Result<()> {
        let (key, head) = (key.as_ref(), head.as_ref());
        check_key(key)?;
        let guard = self.shared.lock_to_append(&self.settings, 0)?;
        let expect = Step::Expect(key, Some(expected));
        let own = guard.generation.read_own(key, Want::Head, Source::Disk, &self.shared.counters)?;
        let Some(own) = own else {
            return Err(gone(self.path()));
        };
        let table = if own.loc.role == Role::Alias {
            None
        } else {
            let extents = guard.generation.extents_of(&own, &self.shared.counters)?;
            let Some(extents) = extents else { return Err(gone(self.path())) };
            Some(extents.iter().flat_map(Extent::encode).collect::<Vec<_>>())
        };
        if table.as_ref().is_some_and(|table| !table.is_empty()) {
            // A crash could keep the new record and lose the old one's body, which would leave neither value.
            let body_end = own.loc.offset + own.loc.len;
            guard.generation.wait_until_synced(body_end, &*self.shared.env.disk, self.path())?;
        }
        let draft = match &table {
            Some(table) if table.is_empty() => Draft::put(key, head, Payload::AsIs(&[]), times, own.header.aux())?,
            Some(table) if planted(Bug::HeadForgetsCodec) => {
                Draft::repointed(&RecordHeader { codec: CODEC_RAW, ..own.header }, key, head, table, times)?
            }
            Some(table) => Draft::repointed(&own.header, key, head, table, times)?,
            None => Draft::alias(key, &own.body, head, times)?,
        };
        let ticket = self.shared.apply_locked(&guard, vec![expect, Step::Write(draft)], &self.settings)?;
        self.acknowledge(guard, ticket)
    }
}

/// What a value was when somebody read it.
#[derive(Debug)]
struct Seen {
    file_id: u64,
    version: Version,
    /// Incarnation, times, and checksums of key with head and of the body.
    content: (u64, Times, u32, u32),
}

impl Seen {
    fn of(read: &Read, generation: &Generation) -> Self {
        let content = (read.loc.incarnation, read.times(), read.header.head_crc, crc32(&[&read.body]));
        Self { file_id: generation.header.file_id, version: generation.version(&read.loc), content }
    }
}

fn gone(path: &Path) -> Error {
    Error::new(ErrorKind::Conflict, "the entry is gone since it was read").with_path(path)
}
