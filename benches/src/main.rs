//! larder's engine, its peers and a bare append file on the same work in one run. See `README.md`.

mod answered;
mod args;
mod entries;
mod goals;
mod phases;
mod process;
mod session;
mod store;
mod stores;
mod table;
mod work;

use args::Args;
use phases::Bench;
use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};
use store::{Peer, Result};
use table::Line;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let result = process::run_as_child(&args).unwrap_or_else(|| compare(&args));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("larder-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(words: &[String]) -> Result<()> {
    let args = Args::parse(words.iter().cloned())?;
    println!("`larder-benches {}`\n", words.join(" "));
    println!("{} cores; {}\n", std::thread::available_parallelism()?, versions(&args.peers));
    fs::create_dir_all(&args.dir)?;
    let mut lines = Vec::new();
    for phase in &args.phases {
        let mut new: Vec<_> =
            phase.rows.iter().map(|row| Line { row, values: vec![Vec::new(); args.peers.len()] }).collect();
        // Engines take turns, so that whatever else the machine does meets all of them.
        for round in 1..=args.rounds {
            for (column, peer) in args.peers.iter().enumerate() {
                if peer.cannot.contains(&phase.name) {
                    continue;
                }
                eprintln!("{} {round}/{}: {}", phase.name, args.rounds, peer.name);
                let bench = Bench { peer, folder: args.dir.join(peer.name), scale: args.scale };
                let values = in_empty_folder(&bench.folder, || process::measure(phase, &bench));
                // One engine that fails leaves the others their figures.
                let values = values.inspect_err(|error| eprintln!("{error}")).unwrap_or_default();
                for (line, value) in new.iter_mut().zip(values) {
                    line.values[column].push(value);
                }
            }
        }
        lines.extend(new);
    }
    // Left alone if it holds anything that is not ours.
    let _ = fs::remove_dir(&args.dir);
    println!("Ratios to the bare append, medians of {} rounds, scale {}:\n", args.rounds, args.scale);
    println!("{}\n\nMedians:\n\n{}\n", table::ratios(&args.peers, &lines), table::medians(&args.peers, &lines));
    println!("Goals, by these medians:\n\n{}", goals::verdicts(&args.peers, &lines));
    Ok(())
}

/// Makes the folder, and removes it afterwards. Nothing waits to be written back when the work begins.
fn in_empty_folder<T>(folder: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    fs::create_dir(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Command::new("sync").arg("--file-system").arg(folder).status()?;
    let result = work();
    fs::remove_dir_all(folder)?;
    result
}

/// The versions of the engines, as built.
fn versions(peers: &[&Peer]) -> String {
    let version = |package: &str| {
        let mut lines = include_str!("../Cargo.lock").lines();
        lines.find(|line| *line == format!("name = \"{package}\""))?;
        Some(format!("{package} {}", lines.next()?.trim_start_matches("version = ").trim_matches('"')))
    };
    let mut versions: Vec<_> = peers.iter().filter_map(|peer| version(peer.package?)).collect();
    versions.push(format!("SQLite {}", rusqlite::version()));
    versions.dedup();
    versions.join(", ")
}
