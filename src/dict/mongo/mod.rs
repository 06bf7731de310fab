//! Dicts on a MongoDB server: a collection each.

mod connections;
mod dict;
mod document;
mod workers;

pub use connections::{MongoConnections, MongoOptions};
pub use dict::MongoDict;
