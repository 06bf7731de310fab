//! What other threads may do at a certain moment of a compaction: the disk calls a test between two steps.

use super::{
    Log, Options,
    disk::{Access, Disk, DiskFile, Stat},
    env::Env,
    map::Map,
    real_disk::RealDisk,
};
use crate::ErrorKind;
use std::{
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

type Hook = Box<dyn FnOnce() + Send>;

/// The real disk, which runs a hook at the first write after the first rename over a file.
#[derive(Default)]
struct Hooked {
    renamed: AtomicBool,
    hook: Mutex<Option<Hook>>,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

#[derive(Debug)]
struct HookedDisk(Arc<Hooked>);

#[derive(Debug)]
struct HookedFile(Box<dyn DiskFile>, Arc<Hooked>);

impl Disk for HookedDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(HookedFile(RealDisk.open(path, access)?, Arc::clone(&self.0))))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        RealDisk.resolve(path)
    }

    fn stat_path(&self, path: &Path) -> io::Result<Option<Stat>> {
        RealDisk.stat_path(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)?;
        self.0.renamed.store(true, Ordering::Release);
        Ok(())
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

impl DiskFile for HookedFile {
    fn stat(&self) -> io::Result<Stat> {
        self.0.stat()
    }

    fn pread(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        self.0.pread(buf, len, offset)
    }

    fn pwritev(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if self.1.renamed.load(Ordering::Acquire) {
            let hook = self.1.hook.lock().unwrap().take();
            if let Some(hook) = hook {
                hook();
            }
        }
        self.0.pwritev(bufs, offset)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Option<Map>> {
        self.0.map(offset, len)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }

    fn adopt(&self, like: &Stat) -> io::Result<()> {
        self.0.adopt(like)
    }
}

#[test]
fn nobody_writes_to_a_new_generation_before_the_compaction_has_let_go_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let hooked = Arc::new(Hooked::default());
    let disk = Arc::new(HookedDisk(Arc::clone(&hooked)));
    let env = Env { disk, background: false, shared: false, ..Env::default() };
    let options = Options::new().lock_timeout(Duration::from_millis(50));
    let log = Log::open_in(env, &folder.path().join("cache.larder"), &options).unwrap();
    log.put("a", "1").unwrap();

    // The first write after the rename is the seal of the old file: the new one has its name and is known to all.
    let (other, outcome) = (log.clone(), Arc::new(Mutex::new(None)));
    let told = Arc::clone(&outcome);
    *hooked.hook.lock().unwrap() = Some(Box::new(move || {
        assert_eq!(other.get("a").unwrap().as_deref(), Some(&b"1"[..]), "readers go on");
        *told.lock().unwrap() = Some(other.put("b", "2").unwrap_err().kind());
    }));
    log.compact().unwrap();
    assert_eq!(*outcome.lock().unwrap(), Some(ErrorKind::Busy));
    log.put("b", "2").unwrap();
    assert_eq!(log.get("b").unwrap().as_deref(), Some(&b"2"[..]));
}
