//! A string for each key, so that a cluster spreads them and a server may drop them one by one.

use super::{
    batch::{Place, apply},
    connections::RedisConnections,
    hash::{RedisDict, VALUE_MAX, together},
};
use crate::{
    Error, ErrorKind, Result,
    dict::{
        Change, Dict, Expected, New,
        interface::{Values, check_sizes},
    },
};
use bytes::Bytes;
use redis::{FromRedisValue, cmd};
use std::{any::Any, fmt};

/// Keys that are asked for at once.
const AT_ONCE: usize = 1000;

/// A [`Dict`] in the strings `NAMESPACE:KEY`. Keys have no colon, so that a namespace may have one without being
/// mistaken for another. Values are dropped by the server. In a cluster a batch is atomic for each key alone.
#[derive(Clone)]
pub(crate) struct RedisStrings {
    connections: RedisConnections,
    /// The namespace and a colon.
    prefix: Vec<u8>,
}

impl RedisStrings {
    pub(crate) fn new(connections: impl Into<RedisConnections>, namespace: &str) -> Self {
        Self { connections: connections.into(), prefix: format!("{namespace}:").into_bytes() }
    }

    pub(super) fn connections(&self) -> &RedisConnections {
        &self.connections
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place::String(&self.prefix)
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    fn check(changes: &[Change<'_>]) -> Result<()> {
        if changes.iter().any(|change| change.key.contains(&b':')) {
            let message = "a key of a namespace on a Redis server has no colon";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        check_sizes(changes, VALUE_MAX, "Redis")
    }

    /// Checks first what is expected, and once more with each change.
    fn one_by_one(&self, changes: &[Change<'_>]) -> Result<bool> {
        for change in changes {
            let found = match change.expected {
                Expected::Any => continue,
                Expected::Value(_) => self.get(change.key)?,
                Expected::Prefix(prefix) => self.prefixes(&[change.key], prefix.len())?.pop().flatten(),
                Expected::Absent => self.prefixes(&[change.key], 0)?.pop().flatten(),
            };
            if !change.expected.holds_for(found.as_deref()) {
                return Ok(false);
            }
        }
        for (at, change) in changes.iter().enumerate().filter(|(_, change)| change.new != New::Keep) {
            // What an earlier change of this batch has made of the key is not what was expected.
            let again = changes[..at].iter().any(|before| before.key == change.key && before.new != New::Keep);
            let change = if again { change.expecting(Expected::Any) } else { *change };
            if !apply(&self.connections, &[(self.place(), &[change])])? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Dict for RedisStrings {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value: Option<Vec<u8>> = self.connections.run(|lent| cmd("GET").arg(self.key(key)).query(lent.link()))?;
        Ok(value.map(Bytes::from))
    }

    fn batch(&self, changes: &[Change<'_>]) -> Result<bool> {
        Self::check(changes)?;
        if self.connections.is_cluster() {
            return self.one_by_one(changes);
        }
        apply(&self.connections, &[(self.place(), changes)])
    }

    fn keys(&self) -> Result<Vec<Bytes>> {
        let pattern = [&glob_escaped(&self.prefix), &b"*"[..]].concat();
        let keys = self.connections.run(|lent| {
            lent.on_each_server(|query| {
                let (mut keys, mut cursor) = (Vec::new(), 0_u64);
                loop {
                    let mut scan = cmd("SCAN");
                    scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(AT_ONCE).arg("TYPE").arg("string");
                    let (next, some) = <(u64, Vec<Vec<u8>>)>::from_redis_value(query(&scan)?)?;
                    keys.extend(some);
                    if next == 0 {
                        return Ok(keys);
                    }
                    cursor = next;
                }
            })
        })?;
        let own = |key: Vec<u8>| Some(Bytes::from(key).slice(self.prefix.len()..)).filter(|key| !key.contains(&b':'));
        let mut keys: Vec<_> = keys.into_iter().filter_map(own).collect();
        // A scan may tell of a key twice.
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    fn len(&self) -> Result<u64> {
        Ok(self.keys()?.len() as u64)
    }

    fn clear(&self) -> Result<()> {
        for keys in self.keys()?.chunks(AT_ONCE) {
            self.connections.run(|lent| {
                let remove = |key: &Bytes| {
                    let mut command = cmd("DEL");
                    command.arg(self.key(key));
                    command
                };
                lent.many(keys.iter().map(remove).collect())
            })?;
        }
        Ok(())
    }

    fn is_atomic(&self) -> bool {
        !self.connections.is_cluster()
    }

    fn batch_with(&self, changes: &[Change<'_>], other: &dyn Dict, others: &[Change<'_>]) -> Result<Option<bool>> {
        let other: &dyn Any = other;
        let place = if let Some(other) = other.downcast_ref::<RedisDict>() {
            (other.connections(), other.place())
        } else if let Some(other) = other.downcast_ref::<Self>() {
            Self::check(others)?;
            (other.connections(), other.place())
        } else {
            return Ok(None);
        };
        Self::check(changes)?;
        together(&self.connections, (self.place(), changes), place, others)
    }

    /// In one round trip. In a cluster, to each of its nodes.
    fn get_with(&self, keys: &[&[u8]], other: &dyn Dict, others: &[&[u8]]) -> Result<Option<Values>> {
        let other = (other as &dyn Any).downcast_ref::<RedisDict>();
        let Some(other) = other.filter(|other| other.connections().same_as(&self.connections)) else {
            return Ok(None);
        };
        let get = |key: &&[u8]| {
            let mut get = cmd("GET");
            get.arg(self.key(key));
            get
        };
        let values = self.connections.run(|lent| {
            let commands = keys.iter().map(get).chain(others.iter().map(|key| other.get_command(key)));
            let values = lent.many(commands.collect())?.into_iter();
            values.map(Option::<Vec<u8>>::from_redis_value).collect::<Result<Vec<_>, _>>().map_err(Into::into)
        })?;
        let mut values: Vec<_> = values.into_iter().map(|value| value.map(Bytes::from)).collect();
        let others = values.split_off(keys.len().min(values.len()));
        Ok(Some((values, others)))
    }

    fn prefixes(&self, keys: &[&[u8]], len: usize) -> Result<Vec<Option<Bytes>>> {
        let mut prefixes = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let answers = self.connections.run(|lent| {
                let mut commands = Vec::with_capacity(2 * keys.len());
                for key in keys {
                    // The range of a key that is absent is as empty as that of an empty value.
                    let (mut range, mut exists) = (cmd("GETRANGE"), cmd("EXISTS"));
                    range.arg(self.key(key)).arg(0).arg(i64::try_from(len).unwrap_or(i64::MAX).saturating_sub(1));
                    exists.arg(self.key(key));
                    commands.extend([if len == 0 { exists.clone() } else { range }, exists]);
                }
                let answers = lent.many(commands)?.into_iter();
                answers.map(redis::Value::extract_error).collect::<redis::RedisResult<Vec<_>>>()
            })?;
            let mut answers = answers.into_iter();
            while let (Some(range), Some(exists)) = (answers.next(), answers.next()) {
                let bytes = if let redis::Value::BulkString(bytes) = range { bytes } else { Vec::new() };
                prefixes.push((exists != redis::Value::Int(0)).then(|| Bytes::from(bytes)));
            }
        }
        Ok(prefixes)
    }

    fn max_value(&self) -> u64 {
        VALUE_MAX
    }
}

impl fmt::Debug for RedisStrings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = String::from_utf8_lossy(&self.prefix);
        f.debug_struct("RedisStrings").field("connections", &self.connections).field("prefix", &prefix).finish()
    }
}

/// As the pattern of a scan that means just these bytes.
fn glob_escaped(bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^' | b'-') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_its_own_bytes() {
        assert_eq!(glob_escaped(b"a*[b]?\\:"), b"a\\*\\[b\\]\\?\\\\:");
    }
}
