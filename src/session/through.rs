//! A request that is sent by something else than the session: what the session adds to requests is left out, and what
//! it stores and serves is all that it does.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::{
    CachedSession, ResponseStream, Transport,
    delivery::Delivery,
    request::{Options, Request, parse_url, take_userinfo},
    send::Course,
};
use crate::{
    Result,
    policy::exchange::{Exchange, First, Wish},
};

/// More redirects than anybody follows: whoever sends the requests has a limit of its own.
const REDIRECTS_MAX: usize = 1000;

impl CachedSession {
    /// The same session without what it has to do with sending: it only stores and serves.
    pub(crate) fn for_caching(&self) -> Self {
        let mut settings = self.settings().clone();
        settings.delivery = Delivery::default();
        settings.environment = Arc::default();
        #[cfg(feature = "cookies")]
        {
            settings.jar = None;
        }
        self.with_settings(settings)
    }

    /// Whether the cache may have to do with a request: whether it may serve it, or has to take note of it.
    pub(crate) fn takes_part(&self, method: &Method, uri: &http::Uri, headers: &HeaderMap) -> bool {
        let uri = uri.to_string();
        let exchange = Exchange::new(&self.settings().rules, Wish::default(), method.as_str(), &uri, headers);
        !matches!(exchange.first(), First::Send(_)) || exchange.may_invalidate()
    }

    /// The answer up to its body, from the cache or by `transport`. The body is handed out as it came from there.
    pub(crate) fn run_through(
        &self,
        transport: &dyn Transport,
        request: http::Request<Bytes>,
    ) -> Result<ResponseStream> {
        let (parts, body) = request.into_parts();
        let url = parse_url(&parts.uri.to_string())?;
        let mut request = Request { method: parts.method, url, headers: Arc::new(parts.headers), body, extra: None };
        take_userinfo(&mut request);
        let options = Options { redirects: Some(REDIRECTS_MAX), decode: Some(false), ..Options::default() };
        self.run_course(request, &options, Course::through(self, &options, transport))
    }
}
