//! Query parameters and headers: of the URL, of the session and of the request.

use larder::{Backend, CachedSession};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    parameters_of_url_session_and_request_are_merged,
    the_order_of_parameters_does_not_count_and_blank_ones_do,
    headers_of_the_session_are_replaced_and_removed,
);

fn parameters_of_url_session_and_request_are_merged(place: &Place) {
    let origin = Origin::start();
    origin.handle("/", |seen| Reply::ok(seen.target.clone()));
    let session =
        place.builder().params([("key", "s"), ("lang", "en")]).query("lang", "de").query("n", 1).build().unwrap();
    for (request, want) in [
        (session.get(origin.url("/")), "/?key=s&lang=en&lang=de&n=1"),
        (session.get(origin.url("/?n=0&x")), "/?n=0&x&key=s&lang=en&lang=de"),
        (
            session.get(origin.url("/")).params([("a", "1"), ("a", ""), ("b", "x y&")]).query("n", 2),
            "/?key=s&lang=en&lang=de&a=1&a=&b=x+y%26&n=2",
        ),
        (session.get(origin.url("/")).query_list("lang", ["fr", "it"]).remove_query("key"), "/?n=1&lang=fr&lang=it"),
        (
            session.get(origin.url("/")).query_list("none", [""; 0]).query("lang", "ü").remove_query("n"),
            "/?key=s&lang=%C3%BC",
        ),
        (
            session.get(origin.url("/?a=1")).query_raw("?b&c=%20").remove_query("key").remove_query("lang"),
            "/?a=1&n=1&b&c=%20",
        ),
    ] {
        for from_cache in [false, true] {
            let response = request.clone().send().unwrap();
            assert_eq!((response.text().unwrap().as_str(), response.from_cache()), (want, from_cache));
        }
    }
}

fn the_order_of_parameters_does_not_count_and_blank_ones_do(place: &Place) {
    let origin = Origin::start();
    origin.route("/", Reply::ok("x"));
    let session = place.session();
    let ask = |pairs: &[(&str, &str)]| session.get(origin.url("/")).params(pairs).send().unwrap().from_cache();
    assert!(!ask(&[("a", "1"), ("b", ""), ("a", "2")]));
    assert!(ask(&[("b", ""), ("a", "1"), ("a", "2")]));
    assert!(ask(&[("b", ""), ("a", "2"), ("a", "1")]));
    assert!(!ask(&[("a", "1"), ("a", "2")]));
    assert!(!ask(&[("a", "1"), ("b", "")]));
    assert!(session.get(origin.url("/?a=1&b=")).send().unwrap().from_cache());
}

fn headers_of_the_session_are_replaced_and_removed(place: &Place) {
    let origin = Origin::start();
    origin.route("/", Reply::ok("x"));
    let session = place
        .builder()
        .headers([("X-One", "1"), ("X-Two", "a"), ("X-Two", "b")])
        .remove_header("Accept")
        .build()
        .unwrap();
    let sent = |request: larder::RequestBuilder, name: &str| -> Vec<String> {
        let shown = request.no_store().send().unwrap();
        let seen = origin.last("/");
        let sent: Vec<_> = seen.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone()).collect();
        let shown: Vec<_> =
            shown.request().headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(sent, shown, "what is shown is what was sent");
        sent
    };
    let get = || session.get(origin.url("/"));
    assert_eq!(sent(get(), "x-two"), ["a", "b"]);
    assert_eq!(sent(get().header("X-Two", "c").header("x-two", "d"), "x-two"), ["c", "d"]);
    assert_eq!(sent(get().remove_header("x-two"), "x-two"), [""; 0]);
    assert_eq!(sent(get().remove_header("x-two").header("X-Two", "e"), "x-two"), ["e"]);
    assert_eq!(sent(get(), "accept"), [""; 0]);
    assert_eq!(sent(get().header("Accept", "a/b"), "accept"), ["a/b"]);
    assert_eq!(sent(get().remove_header("User-Agent"), "user-agent"), [""; 0]);
    assert_eq!(sent(get().header("Content-Length", "7"), "content-length"), [""; 0]);
}

#[test]
fn settings_of_ureq_are_honoured_but_for_what_the_session_needs() {
    let origin = Origin::start();
    origin
        .handle("/", |seen| Reply::ok(seen.header("user-agent").unwrap_or("none")))
        .route("/moved", Reply::redirect(302, "/"))
        .route("/error", Reply::new(404).header("X-Long", "x".repeat(3000)).body("no"));
    let config = ureq::config::Config::builder()
        .user_agent("mine/1")
        .max_redirects(7)
        .http_status_as_error(true)
        .max_response_header_size(2000)
        .build();
    let session = CachedSession::builder("cache").backend(Backend::Memory).agent_config(config).build().unwrap();
    let moved = session.get(origin.url("/moved")).send().unwrap();
    assert_eq!((moved.text().unwrap().as_str(), moved.history().len()), ("mine/1", 1));
    assert_eq!(moved.request().headers()["user-agent"], "mine/1");
    let none = session.get(origin.url("/")).remove_header("User-Agent").no_store().send().unwrap();
    assert_eq!(none.text().unwrap(), "none");
    assert!(session.get(origin.url("/error")).send().is_err(), "its head is larger than the settings allow");
    origin.route("/error", Reply::new(404).body("no"));
    assert_eq!(session.get(origin.url("/error")).send().unwrap().status().as_u16(), 404);
    assert_eq!(session.request("PROPFIND", origin.url("/error")).send().unwrap().status().as_u16(), 404);
    for _ in 0..3 {
        session.get(origin.url("/")).no_store().send().unwrap();
    }
    assert!(origin.connections() <= 4, "connections are kept: {}", origin.connections());
}
