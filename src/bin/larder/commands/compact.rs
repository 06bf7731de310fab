//! `larder compact`: gives back space.

use super::change;
use crate::{
    args::Compact,
    failure::Failure,
    output::{Output, size},
};
use serde_json::json;

pub(crate) fn run(args: &Compact, output: &mut Output) -> Result<(), Failure> {
    let cache = change(&args.place)?;
    let before = cache.stats()?.file_bytes;
    cache.compact()?;
    let after = cache.stats()?.file_bytes;
    if output.is_json() {
        return output.json(&json!({ "bytes_before": before, "bytes_after": after }));
    }
    output.text(&format!("{} before, {} now", size(before), size(after)))
}
