//! Crash histories: short, on one or two processes, with the power going at any disk call, processes killed,
//! processes that run in the middle of each other's calls, and now and then a disk that fails.
//!
//! What a log shows after each crash must be explained by the operations before; `accept` says by which.

use super::{
    accept::{Acceptable, Event, Happened},
    model::note,
    ops::{Draw, Op, Outcome, Taste, execute, show},
    plans::{Fault, FaultPlan, StopPlan},
    process::{Evictions, Process, open},
    report,
    rng::Rng,
    search, setting,
    world::World,
};
use crate::{
    ErrorKind,
    log::{Log, Options},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const HISTORIES: u64 = 200_000;
pub(super) const CRASHES_MAX: usize = 4;
/// All but the one after which a handle shows, until its next write, neither the new value nor the old.
const FAULTS: &[Fault] = Fault::ALL.split_at(Fault::ALL.len() - 1).0;
/// What the log may take, where it has a limit: a few values.
const SIZE_MAX: u64 = 2500;
const TASTE: Taste = Taste { body_max: 1600, rare_body_max: 6000, reads: 12 };

#[test]
fn what_was_acknowledged_survives_any_crash_and_what_a_recovery_dropped_stays_dropped() {
    let histories = setting("LARDER_SIM_HISTORIES").unwrap_or(HISTORIES);
    report(search(histories, 1, |seed| history(seed, &mut None)), trace);
}

/// The operations of a history.
pub(super) fn trace(seed: u64) -> Vec<String> {
    let mut trace = Some(Vec::new());
    let _ = history(seed, &mut trace);
    trace.unwrap_or_default()
}

/// Runs one history.
pub(super) fn history(seed: u64, trace: &mut Option<Vec<String>>) -> Result<(), String> {
    history_of(seed, Rng::new(seed), trace)
}

/// Runs the history of some choices; `seed` tells apart what the engine draws at random.
pub(super) fn history_of(seed: u64, mut rng: Rng, trace: &mut Option<Vec<String>>) -> Result<(), String> {
    let sector = rng.pick(&[512, 512, 4096]);
    let world = World::new(rng.next(), sector);
    world.machine().partial_write_fails = rng.chance(50);
    let draw = Draw::new(rng.fork(), TASTE);
    let narrow = rng.chance(20);
    let mut fast_percent = if narrow { 80 } else { rng.pick(&[0, 50, 100]) };
    let faults = !narrow && rng.chance(12);
    // Said by the seed, so that all other histories stay what they are.
    let wide = !narrow && !faults;
    let (limited, twins) = (wide && seed % 8 == 5, wide && seed % 8 == 3);
    if twins {
        fast_percent = 100;
    }
    let kind = if narrow {
        Kind::Narrow
    } else if twins {
        Kind::Twins
    } else {
        Kind::Wide
    };
    let mut history = History {
        seed,
        world,
        draw,
        processes: Vec::new(),
        model: Acceptable::new(),
        again: Vec::new(),
        issued: Vec::new(),
        trace,
        crashes: 0,
        fast_percent,
        kind,
        faults,
        limited,
        fault_since_crash: false,
        crowded: false,
        unaware: false,
        misled: false,
        rng,
    };
    history.run()
}

/// What the steps of a history are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything.
    Wide,
    /// One process that puts values, and crashes.
    Narrow,
    /// Two that do so beside each other, and rarely sync.
    Twins,
}

#[expect(clippy::struct_excessive_bools, reason = "independent choices of one history")]
pub(super) struct History<'a> {
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) world: Arc<World>,
    pub(super) draw: Draw,
    pub(super) processes: Vec<Process>,
    pub(super) model: Acceptable,
    /// Operations issued since the last one that was acknowledged as durable, and those of before a crash that are to
    /// be issued once more.
    pub(super) issued: Vec<Op>,
    pub(super) again: Vec<Op>,
    pub(super) trace: &'a mut Option<Vec<String>>,
    pub(super) crashes: usize,
    pub(super) fast_percent: usize,
    pub(super) kind: Kind,
    pub(super) faults: bool,
    /// Whether the log may take so much space and no more.
    pub(super) limited: bool,
    /// A sync may have failed, so that later ones may succeed although something before is missing.
    pub(super) fault_since_crash: bool,
    /// Whether there were two processes since the last crash.
    pub(super) crowded: bool,
    /// Whether a process opened the file after a sync may have failed.
    pub(super) unaware: bool,
    /// Whether, before some crash, a sync may have failed in one process and another have noted in the file that all
    /// was synced. The next writer then finds less than that, and refuses.
    pub(super) misled: bool,
}

impl History<'_> {
    fn run(&mut self) -> Result<(), String> {
        if self.rng.chance(20) {
            // The very first process may die while it creates the file.
            self.stop_within(24, 0);
        }
        self.start()?;
        for _ in 0..self.rng.between(3, 12) {
            self.step()?;
            self.bury()?;
        }
        self.check_all()?;
        // Every history ends with a crash: what was acknowledged must be there.
        self.recover()?;
        self.check_names()
    }

    fn step(&mut self) -> Result<(), String> {
        match self.kind {
            Kind::Narrow => return self.narrow_step(),
            Kind::Twins => return self.twins_step(),
            Kind::Wide => {}
        }
        self.plan();
        match self.rng.below(100) {
            0..6 => self.recover(),
            6..14 => self.end_process(),
            14..22 if self.processes.len() < 2 => self.start(),
            22..26 => {
                self.world.advance(Duration::from_secs(6));
                // Time for the sync in the background.
                let at = self.rng.below(self.processes.len());
                self.operate(at, &Op::Tick)
            }
            26..40 if self.processes.len() == 2 => self.interrupted(),
            _ => {
                let at = self.rng.below(self.processes.len());
                let op = self.next_op();
                self.operate(at, &op)
            }
        }
    }

    fn next_op(&mut self) -> Op {
        let op = self.again.pop().unwrap_or_else(|| self.draw.op());
        self.issued.push(op.clone());
        op
    }

    /// Plans that something happens in one of the next disk calls.
    fn plan(&mut self) {
        let percent = if self.again.is_empty() { 14 } else { 40 };
        if self.world.machine().stop.is_none() && self.crashes < CRASHES_MAX && self.rng.chance(percent) {
            let process = self.processes[self.rng.below(self.processes.len())].number;
            // A compaction makes more calls than other operations.
            let calls = self.rng.pick(&[16, 16, 60]);
            self.stop_within(calls, process);
        }
        if self.faults && self.rng.chance(20) {
            let fault = self.rng.pick(FAULTS);
            let mut machine = self.world.machine();
            let at = machine.calls + 1 + self.rng.below(16) as u64;
            machine.fault = Some(FaultPlan { fault, at, sticky: false });
        }
    }

    /// Plans the death of a process, or of all with the power, in one of the next disk calls.
    fn stop_within(&mut self, calls: usize, process: usize) {
        let mut machine = self.world.machine();
        let at = machine.calls + 1 + self.rng.below(calls) as u64;
        machine.stop = Some(StopPlan { at, process: self.rng.chance(25).then_some(process), done: None });
    }

    pub(super) fn operate(&mut self, at: usize, op: &Op) -> Result<(), String> {
        let process = self.processes[at].clone();
        note(self.trace, || format!("process {}: {op:?}", process.number));
        let changes = self.begin();
        let outcome = execute(&process.log, op);
        note(self.trace, || show(&outcome));
        let event = self.event(&process, op, &outcome, false);
        self.model.record_both(&Happened::in_order(&process.log, &event), &[])?;
        if event.settles && !event.may_fail && op.writes() {
            self.issued.clear();
        }
        let changes = self.world.machine().changes_made - changes;
        if op.only_reads() && changes > 0 {
            return Err(format!("{op:?} has changed the disk"));
        }
        self.after(at, op, &outcome);
        Ok(())
    }

    /// Has one process run a whole operation in the middle of another's.
    fn interrupted(&mut self) -> Result<(), String> {
        let at = self.rng.below(2);
        let (outer, inner) = (self.processes[at].clone(), self.processes[1 - at].clone());
        let outer_op = match self.rng.below(10) {
            0..4 => Op::Compact,
            4 => Op::Checkpoint,
            5 => Op::Clear,
            _ => self.next_op(),
        };
        if !outer_op.is_one_call() {
            return Ok(());
        }
        let inner_op = self.next_op();
        let call = self.world.machine().calls + 1 + self.rng.below(24) as u64;
        let slot = Arc::new(Mutex::new(None));
        let (log, op, result) = (inner.log.clone(), inner_op.clone(), Arc::clone(&slot));
        self.world.interrupt(call, move || {
            let outcome = execute(&log, &op);
            *result.lock().expect("one thread") = Some(outcome);
        });
        note(self.trace, || format!("process {}: {outer_op:?}, in it {}: {inner_op:?}", outer.number, inner.number));
        self.begin();
        let outer_outcome = execute(&outer.log, &outer_op);
        self.world.uninterrupt();
        let inner_outcome = slot.lock().expect("one thread").take();
        note(self.trace, || format!("{}, in it {:?}", show(&outer_outcome), inner_outcome.as_ref().map(show)));
        let outer_event = self.event(&outer, &outer_op, &outer_outcome, true);
        if let Some(inner_outcome) = &inner_outcome {
            let inner_event = self.event(&inner, &inner_op, inner_outcome, true);
            self.model.record_both(
                &Happened::in_order(&outer.log, &outer_event),
                &Happened::in_order(&inner.log, &inner_event),
            )?;
            self.after(1 - at, &inner_op, inner_outcome);
        } else {
            self.model.record_both(&Happened::in_order(&outer.log, &outer_event), &[])?;
        }
        self.after(at, &outer_op, &outer_outcome);
        Ok(())
    }

    /// How a process opens the log.
    pub(super) fn options(&self) -> Options {
        if self.limited { Options::new().max_size(SIZE_MAX) } else { Options::new() }
    }

    /// What the model is told of an operation.
    fn event<'e>(&self, process: &Process, op: &'e Op, outcome: &'e Outcome, beside: bool) -> Event<'e> {
        let fired = self.world.machine().fault_fired;
        let may_fail = match outcome {
            Outcome::Failed(kind, _) => {
                fired
                    || !self.world.is_alive(process.number)
                    || beside && matches!(kind, ErrorKind::Busy | ErrorKind::Conflict)
                    || self.fault_since_crash && matches!(kind, ErrorKind::Poisoned | ErrorKind::Io)
                    || self.misled && *kind == ErrorKind::Damaged
                    // What it expects may be what had to go.
                    || self.limited && matches!(kind, ErrorKind::TooLarge | ErrorKind::Conflict)
                    || self.limited && *kind == ErrorKind::Full && self.model.books() > SIZE_MAX / 2
            }
            _ => false,
        };
        let alone = !self.crowded;
        let promises = match op {
            Op::Flush | Op::Checkpoint => true,
            // After a failed sync there is none in the background any more.
            Op::Tick => alone && !self.fault_since_crash && process.sync_is_due(self.world.machine().now),
            _ => op.writes() && !process.fast,
        };
        // A fault that came while two were at work may have hit the other one before this one opened its file.
        let deceived = self.is_deceived(process) || beside && fired;
        Event { op, outcome, settles: promises && !deceived, may_fail }
    }

    /// Where a process opened a file after a sync had failed, nobody can tell it that something is missing.
    fn is_deceived(&self, process: &Process) -> bool {
        self.fault_since_crash && (process.opened_after_fault || self.crowded)
    }

    fn after(&mut self, at: usize, op: &Op, outcome: &Outcome) {
        let machine = self.world.machine();
        let (fired, now) = (machine.fault_fired, machine.now);
        drop(machine);
        self.fault_since_crash |= fired;
        if matches!(outcome, Outcome::Failed(..)) {
            return;
        }
        if matches!(op, Op::Compact | Op::Clear) {
            // What was written before is on the medium, in a new file.
            self.processes.iter_mut().for_each(|process| process.written_at = None);
        } else if matches!(op, Op::Put { .. } | Op::Alias { .. }) {
            // The other writes may find that there is nothing to do.
            self.processes[at].wrote = true;
            self.processes[at].written_at.get_or_insert(now);
        } else if matches!(op, Op::Flush | Op::Checkpoint) || *op == Op::Tick && self.processes[at].sync_is_due(now) {
            self.processes[at].written_at = None;
        }
    }

    /// Starts a process; now and then another starts, and does something, in the middle of that.
    pub(super) fn start(&mut self) -> Result<(), String> {
        let first = self.world.spawn();
        let alone = self.kind == Kind::Narrow || !self.processes.is_empty();
        let second = (!alone && self.rng.chance(30)).then(|| self.world.spawn());
        let fast = [self.rng.chance(self.fast_percent), self.rng.chance(self.fast_percent)];
        let slot = Arc::new(Mutex::new(None));
        let op = self.draw.put();
        if let Some(second) = second {
            let call = self.world.machine().calls + 1 + self.rng.below(14) as u64;
            let (world, seed, op, result) = (Arc::clone(&self.world), self.seed, op.clone(), Arc::clone(&slot));
            let options = self.options().fast_save(fast[1]);
            self.world.interrupt(call, move || {
                let log = open(&world, second, seed, options);
                let outcome = log.as_ref().ok().map(|log| execute(log, &op));
                *result.lock().expect("one thread") = Some((log, outcome));
            });
        }
        note(self.trace, || format!("process {first} opens (fast_save: {}), in it {second:?}, {op:?}", fast[0]));
        self.begin();
        let log = open(&self.world, first, self.seed, self.options().fast_save(fast[0]));
        self.world.uninterrupt();
        let beside = slot.lock().expect("one thread").take();
        let fired = self.world.machine().fault_fired;
        self.fault_since_crash |= fired;
        self.opened(first, log, fast[0], beside.is_some() || fired)?;
        if let (Some((log, outcome)), Some(second)) = (beside, second) {
            note(self.trace, || format!("in it {:?}", outcome.as_ref().map(show)));
            self.opened(second, log, fast[1], true)?;
            let opened = self.processes.iter().position(|process| process.number == second);
            if let (Some(at), Some(outcome)) = (opened, &outcome) {
                let event = self.event(&self.processes[at], &op, outcome, true);
                self.model.record(&event)?;
                self.after(at, &op, outcome);
            }
        }
        self.bury()
    }

    fn opened(&mut self, number: usize, log: crate::Result<Log>, fast: bool, may_fail: bool) -> Result<(), String> {
        match log {
            Ok(log) => {
                let opened_after_fault = self.fault_since_crash;
                self.processes.push(Process { number, log, fast, opened_after_fault, wrote: false, written_at: None });
                self.crowded |= self.processes.len() > 1;
                self.unaware |= opened_after_fault;
            }
            Err(error) => {
                note(self.trace, || format!("process {number}: {error}"));
                if self.world.is_alive(number) && !may_fail {
                    return Err(format!("opening fails: {error}"));
                }
                self.world.kill(number);
            }
        }
        Ok(())
    }

    /// Ends a process in one of the ways in which processes end.
    fn end_process(&mut self) -> Result<(), String> {
        let at = self.rng.below(self.processes.len());
        // Closing speaks for what the process itself has written, not for what others have.
        let alone = !self.crowded;
        let process = self.processes.swap_remove(at);
        let evictions = Evictions::of(&process.log);
        self.begin();
        let how = self.rng.below(4);
        note(self.trace, || {
            format!("process {} ends: {}", process.number, ["killed", "dropped", "closed"][how.min(2)])
        });
        match how {
            0 => self.world.kill(process.number),
            1 => drop(process),
            _ => {
                let deceived = self.is_deceived(&process);
                let closed = process.log.close();
                note(self.trace, || format!("closing: {closed:?}"));
                let (op, outcome) = (Op::Flush, Outcome::Done);
                let settles = process.wrote && alone && !deceived;
                let excused = self.fault_since_crash || self.misled || self.world.machine().fault_fired;
                match closed {
                    Ok(()) => self.model.record(&Event { op: &op, outcome: &outcome, settles, may_fail: false })?,
                    Err(error) if self.world.is_alive(process.number) && !excused => {
                        return Err(format!("closing fails: {error}"));
                    }
                    Err(_) => {}
                }
            }
        }
        self.model.end(&evictions)?;
        let fired = self.world.machine().fault_fired;
        self.fault_since_crash |= fired;
        self.bury()
    }

    /// Takes dead processes out; recovers if the power went, and starts a process if none is left.
    fn bury(&mut self) -> Result<(), String> {
        let world = Arc::clone(&self.world);
        let before = self.processes.len();
        self.processes.retain(|process| world.is_alive(process.number));
        if self.world.machine().power_is_off {
            return self.recover();
        }
        if before > self.processes.len() {
            note(self.trace, || "a process was killed".into());
        }
        if self.processes.is_empty() { self.start() } else { Ok(()) }
    }

    /// Forgets that a fault has fired before; returns how often the disk has been changed.
    pub(super) fn begin(&self) -> u64 {
        let mut machine = self.world.machine();
        machine.fault_fired = false;
        machine.changes_made
    }

    /// Has every handle show everything.
    fn check_all(&mut self) -> Result<(), String> {
        for at in 0..self.processes.len() {
            self.operate(at, &Op::All)?;
            self.operate(at, &Op::Check)?;
            if self.world.machine().power_is_off {
                break;
            }
        }
        self.bury()
    }
}
