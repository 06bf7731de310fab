//! `larder rm`: deletes responses.

use super::{change, look_at, ls::as_json, select::Select};
use crate::{args::Rm, failure::Failure, output::Output};
use larder::{Cache, CacheHead};
use serde_json::json;
use std::time::SystemTime;

pub(crate) fn run(args: &Rm, output: &mut Output) -> Result<(), Failure> {
    let cache = if args.dry_run { look_at(&args.place)? } else { change(&args.place)? };
    let select = Select::new(args.glob.as_deref(), &args.filter)?;
    let mut deleted = 0_u64;
    let mut missing = Vec::new();
    if args.glob.is_some() {
        for head in cache.heads()?.iter().filter(|head| select.takes(head)) {
            deleted += u64::from(delete(&cache, head, args.dry_run, output)?);
        }
    } else {
        let heads = cache.heads()?;
        for key in &args.keys {
            let found: Vec<_> = heads.iter().filter(|head| is_meant(head, key) && select.takes(head)).collect();
            let mut any = !found.is_empty();
            for head in found {
                deleted += u64::from(delete(&cache, head, args.dry_run, output)?);
            }
            // A redirect or a name leads there as well.
            if !any && !args.dry_run {
                any = cache.delete(key)? || key.contains("://") && cache.delete_url(key)?;
                deleted += u64::from(any);
            }
            if !any {
                missing.push(key.clone());
            }
        }
    }
    if output.is_json() {
        output.json(&json!({ "deleted": deleted, "missing": missing, "dry_run": args.dry_run }))?;
    } else {
        let verb = if args.dry_run { "would be deleted" } else { "deleted" };
        output.text(&format!("{deleted} {verb}"))?;
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::NotFound(format!("not in the cache: {}", missing.join(", "))))
}

fn is_meant(head: &CacheHead, key: &str) -> bool {
    head.key.eq_ignore_ascii_case(key) || head.response.url() == key || head.response.request().url() == key
}

fn delete(cache: &Cache, head: &CacheHead, dry_run: bool, output: &mut Output) -> Result<bool, Failure> {
    if dry_run {
        if output.is_json() {
            output.json(&as_json(head, SystemTime::now()))?;
        } else {
            output.text(head.response.url())?;
        }
        return Ok(true);
    }
    Ok(cache.delete(&head.key)?)
}
