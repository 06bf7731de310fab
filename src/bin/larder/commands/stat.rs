//! `larder stat`: counts and sizes.

use super::{look_at, select::host_of};
use crate::{
    args::Stat,
    failure::Failure,
    output::{Output, size},
    span::shown,
};
use serde_json::json;
use std::{collections::BTreeMap, time::SystemTime};

/// Hosts that are shown to people.
const HOSTS_MAX: usize = 10;

pub(crate) fn run(args: &Stat, output: &mut Output) -> Result<(), Failure> {
    let cache = look_at(&args.place)?;
    let (stats, heads, now) = (cache.stats()?, cache.heads()?, SystemTime::now());
    let mut hosts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    for head in &heads {
        let host = hosts.entry(host_of(head.response.url())).or_default();
        host.0 += 1;
        host.1 += head.body_len;
        *statuses.entry(head.response.status().as_u16()).or_default() += 1;
    }
    let expired = heads.iter().filter(|head| head.response.is_expired(now)).count();
    let body_bytes: u64 = heads.iter().map(|head| head.body_len).sum();
    let created = || heads.iter().map(|head| head.response.created_at());
    if output.is_json() {
        let hosts: serde_json::Map<_, _> = hosts
            .iter()
            .map(|(host, (count, bytes))| ((*host).to_owned(), json!({ "responses": count, "body_bytes": bytes })))
            .collect();
        let statuses: serde_json::Map<_, _> =
            statuses.iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
        return output.json(&json!({
            "responses": heads.len(),
            "expired": expired,
            "body_bytes": body_bytes,
            "live_bytes": stats.live_bytes,
            "dead_bytes": stats.dead_bytes,
            "file_bytes": stats.file_bytes,
            "oldest": created().min().map(shown),
            "newest": created().max().map(shown),
            "statuses": statuses,
            "hosts": hosts,
        }));
    }
    output.text(&format!("responses  {} ({expired} expired)", heads.len()))?;
    output.text(&format!("bodies     {}", size(body_bytes)))?;
    let (live, dead) = (size(stats.live_bytes), size(stats.dead_bytes));
    output
        .text(&format!("file       {} ({live} in use, {dead} to be given back by compact)", size(stats.file_bytes)))?;
    if let (Some(oldest), Some(newest)) = (created().min(), created().max()) {
        output.text(&format!("received   {} to {}", shown(oldest), shown(newest)))?;
    }
    for (status, count) in &statuses {
        output.text(&format!("status {status} {count}"))?;
    }
    let mut hosts: Vec<_> = hosts.into_iter().collect();
    hosts.sort_by_key(|(host, (count, _))| (std::cmp::Reverse(*count), *host));
    for (host, (count, bytes)) in hosts.iter().take(HOSTS_MAX) {
        output.text(&format!("host       {host} {count} ({})", size(*bytes)))?;
    }
    if hosts.len() > HOSTS_MAX {
        output.text(&format!("           and {} more hosts; --json has all", hosts.len() - HOSTS_MAX))?;
    }
    Ok(())
}
