//! The settings of `get`: of the command line and the environment, then of a file, then defaults.

use crate::{args::SettingsArgs, failure::Failure, span::When};
use larder::{Backend, CachedSession, CachedSessionBuilder, KeyScheme, Serializer};
use serde::{Deserialize, Deserializer, de};
use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The name of the cache where none is given.
const NAME: &str = "cache";

/// What the file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    cache: Option<String>,
    backend: Option<Backend>,
    expire_after: Option<When>,
    urls: Option<Urls>,
    allowable_codes: Option<Vec<u16>>,
    allowable_methods: Option<Vec<String>>,
    headers: Option<toml::Table>,
    #[serde(deserialize_with = "crate::span::deserialize")]
    timeout: Option<Duration>,
    redirects: Option<usize>,
    cache_control: Option<bool>,
    always_revalidate: Option<bool>,
    #[serde(deserialize_with = "crate::span::deserialize")]
    stale_if_error: Option<Duration>,
    match_headers: Option<Vec<String>>,
    ignored_parameters: Option<Vec<String>>,
    fast_save: Option<bool>,
    share_across_credentials: Option<bool>,
    serializer: Option<Serializer>,
    key_scheme: Option<KeyScheme>,
}

/// Patterns in the order in which they stand in the file.
#[derive(Debug)]
struct Urls(Vec<(String, When)>);

impl Config {
    /// Of the file that is named, else of the first that is there.
    pub(crate) fn load(args: &SettingsArgs) -> Result<Self, Failure> {
        let Some(path) = args.config.clone().or_else(usual) else { return Ok(Self::default()) };
        let shown = path.display().to_string();
        let text = fs::read_to_string(&path).map_err(Failure::io(format!("read the settings in {shown}")))?;
        toml::from_str(&text).map_err(|error| {
            // As the error shows itself it repeats the line, which may hold a credential.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Failure::Usage(format!("the settings in {shown}, line {line}: {}", error.message()))
        })
    }

    /// A builder with all settings.
    pub(crate) fn builder(self, args: &SettingsArgs) -> Result<CachedSessionBuilder, Failure> {
        let named = args.backend.as_deref().map(str::parse).transpose()?.or(self.backend);
        let mut builder = match args.cache.as_ref().or(self.cache.as_ref()) {
            Some(place) => at(place, named)?,
            None => CachedSession::builder(NAME).in_user_cache_dir("larder").backend(named.unwrap_or_default()),
        };
        if let Some(expire) = args.expire().or(self.expire_after.map(|When(expire)| expire)) {
            builder = builder.expire_after(expire);
        }
        if let Some(Urls(urls)) = self.urls {
            builder = builder.urls_expire_after(urls.into_iter().map(|(pattern, When(expire))| (pattern, expire)));
        }
        if let Some(stale) = self.stale_if_error {
            builder = builder.stale_if_error(stale);
        }
        if let Some(names) = self.match_headers {
            builder = builder.match_headers(names);
        }
        if let Some(names) = self.ignored_parameters {
            builder = builder.ignored_parameters(names);
        }
        builder = builder.cache_control(self.cache_control.unwrap_or(false));
        builder = builder.always_revalidate(self.always_revalidate.unwrap_or(false));
        if let Some(codes) = self.allowable_codes {
            builder = builder.allowable_codes(codes);
        }
        if let Some(methods) = self.allowable_methods {
            builder = builder.allowable_methods(methods);
        }
        for (name, value) in self.headers.unwrap_or_default() {
            let Some(value) = value.as_str() else {
                return Err(Failure::Usage(format!("the settings: the header {name} is not a text")));
            };
            builder = builder.header(name, value);
        }
        if let Some(timeout) = args.timeout.or(self.timeout) {
            builder = builder.timeout(timeout);
        }
        if let Some(redirects) = self.redirects {
            builder = builder.redirects(redirects);
        }
        builder = builder.fast_save(self.fast_save.unwrap_or(false));
        builder = builder.share_across_credentials(self.share_across_credentials.unwrap_or(false));
        builder = builder.serializer(self.serializer.unwrap_or_default());
        Ok(builder.key_scheme(self.key_scheme.unwrap_or_default()))
    }
}

/// A builder for a place. A backend that was named says what a path is.
fn at(place: &str, named: Option<Backend>) -> Result<CachedSessionBuilder, Failure> {
    let (address, name) = match place.split_once("://").and_then(|_| place.rsplit_once('#')) {
        Some((address, name)) => (address, name),
        None => (place, NAME),
    };
    let is_path = !address.contains(':');
    let backend = match named {
        Some(Backend::Log) if is_path => Backend::LogAt(address.into()),
        Some(Backend::Sqlite) if is_path => Backend::SqliteAt(address.into()),
        // The place is the name of the cache there.
        Some(backend) if is_path => return Ok(CachedSession::builder(address).backend(backend)),
        _ => Backend::at(address)?,
    };
    Ok(CachedSession::builder(name).backend(backend))
}

/// Where settings usually are.
fn usual() -> Option<PathBuf> {
    let folder = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".config")));
    let users = folder.map(|folder| folder.join("larder/config.toml"));
    [Some(Path::new("larder.toml").to_owned()), users].into_iter().flatten().find(|path| path.is_file())
}

impl<'de> Deserialize<'de> for Urls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> de::Visitor<'de> for Table {
            type Value = Urls;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table of patterns, each with the time of its expiry")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Urls, A::Error> {
                let mut urls = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    urls.push(entry);
                }
                Ok(Urls(urls))
            }
        }
        deserializer.deserialize_map(Table)
    }
}
