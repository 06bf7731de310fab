//! Opens caches that Python's requests-cache reads and writes as well.

use std::sync::Arc;

#[cfg(feature = "redis")]
use crate::dict::{RedisConnections, RedisDict, RedisOptions, RedisStrings};
#[cfg(feature = "sqlite")]
use crate::{
    ErrorKind,
    dict::{MemoryDict, SqliteConnection, SqliteDict, SqliteOptions},
};
use crate::{
    Result,
    dict::Dict,
    entry::{StoredRequest, pickle::is_pickle},
    policy::{
        requests_cache::{KeyRules, Keyed, PICKLE},
        vary::Vary,
    },
    store::{KeysOf, Lapse, SharedStore, Store},
};
use http::HeaderMap;
#[cfg(feature = "sqlite")]
use std::path::Path;

/// The tables `responses` and `redirects` as requests-cache has them, and one of ours beside them.
#[cfg(feature = "sqlite")]
pub(super) fn open_sqlite(
    path: &Path,
    options: &SqliteOptions,
    read_only: bool,
    rules: &KeyRules,
) -> Result<Arc<dyn Store>> {
    let responses = SqliteDict::open_table(path, "responses", options)?.text_values(true);
    responses.index_expires()?;
    let table = |name: &str| -> Result<Arc<dyn Dict>> {
        match responses.table(name) {
            Ok(dict) => Ok(Arc::new(dict.text_values(name == "redirects"))),
            // A table that is not there has nothing to be read.
            Err(error) if read_only && error.kind() == ErrorKind::ReadOnly => Ok(Arc::new(MemoryDict::new())),
            Err(error) => Err(error),
        }
    };
    let (redirects, lists) = (table("redirects")?, table("larder")?);
    Ok(Arc::new(SharedStore::new(Arc::new(responses), redirects, lists, Lapse::AtExpiry, keys_of(rules))))
}

/// The strings and the hash of requests-cache, and a hash of ours beside them.
#[cfg(feature = "redis")]
pub(super) fn open_redis(connections: &RedisConnections, name: &str, rules: &KeyRules) -> Arc<dyn Store> {
    let responses = Arc::new(RedisStrings::new(connections.clone(), name));
    let hash = |what: &str| Arc::new(RedisDict::with_key(connections.clone(), format!("{name}-{what}")));
    let (redirects, lists) = (hash("redirects"), hash("larder"));
    Arc::new(SharedStore::new(responses, redirects, lists, Lapse::HourAfter, keys_of(rules)))
}

/// Whether the first response of this name on a server was stored by requests-cache.
#[cfg(feature = "redis")]
pub(super) fn is_of_python_redis(url: &str, name: &str) -> Result<bool> {
    let responses = RedisStrings::new(RedisConnections::open(url, &RedisOptions::new())?, name);
    let keys = responses.keys()?;
    let Some(key) = keys.first() else { return Ok(false) };
    Ok(responses.prefixes(&[key], 2)?.pop().flatten().is_some_and(|first| is_document(&first)))
}

fn is_document(first: &[u8]) -> bool {
    first.starts_with(b"{") || is_pickle(first)
}

/// Whether the first response in a file was stored by requests-cache. Unless it is only to be looked at, SQLite takes back
/// what a program was changing when it died; before that nothing can be read.
#[cfg(feature = "sqlite")]
pub(super) fn is_of_python(path: &Path, read_only: bool) -> Result<bool> {
    let connection = SqliteConnection::open(path, &SqliteOptions::new().read_only(read_only))?;
    connection.with(|connection| {
        let sql = "SELECT substr(CAST(value AS BLOB), 1, 2) FROM responses LIMIT 1";
        // No such table, or nothing in it.
        let first: Vec<u8> = connection.query_row(sql, [], |row| row.get(0)).unwrap_or_default();
        is_document(&first)
    })
}

/// The keys that a stored request may have there: whether the certificate was verified is not stored with it, and what
/// was pickled has others. Behind them those of a variant, if there may be one.
fn keys_of(rules: &KeyRules) -> KeysOf {
    let pickled = KeyRules { serializer: PICKLE.to_owned(), ..rules.clone() };
    let rules = [rules.clone(), pickled];
    Arc::new(move |request: &StoredRequest, answer: &HeaderMap| {
        let (method, url, headers) = (&request.method, &request.url, &request.headers);
        let body = request.body.as_deref().unwrap_or_default();
        let ways = rules.iter().flat_map(|rules| [(rules, true), (rules, false)]);
        let ways = ways.map(|(rules, verify)| (rules, Keyed { method, url, headers, body, verify }));
        let mut keys: Vec<_> = ways.clone().filter_map(|(rules, keyed)| rules.key(&keyed)).collect();
        let vary = Vary::of(answer);
        if !vary.names().is_empty() {
            keys.extend(ways.filter_map(|(rules, keyed)| rules.variant_key(vary.names(), &keyed)));
        }
        keys
    })
}
