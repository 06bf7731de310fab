//! What a session is set to.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName};
use url::Url;

use super::{
    KeyScheme, Request, Response, Serializer, Timeout, cache::PartitionBy, delivery::Delivery,
    environment::Environment, hooks::Hooks,
};
use crate::{
    Error, ErrorKind,
    policy::{exchange::Rules, redact::Ignored, requests_cache::KeyRules},
};

pub(super) type Filter = Arc<dyn Fn(&Response) -> bool + Send + Sync>;
pub(super) type KeyFn = Arc<dyn Fn(&Request) -> String + Send + Sync>;
pub(super) type OnStoreError = Arc<dyn Fn(&Error) + Send + Sync>;

/// Redirects that are followed unless the caller says otherwise, as `requests` does.
pub(super) const REDIRECTS: usize = 30;
const MAX_BODY: u64 = 1 << 30;

/// Everything that `send()` looks at; the place of the store is not part of it.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Settings {
    pub(super) rules: Rules,
    pub(super) timeout: Timeout,
    pub(super) redirects: usize,
    pub(super) decode: bool,
    pub(super) max_body: u64,
    pub(super) max_size: Option<u64>,
    pub(super) headers: HeaderMap,
    /// Those of a request that brings none: the same and what every request carries.
    pub(super) plain_headers: Arc<HeaderMap>,
    /// Names of headers that are not added to requests that have none of them.
    pub(super) removed: Vec<HeaderName>,
    pub(super) query: Vec<(String, String)>,
    /// Whether nothing is added to requests but headers and parameters, and nothing set of how they are sent.
    pub(super) plain: bool,
    pub(super) delivery: Delivery,
    pub(super) environment: Arc<Environment>,
    #[cfg(feature = "cookies")]
    pub(super) jar: Option<super::CookieJar>,
    #[cfg(feature = "digest")]
    pub(super) challenges: Arc<super::auth::digest::Challenges>,
    pub(super) partition_by: PartitionBy,
    pub(super) serializer: Serializer,
    pub(super) key_scheme: KeyScheme,
    pub(super) read_only: bool,
    pub(super) strict: bool,
    pub(super) filter: Option<Filter>,
    pub(super) key_fn: Option<KeyFn>,
    /// Sorted.
    pub(super) match_headers: Vec<HeaderName>,
    pub(super) ignored: Ignored,
    /// The same as they were set, for keys in the way of requests-cache.
    pub(super) ignored_names: Option<Vec<String>>,
    pub(super) on_response: Hooks,
    pub(super) single_flight: bool,
    pub(super) on_store_error: Option<OnStoreError>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            timeout: Timeout::default(),
            redirects: REDIRECTS,
            decode: true,
            max_body: MAX_BODY,
            max_size: None,
            headers: HeaderMap::new(),
            plain_headers: Arc::default(),
            removed: Vec::new(),
            query: Vec::new(),
            plain: true,
            delivery: Delivery::default(),
            environment: Arc::default(),
            #[cfg(feature = "cookies")]
            jar: None,
            #[cfg(feature = "digest")]
            challenges: Arc::default(),
            partition_by: PartitionBy::default(),
            serializer: Serializer::default(),
            key_scheme: KeyScheme::default(),
            read_only: false,
            strict: false,
            filter: None,
            key_fn: None,
            match_headers: Vec::new(),
            ignored: Ignored::default(),
            ignored_names: None,
            on_response: Hooks::default(),
            single_flight: true,
            on_store_error: None,
        }
    }
}

impl Settings {
    /// Whether a response was not stored since it alone is longer than the cache may be: that is no failure.
    pub(super) fn leaves_out(&self, error: &Error) -> bool {
        self.max_size.is_some() && error.kind() == ErrorKind::TooLarge
    }
}

#[cfg(feature = "cookies")]
impl Settings {
    pub(super) fn has_jar(&self) -> bool {
        self.jar.is_some()
    }

    /// What the jar holds for a URL.
    pub(super) fn cookies_for(&self, url: &Url) -> Vec<(String, String)> {
        self.jar.as_ref().map_or_else(Vec::new, |jar| jar.pairs(url))
    }
}

#[cfg(not(feature = "cookies"))]
#[expect(clippy::unused_self, reason = "there is no jar in this build")]
impl Settings {
    pub(super) fn has_jar(&self) -> bool {
        false
    }

    pub(super) fn cookies_for(&self, _: &Url) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl Settings {
    /// How keys are made if not in our own way.
    pub(super) fn foreign_keys(&self) -> Option<KeyRules> {
        if self.key_scheme != KeyScheme::RequestsCache {
            return None;
        }
        let match_headers = self.match_headers.iter().map(ToString::to_string).collect();
        let mut rules = KeyRules { match_headers, ..KeyRules::default() };
        // Names that are set take the place of those that are ignored there by default.
        if let Some(names) = &self.ignored_names {
            rules.ignored.clone_from(names);
        }
        Some(rules)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Default headers and parameters, and the partition's name, may be credentials.
        f.debug_struct("Settings")
            .field("rules", &self.rules)
            .field("timeout", &self.timeout)
            .field("redirects", &self.redirects)
            .field("decode", &self.decode)
            .field("delivery", &self.delivery)
            .field("max_body", &self.max_body)
            .field("max_size", &self.max_size)
            .field("serializer", &self.serializer)
            .field("key_scheme", &self.key_scheme)
            .field("read_only", &self.read_only)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}
