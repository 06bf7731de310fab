//! The store on a MongoDB server.

use super::DictStore;
use crate::{
    Error, ErrorKind, Result,
    dict::{MongoConnections, MongoDict},
};

impl DictStore {
    /// A store on a MongoDB server: the collections `responses` and `aliases` of the database NAME, with a TTL index
    /// for what may be dropped.
    ///
    /// A batch is atomic for each key alone, as is said at [`DictStore`]. Bodies are up to 4 GiB less their heads; long
    /// ones are cut into chunks. Nothing is connected before it is needed.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that MongoDB does not take for a database.
    pub fn mongo(connections: impl Into<MongoConnections>, name: &str) -> Result<Self> {
        const NOT_IN_NAMES: &[char] = &['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0'];
        if name.is_empty() || name.len() > 63 || name.contains(NOT_IN_NAMES) {
            let message = "the name of a MongoDB database is 1 to 63 bytes long, without spaces and any of \
                           /\\.\"$*<>:|?; choose another name for the cache";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let connections = connections.into();
        let responses = MongoDict::named(connections.clone(), name, "responses");
        Ok(Self::new(responses, MongoDict::named(connections, name, "aliases")))
    }
}
