//! `larder clear`: deletes everything.

use super::{change, look_at, told};
use crate::{args::Clear, failure::Failure, output::Output};
use serde_json::json;
use std::io::{self, IsTerminal, Write};

pub(crate) fn run(args: &Clear, output: &mut Output) -> Result<(), Failure> {
    let count = look_at(&args.place)?.len()?;
    if !args.yes && !is_sure(&args.place, count)? {
        return Err(Failure::Usage("nothing was deleted; say --yes".to_owned()));
    }
    let cache = change(&args.place)?;
    cache.clear()?;
    if output.is_json() { output.json(&json!({ "deleted": count })) } else { output.text(&format!("{count} deleted")) }
}

/// Asks, if there is somebody to ask.
fn is_sure(place: &str, count: u64) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    let asking = Failure::io("ask");
    write!(io::stderr(), "Delete all {count} responses in {}? [y/N] ", told(place)).map_err(asking)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Failure::io("read the answer"))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
