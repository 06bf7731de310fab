//! The engine on a simulated machine: a model says what it should hold, a simulated disk takes away whatever a power
//! cut may take, faults come at every disk call, and planted bugs show that all this would notice.
//!
//! A failure prints the seed of its history. `LARDER_SIM_SEED=n` runs that history alone, in every test that runs
//! histories; `LARDER_SIM_HISTORIES` and `LARDER_MODEL_HISTORIES` set how many there are.

mod accept;
mod bugs;
mod crash;
mod disk;
mod inode;
mod model;
mod ops;
mod process;
mod rng;
mod splice;
mod state;
mod world;

use std::env;

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
    if let Some(seed) = setting("LARDER_SIM_SEED") {
        return history(seed).map_err(|why| (seed, why));
    }
    for seed in first_seed..first_seed + histories {
        history(seed).map_err(|why| (seed, why))?;
    }
    Ok(())
}

/// Fails the test with the seed and the operations of the history that failed.
fn report(result: Result<(), (u64, String)>, trace: impl FnOnce(u64) -> Vec<String>) {
    if let Err((seed, why)) = result {
        let operations = trace(seed).join("\n");
        panic!("seed {seed}: {why}\n{operations}\nreplay it with LARDER_SIM_SEED={seed}");
    }
}
