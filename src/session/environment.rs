//! What the environment says about networks: proxies, certificates, passwords. It is read once, when a session is built.

use std::{env, path::PathBuf};

use url::Url;

use super::{
    auth::netrc::Netrc,
    no_proxy::NoProxy,
    proxies::{Proxies, Proxy, Way},
};
use crate::{Error, Result};

#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    http: Option<String>,
    https: Option<String>,
    all: Option<String>,
    no_proxy: NoProxy,
    /// The file or folder of the certificates to trust.
    pub(super) certificates: Option<PathBuf>,
    pub(super) netrc: Option<Netrc>,
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

fn lower(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A variable in lower case, else the same in upper case.
fn either(name: &str) -> Option<String> {
    lower(name).or_else(|| lower(&name.to_ascii_uppercase()))
}
