//! A sealed index segment of an open file: looking keys up in it, page by page.

use super::{
    disk::{DiskFile, read_exact_at},
    index::{BadPage, IndexEntry, Mark, PAGE, Page, PageAt, Place, Summary, decode_summary},
    layout::{PAGE_LEN, RECORD_HEADER_LEN},
    map::Map,
    plant::{Bug, planted},
    record::{Kind, RecordHeader},
    view::{Loc, Role},
    walk::Found,
};
use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

/// An index segment.
#[derive(Debug)]
pub(super) struct Segment {
    summary: Summary,
    file_id: u64,
    offset: u64,
    pages: u32,
    /// The pages of entries; without it they are read one by one.
    map: Option<Map>,
    /// A bit for each page whose checksum has been seen to hold.
    checked: Vec<AtomicU64>,
}

/// What a look into a segment came to. One that fails is not to be used again.
pub(super) type Looked<T> = Result<T, BadPage>;

/// The places that the entries for one mark name: one, as good as always.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    first: Option<Place>,
    others: Vec<Place>,
}

impl Candidates {
    fn push(&mut self, place: Place) {
        match self.first {
            None => self.first = Some(place),
            Some(_) => self.others.push(place),
        }
    }
}

impl IntoIterator for Candidates {
    type Item = Place;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Place>, std::vec::IntoIter<Place>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.others)
    }
}

impl Segment {
    /// Opens the segment at `offset`, `len` bytes long, mapped if that is wanted and the file can be.
    pub(super) fn open(file: &dyn DiskFile, file_id: u64, offset: u64, len: u64, mapped: bool) -> Looked<Self> {
        let first = read_exact_at(file, PAGE, offset).map_err(|_| BadPage)?;
        let (summary, pages) = decode_summary(&first, PageAt { file_id, segment: offset, offset })?;
        let end = offset.checked_add(len).ok_or(BadPage)?;
        // A copy that was cut off ends before its index does; what is not there must not be mapped.
        let there = file.stat().is_ok_and(|stat| end <= stat.size);
        if !there || len != (u64::from(pages) + 1) * PAGE_LEN {
            return Err(BadPage);
        }
        // A file system that cannot map is read.
        let map = if mapped { map_pages(file, offset, pages).ok().flatten() } else { None };
        let checked = (0..pages.div_ceil(u64::BITS)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { summary, file_id, offset, pages, map, checked })
    }

    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The bytes of all its pages.
    pub(super) fn len(&self) -> u64 {
        (u64::from(self.pages) + 1) * PAGE_LEN
    }

    /// Where it begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The places that stand for a hash; usually one page is touched.
    pub(super) fn find(&self, file: &dyn DiskFile, hash: u128) -> Looked<Candidates> {
        let mark = Mark::of(hash);
        let mut number = u32::try_from(mark.page(u64::from(self.pages))).map_err(|_| BadPage)?;
        let mut candidates = Candidates::default();
        for _ in 0..self.pages {
            let overflows = self.with_page(file, number, |page| {
                page.find(mark, u64::from(self.pages)).for_each(|place| candidates.push(place));
                page.overflows
            });
            match overflows {
                Err(BadPage) if planted(Bug::BadPageIsMiss) => break,
                overflows if !overflows? => break,
                _ => number = (number + 1) % self.pages,
            }
        }
        Ok(candidates)
    }

    /// Where the entry of a hash stands, by its record.
    pub(super) fn locate(&self, file: &dyn DiskFile, hash: u128) -> Looked<io::Result<Option<Loc>>> {
        for place in self.find(file, hash)? {
            match self.loc_of(file, place) {
                Ok(Some((found, loc))) if found == hash => return Ok(Ok(Some(loc))),
                Ok(_) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(None))
    }

    /// What the entry of a hash counts for. One whose record cannot be read, or is rotten, is taken for as long as the
    /// index says and for a `role`: a bad sector must not keep anybody from replacing what lies there.
    pub(super) fn account(&self, file: &dyn DiskFile, hash: u128, role: Role) -> Looked<Option<Loc>> {
        for place in self.find(file, hash)? {
            // The guess is for what stays unreadable, and not for a read that fails once.
            match self.loc_of(file, place).or_else(|_| self.loc_of(file, place)) {
                Ok(Some((found, loc))) if found == hash => return Ok(Some(loc)),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    let offset = place.offset();
                    let len = place.len_max().min(self.summary.covers.offset.saturating_sub(offset));
                    return Ok(Some(Loc { offset, len, elsewhere: 0, incarnation: 0, role }));
                }
            }
        }
        Ok(None)
    }

    /// What stands at a place, and under which hash; `None` if it is no entry of this file below what is covered.
    pub(super) fn loc_of(&self, file: &dyn DiskFile, place: Place) -> io::Result<Option<(u128, Loc)>> {
        let offset = place.offset();
        let bytes = match read_exact_at(file, RECORD_HEADER_LEN, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            bytes => bytes?,
        };
        let Ok(header) = RecordHeader::decode(&bytes, self.file_id, offset) else { return Ok(None) };
        let entry = matches!(header.kind, Kind::Put | Kind::Alias);
        let fits = offset + header.total_len() <= self.summary.covers.offset;
        Ok((entry && fits).then(|| (header.key_hash, Loc::of(&Found { offset, header }))))
    }

    /// Calls `each` with every entry, in no useful order. Reads in large pieces, past the mapping.
    pub(super) fn for_each(&self, file: &dyn DiskFile, mut each: impl FnMut(IndexEntry)) -> Looked<()> {
        const PAGES_AT_ONCE: u32 = 256;
        let mut number = 0;
        while number < self.pages {
            let count = PAGES_AT_ONCE.min(self.pages - number);
            let bytes = read_exact_at(file, count as usize * PAGE, self.at(number).offset).map_err(|_| BadPage)?;
            for (number, page) in (number..).zip(bytes.chunks_exact(PAGE)) {
                let at = self.at(number);
                if !at.is_sound(page) {
                    return Err(BadPage);
                }
                Page::decode(page, at, number)?.entries().for_each(&mut each);
            }
            number += count;
        }
        Ok(())
    }

    /// Looks at one page, whose checksum is verified the first time.
    fn with_page<T>(&self, file: &dyn DiskFile, number: u32, look: impl FnOnce(Page<'_>) -> T) -> Looked<T> {
        let at = self.at(number);
        let Some(map) = &self.map else {
            let page = read_exact_at(file, PAGE, at.offset).map_err(|_| BadPage)?;
            // What is read anew each time is verified each time.
            return if at.is_sound(&page) { Page::decode(&page, at, number).map(look) } else { Err(BadPage) };
        };
        let start = number as usize * PAGE;
        let page = map.get(start..start + PAGE).ok_or(BadPage)?;
        let (word, bit) = (self.checked.get(number as usize / 64).ok_or(BadPage)?, 1 << (number % 64));
        if word.load(Ordering::Relaxed) & bit == 0 {
            if !at.is_sound(page) {
                return Err(BadPage);
            }
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Page::decode(page, at, number).map(look)
    }

    fn at(&self, number: u32) -> PageAt {
        // The summary stands before the first page.
        let offset = self.offset + (u64::from(number) + 1) * PAGE_LEN;
        PageAt { file_id: self.file_id, segment: self.offset, offset }
    }
}

fn map_pages(file: &dyn DiskFile, offset: u64, pages: u32) -> io::Result<Option<Map>> {
    file.map(offset + PAGE_LEN, pages as usize * PAGE)
}
