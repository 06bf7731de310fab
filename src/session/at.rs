//! Opens the cache in a place that is given by one text, whatever is there.

use std::{fs::File, io::Read, path::Path};

use super::{Backend, Cache, CachedSession};
use crate::{Error, ErrorKind, Result};

/// How an SQLite file begins.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// The name of a cache on a server, unless the place says another.
const NAME: &str = "cache";

impl Cache {
    /// Opens the cache in a place, and makes it if there is none: a path of a file, `log:PATH`, `sqlite:PATH`,
    /// `redis://HOST:PORT/DB#NAME` or `mongodb://HOST:PORT#NAME` (`cache` unless a name is given).
    ///
    /// What a path leads to is seen by its first bytes; a new file is an SQLite file if it ends in `.sqlite` or `.db`,
    /// else a log. A cache of Python's requests-cache is seen by what is in it: documents of `serializer='json'` are
    /// read and written; pickles, its default for SQLite and Redis, are read, and nothing in them is run.
    ///
    /// ```
    /// # fn main() -> larder::Result<()> {
    /// # let folder = std::env::temp_dir().join(format!("larder-doc-open-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder).unwrap();
    /// # let path = folder.join("cache.larder");
    /// let cache = larder::Cache::open(path.to_str().unwrap())?;
    /// assert!(cache.is_empty()?);
    /// # drop(cache);
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`CachedSessionBuilder::build`](crate::CachedSessionBuilder::build).
    pub fn open(place: impl AsRef<str>) -> Result<Self> {
        open(place.as_ref(), false)
    }

    /// The same of a cache that is there already and only looked at: nothing is written, no lock is taken, and a
    /// program that writes to it meanwhile is not held up.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`Io`](ErrorKind::Io) if there is none.
    pub fn open_read_only(place: impl AsRef<str>) -> Result<Self> {
        open(place.as_ref(), true)
    }
}

impl Backend {
    /// The backend of a place as [`Cache::open`] takes it: a path is that of a log or of an SQLite file, by what is
    /// there, or else by its name.
    ///
    /// ```
    /// use larder::Backend;
    ///
    /// assert_eq!(Backend::at("dir/new.larder")?.to_string(), "log:dir/new.larder");
    /// assert_eq!(Backend::at("dir/new.sqlite")?.to_string(), "sqlite:dir/new.sqlite");
    /// # Ok::<(), larder::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it is empty, or a URL of a scheme that is not known.
    pub fn at(place: impl AsRef<str>) -> Result<Self> {
        backend(split_name(place.as_ref()).0)
    }
}

fn open(place: &str, read_only: bool) -> Result<Cache> {
    let (place, name) = split_name(place);
    let backend = backend(place)?;
    let builder = CachedSession::builder(name).read_only(read_only).strict(true);
    #[cfg(any(feature = "sqlite", feature = "redis"))]
    let builder = if is_of_python(&backend, name, read_only)? {
        builder.serializer(super::Serializer::Json).key_scheme(super::KeyScheme::RequestsCache)
    } else {
        builder
    };
    Ok(builder.backend(backend).build()?.cache().clone())
}

/// The name of a cache on a server stands behind `#`.
fn split_name(place: &str) -> (&str, &str) {
    match place.split_once("://").and_then(|_| place.rsplit_once('#')) {
        Some((place, name)) if !name.is_empty() => (place, name),
        _ => (place, NAME),
    }
}

fn backend(place: &str) -> Result<Backend> {
    // A file may be called `redis`, and nobody can mean the store of a session that has no name.
    if place.contains(':')
        && let Ok(backend) = place.parse::<Backend>()
    {
        return Ok(backend);
    }
    if place.contains("://") {
        return place.parse();
    }
    if place.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "the place of a cache is a path or a URL, and not empty"));
    }
    let path = Path::new(place);
    let mut first = [0; 16];
    let is_sqlite = match File::open(path).and_then(|mut file| file.read_exact(&mut first)) {
        Ok(()) => first == *SQLITE,
        Err(_) => matches!(path.extension().and_then(|end| end.to_str()), Some("sqlite" | "sqlite3" | "db")),
    };
    Ok(if is_sqlite { Backend::SqliteAt(path.to_owned()) } else { Backend::LogAt(path.to_owned()) })
}

/// Whether what is there was stored by requests-cache.
#[cfg(any(feature = "sqlite", feature = "redis"))]
fn is_of_python(backend: &Backend, name: &str, read_only: bool) -> Result<bool> {
    // Only servers have caches by name, and only files something to be taken back.
    let _ = (name, read_only);
    match backend {
        #[cfg(feature = "sqlite")]
        Backend::SqliteAt(path) if path.exists() => super::shared::is_of_python(path, read_only),
        #[cfg(feature = "redis")]
        Backend::RedisAt(url) => super::shared::is_of_python_redis(url, name),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_or_a_url_with_a_name() {
        for (place, want, name) in [
            ("dir/cache.larder", "log:dir/cache.larder", "cache"),
            ("redis", "log:redis", "cache"),
            ("new.sqlite", "sqlite:new.sqlite", "cache"),
            ("log:new.sqlite", "log:new.sqlite", "cache"),
            ("sqlite:x", "sqlite:x", "cache"),
            ("a#b", "log:a#b", "cache"),
            ("redis://h:1/2#app", "redis://h:1/2", "app"),
            ("mongodb://h:1", "mongodb://h:1", "cache"),
        ] {
            let (rest, found) = split_name(place);
            assert_eq!((backend(rest).unwrap().to_string().as_str(), found), (want, name), "{place}");
        }
        for place in ["", "http://x", "redis://"] {
            assert_eq!(backend(place).unwrap_err().kind(), ErrorKind::InvalidInput, "{place}");
        }
    }
}
