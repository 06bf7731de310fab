//! Where a session keeps its responses: the choice by name, and the place of a file.

use std::{
    env, fmt, fs, mem,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{cache::Books, settings::Settings};
use crate::{
    Error, ErrorKind, Mode, Result,
    log::{OnDamage, Options},
    store::{LogStore, Store},
};

/// Where a session keeps its responses.
///
/// It can be read from a setting: by its name (`log`, `memory`, `sqlite`, `redis`, `mongodb`), or by a name and a place
/// (`log:PATH`, `sqlite:PATH`, `redis://HOST:PORT/DB`, `redis-cluster://HOST:PORT,HOST:PORT`, `mongodb://HOST:PORT`).
///
/// ```
/// use larder::Backend;
///
/// assert_eq!("memory".parse::<Backend>()?, Backend::Memory);
/// assert_eq!("sqlite:dir/cache.sqlite".parse::<Backend>()?.to_string(), "sqlite:dir/cache.sqlite");
/// assert!("sqlite3".parse::<Backend>().unwrap_err().to_string().contains("log, memory, sqlite, redis, mongodb"));
/// assert_eq!(serde_json::from_str::<Backend>("\"log\"")?.to_string(), "log");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Backend {
    /// One file on disk, `NAME.larder`, which survives the process and is shared with others. The default.
    #[default]
    Log,
    /// The memory of the process: gone with the last clone of the session.
    Memory,
    /// An SQLite file, `NAME.sqlite`, with the tables of Python's requests-cache; feature `sqlite`.
    Sqlite,
    /// A Redis server ([`redis_url`](super::CachedSessionBuilder::redis_url)), in the keys `NAME:...`; feature
    /// `redis`. A cluster needs the feature `redis-cluster`.
    Redis,
    /// A MongoDB server ([`mongo_uri`](super::CachedSessionBuilder::mongo_uri)), in the database NAME; feature
    /// `mongodb`.
    Mongo,
    /// As [`Log`](Self::Log), in this file, whatever the name of the session.
    LogAt(PathBuf),
    /// As [`Sqlite`](Self::Sqlite), in this file, whatever the name of the session.
    SqliteAt(PathBuf),
    /// As [`Redis`](Self::Redis), on this server.
    RedisAt(String),
    /// As [`Mongo`](Self::Mongo), on this server.
    MongoAt(String),
    /// A store of your own; made by [`Backend::custom`].
    Custom(Arc<dyn Store>),
}

impl Backend {
    /// A store of your own, or one that several sessions share.
    pub fn custom(store: impl Store + 'static) -> Self {
        Self::Custom(Arc::new(store))
    }

    /// Whether requests-cache can keep its documents there as well.
    pub(super) fn is_shared_with_python(&self) -> bool {
        matches!(self, Self::Sqlite | Self::SqliteAt(_) | Self::Redis | Self::RedisAt(_))
    }

    /// The name, and the place if one was given.
    fn parts(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Log => ("log", None),
            Self::Memory => ("memory", None),
            Self::Sqlite => ("sqlite", None),
            Self::Redis => ("redis", None),
            Self::Mongo => ("mongodb", None),
            Self::LogAt(path) => ("log", Some(format!("log:{}", path.display()))),
            Self::SqliteAt(path) => ("sqlite", Some(format!("sqlite:{}", path.display()))),
            Self::RedisAt(url) => ("redis", Some(url.clone())),
            Self::MongoAt(uri) => ("mongodb", Some(uri.clone())),
            Self::Custom(_) => ("custom", None),
        }
    }
}

/// As it is written in a setting, without the credentials of a URL.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, place) = self.parts();
        f.write_str(&place.map_or_else(|| name.to_owned(), |place| without_credentials(&place)))
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom(store) => f.debug_tuple("Custom").field(store).finish(),
            _ => write!(f, "Backend({self})"),
        }
    }
}

/// Stores of your own are equal if they are the same one.
impl PartialEq for Backend {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::LogAt(a), Self::LogAt(b)) | (Self::SqliteAt(a), Self::SqliteAt(b)) => a == b,
            (Self::RedisAt(a), Self::RedisAt(b)) | (Self::MongoAt(a), Self::MongoAt(b)) => a == b,
            (Self::Custom(a), Self::Custom(b)) => Arc::ptr_eq(a, b),
            _ => mem::discriminant(self) == mem::discriminant(other),
        }
    }
}

impl Eq for Backend {}

impl FromStr for Backend {
    type Err = Error;

    /// Reads a name in any case, or a name and a place. Whether the backend is part of this build is seen when a
    /// session is built.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that is not known, or a place that is empty.
    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "log" | "larder" => return Ok(Self::Log),
            "memory" => return Ok(Self::Memory),
            "sqlite" => return Ok(Self::Sqlite),
            "redis" => return Ok(Self::Redis),
            "mongo" | "mongodb" => return Ok(Self::Mongo),
            _ => {}
        }
        let (scheme, place) = text.split_once(':').unwrap_or((text, ""));
        let scheme = scheme.to_ascii_lowercase();
        let server = place.strip_prefix("//").filter(|host| !host.is_empty());
        match (scheme.as_str(), server) {
            ("log", _) if !place.is_empty() => Ok(Self::LogAt(place.into())),
            ("sqlite", _) if !place.is_empty() => Ok(Self::SqliteAt(place.into())),
            ("redis" | "rediss" | "redis-cluster" | "redis+unix", Some(_)) => Ok(Self::RedisAt(text.to_owned())),
            ("mongodb" | "mongodb+srv", Some(_)) => Ok(Self::MongoAt(text.to_owned())),
            _ => {
                let name: String = without_credentials(text).chars().take(40).collect();
                let message = format!(
                    "there is no backend `{}`; known are log, memory, sqlite, redis, mongodb, and with a place \
                     log:PATH, sqlite:PATH, redis://HOST:PORT, redis-cluster://HOST:PORT,HOST:PORT, mongodb://HOST:PORT",
                    name.escape_debug()
                );
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }
}

/// The user and password of a URL are nobody's business.
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let hosts =
                authority.rsplit_once('@').map_or(authority.to_owned(), |(_, hosts)| format!("REDACTED@{hosts}"));
            format!("{scheme}://{hosts}{path}")
        }
        None => url.to_owned(),
    }
}

/// As its name or its place, so that a settings file can say `backend = "log"`.
impl<'de> Deserialize<'de> for Backend {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// As it is read; a URL with its credentials.
impl Serialize for Backend {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.parts() {
            ("custom", _) => Err(ser::Error::custom("a store of your own has no name to be written down")),
            (name, place) => serializer.serialize_str(place.as_deref().unwrap_or(name)),
        }
    }
}

/// The path of the file of a cache: the name, relative to the location, with the extension unless it has it already.
pub(super) fn file_path(name: &Path, location: Option<&Path>, extension: &str) -> Result<PathBuf> {
    let Some(file_name) = name.file_name() else {
        let message = "the name of a cache is the name of a file without its extension, such as `cache` or `dir/cache`";
        return Err(Error::new(ErrorKind::InvalidInput, message).with_path(name));
    };
    let extension = extension.trim_start_matches('.');
    let mut file_name = file_name.to_owned();
    if !extension.is_empty() && Path::new(&file_name).extension().is_none_or(|own| own != extension) {
        file_name.push(".");
        file_name.push(extension);
    }
    let path = name.with_file_name(file_name);
    Ok(location.map_or(path.clone(), |location| location.join(&path)))
}

/// Opens the file of a cache, and makes it and its folder unless it is only to be read.
///
/// A cache can be fetched again, so that a damaged one is put aside; not so if it is only read, or if every failure is
/// to be an error.
pub(super) fn open_log(path: &Path, options: Options, settings: &Settings) -> Result<LogStore> {
    let read_only = settings.read_only;
    if !read_only {
        create_folder_of(path)?;
    }
    let on_damage = if read_only || settings.strict { OnDamage::Error } else { OnDamage::Quarantine };
    let options = options.read_only(read_only).on_damage(on_damage).bookkeeping(Arc::new(Books));
    LogStore::open(path, options).map_err(|error| {
        let missing = read_only && error.kind() == ErrorKind::Io && matches!(path.try_exists(), Ok(false));
        if missing { nothing_recorded(path, settings).with_source(error) } else { error }
    })
}

/// The error of a file that would only be read, and is not there.
pub(super) fn nothing_recorded(path: &Path, settings: &Settings) -> Error {
    let offline = settings.rules.mode == Mode::Offline;
    let advice = if offline { "run once with Mode::Cache" } else { "run once without read_only" };
    Error::new(ErrorKind::Io, format!("nothing is recorded there yet; {advice}")).with_path(path)
}

/// Makes the folders that a file needs, for the user alone.
pub(super) fn create_folder_of(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| Error::io("create the folder of the cache", folder, error)),
        _ => Ok(()),
    }
}

/// The folder in which an application of this user may cache: of the XDG base directories, or Library/Caches.
pub(super) fn user_cache_dir(app: &str) -> Result<PathBuf> {
    if app.is_empty() || app.contains(['/', '\0']) || app.starts_with('.') {
        let message = "the name of the application becomes the name of a folder: no slashes, no leading dot";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("HOME");
    let base = if cfg!(target_os = "macos") {
        home.map(|home| home.join("Library/Caches"))
    } else {
        absolute("XDG_CACHE_HOME").or_else(|| home.map(|home| home.join(".cache")))
    };
    base.map(|base| base.join(app)).ok_or_else(|| {
        let message =
            "this user has no cache folder: neither XDG_CACHE_HOME nor HOME is an absolute path; use location(..)";
        Error::new(ErrorKind::InvalidInput, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_may_be_a_path_and_gets_its_extension_once() {
        for (name, location, want) in [
            ("cache", None, "cache.larder"),
            ("dir/cache", None, "dir/cache.larder"),
            ("v1.2", None, "v1.2.larder"),
            ("cache.larder", None, "cache.larder"),
            ("dir/cache", Some("/base"), "/base/dir/cache.larder"),
            ("/abs/cache", Some("/base"), "/abs/cache.larder"),
        ] {
            let path = file_path(Path::new(name), location.map(Path::new), "larder").unwrap();
            assert_eq!(path, Path::new(want), "{name}");
        }
        assert_eq!(file_path(Path::new("c"), None, ".http").unwrap(), Path::new("c.http"));
        assert_eq!(file_path(Path::new("c"), None, "").unwrap(), Path::new("c"));
        for name in ["", "/", "dir/.."] {
            assert_eq!(file_path(Path::new(name), None, "larder").unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn backends_are_read_by_name_and_by_place() {
        for text in [
            "log",
            "memory",
            "sqlite",
            "redis",
            "mongodb",
            "log:a/b.larder",
            "sqlite:/a/b.sqlite",
            "redis://h:1/2",
            "redis-cluster://a:1,b:2",
            "mongodb://h:1",
        ] {
            let backend = text.parse::<Backend>().unwrap();
            assert_eq!(backend.to_string(), text);
            assert_eq!(serde_json::to_string(&backend).unwrap(), format!("\"{text}\""));
        }
        assert_eq!("LOG".parse::<Backend>().unwrap(), Backend::Log);
        assert_eq!("mongo".parse::<Backend>().unwrap(), Backend::Mongo);
        assert_ne!("log:a".parse::<Backend>().unwrap(), Backend::LogAt("b".into()));
        let custom = Backend::custom(crate::store::MemoryStore::new());
        assert_eq!(custom, custom.clone());
        assert_ne!(custom, Backend::custom(crate::store::MemoryStore::new()));
        for text in ["", "logg", "log:", "sqlite:", "redis:", "redis://", "redis:6379", "mongodb://", "http://x"] {
            let error = text.parse::<Backend>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
            assert!(error.to_string().contains("log, memory, sqlite, redis, mongodb"), "{error}");
        }
    }

    #[test]
    fn the_credentials_of_a_server_are_written_into_settings_only() {
        let text = "redis://me:pass@word@host:1/0";
        let backend = text.parse::<Backend>().unwrap();
        assert_eq!(backend.to_string(), "redis://REDACTED@host:1/0");
        assert!(!format!("{backend:?}").contains("word"));
        assert_eq!(serde_json::to_string(&backend).unwrap(), format!("\"{text}\""));
        assert!(!"http://me:secret@host".parse::<Backend>().unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn the_name_of_an_application_cannot_lead_elsewhere() {
        for app in ["", "..", "a/b", "/etc"] {
            assert_eq!(user_cache_dir(app).unwrap_err().kind(), ErrorKind::InvalidInput, "{app}");
        }
    }
}
