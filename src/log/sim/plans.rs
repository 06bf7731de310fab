//! What is going to go wrong on a simulated machine, and at which disk call.

use rustix::io::Errno;

/// One operation of a disk, for the plans of what goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::log) enum Call {
    Open,
    Create,
    StatPath,
    Rename,
    Unlink,
    SyncDir,
    FreeBytes,
    Stat,
    Read { offset: u64, len: usize },
    Write { offset: u64, len: usize },
    Truncate,
    Sync,
    Lock,
    Unlock,
    Adopt,
}

impl Call {
    /// The bytes that a write is to write.
    pub(in crate::log) fn writes(self) -> Option<usize> {
        match self {
            Self::Write { len, .. } => Some(len),
            _ => None,
        }
    }
}

/// What a disk call does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Eio,
    Enospc,
    Edquot,
    Eintr,
    ShortOne,
    ShortHalf,
    /// The sync fails, and the pages that it should have written are taken for clean.
    SyncDrops,
    /// They are taken out of the cache as well, so that reads show what was there before.
    SyncForgets,
}

impl Fault {
    pub(super) const ALL: [Self; 8] = [
        Self::Eio,
        Self::Enospc,
        Self::Edquot,
        Self::Eintr,
        Self::ShortOne,
        Self::ShortHalf,
        Self::SyncDrops,
        Self::SyncForgets,
    ];

    /// Whether a system could answer this call so.
    pub(super) fn fits(self, call: Call) -> bool {
        use Call::{Create, Lock, Open, Read, Rename, Sync, SyncDir, Truncate, Write};
        match self {
            Self::Eio => true,
            Self::Enospc | Self::Edquot => matches!(call, Create | Write { .. } | Truncate | Rename | Sync | SyncDir),
            Self::Eintr => matches!(call, Open | Create | Read { .. } | Write { .. } | Truncate | Sync | Lock),
            Self::ShortOne | Self::ShortHalf => matches!(call, Read { .. } | Write { .. }),
            Self::SyncDrops | Self::SyncForgets => matches!(call, Sync | SyncDir),
        }
    }

    pub(super) fn errno(self) -> Errno {
        match self {
            Self::Enospc => Errno::NOSPC,
            Self::Edquot => Errno::DQUOT,
            Self::Eintr => Errno::INTR,
            _ => Errno::IO,
        }
    }
}

/// A fault at one disk call, or at every one from then on.
#[derive(Debug, Clone, Copy)]
pub(super) struct FaultPlan {
    pub(super) fault: Fault,
    pub(super) at: u64,
    pub(super) sticky: bool,
}

/// A death at a disk call: of one process, or (`None`) of all at once with the power.
#[derive(Debug, Clone, Copy)]
pub(super) struct StopPlan {
    pub(super) at: u64,
    pub(super) process: Option<usize>,
    /// How far the work of the call is done; by chance if nothing is said.
    pub(super) done: Option<Shorter>,
}

/// What a disk call has to do, after the plans were asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Work,
    /// Do only so many bytes of the work.
    Short(Shorter),
    /// The process dies in this call, its work done as far as this says.
    Die(Shorter),
    /// Fail the sync and forget what it should have written.
    DropPages {
        forget: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shorter {
    None,
    One,
    Half,
    All,
    Bytes(usize),
    /// So many thousandths.
    Part(usize),
}

impl Shorter {
    pub(super) fn of(self, len: usize) -> usize {
        match self {
            Self::None => 0,
            Self::One => len.min(1),
            Self::Half => len.div_ceil(2),
            Self::All => len,
            Self::Bytes(bytes) => len.min(bytes),
            Self::Part(thousandths) => len * thousandths / 1000,
        }
    }
}
