//! Where a redirect leads.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, HOST, LOCATION,
        TRANSFER_ENCODING,
    },
};
use url::Url;

use super::request::{Request, take_userinfo};
use crate::{Error, ErrorKind, Result, policy::secret_names::is_secret};

/// The value of `Location`, if the answer is a redirect that has one and it is not empty.
pub(super) fn location(status: u16, headers: &HeaderMap) -> Option<&HeaderValue> {
    is_redirect(status)
        .then(|| headers.get(LOCATION))
        .flatten()
        .filter(|location| !location.as_bytes().trim_ascii().is_empty())
}

/// Whether the answer is a redirect that does not say where to.
pub(super) fn leads_nowhere(status: u16, headers: &HeaderMap) -> bool {
    is_redirect(status) && location(status, headers).is_none()
}

/// The error of a redirect that does not say where to.
pub(super) fn nowhere(request: &Request, status: u16) -> Error {
    let message = format!(
        "{} was answered with {status}, which redirects, but with no Location; redirects(0) gives the answer as it is",
        request.method
    );
    Error::new(ErrorKind::Network, message).with_url(request.shown_url())
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// What a request without a body has no use for.
const BODY_HEADERS: [HeaderName; 6] =
    [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, TRANSFER_ENCODING];

/// The request that a redirect asks for.
///
/// Method and body as RFC 9110, 15.4 allows and browsers do: 303 makes everything but HEAD a GET, 302 likewise, 301
/// only POST; 307 and 308 repeat method and body. Headers with credentials that the caller gave for one origin, API
/// keys too, are not taken to another, and neither is a `Host`. The fragment is carried over unless the target has its
/// own.
pub(super) fn next(request: &Request, status: u16, location: &HeaderValue) -> Result<Request> {
    let url = target(&request.url, location)?;
    let mut next = Request { url, ..request.clone() };
    let becomes_get = match status {
        303 | 302 => request.method != Method::HEAD,
        301 => request.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        next.method = Method::GET;
        next.body = bytes::Bytes::new();
        next.change_extra(|extra| extra.body = None);
        let headers = Arc::make_mut(&mut next.headers);
        for name in BODY_HEADERS {
            headers.remove(name);
        }
    }
    if leaves_origin(&request.url, &next.url) {
        let secret: Vec<_> = next.headers.keys().filter(|name| is_secret(name.as_str())).cloned().collect();
        let headers = Arc::make_mut(&mut next.headers);
        for name in secret {
            headers.remove(name);
        }
        headers.remove(HOST);
        next.change_extra(|extra| {
            extra.auth = None;
            extra.cookies.clear();
        });
    }
    take_userinfo(&mut next);
    Ok(next)
}

fn target(base: &Url, location: &HeaderValue) -> Result<Url> {
    // Servers send raw UTF-8 and raw Latin-1 here; what is not the one is the other.
    let location = location.as_bytes();
    let location = String::from_utf8(location.to_vec())
        .unwrap_or_else(|_| location.iter().map(|byte| char::from(*byte)).collect());
    let mut url = base.join(location.trim()).map_err(|error| {
        Error::new(ErrorKind::Network, format!("the server redirects to something that is no URL ({error})"))
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        let message = format!("the server redirects to a URL of the scheme `{}`, which is not followed", url.scheme());
        return Err(Error::new(ErrorKind::Network, message));
    }
    if url.fragment().is_none() {
        url.set_fragment(base.fragment());
    }
    Ok(url)
}

/// Another scheme, host or port; the step from http to https on the default ports of one host is none.
fn leaves_origin(from: &Url, to: &Url) -> bool {
    if from.host() != to.host() {
        return true;
    }
    let upgrade = (from.scheme(), to.scheme()) == ("http", "https") && from.port().is_none() && to.port().is_none();
    !upgrade && (from.scheme() != to.scheme() || from.port_or_known_default() != to.port_or_known_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{AUTHORIZATION, COOKIE};

    const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

    fn request(method: &Method, url: &str) -> Request {
        let mut headers = HeaderMap::new();
        for name in [AUTHORIZATION, COOKIE, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, API_KEY, HOST] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        let (method, url) = (method.clone(), Url::parse(url).unwrap());
        Request { method, url, headers: Arc::new(headers), body: "body".into(), extra: None }
    }

    fn follow(method: &Method, url: &str, status: u16, location: &str) -> Result<Request> {
        next(&request(method, url), status, &HeaderValue::from_bytes(location.as_bytes()).unwrap())
    }

    #[test]
    fn methods_become_get_where_they_should() {
        let table = [
            (Method::POST, 301, Method::GET),
            (Method::PUT, 301, Method::PUT),
            (Method::POST, 302, Method::GET),
            (Method::PUT, 302, Method::GET),
            (Method::HEAD, 302, Method::HEAD),
            (Method::DELETE, 303, Method::GET),
            (Method::HEAD, 303, Method::HEAD),
            (Method::POST, 307, Method::POST),
            (Method::PATCH, 308, Method::PATCH),
        ];
        for (method, status, want) in table {
            let next = follow(&method, "http://a.example/", status, "/b").unwrap();
            assert_eq!(next.method, want, "{method} {status}");
            assert_eq!(next.body.is_empty(), want == Method::GET, "{method} {status}");
            for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
                assert_eq!(next.headers.contains_key(name), want != Method::GET, "{method} {status}");
            }
        }
    }

    #[test]
    fn targets_are_resolved_and_keep_the_fragment() {
        for (location, want) in [
            ("/b?c=d", "http://a.example/b?c=d#f"),
            ("c", "http://a.example/x/c#f"),
            ("../c#g", "http://a.example/c#g"),
            ("//b.example/c", "http://b.example/c#f"),
            ("https://b.example", "https://b.example/#f"),
            ("/grün", "http://a.example/gr%C3%BCn#f"),
        ] {
            assert_eq!(follow(&Method::GET, "http://a.example/x/y#f", 302, location).unwrap().url.as_str(), want);
        }
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        for (from, to, kept) in [
            ("http://a.example/", "/b", true),
            ("http://a.example/", "http://a.example:80/b", true),
            ("http://a.example/", "https://a.example/", true),
            ("https://a.example/", "http://a.example/", false),
            ("http://a.example:8080/", "https://a.example/", false),
            ("http://a.example/", "http://a.example:81/", false),
            ("http://a.example/", "http://b.example/", false),
        ] {
            let next = follow(&Method::GET, from, 302, to).unwrap();
            assert_eq!(next.headers.contains_key(AUTHORIZATION), kept, "{from} {to}");
            assert_eq!(next.headers.contains_key(COOKIE), kept, "{from} {to}");
            assert_eq!(next.headers.contains_key(API_KEY), kept, "{from} {to}");
            assert_eq!(next.headers.contains_key(HOST), kept, "{from} {to}");
        }
    }

    #[test]
    fn userinfo_of_the_target_becomes_its_header() {
        let next = follow(&Method::GET, "http://a.example/", 302, "http://u:p@b.example/").unwrap();
        assert_eq!(next.url.as_str(), "http://b.example/");
        assert_eq!(next.headers[AUTHORIZATION], "Basic dTpw");
    }

    #[test]
    fn other_schemes_and_nonsense_are_not_followed() {
        for location in ["file:///etc/passwd", "javascript:alert(1)", "http://[::1"] {
            let error = follow(&Method::GET, "http://a.example/", 302, location).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Network, "{location}");
        }
    }

    #[test]
    fn a_redirect_needs_a_location_and_one_of_five_codes() {
        let mut headers = HeaderMap::new();
        assert!(location(302, &headers).is_none() && leads_nowhere(302, &headers) && !leads_nowhere(304, &headers));
        headers.insert(LOCATION, HeaderValue::from_static(" "));
        assert!(location(302, &headers).is_none() && leads_nowhere(302, &headers));
        headers.insert(LOCATION, HeaderValue::from_static("/"));
        let codes: Vec<u16> = (300..=399).filter(|status| location(*status, &headers).is_some()).collect();
        assert_eq!(codes, [301, 302, 303, 307, 308]);
    }
}
