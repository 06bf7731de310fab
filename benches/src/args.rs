//! The command line.

use crate::{
    phases::{LONG, PHASES, Phase},
    store::{PEERS, Peer, Result},
};
use std::path::PathBuf;

pub const USAGE: &str = "\
usage: larder-benches [--phases A,B] [--engines A,B] [--scale F] [--rounds N] [--dir FOLDER]
  --phases   some of: durable1, durable8, fast, batch, get, hot, open, space, beside, entries, entries7
             (default: all but entries7, which takes minutes for each engine)
  --engines  some of: raw, raw-pre, larder, larder-0, redb, fjall, lmdb, sqlite-wal, sqlite, sled, cacache (default: all)
  --scale    factor on all counts (default: 1)
  --rounds   medians are of so many (default: 3)
  --dir      where the data goes, and is removed from afterwards (default: target/bench-data)";

pub struct Args {
    pub phases: Vec<&'static Phase>,
    pub peers: Vec<&'static Peer>,
    pub scale: f64,
    pub rounds: usize,
    pub dir: PathBuf,
}

impl Args {
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Self {
            phases: PHASES.iter().filter(|phase| phase.name != LONG).collect(),
            peers: PEERS.iter().collect(),
            scale: 1.0,
            rounds: 3,
            dir: PathBuf::from("target/bench-data"),
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} lacks its value\n{USAGE}"))?;
            match name.as_str() {
                "--phases" => parsed.phases = value.split(',').map(phase).collect::<Result<_>>()?,
                "--engines" => parsed.peers = value.split(',').map(peer).collect::<Result<_>>()?,
                "--scale" => parsed.scale = value.parse()?,
                "--rounds" => parsed.rounds = value.parse()?,
                "--dir" => parsed.dir = PathBuf::from(value),
                _ => return Err(format!("no option {name}\n{USAGE}").into()),
            }
        }
        if !(0.001..=100.0).contains(&parsed.scale) || parsed.rounds == 0 {
            return Err("the scale is between 0.001 and 100, and there is at least one round".into());
        }
        Ok(parsed)
    }
}

pub fn phase(name: &str) -> Result<&'static Phase> {
    Ok(PHASES.iter().find(|phase| phase.name == name).ok_or_else(|| format!("no phase {name}\n{USAGE}"))?)
}

pub fn peer(name: &str) -> Result<&'static Peer> {
    Ok(PEERS.iter().find(|peer| peer.name == name).ok_or_else(|| format!("no engine {name}\n{USAGE}"))?)
}
