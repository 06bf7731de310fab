//! Planted bugs: single rules of the engine that a test can switch off, to prove that the simulation would notice.
//! Outside tests every one of them is a constant `false`.

/// A rule that can be broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// Record checksums do not cover the record's own offset.
    RecordsFloat,
    /// The chain from record to record is not checked.
    ChainIgnored,
    /// A batch is published record by record.
    MoreIgnored,
    /// Opening a file does not check heads and bodies.
    BodiesUnchecked,
    /// A bad body voids its record, not its batch.
    VoidsOneRecord,
    /// A torn tail is not cut off before the next append.
    TornTailKept,
    /// A torn tail is cut off, but the cut is not synced before the next append.
    CutUnsynced,
    /// A durable write is acknowledged before the sync.
    AckBeforeSync,
    /// A sync speaks for what was written while it ran.
    SyncCoversLate,
    /// Whoever waits for a sync is not told that it is over.
    SyncUntold,
    /// A sync that failed is tried again, and counts if it then succeeds.
    SyncRetried,
    /// The folder is not synced after a file was created or renamed, nor before the first acknowledgement.
    FolderUnsynced,
    /// A compaction renames its file into place before that is synced.
    CompactUnsynced,
    /// A compaction forgets what was deleted while it copied.
    CompactForgetsDeletes,
    /// A writer does not check that the path still names its file.
    IdentityUnchecked,
    /// Deleting a key does not end its incarnation, so that its aliases revive.
    IncarnationReused,
    /// A slot claims as synced what was only written.
    SlotAhead,
    /// A slot is written although the one before may not be on the medium yet.
    SlotsUnsettled,
    /// A new file's first pages are not synced before it gets its name.
    CreateUnsynced,
    /// CLEAR forgets aliases, not values.
    ClearKeepsValues,
    /// A value reaches the medium before the chunks that it names.
    ChunksUnsynced,
    /// A stream that a compaction or a clear has passed does not bring its chunks along.
    ChunksLeftBehind,
    /// A compaction points a copied value at where its chunks were in the old file.
    ExtentsNotMoved,
    /// A slot names an index that is not synced.
    IndexUnsynced,
    /// An index claims to cover what was written while it was made.
    IndexAhead,
    /// A DELETE does not hide what an index says of the key.
    DeleteKeepsIndexed,
    /// A CLEAR does not hide what an index says.
    ClearKeepsIndexed,
    /// A page of an index that fails its checksum counts as one without the key.
    BadPageIsMiss,
    /// A full page of an index does not say that entries stand in the next one.
    OverflowUnmarked,
    /// A writer goes on although the file is as large as it may be.
    RoomNotMade,
    /// What makes room takes no account of what was read.
    UsesIgnored,
    /// What makes room takes the bookkeeping of the layer above with it.
    EvictsBooks,
    /// A compaction forgets how bodies are encoded.
    CompactForgetsCodec,
    /// A new head for a value forgets how its body is encoded.
    HeadForgetsCodec,
    /// A new generation takes over the memory tier of the last one.
    TierInherited,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in this thread, or takes it out again.
#[cfg(test)]
pub(super) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

#[cfg(test)]
pub(super) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

#[cfg(not(test))]
#[inline]
pub(super) const fn planted(_: Bug) -> bool {
    false
}
