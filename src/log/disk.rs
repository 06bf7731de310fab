//! The file operations that the engine uses, as a trait small enough that a simulated, a full and a failing disk
//! are short implementations of it. Nothing else in the engine touches files.

use super::map::Map;
use std::{
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    time::Duration,
};

/// What `stat` says of a file, or of what a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) nlink: u64,
    pub(crate) size: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    pub(crate) is_file: bool,
}

impl Stat {
    /// Whether both describe the same file, whatever has happened to it in between.
    pub(crate) fn same_file(&self, other: &Self) -> bool {
        self.dev == other.dev && self.ino == other.ino
    }
}

/// How a file is opened. No variant follows a symbolic link or waits for the other end of a FIFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
    /// Creates the file with mode 0600 if nothing stands there.
    ReadWriteCreate,
}

/// A folder tree in which the cache lives.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// The path with its symbolic links followed; the file itself need not exist, its folder must.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;
    /// What the path itself names, a symbolic link not followed; `None` if nothing.
    fn stat_path(&self, path: &Path) -> io::Result<Option<Stat>>;
    /// Replaces `to` atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Fails with `AlreadyExists` if something stands at `to`.
    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;
    /// Bytes that this process may still write in the file system of `folder`.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
    /// The user for whom this process makes files.
    fn user(&self) -> u32;
    /// Waits between two tries to take a lock.
    fn pause(&self, time: Duration);
}

/// An open file. Every call may be interrupted, short, or fail; [`read_at`] and [`write_at`] make them whole.
pub(crate) trait DiskFile: fmt::Debug + Send + Sync {
    fn stat(&self) -> io::Result<Stat>;
    /// Appends up to `len` bytes from `offset` to `buf`, and returns how many; 0 at the end of the file.
    fn pread(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize>;
    fn pwritev(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    fn truncate(&self, size: u64) -> io::Result<()>;
    fn sync_data(&self) -> io::Result<()>;
    /// Has the system begin to bring a stretch of the file to the medium, so that a sync waits for less. It promises
    /// nothing; if it fails, the next sync does.
    fn start_writeback(&self, _offset: u64, _len: usize) {}
    /// Maps a stretch of a sealed index segment; `None` where that is not possible, and it is read instead.
    fn map(&self, offset: u64, len: usize) -> io::Result<Option<Map>>;
    /// Takes the exclusive advisory lock if nobody has it.
    fn try_lock(&self) -> io::Result<bool>;
    fn unlock(&self) -> io::Result<()>;
    /// Gives the file the mode and, as far as permitted, the owner of another.
    fn adopt(&self, like: &Stat) -> io::Result<()>;
}

/// Repeats a call that a signal interrupted. Bounded, so that a disk that says nothing else is an error; and one of
/// another kind, since whoever reads from a reader begins an interrupted read again, for ever.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const TRIES_MAX: usize = 100;
    for _ in 1..TRIES_MAX {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
    call().map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => io::Error::other("the disk interrupts every call"),
        _ => error,
    })
}

/// Reads up to `len` bytes at `offset` behind what `buf` holds; fewer only at the end of the file.
pub(crate) fn read_at(file: &dyn DiskFile, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < len {
        match retry(|| file.pread(buf, len - done, offset + done as u64))? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

/// Reads exactly `len` bytes at `offset` into a new buffer.
pub(crate) fn read_exact_at(file: &dyn DiskFile, len: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut buf = Vec::with_capacity(len);
    if read_at(file, &mut buf, len, offset)? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(buf)
}

/// Writes all of `bufs` at `offset`. Where they are long, the first are on their way to the medium before the others
/// are written.
pub(crate) fn write_at(file: &dyn DiskFile, bufs: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    let mut rest = bufs;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let now = &rest[..buffers_at_once(rest)];
        let n = retry(|| file.pwritev(now, offset))?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if n >= LONG {
            file.start_writeback(offset, n);
        }
        offset += n as u64;
        IoSlice::advance_slices(&mut rest, n);
    }
    Ok(())
}

/// So many bytes are worth a call of their own: the copying of some hides the transfer of others.
const LONG: usize = 1 << 20;

/// How many of the buffers go into one call.
fn buffers_at_once(bufs: &[IoSlice<'_>]) -> usize {
    // The kernel takes no more.
    const BUFFERS_MAX: usize = 1024;
    let mut len = 0;
    let full = bufs.iter().position(|buf| {
        len += buf.len();
        len >= LONG
    });
    full.map_or(bufs.len(), |last| last + 1).min(BUFFERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_what_is_long_and_no_more_buffers_than_the_kernel_does() {
        let of = |lens: &[usize]| {
            let bytes = vec![0; 3 * LONG];
            buffers_at_once(&lens.iter().map(|len| IoSlice::new(&bytes[..*len])).collect::<Vec<_>>())
        };
        assert_eq!(of(&[5, 5]), 2);
        assert_eq!(of(&[LONG / 2; 5]), 2);
        assert_eq!(of(&[3 * LONG, 5]), 1);
        assert_eq!(of(&[5, LONG, 5]), 2);
        assert_eq!(of(&[1; 1500]), 1024);
    }
}
