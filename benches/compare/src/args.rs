//! The command line.

use crate::{Policy, Result, larder::Store};

const USAGE: &str = "\
usage: larder-compare [--rounds N] [--no-python] [--profile STORE/POLICY]
  --rounds     medians are of so many (default: 501)
  --no-python  leave requests-cache out; otherwise LARDER_REQUESTS_CACHE is a python that has requests-cache 1.3.3
  --profile    only the hits of one store of larder, for a profiler: log, memory or sqlite, and plain, whole or vary";

pub struct Args {
    pub rounds: usize,
    pub python: bool,
    pub profile: Option<(Store, Policy)>,
}

impl Args {
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Self { rounds: 501, python: true, profile: None };
        while let Some(name) = args.next() {
            match name.as_str() {
                "--no-python" => parsed.python = false,
                "--rounds" => {
                    let rounds = args.next().and_then(|value| value.parse().ok()).filter(|rounds| *rounds > 0);
                    parsed.rounds = rounds.ok_or_else(|| format!("--rounds takes a number from 1\n{USAGE}"))?;
                }
                "--profile" => {
                    let case = args.next().and_then(|value| case(&value));
                    parsed.profile =
                        Some(case.ok_or_else(|| format!("--profile takes a case like log/whole\n{USAGE}"))?);
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

fn case(text: &str) -> Option<(Store, Policy)> {
    let (store, policy) = text.split_once('/')?;
    let store = Store::ALL.into_iter().find(|known| known.label() == store)?;
    Some((store, Policy::ALL.into_iter().find(|known| known.name() == policy)?))
}
