//! How requests reach their origins: what can be set of it, for a session and for one request alike.

use std::fmt;

use super::{
    CachedSessionBuilder, ClientCert, Proxies, Request, RequestBuilder, Retries, Verify,
    auth::{Auth, Custom},
    basic,
    request::invalid,
};
use crate::{Error, ErrorKind, Result};

/// What is set; what is `None` is left to the session, and there to the default.
#[derive(Clone, Default)]
pub(super) struct Delivery {
    pub(super) auth: Option<Auth>,
    pub(super) verify: Option<Verify>,
    pub(super) client_cert: Option<ClientCert>,
    pub(super) proxies: Option<Proxies>,
    pub(super) retries: Option<Retries>,
}

impl Delivery {
    /// Whether there is nothing that a look-up has to know.
    pub(super) fn is_plain(&self) -> bool {
        self.auth.is_none() && self.verify.is_none() && self.client_cert.is_none()
    }

    /// Fails with `NotBuiltIn` for what this build cannot do, and with `InvalidInput` for what nobody can.
    pub(super) fn check(&self) -> Result<()> {
        let missing = |what: &str, feature: &str| {
            let message = format!("{what} needs the feature `{feature}`, which is not compiled in");
            Err(Error::new(ErrorKind::NotBuiltIn, message))
        };
        if cfg!(not(feature = "digest")) && matches!(self.auth, Some(Auth::Digest { .. })) {
            return missing("digest_auth(..)", "digest");
        }
        if cfg!(not(feature = "tls")) && self.verify.as_ref().is_some_and(|verify| *verify != Verify::On) {
            return missing("verify(..)", "tls");
        }
        if cfg!(not(feature = "tls")) && self.client_cert.is_some() {
            return missing("client_cert(..)", "tls");
        }
        self.proxies.as_ref().map_or(Ok(()), Proxies::check)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("auth", &self.auth.is_some())
            .field("verify", &self.verify)
            .field("client_cert", &self.client_cert.is_some())
            .field("proxies", &self.proxies)
            .field("retries", &self.retries)
            .finish()
    }
}

/// The same calls for a session and for a request, which differ only in whom they are for.
macro_rules! calls {
    ($builder:ty, $whom:literal) => {
        impl $builder {
            #[doc = concat!("Adds HTTP basic authentication (RFC 7617) to ", $whom, ".")]
            ///
            /// As every authentication, it replaces any other that was asked for before, it takes precedence over
            /// userinfo in the URL and over the netrc file, it is not taken along by a redirect to another host, scheme
            /// or port (a step from http to https on the default ports is none), and it is never stored.
            pub fn basic_auth(self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
                self.secret(basic::authorization(user.as_ref(), password.as_ref()))
            }

            #[doc = concat!("Adds a bearer token (RFC 6750) to ", $whom, ".")]
            pub fn bearer_auth(self, token: impl AsRef<str>) -> Self {
                self.secret(format!("Bearer {}", token.as_ref()))
            }

            #[doc = concat!("Answers the challenge of digest authentication (RFC 7616) for ", $whom, ".")]
            ///
            /// The first request to a server is sent without, and again when it is answered with 401 and a challenge;
            /// from then on the session reuses the nonce. A hit sends nothing: who asks is told by user and password.
            /// MD5, SHA-256 and SHA-512-256 are known, with and without `qop`. Needs the feature `digest`.
            pub fn digest_auth(self, user: impl Into<String>, password: impl Into<String>) -> Self {
                self.authenticated(Auth::Digest { user: user.into(), password: password.into() })
            }

            #[doc = concat!("Authenticates ", $whom, " with headers that a function makes of the request.")]
            ///
            /// It is called before each look-up, again for each redirect within the same host, and its headers replace
            /// those of the same names. Whatever their names, they count as credentials: they are not stored, and they
            /// make a partition of the cache. If they change each time (a signature with a date), name the
            /// [`partition`](CachedSessionBuilder::partition) by hand.
            pub fn auth(
                self,
                auth: impl Fn(&Request) -> Result<http::HeaderMap> + Send + Sync + 'static,
            ) -> Self {
                self.authenticated(Auth::Custom(Custom::new(auth)))
            }

            #[doc = concat!("How the certificates of servers are verified for ", $whom, "; see [`Verify`].")]
            pub fn verify(mut self, verify: impl Into<Verify>) -> Self {
                self.delivery().verify = Some(verify.into());
                self
            }

            #[doc = concat!("Shows a client certificate to servers that ask for one, for ", $whom, "; see [`ClientCert`].")]
            ///
            /// It counts as a credential: it makes a partition of the cache for https.
            pub fn client_cert(mut self, certificate: impl Into<ClientCert>) -> Self {
                self.delivery().client_cert = Some(certificate.into());
                self
            }

            #[doc = concat!("The proxies for ", $whom, ", by scheme and host; see [`Proxies`].")]
            ///
            /// They go before those of the environment. They have no part in the key of a response.
            pub fn proxies(mut self, proxies: impl Into<Proxies>) -> Self {
                self.delivery().proxies = Some(proxies.into());
                self
            }

            #[doc = concat!("Sends again what failed, for ", $whom, "; see [`Retries`]. Off unless set.")]
            pub fn retries(mut self, retries: impl Into<Retries>) -> Self {
                self.delivery().retries = Some(retries.into());
                self
            }
        }
    };
}
calls!(CachedSessionBuilder, "all requests that bring none of their own");
calls!(RequestBuilder, "this request, instead of the session's");

/// The value of a header that nobody is to see.
pub(super) fn secret_value(value: String) -> Result<http::HeaderValue> {
    let mut value = http::HeaderValue::try_from(value)
        .map_err(|_| invalid("the credentials contain characters that a header cannot hold"))?;
    value.set_sensitive(true);
    Ok(value)
}
