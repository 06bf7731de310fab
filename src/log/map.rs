//! Index segments as memory: the one place where a file is mapped, and the only `unsafe` of the crate but for a call in
//! `writeback`.

use memmap2::{MmapAsRawDesc, MmapOptions};
use std::{fmt, io, ops::Deref};

/// A stretch of a file, mapped read-only.
pub(crate) struct Map(memmap2::Mmap);

impl Map {
    /// Maps `len` bytes at `offset`. They must be part of a sealed index segment.
    #[expect(unsafe_code, reason = "mapping a file is unsafe; the argument is below")]
    pub(super) fn sealed(file: impl MmapAsRawDesc, offset: u64, len: usize) -> io::Result<Self> {
        // SAFETY: a slice over a mapping must not change while it is borrowed. The bytes of an index segment are
        // complete before anybody learns of them and no writer of the format touches them again (FORMAT.md, Y9): the
        // log only grows, slots lie elsewhere, a cut removes only what no walk has accepted, and a compaction builds
        // another file. Other programs could write to the file or cut it all the same, which no check can rule out.
        // Then the pages yield other bytes, and nothing here trusts them: each number is bounds-checked when it is
        // used, and a record is believed for its own checksums. A cut below the mapping raises SIGBUS, and so does a
        // bad sector under it; a process looks at the file's size before it looks into the index, and
        // `Options::map_index(false)` reads instead of mapping.
        unsafe { MmapOptions::new().offset(offset).len(len).map(file) }.map(Self)
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("len", &self.0.len()).finish()
    }
}
