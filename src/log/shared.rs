//! The state that all handles of one file in one process share: which generation is current, and how to get the next.

use super::{
    clock::Clock,
    disk::Stat,
    env::Env,
    generation::{CaughtUp, Generation, folder_of, names},
    lock::WriteGuard,
    open::{open_generation, set_aside},
    plant::{Bug, planted},
    sync::{AtomicU64, Mutex, RwLock},
    usage::Usage,
};
use crate::{Error, ErrorKind, Result};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, PoisonError, Weak, atomic::Ordering},
    thread::Thread,
    time::Duration,
};

pub(super) use super::options::OnDamage;

/// How often a reader looks whether the path has come to name another file.
const PATH_CHECK_MS: u64 = 1000;

/// What a handle asks of the shared state, apart from where the file is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) fast_save: bool,
    pub(super) on_damage: OnDamage,
    pub(super) lock_timeout: Duration,
    pub(super) compress: bool,
}

impl Settings {
    /// For what is done on behalf of a reader, who never puts a file aside.
    pub(super) const READING: Self =
        Self { fast_save: false, on_damage: OnDamage::Error, lock_timeout: Duration::from_secs(5), compress: false };
}

/// One file of one process.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) path: PathBuf,
    writable: bool,
    generation: RwLock<Arc<Generation>>,
    path_checked_ms: AtomicU64,
    /// When a compaction that failed may be tried again, in monotonic milliseconds.
    pub(super) compact_not_before_ms: AtomicU64,
    /// The same for an index.
    pub(super) checkpoint_not_before_ms: AtomicU64,
    /// Bytes that may be written before the free space is asked for again.
    pub(super) space: Mutex<u64>,
    /// Held by whoever opens the next generation, so that readers can go on with this one meanwhile.
    pub(super) reopening: Mutex<()>,
    /// The thread for work in the background, once one was wanted, and the process that started it.
    pub(super) background: Mutex<Option<(u32, Thread)>>,
    pub(super) counters: Counters,
    quarantined: Mutex<Vec<PathBuf>>,
    /// Wall and monotonic time at the opening, to notice a wall clock that jumps.
    pub(super) opened_at: (i64, Duration),
}

/// What readers met.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    /// Records that came from memory.
    pub(super) tier_hits: AtomicU64,
    /// Records that failed a checksum when they were read.
    pub(super) unsound: AtomicU64,
    /// Values that had to go since the file was as large as it may be.
    pub(super) evicted: AtomicU64,
    /// Which ones, for the simulation.
    #[cfg(any(test, fuzzing))]
    pub(super) evicted_hashes: Arc<Mutex<Vec<u128>>>,
    /// What was read, where there is a limit.
    pub(super) usage: Option<Usage>,
}

/// Locked as long as the file of one path is being opened.
type Cell = Arc<std::sync::Mutex<Weak<Shared>>>;
type Registry = std::sync::Mutex<HashMap<(PathBuf, bool), Cell>>;

impl Shared {
    /// The state of a file: the one that another handle of this process has open, or a new one.
    pub(super) fn open(env: Env, path: &Path, writable: bool, settings: &Settings) -> Result<Arc<Self>> {
        let path =
            env.disk.resolve(path).map_err(|error| Error::io("open the cache's folder", folder_of(path), error))?;
        if !env.shared {
            return Ok(Arc::new(Self::start(env, path, writable, settings)?));
        }
        let cell = cell_of(&path, writable);
        let mut known = cell.lock().unwrap_or_else(PoisonError::into_inner);
        // A forked child has its parent's registry, and must not share its parent's open file.
        if let Some(shared) = known.upgrade().filter(|shared| shared.generation().pid == (env.pid)()) {
            // The path may have come to name another file since that handle was opened.
            shared.reopen(settings)?;
            return Ok(shared);
        }
        let shared = Arc::new(Self::start(env, path, writable, settings)?);
        *known = Arc::downgrade(&shared);
        Ok(shared)
    }

    fn start(env: Env, path: PathBuf, writable: bool, settings: &Settings) -> Result<Self> {
        let (generation, aside) = open_generation(&env, &path, writable, writable, settings)?;
        let opened_at = (env.clock.wall_ms(), env.clock.monotonic());
        let usage = env.max_size.filter(|_| writable).map(|_| Usage::new(&env.clock));
        let counters = Counters { usage, ..Counters::default() };
        Ok(Self {
            path_checked_ms: AtomicU64::new(millis(&*env.clock)),
            generation: RwLock::new(Arc::new(generation)),
            quarantined: Mutex::new(aside.into_iter().collect()),
            env,
            path,
            writable,
            space: Mutex::new(0),
            background: Mutex::new(None),
            compact_not_before_ms: AtomicU64::new(0),
            checkpoint_not_before_ms: AtomicU64::new(0),
            reopening: Mutex::new(()),
            counters,
            opened_at,
        })
    }

    /// The generation in hand.
    pub(super) fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.generation.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn may_write(&self) -> Result<()> {
        if self.writable {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ReadOnly, "the cache was opened read-only").with_path(&self.path))
    }

    /// The generation that the path names, with all that was appended to it until now.
    pub(super) fn current(&self) -> Result<Arc<Generation>> {
        const REOPENS_MAX: usize = 8;
        for _ in 0..REOPENS_MAX {
            let generation = self.generation();
            let stat = generation.file.stat().map_err(|error| Error::io("read the cache file", &self.path, error))?;
            if self.is_current(&generation, &stat)? {
                return Ok(generation);
            }
            // A path that names nothing leaves readers with what they have.
            if !self.is_there()? {
                return Ok(generation);
            }
            // Reading makes no file, and takes none over.
            self.reopen_or_create(false, &Settings::READING)?;
        }
        Ok(self.generation())
    }

    fn is_current(&self, generation: &Generation, stat: &Stat) -> Result<bool> {
        if stat.nlink == 0 {
            return Ok(false);
        }
        if self.path_check_is_due() && !(self.names(generation)? && generation.is_intact()) {
            return Ok(false);
        }
        let caught_up = generation.catch_up(stat)?;
        let sealed = generation.view().sealed();
        Ok(caught_up != CaughtUp::Shrunk && (!sealed || self.names(generation)?))
    }

    fn names(&self, generation: &Generation) -> Result<bool> {
        names(&*self.env.disk, &self.path, &generation.stat)
    }

    fn is_there(&self) -> Result<bool> {
        let named = self.env.disk.stat_path(&self.path);
        Ok(named.map_err(|error| Error::io("look up the cache file", &self.path, error))?.is_some())
    }

    fn path_check_is_due(&self) -> bool {
        let now = millis(&*self.env.clock);
        let last = self.path_checked_ms.load(Ordering::Relaxed);
        let due = now.saturating_sub(last) >= PATH_CHECK_MS;
        due && self.path_checked_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Opens what the path names now, unless another thread has done so.
    pub(super) fn reopen(&self, settings: &Settings) -> Result<()> {
        self.reopen_or_create(self.writable, settings)
    }

    fn reopen_or_create(&self, create: bool, settings: &Settings) -> Result<()> {
        let _turn = self.reopening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.serves(&self.generation())? {
            return Ok(());
        }
        let (generation, aside) = open_generation(&self.env, &self.path, self.writable, create, settings)?;
        self.adopt(Arc::new(generation));
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner).extend(aside);
        Ok(())
    }

    /// Whether a generation is the path's file, unharmed, and opened by this process.
    fn serves(&self, generation: &Generation) -> Result<bool> {
        let stat = generation.file.stat().map_err(|error| Error::io("read the cache file", &self.path, error))?;
        let own = generation.pid == (self.env.pid)();
        Ok(own && !generation.has_shrunk(stat.size) && self.names(generation)? && generation.is_intact())
    }

    /// Makes a generation the current one. The caller holds `reopening`.
    pub(super) fn adopt(&self, generation: Arc<Generation>) {
        if planted(Bug::TierInherited) {
            generation.tier.inherit(&self.generation().tier);
        }
        let old = {
            let mut current = self.generation.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, generation)
        };
        // Readers may hold it for long, and need its memory no more.
        old.tier.retire();
    }

    /// Puts the damaged file of a locked generation aside.
    pub(super) fn quarantine(&self, guard: &WriteGuard) -> Result<()> {
        debug_assert!(self.writable && guard.generation.pid == (self.env.pid)());
        let aside = set_aside(&self.env, &self.path)?;
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner).push(aside);
        Ok(())
    }

    /// Files that were put aside since this state was opened.
    pub(super) fn quarantined(&self) -> Vec<PathBuf> {
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where the state of a path stands. Cells of files that nobody has open any more go.
fn cell_of(path: &Path, writable: bool) -> Cell {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    let mut registry = REGISTRY.get_or_init(Registry::default).lock().unwrap_or_else(PoisonError::into_inner);
    registry.retain(|_, cell| {
        let open = cell.try_lock().is_ok_and(|shared| shared.strong_count() > 0);
        // Somebody else holds a cell that is locked, or is about to lock it.
        open || Arc::strong_count(cell) > 1
    });
    Arc::clone(registry.entry((path.to_path_buf(), writable)).or_default())
}

pub(super) fn millis(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}
