//! What a session is set to.

use std::{fmt, sync::Arc};

use http::HeaderMap;

use super::{Request, Response, Timeout, cache::PartitionBy};
use crate::{Error, ErrorKind, Result, policy::exchange::Rules};

pub(super) type Filter = Arc<dyn Fn(&Response) -> bool + Send + Sync>;
pub(super) type KeyFn = Arc<dyn Fn(&Request) -> String + Send + Sync>;
pub(super) type OnResponse = Arc<dyn Fn(Response) -> Result<Response> + Send + Sync>;
pub(super) type OnStoreError = Arc<dyn Fn(&Error) + Send + Sync>;

/// Redirects that are followed unless the caller says otherwise, as `requests` does.
pub(super) const REDIRECTS: usize = 30;
const MAX_BODY: u64 = 1 << 30;

/// Everything that `send()` looks at; the place of the store is not part of it.
#[derive(Clone)]
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
    pub(super) query: Vec<(String, String)>,
    pub(super) partition_by: PartitionBy,
    pub(super) read_only: bool,
    pub(super) strict: bool,
    pub(super) filter: Option<Filter>,
    pub(super) key_fn: Option<KeyFn>,
    pub(super) on_response: Option<OnResponse>,
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
            query: Vec::new(),
            partition_by: PartitionBy::default(),
            read_only: false,
            strict: false,
            filter: None,
            key_fn: None,
            on_response: None,
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

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Default headers and parameters, and the partition's name, may be credentials.
        f.debug_struct("Settings")
            .field("rules", &self.rules)
            .field("timeout", &self.timeout)
            .field("redirects", &self.redirects)
            .field("decode", &self.decode)
            .field("max_body", &self.max_body)
            .field("max_size", &self.max_size)
            .field("read_only", &self.read_only)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}
