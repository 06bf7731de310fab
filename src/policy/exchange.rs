//! The course of one request, without I/O: look up, then serve, send or refuse; after sending, store or not.
//!
//! Whoever does the I/O asks [`Exchange::first`], does what it says, hands the result to [`Exchange::after_lookup`]
//! or [`Exchange::after_send`], and so on. Time is an argument.

use super::expire::Expire;
use http::{HeaderMap, header};
use std::{collections::BTreeSet, time::SystemTime};

/// What a session does with the network and the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Serves what is stored and not expired; fetches and stores the rest. The default.
    #[default]
    Cache,
    /// Serves what is stored, expired or not, whoever recorded it; never touches the network and stores nothing.
    /// What is not stored is an error of the kind [`OfflineMiss`](crate::ErrorKind::OfflineMiss).
    Offline,
}

/// The settings of a session that decide about storing and serving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) mode: Mode,
    pub(crate) expire: Expire,
    pub(crate) codes: BTreeSet<u16>,
    /// In upper case.
    pub(crate) methods: BTreeSet<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            mode: Mode::Cache,
            expire: Expire::Never,
            codes: BTreeSet::from([200]),
            methods: BTreeSet::from(["GET".to_owned()]),
        }
    }
}

/// What one request asks of the cache beyond the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// Instead of the session's.
    pub(crate) expire: Option<Expire>,
    /// Do not serve what is stored; fetch and replace it.
    pub(crate) refresh: bool,
    /// Neither read nor write the cache for now.
    pub(crate) disabled: bool,
}

/// The first thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// Look it up.
    LookUp,
    /// Ask the origin.
    Send(Forward),
    /// Fail: it may not be sent, and looking it up is not wanted either.
    Refuse,
}

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// When the first part of it expires, redirect hops included; `None` is never.
    pub(crate) expires: Option<SystemTime>,
}

/// What to do after the look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Serve what was found.
    Serve,
    /// Ask the origin.
    Send(Forward),
    /// Fail: nothing is recorded and the network is out of bounds.
    Refuse,
}

/// What to do with an answer of the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Store it; it expires at this time, `None` is never.
    Store(Option<SystemTime>),
    /// Hand it out only.
    Pass,
}

/// Why a request goes to the origin, in the words of RFC 9211, 2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forward {
    /// The cache was told not to handle this request.
    Bypass,
    /// The method is not one that is cached.
    Method,
    /// Nothing is stored for the request.
    UriMiss,
    /// The request asked for a new answer.
    Request,
    /// What is stored is expired.
    Stale,
}

impl Forward {
    /// The token of the `fwd` parameter.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

/// The decisions about one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange<'a> {
    rules: &'a Rules,
    wish: Wish,
    method: &'a str,
}

impl<'a> Exchange<'a> {
    /// `method` is in upper case.
    pub(crate) fn new(rules: &'a Rules, wish: Wish, method: &'a str) -> Self {
        Self { rules, wish, method }
    }

    pub(crate) fn first(&self) -> First {
        match self.rules.mode {
            // Offline replays whatever was recorded: the rules about methods and refreshing are those of recording.
            Mode::Offline => {
                if self.wish.disabled {
                    First::Refuse
                } else {
                    First::LookUp
                }
            }
            Mode::Cache if self.bypasses() => First::Send(Forward::Bypass),
            Mode::Cache if !self.rules.methods.contains(self.method) => First::Send(Forward::Method),
            Mode::Cache if self.wish.refresh => First::Send(Forward::Request),
            Mode::Cache => First::LookUp,
        }
    }

    /// Whether what was found is served.
    pub(crate) fn after_lookup(&self, found: Option<Found>, now: SystemTime) -> Next {
        let offline = self.rules.mode == Mode::Offline;
        match found {
            None if offline => Next::Refuse,
            None => Next::Send(Forward::UriMiss),
            Some(found) if !offline && found.expires.is_some_and(|expires| now >= expires) => {
                Next::Send(Forward::Stale)
            }
            Some(_) => Next::Serve,
        }
    }

    /// Whether a final response is stored.
    pub(crate) fn after_send(&self, status: u16, headers: &HeaderMap, now: SystemTime) -> Keep {
        if self.rules.codes.contains(&status) { self.keep(headers, now) } else { Keep::Pass }
    }

    /// Whether a redirect is stored as part of the chain that it leads into. Its code need not be allowed.
    pub(crate) fn after_redirect(&self, headers: &HeaderMap, now: SystemTime) -> Keep {
        self.keep(headers, now)
    }

    fn keep(&self, headers: &HeaderMap, now: SystemTime) -> Keep {
        let may_store = self.rules.mode == Mode::Cache && !self.bypasses() && self.rules.methods.contains(self.method);
        let expires = self.expire().resolve(now);
        let has_validator = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
        // What is expired from the start is of use only if it can be revalidated.
        let is_useful = has_validator || expires.is_none_or(|expires| now < expires);
        if may_store && is_useful { Keep::Store(expires) } else { Keep::Pass }
    }

    fn bypasses(&self) -> bool {
        self.wish.disabled || self.expire() == Expire::DoNotCache
    }

    fn expire(&self) -> Expire {
        self.wish.expire.unwrap_or(self.rules.expire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::time::{Duration, UNIX_EPOCH};

    const NOW: SystemTime = UNIX_EPOCH;

    fn offline() -> Rules {
        Rules { mode: Mode::Offline, ..Rules::default() }
    }

    fn asks(expire: Option<Expire>, refresh: bool, disabled: bool) -> Wish {
        Wish { expire, refresh, disabled }
    }

    #[test]
    fn the_first_step_follows_from_mode_method_and_wish() {
        let (cache, offline) = (Rules::default(), offline());
        let plain = Wish::default();
        for (rules, wish, method, want) in [
            (&cache, plain, "GET", First::LookUp),
            (&cache, plain, "POST", First::Send(Forward::Method)),
            (&cache, asks(None, true, false), "GET", First::Send(Forward::Request)),
            (&cache, asks(None, true, true), "GET", First::Send(Forward::Bypass)),
            (&cache, asks(Some(Expire::DoNotCache), false, false), "GET", First::Send(Forward::Bypass)),
            (&offline, plain, "GET", First::LookUp),
            (&offline, plain, "POST", First::LookUp),
            (&offline, asks(None, true, false), "GET", First::LookUp),
            (&offline, asks(None, false, true), "GET", First::Refuse),
        ] {
            assert_eq!(Exchange::new(rules, wish, method).first(), want, "{:?} {wish:?} {method}", rules.mode);
        }
    }

    #[test]
    fn what_is_found_is_served_until_it_expires_and_offline_for_ever() {
        let (cache, offline) = (Rules::default(), offline());
        let found = |expires| Some(Found { expires });
        let later = NOW + Duration::from_millis(1);
        for (rules, found, want) in [
            (&cache, None, Next::Send(Forward::UriMiss)),
            (&cache, found(None), Next::Serve),
            (&cache, found(Some(later)), Next::Serve),
            (&cache, found(Some(NOW)), Next::Send(Forward::Stale)),
            (&offline, None, Next::Refuse),
            (&offline, found(None), Next::Serve),
            (&offline, found(Some(NOW)), Next::Serve),
        ] {
            let next = Exchange::new(rules, Wish::default(), "GET").after_lookup(found, NOW);
            assert_eq!(next, want, "{:?} {found:?}", rules.mode);
        }
    }

    #[test]
    fn an_answer_is_stored_if_code_method_mode_and_wish_allow_it() {
        let (cache, offline) = (Rules::default(), offline());
        let minute = Expire::After(Duration::from_secs(60));
        let until = Some(NOW + Duration::from_secs(60));
        for (rules, wish, method, status, want) in [
            (&cache, Wish::default(), "GET", 200, Keep::Store(None)),
            (&cache, Wish::default(), "GET", 404, Keep::Pass),
            (&cache, Wish::default(), "GET", 302, Keep::Pass),
            (&cache, Wish::default(), "POST", 200, Keep::Pass),
            (&cache, asks(Some(minute), false, false), "GET", 200, Keep::Store(until)),
            (&cache, asks(None, true, false), "GET", 200, Keep::Store(None)),
            (&cache, asks(None, false, true), "GET", 200, Keep::Pass),
            (&cache, asks(Some(Expire::DoNotCache), false, false), "GET", 200, Keep::Pass),
            (&cache, asks(Some(Expire::Immediately), false, false), "GET", 200, Keep::Pass),
            (&offline, Wish::default(), "GET", 200, Keep::Pass),
        ] {
            let keep = Exchange::new(rules, wish, method).after_send(status, &HeaderMap::new(), NOW);
            assert_eq!(keep, want, "{:?} {wish:?} {method} {status}", rules.mode);
        }
    }

    #[test]
    fn what_expires_at_once_is_stored_if_it_can_be_revalidated() {
        let rules = Rules { expire: Expire::Immediately, ..Rules::default() };
        for name in [header::ETAG, header::LAST_MODIFIED] {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("x"))]);
            let keep = Exchange::new(&rules, Wish::default(), "GET").after_send(200, &headers, NOW);
            assert_eq!(keep, Keep::Store(Some(NOW)));
        }
    }

    #[test]
    fn a_redirect_is_stored_whatever_the_allowed_codes() {
        let rules = Rules::default();
        let get = Exchange::new(&rules, Wish::default(), "GET");
        assert_eq!(get.after_redirect(&HeaderMap::new(), NOW), Keep::Store(None));
        let post = Exchange::new(&rules, Wish::default(), "POST");
        assert_eq!(post.after_redirect(&HeaderMap::new(), NOW), Keep::Pass);
    }
}
