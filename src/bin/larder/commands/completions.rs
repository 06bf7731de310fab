//! `larder completions`: what a shell completes.

use crate::{
    args::{Args, Completions},
    failure::Failure,
    output::Output,
};
use clap::CommandFactory;

pub(crate) fn run(args: &Completions, output: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "larder", &mut script);
    output.bytes(&script)
}
