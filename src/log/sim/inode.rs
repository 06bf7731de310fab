//! One simulated file: what the processes see of it, what a power cut cannot take away any more, and all that a
//! power cut may leave of the rest.

use super::rng::Rng;
use crate::log::layout::{LOG_START, PAGE_LEN};

/// Old contents of dirty sectors that are remembered, per file; enough for the histories at hand.
const VERSIONS_MAX: usize = 96;

/// A file without its name.
#[derive(Debug, Default)]
pub(super) struct Inode {
    /// The page cache.
    pub(super) data: Vec<u8>,
    /// The medium.
    durable: Vec<u8>,
    /// Sectors in which the two may differ; a sorted set.
    dirty: Vec<usize>,
    /// What sectors held for a while since the last sync: the cache may have been written out at that very moment.
    versions: Vec<(usize, Vec<u8>)>,
    /// The smallest and the largest size since the last sync, that one's included.
    sizes: (usize, usize),
    /// Sectors that cannot be read until they are written anew.
    unreadable: Vec<usize>,
    pub(super) mode: u32,
    /// Names in the folder.
    pub(super) links: u64,
    /// The open file that holds the lock.
    pub(super) locked_by: Option<u64>,
    /// Failed syncs so far: every open file reports each of them once.
    pub(super) sync_errors: u64,
    /// Opens of it, for the space that a nameless file still takes.
    pub(super) open: usize,
}

/// What a power cut finds on the medium although no sync put it there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Luck {
    pub(super) keeps: Keeps,
    /// Whether slot pages may become unreadable.
    pub(super) loses_pages: bool,
}

/// Which unsynced sectors.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keeps {
    /// Each with so many percent.
    Some(usize),
    /// Those below one of them.
    Below,
    /// That one and those behind it.
    Above,
    /// All but one.
    AllButOne,
}

impl Luck {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let keeps = match rng.below(10) {
            0 => Keeps::Some(0),
            1 => Keeps::Some(100),
            2..5 => Keeps::Some(rng.pick(&[20, 50, 80])),
            5..7 => Keeps::Below,
            7 => Keeps::Above,
            _ => Keeps::AllButOne,
        };
        Self { keeps, loses_pages: rng.chance(50) }
    }
}

impl Keeps {
    /// Whether the sector at place `at` of the unsynced ones is kept, `pivot` being the place of the one that counts.
    fn keeps(self, at: usize, pivot: usize, rng: &mut Rng) -> bool {
        match self {
            Self::Some(percent) => rng.chance(percent),
            Self::Below => at < pivot,
            Self::Above => at >= pivot,
            Self::AllButOne => at != pivot,
        }
    }
}

impl Inode {
    /// An empty file with one name.
    pub(super) fn new() -> Self {
        Self { mode: 0o600, links: 1, ..Self::default() }
    }

    pub(super) fn size(&self) -> usize {
        self.data.len()
    }

    /// Whether a read of this range meets a sector that cannot be read.
    pub(super) fn is_unreadable(&self, offset: usize, len: usize, sector: usize) -> bool {
        self.unreadable.iter().any(|&at| at * sector < offset + len && offset < (at + 1) * sector)
    }

    /// Writes `bytes` at `offset`; the caller has dealt with unreadable sectors.
    pub(super) fn write(&mut self, bytes: &[u8], offset: usize, sector: usize) {
        let end = offset + bytes.len();
        if bytes.is_empty() {
            return;
        }
        let from = offset.min(self.data.len());
        self.touch(from / sector, end.div_ceil(sector), sector);
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[offset..end].copy_from_slice(bytes);
        self.sizes.1 = self.sizes.1.max(self.data.len());
        self.unreadable.retain(|&at| end <= at * sector || (at + 1) * sector <= offset);
    }

    /// Cuts the file off or lengthens it with zeros.
    pub(super) fn truncate(&mut self, size: usize, sector: usize) {
        let old = self.data.len();
        if size == old {
            return;
        }
        self.touch(size.min(old) / sector, size.max(old).div_ceil(sector), sector);
        self.data.resize(size, 0);
        self.sizes = (self.sizes.0.min(size), self.sizes.1.max(size));
        self.unreadable.retain(|&at| at * sector < size);
    }

    /// Marks sectors dirty before they change, and remembers what they held if nobody else does.
    fn touch(&mut self, first: usize, end: usize, sector: usize) {
        for at in first..end {
            match self.dirty.binary_search(&at) {
                Err(place) => self.dirty.insert(place, at),
                Ok(_) if self.versions.len() < VERSIONS_MAX => {
                    let held = part(&self.data, at, sector);
                    if !held.is_empty() {
                        self.versions.push((at, held.to_vec()));
                    }
                }
                Ok(_) => {}
            }
        }
    }

    pub(super) fn sync(&mut self, sector: usize) {
        self.durable.resize(self.data.len(), 0);
        for &at in &self.dirty {
            let new = part(&self.data, at, sector);
            if !new.is_empty() {
                self.durable[at * sector..][..new.len()].copy_from_slice(new);
            }
        }
        self.settle();
    }

    /// A sync that failed, after which the kernel takes the pages for clean although they never reached the medium.
    /// Whether later reads still show them differs between file systems.
    pub(super) fn drop_dirty(&mut self, forget: bool, sector: usize) {
        if forget {
            for &at in &self.dirty {
                let old = part(&self.durable, at, sector);
                let end = self.data.len().min((at + 1) * sector);
                let Some(place) = self.data.get_mut(at * sector..end) else { continue };
                let kept = old.len().min(place.len());
                place[..kept].copy_from_slice(&old[..kept]);
                place[kept..].fill(0);
            }
        }
        // The size is metadata, and survives in the journal.
        self.durable.resize(self.data.len(), 0);
        self.settle();
    }

    fn settle(&mut self) {
        self.dirty.clear();
        self.versions.clear();
        self.sizes = (self.data.len(), self.data.len());
    }

    /// What a power cut leaves of the file. It is all on the medium.
    pub(super) fn crash(&mut self, luck: Luck, sector: usize, rng: &mut Rng) {
        let size = self.crash_size(sector, rng);
        let mut image = std::mem::take(&mut self.durable);
        image.resize(size, 0);
        // Mostly one of the first, where the oldest of the unsynced records begins.
        let among = if rng.chance(60) { 3 } else { self.dirty.len() };
        let pivot = rng.below(among.clamp(1, self.dirty.len().max(1)));
        for (place, &at) in self.dirty.iter().enumerate() {
            if at * sector >= size {
                break;
            }
            let in_slot_page = sector as u64 == PAGE_LEN && (1..LOG_START / PAGE_LEN).contains(&(at as u64));
            if luck.loses_pages && in_slot_page && rng.chance(25) {
                self.unreadable.push(at);
            }
            if !luck.keeps.keeps(place, pivot, rng) {
                continue;
            }
            let earlier = self.versions.iter().filter(|(of, _)| *of == at).count();
            let chosen = if earlier > 0 && rng.chance(30) {
                let nth = rng.below(earlier);
                self.versions.iter().filter(|(of, _)| *of == at).nth(nth).map_or(&[][..], |(_, held)| held)
            } else {
                part(&self.data, at, sector)
            };
            if chosen.is_empty() {
                // Cut off: there is nothing in the cache that could have been written there.
                continue;
            }
            let place = &mut image[at * sector..size.min((at + 1) * sector)];
            let kept = chosen.len().min(place.len());
            place[..kept].copy_from_slice(&chosen[..kept]);
            place[kept..].fill(0);
        }
        self.data.clone_from(&image);
        self.durable = image;
        self.settle();
        self.locked_by = None;
        self.open = 0;
    }

    fn crash_size(&self, sector: usize, rng: &mut Rng) -> usize {
        let (min, max) = self.sizes;
        if min == max {
            return max;
        }
        match rng.below(6) {
            0 => self.durable.len(),
            1 | 2 => self.data.len(),
            3 => max,
            4 => (rng.between(min, max) / sector * sector).clamp(min, max),
            _ => rng.between(min, max),
        }
    }
}

/// The bytes of one sector; fewer, or none, where the file ends.
fn part(bytes: &[u8], at: usize, sector: usize) -> &[u8] {
    let start = (at * sector).min(bytes.len());
    &bytes[start..bytes.len().min(start + sector)]
}
