//! Reading one entry: from its place in the map to verified bytes. Values come by pread into memory of their own, so
//! that neither a truncated file nor a failing disk can raise a signal.

use super::{
    codec::{self, Cut, Undecodable, not_built_in},
    disk::{read_at, read_exact_at},
    entry::{Entry, Head, Times, Version},
    fields::crc32,
    generation::Generation,
    index::Place,
    layout::{ALIAS_HOPS_MAX, CHUNK_MAX, CODEC_FRAME, CODEC_PIECES, CODEC_RAW, RECORD_HEADER_LEN},
    memo::Memo,
    record::{Extent, Kind, RecordHeader},
    shared::Counters,
    view::{Loc, Role, Sought},
    walk::Found,
};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::{io, sync::atomic::Ordering};

/// How much of a record is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Head,
    /// With the body as it was put.
    Body,
    /// With the body as it stands in the file, compressed or not.
    Stored,
}

/// Where a key may be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// From memory, if it is there.
    Tier,
    /// From the file itself, for what is about to be written on the strength of it.
    Disk,
}

/// A record that was read and verified.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) header: RecordHeader,
    pub(super) loc: Loc,
    pub(super) key: Bytes,
    pub(super) head: Bytes,
    /// May be empty if only the head was wanted, except of an alias: there it is the target.
    pub(super) body: Bytes,
    /// Shared with the memory tier if that keeps the record.
    pub(super) memo: Memo,
}

impl Read {
    pub(super) fn times(&self) -> Times {
        Times { created_ms: self.header.created_ms, drop_after_ms: self.header.drop_after_ms }
    }

    /// The entry as callers see it.
    pub(super) fn into_entry(self, generation: &Generation) -> Entry {
        let (times, version) = (self.times(), generation.version(&self.loc));
        let entry = match self.header.kind {
            Kind::Alias => Entry::new_alias(self.body, self.head, times, version),
            _ => Entry::new(self.head, self.body, times, version),
        };
        entry.with_memo(self.memo)
    }

    /// The head as callers see it.
    pub(super) fn into_head(self, generation: &Generation) -> Head {
        let body_len = self.header.decoded_len();
        let mut head = Head::of(&self.into_entry(generation));
        head.body_len = if head.alias_to.is_some() { 0 } else { body_len };
        head
    }
}

impl Generation {
    /// The state of a key that a place in the map stands for.
    pub(super) fn version(&self, loc: &Loc) -> Version {
        Version::new(self.header.file_id, loc.offset)
    }

    /// Reads the record at a place. `None` if it is another key's or fails a checksum, which is counted.
    pub(super) fn read(&self, loc: Loc, key: Option<&[u8]>, want: Want, counters: &Counters) -> Result<Option<Read>> {
        self.read_spot(Spot::known(loc), key, want, counters)
    }

    fn read_spot(&self, spot: Spot, key: Option<&[u8]>, want: Want, counters: &Counters) -> Result<Option<Read>> {
        match self.read_record(spot, key, want) {
            Ok(Ok(read)) => Ok(Some(read)),
            Ok(Err(Unusable::OtherKey)) => Ok(None),
            Ok(Err(Unusable::NotBuiltIn)) => Err(not_built_in().with_offset(spot.offset)),
            Ok(Err(Unusable::Unsound)) => {
                counters.unsound.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
            // The file has been cut short under us: the next look at the path will tell.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                counters.unsound.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => {
                let message = format!("cannot read an entry: {error}");
                Err(Error::new(ErrorKind::Io, message).with_offset(spot.offset).with_source(error))
            }
        }
    }

    fn read_record(&self, spot: Spot, key: Option<&[u8]>, want: Want) -> io::Result<Result<Read, Unusable>> {
        // Most heads are short; one that is not costs a second read.
        const HEAD_GUESS: u64 = 4096;
        let first = match want {
            Want::Body | Want::Stored => spot.len,
            Want::Head => spot.len.min(HEAD_GUESS + key.map_or(0, <[u8]>::len) as u64),
        };
        let mut record = read_exact_at(&*self.file, length(first)?, spot.offset)?;
        let Ok(header) = RecordHeader::decode(&record, self.header.file_id, spot.offset) else {
            return Ok(Err(Unusable::Unsound));
        };
        let Some(loc) = spot.settle(&header) else { return Ok(Err(Unusable::Unsound)) };
        let head_end = length(RECORD_HEADER_LEN as u64 + header.head_part_len())?;
        let whole_body = want != Want::Head || header.kind == Kind::Alias;
        let needed = if whole_body { head_end + length(header.body_part_len())? } else { head_end };
        if record.len() < needed {
            record = read_exact_at(&*self.file, needed, spot.offset)?;
        }
        let record = Bytes::from(record);
        let key_end = RECORD_HEADER_LEN + header.key_len as usize;
        let (mut stored_key, mut head) = (record.slice(RECORD_HEADER_LEN..key_end), record.slice(key_end..head_end));
        if key.is_some_and(|key| key != stored_key) {
            return Ok(Err(Unusable::OtherKey));
        }
        if crc32(&[&stored_key, &head]) != header.head_crc {
            return Ok(Err(Unusable::Unsound));
        }
        let body = if whole_body {
            let part = record.slice(head_end..needed);
            let decode = want == Want::Body && header.kind == Kind::Put && header.codec != CODEC_RAW;
            if decode {
                // So that the compressed body goes, however long the entry stays in memory.
                let front = Bytes::copy_from_slice(&record[RECORD_HEADER_LEN..head_end]);
                head = front.slice(stored_key.len()..);
                stored_key = front.slice(..stored_key.len());
            }
            match if decode { self.decoded(&header, loc, part)? } else { self.body(&header, loc, part)? } {
                Ok(body) => body,
                Err(unusable) => return Ok(Err(unusable)),
            }
        } else {
            Bytes::new()
        };
        Ok(Ok(Read { header, loc, key: stored_key, head, body, memo: Memo::default() }))
    }

    /// The body that a record's body part holds or names, as it is stored.
    fn body(&self, header: &RecordHeader, loc: Loc, part: Bytes) -> io::Result<Result<Bytes, Unusable>> {
        if crc32(&[&part]) != header.body_crc {
            return Ok(Err(Unusable::Unsound));
        }
        if !header.extents() {
            return Ok(Ok(part));
        }
        let Some(extents) = Extent::decode_table(&part, loc.offset, header.body_len) else {
            return Ok(Err(Unusable::Unsound));
        };
        let mut body = Vec::with_capacity(length(header.body_len)?);
        for extent in extents {
            if !self.read_extent(&extent, &mut body)? {
                return Ok(Err(Unusable::Unsound));
            }
        }
        Ok(Ok(Bytes::from(body)))
    }

    /// The same, decoded.
    fn decoded(&self, header: &RecordHeader, loc: Loc, part: Bytes) -> io::Result<Result<Bytes, Unusable>> {
        match header.codec {
            CODEC_FRAME => {
                let stored = self.body(header, loc, part)?;
                Ok(stored.and_then(|stored| Ok(codec::decode(&stored, header.raw_len)?.into())))
            }
            CODEC_PIECES if codec::BUILT_IN => self.decoded_pieces(header, loc, &part),
            _ => Ok(Err(Unusable::NotBuiltIn)),
        }
    }

    fn decoded_pieces(&self, header: &RecordHeader, loc: Loc, table: &[u8]) -> io::Result<Result<Bytes, Unusable>> {
        let sound = header.extents() && crc32(&[table]) == header.body_crc;
        let extents = Extent::decode_table(table, loc.offset, header.body_len).filter(|_| sound);
        // The body grows with what really comes out of the frames, not by what the record promises.
        let mut body = Vec::new();
        let decoded = self.each_piece(header.raw_len, extents.as_deref().unwrap_or_default(), |piece| {
            body.extend_from_slice(piece);
        })?;
        Ok(decoded.map(|()| body.into()).map_err(Unusable::from))
    }

    /// Decodes a body whose extents are frames, one after the other.
    pub(super) fn each_piece(
        &self,
        raw_len: u64,
        extents: &[Extent],
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<Result<(), Undecodable>> {
        let (mut cut, mut stored) = (None, Vec::new());
        for (number, extent) in extents.iter().enumerate() {
            stored.clear();
            if u64::from(extent.len) > CHUNK_MAX || !self.read_extent(extent, &mut stored)? {
                return Ok(Err(Undecodable::Unsound));
            }
            cut = cut.or_else(|| Cut::new(extents, &stored, raw_len));
            match cut.ok_or(Undecodable::Unsound).and_then(|cut| cut.decode(number, &stored)) {
                Ok(piece) => each(&piece),
                Err(undecodable) => return Ok(Err(undecodable)),
            }
        }
        Ok(if cut.is_some() { Ok(()) } else { Err(Undecodable::Unsound) })
    }

    /// Appends the bytes of an extent; `false` if they are not those that it promises.
    fn read_extent(&self, extent: &Extent, to: &mut Vec<u8>) -> io::Result<bool> {
        let start = to.len();
        read_at(&*self.file, to, extent.len as usize, extent.offset)?;
        let read = to.get(start..).unwrap_or_default();
        Ok(read.len() == extent.len as usize && crc32(&[read]) == extent.crc)
    }

    /// Reads a key, following aliases to a value.
    pub(super) fn resolve(&self, key: &[u8], want: Want, from: Source, counters: &Counters) -> Result<Option<Read>> {
        let Some(mut read) = self.read_key(key, want, from, counters)? else { return Ok(None) };
        for _ in 0..ALIAS_HOPS_MAX {
            if read.loc.role != Role::Alias {
                break;
            }
            let bound = read.header.raw_len;
            let Some(target) = self.read_key(&read.body, want, from, counters)? else { return Ok(None) };
            // An alias leads to the incarnation of its target that it was made for, or to any if there was none.
            if bound != 0 && bound != target.loc.incarnation {
                return Ok(None);
            }
            read = target;
        }
        if from == Source::Tier {
            counters.count_use(&read);
        }
        Ok(Some(read).filter(|read| read.loc.role != Role::Alias))
    }

    /// Reads a key itself. An alias whose target is gone is not there.
    pub(super) fn read_own(&self, key: &[u8], want: Want, from: Source, counters: &Counters) -> Result<Option<Read>> {
        let Some(read) = self.read_key(key, want, from, counters)? else { return Ok(None) };
        if from == Source::Tier {
            counters.count_use(&read);
        }
        let visible = read.loc.role != Role::Alias || self.leads_on(self.present_as(&read), counters)?;
        Ok(visible.then_some(read))
    }

    /// Reads the newest record of a key.
    fn read_key(&self, key: &[u8], want: Want, from: Source, counters: &Counters) -> Result<Option<Read>> {
        let hash = self.header.hash(key);
        loop {
            // Not in the match: the lock of the view must not be held over a read.
            let sought = self.view().find(hash);
            let segment = match sought {
                Sought::Absent => return Ok(None),
                Sought::At(loc) => return self.recall(Spot::known(loc), key, want, from, counters),
                Sought::Indexed(segment) => segment,
            };
            let Ok(places) = segment.find(&*self.file, hash) else {
                self.drop_index(&segment)?;
                continue;
            };
            for place in places {
                let spot = Spot::indexed(place, segment.summary().covers.offset);
                if let Some(read) = self.recall(spot, key, want, from, counters)? {
                    return Ok(Some(read));
                }
            }
            return Ok(None);
        }
    }

    /// Reads a record from the memory tier or else from the file. What was read whole is kept there.
    fn recall(&self, spot: Spot, key: &[u8], want: Want, from: Source, counters: &Counters) -> Result<Option<Read>> {
        if from == Source::Tier
            && let Some(kept) = self.tier.get(spot.offset).filter(|kept| kept.key == key)
        {
            counters.tier_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(kept));
        }
        let Some(read) = self.read_spot(spot, Some(key), want, counters)? else { return Ok(None) };
        Ok(Some(if from == Source::Tier && want == Want::Body { self.tier.keep(read) } else { read }))
    }
}

impl Counters {
    /// Notes that somebody has read a value, where that decides what stays.
    fn count_use(&self, read: &Read) {
        if let Some(usage) = self.usage.as_ref().filter(|_| read.loc.role == Role::Value) {
            usage.count(read.header.key_hash);
        }
    }
}

/// Where to read a record, and what is known of it before.
#[derive(Debug, Clone, Copy)]
struct Spot {
    offset: u64,
    /// Of the whole record; where an index names it, no more than this and than it covers.
    len: u64,
    /// It ends here at the latest.
    end: u64,
    loc: Option<Loc>,
}

impl Spot {
    fn known(loc: Loc) -> Self {
        Self { offset: loc.offset, len: loc.len, end: loc.offset + loc.len, loc: Some(loc) }
    }

    fn indexed(place: Place, covers: u64) -> Self {
        let len = place.len_max().min(covers.saturating_sub(place.offset()));
        Self { offset: place.offset(), len, end: covers, loc: None }
    }

    /// The place of the record whose header stands here; `None` if that is not the one that was expected.
    fn settle(&self, header: &RecordHeader) -> Option<Loc> {
        if let Some(loc) = self.loc {
            return (header.total_len() == loc.len).then_some(loc);
        }
        let entry = matches!(header.kind, Kind::Put | Kind::Alias);
        let fits = self.offset + header.total_len() <= self.end;
        (entry && fits).then(|| Loc::of(&Found { offset: self.offset, header: *header }))
    }
}

/// Why the bytes at a place are not the wanted entry.
enum Unusable {
    OtherKey,
    Unsound,
    NotBuiltIn,
}

impl From<Undecodable> for Unusable {
    fn from(undecodable: Undecodable) -> Self {
        match undecodable {
            Undecodable::NotBuiltIn => Self::NotBuiltIn,
            Undecodable::Unsound => Self::Unsound,
        }
    }
}

/// A length that fits in memory. Records are bounded by the file, so only a 32-bit system can fail here.
fn length(len: u64) -> io::Result<usize> {
    usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory.into())
}
