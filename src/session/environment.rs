//! What the environment says about networks (proxies, certificates, passwords), and what the user's settings of ureq
//! do. Both are read once, when a session is built.

use std::{env, fmt, path::PathBuf, sync::Arc};

use http::{
    HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT},
};
use ureq::config::AutoHeaderValue;
use url::Url;

use super::{
    CachedSessionBuilder,
    auth::netrc::Netrc,
    no_proxy::NoProxy,
    proxies::{Proxies, Proxy, Way},
};
use crate::{Error, Result};

#[derive(Clone, Default)]
pub(super) struct Environment {
    http: Option<String>,
    https: Option<String>,
    all: Option<String>,
    no_proxy: NoProxy,
    /// The file or folder of the certificates to trust.
    pub(super) certificates: Option<PathBuf>,
    pub(super) netrc: Option<Netrc>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses of proxies have passwords in them.
        f.debug_struct("Environment").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl Environment {
    pub(super) fn read() -> Self {
        // A server that runs a program by CGI puts a header named Proxy into HTTP_PROXY.
        let http = if env::var_os("REQUEST_METHOD").is_some() { lower("http_proxy") } else { either("http_proxy") };
        let names = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        Self {
            http,
            https: either("https_proxy"),
            all: either("all_proxy"),
            no_proxy: NoProxy::parse(&either("no_proxy").unwrap_or_default()),
            certificates: names
                .iter()
                .find_map(|name| env::var_os(name).filter(|path| !path.is_empty()))
                .map(PathBuf::from),
            netrc: Netrc::of_user(),
        }
    }

    /// The proxy for a URL that nobody has named one for.
    pub(super) fn proxy(&self, url: &Url) -> Result<Option<Proxy>> {
        let own = if url.scheme() == "https" { &self.https } else { &self.http };
        let Some(text) = own.as_ref().or(self.all.as_ref()) else { return Ok(None) };
        if self.no_proxy.matches(url) {
            return Ok(None);
        }
        Proxy::parse(text).map(Some).map_err(|error| {
            let message = format!("{error}; it comes from the environment, which trust_env(false) leaves alone");
            Error::new(error.kind(), message)
        })
    }

    /// The proxy for a URL: what the request says, else the session, else the environment.
    pub(super) fn find(&self, proxies: [Option<&Proxies>; 2], url: &Url) -> Result<Option<Proxy>> {
        for proxies in proxies.into_iter().flatten() {
            proxies.check()?;
            match proxies.find(url) {
                Way::By(proxy) => return Ok(Some(proxy.clone())),
                Way::Direct => return Ok(None),
                Way::Unsaid => {}
            }
        }
        self.proxy(url)
    }
}

impl CachedSessionBuilder {
    /// Whether the environment is looked at when the session is built; yes unless set.
    ///
    /// It can name proxies ([`Proxies`](super::Proxies)), the certificates to trust ([`Verify::On`](super::Verify::On))
    /// and, by the netrc file (`NETRC`, else `~/.netrc`), user and password for hosts that are asked without any.
    pub fn trust_env(mut self, trust: bool) -> Self {
        self.trust_env = trust;
        self
    }

    /// The settings of the built-in client: connections, time-outs, TLS, sizes, middleware, those of an existing
    /// `ureq::Agent` by `agent.config().clone()`.
    ///
    /// Some have to be as the session needs them, whatever is set: redirects, statuses as errors, the history of URLs
    /// and methods that are not standard are left to the session. `user_agent`, `accept` and `accept_encoding` become
    /// headers of the session. A proxy is used where no other is named; ureq asks it for tunnels, for `http://` too,
    /// and one that ureq has read from the environment is not used, as the session reads it itself. `tls_config` counts
    /// where [`verify`](Self::verify) is on and there is no [`client_cert`](Self::client_cert), and then instead of the
    /// certificates of the environment; where it does not count, neither does `middleware`. Time-outs of session and
    /// request go before its own, and `timeout_global` is for each hop.
    ///
    /// It says nothing to another [`transport`](Self::transport).
    pub fn agent_config(mut self, config: ureq::config::Config) -> Self {
        self.agent_config = Some(config);
        self
    }

    /// Reads what the environment says, and what the user's settings of ureq say about headers.
    pub(super) fn take_environment(&mut self) {
        if self.trust_env {
            let mut environment = Environment::read();
            if self.agent_config.is_some() {
                environment.certificates = None;
            }
            self.settings.environment = Arc::new(environment);
        }
        let Some(config) = &self.agent_config else { return };
        let values =
            [(USER_AGENT, config.user_agent()), (ACCEPT, config.accept()), (ACCEPT_ENCODING, config.accept_encoding())];
        for (name, value) in values {
            if self.settings.headers.contains_key(&name) {
                continue;
            }
            match value {
                AutoHeaderValue::None => self.settings.removed.push(name),
                AutoHeaderValue::Default => {}
                AutoHeaderValue::Provided(value) => {
                    self.settings.headers.extend(HeaderValue::try_from(value.as_str()).ok().map(|value| (name, value)));
                }
            }
        }
    }
}

fn lower(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A variable in lower case, else the same in upper case.
fn either(name: &str) -> Option<String> {
    lower(name).or_else(|| lower(&name.to_ascii_uppercase()))
}
