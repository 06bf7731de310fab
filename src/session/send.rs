//! The course of one request through cache and network, redirects included.

use std::{
    cell::Cell,
    io,
    time::{Instant, SystemTime},
};

use super::{
    CacheStatus, CachedSession, KeyScheme, Response, Serializer, Timeout, Transport,
    auth::Auth,
    cache::{Chain, Lookup, Marks, Part, PartitionBy, Whose, With},
    delivery::Delivery,
    disabled,
    request::{Options, Request},
    settings::Settings,
    share::{Leads, Shared},
    spool::SpoolReader,
    stream::ResponseStream,
};
use http::HeaderName;

use crate::{
    Error, ErrorKind, Mode, Result, StoredResponse,
    entry::{Key, foreign},
    policy::{
        exchange::{Exchange, First, Forward, Next, Reuse, Wish},
        key::{Asked, Identity},
        partition,
        redact::Credentials,
        requests_cache::Keyed,
    },
    replay,
    store::BodyReader,
};

/// What is known while a request is under way.
pub(super) struct Course<'a> {
    pub(super) session: &'a CachedSession,
    pub(super) settings: &'a Settings,
    /// What sends the requests, if it is not that of the session.
    through: Option<&'a dyn Transport>,
    pub(super) wish: Wish,
    pub(super) timeout: Timeout,
    /// What the request sets of how it is sent.
    pub(super) delivery: Option<Box<Delivery>>,
    pub(super) limit: usize,
    pub(super) decode: bool,
    /// Whether the body is to be handed out in pieces.
    pub(super) stream: bool,
    /// The body of what the last look-up found, where it is to be handed out so.
    pub(super) reader: Option<Box<dyn BodyReader>>,
    /// Whether the answers of the hops that follow are there already, so that none is looked up.
    pub(super) ahead: bool,
    pub(super) leads: Leads,
    pub(super) started: Instant,
    /// Of the URL that was asked; it is carried over to wherever redirects lead.
    pub(super) fragment: Option<String>,
    /// The redirects so far, as the user sees them.
    pub(super) history: Vec<Response>,
    /// The same as they would be stored: those at the end of the list that may be.
    pub(super) hops: Vec<StoredResponse>,
    /// The marks of the URLs that were asked of their origins.
    pub(super) marks: Marks,
}

/// What one hop came to.
pub(super) enum Step {
    /// The answer; its body apart if it is to be read in pieces.
    Done(Box<Response>, Option<SpoolReader>),
    Follow(Box<Request>),
}

/// What a look-up leads to.
enum Decided {
    Step(Step),
    /// The origin is asked; what is stored may be served if it fails, and is what is asked about if so marked.
    Ask(Forward, Option<(Chain, bool)>),
}

/// A request, as the cache sees it, and whether the cache takes part.
pub(super) struct Hop<'a> {
    /// As it goes out.
    pub(super) request: &'a Request,
    /// Without what is added for this hop alone.
    pub(super) bare: &'a Request,
    /// Whether nobody knows where the answer would come from.
    pub(super) unverified: bool,
    pub(super) asked: Asked,
    pub(super) cached: bool,
    /// Of a HEAD: what a GET would have been answered with.
    pub(super) get: Option<Part>,
}

impl<'a> Course<'a> {
    pub(super) fn new(session: &'a CachedSession, options: &Options) -> Self {
        let settings = session.settings();
        let wish = Wish {
            expire: options.expire,
            refresh: options.refresh,
            only_if_cached: options.only_if_cached,
            disabled: options.no_store || disabled::is_disabled(session.id()),
        };
        Self {
            session,
            settings,
            through: None,
            wish,
            timeout: options.timeout.unwrap_or(settings.timeout),
            delivery: options.delivery.clone(),
            limit: options.redirects.unwrap_or(settings.redirects),
            decode: options.decode.unwrap_or(settings.decode),
            stream: false,
            reader: None,
            ahead: false,
            leads: Leads::default(),
            started: Instant::now(),
            fragment: None,
            history: Vec::new(),
            hops: Vec::new(),
            marks: Marks::new(),
        }
    }

    /// The same, but that the requests are sent by something else.
    pub(super) fn through(session: &'a CachedSession, options: &Options, transport: &'a dyn Transport) -> Self {
        Self { through: Some(transport), ..Self::new(session, options) }
    }

    /// Whether what sends the requests has followed a redirect itself by the time that it gives it.
    pub(super) fn follows_by_itself(&self) -> bool {
        self.through.is_some()
    }

    pub(super) fn transport(&self) -> &'a dyn Transport {
        self.through.unwrap_or_else(|| self.session.transport())
    }

    pub(super) fn run(self, request: Request) -> Result<Response> {
        self.follow(request).map(|(response, _)| response)
    }

    /// The same up to the head of the answer.
    pub(super) fn run_stream(mut self, request: Request) -> Result<ResponseStream> {
        self.stream = true;
        let max_body = self.settings.max_body;
        let (response, body) = self.follow(request)?;
        let body = body.ok_or_else(|| Error::new(ErrorKind::Store, "the answer came without a body to read"))?;
        Ok(ResponseStream::new(response, body, max_body))
    }

    fn follow(mut self, mut request: Request) -> Result<(Response, Option<SpoolReader>)> {
        self.fragment = request.url.fragment().map(str::to_owned);
        request.url.set_fragment(None);
        if request.body_to_send().is_some() && self.takes_part(&request) {
            request.settle_body(self.settings.max_body)?;
        }
        loop {
            match self.step(&request)? {
                Step::Done(response, body) => return Ok((*response, body)),
                Step::Follow(next) => request = *next,
            }
        }
    }

    /// One hop: from the cache with all that follows there, or from the network.
    fn step(&mut self, request: &Request) -> Result<Step> {
        let mut joined = Vec::new();
        loop {
            if let Some(step) = self.try_step(request, &mut joined)? {
                return Ok(step);
            }
        }
    }

    /// The same, or `None` if an identical request has ended meanwhile. `joined` are the flights that it has taken part
    /// in.
    fn try_step(&mut self, request: &Request, joined: &mut Vec<Key>) -> Result<Option<Step>> {
        let landed = self.session.flights().landed();
        let bare = request;
        let dressed = if self.is_plain(bare) { None } else { Some(self.dress(bare)?) };
        let request = dressed.as_ref().map_or(bare, |dressed| &dressed.request);
        let mut credentials = Credentials::ignoring(&self.settings.ignored);
        let forms = self.session.urls().forms(&request.url, &mut credentials)?;
        let mut asked = Asked::of(forms, credentials, request.method.as_str(), &request.headers, &request.body);
        if let Some(dressed) = &dressed {
            self.count_credentials(&mut asked, dressed);
        }
        let unverified = dressed.is_some() && self.is_unverified(request);
        let mut hop = Hop { request, bare, unverified, asked, cached: true, get: None };
        if let Some(key_fn) = &self.settings.key_fn {
            hop.asked.name(&key_fn(request));
        } else if let Some(rules) = self.session.cache().foreign_keys() {
            let url = self.with_fragment(request.url.as_str().to_owned());
            hop.asked.foreign(rules, &self.keyed(request, &url), self.settings.serializer == Serializer::Json);
        }
        let method = hop.asked.identity.method.clone();
        let exchange = Exchange::new(&self.settings.rules, self.wish, &method, request.url.as_str(), &request.headers)
            .authorized(matches!(request.auth(), Some(Auth::Digest { .. })));
        match exchange.first() {
            First::Refuse => return self.refuse(&hop, &exchange).map(Some),
            First::Send(forward) => {
                hop.cached = false;
                return self.fetch(&hop, forward, &exchange, None).map(Some);
            }
            First::LookUp => {}
        }
        hop.cached = self.tell_apart(&mut hop)? && self.partition(&mut hop)?;
        if hop.cached && self.ahead {
            return self.fetch(&hop, Forward::UriMiss, &exchange, None).map(Some);
        }
        let found = self.find(&mut hop, &exchange)?;
        let names = found.names();
        let (forward, stored) = match self.decide(&hop, &exchange, found)? {
            Decided::Step(step) => return Ok(Some(step)),
            Decided::Ask(forward, stored) => (forward, stored),
        };
        let flight = self.flight_of(&hop, forward, stored.as_ref().map(|(chain, _)| chain), &names);
        match flight.map_or(Ok(Shared::No), |flight| self.share(&hop, flight, landed, joined))? {
            Shared::No => self.fetch(&hop, forward, &exchange, stored).map(Some),
            Shared::LookAgain => Ok(None),
            Shared::Answer(step) => Ok(Some(step)),
        }
    }

    /// Looks up what may answer the request: for a HEAD by RFC 9111 also what a GET has stored.
    fn find(&mut self, hop: &mut Hop<'_>, exchange: &Exchange<'_>) -> Result<Lookup> {
        let mut found = Lookup::Nothing;
        if hop.cached && exchange.is_head() {
            let get = self.as_get(hop);
            found = self.look_up(hop, &get, exchange)?.0;
            hop.get = match &found {
                Lookup::Found(chain) if chain.hops.is_empty() => Some(chain.response.clone()),
                _ => None,
            };
        }
        let is_served = exchange.is_head() && is_served(exchange, &found, self.session.cache().now());
        if hop.cached && !is_served {
            let (looked_up, name) = self.look_up(hop, &hop.asked.identity, exchange)?;
            found = looked_up;
            // What comes instead is stored there as well.
            hop.asked.identity.name = name.or(hop.asked.identity.name);
        }
        // A key function does not tell methods apart, and what answers a HEAD must not answer a GET.
        hop.cached &= !(exchange.is_head() && self.settings.key_fn.is_some());
        Ok(found)
    }

    /// The same request with the method GET.
    fn as_get(&self, hop: &Hop<'_>) -> Identity {
        if let Some(rules) = self.session.cache().foreign_keys() {
            let url = self.with_fragment(hop.request.url.as_str().to_owned());
            let keyed = Keyed { method: "GET", ..self.keyed(hop.request, &url) };
            let name = rules.key(&keyed).map(|key| foreign(key, 0));
            return Identity { name, ..hop.asked.as_get(&[]) };
        }
        hop.asked.as_get(if self.settings.key_fn.is_some() { &[] } else { &self.settings.match_headers })
    }

    /// Goes on from what a look-up came to.
    fn decide(&mut self, hop: &Hop<'_>, exchange: &Exchange<'_>, found: Lookup) -> Result<Decided> {
        let now = self.session.cache().now();
        let miss = if matches!(found, Lookup::OtherVariant(_)) { Forward::VaryMiss } else { Forward::UriMiss };
        let whole = is_served(exchange, &found, now);
        // A chain is served whole if every part of it may be; else from its first redirect on, each on its own.
        let found = found.found().map(|chain| if whole { chain } else { chain.cut() });
        let held = found.as_ref().map(|chain| chain.response.held());
        let next = if whole { Next::Serve(Reuse::Fresh) } else { exchange.after_lookup(held.as_ref(), now) };
        let (chain, status) = match (next, found) {
            (Next::Refuse, _) | (Next::Serve(_) | Next::ServeAndRefresh, None) => {
                return self.refuse(hop, exchange).map(Decided::Step);
            }
            (Next::Send(Forward::UriMiss) | Next::Validate(_), None) => return Ok(Decided::Ask(miss, None)),
            (Next::Send(forward), found) => return Ok(Decided::Ask(forward, found.map(|chain| (chain, false)))),
            (Next::Validate(forward), Some(chain)) => return Ok(Decided::Ask(forward, Some((chain, true)))),
            // What sends for the caller is not ours to keep.
            (Next::ServeAndRefresh, Some(chain)) if self.follows_by_itself() => {
                let validate = chain.response.held().facts.has_validator;
                return Ok(Decided::Ask(Forward::Stale, Some((chain, validate))));
            }
            (Next::Serve(Reuse::Fresh | Reuse::Offline), Some(chain)) => (chain, CacheStatus::Hit),
            (Next::Serve(Reuse::MaxStale | Reuse::IfError), Some(chain)) => (chain, CacheStatus::StaleHit),
            (Next::ServeAndRefresh, Some(chain)) => {
                self.refresh_behind(hop, &chain);
                (chain, CacheStatus::StaleHit)
            }
        };
        match self.serve(hop, exchange, &chain, status)? {
            Some(step) => Ok(Decided::Step(step)),
            None if self.wish.only_if_cached || self.settings.rules.mode == Mode::Offline => {
                self.refuse(hop, exchange).map(Decided::Step)
            }
            None => Ok(Decided::Ask(Forward::UriMiss, None)),
        }
    }

    fn refresh_behind(&self, hop: &Hop<'_>, chain: &Chain) {
        if self.settings.read_only {
            return;
        }
        let options = Options {
            timeout: Some(self.timeout),
            redirects: Some(self.limit),
            decode: Some(self.decode),
            expire: self.wish.expire,
            delivery: self.delivery.clone(),
            ..Options::default()
        };
        self.session.refresh_behind(hop.bare.clone(), &options, chain.response.key);
    }

    /// Whose answer it is to be. `false` keeps the cache out of it.
    fn partition(&self, hop: &mut Hop<'_>) -> Result<bool> {
        let by = &self.settings.partition_by;
        let offline = self.settings.rules.mode == Mode::Offline;
        if self.settings.key_scheme == KeyScheme::RequestsCache {
            // Its keys have no place for who asks.
            return Ok(offline || hop.asked.credentials.is_empty() || *by == PartitionBy::Nobody);
        }
        let (cache, asked) = (self.session.cache(), &mut hop.asked);
        let may = if offline {
            self.tolerate(cache.partition_for_replay(asked, by))?;
            true
        } else {
            self.tolerate(cache.partition(asked, by))?.unwrap_or(false)
        };
        if hop.unverified {
            asked.identity.partition = Some(partition::unverified(asked.identity.partition));
        }
        Ok(may)
    }

    /// Whether the cache may have to do with a request, so that its body is part of a key.
    fn takes_part(&self, request: &Request) -> bool {
        let (method, url) = (request.method.as_str(), request.url.as_str());
        let exchange = Exchange::new(&self.settings.rules, self.wish, method, url, &request.headers);
        !matches!(exchange.first(), First::Refuse | First::Send(_))
    }

    /// A request as the keys of requests-cache see it.
    fn keyed<'r>(&self, request: &'r Request, url: &'r str) -> Keyed<'r> {
        let (method, headers, body) = (request.method.as_str(), &*request.headers, &request.body[..]);
        Keyed { method, url, headers, body, verify: self.verifies() }
    }

    /// What is stored for a request, and the name of its variant if that has one of its own.
    fn look_up(
        &mut self,
        hop: &Hop<'_>,
        asked: &Identity,
        exchange: &Exchange<'_>,
    ) -> Result<(Lookup, Option<[u8; 32]>)> {
        let whose = match self.settings.rules.mode {
            Mode::Offline => Whose::Any,
            Mode::Cache if exchange.by_rfc() => Whose::OwnMarked,
            Mode::Cache => Whose::Own,
        };
        let hops_max = self.limit - self.history.len().min(self.limit);
        let with = if self.stream { With::Head } else { With::Body };
        let (session, headers) = (self.session, hop.asked.telling());
        let name = Cell::new(None);
        let elsewhere = |names: &[HeaderName]| {
            let rules = session.cache().foreign_keys()?;
            let url = self.with_fragment(hop.request.url.as_str().to_owned());
            let keyed = Keyed { method: &asked.method, ..self.keyed(hop.request, &url) };
            name.set(rules.variant_key(names, &keyed).map(|key| foreign(key, 0)));
            Some(Identity { name: name.get(), ..asked.clone() }).filter(|variant| variant.name.is_some())
        };
        let look = || {
            name.set(None);
            let found = session.cache().look_up(asked, headers, hops_max, (whose, with), elsewhere);
            Ok(self.tolerate(found)?.unwrap_or(Lookup::Nothing))
        };
        if !self.stream {
            return Ok((look()?, name.get()));
        }
        let (found, reader) = self.with_body(look)?;
        self.reader = reader;
        Ok((found, name.get()))
    }

    /// What a look-up finds, together with its own body: what is written in between must not bring that of another.
    fn with_body(&self, look: impl Fn() -> Result<Lookup>) -> Result<(Lookup, Option<Box<dyn BodyReader>>)> {
        const LOOKS_MAX: usize = 16;
        let cache = self.session.cache();
        let mut seen = None;
        for _ in 0..LOOKS_MAX {
            let found = look()?;
            let Lookup::Found(chain) = &found else { return Ok((found, None)) };
            let part = &chain.response;
            let Some(version) = part.body_version() else { return Ok((found, Some(Box::new(io::empty())))) };
            // It is there still, so that it cannot be read.
            if seen == Some(version) || cache.is_condemned(part.key, version) {
                break;
            }
            if let Some(reader) = self.tolerate(cache.store().reader(part.key.as_bytes(), version))?.flatten() {
                return Ok((found, Some(reader)));
            }
            seen = Some(version);
        }
        Ok((Lookup::Nothing, None))
    }

    pub(super) fn with_fragment(&self, mut url: String) -> String {
        if let Some(fragment) = &self.fragment
            && !url.contains('#')
        {
            url.push('#');
            url.push_str(fragment);
        }
        url
    }

    pub(super) fn too_many(&self, request: &Request) -> Error {
        let method = &request.method;
        let shown = request.shown_url();
        let before = |hop: &&Response| hop.stored.url == shown && hop.stored.request.method() == method.as_str();
        let times = self.history.iter().filter(before).count();
        let limit = self.limit;
        let message = if times > 0 {
            let times = times + 1;
            format!(
                "{method} takes more than {limit} redirects, in a circle that came by this URL {times} times; the server is at fault, or wants a cookie"
            )
        } else {
            format!(
                "{method} takes more than {limit} redirects; look where they lead, or raise the limit with redirects(..)"
            )
        };
        Error::new(ErrorKind::Network, message).with_url(shown)
    }

    /// The failure rule: what the store cannot do is reported, and breaks the request only if the session is strict.
    pub(super) fn tolerate<T>(&self, result: Result<T>) -> Result<Option<T>> {
        result.map(Some).or_else(|error| {
            if self.settings.leaves_out(&error) {
                return Ok(None);
            }
            self.session.report(&error);
            if self.settings.strict { Err(error) } else { Ok(None) }
        })
    }

    /// What comes where neither cache nor network may answer: an error, or what RFC 9111 has a cache answer.
    pub(super) fn refuse(&self, hop: &Hop<'_>, exchange: &Exchange<'_>) -> Result<Step> {
        self.session.cache().count_miss();
        if exchange.wants_504() { Ok(self.gateway_timeout(hop)) } else { Err(self.not_there(hop)) }
    }

    fn not_there(&self, hop: &Hop<'_>) -> Error {
        let cache = self.session.cache();
        let why = match self.settings.rules.mode {
            Mode::Offline if self.wish.disabled => "the session is offline and its cache is disabled for it".to_owned(),
            Mode::Offline => {
                let recorded = cache.recorded().unwrap_or_default();
                replay::not_recorded(&hop.asked.identity, &hop.asked.url, self.decode, &recorded)
            }
            // Asking for what may not be there is no mistake to explain, and looking through the cache takes its time.
            _ => "nothing fresh is stored for it, and it may be answered from the cache only".to_owned(),
        };
        let error = replay::miss(&hop.asked.identity.method, &hop.asked.url, &why);
        match cache.store().location() {
            Some(path) => error.with_path(path),
            None => error,
        }
    }
}

/// Whether every part of what was found may be served as it is.
fn is_served(exchange: &Exchange<'_>, found: &Lookup, now: SystemTime) -> bool {
    let Lookup::Found(chain) = found else { return false };
    let fresh = Next::Serve(Reuse::Fresh);
    let offline = Next::Serve(Reuse::Offline);
    chain.parts().all(|part| {
        let next = exchange.after_lookup(Some(&part.held()), now);
        next == fresh || next == offline
    })
}
