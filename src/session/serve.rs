//! Answers from the cache: whole, in part, or that nothing has changed.

use std::{
    borrow::Cow,
    io::{Read, SeekFrom},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE},
};

use super::{
    CacheStatus, Response,
    cache::{Chain, Part},
    decode, redirect,
    reused::Reused,
    send::{Course, Hop, Step},
    source::{self, Source, Stored},
    spool::{Spool, SpoolReader},
};
use crate::{
    Error, ErrorKind, Mode, Result, StoredResponse,
    policy::{
        exchange::Exchange,
        key::Identity,
        range::{self, part_of},
        redact::REDACTED,
        validate,
    },
    store::BodyReader,
};

/// A response as it is handed out, its body apart if it is to be read in pieces.
type Shaped = (Arc<StoredResponse>, Option<SpoolReader>);

/// A stored body.
enum Body {
    Memory(Bytes),
    Reader(Box<dyn BodyReader>, u64),
}

/// What of a stored response answers the request.
enum Shape {
    Whole,
    /// The head alone, for HEAD.
    Head,
    NotModified,
    Part(Range<u64>, u64),
    /// A part that is not there, of a body of this length.
    OutOfRange(u64),
}

impl Course<'_> {
    /// Hands out what was found. `None` if it is not what is wanted after all.
    pub(super) fn serve(
        &mut self,
        hop: &Hop<'_>,
        exchange: &Exchange<'_>,
        chain: &Chain,
        how: CacheStatus,
    ) -> Result<Option<Step>> {
        let part = &chain.response;
        if self.limit > 0 && redirect::leads_nowhere(part.status.as_u16(), &part.headers) {
            return Err(redirect::nowhere(hop.request, part.status.as_u16()));
        }
        if self.limit > 0
            && let Some(location) = redirect::location(part.status.as_u16(), &part.headers)
        {
            return self.follow_stored(hop, chain, location, how);
        }
        // Whoever takes the redirect as the answer would go on to a place that the origin never named.
        if self.settings.rules.mode == Mode::Cache
            && redirect::location(part.status.as_u16(), &part.headers).is_some_and(is_redacted)
        {
            return Ok(None);
        }
        let Some((stored, body)) = self.shaped(hop, exchange, part, how)? else { return Ok(None) };
        let mut response = self.hit(hop, chain.hops.is_empty(), stored);
        response.cache_status = how;
        response.cache_key = Some(part.key.to_hex());
        if exchange.by_rfc() && Arc::ptr_eq(&response.stored, part.response()) {
            response.headers = self.reused(part, how).map(Box::new);
        }
        response.history.clone_from(&self.history);
        for (n, part) in chain.hops.iter().enumerate() {
            response.history.push(self.hit_hop(hop, n == 0, Arc::clone(part.response())));
        }
        if self.settings.filter.as_ref().is_some_and(|filter| !filter(&response)) {
            return Ok(None);
        }
        if !self.hops.is_empty() && !self.settings.read_only {
            let home = hop.asked.identity.home();
            self.tolerate(self.session.cache().save_hops(&self.hops, home, &self.marks))?;
        }
        if self.settings.has_jar() {
            response.history.iter().chain([&response]).for_each(|answer| self.replay_cookies(&answer.stored));
        }
        response.elapsed = self.started.elapsed();
        let origin: Duration = chain.parts().map(|part| part.elapsed()).sum();
        // Those of a stream are counted when they are read.
        let bytes = response.bytes().len() as u64;
        self.session.cache().count_hit(bytes, origin.saturating_sub(response.elapsed));
        Ok(Some(Step::Done(Box::new(response), body)))
    }

    /// A stored response in the shape that the request wants, and its body if that is to be read in pieces.
    fn shaped(
        &mut self,
        hop: &Hop<'_>,
        exchange: &Exchange<'_>,
        part: &Part,
        how: CacheStatus,
    ) -> Result<Option<Shaped>> {
        let Some(source) = self.source(part) else { return Ok(None) };
        let shape = match self.shape(hop, exchange, part, source.len()) {
            None => return Ok(None),
            Some(Shape::Whole) => return self.whole(hop, exchange, part, source, how),
            Some(shape) => shape,
        };
        let (stored, range) = head_of(part, self.reused_headers(part, how), &shape);
        let Some((body, stream)) = self.tolerate(source.cut(range, self.place(part)))? else { return Ok(None) };
        Ok(Some((Arc::new(StoredResponse { body, ..stored }), stream)))
    }

    /// Where the body of a stored response comes from; `None` if it is not there.
    fn source(&mut self, part: &Part) -> Option<Body> {
        if !self.stream {
            return Some(Body::Memory(part.body.clone()));
        }
        let mut reader = self.reader.take()?;
        let len = reader.seek(SeekFrom::End(0)).and_then(|len| reader.rewind().map(|()| len)).ok()?;
        Some(Body::Reader(reader, len))
    }

    /// What of a stored response the request wants; `None` if only the origin can answer it.
    fn shape(&self, hop: &Hop<'_>, exchange: &Exchange<'_>, part: &Part, len: u64) -> Option<Shape> {
        if !exchange.by_rfc() {
            return Some(Shape::Whole);
        }
        let (asked, held) = (&hop.request.headers, part.held());
        if validate::is_not_modified(asked, &held) {
            return Some(Shape::NotModified);
        }
        if hop.request.method == Method::HEAD {
            return Some(Shape::Head);
        }
        let mut ranges = asked.get_all(RANGE).iter();
        let (Some(range), None) = (ranges.next(), ranges.next()) else { return Some(Shape::Whole) };
        // Of what is handed out decoded there are no parts, as a range counts the bytes of the wire.
        let decodes = self.decode && !part.coding.is_empty();
        let applies = hop.request.method == Method::GET && part.status == StatusCode::OK && !decodes;
        if !applies || !validate::if_range_holds(asked, &held) {
            return Some(Shape::Whole);
        }
        match part_of(range.as_bytes(), len) {
            range::Part::Whole => Some(Shape::Whole),
            _ if part.coding != decode::coding_of(&part.headers) => None,
            range::Part::Of(range) => Some(Shape::Part(range, len)),
            range::Part::Nothing => Some(Shape::OutOfRange(len)),
            range::Part::Several => None,
        }
    }

    /// What changes of its headers when a stored response is used again; nothing after a validation.
    fn reused(&self, part: &Part, how: CacheStatus) -> Option<Reused> {
        (how != CacheStatus::Revalidated).then(|| Reused::new(&part.held(), self.session.cache().now()))
    }

    fn reused_headers(&self, part: &Part, how: CacheStatus) -> HeaderMap {
        let stored = part.headers.clone();
        match self.reused(part, how) {
            Some(reused) => reused.into_headers(stored),
            None => stored,
        }
    }

    /// The whole of a stored response as the request wishes it; `None` if what is stored does not give it.
    fn whole(
        &self,
        hop: &Hop<'_>,
        exchange: &Exchange<'_>,
        part: &Part,
        source: Body,
        how: CacheStatus,
    ) -> Result<Option<Shaped>> {
        let stored = part.response();
        match source {
            Body::Memory(_) => Ok(match self.as_wished(stored)? {
                None => None,
                Some(Cow::Borrowed(_)) => Some((Arc::clone(stored), None)),
                Some(Cow::Owned(body)) => {
                    let mut decoded = StoredResponse { body, ..StoredResponse::clone(stored) };
                    if exchange.by_rfc() {
                        decoded.headers = self.reused_headers(part, how);
                    }
                    Some((Arc::new(decoded), None))
                }
            }),
            Body::Reader(..) if !source::is_as_wished(stored, self.decode) => Ok(None),
            Body::Reader(reader, _) => {
                let coding = if self.decode { stored.coding.as_str() } else { "" };
                let body = Source::stored(reader, coding, self.place(part))
                    .map_err(|error| error.with_url(hop.request.shown_url()))?;
                Ok(Some((Arc::clone(stored), Some(Spool::reader(body)))))
            }
        }
    }

    fn place(&self, part: &Part) -> Stored {
        Stored { session: self.session.clone(), key: part.key, version: part.body_version() }
    }

    /// RFC 9111, 5.2.1.7: "The only-if-cached request directive indicates that the client only wishes to obtain a
    /// stored response. Caches that honor this request directive SHOULD, upon receiving it, respond with either a
    /// stored response consistent with the other constraints of the request or a 504 (Gateway Timeout) status code."
    pub(super) fn gateway_timeout(&self, hop: &Hop<'_>) -> Step {
        let now = self.session.cache().now();
        let status = StatusCode::GATEWAY_TIMEOUT;
        let stored = StoredResponse::new(hop.asked.to_stored(), status, HeaderMap::new(), Bytes::new(), now);
        let mut response = self.hit(hop, true, Arc::new(stored));
        response.cache_status = CacheStatus::NotCached;
        response.history.clone_from(&self.history);
        let body = self.stream.then(|| Spool::reader(Source::whole(Bytes::new())));
        Step::Done(Box::new(response), body)
    }

    /// Goes on from a stored redirect, the rest of whose chain is not stored with it: the limit is reached, or it was
    /// an answer of its own when it was stored.
    fn follow_stored(
        &mut self,
        hop: &Hop<'_>,
        chain: &Chain,
        location: &HeaderValue,
        how: CacheStatus,
    ) -> Result<Option<Step>> {
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
        self.history.push(Response { cache_status: how, ..response });
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
            headers: None,
            stored,
        }
    }

    fn hit_hop(&self, hop: &Hop<'_>, url_asked: bool, stored: Arc<StoredResponse>) -> Response {
        let cache_key = Identity::of(&stored.request).ok().map(|identity| identity.key().to_hex());
        Response { cache_key, ..self.hit(hop, url_asked, stored) }
    }
}

impl Body {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(body) => body.len() as u64,
            Self::Reader(_, len) => *len,
        }
    }

    /// These bytes of it, or none.
    fn cut(self, range: Option<Range<u64>>, place: Stored) -> Result<(Bytes, Option<SpoolReader>)> {
        match (self, range) {
            (Self::Memory(_), None) => Ok((Bytes::new(), None)),
            (Self::Memory(body), Some(range)) => {
                let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
                Ok((body.slice(at(range.start)..at(range.end)), None))
            }
            (Self::Reader(..), None) => Ok((Bytes::new(), Some(Spool::reader(Source::whole(Bytes::new()))))),
            (Self::Reader(mut reader, _), Some(range)) => {
                reader
                    .seek(SeekFrom::Start(range.start))
                    .map_err(|error| Error::new(ErrorKind::Store, "cannot read the stored body").with_source(error))?;
                let part = reader.take(range.end - range.start);
                Ok((Bytes::new(), Some(Spool::reader(Source::stored(part, "", place)?))))
            }
        }
    }
}

/// The head of an answer that is not the whole stored response, and which bytes of the body go with it.
fn head_of(part: &Part, headers: HeaderMap, shape: &Shape) -> (StoredResponse, Option<Range<u64>>) {
    let mut stored = StoredResponse { body: Bytes::new(), headers, ..StoredResponse::clone(part.response()) };
    let mut become_status = |status: StatusCode| {
        stored.status = status;
        status.canonical_reason().unwrap_or_default().clone_into(&mut stored.reason);
    };
    match shape {
        Shape::Whole | Shape::Head => (stored, None),
        Shape::NotModified => {
            become_status(StatusCode::NOT_MODIFIED);
            stored.headers = validate::not_modified(&stored.headers);
            (stored, None)
        }
        // RFC 9110, 15.3.7.1: "If a single part is being transferred, the server generating the 206 response MUST generate
        // a Content-Range header field, describing what range of the selected representation is enclosed".
        Shape::Part(range, len) => {
            become_status(StatusCode::PARTIAL_CONTENT);
            let described = format!("bytes {}-{}/{len}", range.start, range.end - 1);
            stored.headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
            insert_text(&mut stored.headers, &described);
            (stored, Some(range.clone()))
        }
        // 15.5.17: "A server that generates a 416 response to a byte-range request SHOULD generate a Content-Range header
        // field specifying the current length of the selected representation".
        Shape::OutOfRange(len) => {
            become_status(StatusCode::RANGE_NOT_SATISFIABLE);
            stored.headers.remove(CONTENT_LENGTH);
            insert_text(&mut stored.headers, &format!("bytes */{len}"));
            (stored, None)
        }
    }
}

fn insert_text(headers: &mut HeaderMap, content_range: &str) {
    if let Ok(value) = HeaderValue::from_str(content_range) {
        headers.insert(CONTENT_RANGE, value);
    }
}

/// Whether a credential was taken out of it.
fn is_redacted(location: &HeaderValue) -> bool {
    location.as_bytes().windows(REDACTED.len()).any(|part| part == REDACTED.as_bytes())
}
