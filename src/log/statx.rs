//! [`Stat`] without the times of a file.
//!
//! A file whose times were asked for has to have a new one noted with its next write (multigrain timestamps, Linux
//! 6.13), which would make each of our writes dearer: they look at the file before they append to it.

use super::disk::Stat;
use std::{fs::File, io, path::Path};

// `None` where the system can only tell all at once.
pub(super) use system::{of_file, of_path};

#[cfg(target_os = "linux")]
mod system {
    use super::{File, Path, Stat, io};
    use rustix::{
        fs::{AtFlags, CWD, FileType, Statx, StatxFlags, makedev, statx},
        io::Errno,
    };

    const WANTED: StatxFlags = StatxFlags::TYPE
        .union(StatxFlags::MODE)
        .union(StatxFlags::NLINK)
        .union(StatxFlags::UID)
        .union(StatxFlags::GID)
        .union(StatxFlags::INO)
        .union(StatxFlags::SIZE);

    /// Of an open file.
    pub(crate) fn of_file(file: &File) -> io::Result<Option<Stat>> {
        stat_of(&statx(file, "", AtFlags::EMPTY_PATH, WANTED))
    }

    /// Of what a path names; a symbolic link is not followed.
    pub(crate) fn of_path(path: &Path) -> io::Result<Option<Stat>> {
        stat_of(&statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, WANTED))
    }

    fn stat_of(found: &rustix::io::Result<Statx>) -> io::Result<Option<Stat>> {
        match found {
            Ok(found) => Ok(Some(Stat {
                dev: makedev(found.stx_dev_major, found.stx_dev_minor),
                ino: found.stx_ino,
                nlink: found.stx_nlink.into(),
                size: found.stx_size,
                uid: found.stx_uid,
                gid: found.stx_gid,
                mode: found.stx_mode.into(),
                is_file: FileType::from_raw_mode(found.stx_mode.into()).is_file(),
            })),
            Err(Errno::NOSYS) => Ok(None),
            Err(error) => Err((*error).into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{File, Path, Stat, io};

    pub(crate) fn of_file(_file: &File) -> io::Result<Option<Stat>> {
        Ok(None)
    }

    pub(crate) fn of_path(_path: &Path) -> io::Result<Option<Stat>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use crate::log::{
        disk::{Access, Disk as _},
        real_disk::RealDisk,
    };
    use std::os::unix::fs::{MetadataExt as _, symlink};

    #[test]
    fn it_says_what_the_standard_library_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&path, [1; 300]).expect("a file");
        symlink(&path, &link).expect("a link");
        let file = RealDisk.open(&path, Access::Read).expect("the file opens");
        assert_eq!(Some(file.stat().expect("a stat")), RealDisk.stat_path(&path).expect("a stat"));
        for path in [&path, &link, &folder.path().to_path_buf()] {
            let stat = RealDisk.stat_path(path).expect("a stat").expect("it is there");
            let meta = std::fs::symlink_metadata(path).expect("metadata");
            assert_eq!((stat.dev, stat.ino, stat.nlink), (meta.dev(), meta.ino(), meta.nlink()));
            assert_eq!((stat.size, stat.uid, stat.gid), (meta.size(), meta.uid(), meta.gid()));
            assert_eq!((stat.mode, stat.is_file), (meta.mode(), meta.is_file()));
        }
        assert_eq!(RealDisk.stat_path(&folder.path().join("none")).expect("a stat"), None);
    }
}
