//! Salvage: the entries that checksums vouch for, out of a damaged file into a new one. Nothing else searches for
//! records, since bytes that look like records may come from a hostile server.

use super::{
    copy::Copier,
    disk::{Access, DiskFile, read_at},
    env::Env,
    generation::{Generation, NOT_A_FILE, newer_format, not_a_larder},
    header::{FileHeader, HeaderFault},
    layout::{FILE_HEADER_LEN, HEADER_COPY_AT, LOG_START, RECORD_ALIGN, RECORD_HEADER_LEN, RECORD_MAGIC, SLOT_OFFSETS},
    new_file::{NewFile, new_path},
    open::new_header,
    record::RecordHeader,
    shared::Counters,
    view::View,
    walk::{Look, Position, Walk},
};
use crate::{Error, ErrorKind, Result};
use std::{collections::HashMap, io, path::Path, sync::atomic::Ordering, time::Duration};

/// What [`repair`] saved and what it could not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Values in the new file.
    pub entries: u64,
    /// Aliases in the new file.
    pub aliases: u64,
    /// Bytes of the old log that are part of no sound record.
    pub lost_bytes: u64,
    /// Batches that were left out, since something in them fails its checksum.
    pub void_batches: u64,
    /// Values and aliases that were left out, since their bytes cannot be read or verified.
    pub unreadable: u64,
    /// How often a sound record was found by searching behind a damaged place. What follows such a place is as sound
    /// as what comes before, but for the reservations above.
    pub found_by_search: u64,
}

/// Saves what checksums vouch for from a damaged file into a new one, and leaves the old as it is.
///
/// Behind a damaged place it searches for the next sound record. An entry whose later overwriting or deletion was lost
/// there comes back in its older state. The damaged region of a file that strangers could read and fill is best not
/// trusted: whoever knows the file's id can place bytes in a body that look like a record.
///
/// # Errors
/// `InvalidInput` if something stands at `to`; `NotALarder`, `NewerFormat`; `Damaged` if the file header and both of
/// its copies are gone; `Io`, `Full`.
///
/// ```
/// use larder::log::{Log, Options, repair};
/// let folder = tempfile::tempdir()?;
/// let (old, new) = (folder.path().join("old.larder"), folder.path().join("new.larder"));
/// let log = Log::open(&old, Options::new())?;
/// log.put("a", "1")?;
/// log.close()?;
/// assert_eq!(repair(&old, &new)?.entries, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn repair(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<RepairReport> {
    repair_in(&Env::default(), from.as_ref(), to.as_ref())
}

pub(super) fn repair_in(env: &Env, from: &Path, to: &Path) -> Result<RepairReport> {
    let failed = |error| Error::io("read the damaged cache file", from, error);
    let file = env.disk.open(from, Access::Read).map_err(failed)?;
    let stat = file.stat().map_err(failed)?;
    if !stat.is_file {
        return Err(not_a_larder(from, NOT_A_FILE));
    }
    let header = find_header(&*file, from)?;
    let (view, lost_bytes, found_by_search) = salvage(&*file, &header, stat.size).map_err(failed)?;
    let void_batches = view.void_batches().len() as u64;
    let old = Generation::salvaged(env, from, file, stat, header, view);

    let to = env.disk.resolve(to).map_err(|error| Error::io("open the folder of the new file", to, error))?;
    if env.disk.stat_path(&to).map_err(|error| Error::io("look up the new file", &to, error))?.is_some() {
        return Err(exists(&to));
    }
    let source = env.disk.resolve(from).map_err(failed)?;
    if source == new_path(&to) {
        let message = "this file stands where the new one would be built; rename it or choose another new name";
        return Err(Error::new(ErrorKind::InvalidInput, message).with_path(from));
    }
    let new = NewFile::acquire(env, &to, Duration::from_secs(5))?;
    let new_header = new_header(env, header.file_id, Some(header.hash_key))?;
    new.begin(&new_header)?;
    let counters = Counters::default();
    let mut copier = Copier::new(env, from, &counters, &old, &new, new_header);
    copier.unreadable_max = u64::MAX;
    copier.copy_live(i64::MIN)?;
    let unreadable = counters.unsound.load(Ordering::Relaxed);
    let (view, _) = copier.finish()?;
    new.sync()?;
    if !new.publish_first()? {
        return Err(exists(&to));
    }
    Ok(RepairReport {
        entries: view.values(),
        aliases: view.aliases(),
        lost_bytes,
        void_batches,
        found_by_search,
        unreadable,
    })
}

fn exists(to: &Path) -> Error {
    Error::new(ErrorKind::InvalidInput, "the new file exists already; choose another name").with_path(to)
}

/// The file header, or one of its copies if it is rotten.
fn find_header(file: &dyn DiskFile, path: &Path) -> Result<FileHeader> {
    let mut first = None;
    for at in [0, SLOT_OFFSETS[0] + HEADER_COPY_AT, SLOT_OFFSETS[1] + HEADER_COPY_AT] {
        let mut bytes = Vec::new();
        // A page that cannot be read is as bad as one that is rotten.
        let _ = read_at(file, &mut bytes, FILE_HEADER_LEN, at);
        match FileHeader::decode(&bytes) {
            Ok(header) => return Ok(header),
            Err(HeaderFault::Newer) => return Err(newer_format(path)),
            Err(fault) => first = first.or(Some(fault)),
        }
    }
    if first == Some(HeaderFault::Foreign) {
        return Err(not_a_larder(path, "not a larder file, or nothing is left of its header"));
    }
    let message = "the file header and both of its copies are damaged; nothing can be saved";
    Err(Error::new(ErrorKind::Damaged, message).with_path(path).with_offset(0))
}

/// Walks the whole file, from each damaged place on to the next sound record. Returns how many bytes were passed over,
/// and how many records were found by searching.
pub(super) fn salvage(file: &dyn DiskFile, header: &FileHeader, size: u64) -> io::Result<(View, u64, u64)> {
    let mut view = View::new(header);
    let (mut lost, mut found) = (0, 0);
    let mut from = view.position();
    loop {
        let mut walk = Walk::new(file, header.file_id, size, from, Look::Everything);
        while let Ok(batch) = walk.next_batch() {
            view.publish(&batch, walk.position(), &HashMap::new());
        }
        let stopped = walk.position().offset;
        // Where a walk began and got nowhere, nothing can begin; nor in a batch whose end is missing.
        let resume =
            if walk.reached() > stopped || stopped > from.offset { walk.reached() } else { stopped + RECORD_ALIGN };
        let next = find_record(file, header.file_id, resume, size);
        lost += next.map_or(size.max(LOG_START), |next| next.offset) - stopped.min(size.max(LOG_START));
        match next {
            Some(next) => (from, found) = (next, found + 1),
            None => return Ok((view, lost, found)),
        }
    }
}

/// The next place at or behind `from` where the header of a record of this file stands.
fn find_record(file: &dyn DiskFile, file_id: u64, mut from: u64, size: u64) -> Option<Position> {
    const BLOCK: usize = 1 << 20;
    while from + RECORD_HEADER_LEN as u64 <= size {
        let mut block = Vec::new();
        if read_at(file, &mut block, BLOCK + RECORD_HEADER_LEN, from).is_err() {
            // What cannot be read in one piece is tried in smaller ones, so that one bad sector costs little.
            block.clear();
            let _ = read_at(file, &mut block, 512 + RECORD_HEADER_LEN, from);
        }
        let step = block.len().saturating_sub(RECORD_HEADER_LEN).max(512).next_multiple_of(8);
        for at in (0..step).step_by(8) {
            let Some(bytes) = block.get(at..at + RECORD_HEADER_LEN) else { break };
            let offset = from + at as u64;
            if bytes.starts_with(&RECORD_MAGIC)
                && let Ok(header) = RecordHeader::decode(bytes, file_id, offset)
                && offset + header.total_len() <= size
            {
                return Some(Position { offset, chain: header.prev_crc });
            }
        }
        from += step as u64;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Log, Options};
    use std::fs;

    #[test]
    fn a_rotten_record_costs_itself_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old.larder"), folder.path().join("new.larder"));
        let log = Log::open(&old, Options::new()).unwrap();
        for i in 0..50 {
            log.put(format!("key {i}"), vec![i; 1000]).unwrap();
        }
        log.alias("alias", "key 7").unwrap();
        log.close().unwrap();
        let mut bytes = fs::read(&old).unwrap();
        // The headers of records 20 and 21 go, and the file header.
        for at in [0_usize, 1].map(|n| 12_288 + (20 + n) * 1104).into_iter().chain([20]) {
            bytes[at] ^= 0xFF;
        }
        fs::write(&old, &bytes).unwrap();
        assert_eq!(Log::open(&old, Options::new()).unwrap_err().kind(), ErrorKind::Damaged);

        let report = repair(&old, &new).unwrap();
        assert_eq!((report.entries, report.aliases, report.lost_bytes), (48, 1, 2 * 1104));
        assert_eq!(fs::read(&old).unwrap(), bytes, "the old file is not touched");
        let log = Log::open(&new, Options::new()).unwrap();
        assert_eq!(log.get("key 19").unwrap().as_deref(), Some(&[19; 1000][..]));
        assert_eq!((log.get("key 20").unwrap(), log.get("key 21").unwrap()), (None, None));
        assert_eq!(log.get("alias").unwrap().as_deref(), Some(&[7; 1000][..]));
        assert!(log.check().unwrap().is_sound());
        assert_eq!(repair(&old, &new).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
