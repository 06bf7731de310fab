//! What a crash history checks when the power comes back.

use super::{
    crash::{CRASHES_MAX, History, Kind},
    inode::Luck,
    model::{NAME, NEW_NAME, note},
    ops::observe,
    plans::StopPlan,
    process::{Process, open},
    state::Seen,
};
use crate::log::Options;
use std::path::Path;

impl History<'_> {
    pub(super) fn check_names(&self) -> Result<(), String> {
        let names = self.world.names();
        let known = |name: &Path| name == Path::new(NAME) || name == Path::new(NEW_NAME);
        if names.iter().all(|name| known(name)) { Ok(()) } else { Err(format!("the folder holds {names:?}")) }
    }

    /// The power goes, and comes back.
    pub(super) fn recover(&mut self) -> Result<(), String> {
        loop {
            self.crashes += 1;
            self.world.power_off();
            self.processes.clear();
            let luck = Luck::draw(&mut self.rng);
            note(self.trace, || format!("the power goes: {luck:?}"));
            self.world.crash(luck);
            self.check_names()?;
            self.misled |= self.fault_since_crash && (self.crowded || self.unaware);
            (self.fault_since_crash, self.crowded, self.unaware) = (false, false, false);
            if self.crashes < CRASHES_MAX && self.rng.chance(15) {
                let mut machine = self.world.machine();
                let at = machine.calls + 1 + self.rng.below(20) as u64;
                machine.stop = Some(StopPlan { at, process: None, done: None });
            }
            match self.look_twice() {
                Err(_) if self.world.machine().power_is_off => {}
                result => break result?,
            }
        }
        self.again.clear();
        if self.rng.chance(if self.kind == Kind::Narrow { 90 } else { 60 }) {
            // The program begins again where it was and does the same: what it writes may be, byte for byte and at the
            // same place, what the crash took away, and what stood behind that must not come back with it.
            self.again.extend(self.issued.drain(..).rev());
        }
        self.issued.clear();
        Ok(())
    }

    /// Opens and reads twice after a crash, which must show the same and change nothing.
    fn look_twice(&mut self) -> Result<(), String> {
        let exists = self.world.machine().find(Path::new(NAME)).is_some();
        let before = self.begin();
        let fast = self.rng.chance(self.fast_percent);
        // With a limit, closing writes down what was read.
        let read_only = exists && (self.rng.chance(30) || self.limited);
        let (first, seen) = self.look(self.options().read_only(read_only), false)?;
        self.model.see_after_crash(&seen)?;
        drop(first);
        if exists && self.begin() > before {
            return Err("opening, reading or closing has changed the disk".into());
        }
        let (second, again) = self.look(self.options().fast_save(fast), fast)?;
        if seen != again {
            return Err(format!("a second look after a crash shows something else: {seen:?}, then {again:?}"));
        }
        self.processes.push(second);
        Ok(())
    }

    fn look(&mut self, options: Options, fast: bool) -> Result<(Process, Seen), String> {
        let number = self.world.spawn();
        let failed = |error: crate::Error| format!("after a crash: {error}");
        let log = open(&self.world, number, self.seed, options).map_err(failed)?;
        let seen = observe(&log).map_err(failed)?;
        note(self.trace, || format!("process {number} opens (fast_save: {fast}) and sees {}", seen.brief()));
        Ok((Process { number, log, fast, opened_after_fault: false, wrote: false, written_at: None }, seen))
    }
}
