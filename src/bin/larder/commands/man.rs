//! `larder man`: the manual page, with a section for each command.

use crate::{args::Args, failure::Failure, output::Output};
use clap::CommandFactory;
use clap_mangen::Man;

pub(crate) fn run(output: &mut Output) -> Result<(), Failure> {
    let mut command = Args::command();
    command.build();
    let mut page = Vec::new();
    let made = Man::new(command.clone()).render(&mut page).and_then(|()| {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            Man::new(sub.clone()).render(&mut page)?;
        }
        Ok(())
    });
    made.map_err(Failure::io("make the manual page"))?;
    output.bytes(&page)
}
