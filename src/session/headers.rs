//! Headers and cookies: of the request, of the session, and of every session.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, COOKIE, USER_AGENT},
};

use super::{
    CachedSessionBuilder, RequestBuilder, codings,
    pairs::{HeaderPair, TextPair},
    request::invalid,
    settings::Settings,
};

const AGENT: &str = concat!("larder/", env!("CARGO_PKG_VERSION"));

impl RequestBuilder {
    /// Adds a header; a name may be added more than once. It replaces the session's headers of that name.
    pub fn header(mut self, name: impl TryInto<HeaderName>, value: impl TryInto<HeaderValue>) -> Self {
        match header(name, value) {
            Ok((name, value)) => drop(self.headers.append(name, value)),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Adds headers: a [`HeaderMap`], or pairs of name and value, each by value or by reference.
    pub fn headers<P: HeaderPair>(mut self, headers: impl IntoIterator<Item = P>) -> Self {
        let mut last = None;
        for pair in headers {
            match pair.header_pair(last.as_ref()) {
                Ok((name, value)) => {
                    self.headers.append(name.clone(), value);
                    last = Some(name);
                }
                Err(error) => self.fail(error),
            }
        }
        self
    }

    /// Leaves a header out that the session, or every session, would add.
    pub fn remove_header(mut self, name: impl TryInto<HeaderName>) -> Self {
        match name.try_into() {
            Ok(name) => {
                self.headers.remove(&name);
                self.rare().removed.push(name);
            }
            Err(_) => self.fail("a header name holds characters that HTTP does not allow".to_owned()),
        }
        self
    }

    /// Adds cookies for this request, as pairs of name and value; they go before those of the session's jar of the same
    /// names. Nothing of them is kept, and a redirect to another host does not take them along.
    ///
    /// A request has one `Cookie` header. If the caller gives one by [`header`](Self::header), these are put behind it,
    /// and those of the jar stay out.
    pub fn cookies<P: TextPair>(mut self, cookies: impl IntoIterator<Item = P>) -> Self {
        for cookie in cookies {
            let (name, value) = cookie.text_pair();
            if name.is_empty() || name.contains(['=', ';']) || value.contains(';') {
                self.fail("the name or value of a cookie holds a character that would end it".to_owned());
            }
            self.rare().cookies.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

impl CachedSessionBuilder {
    /// Adds a header to every request that has none of its name.
    pub fn header(mut self, name: impl TryInto<HeaderName>, value: impl TryInto<HeaderValue>) -> Self {
        match header(name, value) {
            Ok((name, value)) => drop(self.settings.headers.append(name, value)),
            Err(error) => self.fail(invalid(error)),
        }
        self
    }

    /// The same for several: a [`HeaderMap`], or pairs of name and value.
    pub fn headers<P: HeaderPair>(mut self, headers: impl IntoIterator<Item = P>) -> Self {
        let mut last = None;
        for pair in headers {
            match pair.header_pair(last.as_ref()) {
                Ok((name, value)) => {
                    self.settings.headers.append(name.clone(), value);
                    last = Some(name);
                }
                Err(error) => self.fail(invalid(error)),
            }
        }
        self
    }

    /// Leaves a header out that every request would carry otherwise: `User-Agent`, `Accept` or `Accept-Encoding`.
    pub fn remove_header(mut self, name: impl TryInto<HeaderName>) -> Self {
        match name.try_into() {
            Ok(name) => {
                self.settings.headers.remove(&name);
                self.settings.removed.push(name);
            }
            Err(_) => self.fail(invalid("a header name holds characters that HTTP does not allow")),
        }
        self
    }

    /// Keeps the cookies that answers set, those of redirects too, and sends them back as RFC 6265 says. Off unless
    /// set. Needs the feature `cookies`.
    ///
    /// A hit leaves them alone in [`Mode::Cache`](crate::Mode::Cache), and sets them again in the replay modes. As
    /// cookies are credentials, they make a partition of the cache: a request with another cookie than before gets an
    /// answer of its own, unless [`partition`](Self::partition) or
    /// [`share_across_credentials`](Self::share_across_credentials) says otherwise.
    pub fn cookies(mut self, keep: bool) -> Self {
        #[cfg(feature = "cookies")]
        {
            let jar = self.settings.jar.take();
            self.settings.jar = keep.then(|| jar.unwrap_or_default());
        }
        #[cfg(not(feature = "cookies"))]
        if keep {
            let message = "cookies(true) needs the feature `cookies`, which is not compiled in";
            self.fail(crate::Error::new(crate::ErrorKind::NotBuiltIn, message));
        }
        self
    }

    /// Keeps cookies in this jar, which may hold some already and may be shared; see [`cookies`](Self::cookies).
    #[cfg(feature = "cookies")]
    pub fn cookie_jar(mut self, jar: super::CookieJar) -> Self {
        self.settings.jar = Some(jar);
        self
    }
}

/// The headers of a request together with those of the session that it has none of, and those of every session.
pub(super) fn with_defaults(mut headers: HeaderMap, settings: &Settings, removed: &[HeaderName]) -> HeaderMap {
    let own: Vec<HeaderName> = headers.keys().cloned().collect();
    for (name, value) in settings.headers.iter().filter(|(name, _)| !own.contains(name) && !removed.contains(name)) {
        headers.append(name.clone(), value.clone());
    }
    let defaults = [(USER_AGENT, AGENT), (ACCEPT, "*/*"), (ACCEPT_ENCODING, codings::ACCEPT_ENCODING)];
    for (name, value) in defaults {
        if !removed.contains(&name) && !settings.removed.contains(&name) {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
    }
    for name in [AUTHORIZATION, COOKIE] {
        headers.get_mut(name).into_iter().for_each(|value| value.set_sensitive(true));
    }
    headers
}

/// Makes several `Cookie` headers the one that a request may have (RFC 6265, 5.4).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let all: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if all.len() > 1
        && let Ok(mut one) = HeaderValue::from_bytes(&all.join(&b"; "[..]))
    {
        one.set_sensitive(true);
        headers.insert(COOKIE, one);
    }
}

pub(super) fn header(
    name: impl TryInto<HeaderName>,
    value: impl TryInto<HeaderValue>,
) -> Result<(HeaderName, HeaderValue), String> {
    let name = name.try_into().map_err(|_| "a header name holds characters that HTTP does not allow".to_owned())?;
    let value =
        value.try_into().map_err(|_| format!("the value of the header {name} holds a line break or the like"))?;
    Ok((name, value))
}
