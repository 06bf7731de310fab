//! [`Log`]: the engine as its users see it.

use super::{
    append::{Draft, Payload, Step},
    batch::Batch,
    check::{CheckReport, check},
    codec,
    compact::Keep,
    entry::{Entry, Head, Times, Write},
    env::Env,
    iter::Iter,
    lock::WriteGuard,
    options::Options,
    read::{Source, Want},
    reads::Reads,
    shared::{Settings, Shared},
    stats::Stats,
};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

/// An append-only, log-structured map from keys to values in one file.
///
/// A value is a small *head* (up to 1 MiB), a *body* (up to 4 GiB), and two [`Times`]. A key (1 byte to 64 KiB) leads
/// to a value, or as an *alias* to another key. Every write is one atomic batch. Reads take no lock and verify a
/// checksum; writers of all threads and processes take turns, and wait for each other no longer than
/// [`Options::lock_timeout`].
///
/// A write that has returned survives a power cut, unless the handle was opened with [`Options::fast_save`]. After a
/// crash the file holds every such write, and of the later ones whole batches or nothing.
///
/// Handles are cheap to clone; all handles of one file in a process share one state. A forked child may go on using
/// its handles. The file must lie on a local file system.
///
/// ```
/// use larder::log::{Log, Options};
/// let folder = tempfile::tempdir()?;
/// let log = Log::open(folder.path().join("cache.larder"), Options::new())?;
/// log.put("apple", "red")?;
/// log.alias("fruit", "apple")?;
/// assert_eq!(log.get("fruit")?.as_deref(), Some(&b"red"[..]));
/// log.delete("apple")?;
/// assert_eq!(log.get("fruit")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Log {
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
}

impl Log {
    /// Opens a log, and creates it if there is none (mode 0600; its folder must exist).
    ///
    /// A file of length 0 is taken over. Opening changes nothing. It reads what was written since the last index, and a
    /// file without one, as small files are, from end to end.
    ///
    /// # Errors
    /// `NotALarder` for a file of another kind, `NewerFormat` for one of a newer version, `Damaged` for a rotten file
    /// header (see [`Options::on_damage`] and [`repair`](super::repair)); none of them is touched. `Busy` if another
    /// process is creating the file and does not finish in time. `Io`, `ReadOnly` or `Full` as the system answers.
    #[expect(clippy::needless_pass_by_value, reason = "options are made for one handle and read better without `&`")]
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let env = Env { clock: Arc::clone(&options.clock), map_index: options.map_index, ..Env::default() };
        Self::open_in(env, path.as_ref(), &options)
    }

    /// Opens a log in other surroundings.
    pub(crate) fn open_in(env: Env, path: &Path, options: &Options) -> Result<Self> {
        if options.compress && !codec::BUILT_IN {
            let message = "this build cannot compress; build larder with the feature `zstd`, or leave `compress` out";
            return Err(Error::new(ErrorKind::NotBuiltIn, message).with_path(path));
        }
        let (memory_tier, max_size) = (options.memory_tier, options.max_size);
        let env = Env { memory_tier, max_size, bookkeeping: options.bookkeeping.clone(), ..env };
        let settings = Settings {
            fast_save: options.fast_save,
            on_damage: options.on_damage,
            lock_timeout: options.lock_timeout,
            compress: options.compress,
        };
        let shared = Shared::open(env, path, !options.read_only, &settings)?;
        Ok(Self { shared, settings })
    }

    /// The path of the file, symbolic links followed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Stores a value with an empty head, created now and never dropped.
    ///
    /// # Errors
    /// `InvalidInput` or `TooLarge` for a key or value out of range or longer than [`Options::max_size`], `Busy` if the
    /// lock is not free in time, `Full` if less than 64 KiB would be left on the disk, `ReadOnly`, `Damaged` or
    /// `NewerFormat` for a file that must not be written to, `Poisoned` after an earlier failed sync, `Io`. After
    /// `Full`, `Busy`, `TooLarge` and `InvalidInput` nothing was stored; after a failed sync (`Io`; `Poisoned` for others
    /// who waited for the same sync) the value is there and may or may not survive a power cut.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_parts(key, [], value, self.now())
    }

    /// Stores a value with its head and times.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_parts(
        &self,
        key: impl AsRef<[u8]>,
        head: impl AsRef<[u8]>,
        body: impl AsRef<[u8]>,
        times: Times,
    ) -> Result<()> {
        let (key, head, body) = (key.as_ref(), head.as_ref(), body.as_ref());
        self.shared.check_size((key.len() + head.len() + body.len()) as u64)?;
        if self.is_long(key, head, body) {
            return self.put_long(key, head, body, times);
        }
        self.run(vec![Step::Write(Draft::put(key, head, self.payload(body), times, false)?)])
    }

    /// The body of the value that a key leads to.
    ///
    /// An alias is followed over at most 8 hops. A record that fails its checksum is not there (and is counted in
    /// [`Stats::unsound_reads`]): never wrong data.
    ///
    /// # Errors
    /// `Io` if the disk fails, `NotBuiltIn` for a value compressed in a way that this build does not know.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        let generation = self.shared.current()?;
        let counters = &self.shared.counters;
        let read = generation.resolve(key.as_ref(), Want::Body, Source::Tier, counters)?;
        let counter = if read.is_some() { &counters.hits } else { &counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(read.map(|read| read.body))
    }

    /// The head of the value that a key leads to, without reading its body.
    ///
    /// An alias that was made with a head of its own answers with that, and its version is the alias's.
    ///
    /// # Errors
    /// `Io` if the disk fails.
    pub fn head(&self, key: impl AsRef<[u8]>) -> Result<Option<Head>> {
        let generation = self.shared.current()?;
        let own = generation.read_own(key.as_ref(), Want::Head, Source::Tier, &self.shared.counters)?;
        let Some(own) = own.map(|read| read.into_head(&generation)) else { return Ok(None) };
        if own.alias_to.is_none() {
            return Ok(Some(own));
        }
        let Some(value) = generation.resolve(key.as_ref(), Want::Head, Source::Tier, &self.shared.counters)? else {
            return Ok(None);
        };
        let value = value.into_head(&generation);
        let (head, times) = if own.head.is_empty() { (value.head, value.times) } else { (own.head, own.times) };
        Ok(Some(Head { head, times, body_len: value.body_len, version: own.version, alias_to: own.alias_to }))
    }

    /// The entry of a key itself: a value, or an alias that is not followed. An alias whose target is gone is not
    /// there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.reads()?.entry(key.as_ref())
    }

    /// Reads that look once, now, for what other processes have written.
    pub(crate) fn reads(&self) -> Result<Reads<'_>> {
        Ok(Reads { generation: self.shared.current()?, counters: &self.shared.counters })
    }

    /// Makes a key lead to another.
    ///
    /// The alias follows its target when that is overwritten, and is gone when that is deleted, even if the target is
    /// stored again. An alias of a key that is not there yet leads to it once it is.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn alias(&self, new: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
        self.alias_with(new, to, [], self.now())
    }

    /// Makes a key lead to another, with a head and times of its own.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn alias_with(
        &self,
        new: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
        head: impl AsRef<[u8]>,
        times: Times,
    ) -> Result<()> {
        let draft = Draft::alias(new.as_ref(), to.as_ref(), head.as_ref(), times)?;
        self.run(vec![Step::Write(draft)])
    }

    /// Removes a key, and says whether it was there. Its aliases lead nowhere from then on.
    ///
    /// # Errors
    /// As [`put`](Self::put), but for `Full`: deleting may use the space that other writes leave free.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        let draft = Draft::delete(key)?;
        // Deleting needs no room that deleting could not give back.
        let guard = match self.shared.lock_to_append(&self.settings, 0) {
            Err(error) if matches!(error.kind(), ErrorKind::Full) => self.shared.lock(&self.settings)?,
            locked => locked?,
        };
        // An entry that cannot be read is there, and is best removed.
        let found = guard.generation.resolve(key, Want::Head, Source::Disk, &self.shared.counters);
        let there = found.map_or(true, |read| read.is_some());
        let ticket = self.shared.apply_locked(&guard, vec![Step::Write(draft)], &self.settings)?;
        self.acknowledge(guard, ticket)?;
        Ok(there)
    }

    /// A batch of writes, to be applied whole or not at all.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Applies a batch of writes whole or not at all.
    ///
    /// Of a batch that is longer than 8 MiB, the longest bodies go out ahead, piece by piece, so that other writers
    /// need not wait for all of it; only keys, heads and bodies below 1 KiB that are longer than that together do.
    ///
    /// # Errors
    /// `Conflict` if a [`Write::Expect`] fails; else as [`put`](Self::put). After an error nothing of it is stored,
    /// except after a failed sync, when all of it may be.
    pub fn apply(&self, writes: &[Write]) -> Result<()> {
        self.shared.check_size(writes.iter().map(Write::weight).sum())?;
        if self.needs_chunks(writes) {
            return self.apply_with_chunks(writes);
        }
        self.run(writes.iter().map(|write| Step::of(write, self.payload_of(write))).collect::<Result<_>>()?)
    }

    /// Whether this handle compresses bodies; see [`Options::compress`].
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.settings.compress
    }

    /// A body as it is to be stored inline.
    pub(super) fn payload<'a>(&self, body: &'a [u8]) -> Payload<'a> {
        let frame = self.settings.compress.then(|| codec::encode(body)).flatten();
        frame.map_or(Payload::AsIs(body), |frame| Payload::Frame { frame, raw_len: body.len() as u64 })
    }

    /// The same for the body of a write, if it has one in memory.
    pub(super) fn payload_of<'a>(&self, write: &'a Write) -> Payload<'a> {
        match write {
            Write::Put { body, .. } => self.payload(body),
            Write::PutStaged { body, .. } => match body.as_bytes() {
                Some(bytes) if !body.is_to_stay() => self.payload(bytes),
                bytes => Payload::AsIs(bytes.map(|bytes| &bytes[..]).unwrap_or_default()),
            },
            _ => Payload::AsIs(&[]),
        }
    }

    /// Whether a key leads to a value.
    ///
    /// # Errors
    /// `Io` if the disk fails.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let generation = self.shared.current()?;
        Ok(generation.resolve(key.as_ref(), Want::Head, Source::Tier, &self.shared.counters)?.is_some())
    }

    /// How many values there are; aliases do not count.
    ///
    /// # Errors
    /// `Io` if the disk fails.
    pub fn len(&self) -> Result<u64> {
        Ok(self.shared.current()?.view().values())
    }

    /// Whether there are no values.
    ///
    /// # Errors
    /// `Io` if the disk fails.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// All values with their heads, in the order in which they were last written; aliases are not listed.
    ///
    /// It lists what was there when it began, whatever is written meanwhile.
    #[must_use]
    pub fn iter(&self) -> Iter {
        Iter::new(Arc::clone(&self.shared))
    }

    /// Removes everything. Costs one append, whatever the size. The space comes back before it returns if the file is
    /// no larger than 16 MiB and the disk allows; else a compaction follows in a thread of its own, or at
    /// [`close`](Self::close).
    ///
    /// # Errors
    /// As [`put`](Self::put); on a full disk an empty file takes the place of the full one.
    pub fn clear(&self) -> Result<()> {
        match self.append_clear() {
            Err(error) if error.kind() == ErrorKind::Full => {
                return self.shared.compact(Keep::Nothing, &self.settings);
            }
            result => result?,
        }
        if self.shared.compaction_is_due(&self.shared.generation()) && self.shared.env.background {
            // Giving back the space of a large file takes a while.
            self.shared.start_background();
            self.shared.wake_background();
        } else {
            // The entries are gone; that the space comes back too is worth a try and no error.
            let _ = self.shared.compact(Keep::Live, &self.settings);
        }
        Ok(())
    }

    /// Rewrites the file without what is dead: overwritten, deleted or past its time to be dropped.
    ///
    /// This happens by itself, in a thread of its own or when the log is closed, once more than 16 MiB and more than
    /// half of the file are dead; calling it is for those who want the space at once. Here the caller's thread does the
    /// work; readers and writers go on meanwhile, writers pause for the last MiB. Needs free space for what lives. A
    /// crash at any moment leaves the old file or the new one, whole. It also heals a poisoned handle. Mode and owner
    /// stay; hard links keep the old file.
    ///
    /// # Errors
    /// `Full`, `Busy` (another compaction), `NotALarder` if something that is not larder's stands at
    /// `NAME.larder.new`; else as [`put`](Self::put).
    pub fn compact(&self) -> Result<()> {
        self.shared.compact(Keep::Live, &self.settings)
    }

    /// Writes an index of the log as it is now, so that opening it reads only what comes after.
    ///
    /// This happens by itself, in a thread of its own once more than 16 MiB and more than twice the size of the last
    /// index were written (with `fast_save` along with its sync, after 64 MiB or 5 seconds), and when the log is closed
    /// after more than 1 MiB with more than 1,024 keys. The index takes
    /// about 24 bytes for each entry; a compaction drops older ones. Everything written before is durable when this
    /// returns. A crash meanwhile leaves the file as it was, or with an index that is not used.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn checkpoint(&self) -> Result<()> {
        self.shared.checkpoint(&self.settings)
    }

    /// Returns once everything that was written, with `fast_save` too, is on the medium.
    ///
    /// # Errors
    /// `Poisoned` after an earlier failed sync; `Io`.
    pub fn flush(&self) -> Result<()> {
        self.shared.flush()
    }

    /// Reads the whole file and verifies every checksum.
    ///
    /// # Errors
    /// `Io` if the disk fails. Damage is no error here: the report lists it.
    pub fn check(&self) -> Result<CheckReport> {
        check(&*self.shared.current()?, self.path())
    }

    /// Sizes and counts.
    ///
    /// # Errors
    /// `Io` if the disk fails.
    pub fn stats(&self) -> Result<Stats> {
        Stats::of(&self.shared)
    }

    /// What [`Stats::unsound_reads`] counts, alone.
    #[cfg(feature = "session")]
    pub(crate) fn unsound_reads(&self) -> u64 {
        self.shared.counters.unsound.load(Ordering::Relaxed)
    }

    /// Files that this process had to put aside because they were damaged; see [`Options::on_damage`].
    #[must_use]
    pub fn quarantined(&self) -> Vec<PathBuf> {
        self.shared.quarantined()
    }

    /// Makes everything durable and notes in the file how far it is; compacts it first if that is due and copies no
    /// more than 64 MiB, or else writes an [index](Self::checkpoint) if much has come since the last. Dropping the last
    /// handle does the same, without anyone to tell of an error.
    ///
    /// # Errors
    /// `Poisoned` after an earlier failed sync; `Io`; `Busy`.
    pub fn close(self) -> Result<()> {
        self.shared.close(&self.settings)
    }

    /// Does the work of the background thread that is due now.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn tick(&self) -> Result<()> {
        self.shared.tick()
    }

    /// Times of an entry that is made now and never dropped.
    pub(super) fn now(&self) -> Times {
        Times::kept(self.shared.env.clock.wall_ms())
    }

    /// Without the background compaction that a clear makes due: the caller compacts.
    pub(super) fn append_clear(&self) -> Result<()> {
        if self.settings.fast_save {
            self.shared.start_background();
        }
        let guard = self.shared.lock(&self.settings)?;
        let ticket = self.shared.apply_locked(&guard, vec![Step::Write(Draft::clear())], &self.settings)?;
        self.shared.acknowledge(guard, ticket, &self.settings)
    }

    fn run(&self, steps: Vec<Step<'_>>) -> Result<()> {
        let (guard, ticket) = self.append(steps)?;
        self.acknowledge(guard, ticket)
    }

    fn append(&self, steps: Vec<Step<'_>>) -> Result<(WriteGuard, Option<u64>)> {
        let guard = self.shared.lock_to_append(&self.settings, 0)?;
        let ticket = self.shared.apply_locked(&guard, steps, &self.settings)?;
        Ok((guard, ticket))
    }

    pub(super) fn acknowledge(&self, guard: WriteGuard, ticket: Option<u64>) -> Result<()> {
        let due = self.shared.compaction_is_due(&guard.generation) || self.shared.checkpoint_is_due(&guard.generation);
        if (due || self.settings.fast_save) && !guard.generation.has_background.swap(true, Ordering::Relaxed) {
            self.shared.start_background();
        }
        let acknowledged = self.shared.acknowledge(guard, ticket, &self.settings);
        if due {
            self.shared.wake_background();
        }
        acknowledged
    }
}

/// The path and the number of values: nothing that is secret or long.
impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.shared.generation().view().values();
        f.debug_struct("Log").field("path", &self.shared.path).field("values", &values).finish_non_exhaustive()
    }
}

impl IntoIterator for &Log {
    type Item = Result<(Vec<u8>, Head)>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}
