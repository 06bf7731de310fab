//! `larder show`: one response, whole.

use super::{look_at, told};
use crate::{
    args::Show,
    base64,
    failure::Failure,
    output::{Output, size},
    span::shown,
};
use larder::{Cache, StoredResponse};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

pub(crate) fn run(args: &Show, output: &mut Output) -> Result<(), Failure> {
    let cache = look_at(&args.place)?;
    let Some((response, _)) = find(&cache, &args.key)? else {
        return Err(Failure::NotFound(format!("nothing is stored under {} in {}", args.key, told(&args.place))));
    };
    if args.body {
        return output.bytes(response.bytes());
    }
    if output.is_json() {
        return output.json(&as_json(&response, !args.head));
    }
    as_text(&response, output)?;
    if args.head {
        return Ok(());
    }
    output.text("")?;
    match std::str::from_utf8(response.bytes()) {
        Ok(text) if !text.contains('\0') => {
            for line in text.lines() {
                output.text(line)?;
            }
            Ok(())
        }
        _ => output.text(&format!("[{} of binary data; --body writes it]", size(response.bytes().len() as u64))),
    }
}

/// By key or URL; else the first of all responses to the URL, whoever asked and how.
fn find(cache: &Cache, key: &str) -> Result<Option<(StoredResponse, SystemTime)>, Failure> {
    if let Some(found) = cache.get(key)? {
        return Ok(Some(found));
    }
    if !key.contains("://") {
        return Ok(None);
    }
    let heads = cache.heads()?;
    let head = heads.iter().find(|head| head.response.url() == key || head.response.request().url() == key);
    Ok(match head {
        Some(head) => cache.get(&head.key)?,
        None => None,
    })
}

pub(super) fn as_json(response: &StoredResponse, with_body: bool) -> Value {
    let mut value = json!({
        "status": response.status().as_u16(),
        "reason": response.reason(),
        "url": response.url(),
        "headers": headers(response.headers()),
        "created_at": shown(response.created_at()),
        "expires_at": response.expires_at().map(shown),
        "expired": response.is_expired(SystemTime::now()),
        "elapsed_ms": u64::try_from(response.elapsed().as_millis()).unwrap_or(u64::MAX),
        "size": response.bytes().len(),
        "coding": response.coding(),
        "request": {
            "method": response.request().method(),
            "url": response.request().url(),
            "headers": headers(response.request().headers()),
        },
    });
    if with_body && let Some(value) = value.as_object_mut() {
        value.extend(body(response.bytes()));
    }
    value
}

/// As text if it is one, else in base64.
pub(super) fn body(bytes: &[u8]) -> Map<String, Value> {
    let (name, text) = match std::str::from_utf8(bytes) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("body_base64", base64::encode(bytes)),
    };
    Map::from_iter([(name.to_owned(), Value::String(text))])
}

/// Name and value of each, since names may come twice.
pub(super) fn headers(headers: &http::HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

fn as_text(response: &StoredResponse, output: &mut Output) -> Result<(), Failure> {
    let request = response.request();
    output.text(&format!("{} {}", request.method(), request.url()))?;
    for (name, value) in headers(request.headers()) {
        output.text(&format!("  {name}: {value}"))?;
    }
    output.text("")?;
    if response.url() != request.url() {
        output.text(response.url())?;
    }
    output.text(&format!("{} {}", response.status().as_u16(), response.reason()))?;
    for (name, value) in headers(response.headers()) {
        output.text(&format!("  {name}: {value}"))?;
    }
    let expires = response.expires_at().map_or_else(|| "never".to_owned(), shown);
    let note = if response.is_expired(SystemTime::now()) { " (expired)" } else { "" };
    output.text("")?;
    output.text(&format!(
        "received {}, expires {expires}{note}, {}",
        shown(response.created_at()),
        size(response.bytes().len() as u64)
    ))
}
