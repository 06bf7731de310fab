//! [`Memo`]: where a reader keeps what it made of an entry.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

/// Room beside an entry of the [memory tier](super::Options::memory_tier), or of a store in memory, for what its reader
/// made of it, so that it is made once.
///
/// All entries that are handed out for one record share one memo; it goes when the tier drops the record, and a
/// record that replaces it has another. It holds one value of any type. The memo of an entry that is not kept in memory
/// holds nothing.
///
/// ```
/// use larder::log::{Log, Options, Times};
/// use std::sync::Arc;
///
/// let folder = tempfile::tempdir()?;
/// let log = Log::open(folder.path().join("cache.larder"), Options::new())?;
/// log.put_parts("answer", "42", "", Times::kept(0))?;
///
/// let entry = log.entry("answer")?.expect("it was just stored");
/// let number: u32 = std::str::from_utf8(&entry.head)?.parse()?;
/// entry.memo().keep(&Arc::new(number), size_of::<u32>());
///
/// let again = log.entry("answer")?.expect("it is still there");
/// assert_eq!(again.memo().get::<u32>().as_deref(), Some(&42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Memo(Option<Arc<Slot>>);

/// Bytes that a value may take, if there is a head to make it of, and those for each byte of the head: a header field
/// of some twenty bytes becomes an entry of a map and a block of memory.
const LEAST: usize = 1024;
const FACTOR: usize = 8;

struct Slot {
    room: usize,
    kept: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Memo {
    /// A memo with room for what is made of a head of this length.
    pub(crate) fn beside(head_len: usize) -> Self {
        let room = if head_len == 0 { 0 } else { LEAST.saturating_add(head_len.saturating_mul(FACTOR)) };
        Self(Some(Arc::new(Slot { room, kept: OnceLock::new() })))
    }

    /// What is kept, if it is a `T`.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let kept = self.0.as_ref()?.kept.get()?;
        Arc::clone(kept).downcast().ok()
    }

    /// Keeps a value, unless there is one already or it takes more than there is [room](Self::room) for: then nothing
    /// happens. `bytes` is the memory that it takes beyond head and body, whose bytes it may share.
    pub fn keep<T: Any + Send + Sync>(&self, value: &Arc<T>, bytes: usize) {
        if let Some(slot) = self.0.as_ref().filter(|slot| bytes <= slot.room) {
            // Whoever was first has kept what is as good.
            let _ = slot.kept.set(Arc::clone(value) as _);
        }
    }

    /// The bytes that a value may take: 1 KiB and 8 times the head, if there is one. The tier has counted them in
    /// advance.
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.as_ref().map_or(0, |slot| slot.room)
    }
}

/// Always equal: a memo is about an entry and no part of it.
impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Memo {}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.0.as_ref().is_some_and(|slot| slot.kept.get().is_some());
        f.debug_struct("Memo").field("room", &self.room()).field("kept", &kept).finish()
    }
}
