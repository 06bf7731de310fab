//! A fault at every disk call: what each operation does when the disk fails it at any point, once or for a while, and
//! that everything works again afterwards.

use super::{
    accept::{Acceptable, Event, Happened},
    inode::Luck,
    model::{NAME, NEW_NAME},
    ops::{Op, Outcome, Part, Stored, Update, execute, failed, observe},
    plans::{Fault, FaultPlan},
    process::{Evictions, open},
    rng::Rng,
    world::World,
};
use crate::{
    ErrorKind,
    log::{Log, Options, entry::Times},
};
use bytes::Bytes;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// One step of a scenario, on the handle with the number.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Open(usize, Handle),
    Do(usize, Op),
    Close(usize),
    Drop(usize),
    Wait,
    /// Leaves so many bytes free.
    Fill(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handle {
    Durable,
    Fast,
    /// With a limit that a few values reach.
    Limited,
}

impl Handle {
    pub(super) fn options(self) -> Options {
        match self {
            Self::Durable => Options::new(),
            Self::Fast => Options::new().fast_save(true),
            Self::Limited => Options::new().max_size(2500),
        }
    }
}

/// What happens without a fault, and what meets it.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) before: Vec<Step>,
    pub(super) steps: Vec<Step>,
}

impl Scenario {
    fn makes_room(&self) -> bool {
        self.before.iter().any(|step| matches!(step, Step::Open(_, Handle::Limited)))
    }
}

fn value(number: usize, len: usize) -> Arc<Stored> {
    let text = format!("value {number} ").into_bytes();
    let body = text.iter().copied().cycle().take(len).collect::<Vec<_>>().into();
    Arc::new(Stored { head: Bytes::from(text), body, times: Some(Times::kept(0)) })
}

pub(super) fn put(handle: usize, key: usize, number: usize) -> Step {
    Step::Do(handle, Op::Put { key, value: value(number, 700) })
}

/// A value that no compression makes shorter.
fn noise(handle: usize, key: usize, number: usize) -> Step {
    let mut rng = Rng::new(number as u64);
    let body = std::iter::repeat_with(|| rng.next().to_le_bytes()).take(100).flatten().collect::<Vec<_>>().into();
    let value = Stored { head: Bytes::from(format!("noise {number}")), body, times: Some(Times::kept(0)) };
    Step::Do(handle, Op::Put { key, value: Arc::new(value) })
}

fn all(handle: usize) -> Step {
    Step::Do(handle, Op::All)
}

/// A log with a few entries, open as handle 0.
fn opened(handle: Handle) -> Vec<Step> {
    let alias = Op::Alias { key: 2, to: 0, head: value(3, 0) };
    vec![Step::Open(0, handle), put(0, 0, 1), put(0, 1, 2), Step::Do(0, alias), Step::Do(0, Op::Flush)]
}

/// A log that is as large as it may be, open as handle 0.
fn full() -> Vec<Step> {
    let alias = Op::Alias { key: 2, to: 0, head: value(3, 0) };
    vec![Step::Open(0, Handle::Limited), noise(0, 0, 1), Step::Do(0, alias), noise(0, 1, 2)]
}

fn batch() -> Op {
    Op::Batch(vec![
        Part::Put { key: 0, value: value(10, 900), aux: false },
        Part::Expect { key: 4, holds: true },
        Part::Put { key: 4, value: value(11, 0), aux: true },
        Part::Delete { key: 1 },
        Part::Alias { key: 3, to: 0, head: value(12, 0) },
    ])
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let durable = || opened(Handle::Durable);
    let scenario = |name, before, steps| Scenario { name, before, steps };
    let op = |op| Step::Do(0, op);
    let update = |change| Op::Update { key: 0, change };
    vec![
        scenario("create", vec![], vec![Step::Open(0, Handle::Durable), put(0, 0, 1), all(0)]),
        scenario("put", durable(), vec![put(0, 3, 10), all(0), put(0, 4, 11)]),
        scenario("put over a value", durable(), vec![put(0, 0, 10), all(0), put(0, 0, 11)]),
        scenario("batch", durable(), vec![op(batch()), all(0)]),
        scenario("delete", durable(), vec![op(Op::Delete { key: 0 }), all(0)]),
        scenario("alias", durable(), vec![op(Op::Alias { key: 3, to: 2, head: value(10, 0) }), all(0)]),
        scenario("clear", durable(), vec![op(Op::Clear), all(0), put(0, 0, 10)]),
        scenario("compact", durable(), vec![op(Op::Delete { key: 1 }), op(Op::Compact), all(0), put(0, 0, 10)]),
        scenario(
            "fast save",
            opened(Handle::Fast),
            vec![put(0, 0, 10), Step::Wait, op(Op::Tick), put(0, 3, 11), all(0), Step::Close(0)],
        ),
        scenario(
            "checkpoint",
            durable(),
            vec![
                op(Op::Checkpoint),
                op(Op::Delete { key: 1 }),
                put(0, 0, 10),
                op(Op::Checkpoint),
                put(0, 3, 11),
                all(0),
                Step::Close(0),
            ],
        ),
        scenario(
            "open with an index",
            [durable(), vec![op(Op::Checkpoint)]].concat(),
            vec![put(0, 0, 10), Step::Drop(0), Step::Open(0, Handle::Durable), all(0), put(0, 1, 11), all(0)],
        ),
        scenario("open again", durable(), vec![Step::Drop(0), Step::Open(0, Handle::Durable), all(0), put(0, 3, 10)]),
        scenario(
            "two handles",
            [durable(), vec![Step::Open(1, Handle::Fast)]].concat(),
            vec![put(0, 0, 10), put(1, 3, 11), op(Op::Compact), put(1, 0, 12), all(0), all(1), Step::Close(1)],
        ),
        scenario(
            "update",
            durable(),
            vec![
                op(update(Update::Put(value(10, 300)))),
                op(Op::UpdateHead { key: 0, head: value(11, 0), fresh: true }),
                op(update(Update::Delete)),
                all(0),
            ],
        ),
        scenario(
            "full disk",
            [durable(), vec![Step::Fill(66_000)]].concat(),
            vec![put(0, 3, 10), put(0, 4, 11), op(Op::Delete { key: 1 }), all(0), op(Op::Clear), all(0)],
        ),
        scenario("long bodies", durable(), vec![long_put(0, 10), all(0), op(long_batch()), all(0)]),
        scenario("stream", durable(), vec![stream(3, 10, true), all(0), stream(4, 11, false), stream(0, 12, true)]),
        scenario(
            "long bodies and compaction",
            [durable(), vec![long_put(0, 10), stream(3, 11, true)]].concat(),
            vec![
                op(Op::UpdateHead { key: 0, head: value(12, 0), fresh: true }),
                op(Op::Compact),
                all(0),
                op(Op::Clear),
                long_put(1, 13),
            ],
        ),
        scenario(
            "make room",
            full(),
            vec![noise(0, 3, 10), op(Op::Tick), all(0), noise(0, 4, 11), noise(0, 5, 12), Step::Close(0)],
        ),
        scenario(
            "make room beside another writer",
            [full(), vec![Step::Open(1, Handle::Limited)]].concat(),
            vec![noise(1, 3, 10), noise(1, 0, 11), op(Op::Tick), noise(1, 4, 12), all(1), noise(0, 5, 13), all(0)],
        ),
        scenario(
            "close with an index",
            durable(),
            vec![put(0, 3, 10), put(0, 4, 11), put(0, 5, 12), Step::Close(0), Step::Open(0, Handle::Durable), all(0)],
        ),
        scenario(
            "close with a compaction",
            [durable(), (20..28).map(|number| put(0, 0, number)).collect()].concat(),
            vec![put(0, 0, 30), Step::Close(0), Step::Open(0, Handle::Durable), all(0), put(0, 1, 31)],
        ),
    ]
}

fn long_put(key: usize, number: usize) -> Step {
    Step::Do(0, Op::Put { key, value: value(number, 3000) })
}

fn stream(key: usize, number: usize, commit: bool) -> Step {
    Step::Do(0, Op::Stream { key, value: value(number, 5000), piece: 700, commit })
}

fn long_batch() -> Op {
    let part = |key, number| Part::Put { key, value: value(number, 2000), aux: false };
    Op::Batch(vec![part(4, 20), Part::Delete { key: 1 }, part(5, 21)])
}

#[test]
fn a_fault_at_any_disk_call_is_an_error_and_nothing_worse() {
    let mut runs = 0;
    for scenario in scenarios() {
        let calls = Bench::new(0).run(&scenario).unwrap_or_else(|why| panic!("{}: {why}", scenario.name));
        // Whatever makes room leaves out what stays unreadable, which only a fault makes so; and where a sync forgets
        // as well, too much may be gone to tell what may not. Deaths at each of its calls have a test of their own.
        let mild = scenario.makes_room();
        for fault in Fault::ALL.into_iter().filter(|fault| !mild || *fault != Fault::SyncForgets) {
            for at in 1..=calls {
                for variant in 0..if mild { 1 } else { 4 } {
                    runs += 1;
                    let plan = FaultPlan { fault, at, sticky: variant % 2 == 1 };
                    let power_cut = variant / 2 == 1;
                    let run = || Bench::new(runs).run_with(&scenario, plan, power_cut);
                    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("it panics".into()));
                    if let Err(why) = result {
                        panic!("{}, {plan:?}, power cut: {power_cut}: {why}", scenario.name);
                    }
                }
            }
        }
    }
    eprintln!("{runs} runs");
}

struct Opened {
    log: Log,
    kind: Handle,
    /// Whether a fault had come before it was opened.
    late: bool,
}

/// One run of a scenario.
struct Bench {
    world: Arc<World>,
    handles: [Option<Opened>; 2],
    model: Acceptable,
    rng: Rng,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let world = World::new(rng.next(), 512);
        Self { world, handles: [None, None], model: Acceptable::new(), rng }
    }

    /// Runs a scenario without a fault; returns how many disk calls its steps make.
    fn run(&mut self, scenario: &Scenario) -> Result<u64, String> {
        self.steps(&scenario.before)?;
        let before = self.world.machine().calls;
        self.steps(&scenario.steps)?;
        Ok(self.world.machine().calls - before)
    }

    fn run_with(&mut self, scenario: &Scenario, mut plan: FaultPlan, power_cut: bool) -> Result<(), String> {
        self.steps(&scenario.before)?;
        {
            let mut machine = self.world.machine();
            plan.at += machine.calls;
            machine.calls_max = machine.calls + 1_000_000;
            machine.fault = Some(plan);
        }
        self.steps(&scenario.steps)?;
        let forgotten = self.forgotten();
        self.world.machine().fault = None;
        self.world.machine().capacity = None;
        if power_cut {
            return self.look_after_crash();
        }
        self.works_again(forgotten)?;
        self.look_after_crash()
    }

    fn steps(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            self.step(step).map_err(|why| format!("{step:?}: {why}"))?;
            if self.forgotten() {
                self.model.lose_unsynced();
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Open(at, kind) => {
                let late = self.fault_fired();
                match open(&self.world, self.world.spawn(), *at as u64, kind.options()) {
                    Ok(log) => self.handles[*at] = Some(Opened { log, kind: *kind, late }),
                    Err(error) => self.excuse(&failed(&error))?,
                }
            }
            Step::Do(at, op) => {
                // Where opening has failed there is nothing to fail.
                let Some(handle) = &self.handles[*at] else { return Ok(()) };
                if op.only_reads() && self.forgotten() {
                    return Ok(());
                }
                let outcome = execute(&handle.log, op);
                self.record(*at, op, &outcome)?;
            }
            Step::Close(at) => {
                let Some(handle) = self.handles[*at].take() else { return Ok(()) };
                let evictions = Evictions::of(&handle.log);
                if let Err(error) = handle.log.close() {
                    self.excuse(&failed(&error))?;
                }
                self.model.end(&evictions)?;
            }
            Step::Drop(at) => self.handles[*at] = None,
            Step::Wait => self.world.advance(Duration::from_secs(6)),
            Step::Fill(free) => {
                let mut machine = self.world.machine();
                let used = machine.used();
                machine.capacity = Some(used + free);
            }
        }
        Ok(())
    }

    fn fault_fired(&self) -> bool {
        self.world.machine().fault_fired
    }

    /// Whether reads may show neither the new value nor the old: the file has changed under the handle, which finds
    /// that out when it writes next.
    fn forgotten(&self) -> bool {
        let machine = self.world.machine();
        machine.fault_fired && machine.fault.is_some_and(|plan| plan.fault == Fault::SyncForgets)
    }

    /// An operation may fail once a fault has come, and for want of space.
    fn excuse(&self, outcome: &Outcome) -> Result<(), String> {
        let Outcome::Failed(kind, why) = outcome else { return Ok(()) };
        let full = *kind == ErrorKind::Full && self.world.machine().capacity.is_some();
        if full || self.fault_fired() { Ok(()) } else { Err(format!("{kind:?}: {why}")) }
    }

    fn record(&mut self, at: usize, op: &Op, outcome: &Outcome) -> Result<(), String> {
        let fired = self.fault_fired();
        self.excuse(outcome)?;
        let handle = self.handles[at].as_ref().expect("it was just used");
        // A handle that was opened after a failed sync cannot know that something may be missing before its own writes.
        let deceived = fired && (handle.late || self.handles.iter().all(Option::is_some));
        let promises = matches!(op, Op::Flush | Op::Checkpoint) || op.writes() && handle.kind != Handle::Fast;
        let may_fail = matches!(outcome, Outcome::Failed(..));
        let event = Event { op, outcome, settles: promises && !deceived, may_fail };
        self.model.record_both(&Happened::in_order(&handle.log, &event), &[])
    }

    /// Once the disk works again, so does everything: after a failed sync as soon as a compaction has healed it.
    fn works_again(&mut self, mut forgotten: bool) -> Result<(), String> {
        for at in 0..2 {
            if self.handles[at].is_none() {
                self.open_again(at)?;
            }
            if !forgotten {
                self.sound(at, &Op::All)?;
            }
            let Step::Do(_, op) = put(at, 5, 90 + at) else { continue };
            let outcome = execute(&self.log(at), &op);
            self.record(at, &op, &outcome)?;
            match outcome {
                Outcome::Failed(ErrorKind::Poisoned | ErrorKind::Io, _) => {}
                Outcome::Failed(_, why) => return Err(format!("after the fault: {why}")),
                _ => {}
            }
            self.sound(at, &Op::Compact)?;
            // All is in a new file now, whatever was missing in the old one.
            self.world.machine().fault_fired = false;
            forgotten = false;
            self.sound(at, &op)?;
            self.sound(at, &Op::All)?;
        }
        let fresh = open(&self.world, self.world.spawn(), 7, Options::new()).map_err(|error| error.to_string())?;
        self.model.see(&observe(&fresh).map_err(|error| error.to_string())?)
    }

    fn open_again(&mut self, at: usize) -> Result<(), String> {
        let log = open(&self.world, self.world.spawn(), 10 + at as u64, Options::new());
        let log = log.map_err(|error| format!("after the fault: {error}"))?;
        self.handles[at] = Some(Opened { log, kind: Handle::Durable, late: true });
        Ok(())
    }

    fn log(&self, at: usize) -> Log {
        self.handles[at].as_ref().expect("it was opened").log.clone()
    }

    /// Carries out what must not fail any more.
    fn sound(&mut self, at: usize, op: &Op) -> Result<(), String> {
        match execute(&self.log(at), op) {
            Outcome::Failed(kind, why) => Err(format!("after the fault, {op:?}: {kind:?}, {why}")),
            outcome => self.record(at, op, &outcome),
        }
    }

    fn look_after_crash(&mut self) -> Result<(), String> {
        self.world.power_off();
        self.handles = [None, None];
        self.world.crash(Luck { loses_pages: false, ..Luck::draw(&mut self.rng) });
        let known = |name: &Path| name == Path::new(NAME) || name == Path::new(NEW_NAME);
        if !self.world.names().iter().all(|name| known(name)) {
            return Err(format!("the folder holds {:?}", self.world.names()));
        }
        let log = open(&self.world, self.world.spawn(), 8, Options::new());
        let log = log.map_err(|error| format!("after the crash: {error}"))?;
        self.model.see_after_crash(&observe(&log).map_err(|error| error.to_string())?)
    }
}
