//! One hop over the network: sending it, reading the answer to its end, storing it.

use std::{
    io::{self, Read},
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    response,
};

use super::{
    Response, Timeout, WireBody, decode, redirect,
    send::{Course, Hop, Step},
    source::{self, Saving, Source},
    transport::timed_out,
};
use crate::{
    Error, ErrorKind, Result, StoredResponse,
    entry::Key,
    policy::{
        exchange::{Exchange, Forward, Keep},
        redact,
    },
};

/// What is set aside for a body before its first byte has come, whatever its announced length.
const RESERVED: u64 = 1 << 20;

impl Course<'_> {
    pub(super) fn fetch(&mut self, hop: &Hop<'_>, forward: Forward, exchange: &Exchange<'_>) -> Result<Step> {
        self.attempt(hop, forward, exchange).map_err(|error| match error.url() {
            Some(_) => error,
            None => error.with_url(hop.request.shown_url()),
        })
    }

    fn attempt(&mut self, hop: &Hop<'_>, forward: Forward, exchange: &Exchange<'_>) -> Result<Step> {
        let sent = Instant::now();
        let request = hop.request.to_http()?;
        let (parts, wire) = self.deliver(hop, &request)?.into_parts();
        let received = self.session.cache().now();
        if self.limit > 0 && redirect::leads_nowhere(parts.status.as_u16(), &parts.headers) {
            return Err(redirect::nowhere(hop.request, parts.status.as_u16()));
        }
        if self.limit > 0
            && let Some(location) = redirect::location(parts.status.as_u16(), &parts.headers)
        {
            if self.history.len() >= self.limit {
                return Err(self.too_many(hop.request));
            }
            let next = redirect::next(hop.bare, parts.status.as_u16(), location)?;
            // Its body is of no interest, and may never come. Without one, its connection can be used again once the
            // end is read.
            if has_no_body(request.method(), &parts) {
                let _ = io::copy(&mut wire.take(1), &mut io::sink());
            }
            self.pass_hop(hop, forward, &parts, sent, exchange.after_redirect(&parts.headers, received), received);
            return Ok(Step::Follow(Box::new(next)));
        }
        let keep = exchange.after_send(parts.status.as_u16(), &parts.headers, received);
        if !(hop.cached && matches!(keep, Keep::Store(_))) {
            // There will be nothing for those who wait.
            self.leads.release();
        }
        if self.stream {
            return self.hand_out(hop, forward, keep, &parts, wire, sent, received);
        }
        let wire = self.read(&request, &parts, wire)?;
        let coding = decode::coding_of(&parts.headers);
        let (body, coding) = if self.decode {
            let deadline = self.timeout.total.and_then(|total| self.started.checked_add(total));
            decode::decode(&wire, &coding, self.settings.max_body, deadline)?
        } else {
            (wire, coding)
        };
        let stored = received_as(hop, &parts, sent, keep, received, body).with_coding(coding);
        let mut response = self.answer(hop, forward, &parts, stored.clone());
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

    /// The answer with its body still to be read, and stored while that happens.
    #[expect(clippy::too_many_arguments, reason = "what is known of one answer")]
    fn hand_out(
        &mut self,
        hop: &Hop<'_>,
        forward: Forward,
        keep: Keep,
        parts: &response::Parts,
        wire: WireBody,
        sent: Instant,
        received: SystemTime,
    ) -> Result<Step> {
        let empty = has_no_body(&hop.request.method, parts);
        // Of the two, `Transfer-Encoding` decides (RFC 9112, 6.3).
        let length = announced(&parts.headers).filter(|_| !parts.headers.contains_key(TRANSFER_ENCODING));
        let announced = if empty { Some(0) } else { length };
        let (from, coding) = source::unpack(wire, &decode::coding_of(&parts.headers), self.decode)?;
        let stored = received_as(hop, parts, sent, keep, received, Bytes::new()).with_coding(coding);
        let mut response = self.answer(hop, forward, parts, stored.clone());
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
        let body = self.lead_stream(&response, |lead| {
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
        parts: &response::Parts,
        sent: Instant,
        keep: Keep,
        received: SystemTime,
    ) {
        let stored = received_as(hop, parts, sent, keep, received, Bytes::new());
        let mut response = self.answer(hop, forward, parts, stored.clone());
        response.elapsed = sent.elapsed();
        self.history.push(response);
        if hop.cached && matches!(keep, Keep::Store(_)) {
            self.hops.push(stored);
        } else {
            // A chain is stored from its end backwards, as far as it may.
            self.hops.clear();
        }
    }

    /// The answer as the user sees it: with the headers as they came.
    fn answer(&self, hop: &Hop<'_>, forward: Forward, parts: &response::Parts, stored: StoredResponse) -> Response {
        Response {
            stored: Arc::new(StoredResponse { headers: parts.headers.clone(), ..stored }),
            url: self.with_fragment(hop.request.url.to_string()),
            history: Vec::new(),
            elapsed: self.started.elapsed(),
            cache_status: forward.into(),
            cache_key: None,
        }
    }

    /// Stores the answer with the redirects that led to it. Gives its key if it is stored now.
    fn save(&self, response: &Response, stored: &StoredResponse) -> Result<Option<String>> {
        if self.settings.read_only || self.settings.filter.as_ref().is_some_and(|filter| !filter(response)) {
            return Ok(None);
        }
        let saved = self.session.cache().save_chain(&self.hops, stored);
        self.session.report_damage();
        Ok(self.tolerate(saved)?.map(Key::to_hex))
    }

    /// The body as it came, or an error if it did not come whole.
    fn read(&self, request: &http::Request<Bytes>, parts: &response::Parts, wire: WireBody) -> Result<Bytes> {
        let max = self.settings.max_body;
        let announced = if has_no_body(request.method(), parts) { None } else { announced(&parts.headers) };
        let announced = announced.unwrap_or(0);
        if announced > max {
            return Err(decode::too_large(max));
        }
        let reserved = usize::try_from(announced.min(RESERVED)).unwrap_or(0);
        let mut body = Vec::with_capacity(reserved);
        if let Err(error) = wire.take(max.saturating_add(1)).read_to_end(&mut body) {
            if error.kind() == io::ErrorKind::TimedOut {
                return Err(timed_out(request.method(), self.timeout).with_source(error));
            }
            let message = format!(
                "the connection broke after {} bytes of the body of {} ({error}); nothing was stored, try again",
                body.len(),
                request.method()
            );
            return Err(Error::new(ErrorKind::Network, message).with_source(error));
        }
        if body.len() as u64 > max {
            return Err(decode::too_large(max));
        }
        Ok(body.into())
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

/// Whether the answer ends with its head: `Content-Length` of an answer to HEAD and of a 304 is that of the body that
/// a GET would have brought (RFC 9110, 8.6).
fn has_no_body(method: &Method, parts: &response::Parts) -> bool {
    method == Method::HEAD
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        // Of the two, `Transfer-Encoding` decides (RFC 9112, 6.3).
        || announced(&parts.headers) == Some(0) && !parts.headers.contains_key(TRANSFER_ENCODING)
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The answer as it would be stored.
fn received_as(
    hop: &Hop<'_>,
    parts: &response::Parts,
    sent: Instant,
    keep: Keep,
    received: SystemTime,
    body: Bytes,
) -> StoredResponse {
    let headers = redact::response_headers(&parts.headers);
    let expires = match keep {
        Keep::Store(expires) => expires,
        Keep::Pass => None,
    };
    StoredResponse::new(hop.asked.to_stored(), parts.status, headers, body, received)
        .with_reason(reason(parts.status))
        .with_elapsed(sent.elapsed())
        .with_expires(expires)
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}
