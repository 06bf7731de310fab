//! The real disk for tests, with somebody who is told of each call and may have it fail.

use super::{
    Log, Options,
    disk::{Access, Disk, DiskFile, Stat},
    env::Env,
    map::Map,
    real_disk::RealDisk,
};
use std::{
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A call of the disk: reads, writes and syncs before they are made, the others when they have succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Renamed,
    Read { offset: u64, len: usize },
    Write { offset: u64, len: usize },
    Sync,
    Locked,
    Unlocked,
}

/// Who is told.
type Watcher = dyn Fn(Call) -> io::Result<()> + Send + Sync;

/// The real disk and its watcher.
#[derive(Clone)]
pub(super) struct Watched(Arc<Watcher>);

impl Watched {
    pub(super) fn new(watcher: impl Fn(Call) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(watcher))
    }

    /// Surroundings without a thread in the background and with a state of their own, as in another process.
    pub(super) fn env(self) -> Env {
        Env { disk: Arc::new(self), background: false, shared: false, ..Env::default() }
    }

    /// A handle in such surroundings.
    pub(super) fn open(self, path: &Path, options: &Options) -> Log {
        Log::open_in(self.env(), path, options).unwrap()
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

#[derive(Debug)]
struct WatchedFile(Box<dyn DiskFile>, Watched);

impl Disk for Watched {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(WatchedFile(RealDisk.open(path, access)?, self.clone())))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        RealDisk.resolve(path)
    }

    fn stat_path(&self, path: &Path) -> io::Result<Option<Stat>> {
        RealDisk.stat_path(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)?;
        (self.0)(Call::Renamed)
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename_noreplace(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        RealDisk.unlink(path)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_dir(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(folder)
    }

    fn user(&self) -> u32 {
        RealDisk.user()
    }

    fn pause(&self, time: Duration) {
        RealDisk.pause(time);
    }
}

impl WatchedFile {
    fn tell(&self, call: Call) -> io::Result<()> {
        (self.1.0)(call)
    }
}

impl DiskFile for WatchedFile {
    fn stat(&self) -> io::Result<Stat> {
        self.0.stat()
    }

    fn pread(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        self.tell(Call::Read { offset, len })?;
        self.0.pread(buf, len, offset)
    }

    fn pwritev(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.tell(Call::Write { offset, len: bufs.iter().map(|buf| buf.len()).sum() })?;
        self.0.pwritev(bufs, offset)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.tell(Call::Sync)?;
        self.0.sync_data()
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Option<Map>> {
        self.0.map(offset, len)
    }

    fn try_lock(&self) -> io::Result<bool> {
        let locked = self.0.try_lock()?;
        if locked {
            self.tell(Call::Locked)?;
        }
        Ok(locked)
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()?;
        self.tell(Call::Unlocked)
    }

    fn adopt(&self, like: &Stat) -> io::Result<()> {
        self.0.adopt(like)
    }
}
