//! The tables, in Markdown.

use crate::Policy;
use std::{fmt::Write, time::Duration};

/// What was measured of one client.
pub struct Line {
    pub name: String,
    /// Microseconds for a hit in each round, by policy.
    micros: [Vec<f64>; Policy::ALL.len()],
}

impl Line {
    pub fn new(name: String) -> Self {
        Self { name, micros: Default::default() }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    pub fn record(&mut self, policy: Policy, time: Duration, hits: usize) {
        self.micros[policy as usize].push(time.as_secs_f64() * 1e6 / hits as f64);
    }

    fn median(&self, policy: Policy) -> f64 {
        let mut values = self.micros[policy as usize].clone();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

pub fn medians(lines: &[Line]) -> String {
    let mut text = String::from("| us for a hit | plain | whole policy | with Vary |\n|---|--:|--:|--:|");
    for line in lines {
        let _ = write!(text, "\n| {} |", line.name);
        for policy in Policy::ALL {
            let _ = write!(text, " {} |", number(line.median(policy)));
        }
    }
    text
}

/// Of the medians: to the client's own plain hit, and to the first client under the same policy.
pub fn ratios(lines: &[Line]) -> String {
    let first = &lines[0];
    let mut text = String::from("| ratios | whole / plain | Vary / plain |");
    for title in ["plain", "whole policy", "with Vary"] {
        let _ = write!(text, " {title} / {} |", first.name);
    }
    text.push_str("\n|---|--:|--:|--:|--:|--:|");
    for line in lines {
        let own = |policy| line.median(policy) / line.median(Policy::Plain);
        let to_first = Policy::ALL.map(|policy| line.median(policy) / first.median(policy));
        let _ = write!(text, "\n| {} |", line.name);
        for ratio in [own(Policy::Whole), own(Policy::Vary)].into_iter().chain(to_first) {
            let _ = write!(text, " {} |", number(ratio));
        }
    }
    text
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
