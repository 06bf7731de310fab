//! The engine on a simulated machine: a model says what it should hold, a simulated disk takes away whatever a power
//! cut may take, faults come at every disk call, and planted bugs show that all this would notice.
//!
//! A failure prints the seed of its history. `LARDER_SIM_SEED=n` runs that history alone, in every test that runs
//! histories; `LARDER_SIM_HISTORIES` and `LARDER_MODEL_HISTORIES` set how many there are.

mod accept;
#[cfg(test)]
mod bugs;
mod crash;
mod disk;
#[cfg(test)]
mod exits;
#[cfg(test)]
mod faults;
mod inode;
#[cfg(test)]
mod killed;
mod limit;
mod model;
mod narrow;
mod ops;
mod plans;
mod process;
mod recover;
mod rng;
#[cfg(test)]
mod splice;
mod state;
mod world;

#[cfg(test)]
pub(super) use plans::Call;
use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Runs the crash history whose choices are these bytes.
pub(super) fn history_of(choices: &[u8]) -> Result<(), String> {
    let run = |trace: &mut _| {
        let mut rng = rng::Rng::of_bytes(choices);
        crash::history_of(rng.next(), rng, trace)
    };
    run(&mut None).map_err(|why| {
        let mut trace = Some(Vec::new());
        let _ = run(&mut trace);
        format!("{why}\n{}", trace.unwrap_or_default().join("\n"))
    })
}

/// The disk of a machine of its own.
#[cfg(all(test, loom))]
pub(super) fn any_disk() -> impl super::disk::Disk {
    let world = world::World::new(0, 512);
    let process = world.spawn();
    disk::SimDisk::new(world, process)
}

/// A log on a machine of its own.
#[cfg(all(test, loom))]
pub(super) fn any_log(options: &super::Options) -> super::Log {
    let world = world::World::new(0, 512);
    let env = disk::env(&world, world.spawn(), 0);
    super::Log::open_in(env, std::path::Path::new(model::NAME), options).expect("the cache opens")
}

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
