//! Appending a batch: checksums before the lock; places, incarnations and the chain under it; one write call, or few
//! long ones.

use super::{
    disk::write_at,
    entry::{Times, Version, Write},
    fields::crc32,
    generation::{Generation, folder_of},
    layout::{
        BODY_MAX, CODEC_FRAME, EXTENT_LEN, FILE_MAX, FLAG_AUX, FLAG_EXTENTS, FLAG_MORE, FLAG_SKIPPABLE, HEAD_MAX,
        INLINE_BODY_MAX, KEY_MAX, RECORD_ALIGN, RECORD_HEADER_LEN, align_up,
    },
    lock::WriteGuard,
    plant::{Bug, planted},
    presence::{Present, incarnation_of},
    record::{Kind, RecordHeader},
    shared::{Counters, Settings, Shared},
    walk::{Batch, Found, Position},
};
use crate::{Error, ErrorKind, Result};
use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, IoSlice},
    path::Path,
    sync::{PoisonError, atomic::Ordering},
};

/// Free space that ordinary writes leave to deletes, clears and compactions.
pub(super) const SPACE_RESERVE: u64 = 64 << 10;

/// One record to be, with all of it that does not depend on where it will stand.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    header: RecordHeader,
    key: &'a [u8],
    head: &'a [u8],
    /// The body as stored, the table of extents, or an alias's target.
    body: Cow<'a, [u8]>,
}

/// What a value's record gets as its body part.
#[derive(Debug)]
pub(super) enum Payload<'a> {
    AsIs(&'a [u8]),
    /// One zstd frame.
    Frame {
        frame: Vec<u8>,
        raw_len: u64,
    },
    /// Chunks that are in the file.
    Chunks(Table),
}

/// Names the chunks of a body.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) extents: Vec<u8>,
    pub(super) codec: u8,
    /// As stored, and decoded.
    pub(super) body_len: u64,
    pub(super) raw_len: u64,
}

/// One step of a batch.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Write(Draft<'a>),
    Expect(&'a [u8], Option<Version>),
}

impl<'a> Step<'a> {
    /// `payload` is the body of a value.
    pub(super) fn of(write: &'a Write, payload: Payload<'a>) -> Result<Self> {
        Ok(match write {
            Write::Put { key, head, times, aux, .. } | Write::PutStaged { key, head, times, aux, .. } => {
                Self::Write(Draft::put(key, head, payload, *times, *aux)?)
            }
            Write::Alias { key, to, head, times } => Self::Write(Draft::alias(key, to, head, *times)?),
            Write::Delete { key } => Self::Write(Draft::delete(key)?),
            Write::Expect { key, version } => Self::Expect(key, *version),
        })
    }
}

impl<'a> Draft<'a> {
    pub(super) fn put(key: &'a [u8], head: &'a [u8], body: Payload<'a>, times: Times, aux: bool) -> Result<Self> {
        let mut header = RecordHeader::new(Kind::Put);
        header.flags = if aux { FLAG_AUX } else { 0 };
        let body = match body {
            Payload::AsIs(bytes) => {
                header.raw_len = bytes.len() as u64;
                Cow::Borrowed(bytes)
            }
            Payload::Frame { frame, raw_len } => {
                (header.codec, header.raw_len) = (CODEC_FRAME, raw_len);
                Cow::Owned(frame)
            }
            Payload::Chunks(table) => {
                (header.codec, header.raw_len, header.body_len) = (table.codec, table.raw_len, table.body_len);
                return Self::behind(header, key, head, Cow::Owned(table.extents), times);
            }
        };
        if body.len() as u64 > INLINE_BODY_MAX {
            return Err(Error::new(ErrorKind::TooLarge, "a body is longer than 2 GiB less 64 KiB"));
        }
        header.body_len = body.len() as u64;
        Self::with_times(header, key, head, body, times)
    }

    /// A value whose body is already in the file; `table` names where.
    pub(super) fn repointed(
        from: &RecordHeader,
        key: &'a [u8],
        head: &'a [u8],
        table: &'a [u8],
        times: Times,
    ) -> Result<Self> {
        let mut header = RecordHeader::new(Kind::Put);
        header.flags = from.flags & FLAG_AUX;
        (header.codec, header.raw_len, header.body_len) = (from.codec, from.raw_len, from.body_len);
        Self::behind(header, key, head, Cow::Borrowed(table), times)
    }

    /// A value whose body stands elsewhere in the file.
    fn behind(
        mut header: RecordHeader,
        key: &'a [u8],
        head: &'a [u8],
        table: Cow<'a, [u8]>,
        times: Times,
    ) -> Result<Self> {
        header.flags |= FLAG_EXTENTS;
        header.extent_count = u32::try_from(table.len() / EXTENT_LEN).unwrap_or(u32::MAX);
        debug_assert!(header.body_len <= BODY_MAX);
        Self::with_times(header, key, head, table, times)
    }

    /// A piece of a body, for a value that will name it.
    pub(super) fn chunk(body: &'a [u8]) -> Self {
        let mut header = RecordHeader::new(Kind::Chunk);
        header.body_len = body.len() as u64;
        header.body_crc = crc32(&[body]);
        Self { header, key: &[], head: &[], body: Cow::Borrowed(body) }
    }

    pub(super) fn body_crc(&self) -> u32 {
        self.header.body_crc
    }

    pub(super) fn alias(key: &'a [u8], to: &'a [u8], head: &'a [u8], times: Times) -> Result<Self> {
        check_key(to)?;
        let mut header = RecordHeader::new(Kind::Alias);
        header.body_len = to.len() as u64;
        Self::with_times(header, key, head, Cow::Borrowed(to), times)
    }

    pub(super) fn delete(key: &'a [u8]) -> Result<Self> {
        Self::with_times(RecordHeader::new(Kind::Delete), key, &[], Cow::Borrowed(&[]), Times::kept(0))
    }

    pub(super) fn clear() -> Self {
        Self { header: RecordHeader::new(Kind::Clear), key: &[], head: &[], body: Cow::Borrowed(&[]) }
    }

    /// An index segment; its pages have checksums of their own.
    pub(super) fn index(body: &'a [u8]) -> Self {
        let mut header = RecordHeader::new(Kind::Index);
        header.body_len = body.len() as u64;
        Self { header, key: &[], head: &[], body: Cow::Borrowed(body) }
    }

    /// What was read, for a compaction that must choose.
    pub(super) fn touch(body: &'a [u8], now_ms: i64) -> Self {
        let header = touch_header(body, now_ms);
        Self { header, key: &[], head: &[], body: Cow::Borrowed(body) }
    }

    /// The hint for readers of an old generation.
    pub(super) fn seal() -> Self {
        Self { header: RecordHeader::new(Kind::Seal), key: &[], head: &[], body: Cow::Borrowed(&[]) }
    }

    fn with_times(
        mut header: RecordHeader,
        key: &'a [u8],
        head: &'a [u8],
        body: Cow<'a, [u8]>,
        times: Times,
    ) -> Result<Self> {
        check_key(key)?;
        check_head(head)?;
        header.key_len = u32::try_from(key.len()).unwrap_or(u32::MAX);
        header.head_len = u32::try_from(head.len()).unwrap_or(u32::MAX);
        (header.created_ms, header.drop_after_ms) = (times.created_ms, times.drop_after_ms);
        header.head_crc = crc32(&[key, head]);
        header.body_crc = crc32(&[&body]);
        Ok(Self { header, key, head, body })
    }
}

/// The header of a TOUCH record.
pub(super) fn touch_header(body: &[u8], now_ms: i64) -> RecordHeader {
    let mut header = RecordHeader::new(Kind::Touch);
    header.flags = FLAG_SKIPPABLE;
    header.body_len = body.len() as u64;
    header.body_crc = crc32(&[body]);
    header.created_ms = now_ms;
    header
}

impl Write {
    /// Fails if it can never be stored.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Put { key, head, .. } | Self::PutStaged { key, head, .. } => check_key(key).and(check_head(head)),
            Self::Alias { key, to, head, .. } => check_key(key).and(check_key(to)).and(check_head(head)),
            Self::Delete { key } => check_key(key),
            Self::Expect { .. } => Ok(()),
        }
    }
}

pub(super) fn check_head(head: &[u8]) -> Result<()> {
    if head.len() <= HEAD_MAX {
        return Ok(());
    }
    Err(Error::new(ErrorKind::TooLarge, "a head is longer than 1 MiB"))
}

pub(super) fn check_key(key: &[u8]) -> Result<()> {
    match key.len() {
        0 => Err(Error::new(ErrorKind::InvalidInput, "a key is empty; it takes 1 byte to 64 KiB")),
        1..=KEY_MAX => Ok(()),
        _ => Err(Error::new(ErrorKind::TooLarge, "a key is longer than 64 KiB")),
    }
}

impl Shared {
    /// Frees the lock and waits, where that was asked for, until what was appended is on the medium.
    pub(super) fn acknowledge(&self, guard: WriteGuard, ticket: Option<u64>, settings: &Settings) -> Result<()> {
        let generation = std::sync::Arc::clone(&guard.generation);
        drop(guard);
        let Some(ticket) = ticket else { return Ok(()) };
        if settings.fast_save {
            if generation.note_unsynced(self.env.clock.monotonic()) {
                self.wake_background();
            }
            return Ok(());
        }
        generation.wait_until_synced(ticket, &*self.env.disk, &self.path)
    }

    /// Appends a batch under the lock, and returns where it ends; `None` if there was nothing to append.
    pub(super) fn apply_locked(
        &self,
        guard: &WriteGuard,
        steps: Vec<Step<'_>>,
        settings: &Settings,
    ) -> Result<Option<u64>> {
        let generation = &*guard.generation;
        if !settings.fast_save {
            generation.check_poison()?;
        }
        let mut drafts = Vec::with_capacity(steps.len());
        for step in steps {
            match step {
                Step::Write(draft) => drafts.push(draft),
                Step::Expect(key, version) => generation.expect(key, version, &self.counters)?,
            }
        }
        let plan = Plan::new(generation, drafts, &self.counters)?;
        if plan.drafts.is_empty() {
            return Ok(None);
        }
        self.check_space(&plan)?;
        self.write_due_slot(generation);
        plan.write(generation, &self.path)?;
        generation.written.store(true, Ordering::Relaxed);
        Ok(Some(plan.end.offset))
    }

    /// Refuses a write that would use up the space that it takes to delete something.
    fn check_space(&self, plan: &Plan<'_>) -> Result<()> {
        if plan.end.offset >= FILE_MAX {
            return Err(Error::new(ErrorKind::Full, "the file would reach its limit of 256 TiB").with_path(&self.path));
        }
        let needed = plan.end.offset - plan.start.offset;
        let mut budget = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = budget.checked_sub(needed) {
            *budget = left;
            return Ok(());
        }
        if plan.only_removes() {
            return Ok(());
        }
        let folder = folder_of(&self.path);
        // Where nobody can say how much is free, the write itself will tell.
        let free = self.env.disk.free_bytes(folder).unwrap_or(u64::MAX);
        let Some(spare) = free.saturating_sub(SPACE_RESERVE).checked_sub(needed) else {
            *budget = 0;
            let message = "the disk is almost full; free some space, or clear or compact the cache";
            return Err(Error::new(ErrorKind::Full, message).with_path(&self.path));
        };
        // Others write to the disk too: ask again after a quarter of what is left.
        *budget = spare / 4;
        Ok(())
    }
}

impl Generation {
    fn expect(&self, key: &[u8], version: Option<Version>, counters: &Counters) -> Result<()> {
        let loc = self.find(self.header.hash(key))?;
        // What reading the key shows, so that an alias without a target may be expected to be absent.
        let mut visible = loc.map_or(Ok(false), |loc| self.is_visible(loc, counters))?;
        if let (Some(loc), None) = (loc, version) {
            // Nor is a value there whose bytes have rotted, or who expects what reading shows could never write.
            visible = visible && self.is_sound(loc, Some(key), counters)?;
        }
        if loc.filter(|_| visible).map(|loc| self.version(&loc)) == version {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, "the entry has changed since it was read; read it again and retry"))
    }
}

/// A batch with its place in the file.
struct Plan<'a> {
    drafts: Vec<Draft<'a>>,
    headers: Vec<[u8; RECORD_HEADER_LEN]>,
    batch: Batch,
    start: Position,
    end: Position,
}

impl<'a> Plan<'a> {
    fn new(generation: &Generation, drafts: Vec<Draft<'a>>, counters: &Counters) -> Result<Self> {
        // Under the writer lock nothing but this batch moves the end of the log.
        let start = generation.view().position();
        let mut states = States { generation, counters, changed: HashMap::new(), cleared: false, left: drafts.len() };
        let mut kept = Vec::with_capacity(drafts.len());
        let mut at = start.offset;
        for mut draft in drafts {
            states.left -= 1;
            // Deleting what is not there leaves no trace.
            if states.settle(&mut draft, at)? {
                at += draft.header.total_len();
                kept.push(draft);
            }
        }
        let (mut headers, mut batch, mut end) = (Vec::with_capacity(kept.len()), Batch::default(), start);
        let last = kept.len().saturating_sub(1);
        for (i, draft) in kept.iter_mut().enumerate() {
            if i < last {
                draft.header.flags |= FLAG_MORE;
            }
            draft.header.prev_crc = end.chain;
            headers.push(draft.header.encode(generation.header.file_id, end.offset));
            batch.records.push(Found { offset: end.offset, header: draft.header });
            end = Position { offset: end.offset + draft.header.total_len(), chain: draft.header.header_crc };
        }
        Ok(Self { drafts: kept, headers, batch, start, end })
    }

    fn only_removes(&self) -> bool {
        let removes = |draft: &Draft<'_>| matches!(draft.header.kind, Kind::Delete | Kind::Clear | Kind::Seal);
        self.drafts.iter().all(removes)
    }

    fn write(&self, generation: &Generation, path: &Path) -> Result<()> {
        const PADDING: [u8; 8] = [0; 8];
        const _: () = assert!(PADDING.len() as u64 == RECORD_ALIGN);
        let mut bufs = Vec::with_capacity(self.drafts.len() * 5);
        for (draft, header) in self.drafts.iter().zip(&self.headers) {
            let pieces = [header, draft.key, draft.head, &draft.body[..]];
            let len: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
            let padding = usize::try_from(align_up(len) - len).unwrap_or(0);
            let pieces = pieces.into_iter().chain([&PADDING[..padding]]);
            bufs.extend(pieces.filter(|piece| !piece.is_empty()).map(IoSlice::new));
        }
        if let Err(error) = write_at(&*generation.file, &mut bufs, self.start.offset) {
            return Err(self.roll_back(generation, path, error));
        }
        generation.publish(&self.batch, self.end)
    }

    /// Takes back what was written of a batch that failed. If that fails too, the next writer finds a torn tail.
    fn roll_back(&self, generation: &Generation, path: &Path, error: io::Error) -> Error {
        let error = Error::io("append to the cache file", path, error);
        if let Err(uncut) = generation.file.truncate(self.start.offset) {
            let uncut = Error::io("take back a failed append", path, uncut);
            generation.poison(&uncut);
        }
        error
    }
}

/// The states of keys while a batch is planned: those in the file, changed by the steps before.
struct States<'g> {
    generation: &'g Generation,
    counters: &'g Counters,
    changed: HashMap<u128, Option<Present>>,
    cleared: bool,
    /// Steps that come after this one.
    left: usize,
}

impl States<'_> {
    fn state(&self, hash: u128) -> Result<Option<Present>> {
        match self.changed.get(&hash) {
            Some(changed) => Ok(*changed),
            None if self.cleared => Ok(None),
            None => self.generation.present_in_log(hash, self.counters),
        }
    }

    fn incarnation(&self, hash: u128) -> Result<Option<u64>> {
        incarnation_of(hash, |hash| self.state(hash))
    }

    /// What nobody will ask for, as in a batch of one step, need not be noted.
    fn note(&mut self, hash: u128, state: Option<Present>) {
        if self.left > 0 {
            self.changed.insert(hash, state);
        }
    }

    /// Fills in what depends on the states of keys, for a record at `offset`; `false` if it would change nothing.
    fn settle(&mut self, draft: &mut Draft<'_>, offset: u64) -> Result<bool> {
        let hash = if draft.key.is_empty() { 0 } else { self.generation.header.hash(draft.key) };
        draft.header.key_hash = hash;
        match draft.header.kind {
            Kind::Put | Kind::Alias => {
                let mut bond = None;
                if draft.header.kind == Kind::Alias {
                    let target = self.generation.header.hash(&draft.body);
                    // An alias of what is not there yet is bound to no incarnation.
                    draft.header.raw_len = self.incarnation(target)?.unwrap_or(0);
                    bond = Some((target, draft.header.raw_len));
                }
                let incarnation = self.incarnation(hash)?.unwrap_or_else(|| self.new_incarnation(hash, offset));
                draft.header.incarnation = incarnation;
                self.note(hash, Some(Present { incarnation, bond }));
            }
            // What cannot be read is there, and is best removed.
            Kind::Delete if matches!(self.state(hash), Ok(None)) => return Ok(false),
            Kind::Delete => {
                self.note(hash, None);
            }
            Kind::Clear => {
                self.changed.clear();
                self.cleared = true;
            }
            _ => {}
        }
        Ok(true)
    }

    /// Unique in all generations of a cache: no other file has the id, and no other record of this one the offset.
    fn new_incarnation(&self, hash: u128, offset: u64) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "a planted bug needs some number that does not change")]
        if planted(Bug::IncarnationReused) {
            return hash as u64 | 1;
        }
        (self.generation.header.file_id ^ offset).max(1)
    }
}
