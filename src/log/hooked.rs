//! A disk under a test's hand: what happens before and after each call of another disk.

use super::{
    disk::{Access, Disk, DiskFile, Stat},
    map::Map,
    sim::Call,
};
use std::{
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// What a test does around disk calls.
pub(super) trait Hook: Send + Sync + 'static {
    /// Comes before each call; `len` is what a write is to write. Returns how much of that is written, which is all
    /// unless the test wants less.
    fn before(&self, _call: Call, len: usize) -> usize {
        len
    }

    fn after(&self, _call: Call) {}
}

/// Another disk, with a hook around its calls.
pub(super) struct HookedDisk<D, H> {
    disk: D,
    hook: Arc<H>,
}

impl<D: Disk, H: Hook> HookedDisk<D, H> {
    pub(super) fn new(disk: D, hook: Arc<H>) -> Self {
        Self { disk, hook }
    }

    fn around<T>(&self, call: Call, run: impl FnOnce(&D) -> io::Result<T>) -> io::Result<T> {
        self.hook.before(call, 0);
        let result = run(&self.disk);
        self.hook.after(call);
        result
    }
}

impl<D, H> fmt::Debug for HookedDisk<D, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedDisk")
    }
}

impl<D: Disk, H: Hook> Disk for HookedDisk<D, H> {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = self.around(Call::Open, |disk| disk.open(path, access))?;
        Ok(Box::new(HookedFile { file, hook: Arc::clone(&self.hook) }))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.disk.resolve(path)
    }

    fn stat_path(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.around(Call::StatPath, |disk| disk.stat_path(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.around(Call::Rename, |disk| disk.rename(from, to))
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.around(Call::Rename, |disk| disk.rename_noreplace(from, to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.around(Call::Unlink, |disk| disk.unlink(path))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.around(Call::SyncDir, |disk| disk.sync_dir(folder))
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        self.around(Call::FreeBytes, |disk| disk.free_bytes(folder))
    }

    fn user(&self) -> u32 {
        self.disk.user()
    }

    fn pause(&self, time: Duration) {
        self.disk.pause(time);
    }
}

struct HookedFile<H> {
    file: Box<dyn DiskFile>,
    hook: Arc<H>,
}

impl<H: Hook> HookedFile<H> {
    fn around<T>(&self, call: Call, run: impl FnOnce(&dyn DiskFile) -> io::Result<T>) -> io::Result<T> {
        self.hook.before(call, 0);
        let result = run(&*self.file);
        self.hook.after(call);
        result
    }
}

impl<H> fmt::Debug for HookedFile<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedFile")
    }
}

impl<H: Hook> DiskFile for HookedFile<H> {
    fn stat(&self) -> io::Result<Stat> {
        self.around(Call::Stat, |file| file.stat())
    }

    fn pread(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        self.around(Call::Read, |file| file.pread(buf, len, offset))
    }

    fn pwritev(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        let wanted = self.hook.before(Call::Write, len);
        let result = if wanted < len {
            let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).take(wanted).collect();
            self.file.pwritev(&[IoSlice::new(&bytes)], offset)
        } else {
            self.file.pwritev(bufs, offset)
        };
        self.hook.after(Call::Write);
        result
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
        self.around(Call::Lock, |file| file.try_lock())
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn adopt(&self, like: &Stat) -> io::Result<()> {
        self.around(Call::Adopt, |file| file.adopt(like))
    }
}
