//! What makes a record valid beyond its own bytes: its place, and the record before it.
//!
//! Crashes alone cannot show that these are checked, as long as torn tails are cut off durably. Files put together from
//! pieces of others can, as an interrupted copy or a restored backup leaves them.

use super::{
    model::NAME,
    ops::{Op, Outcome, Stored, execute, observe},
    process::open,
    rng::Rng,
    state::{Mint, Plan, State},
    world::World,
};
use crate::log::{
    Log, Options,
    entry::Times,
    layout::{LOG_START, RECORD_ALIGN},
    record::{Kind, RecordHeader},
};
use std::{path::Path, sync::Arc};

const TRIES: u64 = 500;

#[test]
fn a_file_spliced_from_two_is_read_up_to_the_seam() {
    for seed in 0..TRIES {
        spliced(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_record_is_valid_in_its_own_place_alone() {
    for seed in 0..TRIES {
        moved(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// Has a log go on in two ways, and puts the end of the one behind the beginning of the other.
pub(super) fn spliced(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let world = World::new(rng.next(), 512);
    let base = go_on(&world, seed, None, &puts('0', rng.below(3)))?;
    let ways = ['1', '2'].map(|way| puts(way, rng.between(1, 4)));
    let files = [go_on(&world, seed, Some(&base), &ways[0])?, go_on(&world, seed, Some(&base), &ways[1])?];
    // All records are of one size, so that each border in the one file is one in the other, too.
    let from_first = rng.below(ways[0].len() + 1);
    let seam = base.log_end + from_first * (files[0].log_end - base.log_end) / ways[0].len();
    let rest = files[1].bytes.get(seam..).unwrap_or_default();
    world.place(Path::new(NAME), &[&files[0].bytes[..seam], rest].concat());
    let shown = observe(&reader(&world, seed)?).map_err(|error| error.to_string())?;
    // The end of the other file follows only if the seam is where the two ways part.
    let after = if from_first == 0 { &ways[1][..] } else { &ways[0][..from_first] };
    let mut wanted = base.state.clone();
    apply(&mut wanted, after);
    wanted.check(&shown)
}

/// Reads the header of a record at another offset, and in another file, than it was written for.
pub(super) fn moved(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let mut header = RecordHeader::new(Kind::Put);
    (header.key_len, header.body_len, header.raw_len) = (1, 10, 10);
    let place = |rng: &mut Rng| LOG_START + rng.below(1 << 20) as u64 * RECORD_ALIGN;
    let (file_id, offset, other) = (rng.next(), place(&mut rng), place(&mut rng));
    let bytes = header.encode(file_id, offset);
    let valid = |file_id, offset| RecordHeader::decode(&bytes, file_id, offset).is_ok();
    match (valid(file_id, offset), valid(file_id, other), valid(!file_id, offset)) {
        (true, false, false) => Ok(()),
        found => Err(format!("valid at {offset}, at {other}, in another file: {found:?}")),
    }
}

/// A file, and what is in it.
struct Written {
    bytes: Vec<u8>,
    log_end: usize,
    state: State,
}

fn puts(way: char, count: usize) -> Vec<Op> {
    let put = |n: usize| {
        let body = format!("{way}{n}").repeat(40).into_bytes().into();
        let times = Some(Times::kept(0));
        Op::Put { key: n % 2, value: Arc::new(Stored { head: bytes::Bytes::new(), body, times }) }
    };
    (0..count).map(put).collect()
}

/// Puts a file in place, opens it, and carries out some operations.
fn go_on(world: &Arc<World>, seed: u64, from: Option<&Written>, ops: &[Op]) -> Result<Written, String> {
    if let Some(from) = from {
        world.place(Path::new(NAME), &from.bytes);
    }
    let log = open(world, world.spawn(), seed, Options::new()).map_err(|error| error.to_string())?;
    for op in ops {
        if let Outcome::Failed(_, why) = execute(&log, op) {
            return Err(why);
        }
    }
    drop(log);
    let bytes = world.content(Path::new(NAME)).unwrap_or_default();
    let mut state = from.map_or_else(State::new, |from| from.state.clone());
    apply(&mut state, ops);
    Ok(Written { log_end: bytes.len(), bytes, state })
}

fn apply(state: &mut State, ops: &[Op]) {
    for op in ops {
        if let Plan::Batch(batch) = state.plan(op, &mut Mint::default()) {
            state.apply(&batch);
        }
    }
}

fn reader(world: &Arc<World>, seed: u64) -> Result<Log, String> {
    open(world, world.spawn(), seed, Options::new().read_only(true)).map_err(|error| error.to_string())
}
