//! `NAME.larder.new`: the one name under which a file is built before it takes the cache's place.
//!
//! Whoever holds its lock builds; a rest of somebody who died is built over. What is not ours is never touched.

use super::{
    disk::{Access, Disk, DiskFile, Stat, read_at, write_at},
    env::Env,
    generation::folder_of,
    header::FileHeader,
    layout::{FILE_MAGIC, HEADER_COPY_AT, LOG_START, PAGE_LEN, SLOT_OFFSETS},
    lock::{busy, wait_for},
    plant::{Bug, planted},
};
use crate::{Error, ErrorKind, Result};
use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    time::Duration,
};

/// A locked file under construction. Dropped before it is published, it goes away.
#[derive(Debug)]
pub(super) struct NewFile<'a> {
    disk: &'a dyn Disk,
    cache: &'a Path,
    path: PathBuf,
    file: Option<Box<dyn DiskFile>>,
}

impl<'a> NewFile<'a> {
    /// Creates or takes over the new file of a cache, and empties it.
    pub(super) fn acquire(env: &'a Env, cache: &'a Path, limit: Duration) -> Result<Self> {
        let path = new_path(cache);
        let disk = &*env.disk;
        let started = env.clock.monotonic();
        loop {
            if let Some(stat) = disk.stat_path(&path).map_err(|error| Error::io("look up", &path, error))? {
                check_ours(disk, &path, &stat)?;
            }
            let opened = disk.open(&path, Access::ReadWriteCreate);
            let file = opened.map_err(|error| Error::io("create the new cache file", &path, error))?;
            let left = limit.saturating_sub(env.clock.monotonic().saturating_sub(started));
            wait_for(env, &*file, &path, left)?;
            // Whoever had the lock before may have renamed the file into place: then it is a cache, not ours to empty.
            let stat = file.stat().map_err(|error| Error::io("look up", &path, error))?;
            let named = disk.stat_path(&path).map_err(|error| Error::io("look up", &path, error))?;
            if named.is_some_and(|named| named.same_file(&stat)) {
                check_ours(disk, &path, &stat)?;
                check_content(&*file, &path, &stat)?;
                if stat.size > 0 {
                    // Synced, so that no crash can mix the rest with what is built over it into something unknown.
                    let emptied = file.truncate(0).and_then(|()| file.sync_data());
                    emptied.map_err(|error| Error::io("empty the new cache file", &path, error))?;
                }
                return Ok(Self { disk, cache, path, file: Some(file) });
            }
            if left.is_zero() {
                return Err(busy(cache));
            }
        }
    }

    /// Writes the pages in front of the log, durably, so that what is found here later is known for ours.
    pub(super) fn begin(&self, header: &FileHeader) -> Result<()> {
        write_at(self.file(), &mut [IoSlice::new(&header.first_pages())], 0)
            .map_err(|error| Error::io("write the new cache file", &self.path, error))?;
        if planted(Bug::CreateUnsynced) { Ok(()) } else { self.sync() }
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.file().sync_data().map_err(|error| Error::io("sync the new cache file", &self.path, error))
    }

    pub(super) fn file(&self) -> &dyn DiskFile {
        self.file.as_deref().expect("the file is there until it is published")
    }

    /// Gives the file the cache's name if that is free; `false` if it is not.
    pub(super) fn publish_first(mut self) -> Result<bool> {
        match self.disk.rename_noreplace(&self.path, self.cache) {
            Ok(()) => self.file.take(),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(Error::io("name the new cache file", self.cache, error)),
        };
        if !planted(Bug::FolderUnsynced) {
            let folder = folder_of(self.cache);
            let synced = self.disk.sync_dir(folder);
            synced.map_err(|error| Error::io("sync the cache's folder", folder, error))?;
        }
        Ok(true)
    }

    /// Puts the file in the place of the cache. The lock stays with the file, which the caller keeps until the folder
    /// is synced: nobody else may acknowledge anything in it before.
    pub(super) fn publish_over(mut self) -> Result<Box<dyn DiskFile>> {
        let renamed = self.disk.rename(&self.path, self.cache);
        renamed.map_err(|error| Error::io("put the new cache file in place", self.cache, error))?;
        Ok(self.file.take().expect("the file is there until it is published"))
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            // While the lock is held the name can only be this file's. A rest that stays is taken over next time.
            let _ = self.disk.unlink(&self.path);
        }
    }
}

/// Where the next generation of a cache is built.
pub(super) fn new_path(cache: &Path) -> PathBuf {
    let mut name = cache.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn refuse(path: &Path, what: &str) -> Error {
    let message = format!("{what} stands where the new cache file is to be built; remove it");
    Error::new(ErrorKind::NotALarder, message).with_path(path)
}

fn check_ours(disk: &dyn Disk, path: &Path, stat: &Stat) -> Result<()> {
    if !stat.is_file {
        return Err(refuse(path, "something that is not a regular file"));
    }
    // None at all: it has gone since it was looked up, when whoever built it gave up.
    if stat.nlink > 1 {
        return Err(refuse(path, "a file with several names"));
    }
    if stat.uid != disk.user() {
        return Err(refuse(path, "another user's file"));
    }
    Ok(())
}

/// A dead builder leaves our magic in front, or the beginning of it and no more, or nothing. A crash before the first
/// sync may have kept any of the first pages: zeros stand for the others, or nothing that can be read.
fn check_content(file: &dyn DiskFile, path: &Path, stat: &Stat) -> Result<()> {
    let mut first = Vec::new();
    let page = usize::try_from(PAGE_LEN).unwrap_or(usize::MAX);
    read_at(file, &mut first, page, 0).map_err(|error| Error::io("read", path, error))?;
    if first.starts_with(&FILE_MAGIC) || FILE_MAGIC.starts_with(&first) {
        return Ok(());
    }
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let ours_or_lost = |at: &u64| {
        let mut bytes = Vec::new();
        let copy_at = usize::try_from(HEADER_COPY_AT).unwrap_or(usize::MAX);
        read_at(file, &mut bytes, page, *at).is_err()
            || is_zero(&bytes)
            || bytes.get(copy_at..).is_some_and(|copy| copy.starts_with(&FILE_MAGIC) || FILE_MAGIC.starts_with(copy))
    };
    if stat.size <= LOG_START && is_zero(&first) && SLOT_OFFSETS.iter().all(ours_or_lost) {
        return Ok(());
    }
    Err(refuse(path, "a file of another kind"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::real_disk::RealDisk;

    #[test]
    fn what_has_several_names_is_refused_and_what_has_lost_its_only_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("c.larder.new"), folder.path().join("other"));
        let file = RealDisk.open(&path, Access::ReadWriteCreate).unwrap();
        let check = || check_ours(&RealDisk, &path, &file.stat().unwrap()).map_err(|error| error.kind());
        assert_eq!(check(), Ok(()));
        std::fs::hard_link(&path, &other).unwrap();
        assert_eq!(check(), Err(ErrorKind::NotALarder));
        std::fs::remove_file(&other).unwrap();
        // Another process may give it up between the look at its name and the look at the file.
        RealDisk.unlink(&path).unwrap();
        assert_eq!(check(), Ok(()));
    }
}
