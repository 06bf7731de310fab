//! A death at every disk call of every operation: before the call, after it, and inside a write after so many bytes;
//! of the process alone, or of all with the power.

use super::{
    accept::{Acceptable, Event, Happened},
    faults::{Handle, Scenario, Step, put, scenarios},
    inode::Luck,
    model::{NAME, NEW_NAME},
    ops::{Op, Outcome, execute, observe},
    plans::{Shorter, StopPlan},
    process::{Evictions, open},
    rng::Rng,
    world::{Made, World},
};
use crate::{
    ErrorKind,
    log::{
        Log, Options,
        plant::{Bug, plant},
    },
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// How much of a write is done when the process dies in it: within headers, at their ends, at the borders of sectors.
const INSIDE: [usize; 8] = [1, 7, 79, 80, 95, 96, 4095, 4096];

/// How far the work of a call may have come.
pub(super) fn ways(writes: Option<usize>) -> Vec<Shorter> {
    let mut ways = vec![Shorter::None, Shorter::All];
    if let Some(len) = writes {
        let mut bytes: Vec<_> = INSIDE.into_iter().chain(len.checked_sub(1)).filter(|n| (1..len).contains(n)).collect();
        bytes.sort_unstable();
        bytes.dedup();
        ways.extend(bytes.into_iter().map(Shorter::Bytes));
    }
    ways
}

#[test]
fn a_death_at_any_disk_call_loses_nothing_that_was_acknowledged() {
    let deaths = die_everywhere().unwrap_or_else(|why| panic!("{why}"));
    eprintln!("{deaths} deaths");
}

#[test]
fn deaths_would_show_what_is_wrong() {
    for bug in [Bug::MoreIgnored, Bug::AckBeforeSync, Bug::CreateUnsynced, Bug::FolderUnsynced] {
        plant(Some(bug));
        let result = die_everywhere();
        plant(None);
        assert!(result.is_err(), "{bug:?} is not caught");
    }
}

/// Runs every scenario into every death; returns how many there were.
fn die_everywhere() -> Result<u64, String> {
    let mut runs = 0;
    for scenario in scenarios() {
        let calls = Run::new(0).calls(&scenario).map_err(|why| format!("{}: {why}", scenario.name))?;
        for (at, made) in (1..).zip(&calls) {
            for done in ways(made.call.writes()) {
                for process in [Some(made.process), None] {
                    runs += 1;
                    let stop = StopPlan { at, process, done: Some(done) };
                    let run = || Run::new(runs).run_with(&scenario, stop);
                    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("it panics".into()));
                    result.map_err(|why| format!("{}, {stop:?} in {made:?}: {why}", scenario.name))?;
                }
            }
        }
    }
    Ok(runs)
}

struct Running {
    process: usize,
    log: Log,
    kind: Handle,
}

/// One run of a scenario.
struct Run {
    world: Arc<World>,
    handles: [Option<Running>; 2],
    model: Acceptable,
    rng: Rng,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let world = World::new(rng.next(), rng.pick(&[512, 4096]));
        Self { world, handles: [None, None], model: Acceptable::new(), rng }
    }

    /// The disk calls of a scenario's steps when nobody dies.
    fn calls(&mut self, scenario: &Scenario) -> Result<Vec<Made>, String> {
        self.steps(&scenario.before)?;
        self.world.machine().made = Some(Vec::new());
        self.steps(&scenario.steps)?;
        Ok(self.world.machine().made.take().unwrap_or_default())
    }

    fn run_with(&mut self, scenario: &Scenario, mut stop: StopPlan) -> Result<(), String> {
        self.steps(&scenario.before)?;
        {
            let mut machine = self.world.machine();
            stop.at += machine.calls;
            machine.calls_max = machine.calls + 1_000_000;
            machine.stop = Some(stop);
        }
        self.steps(&scenario.steps)?;
        let mut machine = self.world.machine();
        if machine.stop.is_some() {
            return Err("the call was never made".into());
        }
        machine.capacity = None;
        let power_cut = machine.power_is_off;
        drop(machine);
        if power_cut {
            return self.look_after_power_cut();
        }
        self.look_after_death()?;
        self.look_after_power_cut()
    }

    fn steps(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            if self.world.machine().power_is_off {
                break;
            }
            self.step(step).map_err(|why| format!("{step:?}: {why}"))?;
            for handle in &mut self.handles {
                // What a dead process had open is closed, and its handle says nothing more.
                handle.take_if(|running| !self.world.is_alive(running.process));
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Open(at, kind) => {
                let process = self.world.spawn();
                match open(&self.world, process, *at as u64, kind.options()) {
                    Ok(log) => self.handles[*at] = Some(Running { process, log, kind: *kind }),
                    Err(error) if self.world.is_alive(process) => return Err(error.to_string()),
                    Err(_) => {}
                }
            }
            Step::Do(at, op) => {
                let Some(Running { process, log, kind }) = &self.handles[*at] else { return Ok(()) };
                let outcome = execute(log, op);
                let (settles, process, log) = (*kind != Handle::Fast, *process, log.clone());
                self.record(&log, op, &outcome, settles, process)?;
            }
            Step::Close(at) => {
                let Some(Running { process, log, .. }) = self.handles[*at].take() else { return Ok(()) };
                let evictions = Evictions::of(&log);
                if let Err(error) = log.close()
                    && self.world.is_alive(process)
                {
                    return Err(error.to_string());
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

    fn record(&mut self, log: &Log, op: &Op, outcome: &Outcome, durable: bool, process: usize) -> Result<(), String> {
        let machine = self.world.machine();
        let full = machine.capacity.is_some();
        drop(machine);
        let may_fail = match outcome {
            Outcome::Failed(ErrorKind::Full, _) if full => true,
            Outcome::Failed(..) => !self.world.is_alive(process),
            _ => false,
        };
        let settles = matches!(op, Op::Flush | Op::Checkpoint) || op.writes() && durable;
        let event = Event { op, outcome, settles, may_fail };
        self.model.record_both(&Happened::in_order(log, &event), &[])
    }

    /// Another process finds all that was acknowledged, twice the same, and goes on.
    fn look_after_death(&mut self) -> Result<(), String> {
        self.check_names()?;
        let failed = |error: crate::Error| format!("after the death: {error}");
        let process = self.world.spawn();
        let log = open(&self.world, process, 7, Options::new()).map_err(failed)?;
        let seen = observe(&log).map_err(failed)?;
        self.model.see(&seen)?;
        let reader = open(&self.world, self.world.spawn(), 8, Options::new().read_only(true)).map_err(failed)?;
        if observe(&reader).map_err(failed)? != seen {
            return Err("a second look shows something else".into());
        }
        let Step::Do(_, more) = put(0, 5, 90) else { return Ok(()) };
        for op in [&more, &Op::All, &Op::Compact, &more, &Op::All] {
            let outcome = execute(&log, op);
            self.record(&log, op, &outcome, true, process).map_err(|why| format!("after the death: {why}"))?;
        }
        if !log.check().map_err(failed)?.is_sound() {
            return Err("the file is not sound".into());
        }
        if self.world.names() == [Path::new(NAME)] { Ok(()) } else { Err(format!("left: {:?}", self.world.names())) }
    }

    fn look_after_power_cut(&mut self) -> Result<(), String> {
        self.world.power_off();
        self.handles = [None, None];
        self.world.crash(Luck { loses_pages: false, ..Luck::draw(&mut self.rng) });
        self.check_names()?;
        let log = open(&self.world, self.world.spawn(), 9, Options::new());
        let log = log.map_err(|error| format!("after the power cut: {error}"))?;
        self.model.see_after_crash(&observe(&log).map_err(|error| error.to_string())?)
    }

    fn check_names(&self) -> Result<(), String> {
        let known = |name: &Path| name == Path::new(NAME) || name == Path::new(NEW_NAME);
        let names = self.world.names();
        if names.iter().all(|name| known(name)) { Ok(()) } else { Err(format!("the folder holds {names:?}")) }
    }
}
