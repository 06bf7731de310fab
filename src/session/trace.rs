//! What a session tells those who listen with `tracing`; without that feature, nothing.
//!
//! Events have the target `larder`. URLs are redacted, and nothing else of a request or answer is told that could hold
//! a credential.

#[cfg(feature = "tracing")]
use super::Request;
use super::Response;
use crate::Error;

/// A request has been answered.
pub(super) fn answered(response: &Response) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        target: "larder",
        method = response.request().method(),
        url = response.shown_url(),
        status = response.status().as_u16(),
        verdict = if response.from_cache() { "hit" } else { "miss" },
        reason = %response.cache_status(),
        key = response.cache_key(),
        redirects = response.history().len(),
        elapsed_us = micros(response.elapsed()),
        origin_us = micros(response.stored.elapsed()),
        "answered"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = response;
}

/// A request has failed.
#[cfg(feature = "tracing")]
pub(super) fn failed(asked: &(String, String), error: &Error) {
    let (method, url) = asked;
    tracing::debug!(target: "larder", method, url, kind = ?error.kind(), "failed: {error}");
}

/// What [`failed`] has to know of a request that is gone by then.
#[cfg(feature = "tracing")]
pub(super) fn asked(request: &Request) -> Option<(String, String)> {
    tracing::enabled!(target: "larder", tracing::Level::DEBUG)
        .then(|| (request.method().to_string(), request.shown_url()))
}

/// The store has failed, and the request goes on without it.
pub(super) fn store_failed(error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: "larder", kind = ?error.kind(), "the store failed: {error}");
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}

#[cfg(feature = "tracing")]
fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
