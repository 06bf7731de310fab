//! Where a session keeps its responses: the choice by name, and the place of a file.

use std::{
    env, fmt, fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::settings::Settings;
use crate::{
    Error, ErrorKind, Mode, Result,
    log::{OnDamage, Options},
    store::{LogStore, Store},
};

/// Where a session keeps its responses.
///
/// It can be read from a setting by its name, which is what [`Display`](fmt::Display) shows:
///
/// ```
/// use larder::Backend;
///
/// assert_eq!("memory".parse::<Backend>()?.to_string(), "memory");
/// assert!("sqlite3".parse::<Backend>().unwrap_err().to_string().contains("log, memory"));
/// assert_eq!(serde_json::from_str::<Backend>("\"log\"")?.to_string(), "log");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Backend {
    /// One file on disk, which survives the process and is shared with others. The default.
    #[default]
    Log,
    /// The memory of the process: gone with the last clone of the session.
    Memory,
    /// A store of your own; made by [`Backend::custom`].
    Custom(Arc<dyn Store>),
}

impl Backend {
    /// A store of your own, or one that several sessions share.
    pub fn custom(store: impl Store + 'static) -> Self {
        Self::Custom(Arc::new(store))
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Memory => "memory",
            Self::Custom(_) => "custom",
        })
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("Log"),
            Self::Memory => f.write_str("Memory"),
            Self::Custom(store) => f.debug_tuple("Custom").field(store).finish(),
        }
    }
}

impl FromStr for Backend {
    type Err = Error;

    /// Reads a name in any case.
    ///
    /// # Errors
    ///
    /// [`NotBuiltIn`](ErrorKind::NotBuiltIn) for a backend that is not part of this build,
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that is not known.
    fn from_str(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "log" => Ok(Self::Log),
            "memory" => Ok(Self::Memory),
            "sqlite" | "redis" | "mongo" | "mongodb" => Err(Error::new(
                ErrorKind::NotBuiltIn,
                format!(
                    "the backend `{name}` is not part of this build; use log or memory, or give a store of your own"
                ),
            )),
            _ => {
                let name: String = name.chars().take(40).collect();
                let message = format!("there is no backend `{}`; known are log, memory", name.escape_debug());
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }
}

/// As its name, so that a settings file can say `backend = "log"`.
impl<'de> Deserialize<'de> for Backend {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Backend {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Custom(_) => Err(ser::Error::custom("a store of your own has no name to be written down")),
            Self::Log | Self::Memory => serializer.collect_str(self),
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
    let options = options.read_only(read_only).on_damage(on_damage);
    LogStore::open(path, options).map_err(|error| {
        if !(read_only && error.kind() == ErrorKind::Io && matches!(path.try_exists(), Ok(false))) {
            return error;
        }
        let advice = if settings.rules.mode == Mode::Offline {
            "run once with Mode::Cache"
        } else {
            "run once without read_only"
        };
        Error::new(ErrorKind::Io, format!("nothing is recorded there yet; {advice}")).with_path(path).with_source(error)
    })
}

/// Makes the folders that a file needs, for the user alone.
fn create_folder_of(path: &Path) -> Result<()> {
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
    fn backends_are_read_by_name() {
        for (name, kind) in [
            ("sqlite", ErrorKind::NotBuiltIn),
            ("Redis", ErrorKind::NotBuiltIn),
            ("mongo", ErrorKind::NotBuiltIn),
            ("mongodb", ErrorKind::NotBuiltIn),
            ("", ErrorKind::InvalidInput),
            ("logg", ErrorKind::InvalidInput),
        ] {
            assert_eq!(name.parse::<Backend>().unwrap_err().kind(), kind, "{name}");
        }
        assert!(matches!("LOG".parse(), Ok(Backend::Log)));
    }

    #[test]
    fn the_name_of_an_application_cannot_lead_elsewhere() {
        for app in ["", "..", "a/b", "/etc"] {
            assert_eq!(user_cache_dir(app).unwrap_err().kind(), ErrorKind::InvalidInput, "{app}");
        }
    }
}
