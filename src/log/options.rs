//! How a log is opened.

use super::{
    bookkeeping::Bookkeeping,
    clock::{Clock, SystemClock},
};
use std::{sync::Arc, time::Duration};

/// Bytes of the memory tier unless a program says otherwise.
pub(super) const MEMORY_TIER: u64 = 32 << 20;

/// What to do with a file in which acknowledged data has rotted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDamage {
    /// Writing fails with [`Damaged`](crate::ErrorKind::Damaged) until [`repair`](super::repair); reading goes on.
    #[default]
    Error,
    /// The file is renamed to `NAME.larder.damaged-N` and an empty one takes its place. Only files that are larder's
    /// own are ever put aside.
    Quarantine,
}

/// Settings of a [`Log`](super::Log) handle.
///
/// ```
/// use larder::log::{Log, Options};
/// let folder = tempfile::tempdir()?;
/// let log = Log::open(folder.path().join("cache.larder"), Options::new().fast_save(true))?;
/// log.put("key", "value")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each set by its name")]
pub struct Options {
    pub(super) fast_save: bool,
    pub(super) read_only: bool,
    pub(super) on_damage: OnDamage,
    pub(super) lock_timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) map_index: bool,
    pub(super) memory_tier: u64,
    pub(super) compress: bool,
    pub(super) max_size: Option<u64>,
    pub(super) bookkeeping: Option<Arc<dyn Bookkeeping>>,
}

impl Options {
    /// Durable writes, an error on damage, 5 seconds for the lock.
    #[must_use]
    pub fn new() -> Self {
        Self {
            fast_save: false,
            read_only: false,
            on_damage: OnDamage::default(),
            lock_timeout: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            map_index: true,
            memory_tier: MEMORY_TIER,
            compress: false,
            max_size: None,
            bookkeeping: None,
        }
    }

    /// Whether a write returns before it is on the medium. Default: no.
    ///
    /// With `fast_save` a write is safe from the end of the process (it is in the system's cache) and not from a
    /// power cut: that may take what was written since the last sync in the background, which comes at the latest
    /// after 5 seconds or 64 MiB, or since the last [`flush`](super::Log::flush). Each batch of that time is then there
    /// whole or not at all; nothing older is lost.
    #[must_use]
    pub fn fast_save(mut self, fast_save: bool) -> Self {
        self.fast_save = fast_save;
        self
    }

    /// What [`fast_save`](Self::fast_save) is set to.
    #[cfg(feature = "sqlite")]
    pub(crate) fn is_fast_save(&self) -> bool {
        self.fast_save
    }

    /// Whether the handle only reads. It then takes no lock and changes no byte, so that it works on a read-only
    /// file system and beside any writer; the file must exist. Default: no.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// What happens when acknowledged data has rotted. Default: [`OnDamage::Error`].
    #[must_use]
    pub fn on_damage(mut self, on_damage: OnDamage) -> Self {
        self.on_damage = on_damage;
        self
    }

    /// How long a write waits for other writers before it fails with [`Busy`](crate::ErrorKind::Busy).
    /// Default: 5 seconds.
    #[must_use]
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.lock_timeout = limit;
        self
    }

    /// Whether the index of a large file is mapped into memory, which saves a system call in each look-up, or read.
    /// Default: mapped.
    ///
    /// Values are never mapped. A mapped page that cannot be read ends the program (SIGBUS): when another program cuts
    /// the file short in place, as `cp` over it does, while a look-up is under way, and when the page lies on a bad
    /// sector. A program that must survive that has the index read. The first handle of a file in a
    /// process decides.
    #[must_use]
    pub fn map_index(mut self, map_index: bool) -> Self {
        self.map_index = map_index;
        self
    }

    /// Bytes of memory for records that are read often. Default: 32 MiB; 0 keeps none.
    ///
    /// What is read again is then not read from the file, nor verified, again. Each call still sees what other
    /// processes have written before it. A record takes its bytes, 512 more, and if it has a head 1 KiB and 8 times
    /// that head for its [`Memo`](super::Memo); it is kept if that is no more than an eighth of all and no more than 4
    /// MiB. Once seven eighths are taken, a record is kept when it is read for the second time with no more than about
    /// one other read for each KiB of the tier in between, and what was read once makes way before what was read again,
    /// so that going through the whole log takes nothing from what is read often. [`Log::iter`](super::Log::iter) reads
    /// past it, and so does whatever writes.
    ///
    /// All handles of a file in a process share it, those that write and those that only read each their own; the
    /// first handle decides. Bodies that are handed out share memory with it, and live on where it drops them.
    #[must_use]
    pub fn memory_tier(mut self, bytes: u64) -> Self {
        self.memory_tier = bytes;
        self
    }

    /// Whether bodies are compressed (zstd, level 3), where that saves at least an eighth of them. Default: no.
    ///
    /// It is tried for each body of 256 bytes or more, outside the lock; of a body that comes piece by piece the first
    /// MiB decides. A [`Staged`](super::Staged) body can be [excepted](super::Staged::as_it_is). Heads, keys, and what
    /// is there already stay as they are; handles that compress and handles that do not may use one file. Every
    /// build with the feature `zstd` reads compressed bodies, whatever this says; one without answers
    /// [`NotBuiltIn`](crate::ErrorKind::NotBuiltIn) for them, and for opening with `true`. The memory tier keeps
    /// bodies decoded. A [`Reader`](super::Reader) finds its way in a long body piece by piece.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Bytes that the file may take. Default: no limit.
    ///
    /// The file is never longer than this, 16 MiB, and one value (or batch) together. Once it is longer than `bytes`
    /// (of more than 256 MiB: than 15/16 of them), a compaction in the background drops what is dead and then values
    /// until 60 % of `bytes` are left: first those that nobody has read since the last time, in the order in which they
    /// were written, then those that were read, the longest ago first. The one written last goes only where it and
    /// what is no value together take over 8 MiB more than `bytes`. Aliases of a dropped value go with it. A writer
    /// that is faster than this waits for it, up to [`lock_timeout`](Self::lock_timeout), or does it itself. While a
    /// compaction runs there is a second file of up to the same length beside it.
    ///
    /// A value or batch longer than `bytes` is not stored: that is the error [`TooLarge`](crate::ErrorKind::TooLarge).
    /// `Full` means that nothing more can be dropped.
    ///
    /// What was read is noted in memory, and written down for other processes at each checkpoint, and at most once an
    /// hour when a handle is closed that has only read: with `max_size` alone, reading changes the file. Each process
    /// that writes to the file keeps to the limit that it was given; the first handle of a file in a process decides.
    #[must_use]
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// What knows the records of the layer above. The first handle of a file in a process decides.
    #[cfg_attr(not(any(feature = "session", test)), expect(dead_code, reason = "what has bookkeeping is the session"))]
    pub(crate) fn bookkeeping(mut self, bookkeeping: Arc<dyn Bookkeeping>) -> Self {
        self.bookkeeping = Some(bookkeeping);
        self
    }

    /// The clocks to use, for tests. Default: the system's. The first handle of a file in a process decides.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
