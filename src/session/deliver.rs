//! Sending one hop: with its body, by its proxy, with the answer to a challenge, and again if it failed.

use std::{
    io::{self, Read},
    thread,
};

use bytes::Bytes;
use http::{Request, Response};

use super::{
    Body, HopOptions, Verify, WireBody,
    auth::Auth,
    retries::Failed,
    send::{Course, Hop},
    transport::{timed_out, with_body},
};
use crate::{Error, ErrorKind, Result};

/// Of the body of an answer that is not the one that counts, for the sake of its connection.
const DRAINED_MAX: u64 = 64 << 10;

impl Course<'_> {
    /// Sends a request, and gives the answer that counts.
    pub(super) fn deliver(&self, hop: &Hop<'_>, request: &Request<Bytes>) -> Result<Response<WireBody>> {
        let body = hop.request.body_to_send();
        let retries = self.set(|delivery| delivery.retries.as_ref());
        // A body that can be read only once is not sent a second time.
        let retries = retries.filter(|_| body.is_none_or(Body::is_repeatable));
        for tried in 1.. {
            let result = self.deliver_once(hop, request, body);
            let failed = match &result {
                Ok(answer) => Failed::Status(answer.status().as_u16(), answer.headers()),
                Err(error) => Failed::Error(error),
            };
            let now = self.session.cache().now();
            let wait = retries.and_then(|retries| retries.wait(tried, request.method(), &failed, now));
            let Some(wait) = wait.filter(|wait| self.has_time_for(*wait)) else { return result };
            result.into_iter().for_each(drain);
            thread::sleep(wait);
        }
        Err(Error::new(ErrorKind::Network, "the request was sent more often than can be counted"))
    }

    /// The same without trying again, but for the answer to a challenge.
    fn deliver_once(&self, hop: &Hop<'_>, request: &Request<Bytes>, body: Option<&Body>) -> Result<Response<WireBody>> {
        #[cfg(feature = "digest")]
        if let Some(Auth::Digest { user, password }) = hop.request.auth() {
            let who = super::auth::digest::Who { user, password, url: &hop.request.url };
            return self.deliver_challenged(hop, request, body, who);
        }
        #[cfg(not(feature = "digest"))]
        if let Some(Auth::Digest { .. }) = hop.request.auth() {
            return Err(Error::new(ErrorKind::NotBuiltIn, "digest_auth(..) needs the feature `digest`"));
        }
        self.hand_over(hop, request, body)
    }

    #[cfg(feature = "digest")]
    fn deliver_challenged(
        &self,
        hop: &Hop<'_>,
        request: &Request<Bytes>,
        body: Option<&Body>,
        who: super::auth::digest::Who<'_>,
    ) -> Result<Response<WireBody>> {
        use http::header::AUTHORIZATION;
        // Once without an answer, once with a nonce that has become too old, once with the new one.
        const TRIES_MAX: usize = 3;
        let challenges = &self.settings.challenges;
        for tried in 1.. {
            let answer = challenges.answer(who, request);
            let answered = answer.is_some();
            let mut request = request.clone();
            request.headers_mut().extend(answer.map(|answer| (AUTHORIZATION, answer)));
            let response = self.hand_over(hop, &request, body)?;
            let refused = response.status() != http::StatusCode::UNAUTHORIZED
                || !challenges.learn(who, response.headers(), answered)
                || tried >= TRIES_MAX;
            if refused {
                return Ok(response);
            }
            drain(response);
        }
        Err(Error::new(ErrorKind::Network, "the server asks for another answer each time"))
    }

    /// Gives a request to the transport, once.
    fn hand_over(&self, hop: &Hop<'_>, request: &Request<Bytes>, body: Option<&Body>) -> Result<Response<WireBody>> {
        let options = self.hop_options(hop)?;
        let transport = self.transport();
        let answer = match body {
            None => transport.send(request, &options),
            Some(body) => {
                let mut opened = body.open()?;
                transport.send_reader(&with_body(request, ()), &mut *opened.reader, opened.len, &options)
            }
        };
        let answer = answer.map_err(|error| match error.kind() {
            // The transport was told what is left of the limit, which is not what the caller has set.
            ErrorKind::Timeout => timed_out(request.method(), self.timeout).with_source(error),
            _ => error,
        })?;
        self.keep_cookies(&hop.request.url, answer.headers());
        Ok(answer)
    }

    fn hop_options(&self, hop: &Hop<'_>) -> Result<HopOptions> {
        let url = &hop.request.url;
        let verify = self.verify();
        if verify == Verify::Off && url.scheme() == "https" {
            #[cfg(feature = "tracing")]
            tracing::warn!(
                url = hop.request.shown_url(),
                "the server's certificate is not verified: anyone on the way can read and change everything"
            );
        }
        let own = self.delivery.as_ref().and_then(|own| own.proxies.as_ref());
        let proxy = self.settings.environment.find([own, self.settings.delivery.proxies.as_ref()], url)?;
        let client_cert = self.set(|delivery| delivery.client_cert.as_ref()).cloned();
        Ok(HopOptions { timeout: self.time_left(hop)?, verify, client_cert, proxy })
    }

    /// How certificates are verified: as the request says, else the session, else the environment.
    pub(super) fn verify(&self) -> Verify {
        match self.set(|delivery| delivery.verify.as_ref()) {
            None | Some(Verify::On) => self.settings.environment.certificates.clone().map_or(Verify::On, Verify::Ca),
            Some(verify) => verify.clone(),
        }
    }

    fn has_time_for(&self, wait: std::time::Duration) -> bool {
        self.timeout.total.is_none_or(|total| self.started.elapsed().saturating_add(wait) < total)
    }
}

/// Reads the end of a body that nobody wants, if it is near, so that its connection can be used again.
fn drain(response: Response<WireBody>) {
    let _ = io::copy(&mut response.into_body().take(DRAINED_MAX), &mut io::sink());
}
