//! The machine that simulated processes share: one folder, its files, one clock, and what is going to go wrong.

use super::{
    inode::{Inode, Luck},
    plans::{Call, Fault, FaultPlan, Shorter, StopPlan, Turn},
    rng::Rng,
};
use rustix::io::Errno;
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

type Interrupt = Box<dyn FnOnce() + Send>;

/// An open file description.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) process: usize,
    pub(super) inode: usize,
    pub(super) sync_errors_seen: u64,
}

/// A call that a process has made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) process: usize,
    pub(super) call: Call,
}

#[derive(Debug, Clone)]
enum FolderChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Unlink(PathBuf, usize),
}

type Names = Vec<(PathBuf, usize)>;

/// The state of the machine, behind its lock.
pub(super) struct Machine {
    pub(super) rng: Rng,
    pub(super) sector: usize,
    pub(super) inodes: Vec<Inode>,
    pub(super) names: Names,
    durable_names: Names,
    changes: Vec<FolderChange>,
    alive: Vec<bool>,
    pub(super) opens: Vec<Open>,
    pub(super) opened: u64,
    pub(super) now: Duration,
    pub(super) calls: u64,
    /// More calls than these mean that the engine goes round in circles.
    pub(super) calls_max: u64,
    /// Calls that changed a byte, a size, a mode or a name.
    pub(super) changes_made: u64,
    /// Whether all processes died with the power, and the crash itself is still to come.
    pub(super) power_is_off: bool,
    pub(super) fault: Option<FaultPlan>,
    pub(super) fault_fired: bool,
    pub(super) stop: Option<StopPlan>,
    interrupt: Option<(u64, Interrupt)>,
    /// The calls made so far, where a test wants to know them.
    pub(super) made: Option<Vec<Made>>,
    pub(super) capacity: Option<u64>,
    /// Whether writing a part of an unreadable sector fails, as it must where the rest has to be read first.
    pub(super) partial_write_fails: bool,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("names", &self.names).field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// The machine, shared by its processes.
#[derive(Debug)]
pub(super) struct World(Mutex<Machine>);

impl World {
    pub(super) fn new(seed: u64, sector: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Machine {
            rng: Rng::new(seed),
            sector,
            inodes: Vec::new(),
            names: Vec::new(),
            durable_names: Vec::new(),
            changes: Vec::new(),
            alive: Vec::new(),
            opens: Vec::new(),
            opened: 0,
            now: Duration::from_secs(1000),
            calls: 0,
            calls_max: 10_000_000,
            changes_made: 0,
            power_is_off: false,
            fault: None,
            fault_fired: false,
            stop: None,
            interrupt: None,
            made: None,
            capacity: None,
            partial_write_fails: false,
        })))
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process and returns its number.
    pub(super) fn spawn(&self) -> usize {
        let mut machine = self.machine();
        machine.alive.push(true);
        machine.alive.len() - 1
    }

    pub(super) fn is_alive(&self, process: usize) -> bool {
        self.machine().alive[process]
    }

    /// Ends a process as `kill -9` does: what it wrote stays in the cache, its locks are free.
    pub(super) fn kill(&self, process: usize) {
        self.machine().kill(process);
    }

    pub(super) fn advance(&self, time: Duration) {
        self.machine().now += time;
    }

    /// Calls `run` in the middle of the process that makes the disk call number `at`.
    pub(super) fn interrupt(&self, at: u64, run: impl FnOnce() + Send + 'static) {
        self.machine().interrupt = Some((at, Box::new(run)));
    }

    /// Takes the interrupt back; returns whether it had not come yet.
    pub(super) fn uninterrupt(&self) -> bool {
        self.machine().interrupt.take().is_some()
    }

    /// Begins a disk call: counts it, and asks the plans what becomes of it.
    pub(super) fn enter(&self, process: usize, call: Call) -> io::Result<(MutexGuard<'_, Machine>, Turn)> {
        let mut machine = self.machine();
        if !machine.alive[process] {
            return Err(Errno::IO.into());
        }
        machine.calls += 1;
        let calls = machine.calls;
        assert!(calls <= machine.calls_max, "no end of disk calls");
        if let Some((_, run)) = machine.interrupt.take_if(|(at, _)| *at <= calls) {
            drop(machine);
            run();
            machine = self.machine();
            if !machine.alive[process] {
                return Err(Errno::IO.into());
            }
        }
        if let Some(made) = &mut machine.made {
            made.push(Made { process, call });
        }
        let turn = machine.turn(process, call)?;
        Ok((machine, turn))
    }

    /// Every process dies in this moment.
    pub(super) fn power_off(&self) {
        self.machine().power_off();
    }

    /// The power is gone: of what was not synced any part may be, too.
    pub(super) fn crash(&self, luck: Luck) {
        self.machine().crash(luck);
    }

    /// The content of a file as processes see it.
    pub(super) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let machine = self.machine();
        machine.find(path).map(|inode| machine.inodes[inode].data.clone())
    }

    /// Puts a file into the folder, durably.
    pub(super) fn place(&self, path: &Path, bytes: &[u8]) {
        let mut machine = self.machine();
        let sector = machine.sector;
        let inode = machine.find(path).unwrap_or_else(|| machine.create(path));
        machine.inodes[inode].truncate(0, sector);
        machine.inodes[inode].write(bytes, 0, sector);
        machine.inodes[inode].sync(sector);
        machine.sync_names();
    }

    /// What stands in the folder.
    pub(super) fn names(&self) -> Vec<PathBuf> {
        self.machine().names.iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Machine {
    fn turn(&mut self, process: usize, call: Call) -> io::Result<Turn> {
        let calls = self.calls;
        if self.stop.is_some_and(|stop| stop.at <= calls && stop.process.is_none_or(|of| of == process)) {
            let how = self.stop.and_then(|stop| stop.done).unwrap_or_else(|| match self.rng.below(8) {
                0..3 => Shorter::None,
                3..6 => Shorter::All,
                6 => Shorter::One,
                _ => Shorter::Part(self.rng.below(1000)),
            });
            if how == Shorter::None {
                self.die(process);
                return Err(Errno::IO.into());
            }
            return Ok(Turn::Die(how));
        }
        let Some(plan) = self.fault else { return Ok(Turn::Work) };
        if calls < plan.at || (calls > plan.at && !plan.sticky) || !plan.fault.fits(call) {
            return Ok(Turn::Work);
        }
        self.fault_fired = true;
        match plan.fault {
            Fault::ShortOne => Ok(Turn::Short(Shorter::One)),
            Fault::ShortHalf => Ok(Turn::Short(Shorter::Half)),
            Fault::SyncDrops => Ok(Turn::DropPages { forget: false }),
            Fault::SyncForgets => Ok(Turn::DropPages { forget: true }),
            fault => Err(fault.errno().into()),
        }
    }

    /// Ends a call in which the process was to die: carries the stop out.
    pub(super) fn die(&mut self, process: usize) {
        match self.stop.take() {
            Some(StopPlan { process: None, .. }) => self.power_off(),
            _ => self.kill(process),
        }
    }

    /// Ends a call that did its work; the error of the death, if this was it.
    pub(super) fn leave(&mut self, process: usize, turn: Turn) -> io::Result<()> {
        if matches!(turn, Turn::Die(_)) {
            self.die(process);
            return Err(Errno::IO.into());
        }
        Ok(())
    }

    fn kill(&mut self, process: usize) {
        self.alive[process] = false;
        let gone: Vec<u64> = self.opens.iter().filter(|open| open.process == process).map(|open| open.id).collect();
        for id in gone {
            self.close(id);
        }
    }

    /// Closes an open file, which frees its lock.
    pub(super) fn close(&mut self, id: u64) {
        let Some(at) = self.opens.iter().position(|open| open.id == id) else { return };
        let inode = &mut self.inodes[self.opens.remove(at).inode];
        inode.open -= 1;
        if inode.locked_by == Some(id) {
            inode.locked_by = None;
        }
    }

    pub(super) fn find(&self, path: &Path) -> Option<usize> {
        self.names.iter().find(|(name, _)| name.as_os_str() == path.as_os_str()).map(|(_, inode)| *inode)
    }

    pub(super) fn create(&mut self, path: &Path) -> usize {
        self.inodes.push(Inode::new());
        let inode = self.inodes.len() - 1;
        self.names.push((path.to_path_buf(), inode));
        self.changes.push(FolderChange::Create(path.to_path_buf(), inode));
        self.changes_made += 1;
        inode
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from).ok_or(Errno::NOENT)?;
        self.drop_name(to);
        self.names.retain(|(name, _)| name != from);
        self.names.push((to.to_path_buf(), inode));
        self.changes.push(FolderChange::Rename(from.to_path_buf(), to.to_path_buf(), inode));
        self.changes_made += 1;
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path).ok_or(Errno::NOENT)?;
        self.drop_name(path);
        self.changes.push(FolderChange::Unlink(path.to_path_buf(), inode));
        self.changes_made += 1;
        Ok(())
    }

    fn drop_name(&mut self, path: &Path) {
        if let Some(inode) = self.find(path) {
            self.inodes[inode].links -= 1;
            self.names.retain(|(name, _)| name != path);
        }
    }

    pub(super) fn sync_names(&mut self) {
        self.durable_names.clone_from(&self.names);
        self.changes.clear();
    }

    /// Bytes that may still be written.
    pub(super) fn free(&self) -> u64 {
        let Some(capacity) = self.capacity else { return u64::MAX / 4 };
        capacity.saturating_sub(self.used())
    }

    /// Bytes that files take, those included that only have no name any more.
    pub(super) fn used(&self) -> u64 {
        let held = |inode: &&Inode| inode.links > 0 || inode.open > 0;
        self.inodes.iter().filter(held).map(|inode| inode.size() as u64).sum()
    }

    fn power_off(&mut self) {
        self.alive.fill(false);
        self.power_is_off = true;
    }

    fn crash(&mut self, luck: Luck) {
        self.power_off();
        self.power_is_off = false;
        self.stop = None;
        self.fault = None;
        self.interrupt = None;
        self.opens.clear();
        self.crash_names();
        let Self { inodes, names, rng, sector, .. } = self;
        for (at, inode) in inodes.iter_mut().enumerate() {
            inode.links = names.iter().filter(|(_, of)| *of == at).count() as u64;
            if inode.links == 0 {
                *inode = Inode::default();
            } else {
                inode.crash(luck, *sector, rng);
            }
        }
    }

    /// Keeps some of the changes to the folder that no sync has made durable: mostly all up to one of them, as a
    /// journal does, now and then any that still make sense.
    fn crash_names(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        let mut names = std::mem::take(&mut self.durable_names);
        let in_order = self.rng.chance(75);
        let kept = if changes.is_empty() { 0 } else { self.rng.below(changes.len() + 1) };
        for (i, change) in changes.into_iter().enumerate() {
            let keep = if in_order { i < kept } else { self.rng.chance(60) };
            if !keep {
                continue;
            }
            match change {
                FolderChange::Create(name, inode) if names.iter().all(|(of, _)| *of != name) => {
                    names.push((name, inode));
                }
                FolderChange::Rename(from, to, inode) if names.contains(&(from.clone(), inode)) => {
                    names.retain(|(name, _)| *name != from && *name != to);
                    names.push((to, inode));
                }
                FolderChange::Unlink(name, inode) => names.retain(|entry| *entry != (name.clone(), inode)),
                _ => {}
            }
        }
        self.names.clone_from(&names);
        self.durable_names = names;
    }
}
