//! Which proxy a request goes by.

use std::{collections::HashMap, fmt};

use percent_encoding::percent_decode_str;
use url::Url;

use super::{no_proxy::NoProxy, pairs::TextPair, request::invalid};
use crate::{Error, ErrorKind, Result, policy::redact};

/// The proxies of a session or a request, by scheme and host.
///
/// The keys are those of Python's requests, the most specific one decides: `http://host` or `https://host`, `http` or
/// `https`, `all://host`, `all`. The values are URLs of the schemes `http`, `https`, `socks4`, `socks4a`, `socks5`
/// (names are resolved here) and `socks5h` (names are resolved by the proxy), with credentials if need be; without a
/// scheme it is `http`; an empty one is no proxy. The SOCKS ones need the feature `socks`. What no key matches goes by
/// the proxies of the session, then by those of the environment (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`,
/// in lower or upper case), unless [`trust_env(false)`](super::CachedSessionBuilder::trust_env) leaves them alone.
///
/// An `http://` URL is asked of an HTTP proxy in absolute form, an `https://` one through a tunnel (`CONNECT`).
///
/// Made from pairs of text as well, or from one URL for everything. The key `no_proxy` holds a list as that of the
/// environment variable does: hosts (with all below them), addresses, networks such as `10.0.0.0/8`, each with a port
/// if need be, between commas or blanks; or `*`.
///
/// ```
/// use larder::{Backend, CachedSession, Proxies};
///
/// # fn main() -> larder::Result<()> {
/// let session = CachedSession::builder("cache") .backend(Backend::Memory) .proxies([("http",
/// "http://proxy.example:3128"), ("https://api.example.com", "http://user:pw@other.example:80")]) .build()?; let direct
/// = Proxies::all(""); // nothing goes by a proxy, not even by one of the environment
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Proxies {
    /// In the spelling in which they are looked up; `None` is no proxy.
    by_key: Vec<(String, Option<Proxy>)>,
    no_proxy: NoProxy,
    error: Option<(ErrorKind, String)>,
}

/// What is said about a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way<'a> {
    Unsaid,
    Direct,
    By(&'a Proxy),
}

/// One proxy. `Debug` shows no credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    url: Url,
    user: Option<String>,
    password: Option<String>,
}

impl Proxies {
    /// Says nothing about any host.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One proxy for everything.
    #[must_use]
    pub fn all(proxy: impl AsRef<str>) -> Self {
        Self::new().with("all", proxy)
    }

    /// Adds a proxy for a scheme, or for a scheme and a host; see above. The later of two for one key counts.
    #[must_use]
    pub fn with(mut self, key: impl AsRef<str>, proxy: impl AsRef<str>) -> Self {
        let (key, proxy) = (key.as_ref().trim().to_ascii_lowercase(), proxy.as_ref().trim());
        if matches!(key.as_str(), "no_proxy" | "no") {
            self.no_proxy = NoProxy::parse(proxy);
            return self;
        }
        let known =
            matches!(key.split_once("://").map_or(key.as_str(), |(scheme, _)| scheme), "http" | "https" | "all");
        if !known {
            self.fail(&invalid(
                "a proxy is for `http`, `https` or `all`, or for one of these and a host such as `https://example.org`",
            ));
            return self;
        }
        match (!proxy.is_empty()).then(|| Proxy::parse(proxy)).transpose() {
            Ok(proxy) => {
                self.by_key.retain(|(own, _)| *own != key);
                self.by_key.push((key, proxy));
            }
            Err(error) => self.fail(&error),
        }
        self
    }

    /// The hosts that are asked without a proxy; see above.
    #[must_use]
    pub fn no_proxy(self, list: impl AsRef<str>) -> Self {
        self.with("no_proxy", list)
    }

    fn fail(&mut self, error: &Error) {
        self.error.get_or_insert_with(|| (error.kind(), error.to_string()));
    }

    /// What was wrong with what it was made of.
    pub(super) fn check(&self) -> Result<()> {
        match &self.error {
            Some((kind, message)) => Err(Error::new(*kind, message.clone())),
            None => Ok(()),
        }
    }

    /// What is said about a URL.
    pub(super) fn find(&self, url: &Url) -> Way<'_> {
        if self.no_proxy.matches(url) {
            return Way::Direct;
        }
        if self.by_key.is_empty() {
            return Way::Unsaid;
        }
        let host = url.host_str().unwrap_or_default();
        let keys =
            [format!("{}://{host}", url.scheme()), url.scheme().to_owned(), format!("all://{host}"), "all".into()];
        let find = |key: &String| self.by_key.iter().find(|(own, _)| own == key);
        match keys.iter().find_map(find) {
            Some((_, Some(proxy))) => Way::By(proxy),
            Some((_, None)) => Way::Direct,
            None => Way::Unsaid,
        }
    }
}

impl Proxy {
    /// Reads the URL of a proxy.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let shown = || redact::url(&with_scheme, &mut redact::Credentials::default());
        let mut url = Url::parse(&with_scheme)
            .map_err(|error| invalid(format!("the URL of a proxy is not valid ({error})")).with_url(shown()))?;
        match url.scheme() {
            "http" | "https" => {}
            "socks" | "socks4" | "socks4a" | "socks5" | "socks5h" if cfg!(feature = "socks") => {}
            "socks" | "socks4" | "socks4a" | "socks5" | "socks5h" => {
                let message = "SOCKS proxies need the feature `socks`, which is not compiled in";
                return Err(Error::new(ErrorKind::NotBuiltIn, message).with_url(shown()));
            }
            _ => {
                return Err(invalid("a proxy speaks http, https, socks4, socks4a, socks5 or socks5h").with_url(shown()));
            }
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("the URL of a proxy has no host").with_url(shown()));
        }
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let has_user = !url.username().is_empty() || url.password().is_some();
        let user = has_user.then(|| decoded(url.username()));
        let password = url.password().map(decoded);
        // Both only fail for URLs that cannot have userinfo in the first place.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.set_path("");
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { url, user, password })
    }

    /// Its scheme: `http`, `https`, `socks4`, `socks4a`, `socks5`, `socks5h` or `socks`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// Its host; an IPv6 address is in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Its port: that of its URL, else the one that is usual for its scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(match self.scheme() {
            "http" => 80,
            "https" => 443,
            _ => 1080,
        })
    }

    /// User and password, if it has them.
    #[must_use]
    pub fn credentials(&self) -> Option<(&str, &str)> {
        self.user.as_deref().map(|user| (user, self.password.as_deref().unwrap_or_default()))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}://{}:{})", self.scheme(), self.host(), self.port())
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.by_key.iter().map(|(key, proxy)| (key, proxy))).finish()
    }
}

impl<P: TextPair> FromIterator<P> for Proxies {
    fn from_iter<I: IntoIterator<Item = P>>(pairs: I) -> Self {
        pairs.into_iter().fold(Self::new(), |proxies, pair| {
            let (key, proxy) = pair.text_pair();
            proxies.with(key, proxy)
        })
    }
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> From<[(K, V); N]> for Proxies {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K: AsRef<str>, V: AsRef<str>> From<Vec<(K, V)>> for Proxies {
    fn from(pairs: Vec<(K, V)>) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K: AsRef<str>, V: AsRef<str>, S> From<HashMap<K, V, S>> for Proxies {
    fn from(pairs: HashMap<K, V, S>) -> Self {
        pairs.into_iter().collect()
    }
}

impl From<&str> for Proxies {
    fn from(proxy: &str) -> Self {
        Self::all(proxy)
    }
}

impl From<String> for Proxies {
    fn from(proxy: String) -> Self {
        Self::all(proxy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(proxies: &Proxies, url: &str) -> String {
        format!("{:?}", proxies.find(&Url::parse(url).unwrap()))
    }

    fn by(proxy: &str) -> String {
        format!("By(Proxy({proxy}))")
    }

    #[test]
    fn the_most_specific_key_decides() {
        let proxies = Proxies::from([
            ("all", "a"),
            ("ALL://x.org", "b:1"),
            ("https", "https://c"),
            ("https://X.org", "http://d/path"),
            ("http://direct.org", ""),
            ("no_proxy", "none.org, 10.0.0.0/8"),
        ]);
        proxies.check().unwrap();
        for (url, want) in [
            ("http://other.org/", by("http://a:80")),
            ("http://x.org:81/", by("http://b:1")),
            ("https://other.org/", by("https://c:443")),
            ("https://x.org/", by("http://d:80")),
            ("http://direct.org/", "Direct".to_owned()),
            ("https://sub.none.org/", "Direct".to_owned()),
            ("https://10.1.1.1/", "Direct".to_owned()),
        ] {
            assert_eq!(found(&proxies, url), want, "{url}");
        }
        assert_eq!(found(&Proxies::new(), "http://x.org/"), "Unsaid");
        assert_eq!(found(&Proxies::new().with("https", "a"), "http://x.org/"), "Unsaid");
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let proxy = Proxy::parse("http://us%40er:p%3Aw@h:1").unwrap();
        assert_eq!(proxy.credentials(), Some(("us@er", "p:w")));
        assert_eq!(format!("{proxy:?}"), "Proxy(http://h:1)");
        assert!(!format!("{:?}", Proxies::all("http://user:swordfish@h")).contains("swordfish"));
        for (text, kind) in
            [("http://u:swordfish@[", ErrorKind::InvalidInput), ("ftp://u:swordfish@h", ErrorKind::InvalidInput)]
        {
            let error = Proxies::all(text).check().unwrap_err();
            assert!(error.kind() == kind && !error.to_string().contains("swordfish"), "{error}");
        }
        assert_eq!(Proxies::new().with("ftp", "h").check().unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn socks_proxies_need_their_feature() {
        let error = Proxies::all("socks5h://h").check().err().map(|error| error.kind());
        assert_eq!(error, if cfg!(feature = "socks") { None } else { Some(ErrorKind::NotBuiltIn) });
    }
}
