//! Copying the records of one generation into a new file: what compaction and repair have in common.

use super::{
    append::touch_header,
    bookkeeping::{Bookkeeping, Relied},
    checkpoint::IndexAt,
    copy_body::Moved,
    disk::write_at,
    env::{Env, Pieces},
    generation::Generation,
    header::{FileHeader, Slot, Slots},
    index::{Draft, IndexEntry},
    layout::{FLAG_AUX, FLAG_EXTENTS, FLAG_SKIPPABLE},
    new_file::NewFile,
    plant::{Bug, planted},
    read::Want,
    record::{Kind, RecordHeader},
    segment::Segment,
    shared::Counters,
    usage::Uses,
    view::{Loc, Role, View},
    walk::{Batch, End, Found, Look, Position, Walk},
};
use crate::{Error, ErrorKind, Result};
use std::{
    collections::{HashMap, HashSet},
    io::IoSlice,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

/// Copies records of one generation into a new file, which it describes in a map as it goes.
pub(super) struct Copier<'a> {
    pub(super) path: &'a Path,
    pub(super) counters: &'a Counters,
    pub(super) old: &'a Generation,
    new: &'a NewFile<'a>,
    header: FileHeader,
    pub(super) pieces: Pieces,
    pub(super) moved: Moved,
    /// Where the old log has been copied to.
    copied: Position,
    view: View,
    /// While what lives is copied into a file that gets an index: the entries that will be in it.
    indexing: Option<Vec<IndexEntry>>,
    index: Option<IndexAt>,
    map_index: bool,
    /// Written out when it is as long as a chunk.
    buffer: Vec<u8>,
    /// Values that are left out to make room.
    pub(super) evicted: HashSet<u128>,
    /// What knows the records of the layer above, and what it has made of them.
    pub(super) bookkeeping: Option<Arc<dyn Bookkeeping>>,
    pub(super) relied: Relied,
    pub(super) now_ms: i64,
    /// How many entries that cannot be read may be left out.
    pub(super) unreadable_max: u64,
    /// How many were.
    unreadable: u64,
    /// Whether a write has failed, so that the new file is not what the view says and nothing may follow.
    spoiled: bool,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        env: &Env,
        path: &'a Path,
        counters: &'a Counters,
        old: &'a Generation,
        new: &'a NewFile<'a>,
        header: FileHeader,
    ) -> Self {
        let (copied, indexing) = {
            let view = old.view();
            let rule = env.checkpoints;
            let large = view.live_bytes() > rule.small_bytes && view.entries() > rule.small_keys as u64;
            (view.position(), large.then(Vec::new))
        };
        Self {
            path,
            counters,
            old,
            new,
            header,
            pieces: env.pieces,
            moved: Moved::new(),
            copied,
            view: View::new(&header),
            indexing,
            index: None,
            map_index: env.map_index,
            buffer: Vec::new(),
            evicted: HashSet::new(),
            bookkeeping: env.bookkeeping.clone(),
            relied: Relied::default(),
            now_ms: env.clock.wall_ms(),
            unreadable_max: 0,
            unreadable: 0,
            spoiled: false,
        }
    }

    /// Copies the newest record of each key, in log order.
    pub(super) fn copy_live(&mut self, drop_before: i64) -> Result<()> {
        let mut live = self.old.snapshot()?;
        self.copied = live.position;
        loop {
            let (hash, loc) = match live.next(self.old, self.counters) {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) => {
                    self.leave_out(error)?;
                    continue;
                }
            };
            if self.evicted.contains(&hash) {
                continue;
            }
            // One bad record costs itself and no other; it is counted, and `check` names it. One whose read fails once
            // is none.
            let mut copied = self.copy(hash, loc, drop_before);
            if copied.is_err() && !self.spoiled {
                copied = self.copy(hash, loc, drop_before);
            }
            copied.or_else(|error| self.leave_out(error))?;
        }
        self.write_index()
    }

    fn copy(&mut self, hash: u128, loc: Loc, drop_before: i64) -> Result<()> {
        match loc.role {
            Role::Alias => self.copy_alias(hash, loc, drop_before),
            Role::Aux => self.copy_book(hash, loc, drop_before),
            Role::Value => self.copy_entry(loc, drop_before),
        }
    }

    /// Goes on without an entry that cannot be read, if that may be; else the old file had better stay in place.
    fn leave_out(&mut self, error: Error) -> Result<()> {
        if self.spoiled || self.unreadable >= self.unreadable_max {
            return Err(error);
        }
        self.unreadable += 1;
        self.counters.unsound.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Writes down how the entries were used that stay.
    pub(super) fn write_touch(&mut self, uses: &Uses) -> Result<()> {
        if uses.is_empty() {
            return Ok(());
        }
        let body = uses.encode();
        self.write(touch_header(&body, self.now_ms), &[], &[], &body)
    }

    /// Writes the index of what was copied so far, if the file is to have one.
    fn write_index(&mut self) -> Result<()> {
        let Some(entries) = self.indexing.take() else { return Ok(()) };
        let draft = Draft::new(entries, self.view.summary());
        let record = self.view.position().offset;
        let body = draft.encode(self.header.file_id, record);
        let mut header = RecordHeader::new(Kind::Index);
        header.body_len = body.len() as u64;
        self.write(header, &[], &[], &body)?;
        self.flush()?;
        let index = IndexAt::of_record(record, body.len() as u64, *draft.summary());
        let opened = Segment::open(self.new.file(), self.header.file_id, index.offset, index.len, self.map_index);
        let Ok(segment) = opened else { return Err(self.unlike_written()) };
        self.view.adopt(segment);
        self.index = Some(index);
        Ok(())
    }

    /// Copies what was appended meanwhile, until that is so little that writers can wait for the rest.
    pub(super) fn copy_appended_until_short(&mut self) -> Result<()> {
        const REST_MAX: u64 = 1 << 20;
        const ROUNDS_MAX: usize = 8;
        for _ in 0..ROUNDS_MAX {
            self.old.catch_up_now()?;
            if self.old.seen() - self.copied.offset <= REST_MAX {
                break;
            }
            self.copy_appended()?;
        }
        Ok(())
    }

    /// Copies all kinds of records behind those that were copied, deletes too.
    pub(super) fn copy_appended(&mut self) -> Result<()> {
        let end = self.old.seen();
        let mut walk = Walk::new(&*self.old.file, self.old.header.file_id, end, self.copied, Look::Everything);
        loop {
            match walk.next_batch() {
                Ok(batch) if batch.unsound.is_empty() => {
                    for found in &batch.records {
                        self.copy_found(found)?;
                    }
                }
                // Left out as it would be when the file is opened; `check` names it.
                Ok(_) => _ = self.counters.unsound.fetch_add(1, Ordering::Relaxed),
                Err(End::Unreadable(error)) => return Err(Error::io("read the log", self.path, error)),
                Err(_) => break,
            }
            self.copied = walk.position();
        }
        if self.copied.offset == end {
            return Ok(());
        }
        let message = "the log is damaged here, before its end; `repair` can save the entries into a new file";
        Err(Error::new(ErrorKind::Damaged, message).with_path(self.path).with_offset(self.copied.offset))
    }

    fn copy_found(&mut self, found: &Found) -> Result<()> {
        match found.header.kind {
            Kind::Put | Kind::Alias => {
                // What was written a moment ago is kept, whatever its time to be dropped.
                self.copy_entry(Loc::of(found), i64::MIN)?;
                self.restore(found.header.key_hash)
            }
            Kind::Delete if planted(Bug::CompactForgetsDeletes) => Ok(()),
            Kind::Delete => {
                // A delete has no body, so that its key is all there is to read.
                let loc = Loc::of(found);
                let read = self.old.read(loc, None, Want::Stored, self.counters)?;
                read.map_or(Ok(()), |read| self.write(found.header, &read.key, &[], &[]))
            }
            Kind::Clear => self.write(found.header, &[], &[], &[]),
            Kind::Chunk | Kind::Index | Kind::Touch | Kind::Seal | Kind::Skipped(_) => Ok(()),
        }
    }

    /// Where the next record of the new file will stand.
    pub(super) fn position(&self) -> Position {
        self.view.position()
    }

    /// Appends one record to the new file, as a batch of its own: nobody sees the file before it is complete.
    pub(super) fn write(&mut self, header: RecordHeader, key: &[u8], head: &[u8], body: &[u8]) -> Result<()> {
        let written = self.append(header, key, head, body);
        self.spoiled |= written.is_err();
        written
    }

    fn append(&mut self, mut header: RecordHeader, key: &[u8], head: &[u8], body: &[u8]) -> Result<()> {
        const PADDING: [u8; 8] = [0; 8];
        let at = self.view.position();
        let buffered_at = at.offset - self.buffer.len() as u64;
        header.flags &= FLAG_EXTENTS | FLAG_AUX | FLAG_SKIPPABLE;
        header.prev_crc = at.chain;
        for piece in [&header.encode(self.header.file_id, at.offset), key, head] {
            self.buffer.extend_from_slice(piece);
        }
        let end = Position { offset: at.offset + header.total_len(), chain: header.header_crc };
        let unpadded = buffered_at + (self.buffer.len() + body.len()) as u64;
        let padding = PADDING.get(..usize::try_from(end.offset - unpadded).unwrap_or(0)).unwrap_or_default();
        if self.buffer.len() + body.len() < self.pieces.chunk {
            self.buffer.extend_from_slice(body);
            self.buffer.extend_from_slice(padding);
        } else {
            self.write_out(buffered_at, body, padding)?;
        }
        let found = Found { offset: at.offset, header };
        match &mut self.indexing {
            Some(entries) if matches!(header.kind, Kind::Put | Kind::Alias) => {
                entries.push(IndexEntry::new(header.key_hash, at.offset, header.total_len()));
                self.view.count(&found, end);
            }
            _ => self.publish(found, end)?,
        }
        Ok(())
    }

    /// Takes a record into the map of the new file.
    fn publish(&mut self, found: Found, end: Position) -> Result<()> {
        let batch = Batch { records: vec![found], unsound: Vec::new() };
        let mut replaced = HashMap::new();
        if let ([(hash, role)], Some(segment)) = (&self.view.uncovers(&batch)[..], self.view.segment()) {
            let Ok(found) = segment.account(self.new.file(), *hash, *role) else { return Err(self.unlike_written()) };
            replaced.extend(found.map(|loc| (*hash, loc)));
        }
        self.view.publish(&batch, end, &replaced);
        Ok(())
    }

    fn unlike_written(&self) -> Error {
        let message = "the index of the compacted file does not read back as it was written";
        Error::new(ErrorKind::Io, message).with_path(self.path)
    }

    /// Writes out what waits in the buffer.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.write_out(self.view.position().offset - self.buffer.len() as u64, &[], &[])
    }

    /// Writes the buffer and what follows it.
    fn write_out(&mut self, at: u64, body: &[u8], padding: &[u8]) -> Result<()> {
        let mut bufs = [&self.buffer, body, padding].map(IoSlice::new);
        write_at(self.new.file(), &mut bufs, at)
            .map_err(|error| Error::io("write the compacted cache file", self.path, error))?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left and the slot. The sync that must follow makes both true at once.
    pub(super) fn finish(mut self) -> Result<(View, Slots)> {
        self.flush()?;
        let mut slots = Slots::EMPTY;
        let synced = self.view.position().offset;
        let slot = self.index.map_or_else(|| Slot::without_index(&self.header, synced), |index| index.slot(synced));
        let (offset, bytes) = slots.advance(slot, self.header.file_id);
        write_at(self.new.file(), &mut [IoSlice::new(&bytes)], offset)
            .map_err(|error| Error::io("write the compacted cache file", self.path, error))?;
        Ok((self.view, slots))
    }
}
