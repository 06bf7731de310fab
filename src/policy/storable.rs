//! Which responses may be stored (RFC 9111, 3), and what of their headers.

use super::freshness::Facts;
use http::{HeaderMap, HeaderName, StatusCode, header};

/// What decides about storing besides the response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storing<'a> {
    pub(crate) shared: bool,
    /// The request had an `Authorization`.
    pub(crate) authorized: bool,
    pub(crate) status: u16,
    pub(crate) facts: &'a Facts,
}

/// What the response says about being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storable {
    /// It says so.
    Yes,
    /// It must not be.
    No,
    /// It says nothing: its status decides.
    Unsaid,
}

impl Storing<'_> {
    /// 3: "A cache MUST NOT store a response to a request unless: the request method is understood by the cache; the
    /// response status code is final; [and the following]". Method and `no-store` of the request are the caller's.
    pub(crate) fn storable(&self) -> Storable {
        let control = &self.facts.control;
        // "if the response status code is 206 or 304, or the must-understand cache directive is present: the cache
        // understands the response status code". Parts are not put together here, and a 304 only updates what is stored.
        let partial = matches!(self.status, 100..=199 | 206 | 304);
        let understood = !control.must_understand || is_understood(self.status);
        // "the no-store cache directive is not present in the response". 5.2.2.3: "A response that contains the
        // must-understand directive SHOULD also contain the no-store directive. When a cache that implements the
        // must-understand directive receives a response that includes it, the cache SHOULD ignore the no-store directive
        // if it understands and implements the status code's caching requirements."
        let refused = control.no_store && !control.must_understand;
        // 4.1: "A stored response with a Vary header field value containing a member '*' always fails to match."
        if partial || !understood || refused || self.facts.vary.is_any() || self.shared && self.is_for_one_user() {
            return Storable::No;
        }
        // "the response contains at least one of the following: a public response directive; a private response
        // directive, if the cache is not shared; an Expires header field; a max-age response directive; if the cache is
        // shared: an s-maxage response directive; [..] or, a status code that is defined as heuristically cacheable".
        let said = control.public || control.private && !self.shared || self.facts.is_explicit(self.shared);
        if said { Storable::Yes } else { Storable::Unsaid }
    }

    /// "if the cache is shared: the private response directive is either not present or allows a shared cache to store
    /// a modified response; if the cache is shared: the Authorization header field is not present in the request or a
    /// response directive is present that explicitly allows shared caching". 3.5: "In this specification, the following
    /// response directives have such an effect: must-revalidate, public, and s-maxage."
    fn is_for_one_user(&self) -> bool {
        let control = &self.facts.control;
        let allowed = control.must_revalidate || control.public || control.s_maxage.is_some();
        control.private || self.authorized && !allowed
    }
}

/// RFC 9110, 15.1: "Responses with status codes that are defined as heuristically cacheable (e.g., 200, 203, 204, 206,
/// 300, 301, 308, 404, 405, 410, 414, and 501 in this specification) can be reused by a cache with heuristic
/// expiration".
pub(crate) fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Whether the status is one whose meaning is known, and with it that it asks nothing special of a cache.
fn is_understood(status: u16) -> bool {
    StatusCode::from_u16(status).is_ok_and(|status| status.canonical_reason().is_some())
}

/// The headers to store, and to put in the place of stored ones.
///
/// 3.1: "Caches MUST include all received response header fields -- including unrecognized ones -- when storing a
/// response [with these exceptions:] The Connection header field and fields whose names are listed in it are required
/// by Section 7.6.1 of [HTTP] to be removed before forwarding the message. [..] Likewise, some fields' semantics
/// require them to be removed [..]. Header fields that are specific to the proxy that a cache uses when forwarding a
/// request MUST NOT be stored, unless the cache incorporates the identity of the proxy into the cache key."
pub(crate) fn without_connection(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for line in headers.get_all(header::CONNECTION) {
        for name in line.as_bytes().split(|&byte| byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
                kept.remove(name);
            }
        }
    }
    for name in OF_THE_CONNECTION {
        kept.remove(name);
    }
    kept
}

const OF_THE_CONNECTION: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn facts(control: &'static str, expires: bool, vary: &'static str) -> Facts {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
        headers.insert(header::VARY, HeaderValue::from_static(vary));
        if expires {
            headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
        }
        Facts::of(&headers)
    }

    #[test]
    fn a_private_cache_stores_what_is_cacheable_and_not_refused() {
        use Storable::{No, Unsaid, Yes};
        for (status, control, expires, want) in [
            (200, "", false, Unsaid),
            (302, "", false, Unsaid),
            (500, "", false, Unsaid),
            (599, "", false, Unsaid),
            (999, "max-age=60", false, Yes),
            (599, "max-age=60", false, Yes),
            (302, "max-age=60", false, Yes),
            (302, "public", false, Yes),
            (302, "private", false, Yes),
            (302, "", true, Yes),
            (302, "s-maxage=60", false, Unsaid),
            (200, "no-store", false, No),
            (200, "no-store, max-age=60", false, No),
            (200, "private, max-age=60", false, Yes),
            (200, "no-store, must-understand, max-age=60", false, Yes),
            (599, "must-understand, max-age=60", false, No),
            (599, "no-store, must-understand, max-age=60", false, No),
            (206, "max-age=60", false, No),
            (304, "max-age=60", false, No),
            (103, "max-age=60", false, No),
        ] {
            let facts = facts(control, expires, "");
            let storing = Storing { shared: false, authorized: true, status, facts: &facts };
            assert_eq!(storing.storable(), want, "{status} {control} {expires}");
        }
    }

    #[test]
    fn a_shared_cache_keeps_off_what_is_for_one_user() {
        use Storable::{No, Yes};
        for (authorized, control, want) in [
            (false, "max-age=60", Yes),
            (false, "private, max-age=60", No),
            (false, "private=\"x\", max-age=60", No),
            (false, "s-maxage=60", Yes),
            (true, "max-age=60", No),
            (true, "max-age=60, public", Yes),
            (true, "max-age=60, must-revalidate", Yes),
            (true, "s-maxage=60", Yes),
            (true, "private, public", No),
        ] {
            let facts = facts(control, false, "");
            let storing = Storing { shared: true, authorized, status: 200, facts: &facts };
            assert_eq!(storing.storable(), want, "{authorized} {control}");
        }
    }

    #[test]
    fn what_can_match_no_request_is_not_stored() {
        let facts = facts("max-age=60", false, "accept, *");
        let storing = Storing { shared: false, authorized: false, status: 200, facts: &facts };
        assert_eq!(storing.storable(), Storable::No);
    }

    #[test]
    fn fields_of_the_connection_are_not_stored() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-a, X-B"),
            ("connection", "close,?!,"),
            ("x-a", "1"),
            ("x-b", "1"),
            ("x-c", "1"),
            ("x-c", "2"),
            ("keep-alive", "1"),
            ("transfer-encoding", "chunked"),
            ("proxy-authenticate", "Basic"),
            ("set-cookie", "a=b"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let kept: Vec<_> = without_connection(&headers).keys().map(ToString::to_string).collect();
        assert_eq!(kept, ["x-c", "set-cookie"]);
        assert_eq!(without_connection(&headers).get_all("x-c").iter().count(), 2);
    }
}
