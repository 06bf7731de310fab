//! The model test: long histories without a fault, in one process and in two, each result compared with the model's.

use super::{
    disk::env,
    ops::{Draw, Op, Outcome, Taste, execute},
    process::{compresses, tier_of},
    report,
    rng::Rng,
    search, setting,
    state::{Mint, Plan, State},
    world::World,
};
use crate::{
    ErrorKind,
    log::{Log, Options},
};
use std::{path::Path, sync::Arc};

const HISTORIES: u64 = 2000;
const STEPS: usize = 200;
const TASTE: Taste = Taste { body_max: 3000, rare_body_max: 100_000, reads: 35 };
/// All records are of a few sizes, so that those of one generation often stand where others stood in another.
const SMALL: Taste = Taste { body_max: 8, rare_body_max: 8, reads: 35 };

/// Where the simulated cache lies.
pub(super) const NAME: &str = "/d/c.larder";
pub(super) const NEW_NAME: &str = "/d/c.larder.new";

#[test]
fn a_log_does_what_a_map_does() {
    let histories = setting("LARDER_MODEL_HISTORIES").unwrap_or(HISTORIES);
    report(search(histories, 1, |seed| history(seed, &mut None)), |seed| {
        let mut trace = Some(Vec::new());
        let _ = history(seed, &mut trace);
        trace.unwrap_or_default()
    });
}

/// An index of an empty log, which `check` did not know.
#[test]
fn a_history_that_once_failed_does_not() {
    assert_eq!(history(2121, &mut None), Ok(()));
}

/// One history; the operations are written down if that is wanted.
pub(super) fn history(seed: u64, trace: &mut Option<Vec<String>>) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let world = World::new(rng.next(), 512);
    let taste = rng.pick(&[TASTE, TASTE, SMALL]);
    let mut draw = Draw::new(rng.fork(), taste);
    let mut machine = Handles { world, logs: Vec::new(), seed };
    for _ in 0..rng.between(1, 2) {
        machine.start(&mut rng)?;
    }
    let (mut state, mut mint) = (State::new(), Mint::default());
    for step in 0..STEPS {
        let at = rng.below(machine.logs.len());
        if rng.chance(4) {
            note(trace, || format!("{step}: handle {at} opens again"));
            machine.reopen(at, &mut rng)?;
        }
        let op = if rng.chance(8) { Op::All } else { draw.op() };
        note(trace, || format!("{step}: handle {at} {op:?}"));
        let outcome = execute(&machine.logs[at], &op);
        compare(&mut state, &mut mint, &op, &outcome).map_err(|why| format!("step {step}: {why}"))?;
    }
    if machine.world.names() != [Path::new(NAME)] {
        return Err(format!("the folder holds {:?}", machine.world.names()));
    }
    Ok(())
}

/// Compares one result with the model's, and has the model do the same.
fn compare(state: &mut State, mint: &mut Mint, op: &Op, outcome: &Outcome) -> Result<(), String> {
    let plan = state.plan(op, mint);
    match (outcome, plan) {
        (Outcome::Failed(ErrorKind::Conflict, _), Plan::Conflict) => Ok(()),
        (Outcome::Failed(kind, why), _) => Err(format!("{op:?} failed: {kind:?}, {why}")),
        (_, Plan::Conflict) => Err(format!("{op:?} should have met a conflict")),
        (Outcome::Sound(false), _) => Err("the file is not sound".into()),
        (_, Plan::Batch(batch)) => {
            state.check_outcome(op, outcome)?;
            state.apply(&batch);
            Ok(())
        }
    }
}

pub(super) fn note(trace: &mut Option<Vec<String>>, line: impl FnOnce() -> String) {
    if let Some(trace) = trace {
        trace.push(line());
    }
}

/// The processes of one history.
struct Handles {
    world: Arc<World>,
    logs: Vec<Log>,
    seed: u64,
}

impl Handles {
    fn start(&mut self, rng: &mut Rng) -> Result<(), String> {
        let process = self.world.spawn();
        let seed = self.seed ^ (process as u64) << 48;
        let options = Options::new().fast_save(rng.chance(50)).memory_tier(tier_of(self.seed));
        let options = options.compress(compresses(self.seed, process));
        let log = Log::open_in(env(&self.world, process, seed), Path::new(NAME), &options);
        self.logs.push(log.map_err(|error| format!("opening fails: {error}"))?);
        Ok(())
    }

    /// Ends a process, in order or not, and starts another.
    fn reopen(&mut self, at: usize, rng: &mut Rng) -> Result<(), String> {
        let log = self.logs.swap_remove(at);
        if rng.chance(50) {
            log.close().map_err(|error| format!("closing fails: {error}"))?;
        } else {
            drop(log);
        }
        self.start(rng)
    }
}
