//! What larder is to reach, and whether it did.

use crate::{
    phases::SESSION_HIT,
    store::Peer,
    table::{Line, median},
};
use std::fmt::Write;

enum Goal {
    /// At least so many times the engine of this name.
    AtLeast(f64, &'static str),
    /// At most so many times the engine of this name.
    AtMost(f64, &'static str),
    /// More than every engine that promises the same.
    MoreThanPeers,
    /// In the unit of the row.
    Limit(f64),
    LimitUp(f64),
}

/// Row, column, goal. Those of `open` and `clear` are for scale 1.
const GOALS: &[(&str, &str, Goal)] = &[
    ("durable put, 1 thread", "larder", Goal::AtLeast(0.8, "raw")),
    ("durable put, 8 threads", "larder", Goal::AtLeast(0.85, "raw")),
    ("durable put, 8 threads", "larder", Goal::MoreThanPeers),
    ("fast put", "larder", Goal::AtLeast(0.8, "raw")),
    ("fast put", "larder", Goal::MoreThanPeers),
    ("1,000 puts in one durable batch", "larder", Goal::AtMost(1.1, "raw")),
    ("get, zipf", "larder-0", Goal::AtMost(1.5, "raw")),
    ("get, uniform", "larder-0", Goal::AtMost(1.5, "raw")),
    ("get, zipf", "larder-0", Goal::AtMost(1.1, "redb")),
    ("get, uniform", "larder-0", Goal::AtMost(1.1, "redb")),
    ("get of 10 KiB, hot", "larder", Goal::Limit(1.0)),
    ("miss", "larder", Goal::Limit(1.0)),
    ("open of 200,000 x 1 KiB + a get", "larder", Goal::Limit(2.0)),
    ("the same after kill -9", "larder", Goal::Limit(60.0)),
    // 16 MiB are an eighth of what lives at scale 1.
    ("space after each key was put 3 times", "larder", Goal::Limit(2.125)),
    ("space after compaction", "larder", Goal::Limit(1.02)),
    ("compaction", "larder", Goal::AtLeast(0.5, "raw")),
    ("clear of 200,000 x 1 KiB", "larder", Goal::Limit(10.0)),
    ("speed beside it / alone", "larder", Goal::LimitUp(0.5)),
    (SESSION_HIT, "larder", Goal::Limit(4.0)),
];

/// Not durable, and in memory only: they promise less, and are not counted as peers.
const PROMISE_LESS: &[(&str, &str)] = &[("durable put, 1 thread", "sled"), ("durable put, 8 threads", "sled")];

/// One line for each goal whose row was measured.
pub fn verdicts(peers: &[&Peer], lines: &[Line]) -> String {
    let mut text = String::from("| goal | | |\n|---|---|---|");
    for (row, column, goal) in GOALS {
        let Some(line) = lines.iter().find(|line| line.row.label == *row) else { continue };
        let value = |name: &str| {
            let at = peers.iter().position(|peer| peer.name == name)?;
            median(&line.values[at])
        };
        let Some(own) = value(column) else { continue };
        let verdict = match goal {
            Goal::AtLeast(factor, of) => {
                value(of).map(|of_value| (format!(">= {factor} x {of}"), own / of_value, own >= factor * of_value))
            }
            Goal::AtMost(factor, of) => {
                value(of).map(|of_value| (format!("<= {factor} x {of}"), own / of_value, own <= factor * of_value))
            }
            Goal::Limit(limit) => Some((format!("<= {limit} {}", line.row.unit), own, own <= *limit)),
            Goal::LimitUp(limit) => Some((format!(">= {limit} {}", line.row.unit), own, own >= *limit)),
            Goal::MoreThanPeers => {
                let counts = |peer: &&&Peer| {
                    !peer.name.starts_with("raw")
                        && !peer.name.starts_with("larder")
                        && !PROMISE_LESS.contains(&(row, peer.name))
                };
                let best = peers.iter().filter(counts).filter_map(|peer| value(peer.name)).max_by(f64::total_cmp);
                best.map(|best| ("more than every peer".into(), own / best, own > best))
            }
        };
        let Some((wanted, reached, met)) = verdict else { continue };
        let met = if met { "met" } else { "**missed**" };
        let _ = write!(text, "\n| {row}: {wanted} | {reached:.2} | {met} |");
    }
    text
}
