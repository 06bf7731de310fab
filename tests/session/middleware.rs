//! The cache under an agent of ureq that exists already.

use std::{io::Read, time::Duration};

use larder::{CacheMiddleware, Error, ErrorKind, Mode};
use ureq::{Agent, ResponseExt, config::ConfigBuilder, typestate::AgentScope};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    hits_look_like_misses_in_uri_history_headers_and_body,
    the_configuration_of_the_agent_stays_in_force_on_hits,
    what_cannot_be_stored_passes_through_unharmed,
    what_is_posted_through_an_agent_makes_invalid_what_is_stored,
    a_session_and_an_agent_share_one_cache,
    what_an_agent_takes_along_a_redirect_stays_with_whoever_asked,
    userinfo_is_the_header_that_it_becomes,
    offline_never_touches_the_network,
);

fn agent(place: &Place) -> ConfigBuilder<AgentScope> {
    Agent::config_builder().middleware(larder::middleware(place.session()))
}

fn hits_look_like_misses_in_uri_history_headers_and_body(place: &Place) {
    let origin = Origin::start();
    origin
        .route("/a", Reply::ok("grün".as_bytes()).header("Content-Type", "text/plain; charset=utf-8").header("X", "1"))
        .route("/one", Reply::redirect(301, "/two"))
        .route("/two", Reply::redirect(307, "/a"))
        .route("/large", Reply::ok(vec![7; 11 << 20]).chunked());
    for history in [false, true] {
        place.session().cache().clear().unwrap();
        let agent: Agent = agent(place).save_redirect_history(history).build().into();
        for round in 0..2 {
            for path in ["/a", "/one"] {
                let mut response = agent.get(origin.url(path)).call().unwrap();
                assert_eq!(CacheMiddleware::from_cache(&response), round == 1, "{path} {round}");
                assert_eq!(response.get_uri().path(), "/a");
                let want = match path {
                    _ if !history => None,
                    "/a" => Some(vec!["/a"]),
                    _ => Some(vec!["/one", "/two", "/a"]),
                };
                let uris = response.get_redirect_history();
                assert_eq!(uris.map(|uris| uris.iter().map(ureq::http::Uri::path).collect()), want, "{path} {round}");
                assert_eq!((response.status().as_u16(), response.headers()["x"].as_bytes()), (200, &b"1"[..]));
                let body = response.body();
                assert_eq!((body.mime_type(), body.charset()), (Some("text/plain"), Some("utf-8")));
                assert_eq!(body.content_length(), Some(5));
                assert_eq!(response.body_mut().read_to_string().unwrap(), "grün");
            }
            let mut all = Vec::new();
            agent.get(origin.url("/large")).call().unwrap().into_body().into_reader().read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), 11 << 20);
        }
    }
    assert_eq!((origin.hits("/one"), origin.hits("/large")), (2, 2));
}

fn the_configuration_of_the_agent_stays_in_force_on_hits(place: &Place) {
    let origin = Origin::start();
    origin
        .route("/before", Reply::redirect(302, "/from"))
        .route("/from", Reply::redirect(302, "/to"))
        .route("/to", Reply::ok("x"))
        .route("/404", Reply::new(404).body("none"));
    let url = |path| origin.url(path);
    let lenient = place.builder().allowable_codes([200, 404]).build().unwrap();
    let agent: Agent =
        Agent::config_builder().middleware(larder::middleware(lenient.clone())).user_agent("mine/1").build().into();
    // An error status is not stored while the agent makes it an error, and is one on a hit too.
    for hits in [1, 2] {
        assert!(matches!(agent.get(url("/404")).call(), Err(ureq::Error::StatusCode(404))));
        assert_eq!(origin.hits("/404"), hits);
    }
    for _ in 0..2 {
        let request = agent.get(url("/404")).config().http_status_as_error(false).build();
        assert_eq!(request.call().unwrap().body_mut().read_to_string().unwrap(), "none");
    }
    assert!(matches!(agent.get(url("/404")).call(), Err(ureq::Error::StatusCode(404))));
    assert_eq!(origin.hits("/404"), 3);
    assert_eq!(origin.last("/404").header("user-agent"), Some("mine/1"));

    agent.get(url("/from")).call().unwrap().body_mut().read_to_vec().unwrap();
    agent.get(url("/before")).call().unwrap().body_mut().read_to_vec().unwrap();
    let total = origin.total_hits();
    let error = agent.get(url("/before")).config().max_redirects(1).build().call().unwrap_err();
    assert!(matches!(error, ureq::Error::TooManyRedirects), "{error}");
    let response = agent.get(url("/from")).config().max_redirects(0).build().call().unwrap();
    assert_eq!((response.status().as_u16(), response.get_uri().path()), (302, "/from"));
    assert!(response.headers()["location"].to_str().unwrap().ends_with("/to"));
    assert!(CacheMiddleware::from_cache(&response) && origin.total_hits() == total);
    // The same where nothing is stored: it passes, and is not stored.
    lenient.cache().clear().unwrap();
    for _ in 0..2 {
        let response = agent.get(url("/from")).config().max_redirects(0).build().call().unwrap();
        assert_eq!((response.status().as_u16(), CacheMiddleware::from_cache(&response)), (302, false));
    }
    let error = agent.get(url("/to")).config().https_only(true).build().call().unwrap_err();
    assert!(matches!(error, ureq::Error::RequireHttpsOnly(_)), "{error}");
}

fn what_cannot_be_stored_passes_through_unharmed(place: &Place) {
    let origin = Origin::start();
    origin
        .handle("/echo", |seen| Reply::ok(format!("{} {:?}", seen.method, String::from_utf8_lossy(&seen.body))))
        .route("/slow", Reply::ok("x").after(Duration::from_secs(2)))
        .route("/large", Reply::ok(vec![7; 5000]));
    let posts = place.builder().allowable_methods(["GET", "POST"]).max_body(1000).build().unwrap();
    let plain: Agent = agent(place).build().into();
    let posting: Agent = Agent::config_builder().middleware(larder::middleware(posts)).build().into();
    for from_cache in [false, true] {
        let mut sent = plain.post(origin.url("/echo")).send("body").unwrap();
        assert_eq!(sent.body_mut().read_to_string().unwrap(), "POST \"body\"");
        assert!(!CacheMiddleware::from_cache(&sent));
        for body in ["one", "two"] {
            let mut sent = posting.post(origin.url("/echo")).send(body).unwrap();
            assert_eq!(sent.body_mut().read_to_string().unwrap(), format!("POST {body:?}"));
            assert_eq!(CacheMiddleware::from_cache(&sent), from_cache);
            assert_eq!(sent.get_uri().path(), "/echo");
        }
        let mut large = posting.get(origin.url("/large")).call().unwrap();
        assert_eq!(large.body_mut().read_to_vec().unwrap().len(), 5000);
        assert!(!CacheMiddleware::from_cache(&large));
    }
    let late = plain.get(origin.url("/slow")).config().timeout_global(Some(Duration::from_millis(100))).build().call();
    assert!(matches!(late, Err(ureq::Error::Timeout(_))));
}

fn what_is_posted_through_an_agent_makes_invalid_what_is_stored(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x").header("Cache-Control", "max-age=60"));
    let session = place.builder().cache_control(true).build().unwrap();
    let agent: Agent = Agent::config_builder().middleware(larder::middleware(session.clone())).build().into();
    agent.get(origin.url("/a")).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
    agent.post(origin.url("/a")).send("new").unwrap();
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
}

fn a_session_and_an_agent_share_one_cache(place: &Place) {
    let origin = Origin::start();
    origin.route("/from", Reply::redirect(302, "/to")).route("/to", Reply::ok("x")).route("/b", Reply::ok("b"));
    // One session for both, as a memory store is not found by its name.
    let session = place.session();
    let agent: Agent = Agent::config_builder().middleware(larder::middleware(session.clone())).build().into();
    agent.get(origin.url("/from")).call().unwrap().body_mut().read_to_string().unwrap();
    let hit = session.get(origin.url("/from")).send().unwrap();
    assert!(hit.from_cache() && hit.history().len() == 1 && hit.url().ends_with("/to"));
    session.get(origin.url("/b")).send().unwrap();
    assert!(CacheMiddleware::from_cache(&agent.get(origin.url("/b")).call().unwrap()));
    // Each user gets an answer of its own.
    for (user, from_cache) in [("a", false), ("b", false), ("a", true)] {
        let response = agent.get(origin.url("/b")).header("Authorization", user).call().unwrap();
        assert_eq!(CacheMiddleware::from_cache(&response), from_cache);
        drop(response.into_body().read_to_vec().unwrap());
    }
}

/// ureq keeps all headers but two, a session none that is secret.
fn what_an_agent_takes_along_a_redirect_stays_with_whoever_asked(place: &Place) {
    let (from, to) = (Origin::start(), Origin::start());
    from.route("/from", Reply::redirect(302, to.url("/to")));
    to.handle("/to", |seen| Reply::ok(seen.header("x-api-key").unwrap_or("nobody").to_owned()));
    let agent: Agent = agent(place).build().into();
    let mut alice = agent.get(from.url("/from")).header("X-Api-Key", "alice").call().unwrap();
    assert_eq!(alice.body_mut().read_to_string().unwrap(), "alice");
    let mut other = agent.get(to.url("/to")).call().unwrap();
    assert_eq!(other.body_mut().read_to_string().unwrap(), "nobody");
    let mut alice = agent.get(from.url("/from")).header("X-Api-Key", "alice").call().unwrap();
    assert!(CacheMiddleware::from_cache(&alice) && alice.body_mut().read_to_string().unwrap() == "alice");
}

fn userinfo_is_the_header_that_it_becomes(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x").header("Cache-Control", "max-age=60"));
    let session = place.builder().cache_control(true).shared_cache(true).build().unwrap();
    let agent: Agent = Agent::config_builder().middleware(larder::middleware(session)).build().into();
    let url = origin.url("/a").replace("http://", "http://alice:pw@");
    for _ in 0..2 {
        let response = agent.get(&url).call().unwrap();
        assert!(!CacheMiddleware::from_cache(&response));
        drop(response.into_body().read_to_vec().unwrap());
        assert!(origin.last("/a").header("authorization").is_some());
    }
}

fn offline_never_touches_the_network(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    place.session().get(origin.url("/a")).send().unwrap();
    let Ok(offline) = place.builder().mode(Mode::Offline).build() else { return };
    let agent: Agent = Agent::config_builder().middleware(larder::middleware(offline)).build().into();
    if place.file().exists() {
        assert_eq!(agent.get(origin.url("/a")).call().unwrap().body_mut().read_to_string().unwrap(), "x");
    }
    let Err(ureq::Error::Other(error)) = agent.get(origin.url("/b")).call() else { panic!("no error of ours") };
    assert_eq!(error.downcast_ref::<Error>().map(Error::kind), Some(ErrorKind::OfflineMiss));
    assert_eq!(origin.total_hits(), 1);
}
