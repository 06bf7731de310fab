//! The settings of a session, one call each.

mod rules;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, Method, header::AUTHORIZATION};

use super::{
    Backend, Cache, CachedSession, KeyScheme, Response, Serializer, Timeout, Transport,
    auth::Auth,
    backend::user_cache_dir,
    cache::PartitionBy,
    client::UreqTransport,
    delivery::{Delivery, secret_value},
    headers::with_defaults,
    open::{Place, Servers},
    put_aside::PutAside,
    request::invalid,
    settings::Settings,
};
use crate::{
    Error, ErrorKind, Mode, Result,
    log::{self, SystemClock},
    policy::requests_cache::KeyRules,
    store::Store,
};

/// Builds a [`CachedSession`].
///
/// ```
/// use larder::{Backend, CachedSession, Expire};
/// use std::time::Duration;
///
/// # fn main() -> larder::Result<()> {
/// let session = CachedSession::builder("cache")
///     .backend(Backend::Memory)
///     .expire_after(Duration::from_secs(3600))
///     .allowable_codes([200, 404])
///     .timeout(Duration::from_secs(30))
///     .header("Accept-Language", "en")
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `build()`"]
pub struct CachedSessionBuilder {
    name: PathBuf,
    backend: Backend,
    location: Option<PathBuf>,
    extension: Option<String>,
    servers: Servers,
    log: log::Options,
    compress: bool,
    pub(super) settings: Settings,
    transport: Option<Arc<dyn Transport>>,
    pub(super) agent_config: Option<ureq::config::Config>,
    pub(super) trust_env: bool,
    error: Option<Error>,
}

impl CachedSessionBuilder {
    pub(super) fn new(name: &Path) -> Self {
        Self {
            name: name.to_owned(),
            backend: Backend::default(),
            location: None,
            extension: None,
            servers: Servers::default(),
            log: log::Options::new(),
            compress: false,
            settings: Settings::default(),
            transport: None,
            agent_config: None,
            trust_env: true,
            error: None,
        }
    }

    /// Where responses are kept: [`Backend::Log`], one file, unless set.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The folder that the name is relative to; the working directory unless set. It is made if missing (mode 0700).
    pub fn location(mut self, folder: impl AsRef<Path>) -> Self {
        self.location = Some(folder.as_ref().to_owned());
        self
    }

    /// Puts the file into the user's cache folder, in the folder of this application: `$XDG_CACHE_HOME/APP`, usually
    /// `~/.cache/APP`.
    pub fn in_user_cache_dir(mut self, app: impl AsRef<str>) -> Self {
        match user_cache_dir(app.as_ref()) {
            Ok(folder) => self.location = Some(folder),
            Err(error) => self.fail(error),
        }
        self
    }

    /// The extension of the file; `larder` or `sqlite` unless set, by the backend.
    pub fn extension(mut self, extension: impl Into<String>) -> Self {
        self.extension = Some(extension.into());
        self
    }

    /// Saves return without waiting for the disk: much faster, and a power cut may take the last of them. Off unless
    /// set. A log stays intact either way; an SQLite file may be damaged by that power cut.
    pub fn fast_save(mut self, fast: bool) -> Self {
        self.log = self.log.fast_save(fast);
        self
    }

    /// The server of [`Backend::Redis`], such as `redis://127.0.0.1:6379/0`, which is where it is unless set. User and
    /// password may stand before the host. Several addresses, parted by commas behind `redis-cluster://`, are nodes of
    /// a cluster (feature `redis-cluster`). Needs the feature `redis`.
    pub fn redis_url(mut self, url: impl Into<String>) -> Self {
        self.servers.redis_url = Some(url.into());
        self
    }

    /// The server of [`Backend::Mongo`]: a connection string such as `mongodb://127.0.0.1:27017`, which is where it is
    /// unless set. Needs the feature `mongodb`.
    pub fn mongo_uri(mut self, uri: impl Into<String>) -> Self {
        self.servers.mongo_uri = Some(uri.into());
        self
    }

    /// How long one operation waits for a Redis or MongoDB server: to connect, and for each answer; 3 seconds unless
    /// set. A server that has just kept somebody waiting that long is waited for a quarter of a second only, until
    /// it answers again, so that a request is held up once.
    pub fn store_timeout(mut self, limit: Duration) -> Self {
        self.servers.timeout = Some(limit);
        self
    }

    /// How many connections to a Redis or MongoDB server are open at most; 16 unless set.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.servers.pool_size = Some(connections);
        self
    }

    /// Bytes of memory for responses that are asked for often, with [`Backend::Log`]: 32 MiB unless set; 0 keeps none.
    ///
    /// A hit then reads and decodes nothing; what other processes store or delete is seen all the same. All sessions of
    /// a file in a process share it, and the first one decides; see
    /// [`memory_tier` of the log](crate::log::Options::memory_tier).
    pub fn memory_tier(mut self, bytes: u64) -> Self {
        self.log = self.log.memory_tier(bytes);
        self
    }

    /// Bytes that the file may take, with [`Backend::Log`]. No limit unless set; other backends have limits of their
    /// own, and refuse this one when the session is built.
    ///
    /// The file stays within this, 16 MiB and one response, by itself: responses that nobody has asked for lately are
    /// dropped, oldest first, with the redirects that lead to them. A response that alone is longer is handed out and
    /// not stored. [`CacheStats::evictions`](crate::CacheStats) counts what was dropped. See [`max_size` of the
    /// log](crate::log::Options::max_size) for when that happens and what several processes see.
    ///
    /// ```
    /// use larder::CachedSession;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let session = CachedSession::builder("cache").location(folder.path()).max_size(100 << 20).build()?;
    /// assert_eq!(session.cache().stats()?.evictions, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.log = self.log.max_size(bytes);
        self.settings.max_size = Some(bytes);
        self
    }

    /// Whether the file keeps bodies compressed (zstd) where that makes them clearly smaller, with [`Backend::Log`];
    /// other backends keep them as they are. Off unless set. Needs the feature `zstd`, else `build()` answers
    /// [`NotBuiltIn`](crate::ErrorKind::NotBuiltIn).
    ///
    /// Bodies that are compressed already, by their content coding or as images, audio and video are, stay as they are.
    /// What was stored before is read all the same; see [`compress` of the log](crate::log::Options::compress).
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self.log = self.log.compress(compress);
        self
    }

    /// Serves what is stored and never writes, not even the file's header. Off unless set.
    ///
    /// A file that has kept no credentials yet has no partitions: requests with credentials miss.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.settings.read_only = read_only;
        self
    }

    /// The largest body that `send()` reads, decoded, in bytes; 1 GiB unless set. A larger one is an error of `send()`
    /// and is not stored.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// What the session does with network and cache; [`Mode::Cache`] unless set.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.settings.rules.mode = mode;
        self
    }

    /// How long a request may take; no limit unless set.
    pub fn timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.settings.timeout = timeout.into();
        self
    }

    /// How many redirects are followed; 30 unless set. More are an error; with 0 the redirect itself is the answer.
    pub fn redirects(mut self, limit: usize) -> Self {
        self.settings.redirects = limit;
        self
    }

    /// Whether content codings are undone: gzip and deflate (the zlib format and the bare one) with the feature `gzip`,
    /// br with `brotli`, zstd with `zstd`, up to five one upon the other; yes unless set. With `false` bodies are
    /// stored and handed out as they came over the wire.
    ///
    /// `Accept-Encoding` says what is built in, unless the caller gives that header. A body in a coding that is not
    /// known is handed out, and stored, as it is from there on. It is an error if a body is not what its coding says,
    /// if it is cut short, and if it unpacks to more than both 64 MiB and 200 times its size.
    pub fn decode(mut self, decode: bool) -> Self {
        self.settings.decode = decode;
        self
    }

    pub(super) fn secret(mut self, value: String) -> Self {
        match secret_value(value) {
            Ok(value) => drop(self.settings.headers.insert(AUTHORIZATION, value)),
            Err(error) => self.fail(error),
        }
        self.settings.delivery.auth = None;
        self
    }

    pub(super) fn authenticated(mut self, auth: Auth) -> Self {
        self.settings.headers.remove(AUTHORIZATION);
        self.settings.delivery.auth = Some(auth);
        self
    }

    pub(super) fn delivery(&mut self) -> &mut Delivery {
        &mut self.settings.delivery
    }

    /// Names by hand who the responses are for, instead of telling by the credentials of each request: for tokens that
    /// change while their owner stays the same. The name is stored as a salted hash only. Headers that are named in
    /// [`match_headers`](Self::match_headers) tell requests apart all the same.
    pub fn partition(mut self, name: impl Into<String>) -> Self {
        self.settings.partition_by = PartitionBy::Name(name.into());
        self
    }

    /// Serves everyone what was fetched for anyone. Off unless set: a request with other credentials (such as
    /// `Authorization`, `Cookie` or an API key in the URL) gets an answer of its own.
    ///
    /// Headers that are named in [`match_headers`](Self::match_headers) tell users apart all the same.
    pub fn share_across_credentials(mut self, share: bool) -> Self {
        match &self.settings.partition_by {
            _ if share => self.settings.partition_by = PartitionBy::Nobody,
            PartitionBy::Nobody => self.settings.partition_by = PartitionBy::Credentials,
            PartitionBy::Credentials | PartitionBy::Name(_) => {}
        }
        self
    }

    /// The form in which responses are stored; [`Serializer::Bincode`] unless set.
    pub fn serializer(mut self, serializer: Serializer) -> Self {
        self.settings.serializer = serializer;
        self
    }

    /// What the keys of stored responses are made of; [`KeyScheme::Native`] unless set.
    pub fn key_scheme(mut self, scheme: KeyScheme) -> Self {
        self.settings.key_scheme = scheme;
        self
    }

    /// Adds a hook that sees every answer last, from the network and from the cache alike
    /// ([`from_cache`](Response::from_cache) tells), and may refuse it or give back another one. What it gives back is
    /// not stored.
    ///
    /// Hooks run in the order in which they were added, each with what the one before gave back; those of the request
    /// come after those of the session. They see one answer for each `send()`, after redirects. Of a stream they see
    /// the answer without its body, before that is read; if they give back another answer, its body takes the place of
    /// the one that came, which is then not stored.
    ///
    /// ```
    /// # use larder::{Backend, CachedSession};
    /// # fn main() -> larder::Result<()> {
    /// # let origin = |_: &http::Request<bytes::Bytes>| Ok(http::Response::new(Vec::new()));
    /// use std::{thread::sleep, time::Duration};
    ///
    /// let session = CachedSession::builder("cache")
    ///     .backend(Backend::Memory)
    ///     .transport(origin)
    ///     .on_response(|response| {
    ///         // Be kind to the server; what comes from the cache costs it nothing.
    ///         if !response.from_cache() {
    ///             sleep(Duration::from_millis(10));
    ///         }
    ///         Ok(response)
    ///     })
    ///     .build()?;
    /// # session.get("http://example.org/").send()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_response(mut self, hook: impl Fn(Response) -> Result<Response> + Send + Sync + 'static) -> Self {
        self.settings.on_response.add(hook);
        self
    }

    /// Whether identical requests that are made at the same time, from several threads, are sent once; yes unless set.
    ///
    /// The first one is sent. The others wait, and are answered with what it stored; if it fails or its answer may not
    /// be stored, they are all sent at once.
    ///
    /// Requests are identical if they have the same key and the same partition. Once an answer has said by which
    /// headers it varies, they must have the same variant too: of those that have waited for an answer that is for
    /// others, one is sent for each variant. If the answers to these name other headers again, all that still wait are
    /// sent.
    ///
    /// Those that are made while the body of a [stream](super::RequestBuilder::send_stream) is being read are answered
    /// with the same body, each at its own pace, if all of their headers are the same too and less than 4 MiB of it was
    /// read or somebody follows already; else they are sent. What is shared and larger than that goes through a
    /// temporary file.
    ///
    /// A wait ends with the time-out of whoever waits: with the total an error, with those to connect and between two
    /// reads the request is sent after all.
    pub fn single_flight(mut self, single_flight: bool) -> Self {
        self.settings.single_flight = single_flight;
        self
    }

    /// Is told of every failure of the store, which otherwise is only counted: requests go on without the cache.
    pub fn on_store_error(mut self, hook: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.settings.on_store_error = Some(Arc::new(hook));
        self
    }

    /// Makes a failure of the store an error of `send()`, and a damaged file one of `build()`, where otherwise it is
    /// put aside. Off unless set.
    pub fn strict(mut self, strict: bool) -> Self {
        self.settings.strict = strict;
        self
    }

    /// Sends requests with something else than the built-in client.
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Opens the store and makes the session.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a setting that cannot be; what opening the file meets:
    /// [`NotALarder`](crate::ErrorKind::NotALarder), [`NewerFormat`](crate::ErrorKind::NewerFormat),
    /// [`Busy`](crate::ErrorKind::Busy), [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Io`](crate::ErrorKind::Io);
    /// [`NotBuiltIn`](crate::ErrorKind::NotBuiltIn) for a backend or a setting whose feature is missing. A server is
    /// not asked before the first request.
    pub fn build(mut self) -> Result<CachedSession> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        self.check()?;
        // A recording is replayed as it is: whatever happens, it stays that way.
        self.settings.read_only |= self.settings.rules.mode == Mode::Offline;
        self.take_environment();
        let settings = &self.settings;
        self.settings.plain =
            settings.delivery.is_plain() && settings.environment.netrc.is_none() && !settings.has_jar();
        self.settings.plain_headers = Arc::new(with_defaults(HeaderMap::new(), &self.settings, &[]));
        let rules = self.settings.foreign_keys();
        let (store, put_aside) = self.open(rules.as_ref())?;
        let cache = Cache::new(store, Arc::new(SystemClock))?.with_foreign_keys(rules);
        let cache = cache.ignoring(Arc::clone(&self.settings.ignored));
        let transport = self.transport.unwrap_or_else(|| Arc::new(UreqTransport::new(self.agent_config)));
        Ok(CachedSession::assemble(self.settings, cache, transport, put_aside))
    }

    /// What can never come true is a mistake.
    fn check(&self) -> Result<()> {
        if self.compress && !cfg!(feature = "zstd") {
            let message = "compress: this build cannot; build larder with the feature `zstd`";
            return Err(Error::new(ErrorKind::NotBuiltIn, message));
        }
        self.settings.delivery.check()?;
        self.servers.check()?;
        let rules = &self.settings.rules;
        if self.settings.max_size.is_some() && !matches!(self.backend, Backend::Log | Backend::LogAt(_)) {
            let message = format!("max_size: the backend {} has no such limit; use Backend::Log", self.backend);
            return Err(invalid(message));
        }
        if let Some(code) = rules.codes.iter().flatten().find(|code| !(100..=999).contains(*code)) {
            return Err(invalid(format!("allowable_codes: {code} is no status code; they go from 100 to 999")));
        }
        if let Some(method) =
            rules.methods.iter().flatten().find(|method| Method::from_bytes(method.as_bytes()).is_err())
        {
            let method: String = method.chars().take(40).collect();
            return Err(invalid(format!("allowable_methods: `{}` is no HTTP method", method.escape_debug())));
        }
        self.check_scheme()
    }

    fn check_scheme(&self) -> Result<()> {
        let json = self.settings.serializer == Serializer::Json;
        if self.settings.key_scheme == KeyScheme::Native {
            let message = "serializer: documents of requests-cache go with its keys; set key_scheme(RequestsCache)";
            return if json { Err(invalid(message)) } else { Ok(()) };
        }
        if self.settings.key_fn.is_some() || matches!(self.settings.partition_by, PartitionBy::Name(_)) {
            let message = "key_scheme: the keys of requests-cache have no place for key_fn(..) and partition(..)";
            return Err(invalid(message));
        }
        let rules = self.settings.foreign_keys().filter(|_| self.settings.partition_by == PartitionBy::Nobody);
        let mut chosen = self.settings.match_headers.iter();
        if let Some(name) = rules.and_then(|rules| chosen.find(|name| rules.ignores_header(name.as_str()))) {
            return Err(invalid(format!(
                "match_headers: `{name}` is among the names that requests-cache ignores, so that it would tell nobody apart; \
                 set ignored_parameters(..) without it here and in Python, or leave it out"
            )));
        }
        Ok(())
    }

    fn open(&self, rules: Option<&KeyRules>) -> Result<(Arc<dyn Store>, PutAside)> {
        let place = Place {
            name: &self.name,
            location: self.location.as_deref(),
            extension: self.extension.as_deref(),
            log: &self.log,
            servers: &self.servers,
            settings: &self.settings,
            shared_with: rules.filter(|_| self.settings.serializer == Serializer::Json),
        };
        let (store, log) = place.open(&self.backend)?;
        let put_aside = PutAside::of(Arc::clone(&store), log);
        Ok((store, put_aside))
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }
}

impl fmt::Debug for CachedSessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSessionBuilder")
            .field("name", &self.name)
            .field("backend", &self.backend)
            .field("location", &self.location)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
