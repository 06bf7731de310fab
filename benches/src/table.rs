//! The tables, in Markdown.

use crate::{phases::Row, store::Peer};
use std::fmt::Write;

/// The values of one row: for each engine those of all rounds.
pub struct Line {
    pub row: &'static Row,
    pub values: Vec<Vec<f64>>,
}

/// Medians.
pub fn medians(peers: &[&Peer], lines: &[Line]) -> String {
    print(peers, lines, |line| (line.row.unit.to_string(), line.values.iter().map(|values| median(values)).collect()))
}

/// Medians, divided by those of the bare append.
pub fn ratios(peers: &[&Peer], lines: &[Line]) -> String {
    let raw = peers.iter().position(|peer| peer.name == "raw");
    print(peers, lines, |line| {
        let raw = raw.and_then(|raw| median(&line.values[raw]));
        let ratio = |values: &Vec<f64>| Some(median(values)? / raw?);
        let better = if line.row.more_is_better { "more is better" } else { "less is better" };
        (better.to_string(), line.values.iter().map(ratio).collect())
    })
}

fn print(peers: &[&Peer], lines: &[Line], cells: impl Fn(&Line) -> (String, Vec<Option<f64>>)) -> String {
    let mut text = String::from("| phase | |");
    for peer in peers {
        let _ = write!(text, " {} |", peer.name);
    }
    text.push_str("\n|---|---|");
    text.push_str(&"--:|".repeat(peers.len()));
    for line in lines {
        let (note, cells) = cells(line);
        let _ = write!(text, "\n| {} | {note} |", line.row.label);
        for cell in cells {
            let _ = write!(text, " {} |", number(cell));
        }
    }
    text
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Three digits that count.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}
