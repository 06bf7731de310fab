//! `larder check`: reads everything and says what is damaged.

use super::{exists, look_at, told};
use crate::{args::Check, failure::Failure, output::Output};
use larder::{
    Backend,
    log::{Log, OnDamage, Options},
};
use serde_json::json;
use std::path::Path;

pub(crate) fn run(args: &Check, output: &mut Output) -> Result<(), Failure> {
    exists(&args.place)?;
    match Backend::at(&args.place)? {
        Backend::LogAt(path) => check_log(&path, output),
        _ => check_others(&args.place, output),
    }
}

/// A log knows more of itself than that its entries can be read.
fn check_log(path: &Path, output: &mut Output) -> Result<(), Failure> {
    let log = Log::open(path, Options::new().read_only(true).on_damage(OnDamage::Error))?;
    let report = log.check()?;
    let sound = report.is_sound();
    if output.is_json() {
        output.json(&json!({
            "sound": sound,
            "entries": report.entries,
            "aliases": report.aliases,
            "records": report.records,
            "end_offset": report.end_offset,
            "end": format!("{:?}", report.end),
            "void_batches": report.void_batches,
            "bad_index": report.bad_index,
            "unreadable": report.unreadable,
        }))?;
    } else {
        output.text(&format!("{} entries, {} aliases, {} records", report.entries, report.aliases, report.records))?;
        for offset in &report.unreadable {
            output.text(&format!("an entry cannot be read: offset {offset}"))?;
        }
        for offset in &report.void_batches {
            output.text(&format!("a batch does not count: offset {offset}"))?;
        }
        if report.bad_index {
            output.text("the index is damaged; the next compaction makes a new one")?;
        }
        output.text(&format!("the log ends at offset {} ({:?})", report.end_offset, report.end))?;
        output.text(if sound { "sound" } else { "damaged" })?;
    }
    if sound {
        return Ok(());
    }
    Err(Failure::Damaged(format!("{} is damaged; `larder repair` saves what is sound", path.display())))
}

fn check_others(place: &str, output: &mut Output) -> Result<(), Failure> {
    let cache = look_at(place)?;
    let keys = cache.keys()?;
    let mut unreadable = Vec::new();
    for key in &keys {
        match cache.get(key) {
            Ok(Some(_)) => {}
            Ok(None) => unreadable.push((key.clone(), "it is damaged".to_owned())),
            Err(error) => unreadable.push((key.clone(), error.to_string())),
        }
    }
    let sound = unreadable.is_empty();
    if output.is_json() {
        let listed: Vec<_> = unreadable.iter().map(|(key, why)| json!({ "key": key, "why": why })).collect();
        output.json(&json!({ "sound": sound, "entries": keys.len(), "unreadable": listed }))?;
    } else {
        output.text(&format!("{} entries", keys.len()))?;
        for (key, why) in &unreadable {
            output.text(&format!("{key} cannot be read: {why}"))?;
        }
        output.text(if sound { "sound" } else { "damaged" })?;
    }
    if sound {
        Ok(())
    } else {
        Err(Failure::Damaged(format!("{}: {} responses are damaged", told(place), unreadable.len())))
    }
}
