//! Other processes: each measurement has one, so that no engine feels what another has left in memory, and writers
//! have one, to be killed or to be read beside.

use crate::{
    args,
    phases::{Bench, Phase},
    store::{Result, Use},
    work::Work,
};
use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// Runs a phase in a new process.
pub fn measure(phase: &Phase, bench: &Bench) -> Result<Vec<f64>> {
    let output = command(&["measure", phase.name], bench)?.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        return Err(format!("{} of {} has failed", phase.name, bench.peer.name).into());
    }
    Ok(text.lines().map(str::parse).collect::<std::result::Result<_, _>>()?)
}

/// A process that writes one item after the other.
pub struct Writer(Child);

impl Writer {
    /// Returns once it writes.
    pub fn start(bench: &Bench, wanted: Use, kind: &str, count: usize) -> Result<Self> {
        let wanted = if wanted == Use::Durable { "alone" } else { "beside" };
        let mut command = command(&["write", wanted, kind, &count.to_string()], bench)?;
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let writer = Self(child);
        if line.is_empty() { Err("the writer has ended before it wrote".into()) } else { Ok(writer) }
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.0.kill()?;
        let status = self.0.wait()?;
        if status.code().is_some() { Err(format!("the writer ended by itself: {status}").into()) } else { Ok(()) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Only after an error; `kill` has waited for it otherwise.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(role: &[&str], bench: &Bench) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(role).arg(bench.peer.name).arg(bench.scale.to_string()).arg(&bench.folder);
    Ok(command)
}

/// What a new process is told to do; `None` if this is the first one, with its options.
pub fn run_as_child(args: &[String]) -> Option<Result<()>> {
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["measure", phase, ref bench @ ..] => Some(run_phase(phase, bench)),
        ["write", wanted, kind, count, ref bench @ ..] => Some(write(wanted, kind, count, bench)),
        _ => None,
    }
}

fn parse(bench: &[&str]) -> Result<Bench> {
    let [peer, scale, folder] = bench else { return Err("three arguments name the engine".into()) };
    Ok(Bench { peer: args::peer(peer)?, scale: scale.parse()?, folder: PathBuf::from(folder) })
}

fn run_phase(phase: &str, bench: &[&str]) -> Result<()> {
    for value in (args::phase(phase)?.run)(&parse(bench)?)? {
        println!("{value}");
    }
    Ok(())
}

fn write(wanted: &str, kind: &str, count: &str, bench: &[&str]) -> Result<()> {
    let count = count.parse()?;
    let work = if kind == "small" { Work::small(count) } else { Work::responses(count) };
    let store = parse(bench)?.open(if wanted == "alone" { Use::Durable } else { Use::BesideReader })?;
    for (turn, i) in (0..work.len()).cycle().enumerate() {
        let (key, body) = work.item(i);
        store.put(key, body)?;
        if turn == 0 {
            // Nobody reads a second line.
            println!("writing");
        }
    }
    Ok(())
}
