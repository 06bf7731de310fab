//! The same with real processes on a real disk: each scenario runs in a process that kills itself at one of its disk
//! calls, before the call or inside its write. What a process is told to do it does alone, in one thread.

use super::{
    disk::{WALL_START_MS, env},
    exits::ways,
    faults::{Handle, Scenario, Step, scenarios},
    limit,
    ops::{Outcome, execute, observe},
    plans::{Call, Shorter},
    process::{Evictions, compresses},
    state::{self, Mint, Rec, State},
    world::World,
};
use crate::log::{
    Log, Options,
    clock::Clock,
    env::Env,
    real_disk::RealDisk,
    watched::{Told, Watched, Watcher},
};
use rustix::process::{Signal, getpid, kill_process};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Tells this test binary, started again, to be one of the processes.
const TASK: &str = "LARDER_KILLED_TASK";

#[test]
fn a_real_process_that_dies_at_any_disk_call_loses_nothing_that_was_acknowledged() {
    let scenarios: Vec<_> = scenarios().into_iter().filter(is_real).collect();
    let next = AtomicU64::new(0);
    let deaths = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap())
                {
                    deaths.fetch_add(die_everywhere(scenario), Ordering::Relaxed);
                }
            });
        }
    });
    eprintln!("{deaths:?} real deaths");
}

/// A disk cannot be filled here.
fn is_real(scenario: &Scenario) -> bool {
    !scenario.steps.iter().chain(&scenario.before).any(|step| matches!(step, Step::Fill(_)))
}

fn die_everywhere(scenario: &Scenario) -> u64 {
    let task = Task { scenario: scenario.name.into(), folder: tempfile::tempdir().unwrap().keep(), at: 0, bytes: 0 };
    let status = task.run();
    assert!(status.success(), "{}: {status}", scenario.name);
    let calls = fs::read_to_string(task.folder.join("calls")).unwrap();
    let evicted = fs::read_to_string(task.folder.join("evicted")).unwrap();
    let evicted: Vec<Vec<usize>> =
        evicted.lines().map(|line| line.split_terminator(',').map(|key| key.parse().unwrap()).collect()).collect();
    let mut deaths = 0;
    for (at, line) in (1..).zip(calls.lines()) {
        let len: usize = line.parse().unwrap();
        // What a process has done after one call it has done before the next.
        let inside = ways(Some(len)).into_iter().filter_map(|way| match way {
            Shorter::Bytes(bytes) => Some(bytes),
            _ => None,
        });
        for bytes in inside.chain([0]) {
            let task = Task { at, bytes, ..task.clone() };
            let run = || {
                let status = task.run();
                assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{status}");
                task.look(scenario, &evicted);
            };
            let outcome = std::panic::catch_unwind(run);
            assert!(outcome.is_ok(), "{task:?}, which was to write {len} bytes there");
            deaths += 1;
        }
    }
    fs::remove_dir_all(&task.folder).unwrap();
    deaths
}

/// One death: at which call, and after how many bytes of it.
#[derive(Debug, Clone)]
struct Task {
    scenario: String,
    folder: PathBuf,
    at: u64,
    bytes: usize,
}

impl Task {
    fn cache(&self) -> PathBuf {
        self.folder.join("cache/c.larder")
    }

    fn run(&self) -> ExitStatus {
        let Self { scenario, folder, at, bytes } = self;
        let _ = fs::remove_dir_all(folder.join("cache"));
        fs::create_dir(folder.join("cache")).unwrap();
        let _ = fs::remove_file(folder.join("steps"));
        let task = format!("{scenario}\n{}\n{at}\n{bytes}", folder.display());
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log::sim::killed::the_part_of_a_process", "--nocapture", "--test-threads=1"])
            .env(TASK, task)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap()
    }

    fn parse(task: &str) -> Option<Self> {
        let mut lines = task.lines();
        let mut line = || lines.next();
        Some(Self {
            scenario: line()?.into(),
            folder: line()?.into(),
            at: line()?.parse().ok()?,
            bytes: line()?.parse().ok()?,
        })
    }

    /// What is there now is the state after the last step that came to its end, or after the one in which it died, or
    /// that one has made room and done no more. `evicted` says what each step drops.
    fn look(&self, scenario: &Scenario, evicted: &[Vec<usize>]) {
        let steps: Vec<_> = scenario.before.iter().chain(&scenario.steps).collect();
        let ended = fs::read(self.folder.join("steps")).unwrap_or_default().len();
        let (mut state, mut mint) = (State::new(), Mint::default());
        for (step, evicted) in steps[..ended].iter().zip(evicted) {
            make_room(&mut state, evicted);
            apply(&mut state, &mut mint, step);
        }
        let mut roomy = state.clone();
        make_room(&mut roomy, &evicted[ended]);
        let mut next = roomy.clone();
        apply(&mut next, &mut mint, steps[ended]);
        let log = Log::open(self.cache(), Options::new()).unwrap();
        let seen = observe(&log).unwrap();
        if let Err(why) = state.check(&seen) {
            let later = roomy.check(&seen).or_else(|_| next.check(&seen));
            later.unwrap_or_else(|other| panic!("after {ended} steps: {why}; after one more: {other}"));
        }
        log.put("more", "of it").unwrap();
        log.compact().unwrap();
        assert!(log.check().unwrap().is_sound());
        assert_eq!(log.get("more").unwrap().as_deref(), Some(&b"of it"[..]));
        let names: Vec<_> = fs::read_dir(self.folder.join("cache")).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(names, [self.cache()]);
    }
}

fn make_room(state: &mut State, evicted: &[usize]) {
    let gone: Vec<_> = evicted.iter().map(|at| Rec::Set(*at, None)).collect();
    state.apply(&gone);
}

fn apply(state: &mut State, mint: &mut Mint, step: &Step) {
    if let Step::Do(_, op) = step
        && let state::Plan::Batch(batch) = state.plan(op, mint)
    {
        state.apply(&batch);
    }
}

/// Nothing, unless this process was started to die.
#[test]
fn the_part_of_a_process() {
    let Ok(task) = std::env::var(TASK) else { return };
    let task = Task::parse(&task).unwrap();
    let scenario = scenarios().into_iter().find(|scenario| scenario.name == task.scenario).unwrap();
    let hook = Arc::new(Death::default());
    let clock = StepClock::default();
    let mut steps = File::create(task.folder.join("steps")).unwrap();
    let mut handles = [None, None];
    let mut evicted = String::new();
    let mut run = |step: &Step| {
        let evictions = match step {
            Step::Do(at, _) | Step::Close(at) => handles[*at].as_ref().map(Evictions::of),
            _ => None,
        };
        match step {
            Step::Open(at, kind) => handles[*at] = Some(open(&task, &hook, &clock, *at as u64, *kind)),
            Step::Do(at, op) => {
                let outcome = execute(handles[*at].as_ref().unwrap(), op);
                assert!(!matches!(outcome, Outcome::Failed(..)), "{op:?}: {outcome:?}");
            }
            Step::Close(at) => handles[*at].take().unwrap().close().unwrap(),
            Step::Drop(at) => handles[*at] = None,
            Step::Wait => clock.0.store(6, Ordering::Relaxed),
            Step::Fill(_) => unreachable!(),
        }
        steps.write_all(b".").unwrap();
        let keys = evictions.map(|evictions| evictions.take()).unwrap_or_default();
        evicted.extend(keys.iter().map(|key| format!("{key},")).chain(["\n".into()]));
    };
    scenario.before.iter().for_each(&mut run);
    *hook.0.lock().unwrap() = Some(Plan { at: task.at, bytes: task.bytes, calls: Vec::new() });
    scenario.steps.iter().for_each(&mut run);
    let calls = hook.0.lock().unwrap().take().unwrap().calls;
    let lines: Vec<_> = calls.iter().map(usize::to_string).collect();
    fs::write(task.folder.join("evicted"), evicted).unwrap();
    fs::write(task.folder.join("calls"), lines.join("\n")).unwrap();
}

fn open(task: &Task, hook: &Arc<Death>, clock: &StepClock, seed: u64, kind: Handle) -> Log {
    let mut env = Env {
        disk: Arc::new(Watched::over(RealDisk, hook.clone())),
        clock: Arc::new(clock.clone()),
        pid: std::process::id,
        map_index: true,
        ..env(&World::new(0, 512), 0, seed)
    };
    if kind == Handle::Limited {
        limit::tighten(&mut env, seed);
    }
    // As in the simulation: one writer compresses, the other does not.
    let options = kind.options().compress(compresses(seed, 1));
    Log::open_in(env, &task.cache(), &options).unwrap()
}

/// Counts disk calls and ends the process in one of them.
#[derive(Default)]
struct Death(Mutex<Option<Plan>>);

struct Plan {
    at: u64,
    bytes: usize,
    /// What each call so far was to write.
    calls: Vec<usize>,
}

impl Plan {
    fn is_now(&self) -> bool {
        self.calls.len() as u64 == self.at
    }
}

impl Watcher for Death {
    fn told(&self, told: Told) -> io::Result<()> {
        let mut plan = self.0.lock().unwrap();
        let (Some(plan), Told::Before(call) | Told::After(call)) = (&mut *plan, told) else { return Ok(()) };
        // Never the call to die in: the next one is as good.
        if call == Call::Unlock {
            return Ok(());
        }
        let before = told == Told::Before(call);
        if before {
            plan.calls.push(call.writes().unwrap_or(0));
        }
        if plan.is_now() && (plan.bytes == 0 || !before) {
            end();
        }
        Ok(())
    }

    fn shorten(&self, len: usize) -> usize {
        self.0.lock().unwrap().as_ref().filter(|plan| plan.is_now()).map_or(len, |plan| plan.bytes)
    }
}

/// As `kill -9` does it.
fn end() -> ! {
    kill_process(getpid(), Signal::KILL).unwrap();
    unreachable!("the process is dead");
}

/// A clock that only the test moves, in seconds.
#[derive(Debug, Clone, Default)]
struct StepClock(Arc<AtomicU64>);

impl Clock for StepClock {
    fn wall_ms(&self) -> i64 {
        WALL_START_MS + i64::try_from(self.monotonic().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}
