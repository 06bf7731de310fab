//! The settings that decide what is stored, under which key, and when it is served.

use std::sync::Arc;

use http::HeaderName;

use super::CachedSessionBuilder;
use crate::{
    Expire, Staleness,
    policy::secret_names::squeeze,
    session::{Request, Response, request::invalid},
};

impl CachedSessionBuilder {
    /// When responses expire; never, unless set. The time is fixed when a response is stored.
    ///
    /// With [`cache_control`](Self::cache_control) it counts where the response does not say.
    pub fn expire_after(mut self, expire: impl Into<Expire>) -> Self {
        self.settings.rules.expire = Some(expire.into());
        self
    }

    /// When responses of some URLs expire, instead of the session's [`expire_after`](Self::expire_after): the first
    /// pattern that matches counts. With [`Expire::DoNotCache`] for `*` at the end, only what is named before is
    /// cached.
    ///
    /// A pattern is a [`UrlPattern`](crate::UrlPattern): a glob of the URL behind its scheme, in which `*` stands for
    /// any text, slashes too, and what it begins it matches to the end; or, behind `regex:`, a regular expression. A
    /// pattern that is neither is an error of [`build`](Self::build).
    ///
    /// ```
    /// # use larder::{Backend, CachedSession, Expire};
    /// # use std::time::Duration;
    /// # fn main() -> larder::Result<()> {
    /// let session = CachedSession::builder("cache")
    ///     .backend(Backend::Memory)
    ///     .urls_expire_after([
    ///         ("*.example.com/static/**", Expire::Never),
    ///         ("api.example.com/v1", Duration::from_secs(60).into()),
    ///         ("regex:/live/[0-9]+$", Expire::DoNotCache),
    ///     ])
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn urls_expire_after<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = (P, Expire)>) -> Self {
        for (pattern, expire) in patterns {
            if let Err(error) = self.settings.rules.urls.push(&pattern.into(), expire) {
                self.fail(error);
            }
        }
        self
    }

    /// Has HTTP's own rules decide what is stored and for how long: RFC 9111, for a private cache. Off unless set.
    ///
    /// Then `Cache-Control`, `Expires`, `Age`, `Date` and the rest count, of requests and responses; what is stale is
    /// revalidated; HEAD, conditional and range requests are answered from what a GET has stored; POST and its like
    /// invalidate. Codes, methods and expiry that are set as well serve where a response says nothing about itself;
    /// without them the standard's own defaults do. Ill-formed headers are taken as the standard says, and are no
    /// error.
    ///
    /// What the standard leaves open: a response without an expiry of its own is fresh for a tenth of the time since
    /// its `Last-Modified`, but no more than a week; of repeated directives the first counts; a 206 is not stored; a
    /// request for several ranges, or with `If-Match`, goes to the origin. A response that was stored without this
    /// setting keeps the expiry that it was stored with; one that never expires is judged by its headers.
    pub fn cache_control(mut self, on: bool) -> Self {
        self.settings.rules.cache_control = on;
        self
    }

    /// With [`cache_control`](Self::cache_control), keeps the rules of a shared cache: `s-maxage` and
    /// `proxy-revalidate` count, and what is `private`, or answers an `Authorization` without saying that it may be
    /// shared, is not stored. Off unless set. Credentials still partition the cache; see
    /// [`share_across_credentials`](Self::share_across_credentials).
    pub fn shared_cache(mut self, shared: bool) -> Self {
        self.settings.rules.shared = shared;
        self
    }

    /// Serves what has expired where the origin gives no answer, or an error: `true`, or for so long after the expiry.
    /// Off unless set.
    ///
    /// An error is a failure of the network, a body that breaks off or is not what its coding says (unless it is handed
    /// out as a [stream](crate::RequestBuilder::send_stream), some of which is read by then), or a status of 400 or
    /// more that is not among the [`allowable_codes`](Self::allowable_codes); with
    /// [`cache_control`](Self::cache_control) a status of 500 or more, and what says `must-revalidate` or the like is
    /// not served. The answer's status is [`StaleHit`](crate::CacheStatus::StaleHit).
    pub fn stale_if_error(mut self, stale: impl Into<Staleness>) -> Self {
        self.settings.rules.stale_if_error = stale.into();
        self
    }

    /// Serves what has expired at once, and asks the origin in the background: `true`, or for so long after the expiry.
    /// Off unless set.
    ///
    /// There is one such request at a time for each response, and 32 for the session; what is stale beyond that waits
    /// for a later request. One that is under way when the program ends is dropped, and a failure goes unnoticed: the
    /// next request finds what is stored as stale as before.
    pub fn stale_while_revalidate(mut self, stale: impl Into<Staleness>) -> Self {
        self.settings.rules.stale_while_revalidate = stale.into();
        self
    }

    /// Asks the origin each time whether what is stored still holds, if that has a validator (`ETag`, `Last-Modified`);
    /// what has none is served until it expires, and a request that may be answered from the cache only gets what is
    /// there. Off unless set.
    pub fn always_revalidate(mut self, always: bool) -> Self {
        self.settings.rules.always_revalidate = always;
        self
    }

    /// The status codes of the responses to store; 200 unless set. Redirects are stored as part of the chain that they
    /// lead into, whatever the codes.
    pub fn allowable_codes(mut self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.settings.rules.codes = Some(codes.into_iter().collect());
        self
    }

    /// The methods of the requests to look up and to store, in any case; GET unless set.
    pub fn allowable_methods<M: AsRef<str>>(mut self, methods: impl IntoIterator<Item = M>) -> Self {
        let methods = methods.into_iter().map(|method| method.as_ref().to_ascii_uppercase());
        self.settings.rules.methods = Some(methods.collect());
        self
    }

    /// Stores and serves only responses for which this is true. What is stored and no longer passes is fetched anew.
    pub fn filter(mut self, filter: impl Fn(&Response) -> bool + Send + Sync + 'static) -> Self {
        self.settings.filter = Some(Arc::new(filter));
        self
    }

    /// Names what is one and the same to the cache: requests for which this gives the same text share an answer.
    ///
    /// Credentials still partition the cache. The text itself is not stored.
    pub fn key_fn(mut self, key: impl Fn(&Request) -> String + Send + Sync + 'static) -> Self {
        self.settings.key_fn = Some(Arc::new(key));
        self
    }

    /// The headers of a request whose values are part of the key: requests with other values get answers of their own.
    /// Of a header with several values, separated by commas, neither their order nor their case counts. None unless
    /// set.
    ///
    /// A credential that is named here, such as `Authorization`, tells users apart even under
    /// [`share_across_credentials`](Self::share_across_credentials) and [`partition`](Self::partition): as a salted
    /// hash (Argon2id), never as it is. By default credentials do so anyway. A replay ([`Mode::Offline`](crate::Mode))
    /// of such a recording needs the same values.
    ///
    /// Headers that a response names in `Vary` need not be named here: responses that vary are kept apart by them
    /// anyway. A [`key_fn`](Self::key_fn) goes before this.
    pub fn match_headers<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let mut matched = Vec::new();
        for name in names {
            match HeaderName::from_bytes(name.as_ref().as_bytes()) {
                Ok(name) => matched.push(name),
                Err(_) => self
                    .fail(invalid(format!("match_headers: `{}` is no name of a header", name.as_ref().escape_debug()))),
            }
        }
        matched.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        matched.dedup();
        self.settings.match_headers = matched;
        self
    }

    /// Parameters whose values do not count: requests that differ in them alone get the same answer. They are those of
    /// the query, of a form, or keys of a JSON body at any depth, and headers; case, `-` and `_` in the names do not
    /// matter. None unless set. In what is stored, their values read `REDACTED`.
    ///
    /// A credential that is named here no longer partitions the cache: whoever asks gets what was fetched for anyone. A
    /// response that varies by a header that is ignored is not stored.
    pub fn ignored_parameters<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        let squeezed = names.iter().map(|name| squeeze(name)).filter(|name| !name.is_empty());
        self.settings.ignored = Arc::new(squeezed.collect());
        self.settings.ignored_names = Some(names);
        self
    }
}
