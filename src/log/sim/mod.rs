//! The engine on a simulated machine: a model says what it should hold, a simulated disk takes away whatever a power
//! cut may take, faults come at every disk call, and planted bugs show that all this would notice.
//!
//! A failure prints the seed of its history. `LARDER_SIM_SEED=n` runs that history alone, in every test that runs
//! histories; `LARDER_SIM_HISTORIES` and `LARDER_MODEL_HISTORIES` set how many there are.

mod accept;
mod bugs;
mod crash;
mod disk;
mod exits;
mod faults;
mod inode;
mod killed;
mod limit;
mod model;
mod ops;
mod plans;
mod process;
mod recover;
mod rng;
mod splice;
mod state;
mod world;

pub(super) use plans::Call;
use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value}, which is not a number")))
}

/// Runs the histories of a test, each by its seed, until one fails. Returns the seed that failed and why.
fn search(
    histories: u64,
    first_seed: u64,
    mut history: impl FnMut(u64) -> Result<(), String>,
) -> Result<(), (u64, String)> {
    let mut run = |seed| {
        let result = catch_unwind(AssertUnwindSafe(|| history(seed)));
        result.unwrap_or_else(|_| Err("it panics".into())).map_err(|why| (seed, why))
    };
    if let Some(seed) = setting("LARDER_SIM_SEED") {
        return run(seed);
    }
    (first_seed..first_seed + histories).try_for_each(run)
}

/// Fails the test with the seed and the operations of the history that failed.
fn report(result: Result<(), (u64, String)>, trace: impl Fn(u64) -> Vec<String>) {
    if let Err((seed, why)) = result {
        let operations = catch_unwind(AssertUnwindSafe(|| trace(seed).join("\n")));
        let operations = operations.unwrap_or_else(|_| "(the panic took the list of operations with it)".into());
        panic!("seed {seed}: {why}\n{operations}\nreplay it with LARDER_SIM_SEED={seed}");
    }
}
