//! [`Disk`] on the operating system's files.

use super::{
    disk::{Access, Disk, DiskFile, Stat},
    generation::folder_of,
    map::Map,
    statx, writeback,
};
use rustix::{
    buffer::spare_capacity,
    fs::{self as sys, CWD, Mode, OFlags, RenameFlags},
};
use std::{
    fs::File,
    io::{self, IoSlice},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

/// When a file was read last is of no use here, and noting it makes the next write dearer.
#[cfg(target_os = "linux")]
const NOATIME: OFlags = OFlags::NOATIME;
#[cfg(not(target_os = "linux"))]
const NOATIME: OFlags = OFlags::empty();

/// The file system of this machine.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        // NONBLOCK: opening a FIFO must fail the check of its kind, not wait for its other end.
        let common = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
            Access::ReadWriteCreate => OFlags::RDWR | OFlags::CREATE,
        };
        let open = |flags| rustix::io::retry_on_intr(|| sys::open(path, flags, Mode::RUSR | Mode::WUSR));
        let fd = match open(common | flags | NOATIME) {
            // Only the owner of a file may ask for that.
            Err(rustix::io::Errno::PERM) => open(common | flags)?,
            result => result?,
        };
        Ok(Box::new(RealFile::from(File::from(fd))))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        match std::fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                Ok(std::fs::canonicalize(folder_of(path))?.join(name))
            }
            result => result,
        }
    }

    fn stat_path(&self, path: &Path) -> io::Result<Option<Stat>> {
        let stat = match statx::of_path(path) {
            Ok(None) => std::fs::symlink_metadata(path).map(|meta| stat_of(&meta)).map(Some),
            result => result,
        };
        match stat {
            Ok(stat) => Ok(stat),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        match sys::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some file systems have no such rename. All who would make this name hold one lock, so a look will do.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if self.stat_path(to)?.is_none() => {
                std::fs::rename(from, to)
            }
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
            result => Ok(result?),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        fs2::available_space(folder)
    }

    fn user(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    /// The number of an error that has come with a write-back, for the sync that has to report it.
    unwritten: OnceLock<i32>,
}

impl From<File> for RealFile {
    fn from(file: File) -> Self {
        Self { file, unwritten: OnceLock::new() }
    }
}

impl DiskFile for RealFile {
    fn stat(&self) -> io::Result<Stat> {
        match statx::of_file(&self.file)? {
            Some(stat) => Ok(stat),
            None => Ok(stat_of(&self.file.metadata()?)),
        }
    }

    fn pread(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        buf.reserve(len);
        let start = buf.len();
        let room = buf.capacity() - start;
        if room == len {
            return Ok(rustix::io::pread(&self.file, spare_capacity(buf), offset)?);
        }
        // The allocator gave more room than asked for; read no further than asked.
        buf.resize(start + len, 0);
        let result = rustix::io::pread(&self.file, &mut buf[start..], offset);
        buf.truncate(start + result.unwrap_or(0));
        Ok(result?)
    }

    fn pwritev(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.file, bufs, offset)?)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unwritten.get().map_or(Ok(()), |error| Err(io::Error::from_raw_os_error(*error)))
    }

    fn start_writeback(&self, offset: u64, len: usize) {
        if let Err(error) = writeback::start(&self.file, offset, len) {
            self.unwritten.get_or_init(|| error.raw_os_error().unwrap_or_default());
        }
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Option<Map>> {
        Map::sealed(&self.file, offset, len).map(Some)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match fs2::FileExt::try_lock_exclusive(&self.file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        fs2::FileExt::unlock(&self.file)
    }

    fn adopt(&self, like: &Stat) -> io::Result<()> {
        let mut mode = like.mode & 0o7777;
        // Only root may give files away, and only a member of a group to that group. A cache that changes its owner
        // is still a cache; a group that must not see it must not get the rights of the one that may.
        if std::os::unix::fs::fchown(&self.file, None, Some(like.gid)).is_err() {
            mode &= !0o070;
        }
        let _ = std::os::unix::fs::fchown(&self.file, Some(like.uid), None);
        Ok(sys::fchmod(&self.file, Mode::from_raw_mode(mode))?)
    }
}

fn stat_of(meta: &std::fs::Metadata) -> Stat {
    Stat {
        dev: meta.dev(),
        ino: meta.ino(),
        nlink: meta.nlink(),
        size: meta.size(),
        uid: meta.uid(),
        gid: meta.gid(),
        mode: meta.mode(),
        is_file: meta.is_file(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_write_back_could_not_write_fails_every_sync_that_follows() {
        let file = RealFile::from(tempfile::tempfile().unwrap());
        file.pwritev(&[IoSlice::new(&[7; 10_000])], 0).unwrap();
        file.start_writeback(0, 10_000);
        file.sync_data().unwrap();
        let full = rustix::io::Errno::NOSPC.raw_os_error();
        file.unwritten.set(full).unwrap();
        for _ in 0..2 {
            assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(full));
        }
    }
}
