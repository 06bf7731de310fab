//! `larder ls`: what is stored.

use super::{look_at, select::Select};
use crate::{
    args::{Ls, Sort},
    failure::Failure,
    output::{Output, size},
    span::shown,
};
use larder::CacheHead;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn run(args: &Ls, output: &mut Output) -> Result<(), Failure> {
    let select = Select::new(args.pattern.as_deref(), &args.filter)?;
    let mut heads = look_at(&args.place)?.heads()?;
    heads.retain(|head| select.takes(head));
    sort(&mut heads, args.sort);
    if args.reverse {
        heads.reverse();
    }
    heads.truncate(args.limit.unwrap_or(usize::MAX));
    let now = SystemTime::now();
    for head in &heads {
        if output.is_json() {
            output.json(&as_json(head, now))?;
        } else {
            output.text(&as_text(head, now))?;
        }
    }
    Ok(())
}

/// By one thing, and by the key where that is the same.
fn sort(heads: &mut [CacheHead], by: Sort) {
    // What never expires is last.
    let expires = |head: &CacheHead| {
        let expires = head.response.expires_at();
        (expires.is_none(), expires.unwrap_or(UNIX_EPOCH))
    };
    heads.sort_by(|a, b| {
        let order = match by {
            Sort::Url => a.response.url().cmp(b.response.url()),
            Sort::Created => a.response.created_at().cmp(&b.response.created_at()),
            Sort::Expires => expires(a).cmp(&expires(b)),
            Sort::Size => a.body_len.cmp(&b.body_len),
            Sort::Status => a.response.status().cmp(&b.response.status()),
            Sort::Key => std::cmp::Ordering::Equal,
        };
        order.then_with(|| a.key.cmp(&b.key))
    });
}

pub(super) fn as_json(head: &CacheHead, now: SystemTime) -> Value {
    let response = &head.response;
    json!({
        "key": head.key,
        "method": response.request().method(),
        "url": response.url(),
        "status": response.status().as_u16(),
        "size": head.body_len,
        "content_type": content_type(head),
        "created_at": shown(response.created_at()),
        "expires_at": response.expires_at().map(shown),
        "expired": response.is_expired(now),
    })
}

fn as_text(head: &CacheHead, now: SystemTime) -> String {
    let response = &head.response;
    let expires = match response.expires_at() {
        None => "never".to_owned(),
        Some(_) if response.is_expired(now) => "expired".to_owned(),
        Some(expires) => shown(expires),
    };
    let (status, method) = (response.status().as_u16(), response.request().method());
    format!(
        "{status}  {method:<4}  {:>10}  {}  {expires:<20}  {}",
        size(head.body_len),
        shown(response.created_at()),
        response.url()
    )
}

fn content_type(head: &CacheHead) -> Option<&str> {
    head.response.headers().get("content-type")?.to_str().ok()
}
