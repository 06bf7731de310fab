//! One hop over the network: sending it, reading the answer to its end, storing it.

use std::{
    io::{self, Read},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{DATE, TRANSFER_ENCODING},
    response,
};

use super::{
    CacheStatus, Response, Timeout, WireBody,
    cache::{Chain, Part, PartitionBy},
    decode, redirect,
    send::{Course, Hop, Step},
    source::{self, Saving, Source},
    transport::timed_out,
    whole::{announced, has_no_body},
};
use crate::{
    Error, ErrorKind, Result, StoredResponse,
    entry::Key,
    policy::{
        exchange::{Exchange, Failure, Forward, Keep},
        freshness::Facts,
        invalidate, redact,
        secret_names::squeeze,
        storable::without_connection,
        validate,
        vary::{names_a_credential, variant},
    },
};

/// What came back for one request over the network.
pub(super) struct Came {
    parts: response::Parts,
    wire: WireBody,
    /// What its headers say to a cache.
    facts: Facts,
    received: SystemTime,
    delay: Duration,
}

impl Course<'_> {
    /// Asks the origin. `stored` is what may be served if it does not answer, and whether it is asked about that.
    pub(super) fn fetch(
        &mut self,
        hop: &Hop<'_>,
        forward: Forward,
        exchange: &Exchange<'_>,
        stored: Option<(Chain, bool)>,
    ) -> Result<Step> {
        let (chain, validate) = match stored {
            Some((chain, validate)) => (Some(chain), validate),
            None => (None, false),
        };
        if hop.cached && exchange.by_rfc() {
            let mark = self.tolerate(self.session.cache().mark(&hop.asked.identity))?;
            self.marks.extend(mark);
        }
        let asked = chain.as_ref().filter(|_| validate);
        let step = match self.attempt(hop, forward, exchange, chain.as_ref(), asked) {
            // The 304 was about something else: what is stored is of no use.
            Ok(None) => self.attempt(hop, forward, exchange, chain.as_ref(), None),
            result => result,
        };
        let step = step.and_then(|step| {
            step.ok_or_else(|| {
                Error::new(ErrorKind::Network, "the server answered 304 to a request without conditions")
            })
        });
        step.map_err(|error| match error.url() {
            Some(_) => error,
            None => error.with_url(hop.request.shown_url()),
        })
    }

    /// `None` if the origin has confirmed something else than what it was asked about.
    fn attempt(
        &mut self,
        hop: &Hop<'_>,
        forward: Forward,
        exchange: &Exchange<'_>,
        stale: Option<&Chain>,
        asked: Option<&Chain>,
    ) -> Result<Option<Step>> {
        let mut request = hop.request.to_http()?;
        if let Some(chain) = asked {
            validate::add_conditions(request.headers_mut(), &chain.response.headers);
        }
        let asked_at = self.session.cache().now();
        let came = self.send(hop, &request);
        let failure = match &came {
            Err(error) if is_silence(error) => Some(Failure::Silence),
            Err(_) => None,
            Ok(came) => Some(Failure::Status(came.parts.status.as_u16())),
        };
        if let Some(failure) = failure
            && let Some(step) = self.serve_instead(hop, exchange, stale, failure)?
        {
            return Ok(Some(step));
        }
        let came = came?;
        if came.parts.status == StatusCode::NOT_MODIFIED
            && let Some(chain) = asked
        {
            let caller = &hop.request.headers;
            if validate::confirms(&chain.response.headers, &came.parts.headers, caller) {
                return self.confirmed(hop, exchange, chain, &came, asked_at);
            }
            if !validate::has_condition(caller) {
                return Ok(None);
            }
        }
        self.note_effects(hop, exchange, &came, asked_at)?;
        self.take(hop, forward, exchange, stale, &request, came).map(Some)
    }

    /// What is stored, if it may be served in the place of a failure.
    fn serve_instead(
        &mut self,
        hop: &Hop<'_>,
        exchange: &Exchange<'_>,
        stale: Option<&Chain>,
        failure: Failure,
    ) -> Result<Option<Step>> {
        let now = self.session.cache().now();
        match stale.filter(|chain| exchange.on_failure(&chain.response.held(), failure, now)) {
            Some(chain) => self.serve(hop, exchange, chain, CacheStatus::StaleHit),
            None => Ok(None),
        }
    }

    /// Sends the request and waits for the head of the answer.
    fn send(&self, hop: &Hop<'_>, request: &http::Request<Bytes>) -> Result<Came> {
        let sent = Instant::now();
        let (parts, wire) = self.deliver(hop, request)?.into_parts();
        let facts = Facts::of(&parts.headers);
        Ok(Came { facts, received: self.session.cache().now(), delay: sent.elapsed(), parts, wire })
    }

    /// Serves what is stored with the headers of a 304, and stores them.
    fn confirmed(
        &mut self,
        hop: &Hop<'_>,
        exchange: &Exchange<'_>,
        chain: &Chain,
        came: &Came,
        asked_at: SystemTime,
    ) -> Result<Option<Step>> {
        let part = self.update(hop, exchange, &chain.response, &came.parts.headers, asked_at)?;
        let chain = Chain { hops: Vec::new(), response: part };
        let step = self.serve(hop, exchange, &chain, CacheStatus::Revalidated)?;
        if step.is_none() {
            // It holds, and is not what is wanted: a filter refuses it, or it cannot be read.
            return Ok(None);
        }
        Ok(step)
    }

    /// The stored response with new headers of its origin, which are stored as well.
    fn update(
        &self,
        hop: &Hop<'_>,
        exchange: &Exchange<'_>,
        part: &Part,
        new: &HeaderMap,
        asked_at: SystemTime,
    ) -> Result<Part> {
        let headers = validate::merged(&part.headers, &redact::response_headers(new));
        let facts = Facts::of(&headers);
        let expires = exchange.expires(part.status.as_u16(), &facts, asked_at, Duration::ZERO);
        let unchanged = without_date(&headers) == without_date(&part.headers);
        let old = StoredResponse::clone(part.response());
        let response = StoredResponse { headers, ..old }.with_expires(expires).with_validated(asked_at);
        let nothing_new = !exchange.by_rfc() && unchanged && response.expires == part.expires;
        let is_forbidden = exchange.is_forbidden(part.status.as_u16(), &facts) || self.is_for_one(hop, &facts);
        if !self.settings.read_only && is_forbidden {
            self.tolerate(self.session.cache().condemn(part.key, part.version))?;
        } else if !self.settings.read_only && !nothing_new {
            // What is stored has its body where it is; only the head is written.
            self.tolerate(self.session.cache().confirm(part, &response, &self.marks))?;
        }
        Ok(part.with(response))
    }

    /// What an answer does to other stored responses: unsafe methods invalidate, HEAD updates.
    fn note_effects(&self, hop: &Hop<'_>, exchange: &Exchange<'_>, came: &Came, asked_at: SystemTime) -> Result<()> {
        if self.settings.read_only {
            return Ok(());
        }
        let (method, status) = (&hop.asked.identity.method, came.parts.status);
        if exchange.may_invalidate() {
            let urls = invalidate::invalidated(method, &hop.request.url, status.as_u16(), &came.parts.headers);
            if !urls.is_empty() {
                self.tolerate(self.session.cache().invalidate(&urls))?;
            }
        }
        // RFC 9111, 4.3.5: "When a cache receives a 200 (OK) response [to a HEAD request]".
        if let Some(get) = hop.get.as_ref().filter(|get| status == StatusCode::OK && get.status == StatusCode::OK) {
            if validate::describes(&came.parts.headers, &get.headers) {
                self.update(hop, exchange, get, &came.parts.headers, asked_at)?;
            } else {
                let stale = StoredResponse::clone(get.response()).with_expires(Some(asked_at));
                self.tolerate(self.session.cache().confirm(get, &stale, &self.marks))?;
            }
        }
        Ok(())
    }

    /// Takes an answer: follows it, or reads and stores it.
    fn take(
        &mut self,
        hop: &Hop<'_>,
        forward: Forward,
        exchange: &Exchange<'_>,
        stale: Option<&Chain>,
        request: &http::Request<Bytes>,
        came: Came,
    ) -> Result<Step> {
        let status = came.parts.status.as_u16();
        if self.limit > 0 && redirect::leads_nowhere(status, &came.parts.headers) {
            return Err(redirect::nowhere(hop.request, status));
        }
        if self.limit > 0
            && let Some(location) = redirect::location(status, &came.parts.headers)
        {
            if self.history.len() >= self.limit {
                return Err(self.too_many(hop.request));
            }
            let mut next = redirect::next(hop.bare, status, location)?;
            if self.follows_by_itself() {
                // What it has taken along is not known, so that what comes of it belongs to whoever asked.
                next.headers = Arc::clone(&hop.bare.headers);
            }
            let keep = exchange.after_redirect(status, &came.facts, came.received, came.delay);
            let keep = self.unless_for_one(hop, &came.facts, keep);
            // Its body is of no interest, and may never come. Without one, its connection can be used again once the
            // end is read.
            let stored = received_as(hop, exchange, &came, keep, Bytes::new());
            if has_no_body(request.method(), &came.parts) {
                let _ = io::copy(&mut came.wire.take(1), &mut io::sink());
            }
            self.pass_hop(hop, forward, &came.parts.headers, came.delay, keep, stored);
            self.ahead = self.follows_by_itself();
            return Ok(Step::Follow(Box::new(next)));
        }
        let keep = exchange.after_send(status, &came.facts, came.received, came.delay);
        let keep = self.unless_for_one(hop, &came.facts, keep);
        if !(hop.cached && matches!(keep, Keep::Store(_))) {
            // There will be nothing for those who wait.
            self.leads.release();
        }
        if self.stream {
            return self.hand_out(hop, forward, exchange, came, keep);
        }
        let stored = received_as(hop, exchange, &came, keep, Bytes::new());
        let Came { parts, wire, .. } = came;
        let (body, coding) = match self.read_decoded(request, &parts, wire) {
            Ok(body) => body,
            // Nobody has seen anything of the answer yet, so that it is as if none had come.
            Err(error) if is_silence(&error) || error.kind() == ErrorKind::Decode => {
                return self.serve_instead(hop, exchange, stale, Failure::Silence)?.ok_or(error);
            }
            Err(error) => return Err(error),
        };
        let stored = StoredResponse { body, ..stored }.with_coding(coding);
        let mut response = self.answer(hop, forward, &parts.headers, stored.clone());
        response.elapsed = self.started.elapsed();
        response.history.clone_from(&self.history);
        if hop.cached && matches!(keep, Keep::Store(_)) {
            response.cache_key = self.save(&response, &stored)?;
        }
        if response.cache_key.is_none() {
            // What was not stored does not expire.
            Arc::make_mut(&mut response.stored).expires = None;
        }
        self.session.cache().count_miss();
        Ok(Step::Done(Box::new(response), None))
    }

    /// What is for one alone is not stored.
    fn unless_for_one(&self, hop: &Hop<'_>, facts: &Facts, keep: Keep) -> Keep {
        if self.is_for_one(hop, facts) { Keep::Pass } else { keep }
    }

    /// Whether a response varies by something that neither the key nor the partition tells apart: by a credential, where
    /// everybody shares what is stored, or by a header that is ignored.
    fn is_for_one(&self, hop: &Hop<'_>, facts: &Facts) -> bool {
        let (names, headers) = (facts.vary.names(), &hop.asked.headers);
        let shares =
            self.settings.partition_by == PartitionBy::Nobody && names_a_credential(names, hop.asked.telling());
        let ignores =
            |name: &HeaderName| headers.contains_key(name) && self.settings.ignored.contains(&squeeze(name.as_str()));
        shares || names.iter().any(ignores)
    }

    /// The answer with its body still to be read, and stored while that happens.
    fn hand_out(
        &mut self,
        hop: &Hop<'_>,
        forward: Forward,
        exchange: &Exchange<'_>,
        came: Came,
        keep: Keep,
    ) -> Result<Step> {
        let stored = received_as(hop, exchange, &came, keep, Bytes::new());
        let Came { parts, wire, .. } = came;
        let empty = has_no_body(&hop.request.method, &parts);
        // Of the two, `Transfer-Encoding` decides (RFC 9112, 6.3).
        let length = announced(&parts.headers).filter(|_| !parts.headers.contains_key(TRANSFER_ENCODING));
        let announced = if empty { Some(0) } else { length };
        let (from, coding) = source::unpack(wire, &decode::coding_of(&parts.headers), self.decode)?;
        let stored = stored.with_coding(coding);
        let mut response = self.answer(hop, forward, &parts.headers, stored.clone());
        response.elapsed = self.started.elapsed();
        response.history.clone_from(&self.history);
        let max_body = self.settings.max_body;
        let fits = announced.is_none_or(|len| len <= max_body);
        let wanted = !self.settings.read_only && self.settings.filter.as_ref().is_none_or(|filter| filter(&response));
        let mut saving = None;
        if hop.cached && matches!(keep, Keep::Store(_)) && fits && wanted {
            let stage = self.tolerate(self.session.cache().store().stage())?;
            saving = stage.map(|stage| Saving {
                session: self.session.clone(),
                stage,
                hops: self.hops.clone(),
                response: stored,
                marks: self.marks.clone(),
                lead: None,
            });
        }
        if saving.is_none() {
            // What is not going to be stored does not expire.
            Arc::make_mut(&mut response.stored).expires = None;
            self.leads.release();
        }
        self.session.cache().count_miss();
        let announced = announced.filter(|_| !from.is_undone() || empty);
        let limits = self.limits();
        let body = self.lead_stream(hop, &response, |lead| {
            let saving = saving.map(|saving| Saving { lead, ..saving });
            Source::received(from, announced, max_body, limits).saving(saving)
        });
        Ok(Step::Done(Box::new(response), Some(body)))
    }

    /// Notes a redirect that is followed.
    fn pass_hop(
        &mut self,
        hop: &Hop<'_>,
        forward: Forward,
        headers: &HeaderMap,
        delay: Duration,
        keep: Keep,
        stored: StoredResponse,
    ) {
        let mut response = self.answer(hop, forward, headers, stored.clone());
        response.elapsed = delay;
        self.history.push(response);
        if hop.cached && matches!(keep, Keep::Store(_)) {
            self.hops.push(stored);
        } else {
            // A chain is stored from its end backwards, as far as it may.
            self.hops.clear();
        }
    }

    /// The answer as the user sees it: with the headers as they came.
    fn answer(&self, hop: &Hop<'_>, forward: Forward, headers: &HeaderMap, stored: StoredResponse) -> Response {
        Response {
            stored: Arc::new(StoredResponse { headers: headers.clone(), ..stored }),
            url: self.with_fragment(hop.request.url.to_string()),
            history: Vec::new(),
            elapsed: self.started.elapsed(),
            cache_status: forward.into(),
            cache_key: None,
            headers: None,
        }
    }

    /// Stores the answer with the redirects that led to it. Gives its key if it is stored now.
    fn save(&self, response: &Response, stored: &StoredResponse) -> Result<Option<String>> {
        if self.settings.read_only || self.settings.filter.as_ref().is_some_and(|filter| !filter(response)) {
            return Ok(None);
        }
        let saved = self.session.cache().save_fetched(&self.hops, stored, None, &self.marks);
        self.session.report_damage();
        Ok(self.tolerate(saved)?.map(Key::to_hex))
    }

    /// The time-outs of the next hop: of the total, what is left of it.
    pub(super) fn time_left(&self, hop: &Hop<'_>) -> Result<Timeout> {
        let Some(total) = self.timeout.total else { return Ok(self.timeout) };
        match total.checked_sub(self.started.elapsed()) {
            Some(left) if !left.is_zero() => Ok(Timeout { total: Some(left), ..self.timeout }),
            _ => Err(timed_out(&hop.request.method, self.timeout)),
        }
    }
}

/// Whether no answer came, as far as anybody can use it.
fn is_silence(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Network | ErrorKind::Timeout | ErrorKind::Tls)
}

/// The answer as it would be stored.
fn received_as(hop: &Hop<'_>, exchange: &Exchange<'_>, came: &Came, keep: Keep, body: Bytes) -> StoredResponse {
    let headers = redact::response_headers(&came.parts.headers);
    let headers = if exchange.by_rfc() { without_connection(&headers) } else { headers };
    let expires = match keep {
        Keep::Store(expires) => expires,
        Keep::Pass => None,
    };
    let mut request = hop.asked.to_stored();
    let names = came.facts.vary.names();
    if !names.is_empty() && !hop.asked.identity.is_foreign() {
        request.variant = Some(variant(names, hop.asked.telling()));
    }
    StoredResponse::new(request, came.parts.status, headers, body, came.received)
        .with_reason(reason(came.parts.status))
        .with_elapsed(came.delay)
        .with_expires(expires)
}

/// Headers by which a response is the same as before.
fn without_date(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(DATE);
    headers
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}
