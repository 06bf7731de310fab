//! The rest of an agent's middlewares as a transport, which can be called once, and follows redirects itself.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header::LOCATION};
use ureq::{AsSendBody, Body, RequestExt, ResponseExt, middleware::MiddlewareNext};

use super::not_possible;
use crate::{Error, ErrorKind, HopOptions, Result, Transport, WireBody};

/// Sends one request by the agent. To the session it looks as if each redirect that the agent followed were an answer
/// of its own.
pub(super) struct OneCall<'a>(Mutex<State<'a>>);

struct State<'a> {
    next: Option<MiddlewareNext<'a>>,
    /// With the agent's own settings for this request beside it.
    request: Request<()>,
    /// The URLs that redirects led to and that the session has not asked for yet, and what the last one gave.
    ahead: Vec<Uri>,
    answer: Option<Response<Body>>,
    called: Called,
}

/// What the call came to that the session makes nothing of.
pub(super) enum Called {
    Not,
    Failed(ureq::Error),
    NotForUs(Response<Body>),
}

impl<'a> OneCall<'a> {
    pub(super) fn new(request: Request<()>, next: MiddlewareNext<'a>) -> Self {
        Self(Mutex::new(State { next: Some(next), request, ahead: Vec::new(), answer: None, called: Called::Not }))
    }

    pub(super) fn into_result(self) -> Called {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).called
    }
}

impl Transport for OneCall<'_> {
    fn send(&self, request: &Request<Bytes>, _: &HopOptions) -> Result<Response<WireBody>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.answer.is_none() {
            state.call(request)?;
        }
        state.hand_out()
    }
}

impl State<'_> {
    fn call(&mut self, request: &Request<Bytes>) -> Result<()> {
        let next = self.next.take().ok_or_else(|| not_possible("a middleware can send a request once only"))?;
        let bytes = request.body().clone();
        let mut sent = std::mem::take(&mut self.request);
        // The session may have gone on to another URL along redirects that it knew.
        *sent.method_mut() = request.method().clone();
        *sent.uri_mut() = request.uri().clone();
        *sent.headers_mut() = request.headers().clone();
        let (parts, ()) = sent.into_parts();
        let (mut slice, mut nothing) = (&bytes[..], ());
        let body = if slice.is_empty() { nothing.as_body() } else { slice.as_body() };
        let sent = Request::from_parts(parts, body);
        let Some(config) = sent.middleware_config() else {
            return Err(not_possible("the middleware was called by something else than an agent"));
        };
        // The URLs on the way are part of what is stored.
        let response = match next.handle(config.save_redirect_history(true).build()) {
            Ok(response) => response,
            Err(error) => {
                let told = Error::new(ErrorKind::Network, "the agent's request failed");
                self.called = Called::Failed(error);
                return Err(told);
            }
        };
        let redirects = response.get_redirect_history().unwrap_or_default();
        self.ahead = redirects.iter().skip(1).rev().cloned().collect();
        let has_body = !bytes.is_empty();
        if is_redirect(&response) || has_body && !self.ahead.is_empty() {
            // The agent ended at a redirect, where the session would go on; or it sent a body, and how it went on with
            // that is not known.
            self.called = Called::NotForUs(response);
            return Err(not_possible("the answer is not one to store"));
        }
        self.answer = Some(response);
        Ok(())
    }

    fn hand_out(&mut self) -> Result<Response<WireBody>> {
        if let Some(target) = self.ahead.pop() {
            let location = HeaderValue::try_from(target.to_string())
                .map_err(|_| not_possible("the agent was redirected to a URL that no header can hold"))?;
            let mut response = Response::new(Box::new(io::empty()) as WireBody);
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().insert(LOCATION, location);
            return Ok(response);
        }
        let answer = self.answer.take().ok_or_else(|| not_possible("a middleware can send a request once only"))?;
        Ok(answer.map(|body| Box::new(body.into_with_config().limit(u64::MAX).reader()) as WireBody))
    }
}

fn is_redirect(response: &Response<Body>) -> bool {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) && response.headers().contains_key(LOCATION)
}
