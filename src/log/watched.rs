//! A disk under a test's hand: somebody is told before and after each call of another disk, who may have the call fail,
//! write less than it should, or be the last thing that the process does.

use super::{
    Log, Options,
    disk::{Access, Disk, DiskFile, Stat},
    env::Env,
    map::Map,
    real_disk::RealDisk,
    sim::Call,
};
use std::{
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// When somebody is told of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Before(Call),
    /// Comes when it has succeeded; after a lock, if that was free.
    After(Call),
}

/// What a test does around disk calls. A closure that is told of them is one, too.
pub(super) trait Watcher: Send + Sync + 'static {
    /// The call fails with what this returns.
    fn told(&self, told: Told) -> io::Result<()>;

    /// How much is written of so many bytes; asked when it was told before the write.
    fn shorten(&self, len: usize) -> usize {
        len
    }
}

impl<F: Fn(Told) -> io::Result<()> + Send + Sync + 'static> Watcher for F {
    fn told(&self, told: Told) -> io::Result<()> {
        self(told)
    }
}

/// Another disk and its watcher.
#[derive(Clone)]
pub(super) struct Watched {
    disk: Arc<dyn Disk>,
    watcher: Arc<dyn Watcher>,
}

impl Watched {
    /// The real disk, watched.
    pub(super) fn new(watcher: impl Fn(Told) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::over(RealDisk, Arc::new(watcher))
    }

    pub(super) fn over(disk: impl Disk + 'static, watcher: Arc<dyn Watcher>) -> Self {
        Self { disk: Arc::new(disk), watcher }
    }

    /// The real disk, of which nobody is told.
    pub(super) fn unwatched() -> Self {
        Self::new(|_| Ok(()))
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

/// Makes a call and tells of it.
fn around<T>(watcher: &dyn Watcher, call: Call, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    watcher.told(Told::Before(call))?;
    let done = run()?;
    watcher.told(Told::After(call))?;
    Ok(done)
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Disk for Watched {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = around(&*self.watcher, Call::Open, || self.disk.open(path, access))?;
        Ok(Box::new(WatchedFile { file, watcher: Arc::clone(&self.watcher) }))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.disk.resolve(path)
    }

    fn stat_path(&self, path: &Path) -> io::Result<Option<Stat>> {
        around(&*self.watcher, Call::StatPath, || self.disk.stat_path(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        around(&*self.watcher, Call::Rename, || self.disk.rename(from, to))
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        around(&*self.watcher, Call::Rename, || self.disk.rename_noreplace(from, to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        around(&*self.watcher, Call::Unlink, || self.disk.unlink(path))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        around(&*self.watcher, Call::SyncDir, || self.disk.sync_dir(folder))
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        around(&*self.watcher, Call::FreeBytes, || self.disk.free_bytes(folder))
    }

    fn user(&self) -> u32 {
        self.disk.user()
    }

    fn pause(&self, time: Duration) {
        self.disk.pause(time);
    }
}

struct WatchedFile {
    file: Box<dyn DiskFile>,
    watcher: Arc<dyn Watcher>,
}

impl WatchedFile {
    fn around<T>(&self, call: Call, run: impl FnOnce(&dyn DiskFile) -> io::Result<T>) -> io::Result<T> {
        around(&*self.watcher, call, || run(&*self.file))
    }
}

impl fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchedFile")
    }
}

impl DiskFile for WatchedFile {
    fn stat(&self) -> io::Result<Stat> {
        self.around(Call::Stat, |file| file.stat())
    }

    fn pread(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        self.around(Call::Read { offset, len }, |file| file.pread(buf, len, offset))
    }

    fn pwritev(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.around(Call::Write { offset, len }, |file| {
            let wanted = self.watcher.shorten(len);
            if wanted >= len {
                return file.pwritev(bufs, offset);
            }
            let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).take(wanted).collect();
            file.pwritev(&[IoSlice::new(&bytes)], offset)
        })
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.around(Call::Truncate, |file| file.truncate(size))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.around(Call::Sync, |file| file.sync_data())
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Option<Map>> {
        self.file.map(offset, len)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.watcher.told(Told::Before(Call::Lock))?;
        let locked = self.file.try_lock()?;
        if locked {
            self.watcher.told(Told::After(Call::Lock))?;
        }
        Ok(locked)
    }

    fn unlock(&self) -> io::Result<()> {
        self.around(Call::Unlock, |file| file.unlock())
    }

    fn adopt(&self, like: &Stat) -> io::Result<()> {
        self.around(Call::Adopt, |file| file.adopt(like))
    }
}
