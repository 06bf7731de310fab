//! The command line.

use crate::Result;

const USAGE: &str = "\
usage: larder-compare [--rounds N] [--no-python]
  --rounds     medians are of so many (default: 501)
  --no-python  leave requests-cache out; otherwise LARDER_REQUESTS_CACHE is a python that has requests-cache 1.3.3";

pub struct Args {
    pub rounds: usize,
    pub python: bool,
}

impl Args {
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Self { rounds: 501, python: true };
        while let Some(name) = args.next() {
            match name.as_str() {
                "--no-python" => parsed.python = false,
                "--rounds" => {
                    let rounds = args.next().and_then(|value| value.parse().ok()).filter(|rounds| *rounds > 0);
                    parsed.rounds = rounds.ok_or_else(|| format!("--rounds takes a number from 1\n{USAGE}"))?;
                }
                "--help" | "-h" => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                _ => return Err(format!("no option {name}\n{USAGE}").into()),
            }
        }
        Ok(parsed)
    }
}
