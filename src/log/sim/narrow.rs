//! Crash histories of a few operations that go for one thing each.

use super::{
    crash::{CRASHES_MAX, History},
    ops::Op,
    plans::StopPlan,
};

impl History<'_> {
    /// One process that puts values and loses power after two or three of them, again and again.
    pub(super) fn narrow_step(&mut self) -> Result<(), String> {
        if self.crashes < CRASHES_MAX && self.rng.chance(35) {
            if self.rng.chance(30) {
                return self.recover();
            }
            let mut machine = self.world.machine();
            let at = machine.calls + 1 + self.rng.below(12) as u64;
            machine.stop = Some(StopPlan { at, process: None, done: None });
        }
        let op = self.again.pop().unwrap_or_else(|| self.draw.put());
        self.issued.push(op.clone());
        self.operate(0, &op)
    }

    /// Two processes that put values and leave most of them unsynced, their slots too: no crash may hit both slots.
    pub(super) fn twins_step(&mut self) -> Result<(), String> {
        if self.processes.len() < 2 {
            return self.start();
        }
        if self.crashes < CRASHES_MAX && self.rng.chance(20) {
            return self.recover();
        }
        if self.rng.chance(30) {
            return (0..2).try_for_each(|at| self.operate(at, &Op::Flush));
        }
        // Each of them writes a slot when it is its turn to.
        for at in 0..2 {
            let op = self.draw.put();
            self.operate(at, &op)?;
        }
        Ok(())
    }
}
