//! Who asks: what a request carries of it besides its own headers.

#[cfg(feature = "digest")]
pub(super) mod digest;
pub(super) mod netrc;

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

use super::Request;
use crate::{
    Result,
    policy::{
        key::Asked,
        redact::{Credentials, REDACTED},
        secret_names::is_secret,
    },
};

/// Authentication that is more than a header that stands fast.
#[derive(Clone)]
pub(super) enum Auth {
    Digest { user: String, password: String },
    Custom(Custom),
}

type MakeHeaders = dyn Fn(&Request) -> Result<HeaderMap> + Send + Sync;

/// A function that makes the headers.
#[derive(Clone)]
pub(super) struct Custom(Arc<MakeHeaders>);

impl Custom {
    pub(super) fn new(make: impl Fn(&Request) -> Result<HeaderMap> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    /// Puts the headers into the request, and gives their names.
    pub(super) fn apply(&self, request: &mut Request) -> Result<Vec<HeaderName>> {
        let made = (self.0)(request)?;
        let names: Vec<HeaderName> = made.keys().cloned().collect();
        let headers = Arc::make_mut(&mut request.headers);
        for name in &names {
            headers.remove(name);
            for value in made.get_all(name) {
                let mut value = value.clone();
                value.set_sensitive(true);
                headers.append(name.clone(), value);
            }
        }
        Ok(names)
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Digest { .. } => "Digest",
            Self::Custom(_) => "Custom",
        })
    }
}

/// Takes the headers that a function made out of what is stored, whatever their names, and into the partition.
pub(super) fn hide(asked: &mut Asked, request: &Request, names: &[HeaderName]) {
    for name in names.iter().filter(|name| !is_secret(name.as_str())) {
        for value in request.headers.get_all(name) {
            asked.credentials.push(name.as_str(), value.as_bytes());
        }
        Arc::make_mut(&mut asked.headers).insert(name.clone(), HeaderValue::from_static(REDACTED));
    }
    asked.credentials.sort();
}

/// Counts user and password into the partition. The header with the answer to the challenge differs each time, and is
/// not known before one has asked; it is shown as one that was sent.
pub(super) fn count_digest(asked: &mut Asked, user: &str, password: &str) {
    let mut who = Credentials::default();
    who.push("user", user);
    who.push("password", password);
    asked.credentials.push("digest", who.to_bytes());
    asked.credentials.sort();
    Arc::make_mut(&mut asked.headers).insert(AUTHORIZATION, HeaderValue::from_static(REDACTED));
}
