//! When a response expires.

use std::time::{Duration, SystemTime};

/// How long a response is served from the cache.
///
/// It is turned into an absolute time when the response is saved: changing a setting later does not change what is
/// stored, [`Cache::reset_expiration`](crate::Cache::reset_expiration) does.
///
/// ```
/// use larder::Expire;
/// use std::time::Duration;
///
/// assert_eq!(Expire::from(Duration::from_secs(60)), Expire::After(Duration::from_secs(60)));
/// assert_eq!(Expire::from(None), Expire::Never);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Expire {
    /// Served until it is deleted. The default.
    #[default]
    Never,
    /// Fetched again each time. Only a response with a validator (`ETag`, `Last-Modified`) is stored, as expired.
    Immediately,
    /// Neither read from the cache nor stored.
    DoNotCache,
    /// Expires this long after it was received.
    After(Duration),
    /// Expires at this time.
    At(SystemTime),
}

impl Expire {
    /// The absolute time at which something received at `now` expires; `None` is never.
    ///
    /// A span that leads past what the system's clock can express is never. `DoNotCache` expires at once.
    #[must_use]
    pub fn resolve(self, now: SystemTime) -> Option<SystemTime> {
        match self {
            Self::Never => None,
            Self::Immediately | Self::DoNotCache => Some(now),
            Self::After(span) => now.checked_add(span),
            Self::At(time) => Some(time),
        }
    }
}

impl From<Duration> for Expire {
    fn from(span: Duration) -> Self {
        Self::After(span)
    }
}

impl From<SystemTime> for Expire {
    fn from(time: SystemTime) -> Self {
        Self::At(time)
    }
}

impl From<Option<Duration>> for Expire {
    fn from(span: Option<Duration>) -> Self {
        span.map_or(Self::Never, Self::After)
    }
}

/// How stale a stored response may be that is served all the same, where a setting allows that.
///
/// Made from a `bool` or from a [`Duration`]. How stale something is counts from its expiry.
///
/// ```
/// use larder::Staleness;
/// use std::time::Duration;
///
/// assert_eq!(Staleness::from(true), Staleness::Any);
/// assert_eq!(Staleness::from(Duration::from_secs(60)), Staleness::UpTo(Duration::from_secs(60)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Staleness {
    /// It is not served. The default.
    #[default]
    No,
    /// However stale it is.
    Any,
    /// For so long after its expiry.
    UpTo(Duration),
}

impl Staleness {
    pub(crate) fn allows(self, staleness: Duration) -> bool {
        match self {
            Self::No => false,
            Self::Any => true,
            Self::UpTo(most) => staleness <= most,
        }
    }
}

impl From<bool> for Staleness {
    fn from(any: bool) -> Self {
        if any { Self::Any } else { Self::No }
    }
}

impl From<Duration> for Staleness {
    fn from(most: Duration) -> Self {
        Self::UpTo(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn each_way_to_expire_becomes_an_absolute_time() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let later = now + Duration::from_secs(5);
        for (expire, want) in [
            (Expire::Never, None),
            (Expire::Immediately, Some(now)),
            (Expire::DoNotCache, Some(now)),
            (Expire::After(Duration::from_secs(5)), Some(later)),
            (Expire::After(Duration::MAX), None),
            (Expire::At(later), Some(later)),
            (Expire::At(UNIX_EPOCH), Some(UNIX_EPOCH)),
        ] {
            assert_eq!(expire.resolve(now), want, "{expire:?}");
        }
    }
}
