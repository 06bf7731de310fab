//! Compaction: what lives is copied into a new file, which then takes the old one's name.
//!
//! The bulk is copied beside running writers; only the last piece is copied under the writer lock. Killed at any step,
//! it leaves the old file whole and at most a dead `NAME.larder.new`.

use super::{
    disk::write_at,
    fields::crc32,
    generation::{Generation, folder_of},
    header::{FileHeader, Slot},
    layout::{
        CHUNK_MAX, EXTENT_LEN, FLAG_AUX, FLAG_EXTENTS, INLINE_BODY_MAX, LOG_START, RECORD_ALIGN, RECORD_HEADER_LEN,
    },
    new_file::NewFile,
    open::new_header,
    plant::{Bug, planted},
    read::{Read, Want},
    record::{Extent, Kind, RecordHeader},
    shared::{Settings, Shared},
    view::{Loc, Role, View},
    walk::{Batch, End, Found, Look, Position, Walk},
};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::{io::IoSlice, sync::Arc, time::Duration};

/// What a compaction takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// All that lives.
    Live,
    /// Nothing: a clear that the old file has no room for.
    Nothing,
}

impl Shared {
    /// Rewrites the file so that it holds what lives and nothing else.
    pub(super) fn compact(&self, keep: Keep, settings: &Settings) -> Result<()> {
        self.may_write()?;
        let new = NewFile::acquire(&self.env, &self.path, settings.lock_timeout)?;
        // Taking the lock once shows early whether the file may be rewritten at all.
        let old = Arc::clone(&self.lock(settings)?.generation);
        self.check_room(&old, keep)?;
        let header = new_header(&self.env, old.header.file_id, Some(old.header.hash_key))?;
        new.begin(&header)?;
        let mut copier = Copier::new(self, &old, &new, header);
        if keep == Keep::Live {
            copier.copy_live(self.drop_before(&old))?;
            copier.copy_appended_until_short()?;
            copier.flush()?;
            // Most of the data reaches the medium here, while writers go on.
            new.sync()?;
        }
        let guard = self.lock(settings)?;
        if !Arc::ptr_eq(&guard.generation, &old) {
            // The path names another file by now: somebody else has compacted, replaced or removed it.
            return Ok(());
        }
        if keep == Keep::Live {
            copier.copy_appended()?;
        }
        let (view, slots) = copier.finish()?;
        let stat = old.file.stat().map_err(|error| Error::io("look up the cache file", &self.path, error))?;
        new.file().adopt(&stat).map_err(|error| Error::io("set the mode of the new file", &self.path, error))?;
        if !planted(Bug::CompactUnsynced) {
            new.sync()?;
        }
        let file = new.publish_over()?;
        let synced = if planted(Bug::FolderUnsynced) { Ok(()) } else { self.env.disk.sync_dir(folder_of(&self.path)) };
        let generation = Generation::built(&self.env, &self.path, file, header, slots, view)?;
        let synced = generation.note_folder_synced(synced, &self.path);
        let generation = Arc::new(generation);
        self.adopt(Arc::clone(&generation));
        // A hint for readers of the old file that have no reason to look at its name; they notice later without it.
        let _ = self.apply_locked(&guard, vec![super::append::Step::Write(super::append::Draft::seal())], &FAST);
        // Only now may somebody else acknowledge a write to the new file.
        let _ = generation.file.unlock();
        synced
    }

    fn check_room(&self, old: &Generation, keep: Keep) -> Result<()> {
        let live = if keep == Keep::Live { old.view().live_bytes() } else { 0 };
        let needed = live + LOG_START;
        let free = self.env.disk.free_bytes(folder_of(&self.path)).unwrap_or(u64::MAX);
        if free >= needed {
            return Ok(());
        }
        let message =
            format!("compaction needs {needed} bytes and {free} are free; free some space or clear the cache");
        Err(Error::new(ErrorKind::Full, message).with_path(&self.path))
    }

    /// Entries whose time to be dropped lies before this are dropped; `i64::MIN` if the wall clock cannot be trusted.
    fn drop_before(&self, old: &Generation) -> i64 {
        const DRIFT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
        let (wall, monotonic) = self.opened_at;
        let now = self.env.clock.wall_ms();
        let real = self.env.clock.monotonic().saturating_sub(monotonic).as_millis();
        let drift = i128::from(now) - i128::from(wall) - i128::try_from(real).unwrap_or(i128::MAX);
        let jumped = drift.unsigned_abs() > DRIFT_MAX.as_millis();
        if jumped || now < old.view().newest_ms() { i64::MIN } else { now }
    }
}

/// Settings for what need not be durable, since something else makes it so.
const FAST: Settings =
    Settings { fast_save: true, on_damage: super::options::OnDamage::Error, lock_timeout: Duration::ZERO };

/// Copies records of one generation into a new file, which it describes in a map as it goes.
struct Copier<'a> {
    shared: &'a Shared,
    old: &'a Generation,
    new: &'a NewFile<'a>,
    header: FileHeader,
    /// Where the old log has been copied to.
    copied: Position,
    view: View,
    /// Written out when it is large.
    buffer: Vec<u8>,
}

impl<'a> Copier<'a> {
    fn new(shared: &'a Shared, old: &'a Generation, new: &'a NewFile<'a>, header: FileHeader) -> Self {
        let copied = old.view().position();
        Self { shared, old, new, header, copied, view: View::new(&header), buffer: Vec::new() }
    }

    /// Copies the newest record of each key, in log order.
    fn copy_live(&mut self, drop_before: i64) -> Result<()> {
        let (live, position) = {
            let view = self.old.view();
            (view.in_log_order(), view.position())
        };
        self.copied = position;
        for (_, loc) in live {
            // One bad record costs itself and no other; it is counted, and `check` names it.
            let Some(read) = self.old.read(loc, None, Want::Body, &self.shared.counters)? else { continue };
            if read.header.drop_after_ms >= drop_before && self.may_resolve(&read) {
                self.copy(read)?;
            }
        }
        Ok(())
    }

    /// Whether an alias still leads somewhere, or may come to. Incarnations never return, so what is cut off stays so.
    fn may_resolve(&self, read: &Read) -> bool {
        let promised = read.header.raw_len;
        if read.loc.role != Role::Alias || promised == 0 {
            return true;
        }
        let target = self.old.view().find(self.old.header.hash(&read.body));
        target.is_some_and(|target| target.incarnation == promised)
    }

    /// Copies what was appended meanwhile, until that is so little that writers can wait for the rest.
    fn copy_appended_until_short(&mut self) -> Result<()> {
        const REST_MAX: u64 = 1 << 20;
        const ROUNDS_MAX: usize = 8;
        for _ in 0..ROUNDS_MAX {
            self.old.catch_up_now(&self.shared.path)?;
            if self.old.seen() - self.copied.offset <= REST_MAX {
                break;
            }
            self.copy_appended()?;
        }
        Ok(())
    }

    /// Copies all kinds of records behind those that were copied, deletes too.
    fn copy_appended(&mut self) -> Result<()> {
        let end = self.old.seen();
        let mut walk = Walk::new(&*self.old.file, self.old.header.file_id, end, self.copied, Look::Everything);
        loop {
            match walk.next_batch() {
                Ok(batch) if batch.unsound.is_empty() => {
                    for found in &batch.records {
                        self.copy_found(found)?;
                    }
                }
                Ok(_) => {}
                Err(End::Unreadable(error)) => return Err(Error::io("read the log", &self.shared.path, error)),
                Err(_) => break,
            }
            self.copied = walk.position();
        }
        Ok(())
    }

    fn copy_found(&mut self, found: &Found) -> Result<()> {
        match found.header.kind {
            Kind::Put | Kind::Alias => {
                let loc = Loc::of(found);
                match self.old.read(loc, None, Want::Body, &self.shared.counters)? {
                    Some(read) => self.copy(read),
                    None => Ok(()),
                }
            }
            Kind::Delete if planted(Bug::CompactForgetsDeletes) => Ok(()),
            Kind::Delete => {
                // A delete has no body, so that its key is all there is to read.
                let loc = Loc::of(found);
                let read = self.old.read(loc, None, Want::Body, &self.shared.counters)?;
                read.map_or(Ok(()), |read| self.write(found.header, &read.key, &[], &[]))
            }
            Kind::Clear => self.write(found.header, &[], &[], &[]),
            Kind::Chunk | Kind::Index | Kind::Touch | Kind::Seal | Kind::Skipped(_) => Ok(()),
        }
    }

    /// Copies a value or an alias; bodies that stood elsewhere in the old file are made part of the record.
    fn copy(&mut self, read: Read) -> Result<()> {
        let mut header = read.header;
        if header.extents() && header.body_len > INLINE_BODY_MAX {
            let table = self.copy_in_chunks(&read.body)?;
            header.body_crc = crc32(&[&table]);
            header.extent_count = u32::try_from(table.len() / EXTENT_LEN).unwrap_or(u32::MAX);
            return self.write(header, &read.key, &read.head, &table);
        }
        header.flags &= !FLAG_EXTENTS;
        header.extent_count = 0;
        header.body_crc = crc32(&[&read.body]);
        self.write(header, &read.key, &read.head, &read.body)
    }

    /// Writes a body as chunks, and returns the table that names them.
    fn copy_in_chunks(&mut self, body: &Bytes) -> Result<Vec<u8>> {
        let mut table = Vec::new();
        for chunk in body.chunks(usize::try_from(CHUNK_MAX).unwrap_or(usize::MAX)) {
            let mut header = RecordHeader::new(Kind::Chunk);
            header.body_len = chunk.len() as u64;
            header.body_crc = crc32(&[chunk]);
            let offset = header.body_part_at(self.view.position().offset);
            let len = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            table.extend(Extent { offset, len, crc: header.body_crc }.encode());
            self.write(header, &[], &[], chunk)?;
        }
        Ok(table)
    }

    /// Appends one record to the new file, as a batch of its own: nobody sees the file before it is complete.
    fn write(&mut self, mut header: RecordHeader, key: &[u8], head: &[u8], body: &[u8]) -> Result<()> {
        const BUFFER_MAX: usize = 1 << 20;
        let at = self.view.position();
        header.flags &= FLAG_EXTENTS | FLAG_AUX;
        header.prev_crc = at.chain;
        let bytes = header.encode(self.header.file_id, at.offset);
        for piece in [&bytes, key, head, body] {
            self.buffer.extend_from_slice(piece);
        }
        self.buffer.resize(self.buffer.len().next_multiple_of(usize::try_from(RECORD_ALIGN).unwrap_or(8)), 0);
        debug_assert!(self.buffer.len() >= RECORD_HEADER_LEN);
        let end = Position { offset: at.offset + header.total_len(), chain: header.header_crc };
        let batch = Batch { records: vec![Found { offset: at.offset, header }], unsound: Vec::new() };
        self.view.publish(&batch, end);
        if self.buffer.len() >= BUFFER_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let offset = self.view.position().offset - self.buffer.len() as u64;
        write_at(self.new.file(), &mut [IoSlice::new(&self.buffer)], offset)
            .map_err(|error| Error::io("write the compacted cache file", &self.shared.path, error))?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left and the slot. The sync that must follow makes both true at once.
    fn finish(mut self) -> Result<(View, super::header::Slots)> {
        self.flush()?;
        let mut slots = super::header::Slots::EMPTY;
        let slot = Slot::without_index(&self.header, &self.view, self.view.position().offset);
        let (offset, bytes) = slots.advance(slot, self.header.file_id);
        write_at(self.new.file(), &mut [IoSlice::new(&bytes)], offset)
            .map_err(|error| Error::io("write the compacted cache file", &self.shared.path, error))?;
        Ok((self.view, slots))
    }
}
