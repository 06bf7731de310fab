//! From a path to a generation: opening, creating, taking over an empty file, putting a damaged one aside.

use super::{
    disk::{Access, read_at},
    env::Env,
    generation::{Generation, NOT_A_FILE, folder_of, names, not_a_larder},
    header::{FileHeader, HeaderFault},
    layout::FILE_HEADER_LEN,
    lock::{busy, wait_for},
    new_file::NewFile,
    options::OnDamage,
    shared::Settings,
};
use crate::{Error, ErrorKind, Result};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Opens the file that a path names; with `create` it makes it if there is none. Returns with it the new name of a
/// damaged file that had to be put aside first.
pub(super) fn open_generation(
    env: &Env,
    path: &Path,
    writable: bool,
    create: bool,
    settings: &Settings,
) -> Result<(Generation, Option<PathBuf>)> {
    // Each turn is lost only to another process that creates, replaces or removes the file at that moment.
    const TURNS_MAX: usize = 16;
    let access = if writable { Access::ReadWrite } else { Access::Read };
    let mut aside = None;
    for _ in 0..TURNS_MAX {
        let named = env.disk.stat_path(path).map_err(|error| Error::io("look up the cache file", path, error))?;
        match named {
            None if create => make(env, path, settings)?,
            // Opening a FIFO or a device can do things; they are refused unopened.
            Some(stat) if !stat.is_file => return Err(not_a_larder(path, NOT_A_FILE)),
            Some(stat) if create && stat.size == 0 => take_over_empty(env, path, settings)?,
            _ => {}
        }
        let file = match env.disk.open(path, access) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = "there is no cache file here yet; open it for writing to make one";
                return Err(Error::new(ErrorKind::Io, message).with_path(path).with_source(error));
            }
            opened => opened.map_err(|error| Error::io("open the cache file", path, error))?,
        };
        match Generation::load(env, path, file) {
            Err(error) if error.kind() == ErrorKind::Damaged && error.offset() == Some(0) && writable => {
                if settings.on_damage == OnDamage::Error || aside.is_some() {
                    return Err(error);
                }
                aside = set_aside_if_damaged(env, path, settings)?;
            }
            result => return result.map(|generation| (generation, aside)),
        }
    }
    Err(busy(path))
}

/// The header of a new file. A compaction keeps the hash key, so that it can copy the hashes.
pub(super) fn new_header(env: &Env, salt: u64, hash_key: Option<[u8; 16]>) -> Result<FileHeader> {
    let file_id = u64::from_le_bytes(env.random(salt)?);
    let hash_key = hash_key.map_or_else(|| env.random(salt ^ 1 << 63), Ok)?;
    Ok(FileHeader::new(file_id, hash_key, env.clock.wall_ms()))
}

fn make(env: &Env, path: &Path, settings: &Settings) -> Result<()> {
    let new = NewFile::acquire(env, path, settings.lock_timeout)?;
    new.begin(&new_header(env, 0, None)?)?;
    new.publish_first()?;
    Ok(())
}

/// A file without a byte, as `touch` or `mktemp` make it, is replaced by a log, under the lock that a log would have.
fn take_over_empty(env: &Env, path: &Path, settings: &Settings) -> Result<()> {
    let failed = |error| Error::io("open the empty cache file", path, error);
    let old = env.disk.open(path, Access::ReadWrite).map_err(failed)?;
    wait_for(env, &*old, path, settings.lock_timeout)?;
    let stat = old.stat().map_err(failed)?;
    if stat.size != 0 || !names(&*env.disk, path, &stat)? {
        return Ok(());
    }
    let new = NewFile::acquire(env, path, settings.lock_timeout)?;
    new.begin(&new_header(env, 0, None)?)?;
    new.file().adopt(&stat).map_err(|error| Error::io("set the mode of the cache file", path, error))?;
    // Until the folder is synced, nobody may acknowledge anything in the new file.
    let _locked = new.publish_over()?;
    let folder = folder_of(path);
    env.disk.sync_dir(folder).map_err(|error| Error::io("sync the cache's folder", folder, error))
}

/// Puts a file with a rotten header aside, under its lock; `None` if somebody else has just done so.
fn set_aside_if_damaged(env: &Env, path: &Path, settings: &Settings) -> Result<Option<PathBuf>> {
    let failed = |error| Error::io("open the damaged cache file", path, error);
    let file = env.disk.open(path, Access::ReadWrite).map_err(failed)?;
    wait_for(env, &*file, path, settings.lock_timeout)?;
    let stat = file.stat().map_err(failed)?;
    let mut bytes = Vec::new();
    read_at(&*file, &mut bytes, FILE_HEADER_LEN, 0).map_err(failed)?;
    let damaged = FileHeader::decode(&bytes) == Err(HeaderFault::Damaged);
    if !damaged || !names(&*env.disk, path, &stat)? {
        return Ok(None);
    }
    set_aside(env, path).map(Some)
}

/// Renames a damaged file to `NAME.larder.damaged-N`. The caller holds its lock.
pub(super) fn set_aside(env: &Env, path: &Path) -> Result<PathBuf> {
    const NAMES_MAX: u32 = 10_000;
    for n in 1..NAMES_MAX {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        let aside = PathBuf::from(name);
        match env.disk.rename_noreplace(path, &aside) {
            Ok(()) => {
                let folder = folder_of(path);
                let synced = env.disk.sync_dir(folder);
                synced.map_err(|error| Error::io("sync the cache's folder", folder, error))?;
                return Ok(aside);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("put the damaged cache file aside", path, error)),
        }
    }
    Err(Error::new(ErrorKind::Damaged, "too many damaged files were put aside; remove some").with_path(path))
}
