//! The store on a Redis server or a cluster.

use super::DictStore;
use crate::dict::{RedisConnections, RedisDict, RedisStrings};

impl DictStore {
    /// A store on a Redis server: a string `NAME:KEY` for each response and each piece of bookkeeping, with the time
    /// to live of what may be dropped, and a hash `NAME:aliases`.
    ///
    /// A batch is one script, and so atomic. In a cluster, which spreads the strings over its nodes, it is so for each
    /// key alone, as is said at [`DictStore`]. Where the server evicts (`maxmemory-policy`), whatever it evicts is
    /// absent from then on. Bodies are up to 512 MiB less their heads. Counting and listing scan all keys of the
    /// server's database.
    ///
    /// Nothing is connected before it is needed.
    pub fn redis(connections: impl Into<RedisConnections>, name: &str) -> Self {
        let connections = connections.into();
        let responses = RedisStrings::new(connections.clone(), name);
        let aliases = RedisDict::with_key(connections, format!("{name}:aliases"));
        Self::new(responses, aliases).with_aux_among_responses()
    }
}
