//! Proof that the histories would notice: each planted bug must make one of them fail.

use super::{crash, limit, model, splice};
use crate::log::plant::{Bug, plant};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

/// Histories within which a bug must be caught.
const HISTORIES_MAX: u64 = 100_000;
/// Other histories than those of the everyday run, so that these tests do not depend on its first seeds.
const FIRST_SEED: u64 = 1 << 40;

/// Takes the bug out again when a test ends, however it ends.
struct Planted;

impl Planted {
    fn new(bug: Bug) -> Self {
        plant(Some(bug));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

fn must_catch(bug: Bug, history: impl Fn(u64) -> Result<(), String>) {
    let started = Instant::now();
    let planted = Planted::new(bug);
    let run = |seed| catch_unwind(AssertUnwindSafe(|| history(seed))).unwrap_or_else(|_| Err("it panics".into()));
    let caught = (0..HISTORIES_MAX).find_map(|n| run(FIRST_SEED + n).err().map(|why| (n + 1, why)));
    drop(planted);
    let Some((histories, why)) = caught else { panic!("{bug:?} is not caught in {HISTORIES_MAX} histories") };
    let why: String = why.chars().take(160).collect();
    eprintln!("{bug:?}: caught by history {histories} after {:.1?}: {why}", started.elapsed());
}

fn crashes(seed: u64) -> Result<(), String> {
    crash::history(seed, &mut None)
}

fn plain(seed: u64) -> Result<(), String> {
    model::history(seed, &mut None)
}

fn limited(seed: u64) -> Result<(), String> {
    limit::history(seed, &mut None)
}

macro_rules! bugs {
    ($($name:ident: $bug:ident by $history:expr;)*) => { $(
        #[test]
        fn $name() {
            must_catch(Bug::$bug, $history);
        }
    )* };
}

bugs! {
    a_batch_that_is_published_record_by_record_is_caught: MoreIgnored by crashes;
    an_open_that_does_not_check_bodies_is_caught: BodiesUnchecked by crashes;
    a_bad_body_that_voids_one_record_is_caught: VoidsOneRecord by crashes;
    a_torn_tail_that_is_kept_is_caught: TornTailKept by crashes;
    a_cut_that_is_not_synced_is_caught: CutUnsynced by crashes;
    an_acknowledgement_before_the_sync_is_caught: AckBeforeSync by crashes;
    a_failed_sync_that_is_tried_again_is_caught: SyncRetried by crashes;
    a_folder_that_is_not_synced_is_caught: FolderUnsynced by crashes;
    a_compaction_that_is_not_synced_is_caught: CompactUnsynced by crashes;
    a_compaction_that_forgets_deletes_is_caught: CompactForgetsDeletes by crashes;
    a_writer_that_does_not_check_the_path_is_caught: IdentityUnchecked by crashes;
    an_incarnation_that_comes_back_is_caught: IncarnationReused by plain;
    a_slot_that_is_ahead_is_caught: SlotAhead by crashes;
    slots_that_one_crash_can_hit_both_are_caught: SlotsUnsettled by crashes;
    a_new_file_that_is_not_synced_is_caught: CreateUnsynced by crashes;
    a_clear_that_keeps_values_is_caught: ClearKeepsValues by plain;
    an_index_that_is_not_synced_is_caught: IndexUnsynced by crashes;
    an_index_that_is_ahead_is_caught: IndexAhead by crashes;
    a_delete_that_does_not_hide_the_index_is_caught: DeleteKeepsIndexed by plain;
    a_clear_that_does_not_hide_the_index_is_caught: ClearKeepsIndexed by plain;
    chunks_that_are_not_synced_are_caught: ChunksUnsynced by crashes;
    chunks_that_are_left_behind_are_caught: ChunksLeftBehind by crashes;
    extents_that_are_not_moved_are_caught: ExtentsNotMoved by crashes;
    a_bad_page_that_counts_as_a_miss_is_caught: BadPageIsMiss by crashes;
    a_writer_that_does_not_make_room_is_caught: RoomNotMade by limited;
    an_eviction_that_ignores_what_was_read_is_caught: UsesIgnored by limited;
    an_eviction_of_bookkeeping_is_caught: EvictsBooks by limited;
    a_compaction_that_forgets_codecs_is_caught: CompactForgetsCodec by crashes;
    a_new_head_that_forgets_a_codec_is_caught: HeadForgetsCodec by crashes;
    a_tier_that_outlives_its_file_is_caught: TierInherited by plain;
    a_chain_that_is_not_checked_is_caught: ChainIgnored by splice::spliced;
    records_that_are_valid_anywhere_are_caught: RecordsFloat by splice::moved;
}
