//! One hash.

use super::{
    batch::{Place, apply},
    connections::{RedisConnections, RedisOptions},
    strings::RedisStrings,
};
use crate::{
    Result,
    dict::{Change, Dict, interface::check_sizes},
};
use bytes::Bytes;
use redis::{Cmd, cmd};
use std::{any::Any, fmt};

/// The server of those who name none.
pub(crate) const URL: &str = "redis://127.0.0.1:6379/0";

/// The namespace unless another is given.
const NAMESPACE: &str = "requests-cache";

/// The name of the hash in it unless another is given.
const COLLECTION: &str = "redis_dict_data";

/// The largest string of Redis.
pub(super) const VALUE_MAX: u64 = (512 << 20) - 1;

/// A [`Dict`] in one hash on a Redis server, under the key `NAMESPACE:COLLECTION`.
///
/// A batch is one script, and so atomic, in a cluster too, where a hash is on one node. A hash does not drop single
/// fields: what may be dropped stays until it is removed. Values are up to 512 MiB. Listing reads all field names.
///
/// ```no_run
/// use larder::dict::{Dict, RedisConnections, RedisDict, RedisOptions};
///
/// let server = RedisConnections::open("redis://127.0.0.1:6379/0", &RedisOptions::new())?;
/// let dict = RedisDict::named(server, "my-namespace", "fruit");
/// dict.insert(b"apple", b"red", None)?; // HSET my-namespace:fruit apple red
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone)]
pub struct RedisDict {
    connections: RedisConnections,
    key: Vec<u8>,
}

impl RedisDict {
    /// The hash `requests-cache:redis_dict_data` on the server at 127.0.0.1:6379.
    ///
    /// # Errors
    /// None: nothing is connected before it is needed.
    pub fn open() -> Result<Self> {
        Ok(Self::new(RedisConnections::open(URL, &RedisOptions::new())?, NAMESPACE))
    }

    /// The hash `redis_dict_data` of a namespace, on a server that is named already: [`RedisConnections`], or a client
    /// or pool of your own.
    #[must_use]
    pub fn new(connections: impl Into<RedisConnections>, namespace: &str) -> Self {
        Self::named(connections, namespace, COLLECTION)
    }

    /// A hash of a namespace.
    #[must_use]
    pub fn named(connections: impl Into<RedisConnections>, namespace: &str, collection: &str) -> Self {
        Self::with_key(connections, format!("{namespace}:{collection}"))
    }

    /// The hash under a key.
    pub(crate) fn with_key(connections: impl Into<RedisConnections>, key: impl Into<Vec<u8>>) -> Self {
        Self { connections: connections.into(), key: key.into() }
    }

    pub(super) fn connections(&self) -> &RedisConnections {
        &self.connections
    }

    pub(super) fn get_command(&self, key: &[u8]) -> Cmd {
        let mut get = cmd("HGET");
        get.arg(&self.key).arg(key);
        get
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place::Hash(&self.key)
    }
}

impl Dict for RedisDict {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value: Option<Vec<u8>> = self.connections.run(|lent| self.get_command(key).query(lent.link()))?;
        Ok(value.map(Bytes::from))
    }

    fn batch(&self, changes: &[Change<'_>]) -> Result<bool> {
        check_sizes(changes, VALUE_MAX, "Redis")?;
        apply(&self.connections, &[(self.place(), changes)])
    }

    fn keys(&self) -> Result<Vec<Bytes>> {
        let keys: Vec<Vec<u8>> = self.connections.run(|lent| cmd("HKEYS").arg(&self.key).query(lent.link()))?;
        let mut keys: Vec<_> = keys.into_iter().map(Bytes::from).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    fn len(&self) -> Result<u64> {
        self.connections.run(|lent| cmd("HLEN").arg(&self.key).query(lent.link()))
    }

    fn clear(&self) -> Result<()> {
        self.connections.run(|lent| cmd("DEL").arg(&self.key).exec(lent.link()))
    }

    fn is_atomic(&self) -> bool {
        true
    }

    fn batch_with(&self, changes: &[Change<'_>], other: &dyn Dict, others: &[Change<'_>]) -> Result<Option<bool>> {
        let other: &dyn Any = other;
        let place = if let Some(other) = other.downcast_ref::<Self>() {
            (other.connections(), other.place())
        } else if let Some(other) = other.downcast_ref::<RedisStrings>() {
            (other.connections(), other.place())
        } else {
            return Ok(None);
        };
        together(&self.connections, (self.place(), changes), place, others)
    }

    fn prefixes(&self, keys: &[&[u8]], len: usize) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let values: Vec<Option<Vec<u8>>> =
            self.connections.run(|lent| cmd("HMGET").arg(&self.key).arg(keys).query(lent.link()))?;
        let prefix = |mut value: Vec<u8>| {
            value.truncate(len);
            Bytes::from(value)
        };
        Ok(values.into_iter().map(|value| value.map(prefix)).collect())
    }

    fn max_value(&self) -> u64 {
        VALUE_MAX
    }
}

impl fmt::Debug for RedisDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = String::from_utf8_lossy(&self.key);
        f.debug_struct("RedisDict").field("connections", &self.connections).field("key", &key).finish()
    }
}

/// Changes in two places of one server as one script; `None` if they are not of one.
pub(super) fn together(
    connections: &RedisConnections,
    (place, changes): (Place<'_>, &[Change<'_>]),
    (other, other_place): (&RedisConnections, Place<'_>),
    others: &[Change<'_>],
) -> Result<Option<bool>> {
    if !connections.same_as(other) || connections.is_cluster() {
        return Ok(None);
    }
    check_sizes(changes, VALUE_MAX, "Redis")?;
    check_sizes(others, VALUE_MAX, "Redis")?;
    apply(connections, &[(place, changes), (other_place, others)]).map(Some)
}
