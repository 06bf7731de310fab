//! `larder expire`: deletes what is expired, or sets when responses expire.

use super::{change, select::Select};
use crate::{
    args::{ExpireArgs, Filter},
    failure::Failure,
    output::Output,
    span::When,
};
use serde_json::json;
use std::time::SystemTime;

pub(crate) fn run(args: &ExpireArgs, output: &mut Output) -> Result<(), Failure> {
    let cache = change(&args.place)?;
    let Some(When(expire)) = args.set else {
        let deleted = cache.remove_expired()?;
        return tell(output, "deleted", deleted);
    };
    let Some(glob) = &args.glob else {
        let changed = cache.reset_expiration(expire)?;
        return tell(output, "changed", changed);
    };
    let filter = Filter::default();
    let select = Select::new(Some(glob), &filter)?;
    let expires = expire.resolve(SystemTime::now());
    let mut changed = 0;
    for head in cache.heads()?.iter().filter(|head| select.takes(head)) {
        if let Some((response, _)) = cache.get(&head.key)? {
            cache.save(&response.with_expires(expires))?;
            changed += 1;
        }
    }
    tell(output, "changed", changed)
}

fn tell(output: &mut Output, what: &str, count: u64) -> Result<(), Failure> {
    if output.is_json() { output.json(&json!({ what: count })) } else { output.text(&format!("{count} {what}")) }
}
