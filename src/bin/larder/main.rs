//! The program `larder`: looks at caches, changes and copies them, and asks the web through them.

#[cfg_attr(not(test), expect(dead_code, reason = "nothing is decoded here"))]
#[path = "../../entry/base64.rs"]
mod base64;
#[path = "../../entry/iso.rs"]
mod iso;

mod args;
mod commands;
mod config;
mod failure;
mod output;
mod span;

use args::{Args, Command};
use clap::Parser;
use failure::Failure;
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut output = Output::new(args.json);
    match run(args.command, &mut output).and_then(|()| output.finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // What was written before is still wanted.
            let _ = output.finish();
            failure.tell();
            ExitCode::from(failure.code())
        }
    }
}

fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Get(args) => commands::get::run(&args, output),
        Command::Ls(args) => commands::ls::run(&args, output),
        Command::Show(args) => commands::show::run(&args, output),
        Command::Stat(args) => commands::stat::run(&args, output),
        Command::Rm(args) => commands::rm::run(&args, output),
        Command::Expire(args) => commands::expire::run(&args, output),
        Command::Clear(args) => commands::clear::run(&args, output),
        Command::Compact(args) => commands::compact::run(&args, output),
        Command::Check(args) => commands::check::run(&args, output),
        Command::Repair(args) => commands::repair::run(&args, output),
        Command::Copy(args) => commands::copy::run(&args, output),
        Command::Completions(args) => commands::completions::run(&args, output),
        Command::Man => commands::man::run(output),
    }
}
