//! Histories of a log that may take so much space and no more: the file keeps to it, nothing goes but values, those
//! that were read go last, and a death at any moment of the work leaves the state before it or the one after.

use super::{
    disk::env,
    inode::Luck,
    model::{NAME, NEW_NAME, note},
    ops::{Draw, Op, Outcome, Part, Taste, execute, key, key_count, observe},
    plans::StopPlan,
    process::{Evictions, open, tier_of},
    report,
    rng::Rng,
    search, setting,
    state::{Mint, Plan, Rec, State},
    world::World,
};
use crate::{
    ErrorKind,
    log::{
        Log, Options, Times, Write,
        env::{Checkpoints, Env},
    },
};
use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

const HISTORIES: u64 = 1500;
const STEPS: usize = 120;
const TASTE: Taste = Taste { body_max: 2500, rare_body_max: 9000, reads: 30 };
const MAX: u64 = 6000;
/// What the simulation allows beyond that: without an index, and with one.
const SLACK: [u64; 2] = [16_000, 60_000];

#[test]
fn a_log_with_a_limit_keeps_to_it_and_drops_values_alone() {
    let histories = setting("LARDER_MODEL_HISTORIES").unwrap_or(HISTORIES);
    report(search(histories, 1, |seed| history(seed, &mut None)), |seed| {
        let mut trace = Some(Vec::new());
        let _ = history(seed, &mut trace);
        trace.unwrap_or_default()
    });
}

fn slack(seed: u64) -> u64 {
    SLACK[usize::try_from(seed % 2).unwrap_or(0)]
}

/// Leaves little room beyond a limit.
pub(super) fn tighten(env: &mut Env, seed: u64) {
    env.size_slack = slack(seed);
    if env.size_slack == SLACK[0] {
        env.checkpoints = Checkpoints { small_bytes: u64::MAX, ..env.checkpoints };
    }
}

/// One process with a limit, and one that only looks.
struct Limited {
    world: Arc<World>,
    log: Log,
    looker: Log,
    slack: u64,
    state: State,
    mint: Mint,
    /// What was read since values last had to go.
    read: HashSet<usize>,
}

/// One history; the operations are written down if that is wanted.
pub(super) fn history(seed: u64, trace: &mut Option<Vec<String>>) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let world = World::new(rng.next(), 512);
    let mut draw = Draw::new(rng.fork(), TASTE);
    let log = start(&world, seed, &mut rng)?;
    let looker = Log::open_in(env(&world, world.spawn(), seed), Path::new(NAME), &Options::new().read_only(true))
        .map_err(|error| format!("opening to look fails: {error}"))?;
    let (state, mint) = (State::new(), Mint::default());
    let mut limited = Limited { world, log, looker, slack: slack(seed), state, mint, read: HashSet::new() };
    for step in 0..STEPS {
        if rng.chance(3) {
            note(trace, || format!("{step}: opens again"));
            limited.reopen(seed, &mut rng)?;
        }
        let op = draw.op();
        // What expects a version may meet a conflict whenever the file is compacted.
        let expects = matches!(&op, Op::Batch(parts) if parts.iter().any(|part| matches!(part, Part::Expect { .. })));
        if expects || matches!(op, Op::UpdateHead { .. } | Op::All) {
            continue;
        }
        note(trace, || format!("{step}: {op:?}"));
        limited.step(&op, trace).map_err(|why| format!("step {step}: {why}"))?;
    }
    Ok(())
}

fn start(world: &Arc<World>, seed: u64, rng: &mut Rng) -> Result<Log, String> {
    let process = world.spawn();
    let options = Options::new().fast_save(rng.chance(50)).memory_tier(tier_of(seed)).max_size(MAX);
    let mut env = env(world, process, seed ^ (process as u64) << 48);
    tighten(&mut env, seed);
    Log::open_in(env, Path::new(NAME), &options).map_err(|error| format!("opening fails: {error}"))
}

impl Limited {
    fn step(&mut self, op: &Op, trace: &mut Option<Vec<String>>) -> Result<(), String> {
        // What was read longer ago goes first.
        self.world.advance(Duration::from_millis(1));
        let outcome = execute(&self.log, op);
        let evicted = self.take_evicted();
        if !evicted.is_empty() {
            note(trace, || format!("values that had to go: {evicted:?}"));
        }
        self.judge(&evicted)?;
        // What an update saw may have to go before its long value is whole.
        let seen_went = matches!(op, Op::Update { key, .. } if evicted.contains(key));
        if seen_went && matches!(outcome, Outcome::Failed(ErrorKind::Conflict, _)) {
            return Ok(());
        }
        self.compare(op, &outcome)?;
        match op {
            Op::Get(at) | Op::Read(at) | Op::Head(at) | Op::Contains(at) => {
                self.read.extend(self.state.target(*at).filter(|at| self.state.is_value(*at)));
            }
            Op::Clear => self.read.clear(),
            // It follows no alias.
            Op::Entry(at) if self.state.is_value(*at) => _ = self.read.insert(*at),
            _ => {}
        }
        let len = {
            let machine = self.world.machine();
            machine.find(Path::new(NAME)).map(|at| machine.inodes[at].size() as u64)
        };
        // One more value, and what belongs to it.
        let len_max = self.slack + 2 * MAX + 2000;
        if len.is_some_and(|len| len > len_max) {
            return Err(format!("the file is {len:?} bytes long, and may be {len_max}"));
        }
        let seen = observe(&self.looker).map_err(|error| format!("looking fails: {error}"))?;
        self.state.check(&seen)
    }

    /// What the engine says that it has dropped since the last time.
    fn take_evicted(&self) -> BTreeSet<usize> {
        Evictions::of(&self.log).take().into_iter().collect()
    }

    /// Whether these values had to go, and no others had to go before them.
    fn judge(&mut self, evicted: &BTreeSet<usize>) -> Result<(), String> {
        if evicted.is_empty() {
            return Ok(());
        }
        if let Some(book) = evicted.iter().find(|at| self.state.is_aux(**at)) {
            return Err(format!("the bookkeeping under {book} was dropped"));
        }
        let unread = |at: &usize| self.state.is_value(*at) && !self.read.contains(at) && !evicted.contains(at);
        // The newest value stays in almost any case.
        let spared = (0..key_count()).filter(unread).count();
        if spared > 1 && evicted.iter().any(|at| self.read.contains(at)) {
            return Err(format!("{evicted:?} had to go, of which {:?} were read", self.read));
        }
        self.read.clear();
        let gone: Vec<_> = evicted.iter().map(|at| Rec::Set(*at, None)).collect();
        self.state.apply(&gone);
        Ok(())
    }

    fn compare(&mut self, op: &Op, outcome: &Outcome) -> Result<(), String> {
        let weight: u64 = self.state.weight_of(op);
        match (outcome, self.state.plan(op, &mut self.mint)) {
            (Outcome::Failed(ErrorKind::TooLarge, _), _) if weight > MAX => Ok(()),
            // Bookkeeping alone may be as long as the file may be.
            (Outcome::Failed(ErrorKind::Full, _), _) if self.state.books() > MAX / 2 => Ok(()),
            (Outcome::Failed(kind, why), _) => Err(format!("{op:?} failed: {kind:?}, {why}")),
            (Outcome::Sound(false), _) => Err("the file is not sound".into()),
            (_, Plan::Conflict) => Err(format!("{op:?} should have met a conflict")),
            (_, Plan::Batch(batch)) => {
                self.state.check_outcome(op, outcome)?;
                self.state.apply(&batch);
                Ok(())
            }
        }
    }

    fn reopen(&mut self, seed: u64, rng: &mut Rng) -> Result<(), String> {
        let log = std::mem::replace(&mut self.log, start(&self.world, seed, rng)?);
        let evictions = Evictions::of(&log);
        log.close().map_err(|error| format!("closing fails: {error}"))?;
        self.judge(&evictions.take().into_iter().collect())?;
        self.read.clear();
        Ok(())
    }
}

const VALUES: usize = 5;

/// A log that is about to drop values: five of them, one read, one alias, and a record of the layer above.
fn about_to_drop(world: &Arc<World>, seed: u64) -> (Log, usize) {
    let process = world.spawn();
    let log = open(world, process, seed, Options::new().max_size(MAX)).expect("a sound log");
    let (key_of, times) = (|at: usize| key(at).into(), Times::kept(0));
    let book = Write::Put {
        key: b"book".as_slice().into(),
        head: b"h".as_slice().into(),
        body: vec![9; 150].into(),
        times,
        aux: true,
    };
    log.apply(&[book]).expect("a sound log");
    for at in 0..VALUES {
        let put = Write::Put { key: key_of(at), head: bytes::Bytes::new(), body: value(at), times, aux: false };
        log.apply(&[put]).expect("a sound log");
    }
    log.alias("alias", key(1)).expect("a sound log");
    assert!(log.get(key(0)).expect("a sound log").is_some());
    (log, process)
}

fn value(at: usize) -> bytes::Bytes {
    vec![u8::try_from(at).expect("a sound log") + 1; 1000].into()
}

/// Which values a log holds; everything else about it must be right.
fn held(log: &Log) -> Vec<bool> {
    assert_eq!(log.entry("book").expect("a sound log").expect("a sound log").body, vec![9; 150]);
    let held: Vec<bool> = (0..VALUES)
        .map(|at| {
            let body = log.get(key(at)).expect("a sound log");
            assert!(body.as_ref().is_none_or(|body| *body == value(at)));
            body.is_some()
        })
        .collect();
    assert_eq!(log.get("alias").expect("a sound log"), held[1].then(|| value(1)));
    assert_eq!(log.len().expect("a sound log"), held.iter().filter(|held| **held).count() as u64);
    assert!(log.check().expect("a sound log").is_sound());
    held
}

#[test]
fn a_death_at_any_moment_leaves_all_values_or_those_that_should_stay() {
    // A seed without compression, so that lengths are what they seem.
    let (world, seed) = (World::new(1, 512), 2);
    let (log, _) = about_to_drop(&world, seed);
    log.tick().unwrap();
    let after = held(&log);
    assert_eq!(after, [true, false, false, false, true], "what was read and what is newest");
    let (mut ends, mut rng) = (BTreeSet::new(), Rng::new(7));
    for power in [false, true] {
        for round in 0..if power { 40 } else { 1 } {
            for at in 1.. {
                let world = World::new(round * 1000 + at, 512);
                let (log, process) = about_to_drop(&world, seed);
                let calls = world.machine().calls;
                let process = (!power).then_some(process);
                world.machine().stop = Some(StopPlan { at: calls + at, process, done: None });
                let finished = log.tick().is_ok() && !world.machine().power_is_off;
                world.machine().stop = None;
                if power {
                    world.power_off();
                }
                drop(log);
                if power {
                    world.crash(Luck::draw(&mut rng));
                }
                let names = world.names();
                assert!(names.iter().all(|name| name == Path::new(NAME) || name == Path::new(NEW_NAME)), "{names:?}");
                let log = open(&world, world.spawn(), seed, Options::new().max_size(MAX)).unwrap();
                let left = held(&log);
                assert!(left == after || left == [true; VALUES], "died at call {at}: {left:?}");
                assert!(!finished || left == after, "what was done is undone");
                ends.insert(left);
                // The next one does the work, whatever the last one left.
                world.advance(Duration::from_millis(1));
                assert!(log.get(key(0)).unwrap().and(log.get(key(VALUES - 1)).unwrap()).is_some());
                log.put("more", vec![1; 10]).unwrap();
                log.tick().unwrap();
                assert_eq!(held_but(&log), after);
                if finished {
                    break;
                }
            }
        }
    }
    assert_eq!(ends.len(), 2, "some deaths came before the end and some after");
}

/// The same of a log that holds one value more.
fn held_but(log: &Log) -> Vec<bool> {
    assert!(log.get("more").expect("a sound log").is_some());
    (0..VALUES).map(|at| log.get(key(at)).expect("a sound log").is_some()).collect()
}
