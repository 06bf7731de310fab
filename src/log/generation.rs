//! One generation of a log: one inode, held open, with the map of what is in it.
//!
//! Published bytes of a generation never change; a compaction makes a new one and leaves the old to its readers.

use super::{
    commit::SyncState,
    disk::{Disk, DiskFile, Stat, read_at},
    env::{Env, FailedFiles},
    header::{FileHeader, HeaderFault, Slot, Slots},
    index::segment_of,
    layout::{FILE_HEADER_LEN, LOG_START, RECORD_CRC_FROM, SLOT_LEN, SLOT_OFFSETS},
    lock::Gate,
    segment::Segment,
    sync::{AtomicBool, AtomicU64, Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    tier::Tier,
    view::View,
    walk::{Batch, End, Look, Position, Walk},
};
use crate::{Error, ErrorKind, Result};
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, atomic::Ordering},
};

/// An open file of a log.
#[derive(Debug)]
pub(super) struct Generation {
    /// The path that named it when it was opened, to say it in errors.
    path: PathBuf,
    pub(super) file: Box<dyn DiskFile>,
    /// As it was when the file was opened: which inode it is.
    pub(super) stat: Stat,
    pub(super) header: FileHeader,
    map_index: bool,
    /// The process that opened the file. A forked child shares the lock of its parent, so it must open its own.
    pub(super) pid: u32,
    view: RwLock<View>,
    /// The view's position, readable without its lock.
    seen: AtomicU64,
    slots: Mutex<Slots>,
    pub(super) gate: Gate,
    /// Lets one thread at a time make an index.
    pub(super) checkpointing: Gate,
    pub(super) sync: Mutex<SyncState>,
    pub(super) sync_done: Condvar,
    /// Whether this process has made the file's name durable.
    pub(super) folder_synced: AtomicBool,
    /// Bytes of chunks in the file that no value names yet, and some value of this process is going to.
    pub(super) staged_bytes: AtomicU64,
    /// Whether this process has written to the file.
    pub(super) written: AtomicBool,
    /// Whether this process has seen to it that there is a thread for work in the background.
    pub(super) has_background: AtomicBool,
    /// Where this process notes files on which a sync has failed.
    pub(super) failed: Arc<FailedFiles>,
    /// Whether a sync has failed since the file was last read from its beginning.
    pub(super) in_doubt: AtomicBool,
    pub(super) tier: Tier,
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
    /// Opens a file that may be a log: takes the index that its slots name, and reads all records behind that.
    pub(super) fn load(env: &Env, path: &Path, file: Box<dyn DiskFile>) -> Result<Self> {
        let generation = Self::of(env, path, file)?;
        generation.take_index();
        generation.read_on(Look::Opening)?;
        // A walk that began at an index and ends before its time begins again, so that the verdict is on the whole log.
        if generation.seen() < generation.slots().synced() {
            generation.read_anew(true, |view| view.segment().is_some())?;
        }
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
        Ok(Self::new(env, path, file, stat, header, slots, view))
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
        Ok(Self::new(env, path, file, stat, header, slots, view))
    }

    /// A generation of a file as a salvage finds it.
    pub(super) fn salvaged(
        env: &Env,
        path: &Path,
        file: Box<dyn DiskFile>,
        stat: Stat,
        header: FileHeader,
        view: View,
    ) -> Self {
        Self::new(env, path, file, stat, header, Slots::EMPTY, view)
    }

    fn new(
        env: &Env,
        path: &Path,
        file: Box<dyn DiskFile>,
        stat: Stat,
        header: FileHeader,
        slots: Slots,
        view: View,
    ) -> Self {
        Self {
            path: path.to_owned(),
            map_index: env.map_index,
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
            checkpointing: Gate::default(),
            sync_done: Condvar::new(),
            folder_synced: AtomicBool::new(false),
            staged_bytes: AtomicU64::new(0),
            written: AtomicBool::new(false),
            has_background: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
            tier: Tier::new(env.memory_tier, header.hash_key),
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
    pub(super) fn catch_up(&self, stat: &Stat) -> Result<CaughtUp> {
        if stat.size == self.seen() { Ok(CaughtUp::Complete) } else { self.read_on(Look::Headers) }
    }

    /// Takes in what others have appended, however long the file is by now.
    pub(super) fn catch_up_now(&self) -> Result<CaughtUp> {
        self.read_on(Look::Headers)
    }

    /// Reads all of the file anew if a sync has failed since the last time: the system may have taken what it could
    /// not write out of its cache, and shows what stood there before. The caller holds the writer lock.
    pub(super) fn catch_up_or_doubt(&self, stat: &Stat) -> Result<CaughtUp> {
        if !self.in_doubt.swap(false, Ordering::AcqRel) {
            return self.catch_up(stat);
        }
        let mut view = self.view_mut();
        let read = self.begin_anew(&mut view, true);
        self.in_doubt.fetch_or(read.is_err(), Ordering::AcqRel);
        read
    }

    /// Reads the log from its beginning, without an index, if `wanted` still says so under the lock of the view.
    pub(super) fn read_anew(&self, may_shrink: bool, wanted: impl FnOnce(&View) -> bool) -> Result<()> {
        let mut view = self.view_mut();
        if wanted(&view) {
            self.begin_anew(&mut view, may_shrink)?;
        }
        Ok(())
    }

    /// What cannot be read to its end does not take the place of what is known: an empty map would be a lie. Nor does a
    /// log that ends earlier than it did, unless it is being opened or in doubt: a writer may be about to append.
    fn begin_anew(&self, view: &mut View, may_shrink: bool) -> Result<CaughtUp> {
        let mut fresh = View::new(&self.header);
        let caught_up = self.read_into(&mut fresh, Look::Opening)?;
        if fresh.position().offset < view.position().offset && !may_shrink {
            let message = "the index and the log before it are damaged; `repair` can save the entries into a new file";
            let error = Error::new(ErrorKind::Damaged, message).with_path(&self.path);
            return Err(error.with_offset(fresh.position().offset));
        }
        *view = fresh;
        self.seen.store(view.position().offset, Ordering::Release);
        Ok(caught_up)
    }

    fn read_on(&self, look: Look) -> Result<CaughtUp> {
        let mut view = self.view_mut();
        let caught_up = self.read_into(&mut view, look);
        self.seen.store(view.position().offset, Ordering::Release);
        caught_up
    }

    fn read_into(&self, view: &mut View, look: Look) -> Result<CaughtUp> {
        // The size before the bytes: then every byte below it has been written.
        let size = self.file.stat().map_err(|error| Error::io("read the cache file's size", &self.path, error))?.size;
        if size < view.position().offset {
            let empty = view.position().offset == LOG_START;
            return Ok(if empty { CaughtUp::Torn } else { CaughtUp::Shrunk });
        }
        let mut walk = Walk::new(&*self.file, self.header.file_id, size, view.position(), look);
        loop {
            match walk.next_batch() {
                Ok(batch) => {
                    if !self.publish_into(view, &batch, walk.position()) {
                        // The index is bad; what comes next is read with the rest.
                        return self.begin_anew(view, look == Look::Opening);
                    }
                }
                Err(End::Clean) => return Ok(CaughtUp::Complete),
                Err(End::Torn) => return Ok(CaughtUp::Torn),
                Err(End::Newer) => return Ok(CaughtUp::Newer),
                Err(End::Unreadable(error)) => {
                    return Err(Error::io("read the log", &self.path, error).with_offset(walk.position().offset));
                }
            }
        }
    }

    /// Takes in a batch that this process has appended, unless a reader has already caught up with it.
    pub(super) fn publish(&self, batch: &Batch, position: Position) -> Result<()> {
        let mut view = self.view_mut();
        if view.position().offset < position.offset && !self.publish_into(&mut view, batch, position) {
            return self.begin_anew(&mut view, false).map(drop);
        }
        self.seen.store(view.position().offset, Ordering::Release);
        Ok(())
    }

    /// Takes in a batch; `false` if that takes an index which has proved bad.
    fn publish_into(&self, view: &mut View, batch: &Batch, position: Position) -> bool {
        let mut replaced = HashMap::new();
        for (hash, role) in view.uncovers(batch) {
            let Some(segment) = view.segment() else { break };
            let Ok(found) = segment.account(&*self.file, hash, role) else { return false };
            replaced.extend(found.map(|loc| (hash, loc)));
        }
        view.publish(batch, position, &replaced);
        true
    }

    /// Stands on the index that the slots name, if it is one. Nothing of the log has been read yet.
    fn take_index(&self) {
        let Some(slot) = self.slots().best().filter(Slot::names_index) else { return };
        let Some(segment) = self.open_segment(slot.index_off, slot.index_len) else { return };
        let covers = Position { offset: slot.covers, chain: slot.covers_crc };
        if segment.summary().covers != covers {
            return;
        }
        let view = View::indexed(segment);
        if self.is_at(view.last_record()).unwrap_or(false) {
            self.seen.store(covers.offset, Ordering::Release);
            *self.view_mut() = view;
        }
    }

    /// Stands on an index that this process has made.
    pub(super) fn adopt_index(&self, record: u64, body_len: u64) {
        let (offset, len) = segment_of(record, body_len);
        if let Some(segment) = self.open_segment(offset, len) {
            let mut view = self.view_mut();
            if view.tail_start() < segment.summary().covers.offset {
                view.adopt(segment);
            }
        }
    }

    /// `None` if it is bad: an index is a convenience.
    pub(super) fn open_segment(&self, offset: u64, len: u64) -> Option<Segment> {
        let opened = Segment::open(&*self.file, self.header.file_id, offset, len, self.map_index);
        opened.ok()
    }

    fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the log is still the one that was read, and not that of another file written over it in place. The
    /// chain makes the last record vouch for all before it.
    pub(super) fn is_same_log(&self) -> io::Result<bool> {
        let last = self.view().last_record();
        self.is_at(last)
    }

    /// Whether this is the last record of the log, or the file header its beginning.
    fn is_at(&self, last: Option<(u64, u32)>) -> io::Result<bool> {
        let mut bytes = Vec::new();
        let Some((offset, crc)) = last else {
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
