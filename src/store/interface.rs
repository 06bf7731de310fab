//! The contract of a store.

use crate::{
    Error, ErrorKind, Result,
    log::{Entry, Head, Staged, Times, Version, Write},
};
use bytes::Bytes;
use std::{fmt, io, ops::ControlFlow, path::Path};

/// Values and aliases under byte keys: what a [`Cache`](crate::Cache) needs of the place where it stores.
///
/// A store knows neither HTTP nor expiry: it keeps what it is given until it is told otherwise, or until the
/// entry's `drop_after_ms` has passed and the store is compacted. It is shared between threads and, if it outlives the
/// process, between processes.
///
/// Laws:
/// * What [`commit`](Store::commit) acknowledged is read by every later call, and survives whatever the store
///   promises to survive.
/// * A batch is seen whole or not at all, where [`is_atomic`](Store::is_atomic) promises it; elsewhere that is so for
///   each key alone, and a crash or a conflict may leave a part, which the same batch completes when it is tried again.
/// * An alias leads to the key that it names for as long as that key is there without interruption. Overwriting the
///   key keeps its aliases; once it is deleted they are absent for good, even if the key comes back. An alias of a
///   key that is not there yet leads to it once it is.
/// * A version changes with each write to its key, and never comes back.
/// * An entry that cannot be read, because the medium is damaged, is an error or absent, never other bytes.
pub trait Store: fmt::Debug + Send + Sync {
    /// The value or alias under a key, itself: aliases are not followed. `None` if absent, or if an alias leads to
    /// nothing.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>>;

    /// The same without the body.
    ///
    /// # Errors
    /// As [`entry`](Store::entry).
    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        Ok(self.entry(key)?.map(|entry| Head::of(&entry)))
    }

    /// Begins several reads that belong together, such as those for one request.
    ///
    /// They see at least what was acknowledged before this call; so a store that has to look whether others have
    /// written looks once for all of them. `ahead` are keys whose entries will probably be read, for a store that can
    /// read them together; another need not ask for them. What is stored meanwhile may be seen by some of the reads and
    /// not by others.
    ///
    /// The store is free for other calls as long as the reads are there: they hold no lock.
    ///
    /// The default reads one by one.
    ///
    /// # Errors
    /// As [`entry`](Store::entry).
    fn reads(&self, ahead: Ahead<'_>) -> Result<Box<dyn Reads + '_>> {
        let _ = ahead;
        Ok(Box::new(OneByOne(self)))
    }

    /// Applies a batch, in order: all of it or nothing.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if an [`Expect`](Write::Expect) does not hold: read again and retry.
    /// [`Full`](crate::ErrorKind::Full), [`ReadOnly`](crate::ErrorKind::ReadOnly) and others as they apply. After
    /// an error nothing of the batch is stored.
    fn commit(&self, writes: Vec<Write>) -> Result<()>;

    /// Whether batches of several keys are seen whole or not at all by other threads and processes, and after a crash.
    /// Default: yes.
    fn is_atomic(&self) -> bool {
        true
    }

    /// Replaces the head and the times of a value, or of an alias, and leaves its body as it is.
    ///
    /// The default writes the body again.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if the key is not in the state `expected`; else as
    /// [`commit`](Store::commit).
    fn update_head(&self, key: &[u8], expected: Version, head: Bytes, times: Times) -> Result<()> {
        let Some(entry) = self.entry(key)?.filter(|entry| entry.version == expected) else {
            return Err(Error::new(ErrorKind::Conflict, "the entry has changed; read it again and retry"));
        };
        let key = Bytes::copy_from_slice(key);
        let write = match entry.alias_to {
            Some(to) => Write::Alias { key: key.clone(), to, head, times },
            None => Write::Put { key: key.clone(), head, body: entry.body, times, aux: false },
        };
        self.commit(vec![Write::Expect { key, version: Some(expected) }, write])
    }

    /// Begins a body that comes piece by piece.
    ///
    /// The default keeps it in memory, where [`Staged::as_bytes`] has it. Such a body comes to
    /// [`commit`](Store::commit) as a [`Put`](Write::Put): only a store that overrides this sees a
    /// [`PutStaged`](Write::PutStaged), which [`Write::put_staged`] makes of any other.
    ///
    /// # Errors
    /// As [`commit`](Store::commit).
    fn stage(&self) -> Result<Box<dyn Stage>> {
        Ok(Box::new(InMemory(Vec::new())))
    }

    /// Whether [`commit`](Store::commit) compresses bodies, and takes a [`PutStaged`](Write::PutStaged) with a body in
    /// memory that is [to stay as it is](Staged::as_it_is). The default says no.
    fn compresses(&self) -> bool {
        false
    }

    /// Opens the body of the value under a key, to be read piece by piece, if the value is still of this version;
    /// `None` if it has been written or deleted since, or cannot be read. Aliases are not followed.
    ///
    /// All of it is read from that version, whatever is written while it is read.
    ///
    /// The default reads it whole.
    ///
    /// # Errors
    /// As [`entry`](Store::entry).
    fn reader(&self, key: &[u8], version: Version) -> Result<Option<Box<dyn BodyReader>>> {
        let entry = self.entry(key)?.filter(|entry| entry.alias_to.is_none() && entry.version == version);
        Ok(entry.map(|entry| Box::new(io::Cursor::new(entry.body)) as Box<dyn BodyReader>))
    }

    /// Calls `each` with the key and head of every value until it breaks: no aliases, no bookkeeping (`aux`).
    ///
    /// No lock is held meanwhile, so `each` may use the store. What is written during the visit may or may not be
    /// seen.
    ///
    /// # Errors
    /// Whatever keeps the store from answering, and any error of `each`.
    fn visit(&self, each: Visitor<'_>) -> Result<()>;

    /// Calls `each` with the key of every alias that is not found by way of the records that a cache keeps: for stores
    /// that other programs fill. Default: there are none.
    ///
    /// # Errors
    /// As [`visit`](Store::visit).
    fn visit_aliases(&self, each: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>) -> Result<()> {
        let _ = each;
        Ok(())
    }

    /// How many values [`visit`](Store::visit) would see.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    fn len(&self) -> Result<u64>;

    /// Whether there are no values.
    ///
    /// # Errors
    /// As [`len`](Store::len).
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Removes everything, bookkeeping included.
    ///
    /// # Errors
    /// As [`commit`](Store::commit).
    fn clear(&self) -> Result<()>;

    /// Gives back the space of what was deleted or replaced.
    ///
    /// # Errors
    /// As [`commit`](Store::commit).
    fn compact(&self) -> Result<()>;

    /// Waits until everything acknowledged is as safe as the store can make it.
    ///
    /// # Errors
    /// As [`commit`](Store::commit).
    fn flush(&self) -> Result<()>;

    /// Counts and sizes.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    fn stats(&self) -> Result<StoreStats>;

    /// The file, if there is one.
    fn location(&self) -> Option<&Path>;

    /// How many reads have met an entry that failed its checksum, and was taken as absent. Default: the store does not
    /// know.
    fn unsound_reads(&self) -> u64 {
        0
    }
}

/// Keys that will probably be read; each is made when it is asked for.
pub type Ahead<'a> = &'a mut dyn Iterator<Item = Bytes>;

/// Reads that belong together: [`Store::reads`].
pub trait Reads {
    /// As [`Store::entry`].
    ///
    /// # Errors
    /// As [`Store::entry`].
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>>;

    /// As [`Store::head`].
    ///
    /// # Errors
    /// As [`Store::entry`].
    fn head(&self, key: &[u8]) -> Result<Option<Head>>;
}

/// The reads of a store that gains nothing by knowing that they belong together.
struct OneByOne<'a, S: ?Sized>(&'a S);

impl<S: Store + ?Sized> Reads for OneByOne<'_, S> {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.0.entry(key)
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        self.0.head(key)
    }
}

/// A body in the making: [`Store::stage`]. Dropped before it is stored, it leaves nothing that can be read.
pub trait Stage: io::Write + Send {
    /// Ends the body.
    ///
    /// # Errors
    /// As [`Store::commit`].
    fn finish(self: Box<Self>) -> Result<Staged>;
}

/// A stored body that is read piece by piece: [`Store::reader`].
pub trait BodyReader: io::Read + io::Seek + Send {}

impl<R: io::Read + io::Seek + Send> BodyReader for R {}

/// A body that a store without pieces keeps in memory.
struct InMemory(Vec<u8>);

impl io::Write for InMemory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stage for InMemory {
    fn finish(self: Box<Self>) -> Result<Staged> {
        Ok(Staged::from_bytes(self.0.into()))
    }
}

/// What [`Store::visit`] calls with each key and head.
pub type Visitor<'a> = &'a mut (dyn FnMut(&[u8], Head) -> Result<ControlFlow<()>> + 'a);

/// What a store says about itself. A store that does not know a number says 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// Values, without aliases and bookkeeping.
    pub entries: u64,
    /// Bytes that are in use.
    pub live_bytes: u64,
    /// Bytes that a compaction would give back.
    pub dead_bytes: u64,
    /// The size of the file.
    pub file_bytes: u64,
    /// Values that were dropped to keep within a limit.
    pub evictions: u64,
}

impl StoreStats {
    /// Makes the numbers, for implementers of stores.
    #[must_use]
    pub fn new(entries: u64, live_bytes: u64, dead_bytes: u64, file_bytes: u64) -> Self {
        Self { entries, live_bytes, dead_bytes, file_bytes, evictions: 0 }
    }

    /// The same, of a store that drops values by itself.
    #[must_use]
    pub fn with_evictions(self, evictions: u64) -> Self {
        Self { evictions, ..self }
    }
}
