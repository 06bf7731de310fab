//! `larder repair`: saves what is sound.

use crate::{
    args::Repair,
    failure::Failure,
    output::{Output, size},
};
use serde_json::json;

pub(crate) fn run(args: &Repair, output: &mut Output) -> Result<(), Failure> {
    let report = larder::log::repair(&args.from, &args.to)?;
    if output.is_json() {
        return output.json(&json!({
            "entries": report.entries,
            "aliases": report.aliases,
            "lost_bytes": report.lost_bytes,
            "void_batches": report.void_batches,
            "unreadable": report.unreadable,
            "found_by_search": report.found_by_search,
        }));
    }
    output.text(&format!("{} entries and {} aliases saved", report.entries, report.aliases))?;
    output.text(&format!(
        "{} entries and {} batches lost, {} of the file skipped",
        report.unreadable,
        report.void_batches,
        size(report.lost_bytes)
    ))
}
