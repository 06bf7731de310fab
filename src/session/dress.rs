//! What a request carries on each hop that is not its own: cookies, and who asks.

use std::{borrow::Cow, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE, REFERER},
};
use url::Url;

use super::{
    Body, Request, Verify,
    auth::{self, Auth},
    basic,
    cache::PartitionBy,
    delivery::{Delivery, secret_value},
    send::{Course, Hop},
};
use crate::{Mode, Result, policy::key::Asked};

/// What is behind a request and in no header of its own.
#[derive(Clone, Default)]
pub(super) struct Extra {
    /// Names and values of the caller, for the origin that was asked.
    pub(super) cookies: Vec<(String, String)>,
    pub(super) auth: Option<Auth>,
    /// A body that is not in memory.
    pub(super) body: Option<Body>,
}

impl Extra {
    pub(super) fn is_empty(&self) -> bool {
        self.cookies.is_empty() && self.auth.is_none() && self.body.is_none()
    }
}

/// A request as it goes out on one hop.
pub(super) struct Dressed {
    pub(super) request: Request,
    /// The headers that a function of the caller made.
    made: Vec<HeaderName>,
}

impl Course<'_> {
    /// The setting of the request, else that of the session.
    pub(super) fn set<'a, T: ?Sized>(&'a self, of: impl Fn(&'a Delivery) -> Option<&'a T>) -> Option<&'a T> {
        self.delivery.as_deref().and_then(&of).or_else(|| of(&self.settings.delivery))
    }

    /// Whether there is nothing to add to a request, and nothing that tells who asks, or whom, but what it shows.
    pub(super) fn is_plain(&self, request: &Request) -> bool {
        self.settings.plain && self.delivery.is_none() && request.extra.is_none()
    }

    /// Adds what the hop asks for.
    pub(super) fn dress(&self, request: &Request) -> Result<Dressed> {
        let mut dressed = Dressed { request: request.clone(), made: Vec::new() };
        if let Some(netrc) = &self.settings.environment.netrc
            && request.auth().is_none()
            && !request.headers.contains_key(AUTHORIZATION)
            && let Some((login, password)) = request.url.host_str().and_then(|host| netrc.find(host))
        {
            let value = secret_value(basic::authorization(login, password))?;
            Arc::make_mut(&mut dressed.request.headers).insert(AUTHORIZATION, value);
        }
        if let Some(value) = self.cookie_header(request)? {
            Arc::make_mut(&mut dressed.request.headers).insert(COOKIE, value);
        }
        if let Some(Auth::Custom(custom)) = request.auth() {
            dressed.made = custom.apply(&mut dressed.request)?;
        }
        Ok(dressed)
    }

    /// The one `Cookie` header, if there are cookies besides one that the caller gave.
    ///
    /// A header of the caller is sent with the cookies of the request behind it, and without those of the jar. Else
    /// those of the request go before those of the jar of the same names.
    fn cookie_header(&self, request: &Request) -> Result<Option<HeaderValue>> {
        let own = request.extra.as_ref().map_or(&[][..], |extra| &extra.cookies);
        let given = request.headers.get(COOKIE).map(|value| value.as_bytes().to_vec());
        let mut text = given.clone().unwrap_or_default();
        let mut add = |name: &str, value: &str| {
            if !text.is_empty() {
                text.extend_from_slice(b"; ");
            }
            text.extend_from_slice(name.as_bytes());
            text.push(b'=');
            text.extend_from_slice(value.as_bytes());
        };
        for (name, value) in own {
            add(name, value);
        }
        if given.is_none() {
            let kept = self.settings.cookies_for(&request.url);
            for (name, value) in kept.iter().filter(|(name, _)| !own.iter().any(|(own, _)| own == name)) {
                add(name, value);
            }
        }
        if text.is_empty() || given.is_some_and(|given| given == text) {
            return Ok(None);
        }
        let mut value = HeaderValue::from_bytes(&text)
            .map_err(|_| super::request::invalid("a cookie holds characters that a header cannot hold"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Takes the cookies of an answer into the jar.
    #[cfg_attr(not(feature = "cookies"), expect(clippy::unused_self, reason = "there is no jar in this build"))]
    pub(super) fn keep_cookies(&self, url: &Url, headers: &HeaderMap) {
        #[cfg(feature = "cookies")]
        if let Some(jar) = &self.settings.jar {
            jar.take(url, headers);
        }
        #[cfg(not(feature = "cookies"))]
        let _ = (url, headers);
    }

    /// The same of a stored answer: in the replay modes alone, where it stands for the origin. What a cache serves must
    /// not bring back a cookie that the origin has replaced since.
    pub(super) fn replay_cookies(&self, stored: &crate::StoredResponse) {
        if self.settings.rules.mode != Mode::Cache
            && let Ok(url) = Url::parse(stored.url())
        {
            self.keep_cookies(&url, stored.headers());
        }
    }

    /// Counts what says who asks and is in no header, and hides what is in headers that nobody knows to be secret.
    pub(super) fn count_credentials(&self, asked: &mut Asked, dressed: &Dressed) {
        let request = &dressed.request;
        if !dressed.made.is_empty() {
            auth::hide(asked, request, &dressed.made);
        }
        if let Some(Auth::Digest { user, password }) = request.auth() {
            auth::count_digest(asked, user, password);
        }
        if request.url.scheme() == "https"
            && let Some(client_cert) = self.set(|delivery| delivery.client_cert.as_ref())
        {
            asked.credentials.push("client certificate", client_cert.credential());
            asked.credentials.sort();
        }
    }

    /// Has headers tell requests apart whose values are redacted and make no partition: links, and those that the
    /// caller has chosen; and makes the chosen ones part of the key. `false` keeps the cache out of it.
    pub(super) fn tell_apart(&self, hop: &mut Hop<'_>) -> Result<bool> {
        let chosen = &self.settings.match_headers[..];
        // Else the credentials have made the partition.
        let credentials = if self.settings.partition_by == PartitionBy::Credentials { &[] } else { chosen };
        let sent = match hop.request.auth() {
            // Its header is another each time; who it is does not change.
            Some(Auth::Digest { user, password }) => {
                let mut sent = HeaderMap::clone(&hop.request.headers);
                sent.insert(AUTHORIZATION, secret_value(basic::authorization(user, password))?);
                Cow::Owned(sent)
            }
            _ => Cow::Borrowed(&*hop.request.headers),
        };
        let told = self.session.cache().tell_apart(&mut hop.asked, &sent, credentials.iter().chain([&REFERER]));
        if self.tolerate(told)?.is_none() {
            return Ok(false);
        }
        if !chosen.is_empty() && hop.asked.identity.name.is_none() {
            hop.asked.match_headers(chosen);
        }
        Ok(true)
    }

    /// Whether an answer to this request would come from nobody knows whom.
    pub(super) fn is_unverified(&self, request: &Request) -> bool {
        request.url.scheme() == "https" && !self.verifies()
    }

    /// Whether certificates are verified, where there are any.
    pub(super) fn verifies(&self) -> bool {
        self.set(|delivery| delivery.verify.as_ref()) != Some(&Verify::Off)
    }
}
