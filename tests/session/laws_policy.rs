//! What the tests of requests-cache check of expiry, validation and choice, and no other file here has.

use std::{thread, time::Duration};

use larder::{CacheStatus, CachedSession, CachedSessionBuilder, ErrorKind, Expire, Response};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    max_age_of_request_and_response_and_whose_counts,
    what_has_expired_is_asked_about_with_the_validators_that_it_has,
    each_way_to_say_ask_first_makes_the_cache_ask,
    a_confirmation_with_a_new_max_age_makes_it_fresh_again,
    variants_come_back_whatever_is_asked_in_between,
    a_variant_behind_redirects_is_that_of_the_last_request,
    what_varies_by_cookies_is_told_apart_by_them,
    what_expires_at_once_is_stored_with_a_validator_alone,
    an_expired_answer_is_no_help_against_errors_unless_asked_for,
    old_answers_help_against_errors_as_long_as_is_said,
    an_error_instead_of_a_confirmation_gives_the_old_answer,
    only_if_cached_takes_what_is_stored_and_asks_nobody,
    refresh_without_a_validator_fetches_again,
    a_prepared_request_asks_for_the_same,
    a_refresh_in_the_background_is_one_and_ends,
    a_confirmation_that_changes_headers_is_written,
    codes_count_when_storing_and_methods_when_reading_too,
);

fn get(session: &CachedSession, origin: &Origin, path: &str) -> Response {
    session.get(origin.url(path)).send().unwrap()
}

fn short(place: &Place) -> CachedSessionBuilder {
    place.builder().expire_after(Duration::from_millis(1))
}

/// Lets what lasts a millisecond expire.
fn wait() {
    thread::sleep(Duration::from_millis(20));
}

fn max_age_of_request_and_response_and_whose_counts(place: &Place) {
    let origin = Origin::start();
    origin.route("/none", Reply::ok("x")).route("/60", Reply::ok("x").header("Cache-Control", "max-age=60"));
    for (cache_control, path, asked, lasts) in [
        (false, "/none", None, 3600),
        (false, "/none", Some(20), 20),
        (false, "/60", None, 3600),
        (false, "/60", Some(20), 20),
        (true, "/none", None, 3600),
        (true, "/60", None, 60),
        // The response says for how long; the request, how old it takes one.
        (true, "/60", Some(20), 60),
        (true, "/none", Some(20), 3600),
    ] {
        let builder = place.builder().expire_after(Duration::from_secs(3600)).cache_control(cache_control);
        let session = builder.build().unwrap();
        session.cache().clear().unwrap();
        let request = session.get(origin.url(path));
        let response = match asked {
            Some(seconds) => request.header("Cache-Control", format!("max-age={seconds}")),
            None => request,
        };
        let response = response.send().unwrap();
        let lasted = response.expires_at().unwrap().duration_since(response.created_at()).unwrap();
        assert_eq!((lasted.as_millis() + 500) / 1000, lasts, "{cache_control} {path} {asked:?}");
    }
}

fn what_has_expired_is_asked_about_with_the_validators_that_it_has(place: &Place) {
    const DATE: &str = "Thu, 18 Aug 2022 02:01:18 GMT";
    let origin = Origin::start();
    let session = short(place).build().unwrap();
    for (path, tag, date) in
        [("/both", true, true), ("/tag", true, false), ("/date", false, true), ("/no", false, false)]
    {
        origin.handle(path, move |seen| {
            let conditions = ["if-none-match", "if-modified-since"].iter().any(|name| seen.header(name).is_some());
            let reply = if conditions { Reply::new(304) } else { Reply::ok("body") };
            let reply = if tag { reply.header("ETag", "\"1\"") } else { reply };
            if date { reply.header("Last-Modified", DATE) } else { reply }
        });
        get(&session, &origin, path);
        wait();
        let again = get(&session, &origin, path);
        let seen = origin.last(path);
        assert_eq!(seen.header("if-none-match"), tag.then_some("\"1\""), "{path}");
        assert_eq!(seen.header("if-modified-since"), date.then_some(DATE), "{path}");
        assert_eq!((again.from_cache(), again.revalidated()), (tag || date, tag || date), "{path}");
        assert_eq!((again.status().as_u16(), again.text().unwrap().as_str()), (200, "body"));
    }
}

fn each_way_to_say_ask_first_makes_the_cache_ask(place: &Place) {
    let origin = Origin::start();
    let session = place.builder().cache_control(true).build().unwrap();
    for (n, (name, value)) in [
        ("Cache-Control", "max-age=0"),
        ("Cache-Control", "max-age=0, must-revalidate"),
        ("Cache-Control", "no-cache"),
        ("Expires", "0"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{n}");
        origin.handle(&path, move |seen| {
            let reply = if seen.header("if-none-match").is_some() { Reply::new(304) } else { Reply::ok("x") };
            reply.header("ETag", "\"1\"").header(name, value)
        });
        get(&session, &origin, &path);
        for asked in 2..4 {
            let again = get(&session, &origin, &path);
            assert!(again.from_cache() && again.revalidated(), "{name}: {value}");
            assert_eq!(origin.hits(&path), asked);
        }
    }
}

fn a_confirmation_with_a_new_max_age_makes_it_fresh_again(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| match seen.header("if-none-match") {
        Some(_) => Reply::new(304).header("ETag", "\"1\"").header("Cache-Control", "max-age=60"),
        None => Reply::ok("x").header("ETag", "\"1\"").header("Cache-Control", "max-age=0"),
    });
    let session = place.builder().cache_control(true).build().unwrap();
    get(&session, &origin, "/a");
    assert!(get(&session, &origin, "/a").revalidated());
    let hit = get(&session, &origin, "/a");
    assert!(hit.from_cache() && !hit.revalidated() && !hit.is_expired());
    assert_eq!(origin.hits("/a"), 2);
}

fn variants_come_back_whatever_is_asked_in_between(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| Reply::ok(seen.header("accept").unwrap_or("none").to_owned()).header("Vary", "Accept"));
    let session = place.session();
    for from_cache in [false, true, true] {
        for accept in ["a/a", "b/b", "c/c"] {
            // Another header does not matter.
            let request =
                session.get(origin.url("/a")).header("Accept", accept).header("X-Other", from_cache.to_string());
            let response = request.send().unwrap();
            assert_eq!((response.from_cache(), response.text().unwrap().as_str()), (from_cache, accept));
        }
    }
    assert_eq!(origin.hits("/a"), 3);
}

fn a_variant_behind_redirects_is_that_of_the_last_request(place: &Place) {
    let origin = Origin::start();
    origin.route("/to", Reply::redirect(302, "/mid")).route("/mid", Reply::redirect(302, "/a"));
    origin.handle("/a", |seen| Reply::ok(seen.header("accept").unwrap_or("none").to_owned()).header("Vary", "Accept"));
    let session = place.session();
    let ask = |path: &str, accept: &str| session.get(origin.url(path)).header("Accept", accept).send().unwrap();
    for (path, accept, from_cache) in [
        ("/to", "a/a", false),
        ("/a", "a/a", true),
        ("/to", "a/a", true),
        ("/to", "b/b", false),
        ("/mid", "b/b", true),
        ("/to", "a/a", true),
        ("/to", "b/b", true),
    ] {
        let response = ask(path, accept);
        assert_eq!((response.from_cache(), response.text().unwrap().as_str()), (from_cache, accept), "{path}");
    }
    assert_eq!(origin.hits("/a"), 2);
}

fn what_varies_by_cookies_is_told_apart_by_them(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| Reply::ok(seen.header("cookie").unwrap_or("none").to_owned()).header("Vary", "Cookie"));
    let session = place.session();
    for from_cache in [false, true] {
        for cookie in ["a=1", "a=2"] {
            let response = session.get(origin.url("/a")).header("Cookie", cookie).send().unwrap();
            assert_eq!((response.from_cache(), response.text().unwrap().as_str()), (from_cache, cookie));
        }
    }
    assert_eq!(get(&session, &origin, "/a").text().unwrap(), "none");
}

fn what_expires_at_once_is_stored_with_a_validator_alone(place: &Place) {
    let origin = Origin::start();
    origin.route("/plain", Reply::ok("x"));
    origin.handle("/tagged", |seen| match seen.header("if-none-match") {
        Some(_) => Reply::new(304).header("ETag", "\"1\""),
        None => Reply::ok("x").header("ETag", "\"1\""),
    });
    let session = place.builder().expire_after(Expire::Immediately).build().unwrap();
    get(&session, &origin, "/plain");
    assert!(session.cache().is_empty().unwrap());
    assert!(!get(&session, &origin, "/plain").from_cache());
    get(&session, &origin, "/tagged");
    assert_eq!(session.cache().len().unwrap(), 1);
    for _ in 0..2 {
        assert!(get(&session, &origin, "/tagged").revalidated());
    }
}

fn an_expired_answer_is_no_help_against_errors_unless_asked_for(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("old")).route("/b", Reply::ok("old"));
    let session = short(place).build().unwrap();
    get(&session, &origin, "/a");
    get(&session, &origin, "/b");
    wait();
    origin.route("/a", Reply::hang_up()).route("/b", Reply::new(500).body("down"));
    assert_eq!(session.get(origin.url("/a")).send().unwrap_err().kind(), ErrorKind::Network);
    let answer = get(&session, &origin, "/b");
    assert_eq!((answer.status().as_u16(), answer.from_cache()), (500, false));
}

fn old_answers_help_against_errors_as_long_as_is_said(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("old"));
    let first = short(place).build().unwrap();
    get(&first, &origin, "/a");
    wait();
    origin.route("/a", Reply::hang_up());
    if place.is_in_memory() {
        // Settings are those of a session, and another one in memory has another cache.
        let session = short(place).stale_if_error(Duration::from_secs(60)).build().unwrap();
        assert!(session.cache().update(first.cache()).is_ok());
        assert_eq!(get(&session, &origin, "/a").text().unwrap(), "old");
        return;
    }
    let with = |stale: Duration| short(place).stale_if_error(stale).build().unwrap();
    assert_eq!(get(&with(Duration::from_secs(60)), &origin, "/a").text().unwrap(), "old");
    let strict = with(Duration::from_millis(1));
    assert_eq!(strict.get(origin.url("/a")).send().unwrap_err().kind(), ErrorKind::Network);
}

fn an_error_instead_of_a_confirmation_gives_the_old_answer(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| match seen.header("if-none-match") {
        Some(_) => Reply::new(503).body("down"),
        None => Reply::ok("old").header("ETag", "\"1\""),
    });
    let session = short(place).stale_if_error(true).build().unwrap();
    get(&session, &origin, "/a");
    wait();
    let stale = get(&session, &origin, "/a");
    assert_eq!((stale.cache_status(), stale.text().unwrap().as_str()), (CacheStatus::StaleHit, "old"));
    assert_eq!(origin.last("/a").header("if-none-match"), Some("\"1\""));
}

fn only_if_cached_takes_what_is_stored_and_asks_nobody(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("old").header("ETag", "\"1\"")).route("/b", Reply::ok("x").header("ETag", "\"1\""));
    let session = short(place).build().unwrap();
    let ask = |session: &CachedSession, path: &str| session.get(origin.url(path)).only_if_cached().send();
    assert_eq!(ask(&session, "/a").unwrap_err().kind(), ErrorKind::OfflineMiss);
    get(&session, &origin, "/a");
    wait();
    // What has expired is nothing, though it could be asked about.
    assert_eq!(ask(&session, "/a").unwrap_err().kind(), ErrorKind::OfflineMiss);
    let prepared = || http::Request::get(origin.url("/a")).header("cache-control", "only-if-cached").body(()).unwrap();
    assert_eq!(session.send(prepared()).unwrap().status(), 504);
    assert_eq!(origin.total_hits(), 1);
    let tolerant = short(place).stale_if_error(true).build().unwrap();
    tolerant.get(origin.url("/a")).send().unwrap();
    wait();
    assert_eq!(ask(&tolerant, "/a").unwrap().text().unwrap(), "old");
    let asking = place.builder().always_revalidate(true).build().unwrap();
    get(&asking, &origin, "/b");
    let before = origin.total_hits();
    let hit = ask(&asking, "/b").unwrap();
    assert!(hit.from_cache() && !hit.revalidated());
    assert_eq!(origin.total_hits(), before);
}

fn refresh_without_a_validator_fetches_again(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("1"));
    let session = place.session();
    get(&session, &origin, "/a");
    for (body, force) in [("2", false), ("3", true)] {
        origin.route("/a", Reply::ok(body));
        let request = session.get(origin.url("/a"));
        let fresh = if force { request.force_refresh() } else { request.refresh() }.send().unwrap();
        assert_eq!((fresh.from_cache(), fresh.text().unwrap().as_str()), (false, body));
        assert_eq!(get(&session, &origin, "/a").text().unwrap(), body);
    }
}

fn a_prepared_request_asks_for_the_same(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| match seen.header("if-none-match") {
        Some(_) => Reply::new(304).header("ETag", "\"1\""),
        None => Reply::ok("x").header("ETag", "\"1\""),
    });
    let session = place.session();
    let send = |control: &str| {
        let request = http::Request::get(origin.url("/a")).header("cache-control", control).body(()).unwrap();
        session.send(request).unwrap().cache_status()
    };
    get(&session, &origin, "/a");
    assert_eq!(send("max-age=60"), CacheStatus::Hit);
    assert_eq!(send("max-age=0"), CacheStatus::Revalidated);
    assert_eq!(send("no-store"), CacheStatus::Bypass);
}

fn a_refresh_in_the_background_is_one_and_ends(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("old"));
    let session = short(place).stale_while_revalidate(true).build().unwrap();
    get(&session, &origin, "/a");
    wait();
    // So slow that all of them find the old one.
    origin.route("/a", Reply::ok("new").after(Duration::from_millis(300)));
    for _ in 0..5 {
        assert_eq!(get(&session, &origin, "/a").text().unwrap(), "old");
    }
    let refreshed = (0..1000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        session.cache().get(origin.url("/a")).unwrap().unwrap().0.bytes() == "new"
    });
    assert!(refreshed);
    assert_eq!(origin.hits("/a"), 2);
    // Nobody asks, so nothing is refreshed.
    thread::sleep(Duration::from_millis(50));
    assert_eq!(origin.hits("/a"), 2);
}

fn a_confirmation_that_changes_headers_is_written(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| match seen.header("if-none-match") {
        Some(_) => Reply::new(304).header("ETag", "\"1\"").header("X-Count", "2"),
        None => Reply::ok("x").header("ETag", "\"1\"").header("X-Count", "1"),
    });
    let session = place.builder().always_revalidate(true).build().unwrap();
    get(&session, &origin, "/a");
    assert!(get(&session, &origin, "/a").revalidated());
    let (stored, _) = session.cache().get(origin.url("/a")).unwrap().unwrap();
    assert_eq!((&stored.headers()["x-count"], &stored.bytes()[..]), (&"2".parse().unwrap(), &b"x"[..]));
}

fn codes_count_when_storing_and_methods_when_reading_too(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::new(404).body("x"));
    let wide = place.builder().allowable_codes([200, 404]).allowable_methods(["GET", "POST"]).build().unwrap();
    wide.get(origin.url("/a")).send().unwrap();
    wide.post(origin.url("/a")).send().unwrap();
    let narrow = place.builder().build().unwrap();
    if place.is_in_memory() {
        narrow.cache().update(wide.cache()).unwrap();
    }
    assert!(narrow.get(origin.url("/a")).send().unwrap().from_cache(), "a code counts when it is stored");
    assert!(!narrow.post(origin.url("/a")).send().unwrap().from_cache(), "a method counts when it is read");
    origin.route("/b", Reply::new(404).body("x"));
    for _ in 0..2 {
        assert!(!narrow.get(origin.url("/b")).send().unwrap().from_cache());
    }
}
