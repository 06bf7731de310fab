//! The course of one request, without I/O: look up, then serve, validate, send or refuse; after sending, store or not.
//!
//! Whoever does the I/O asks [`Exchange::first`], does what it says, hands the result to [`Exchange::after_lookup`]
//! or [`Exchange::after_send`], and so on. Time is an argument.

use super::{
    cache_control::RequestControl,
    expire::{Expire, Staleness},
    freshness::{Facts, Held},
    patterns::UrlExpiry,
    storable::{Storable, Storing, is_heuristically_cacheable},
    validate,
};
use http::{HeaderMap, header};
use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

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

/// The settings of a session that decide about storing and serving. What is `None` was not set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) mode: Mode,
    pub(crate) expire: Option<Expire>,
    pub(crate) urls: UrlExpiry,
    pub(crate) codes: Option<BTreeSet<u16>>,
    /// In upper case.
    pub(crate) methods: Option<BTreeSet<String>>,
    /// Whether RFC 9111 decides.
    pub(crate) cache_control: bool,
    /// Whether the cache is a shared one in the sense of RFC 9111.
    pub(crate) shared: bool,
    pub(crate) always_revalidate: bool,
    pub(crate) stale_if_error: Staleness,
    pub(crate) stale_while_revalidate: Staleness,
}

impl Rules {
    fn allows_method(&self, method: &str) -> bool {
        match &self.methods {
            Some(methods) => methods.contains(method),
            None => method == "GET" || self.cache_control && method == "HEAD",
        }
    }

    fn allows_code(&self, status: u16) -> bool {
        self.codes.as_ref().map_or(status == 200, |codes| codes.contains(&status))
    }
}

/// Whether one request wants a new answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Refresh {
    #[default]
    No,
    /// What is stored is served if the origin confirms it.
    Validate,
    /// What is stored is replaced.
    Force,
}

/// What one request asks of the cache beyond the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// Instead of the session's.
    pub(crate) expire: Option<Expire>,
    pub(crate) refresh: Refresh,
    /// Do not touch the network.
    pub(crate) only_if_cached: bool,
    /// Neither read nor write the cache for now.
    pub(crate) disabled: bool,
}

/// The first thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// Look it up.
    LookUp,
    /// Ask the origin, without the cache.
    Send(Forward),
    /// Fail: it may not be sent, and looking it up is not wanted either.
    Refuse,
}

/// What to do after the look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Serve what was found.
    Serve(Reuse),
    /// Serve what was found, and ask the origin behind the caller's back.
    ServeAndRefresh,
    /// Ask the origin whether what was found still holds.
    Validate(Forward),
    /// Ask the origin.
    Send(Forward),
    /// Fail: nothing that may be served is stored and the network is out of bounds.
    Refuse,
}

/// Why something stored may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    Fresh,
    /// The request accepts it stale.
    MaxStale,
    /// The origin could not be asked.
    IfError,
    /// A recording is replayed.
    Offline,
}

/// What to do with an answer of the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Store it; it expires at this time, `None` is never.
    Store(Option<SystemTime>),
    /// Hand it out only.
    Pass,
}

/// How asking the origin failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No answer came.
    Silence,
    /// An answer of this status came.
    Status(u16),
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
    /// Something is stored for the URL, but for other request headers.
    VaryMiss,
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
            Self::VaryMiss => "vary-miss",
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
    headers: &'a HeaderMap,
    control: RequestControl,
    /// Whether an `Authorization` is sent.
    authorized: bool,
    /// What the caller has set for this request, URL or session.
    expire: Option<Expire>,
}

impl<'a> Exchange<'a> {
    /// `method` is in upper case.
    pub(crate) fn new(rules: &'a Rules, wish: Wish, method: &'a str, url: &str, headers: &'a HeaderMap) -> Self {
        let control = RequestControl::of(headers);
        let control = if rules.cache_control { control.with_pragma(headers) } else { control };
        let expire = wish.expire.or_else(|| rules.urls.of(url)).or(rules.expire);
        let authorized = headers.contains_key(header::AUTHORIZATION);
        Self { rules, wish, method, headers, control, authorized, expire }
    }

    /// The same of a request that is given an `Authorization` only when it is sent, if that is so.
    pub(crate) fn authorized(self, later: bool) -> Self {
        Self { authorized: self.authorized || later, ..self }
    }

    pub(crate) fn first(&self) -> First {
        let refuse = |forward| if self.only_if_cached() { First::Refuse } else { First::Send(forward) };
        match self.rules.mode {
            // Offline replays whatever was recorded: the rules about methods and refreshing are those of recording.
            Mode::Offline if self.wish.disabled => First::Refuse,
            Mode::Cache if self.bypasses() => refuse(Forward::Bypass),
            Mode::Cache if !self.rules.allows_method(self.method) => refuse(Forward::Method),
            Mode::Cache if self.asks_past_the_cache() => refuse(Forward::Bypass),
            Mode::Offline | Mode::Cache => First::LookUp,
        }
    }

    /// What becomes of what was found. Of a chain of redirects each part is judged on its own.
    pub(crate) fn after_lookup(&self, found: Option<&Held<'_>>, now: SystemTime) -> Next {
        if self.rules.mode == Mode::Offline {
            return found.map_or(Next::Refuse, |_| Next::Serve(Reuse::Offline));
        }
        let Some(held) = found else {
            let wished = self.wish.refresh != Refresh::No;
            let forward = if wished { Forward::Request } else { Forward::UriMiss };
            return if self.only_if_cached() { Next::Refuse } else { Next::Send(forward) };
        };
        let expiry = self.expiry(held);
        let is_fresh = expiry.is_none_or(|expiry| now < expiry);
        let must_ask = self.must_ask(held, is_fresh, expiry, now);
        let may_be_stale = !must_ask && !self.forbids_stale(held);
        let staleness = staleness(expiry, now);
        if is_fresh && !must_ask {
            return Next::Serve(Reuse::Fresh);
        }
        // RFC 9111, 5.2.1.2: "the client will accept a response that has exceeded its freshness lifetime. If a value is
        // present, then the client is willing to accept a response that has exceeded its freshness lifetime by no more
        // than the specified number of seconds."
        if may_be_stale && self.control.max_stale.is_some_and(|most| staleness <= most) {
            return Next::Serve(Reuse::MaxStale);
        }
        if self.only_if_cached() {
            // The network is as good as gone.
            let serve = self.wish.refresh == Refresh::No && self.on_failure(held, Failure::Silence, now);
            return if serve { Next::Serve(Reuse::IfError) } else { Next::Refuse };
        }
        // RFC 5861, 3: "caches MAY serve the response in which it appears after it becomes stale, up to the indicated
        // number of seconds [and] SHOULD attempt to revalidate it while still serving stale responses (i.e., without
        // blocking)."
        if may_be_stale && self.revalidates_behind(held, staleness) {
            return Next::ServeAndRefresh;
        }
        let holds = is_fresh && !held.invalid && !(self.rules.cache_control && held.facts.control.no_cache);
        let forward = if holds { Forward::Request } else { Forward::Stale };
        match self.wish.refresh {
            Refresh::Force => Next::Send(Forward::Request),
            _ if held.facts.has_validator => Next::Validate(forward),
            _ => Next::Send(forward),
        }
    }

    /// Whether a stored response is served in the place of a failure.
    ///
    /// RFC 5861, 4: "when an error is encountered, a cached stale response MAY be used to satisfy the request,
    /// regardless of other freshness information. [..] an error is any situation that would result in a 500, 502, 503,
    /// or 504 HTTP response status code being returned."
    pub(crate) fn on_failure(&self, held: &Held<'_>, failure: Failure, now: SystemTime) -> bool {
        if held.invalid || self.rules.cache_control && (self.forbids_stale(held) || self.control.no_cache) {
            return false;
        }
        let staleness = staleness(self.expiry(held), now);
        let own = held.facts.control.stale_if_error.filter(|_| self.rules.cache_control);
        let granted = own.into_iter().chain(self.control.stale_if_error).any(|window| staleness <= window);
        let set = self.rules.stale_if_error.allows(staleness);
        match failure {
            Failure::Silence => granted || set,
            Failure::Status(status) => {
                let counts = if self.rules.cache_control {
                    status >= 500
                } else {
                    status >= 400 && !self.rules.allows_code(status)
                };
                granted && matches!(status, 500 | 502 | 503 | 504) || set && counts
            }
        }
    }

    /// Whether a final response is stored. It was asked for `delay` before `now`.
    pub(crate) fn after_send(&self, status: u16, facts: &Facts, now: SystemTime, delay: Duration) -> Keep {
        let allowed = if self.rules.cache_control {
            self.is_storable(status, facts, false)
        } else {
            self.rules.allows_code(status) && !facts.vary.is_any()
        };
        if allowed { self.keep(status, facts, now, delay) } else { Keep::Pass }
    }

    /// Whether a redirect is stored as part of the chain that it leads into. Its code need not be allowed.
    pub(crate) fn after_redirect(&self, status: u16, facts: &Facts, now: SystemTime, delay: Duration) -> Keep {
        let allowed =
            if self.rules.cache_control { self.is_storable(status, facts, true) } else { !facts.vary.is_any() };
        if allowed { self.keep(status, facts, now, delay) } else { Keep::Pass }
    }

    /// Whether what was stored must not be any more, by the headers that its origin has sent since.
    pub(crate) fn is_forbidden(&self, status: u16, facts: &Facts) -> bool {
        self.by_rfc() && self.storing(status, facts).storable() == Storable::No
    }

    /// When a response with these headers expires; `None` is never.
    pub(crate) fn expires(&self, status: u16, facts: &Facts, now: SystemTime, delay: Duration) -> Option<SystemTime> {
        if !self.rules.cache_control {
            // requests-cache: a request's `max-age` is how long a new answer is kept.
            let expire = self.expire_of_request().or(self.expire).unwrap_or_default();
            return expire.resolve(now);
        }
        let born = now.checked_sub(facts.initial_age(now, delay)).unwrap_or(SystemTime::UNIX_EPOCH);
        let lifetime = match (facts.lifetime(self.rules.shared, now), self.expire) {
            (Some(lifetime), _) => lifetime,
            // What the caller has set serves where the response says nothing.
            (None, Some(expire)) => return expire.resolve(now),
            (None, None) => facts.heuristic(status, now),
        };
        born.checked_add(lifetime)
    }

    /// Whether a response of this status to this request makes stored ones invalid. Methods that the caller has
    /// allowed are questions to him.
    pub(crate) fn may_invalidate(&self) -> bool {
        let asks = self.rules.methods.is_some() && self.rules.allows_method(self.method);
        self.rules.cache_control && self.rules.mode == Mode::Cache && !self.wish.disabled && !asks
    }

    /// Whether the cache may be asked for this request alone, and a miss is an answer of status 504.
    pub(crate) fn wants_504(&self) -> bool {
        self.control.only_if_cached && !self.wish.only_if_cached && self.rules.mode == Mode::Cache
    }

    /// Whether a GET that is stored may answer this HEAD (RFC 9110, 9.3.2).
    pub(crate) fn is_head(&self) -> bool {
        self.rules.cache_control && self.rules.mode == Mode::Cache && self.method == "HEAD"
    }

    pub(crate) fn by_rfc(&self) -> bool {
        self.rules.cache_control && self.rules.mode == Mode::Cache
    }

    fn only_if_cached(&self) -> bool {
        self.wish.only_if_cached || self.control.only_if_cached
    }

    /// RFC 9111, 4: "a cache MUST NOT reuse a stored response unless: [..] the stored response does not contain the
    /// no-cache directive, unless it is successfully validated". 5.2.1.4: "The no-cache request directive indicates
    /// that the client prefers stored response not be used to satisfy the request without successful validation on the
    /// origin server."
    fn must_ask(&self, held: &Held<'_>, is_fresh: bool, expiry: Option<SystemTime>, now: SystemTime) -> bool {
        let said = &held.facts.control;
        let by_rfc = self.rules.cache_control;
        // RFC 8246, 2: "Clients SHOULD NOT issue a conditional request during the response's freshness lifetime".
        let settled = by_rfc && said.immutable && is_fresh;
        held.invalid
            || by_rfc && said.no_cache
            || self.control.no_cache
            || self.wish.refresh != Refresh::No
            || self.rules.always_revalidate && held.facts.has_validator && !settled && !self.only_if_cached()
            || self.is_too_old(held, expiry, now)
    }

    /// 5.2.1.1: "the client prefers a response whose age is less than or equal to the specified number of seconds."
    /// 5.2.1.3: "the client prefers a response whose freshness lifetime is no less than its current age plus the
    /// specified time in seconds."
    fn is_too_old(&self, held: &Held<'_>, expiry: Option<SystemTime>, now: SystemTime) -> bool {
        let over_age = self.control.max_age.is_some_and(|most| most.is_zero() || held.age(now) > most);
        let ends_soon = self
            .control
            .min_fresh
            .is_some_and(|least| expiry.is_some_and(|expiry| expiry.duration_since(now).unwrap_or_default() < least));
        over_age || ends_soon
    }

    /// 4.2.4: "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol directive
    /// (e.g., by a no-cache response directive, a must-revalidate response directive, or an applicable s-maxage or
    /// proxy-revalidate response directive".
    fn forbids_stale(&self, held: &Held<'_>) -> bool {
        let said = &held.facts.control;
        let shared = self.rules.shared && (said.proxy_revalidate || said.s_maxage.is_some());
        held.invalid || self.rules.cache_control && (said.must_revalidate || said.no_cache || shared)
    }

    fn revalidates_behind(&self, held: &Held<'_>, staleness: Duration) -> bool {
        let own = held.facts.control.stale_while_revalidate.filter(|_| self.rules.cache_control);
        own.is_some_and(|window| staleness <= window) || self.rules.stale_while_revalidate.allows(staleness)
    }

    /// What was written when it was stored counts; only what never expires by that is judged by its headers.
    fn expiry(&self, held: &Held<'_>) -> Option<SystemTime> {
        if held.response.expires.is_some() || !self.rules.cache_control {
            return held.response.expires;
        }
        self.expires(held.response.status.as_u16(), held.facts, held.received(), held.delay())
    }

    fn is_storable(&self, status: u16, facts: &Facts, redirect: bool) -> bool {
        // They answer the conditions or the range of this request, which are not in the key.
        if matches!(status, 412 | 416) && validate::asks_for_less(self.headers) {
            return false;
        }
        match self.storing(status, facts).storable() {
            Storable::Yes => true,
            Storable::No => false,
            Storable::Unsaid => {
                let by_default = || is_heuristically_cacheable(status) || redirect && self.expire.is_some();
                self.rules.codes.as_ref().map_or_else(by_default, |codes| redirect || codes.contains(&status))
            }
        }
    }

    fn storing<'f>(&self, status: u16, facts: &'f Facts) -> Storing<'f> {
        Storing { shared: self.rules.shared, authorized: self.authorized, status, facts }
    }

    fn keep(&self, status: u16, facts: &Facts, now: SystemTime, delay: Duration) -> Keep {
        let may_store = self.rules.mode == Mode::Cache && !self.bypasses() && self.rules.allows_method(self.method);
        let expires = self.expires(status, facts, now, delay);
        let said = &facts.control;
        // What must be asked about before it is used is of use only if it can be asked about.
        let serves = expires.is_none_or(|expires| now < expires) && !(self.rules.cache_control && said.no_cache);
        let serves_stale = self.rules.stale_if_error != Staleness::No
            || self.rules.stale_while_revalidate != Staleness::No
            || self.rules.cache_control && (said.stale_if_error.is_some() || said.stale_while_revalidate.is_some());
        let is_useful = serves || facts.has_validator || serves_stale && self.expire != Some(Expire::Immediately);
        if may_store && is_useful { Keep::Store(expires) } else { Keep::Pass }
    }

    /// 5.2.1.5: "The no-store request directive indicates that a cache MUST NOT store any part of either this request
    /// or any response to it."
    fn bypasses(&self) -> bool {
        self.wish.disabled || self.control.no_store || self.expire == Some(Expire::DoNotCache)
    }

    /// Requests that only the origin can answer; without `cache_control` also those whose answer may be a part or a
    /// 304, which must not be taken for the whole.
    fn asks_past_the_cache(&self) -> bool {
        if self.rules.cache_control {
            validate::asks_the_origin(self.headers)
        } else {
            validate::asks_for_less(self.headers)
        }
    }

    fn expire_of_request(&self) -> Option<Expire> {
        self.wish.expire.or_else(|| self.control.max_age.map(Expire::After))
    }
}

fn staleness(expiry: Option<SystemTime>, now: SystemTime) -> Duration {
    expiry.and_then(|expiry| now.duration_since(expiry).ok()).unwrap_or_default()
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
