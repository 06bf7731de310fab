//! `larder copy`: from one cache into another.

use super::look_at;
use crate::{
    args::Copy,
    failure::Failure,
    output::{Output, printable, size},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use larder::{Backend, Cache, CachedSession, CopyProgress, KeyScheme, Serializer};
use serde_json::json;
use std::ops::ControlFlow;

/// Reasons that are shown for what was skipped; there may be many.
const REASONS_MAX: usize = 10;

pub(crate) fn run(args: &Copy, output: &mut Output) -> Result<(), Failure> {
    let from = look_at(&args.from)?;
    let to = if args.requests_cache { for_python(&args.to)? } else { Cache::open(&args.to)? };
    let bar = bar(args.quiet || output.is_json());
    let mut reasons = Vec::new();
    let report = to.update_with(&from, |progress: &CopyProgress<'_>| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        if let Some(error) = progress.skipped.filter(|_| reasons.len() < REASONS_MAX) {
            reasons.push(error.to_string());
        }
        ControlFlow::Continue(())
    })?;
    to.flush()?;
    bar.finish_and_clear();
    let verified = if args.no_verify { None } else { Some(to.verify(&from)?) };
    if output.is_json() {
        output.json(&json!({
            "copied": report.copied,
            "unchanged": report.unchanged,
            "aliases": report.aliases,
            "skipped": report.skipped,
            "skipped_because": reasons,
            "bytes": report.bytes,
            "verified": verified.as_ref().map(|verified| json!({
                "same": verified.same,
                "missing": verified.missing,
                "different": verified.different,
                "checksum": verified.checksum,
            })),
        }))?;
    } else {
        output.text(&format!(
            "{} responses copied ({}), {} were there already, {} redirects and aliases, {} skipped",
            report.copied,
            size(report.bytes),
            report.unchanged,
            report.aliases,
            report.skipped
        ))?;
        for reason in &reasons {
            output.text(&format!("skipped: {}", printable(reason)))?;
        }
        if let Some(verified) = &verified {
            output
                .text(&format!("{} responses are the same in both, checksum {}", verified.same, verified.checksum))?;
        }
    }
    match verified {
        Some(verified) if !verified.is_whole() => Err(Failure::Damaged(format!(
            "the copy differs: {} responses are missing and {} differ; was it changed meanwhile? Run it again",
            verified.missing, verified.different
        ))),
        _ => Ok(()),
    }
}

/// A cache as requests-cache has it.
fn for_python(place: &str) -> Result<Cache, Failure> {
    let (address, name) = match place.split_once("://").and_then(|_| place.rsplit_once('#')) {
        Some((address, name)) => (address, name),
        None => (place, "http_cache"),
    };
    let session = CachedSession::builder(name)
        .backend(Backend::at(address)?)
        .serializer(Serializer::Json)
        .key_scheme(KeyScheme::RequestsCache)
        .strict(true)
        .build()?;
    Ok(session.cache().clone())
}

/// A bar on the standard error, if that is a terminal.
fn bar(hidden: bool) -> ProgressBar {
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} responses, {per_sec}, {eta} left");
    ProgressBar::with_draw_target(Some(0), target).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
