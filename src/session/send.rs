//! The course of one request through cache and network, redirects included.

use std::{borrow::Cow, io, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue,
    header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE},
};

use super::{
    CacheStatus, CachedSession, KeyScheme, Response, Serializer, Timeout, Transport,
    cache::{Chain, PartitionBy, Whose, With},
    decode,
    delivery::Delivery,
    disabled, redirect,
    request::{Options, Request},
    settings::Settings,
    share::{Leads, Shared},
    source::{self, Source, Stored},
    spool::{Spool, SpoolReader},
    stream::ResponseStream,
};
use crate::{
    Error, ErrorKind, Mode, Result, StoredResponse,
    policy::{
        exchange::{Exchange, First, Forward, Next, Wish},
        key::{Asked, Identity},
        partition,
        redact::REDACTED,
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
    only_if_cached: bool,
    pub(super) timeout: Timeout,
    /// What the request sets of how it is sent.
    pub(super) delivery: Option<Box<Delivery>>,
    pub(super) limit: usize,
    pub(super) decode: bool,
    /// Whether the body is to be handed out in pieces.
    pub(super) stream: bool,
    /// The body of what the last look-up found, where it is to be handed out so.
    reader: Option<Box<dyn BodyReader>>,
    pub(super) leads: Leads,
    pub(super) started: Instant,
    /// Of the URL that was asked; it is carried over to wherever redirects lead.
    pub(super) fragment: Option<String>,
    /// The redirects so far, as the user sees them.
    pub(super) history: Vec<Response>,
    /// The same as they would be stored: those at the end of the list that may be.
    pub(super) hops: Vec<StoredResponse>,
}

/// What one hop came to.
pub(super) enum Step {
    /// The answer; its body apart if it is to be read in pieces.
    Done(Box<Response>, Option<SpoolReader>),
    Follow(Box<Request>),
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
}

impl<'a> Course<'a> {
    pub(super) fn new(session: &'a CachedSession, options: &Options) -> Self {
        let settings = session.settings();
        let wish = Wish {
            expire: options.expire,
            refresh: options.refresh,
            disabled: options.no_store || disabled::is_disabled(session.id()),
        };
        Self {
            session,
            settings,
            through: None,
            wish,
            only_if_cached: options.only_if_cached,
            timeout: options.timeout.unwrap_or(settings.timeout),
            delivery: options.delivery.clone(),
            limit: options.redirects.unwrap_or(settings.redirects),
            decode: options.decode.unwrap_or(settings.decode),
            stream: false,
            reader: None,
            leads: Leads::default(),
            started: Instant::now(),
            fragment: None,
            history: Vec::new(),
            hops: Vec::new(),
        }
    }

    /// The same, but that the requests are sent by something else.
    pub(super) fn through(session: &'a CachedSession, options: &Options, transport: &'a dyn Transport) -> Self {
        Self { through: Some(transport), ..Self::new(session, options) }
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
        let mut share = true;
        loop {
            if let Some(step) = self.try_step(request, share)? {
                return Ok(step);
            }
            // Whoever has waited for another once looks again, and then goes its own way.
            share = false;
        }
    }

    /// The same, or `None` if an identical request has ended meanwhile.
    fn try_step(&mut self, request: &Request, share: bool) -> Result<Option<Step>> {
        let landed = self.session.flights().landed();
        let bare = request;
        let dressed = if self.is_plain(bare) { None } else { Some(self.dress(bare)?) };
        let request = dressed.as_ref().map_or(bare, |dressed| &dressed.request);
        let mut asked = Asked::parsed(request.method.as_str(), &request.url, &request.headers, &request.body)?;
        if let Some(dressed) = &dressed {
            self.count_credentials(&mut asked, dressed);
        }
        let unverified = dressed.is_some() && self.is_unverified(request);
        let mut hop = Hop { request, bare, unverified, asked, cached: true };
        if let Some(key_fn) = &self.settings.key_fn {
            hop.asked.name(&key_fn(request));
        }
        if let Some(rules) = self.session.cache().foreign_keys() {
            let url = self.with_fragment(request.url.as_str().to_owned());
            let (method, headers, body) = (request.method.as_str(), &*request.headers, &request.body[..]);
            let keyed = Keyed { method, url: &url, headers, body, verify: !self.is_unverified(request) };
            hop.asked.foreign(rules, &keyed, self.settings.serializer == Serializer::Json);
        }
        let method = hop.asked.identity.method.clone();
        let exchange = Exchange::new(&self.settings.rules, self.wish, &method);
        let forward = match exchange.first() {
            First::LookUp | First::Send(_) if self.asks_for_less(request) => {
                hop.cached = false;
                Forward::Bypass
            }
            First::Refuse => return Err(self.refuse(&hop)),
            First::Send(forward @ (Forward::Bypass | Forward::Method)) => {
                hop.cached = false;
                forward
            }
            First::Send(forward) => {
                hop.cached = self.partition(&mut hop)?;
                forward
            }
            First::LookUp => {
                hop.cached = self.partition(&mut hop)?;
                let found = if hop.cached { self.look_up(&hop)? } else { None };
                let judged = found.as_ref().map(Chain::found);
                match (exchange.after_lookup(judged, self.session.cache().now()), found) {
                    (Next::Serve, Some(chain)) => match self.serve(&hop, chain)? {
                        Some(step) => return Ok(Some(step)),
                        None => Forward::UriMiss,
                    },
                    (Next::Send(forward), _) => forward,
                    (Next::Serve | Next::Refuse, _) => return Err(self.refuse(&hop)),
                }
            }
        };
        if self.only_if_cached || self.settings.rules.mode == Mode::Offline {
            return Err(self.refuse(&hop));
        }
        let shared = if share { self.share(&hop, forward, landed)? } else { Shared::No };
        match shared {
            Shared::No => self.fetch(&hop, forward, &exchange).map(Some),
            Shared::LookAgain => Ok(None),
            Shared::Answer(step) => Ok(Some(step)),
        }
    }

    /// Whether the answer may be a part, a 304 or a 412: it must not be taken for the whole, nor the other way round.
    fn asks_for_less(&self, request: &Request) -> bool {
        const LESS: [HeaderName; 6] =
            [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
        self.settings.rules.mode != Mode::Offline && LESS.iter().any(|name| request.headers.contains_key(name))
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
        let exchange = Exchange::new(&self.settings.rules, self.wish, request.method.as_str());
        !matches!(exchange.first(), First::Refuse | First::Send(Forward::Bypass | Forward::Method))
    }

    fn look_up(&mut self, hop: &Hop<'_>) -> Result<Option<Chain>> {
        let whose = if self.settings.rules.mode == Mode::Offline { Whose::Any } else { Whose::Own };
        let hops_max = self.limit - self.history.len().min(self.limit);
        let with = if self.stream { With::Head } else { With::Body };
        let (session, asked) = (self.session, &hop.asked.identity);
        let look = || self.tolerate(session.cache().look_up(asked, hops_max, whose, with)).map(Option::flatten);
        if !self.stream {
            return look();
        }
        let found = self.with_body(look)?;
        Ok(found.map(|(chain, reader)| {
            self.reader = Some(reader);
            chain
        }))
    }

    /// What a look-up finds, together with its own body: what is written in between must not bring that of another.
    fn with_body(&self, look: impl Fn() -> Result<Option<Chain>>) -> Result<Option<(Chain, Box<dyn BodyReader>)>> {
        const LOOKS_MAX: usize = 16;
        let cache = self.session.cache();
        let mut seen = None;
        for _ in 0..LOOKS_MAX {
            let Some(chain) = look()? else { return Ok(None) };
            let Some(version) = chain.version else { return Ok(Some((chain, Box::new(io::empty())))) };
            // It is there still, so that it cannot be read.
            if seen == Some(version) || cache.is_condemned(chain.key, version) {
                return Ok(None);
            }
            if let Some(reader) = self.tolerate(cache.store().reader(chain.key.as_bytes(), version))?.flatten() {
                return Ok(Some((chain, reader)));
            }
            seen = Some(version);
        }
        Ok(None)
    }

    /// Hands out what was found. `None` if it is not what is wanted after all.
    fn serve(&mut self, hop: &Hop<'_>, chain: Chain) -> Result<Option<Step>> {
        let status = chain.response.status.as_u16();
        if self.limit > 0 && redirect::leads_nowhere(status, &chain.response.headers) {
            return Err(redirect::nowhere(hop.request, status));
        }
        if self.limit > 0
            && let Some(location) = redirect::location(chain.response.status.as_u16(), &chain.response.headers)
        {
            return self.follow_stored(hop, &chain, location);
        }
        // Whoever takes the redirect as the answer would go on to a place that the origin never named.
        if self.settings.rules.mode == Mode::Cache
            && redirect::location(chain.response.status.as_u16(), &chain.response.headers).is_some_and(is_redacted)
        {
            return Ok(None);
        }
        let (stored, body) = if self.stream {
            let Some(body) = self.stored_body(hop, &chain)? else { return Ok(None) };
            (chain.response, Some(body))
        } else {
            match self.as_wished(&chain.response)? {
                None => return Ok(None),
                Some(Cow::Borrowed(_)) => (chain.response, None),
                Some(Cow::Owned(body)) => {
                    (Arc::new(StoredResponse { body, ..StoredResponse::clone(&chain.response) }), None)
                }
            }
        };
        let mut response = self.hit(hop, chain.hops.is_empty(), stored);
        response.cache_key = Some(chain.key.to_hex());
        response.history.clone_from(&self.history);
        for (n, stored) in chain.hops.into_iter().enumerate() {
            response.history.push(self.hit_hop(hop, n == 0, stored));
        }
        if self.settings.filter.as_ref().is_some_and(|filter| !filter(&response)) {
            return Ok(None);
        }
        if !self.hops.is_empty() && !self.settings.read_only {
            self.tolerate(self.session.cache().save_hops(&self.hops, hop.asked.identity.key()))?;
        }
        if self.settings.has_jar() {
            response.history.iter().chain([&response]).for_each(|answer| self.replay_cookies(&answer.stored));
        }
        self.session.cache().count_hit();
        response.elapsed = self.started.elapsed();
        Ok(Some(Step::Done(Box::new(response), body)))
    }

    /// The body of what was found, to be read in pieces; `None` if it is not there, or not as it is wished.
    fn stored_body(&mut self, hop: &Hop<'_>, chain: &Chain) -> Result<Option<SpoolReader>> {
        let stored = &chain.response;
        let reader = self.reader.take().filter(|_| source::is_as_wished(stored, self.decode));
        let Some(reader) = reader else { return Ok(None) };
        let coding = if self.decode { stored.coding.as_str() } else { "" };
        let place = Stored { session: self.session.clone(), key: chain.key, version: chain.version };
        let body = Source::stored(reader, coding, place).map_err(|error| error.with_url(hop.request.shown_url()))?;
        Ok(Some(Spool::reader(body)))
    }

    /// Goes on from a stored redirect, the rest of whose chain is not stored with it: the limit is reached, or it was
    /// an answer of its own when it was stored.
    fn follow_stored(&mut self, hop: &Hop<'_>, chain: &Chain, location: &HeaderValue) -> Result<Option<Step>> {
        if self.history.len() + chain.hops.len() >= self.limit {
            return Err(self.too_many(hop.request));
        }
        // Where a credential was taken out it leads elsewhere; in the middle of a chain the request is not known.
        if is_redacted(location) || !chain.hops.is_empty() {
            return Ok(None);
        }
        let next = redirect::next(hop.bare, chain.response.status.as_u16(), location)
            .map_err(|error| error.with_url(hop.request.shown_url()))?;
        let stored = StoredResponse { body: Bytes::new(), ..StoredResponse::clone(&chain.response) };
        self.hops.push(stored.clone());
        let response = self.hit_hop(hop, true, Arc::new(stored));
        self.history.push(response);
        Ok(Some(Step::Follow(Box::new(next))))
    }

    /// The body as the request wishes it; `None` if what is stored does not give it: it cannot be decoded, or the
    /// bytes of the wire are wanted and not stored.
    fn as_wished<'s>(&self, stored: &'s StoredResponse) -> Result<Option<Cow<'s, Bytes>>> {
        if self.decode && stored.coding.is_empty() {
            return Ok(Some(Cow::Borrowed(&stored.body)));
        }
        if self.decode {
            let decoded = decode::decode(&stored.body, &stored.coding, self.settings.max_body, None);
            return match decoded.map_err(|error| error.with_url(stored.url.clone())) {
                Ok((body, _)) => Ok(Some(Cow::Owned(body))),
                Err(error) if self.settings.rules.mode == Mode::Offline => Err(error),
                Err(error) => {
                    // The origin may have something better by now, and what it sends takes the place of this.
                    self.session.report(&error);
                    Ok(None)
                }
            };
        }
        let as_on_the_wire = stored.body.is_empty() || stored.coding == decode::coding_of(&stored.headers);
        Ok(as_on_the_wire.then_some(Cow::Borrowed(&stored.body)))
    }

    fn hit(&self, hop: &Hop<'_>, url_asked: bool, stored: Arc<StoredResponse>) -> Response {
        let url = if url_asked { hop.request.url.as_str().to_owned() } else { stored.url.clone() };
        Response {
            url: self.with_fragment(url),
            history: Vec::new(),
            elapsed: self.started.elapsed(),
            cache_status: CacheStatus::Hit,
            cache_key: None,
            stored,
        }
    }

    fn hit_hop(&self, hop: &Hop<'_>, url_asked: bool, stored: Arc<StoredResponse>) -> Response {
        let cache_key = Identity::of(&stored.request).ok().map(|identity| identity.key().to_hex());
        Response { cache_key, ..self.hit(hop, url_asked, stored) }
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
            self.session.report(&error);
            if self.settings.strict { Err(error) } else { Ok(None) }
        })
    }

    /// The error where neither cache nor network may answer.
    fn refuse(&self, hop: &Hop<'_>) -> Error {
        let cache = self.session.cache();
        cache.count_miss();
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

/// Whether a credential was taken out of it.
fn is_redacted(location: &HeaderValue) -> bool {
    location.as_bytes().windows(REDACTED.len()).any(|part| part == REDACTED.as_bytes())
}
