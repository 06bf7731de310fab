//! Cookies: of the jar, of the request, and the one header that carries them.

use larder::{CookieJar, Mode};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    cookies_of_answers_and_redirects_are_kept_and_sent_back,
    a_request_has_one_cookie_header,
    a_hit_leaves_the_jar_alone_and_a_replay_fills_it,
    cookies_of_a_request_stay_with_their_origin,
    cookies_are_credentials,
);

fn origin() -> Origin {
    let origin = Origin::start();
    origin
        .route("/login", Reply::redirect(302, "/step").header("Set-Cookie", "hop=1; Path=/"))
        .route(
            "/step",
            Reply::redirect(302, "/me").header("Set-Cookie", "step=2").header("Set-Cookie", "path=3; Path=/other"),
        )
        .handle("/me", |seen| Reply::ok(cookies(seen.headers.iter())).header("Set-Cookie", "me=4"));
    origin
}

/// All Cookie headers: more than one shows.
fn cookies<'a>(headers: impl Iterator<Item = &'a (String, String)>) -> String {
    let all: Vec<_> = headers.filter(|(name, _)| name == "cookie").map(|(_, value)| value.clone()).collect();
    all.join(" | ")
}

fn cookies_of_answers_and_redirects_are_kept_and_sent_back(place: &Place) {
    let origin = origin();
    let jar = CookieJar::new();
    let session = place.builder().cookie_jar(jar.clone()).build().unwrap();
    assert_eq!(session.get(origin.url("/login")).send().unwrap().text().unwrap(), "hop=1; step=2");
    assert_eq!(session.get(origin.url("/me")).no_store().send().unwrap().text().unwrap(), "hop=1; me=4; step=2");
    assert_eq!(jar.get(origin.url("/other"), "path").unwrap().as_deref(), Some("3"));
    let path = place.file().with_extension("jar");
    jar.save(&path).unwrap();
    let again = place.builder().cookie_jar(CookieJar::load(&path).unwrap()).build().unwrap();
    assert_eq!(again.get(origin.url("/me")).no_store().send().unwrap().text().unwrap(), "hop=1; me=4; step=2");
    let without = place.builder().cookies(true).cookies(false).build().unwrap();
    assert_eq!(without.get(origin.url("/login")).no_store().send().unwrap().text().unwrap(), "");
    let own = place.builder().cookies(true).build().unwrap();
    assert_eq!(own.get(origin.url("/login")).no_store().send().unwrap().text().unwrap(), "hop=1; step=2");
    assert_eq!(own.cookie_jar().map(CookieJar::len), Some(4));
    assert!(without.cookie_jar().is_none());
}

fn a_request_has_one_cookie_header(place: &Place) {
    let origin = origin();
    let jar = CookieJar::new();
    jar.set(origin.url("/"), "a=jar").unwrap();
    jar.set(origin.url("/"), "b=jar").unwrap();
    let session = place.builder().cookie_jar(jar).build().unwrap();
    let get = || session.get(origin.url("/me")).no_store();
    let sent = |request: larder::RequestBuilder| request.send().unwrap().text().unwrap();
    assert_eq!(sent(get().cookies([("a", "own"), ("c", "own")])), "a=own; c=own; b=jar; me=4".replace("; me=4", ""));
    assert_eq!(sent(get().header("Cookie", "x=1").header("Cookie", "y=2")), "x=1; y=2");
    assert_eq!(sent(get().header("Cookie", "x=1").cookies([("c", "own")])), "x=1; c=own");
    let plain = place.session();
    assert_eq!(sent(plain.get(origin.url("/me")).no_store().cookies([("c", "1"), ("d", "2")])), "c=1; d=2");
    for (name, value) in [("a;b", "c"), ("a", "b; c=d"), ("", "x"), ("a", "b\r\nx: y")] {
        assert!(plain.get(origin.url("/me")).cookies([(name, value)]).send().is_err(), "{name} {value}");
    }
}

fn a_hit_leaves_the_jar_alone_and_a_replay_fills_it(place: &Place) {
    let origin = origin();
    let jar = CookieJar::new();
    let session = place.builder().cookie_jar(jar.clone()).build().unwrap();
    session.get(origin.url("/login")).send().unwrap();
    jar.clear();
    assert!(session.get(origin.url("/login")).send().unwrap().from_cache());
    assert!(jar.is_empty(), "the origin may have replaced them since");
    if place.file().exists() {
        let replay = place.builder().mode(Mode::Offline).cookie_jar(jar.clone()).build().unwrap();
        replay.get(origin.url("/login")).send().unwrap();
        let mut names: Vec<_> = jar.matching(origin.url("/other")).unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, ["hop", "me", "path", "step"]);
    }
}

fn cookies_of_a_request_stay_with_their_origin(place: &Place) {
    let (here, there) = (origin(), origin());
    here.route("/away", Reply::redirect(302, there.url("/me"))).route("/near", Reply::redirect(302, "/me"));
    let session = place.session();
    let get = |path: &str| session.get(here.url(path)).cookies([("own", "1")]).send().unwrap().text().unwrap();
    assert_eq!(get("/near"), "own=1");
    assert_eq!(get("/away"), "");
}

fn cookies_are_credentials(place: &Place) {
    let origin = origin();
    let session = place.session();
    let get = |who: &str| session.get(origin.url("/me")).cookies([("sid", who)]).send().unwrap();
    assert_eq!(get("alice").text().unwrap(), "sid=alice");
    assert_eq!(get("bob").text().unwrap(), "sid=bob");
    let hit = get("alice");
    assert!(hit.from_cache() && hit.text().unwrap() == "sid=alice");
    assert_eq!(hit.request().headers()["cookie"], "REDACTED");
}
