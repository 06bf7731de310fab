//! A request that meets an identical one under way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderName;

use super::{
    CacheStatus, Response, ResponseStream,
    cache::Chain,
    flight::{Lead, Leading, Part, Stream, Waited},
    request::Request,
    send::{Course, Hop, Step},
    source::{Limits, Source},
    spool::{Spool, SpoolReader},
    transport::timed_out,
};
use crate::{
    Result,
    entry::Key,
    policy::{
        exchange::Forward,
        key::variant_key,
        vary::{Vary, variant},
    },
};

/// Flights that a hop takes part in before it goes its own way: that of its URL, and that of its variant.
const FLIGHTS_MAX: usize = 2;

/// What comes of it.
pub(super) enum Shared {
    /// Send it.
    No,
    /// Look again: there may be something by now.
    LookAgain,
    /// The answer of the other.
    Answer(Step),
}

/// The flights that a course leads.
#[derive(Default)]
pub(super) struct Leads {
    led: Vec<Lead>,
    /// The request as it was asked, if the first of them is for that.
    asked: Option<Request>,
    here: Option<Leading>,
}

impl Leads {
    /// Ends the wait of all who wait for one of them.
    pub(super) fn release(&mut self) {
        *self = Self::default();
    }

    fn add(&mut self, lead: Lead, asked: Option<Request>) {
        self.here.get_or_insert_with(Leading::begin);
        if self.led.is_empty() {
            self.asked = asked;
        }
        self.led.push(lead);
    }

    /// Ends the wait of all who wait for this one.
    fn give_up(&mut self, key: Key) {
        self.led.retain(|lead| !lead.is_of(key));
        if self.led.is_empty() {
            self.release();
        }
    }

    /// The one that a stream goes on leading: that of what was asked.
    fn take_asked(&mut self) -> Option<(Lead, Request)> {
        let asked = self.asked.take();
        let mut led = std::mem::take(self).led;
        asked.map(|asked| (led.swap_remove(0), asked))
    }
}

impl Course<'_> {
    /// Under which key others may wait for this request; `None` if it is sent whatever others do. `stored` is what is
    /// stale, else `names` are the headers that tell it from what is stored.
    pub(super) fn flight_of(
        &self,
        hop: &Hop<'_>,
        forward: Forward,
        stored: Option<&Chain>,
        names: &[HeaderName],
    ) -> Option<Key> {
        let shares = match forward {
            Forward::UriMiss | Forward::Stale => true,
            Forward::VaryMiss => !names.is_empty(),
            Forward::Bypass | Forward::Method | Forward::Request => false,
        };
        if !(shares && self.settings.single_flight && hop.cached && !self.settings.read_only) {
            return None;
        }
        Some(match stored {
            Some(chain) => of_variant(hop, chain.response.request.variant),
            None => of_variant(hop, varies(names, hop)),
        })
    }

    /// Waits for an identical request that is under way, or leads. `landed` is how many had ended before the look-up,
    /// and `joined` are the flights that this hop has taken part in: whoever has waited for one looks again, and does
    /// not wait for the same twice.
    pub(super) fn share(&mut self, hop: &Hop<'_>, mut key: Key, landed: u64, joined: &mut Vec<Key>) -> Result<Shared> {
        loop {
            if joined.contains(&key) || joined.len() == FLIGHTS_MAX {
                return Ok(Shared::No);
            }
            // The answer that it was led for is there, and for others; who leads could not wait now.
            for key in joined.iter() {
                self.leads.give_up(*key);
            }
            joined.push(key);
            let flights = self.session.flights();
            let flight = match flights.join(key) {
                Part::Lead(lead) => {
                    self.leads.add(lead, self.history.is_empty().then(|| hop.request.clone()));
                    return Ok(if flights.landed() == landed { Shared::No } else { Shared::LookAgain });
                }
                Part::Follow(_) if Leading::is_here() => return Ok(Shared::No),
                Part::Follow(flight) => flight,
            };
            let limits = self.limits();
            match flight.wait(limits.deadline.or_else(|| self.patience())) {
                Waited::TooLong if limits.deadline.is_some() => {
                    return Err(timed_out(&hop.request.method, self.timeout).with_url(hop.request.shown_url()));
                }
                Waited::TooLong => return Ok(Shared::No),
                Waited::Over => return Ok(Shared::LookAgain),
                Waited::Stream(stream) => match other_variant(hop, &stream) {
                    Some(other) => key = other,
                    None => return Ok(self.read_along(hop, &stream)),
                },
            }
        }
    }

    /// How long a body may take.
    pub(super) fn limits(&self) -> Limits {
        let deadline = self.timeout.total.and_then(|total| self.started.checked_add(total));
        Limits { deadline, read: self.timeout.read }
    }

    /// A body that is going to be stored leads on, and others may read it along.
    pub(super) fn lead_stream(
        &mut self,
        hop: &Hop<'_>,
        response: &Response,
        source: impl FnOnce(Option<Lead>) -> Source,
    ) -> SpoolReader {
        let Some((mut lead, request)) = self.leads.take_asked() else { return Spool::reader(source(None)) };
        // As soon as another variant is stored, requests for this one look for it by its variant. Behind a redirect that
        // is the variant of another URL, and what was asked is not what they ask.
        if self.history.is_empty()
            && let Some(variant) = varies(Vary::of(response.headers()).names(), hop)
        {
            lead.lead_also(of_variant(hop, Some(variant)));
        }
        let flight = lead.flight();
        let reader = Spool::reader(source(Some(lead)));
        flight.stream(Stream {
            request,
            fragment: self.fragment.clone(),
            limit: self.limit,
            decode: self.decode,
            response: response.clone(),
            spool: Arc::downgrade(reader.spool()),
        });
        reader
    }

    /// When a request without a limit of its whole time goes its own way: after as long as its own connection and first
    /// byte might take.
    fn patience(&self) -> Option<Instant> {
        let read = self.timeout.read?;
        Instant::now().checked_add(read.saturating_add(self.timeout.connect.unwrap_or(Duration::ZERO)))
    }

    /// The answer whose body is being read for another. Not if anything in the two requests differs: what the key
    /// leaves out may still choose among variants.
    fn read_along(&mut self, hop: &Hop<'_>, stream: &Stream) -> Shared {
        let (own, other) = (hop.request, &stream.request);
        let identical = own.method == other.method
            && own.url == other.url
            && own.headers == other.headers
            && own.body == other.body
            && self.fragment == stream.fragment;
        if !(identical && self.history.is_empty() && self.limit == stream.limit && self.decode == stream.decode) {
            return Shared::No;
        }
        let Some(spool) = stream.spool.upgrade() else { return Shared::LookAgain };
        let Some(reader) = spool.join(self.limits()) else { return Shared::No };
        drop(spool);
        let mut response = Response { cache_status: CacheStatus::Collapsed, ..stream.response.clone() };
        response.elapsed = self.started.elapsed();
        if self.stream {
            self.session.cache().count_miss();
            return Shared::Answer(Step::Done(Box::new(response), Some(reader)));
        }
        // If it breaks off, that was somebody else's connection, and nothing of it was handed out.
        let Ok(mut response) = ResponseStream::new(response, reader, self.settings.max_body).into_response() else {
            return Shared::No;
        };
        self.session.cache().count_miss();
        response.elapsed = self.started.elapsed();
        Shared::Answer(Step::Done(Box::new(response), None))
    }
}

/// The key of the flight of one variant, or of the URL.
fn of_variant(hop: &Hop<'_>, variant: Option<[u8; 32]>) -> Key {
    let identity = &hop.asked.identity;
    let of = |variant| variant_key(&identity.base(), identity.partition.as_ref(), &variant);
    variant.map_or_else(|| identity.key(), of)
}

/// The variant by these headers, if there are any.
fn varies(names: &[HeaderName], hop: &Hop<'_>) -> Option<[u8; 32]> {
    (!names.is_empty()).then(|| variant(names, hop.asked.telling()))
}

/// The flight of the variant that is asked for, if a body that is being read is another one.
fn other_variant(hop: &Hop<'_>, stream: &Stream) -> Option<Key> {
    let vary = Vary::of(stream.response.headers());
    let differs = variant(vary.names(), &hop.request.headers) != variant(vary.names(), &stream.request.headers);
    differs.then(|| of_variant(hop, varies(vary.names(), hop)))
}
