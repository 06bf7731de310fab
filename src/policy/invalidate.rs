//! What an unsafe request makes of what is stored (RFC 9111, 4.4).

use http::{
    HeaderMap,
    header::{CONTENT_LOCATION, LOCATION},
};
use url::Url;

/// The URLs whose stored responses a response to this method and URL invalidates.
///
/// "A cache MUST invalidate the target URI when it receives a non-error status code in response to an unsafe request
/// method (including methods whose safety is unknown). A cache MAY invalidate other URIs when it receives a non-error
/// status code in response to an unsafe request method [..]. In particular, the URI(s) in the Location and
/// Content-Location response header fields (if present) are candidates for invalidation [..]. However, a cache MUST NOT
/// trigger an invalidation under these conditions if the origin of the URI to be invalidated differs from that of the
/// URI in the target URI of the request. This helps prevent denial-of-service attacks. [..] a 'non-error response' is
/// one with a 2xx (Successful) or 3xx (Redirection) status code."
pub(crate) fn invalidated(method: &str, url: &Url, status: u16, headers: &HeaderMap) -> Vec<Url> {
    if is_safe(method) || !(200..400).contains(&status) {
        return Vec::new();
    }
    let mut urls = vec![url.clone()];
    for value in [LOCATION, CONTENT_LOCATION].iter().flat_map(|name| headers.get_all(name)) {
        let other = std::str::from_utf8(value.as_bytes()).ok().and_then(|text| url.join(text.trim()).ok());
        if let Some(other) = other.filter(|other| other.origin() == url.origin() && !urls.contains(other)) {
            urls.push(other);
        }
    }
    urls
}

/// The methods that the registry calls safe (RFC 9110, 18.2, and the documents that have added to it).
pub(crate) fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PROPFIND" | "REPORT" | "SEARCH" | "QUERY" | "PRI")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn urls(method: &str, status: u16, lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let url = Url::parse("http://x.org/a/b?c").unwrap();
        invalidated(method, &url, status, &headers).iter().map(Url::to_string).collect()
    }

    #[test]
    fn unsafe_and_unknown_methods_invalidate_their_url_unless_they_fail() {
        for (method, status, want) in [
            ("POST", 200, true),
            ("PUT", 204, true),
            ("DELETE", 302, true),
            ("PATCH", 399, true),
            ("M-SEARCH", 200, true),
            ("FOO", 201, true),
            ("get", 200, true),
            ("POST", 404, false),
            ("POST", 500, false),
            ("GET", 200, false),
            ("HEAD", 200, false),
            ("OPTIONS", 200, false),
            ("TRACE", 200, false),
            ("PROPFIND", 207, false),
        ] {
            let want = if want { vec!["http://x.org/a/b?c".to_owned()] } else { vec![] };
            assert_eq!(urls(method, status, &[]), want, "{method} {status}");
        }
    }

    #[test]
    fn location_and_content_location_of_the_same_origin_go_too() {
        let own = "http://x.org/a/b?c";
        for (value, want) in [
            ("/d", vec![own, "http://x.org/d"]),
            ("d", vec![own, "http://x.org/a/d"]),
            ("http://x.org:80/d", vec![own, "http://x.org/d"]),
            (own, vec![own]),
            ("https://x.org/d", vec![own]),
            ("http://x.org:81/d", vec![own]),
            ("http://y.org/d", vec![own]),
            ("http://[/", vec![own]),
        ] {
            assert_eq!(urls("POST", 201, &[("location", value)]), want, "{value}");
            assert_eq!(urls("POST", 201, &[("content-location", value)]), want, "{value}");
        }
        let both = [("location", "/d"), ("content-location", "/e"), ("content-location", "/d")];
        assert_eq!(urls("POST", 201, &both), [own, "http://x.org/d", "http://x.org/e"]);
    }
}
