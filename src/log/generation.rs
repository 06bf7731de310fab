//! One generation of a log: one inode, held open, with the map of what is in it.
//!
//! Published bytes of a generation never change; a compaction makes a new one and leaves the old to its readers.

use super::{
    commit::SyncState,
    disk::{Disk, DiskFile, Stat, read_at},
    env::{Env, FailedFiles},
    header::{FileHeader, HeaderFault, Slots},
    layout::{FILE_HEADER_LEN, LOG_START, RECORD_CRC_FROM, SLOT_LEN, SLOT_OFFSETS},
    lock::Gate,
    view::View,
    walk::{Batch, End, Look, Position, Walk},
};
use crate::{Error, ErrorKind, Result};
use std::{
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// An open file of a log.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) file: Box<dyn DiskFile>,
    /// As it was when the file was opened: which inode it is.
    pub(super) stat: Stat,
    pub(super) header: FileHeader,
    /// The process that opened the file. A forked child shares the lock of its parent, so it must open its own.
    pub(super) pid: u32,
    view: RwLock<View>,
    /// The view's position, readable without its lock.
    seen: AtomicU64,
    slots: Mutex<Slots>,
    pub(super) gate: Gate,
    pub(super) sync: Mutex<SyncState>,
    pub(super) sync_done: Condvar,
    /// Whether this process has made the file's name durable.
    pub(super) folder_synced: AtomicBool,
    /// Whether this process has written to the file.
    pub(super) written: AtomicBool,
    /// Where this process notes files on which a sync has failed.
    pub(super) failed: Arc<FailedFiles>,
    /// Whether a sync has failed since the file was last read from its beginning.
    pub(super) in_doubt: AtomicBool,
}

/// What catching up came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CaughtUp {
    /// The view is at the end of the file.
    Complete,
    /// Bytes follow that are no complete batch.
    Torn,
    /// Sound bytes follow that this code does not understand.
    Newer,
    /// The file has become shorter than what was read of it.
    Shrunk,
}

impl Generation {
    /// Reads all records of an open file.
    pub(super) fn load(env: &Env, path: &Path, file: Box<dyn DiskFile>) -> Result<Self> {
        let generation = Self::of(env, path, file)?;
        generation.read_on(path, Look::Everything)?;
        Ok(generation)
    }

    /// A generation of an open file, nothing of its log read yet.
    fn of(env: &Env, path: &Path, file: Box<dyn DiskFile>) -> Result<Self> {
        let stat = file.stat().map_err(|error| Error::io("read the cache file's size", path, error))?;
        if !stat.is_file {
            return Err(not_a_larder(path, NOT_A_FILE));
        }
        let header = read_header(&*file, path)?;
        let slots = read_slots(&*file, &header);
        let view = View::new(&header);
        Ok(Self::new(env, file, stat, header, slots, view))
    }

    /// A generation that a compaction has just built, synced and put in place; its folder is not synced yet.
    pub(super) fn built(
        env: &Env,
        path: &Path,
        file: Box<dyn DiskFile>,
        header: FileHeader,
        slots: Slots,
        view: View,
    ) -> Result<Self> {
        let stat = file.stat().map_err(|error| Error::io("read the cache file's size", path, error))?;
        Ok(Self::new(env, file, stat, header, slots, view))
    }

    /// A generation of a file as a salvage finds it.
    pub(super) fn salvaged(env: &Env, file: Box<dyn DiskFile>, stat: Stat, header: FileHeader, view: View) -> Self {
        Self::new(env, file, stat, header, Slots::EMPTY, view)
    }

    fn new(env: &Env, file: Box<dyn DiskFile>, stat: Stat, header: FileHeader, slots: Slots, view: View) -> Self {
        Self {
            seen: AtomicU64::new(view.position().offset),
            sync: Mutex::new(SyncState::new(slots.synced(), env.failed.contains(&stat, header.file_id))),
            failed: Arc::clone(&env.failed),
            file,
            stat,
            header,
            pid: (env.pid)(),
            view: RwLock::new(view),
            slots: Mutex::new(slots),
            gate: Gate::default(),
            sync_done: Condvar::new(),
            folder_synced: AtomicBool::new(false),
            written: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
        }
    }

    /// The map, locked for reading.
    pub(super) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the log ends, as far as this process has seen.
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// Whether the file has become shorter than what was read of it. One that ends before its log, as a copy that was
    /// cut off does, has never been longer.
    pub(super) fn has_shrunk(&self, size: u64) -> bool {
        size < self.seen() && self.seen() > LOG_START
    }

    /// Takes in what others have appended.
    pub(super) fn catch_up(&self, path: &Path, stat: &Stat) -> Result<CaughtUp> {
        if stat.size == self.seen() { Ok(CaughtUp::Complete) } else { self.read_on(path, Look::Headers) }
    }

    /// Takes in what others have appended, however long the file is by now.
    pub(super) fn catch_up_now(&self, path: &Path) -> Result<CaughtUp> {
        self.read_on(path, Look::Headers)
    }

    /// Reads all of the file anew if a sync has failed since the last time: the system may have taken what it could
    /// not write out of its cache, and shows what stood there before. The caller holds the writer lock.
    pub(super) fn catch_up_or_doubt(&self, path: &Path, stat: &Stat) -> Result<CaughtUp> {
        if !self.in_doubt.swap(false, Ordering::AcqRel) {
            return self.catch_up(path, stat);
        }
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        *view = View::new(&self.header);
        self.seen.store(view.position().offset, Ordering::Release);
        let read = self.read_into(&mut view, path, Look::Everything);
        self.in_doubt.fetch_or(read.is_err(), Ordering::AcqRel);
        read
    }

    fn read_on(&self, path: &Path, look: Look) -> Result<CaughtUp> {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        self.read_into(&mut view, path, look)
    }

    fn read_into(&self, view: &mut View, path: &Path, look: Look) -> Result<CaughtUp> {
        // The size before the bytes: then every byte below it has been written.
        let size = self.file.stat().map_err(|error| Error::io("read the cache file's size", path, error))?.size;
        if size < view.position().offset {
            return Ok(if size < LOG_START && view.records() == 0 { CaughtUp::Torn } else { CaughtUp::Shrunk });
        }
        let mut walk = Walk::new(&*self.file, self.header.file_id, size, view.position(), look);
        loop {
            match walk.next_batch() {
                Ok(batch) => {
                    view.publish(&batch, walk.position());
                    self.seen.store(walk.position().offset, Ordering::Release);
                }
                Err(End::Clean) => return Ok(CaughtUp::Complete),
                Err(End::Torn) => return Ok(CaughtUp::Torn),
                Err(End::Newer) => return Ok(CaughtUp::Newer),
                Err(End::Unreadable(error)) => {
                    return Err(Error::io("read the log", path, error).with_offset(walk.position().offset));
                }
            }
        }
    }

    /// Takes in a batch that this process has appended, unless a reader has already caught up with it.
    pub(super) fn publish(&self, batch: &Batch, position: Position) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if view.position().offset < position.offset {
            view.publish(batch, position);
            self.seen.store(position.offset, Ordering::Release);
        }
    }

    /// Whether the log is still the one that was read, and not that of another file written over it in place. The
    /// chain makes the last record vouch for all before it.
    pub(super) fn is_same_log(&self) -> io::Result<bool> {
        let mut bytes = Vec::new();
        let Some((offset, crc)) = self.view().last_record() else {
            read_at(&*self.file, &mut bytes, FILE_HEADER_LEN, 0)?;
            return Ok(bytes == self.header.encode());
        };
        read_at(&*self.file, &mut bytes, RECORD_CRC_FROM, offset)?;
        Ok(bytes.get(4..) == Some(&crc.to_le_bytes()[..]))
    }

    /// The same, and that the file header is still there. A file that cannot be read at the moment is not another.
    pub(super) fn is_intact(&self) -> bool {
        let mut header = Vec::new();
        let read = read_at(&*self.file, &mut header, FILE_HEADER_LEN, 0);
        (read.is_err() || header == self.header.encode()) && self.is_same_log().unwrap_or(true)
    }

    /// What the slots said when they were last read or written.
    pub(super) fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the slots say now; other processes write them too.
    pub(super) fn reread_slots(&self) -> MutexGuard<'_, Slots> {
        let mut slots = self.slots();
        *slots = read_slots(&*self.file, &self.header);
        slots
    }
}

fn read_header(file: &dyn DiskFile, path: &Path) -> Result<FileHeader> {
    let mut bytes = Vec::new();
    read_at(file, &mut bytes, FILE_HEADER_LEN, 0).map_err(|error| Error::io("read the cache file", path, error))?;
    FileHeader::decode(&bytes).map_err(|fault| match fault {
        HeaderFault::Foreign if bytes.is_empty() => not_a_larder(path, "empty, so there is nothing to read yet"),
        HeaderFault::Foreign => not_a_larder(path, "not a larder file; choose another name or remove it"),
        HeaderFault::Damaged => {
            let message = "the file header is damaged; `repair` can save the entries into a new file";
            Error::new(ErrorKind::Damaged, message).with_path(path).with_offset(0)
        }
        HeaderFault::Newer => newer_format(path),
    })
}

/// A page that cannot be read counts as a bad slot: slots are hints.
fn read_slots(file: &dyn DiskFile, header: &FileHeader) -> Slots {
    let pages = SLOT_OFFSETS.map(|at| {
        let mut bytes = Vec::new();
        let read = read_at(file, &mut bytes, SLOT_LEN, at);
        // A file that ends before its slots was copied in part; the missing bytes are as good as zeros.
        bytes.resize(SLOT_LEN, 0);
        read.ok().map(|_| bytes)
    });
    Slots::decode([pages[0].as_deref(), pages[1].as_deref()], header.file_id)
}

pub(super) const NOT_A_FILE: &str = "a folder, a device or a link to nowhere; choose another name";

pub(super) fn not_a_larder(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::NotALarder, format!("what stands here is {what}")).with_path(path)
}

pub(super) fn newer_format(path: &Path) -> Error {
    let message = "the file was written by a newer version of larder; upgrade this program or use another file";
    Error::new(ErrorKind::NewerFormat, message).with_path(path)
}

/// The folder that holds a file, as a path that can be opened.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a path names this very file now.
pub(super) fn names(disk: &dyn Disk, path: &Path, stat: &Stat) -> Result<bool> {
    let named = disk.stat_path(path).map_err(|error| Error::io("look up the cache file", path, error))?;
    Ok(named.is_some_and(|named| named.same_file(stat)))
}
