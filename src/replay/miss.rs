//! The error of a request that cannot be answered without the network.

use super::nearest::nearest;
use crate::{Error, ErrorKind};

/// Recorded URLs that the error names at most.
const NAMED_MAX: usize = 3;

/// Says which request missed and why. All URLs are redacted ones.
pub(crate) fn miss(method: &str, url: &str, why: &str) -> Error {
    Error::new(ErrorKind::OfflineMiss, format!("no answer to {method}: {why}")).with_url(url)
}

/// Says why a recording does not answer: which recorded URLs come closest to the one that is asked.
pub(crate) fn not_recorded(url: &str, recorded: &[String]) -> String {
    let near = nearest(url, recorded, NAMED_MAX);
    let hint = if recorded.is_empty() {
        "nothing is recorded yet".to_owned()
    } else if near.is_empty() {
        format!("none of the {} recorded URLs is like it", recorded.len())
    } else {
        format!("recorded and alike: {}", near.join(", "))
    };
    format!("it is not recorded, and the session is offline; {hint}")
}
