//! Opens the store of a session, wherever it is.

use std::{path::Path, sync::Arc, time::Duration};

use super::{
    Backend,
    backend::{file_path, open_log},
    read_only::ReadOnly,
    settings::Settings,
};
use crate::{
    Error, ErrorKind, Result,
    log::{Log, Options},
    policy::requests_cache::KeyRules,
    store::{MemoryStore, Store},
};

/// How servers are reached.
#[derive(Clone, Default)]
pub(super) struct Servers {
    pub(super) redis_url: Option<String>,
    pub(super) mongo_uri: Option<String>,
    pub(super) timeout: Option<Duration>,
    pub(super) pool_size: Option<u32>,
}

impl Servers {
    /// Fails with `NotBuiltIn` for a server that this build cannot ask.
    pub(super) fn check(&self) -> Result<()> {
        for (what, feature, asked, built_in) in [
            ("redis_url", "redis", self.redis_url.is_some(), cfg!(feature = "redis")),
            ("mongo_uri", "mongodb", self.mongo_uri.is_some(), cfg!(feature = "mongodb")),
        ] {
            if asked && !built_in {
                let message = format!("{what}(..) needs the feature `{feature}`, which is not compiled in");
                return Err(Error::new(ErrorKind::NotBuiltIn, message));
            }
        }
        Ok(())
    }
}

/// What a store is opened by.
pub(super) struct Place<'a> {
    pub(super) name: &'a Path,
    pub(super) location: Option<&'a Path>,
    pub(super) extension: Option<&'a str>,
    pub(super) log: &'a Options,
    pub(super) servers: &'a Servers,
    pub(super) settings: &'a Settings,
    /// The keys of requests-cache, if it is its documents that are stored.
    pub(super) shared_with: Option<&'a KeyRules>,
}

impl Place<'_> {
    /// The store, and the log in it if it is one.
    pub(super) fn open(&self, backend: &Backend) -> Result<(Arc<dyn Store>, Option<Log>)> {
        if self.shared_with.is_some() && !backend.is_shared_with_python() {
            let message =
                format!("serializer: the documents of requests-cache are kept in sqlite or redis, not in {backend}");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let store = match backend {
            Backend::Log | Backend::LogAt(_) => {
                let path = match backend {
                    Backend::LogAt(path) => file_path(path, self.location, "")?,
                    _ => file_path(self.name, self.location, self.extension.unwrap_or("larder"))?,
                };
                let store = open_log(&path, self.log.clone(), self.settings)?;
                let log = store.log().clone();
                return Ok((Arc::new(store), Some(log)));
            }
            Backend::Memory => Arc::new(MemoryStore::new()),
            Backend::Custom(store) => Arc::clone(store),
            Backend::Sqlite => {
                self.open_sqlite(&file_path(self.name, self.location, self.extension.unwrap_or("sqlite"))?)?
            }
            Backend::SqliteAt(path) => self.open_sqlite(&file_path(path, self.location, "")?)?,
            Backend::Redis => self.open_redis(self.servers.redis_url.as_deref())?,
            Backend::RedisAt(url) => self.open_redis(Some(url))?,
            Backend::Mongo => self.open_mongo(self.servers.mongo_uri.as_deref())?,
            Backend::MongoAt(uri) => self.open_mongo(Some(uri))?,
        };
        Ok((if self.settings.read_only { Arc::new(ReadOnly(store)) } else { store }, None))
    }

    #[cfg(feature = "sqlite")]
    fn open_sqlite(&self, path: &Path) -> Result<Arc<dyn Store>> {
        use super::backend::{create_folder_of, nothing_recorded};
        use crate::dict::SqliteOptions;

        let read_only = self.settings.read_only;
        if read_only && matches!(path.try_exists(), Ok(false)) {
            return Err(nothing_recorded(path, self.settings));
        }
        if !read_only {
            create_folder_of(path)?;
        }
        let options = SqliteOptions::new().fast_save(self.log.is_fast_save()).read_only(read_only);
        match self.shared_with {
            Some(rules) => super::shared::open_sqlite(path, &options, read_only, rules),
            None => Ok(Arc::new(crate::store::DictStore::sqlite(path, &options)?)),
        }
    }

    #[cfg(not(feature = "sqlite"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    fn open_sqlite(&self, _path: &Path) -> Result<Arc<dyn Store>> {
        Err(not_built_in("sqlite"))
    }

    #[cfg(feature = "redis")]
    fn open_redis(&self, url: Option<&str>) -> Result<Arc<dyn Store>> {
        use crate::dict::{RedisConnections, RedisOptions};

        let mut options = RedisOptions::new();
        if let Some(limit) = self.servers.timeout {
            options = options.timeout(limit);
        }
        if let Some(size) = self.servers.pool_size {
            options = options.pool_size(size.try_into().unwrap_or(usize::MAX));
        }
        let connections = RedisConnections::open(url.unwrap_or("redis://127.0.0.1:6379/0"), &options)?;
        let name = self.last_of_name()?;
        Ok(match self.shared_with {
            Some(rules) => super::shared::open_redis(&connections, &name, rules),
            None => Arc::new(crate::store::DictStore::redis(connections, &name)),
        })
    }

    /// What the cache is called on a server: the last component of its name.
    #[cfg(any(feature = "redis", feature = "mongodb"))]
    fn last_of_name(&self) -> Result<String> {
        let name = self.name.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        name.ok_or_else(|| {
            let message = "the name of a cache on a server is text without slashes at its end, such as `cache`";
            Error::new(ErrorKind::InvalidInput, message).with_path(self.name)
        })
    }

    #[cfg(not(feature = "redis"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    fn open_redis(&self, _url: Option<&str>) -> Result<Arc<dyn Store>> {
        Err(not_built_in("redis"))
    }

    #[cfg(feature = "mongodb")]
    fn open_mongo(&self, uri: Option<&str>) -> Result<Arc<dyn Store>> {
        use crate::dict::{MongoConnections, MongoOptions};

        let mut options = MongoOptions::new();
        if let Some(limit) = self.servers.timeout {
            options = options.timeout(limit);
        }
        if let Some(size) = self.servers.pool_size {
            options = options.pool_size(size);
        }
        let connections = MongoConnections::open(uri.unwrap_or("mongodb://127.0.0.1:27017"), &options)?;
        Ok(Arc::new(crate::store::DictStore::mongo(connections, &self.last_of_name()?)?))
    }

    #[cfg(not(feature = "mongodb"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    fn open_mongo(&self, _uri: Option<&str>) -> Result<Arc<dyn Store>> {
        Err(not_built_in("mongodb"))
    }
}

#[cfg(not(all(feature = "sqlite", feature = "redis", feature = "mongodb")))]
fn not_built_in(backend: &str) -> Error {
    let message = format!(
        "the backend {backend} is not part of this build; add the feature `{backend}` of larder, or use log or memory"
    );
    Error::new(ErrorKind::NotBuiltIn, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_need_their_feature() {
        let redis = Servers { redis_url: Some("redis://h".to_owned()), ..Servers::default() };
        let mongo = Servers { mongo_uri: Some("mongodb://h".to_owned()), ..Servers::default() };
        for (servers, built_in) in
            [(Servers::default(), true), (redis, cfg!(feature = "redis")), (mongo, cfg!(feature = "mongodb"))]
        {
            let error = servers.check().err().map(|error| error.kind());
            assert_eq!(error, if built_in { None } else { Some(ErrorKind::NotBuiltIn) });
        }
    }
}
