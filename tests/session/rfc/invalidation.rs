//! Section 4.4: what unsafe requests make of what is stored.

use std::{sync::mpsc, thread, time::Duration};

use larder::{Backend, CacheStatus};

use super::script::{Step, ask, get, run};
use crate::{
    Place,
    support::{Origin, Reply},
};

const FRESH: &str = "Cache-Control: max-age=3600 | ETag: \"a\"";

fn case(name: impl Into<String>, steps: Vec<Step>) -> (String, Vec<Step>) {
    (name.into(), steps)
}

#[test]
fn unsafe_methods_invalidate_unless_they_fail() {
    let mut cases = Vec::new();
    for (method, status, goes) in [
        ("POST", 200, true),
        ("POST", 201, true),
        ("POST", 204, true),
        ("POST", 299, true),
        ("POST", 302, true),
        ("PUT", 200, true),
        ("PATCH", 200, true),
        ("DELETE", 204, true),
        ("M-SEARCH", 200, true),
        ("FOO", 200, true),
        ("POST", 400, false),
        ("POST", 404, false),
        ("POST", 500, false),
        ("DELETE", 503, false),
        ("OPTIONS", 200, false),
        ("PROPFIND", 207, false),
    ] {
        let again = || if goes { get("").confirmed("").sent("if-none-match: \"a\"") } else { get("").hits() };
        let steps = vec![get("").gives(200, FRESH), ask(method, "").gives(status, ""), again(), get("").hits()];
        cases.push(case(format!("{method} {status}"), steps));
    }
    run(&cases);
}

#[test]
fn what_a_response_names_of_the_same_origin_goes_too() {
    let mut cases = Vec::new();
    for name in ["Location", "Content-Location"] {
        for (value, goes) in [
            ("{base}/other", true),
            ("{base}/other#x", true),
            ("http://example.com/other", false),
            ("http://127.0.0.1:1/other", false),
            ("://", false),
        ] {
            let again = if goes { get("").at("/other").confirmed("") } else { get("").at("/other").hits() };
            let steps = vec![
                get("").at("/other").gives(200, FRESH),
                ask("POST", "").gives(200, format!("{name}: {value}")),
                again,
            ];
            cases.push(case(format!("{name}: {value}"), steps));
        }
        let failed = vec![
            get("").at("/other").gives(200, FRESH),
            ask("POST", "").gives(500, format!("{name}: {{base}}/other")),
            get("").at("/other").hits(),
        ];
        cases.push(case(format!("{name} of a failure"), failed));
    }
    run(&cases);
}

#[test]
fn the_url_is_taken_with_its_query() {
    run(&[case(
        "query",
        vec![
            get("").at("?a").gives(200, FRESH),
            get("").at("?b").gives(200, FRESH),
            ask("POST", "").at("?a").gives(200, ""),
            get("").at("?a").confirmed(""),
            get("").at("?b").hits(),
        ],
    )]);
}

#[test]
fn every_user_and_every_variant_is_invalidated() {
    let asks = [
        "Authorization: 1 | Foo: 1",
        "Authorization: 1 | Foo: 2",
        "Authorization: 2 | Foo: 1",
        "Authorization: 2 | Foo: 2",
    ];
    let mut steps: Vec<Step> = asks.iter().map(|ask| get(*ask).gives(200, format!("{FRESH} | Vary: Foo"))).collect();
    steps.extend(asks.iter().map(|ask| get(*ask).hits()));
    steps.push(ask("POST", "").gives(200, ""));
    steps.extend(asks.iter().map(|ask| get(*ask).confirmed("").sent("if-none-match: \"a\"")));
    steps.extend(asks.iter().map(|ask| get(*ask).hits()));
    run(&[case("two users, two variants", steps)]);
}

#[test]
fn what_is_invalid_is_not_served_stale() {
    let stale = "Cache-Control: max-age=3600, stale-while-revalidate=3600, stale-if-error=3600 | ETag: \"a\"";
    run(&[case(
        "stale",
        vec![
            get("").gives(200, stale),
            ask("POST", "").gives(200, ""),
            get("Cache-Control: max-stale").gives(500, ""),
            get("").confirmed(""),
        ],
    )]);
}

#[test]
fn an_answer_that_was_asked_for_before_does_not_undo_an_invalidation() {
    for backend in [Backend::Memory, Backend::Log] {
        let place = Place::new(backend);
        let origin = Origin::start();
        let (asked, was_asked) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let may_go = std::sync::Mutex::new(may_go);
        origin.handle("/a", move |seen| {
            if seen.method == "GET" && seen.header("if-none-match").is_none() {
                asked.send(()).unwrap();
                may_go.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
                return Reply::ok("old").header("Cache-Control", "max-age=3600").header("ETag", "\"old\"");
            }
            Reply::ok("new").header("Cache-Control", "max-age=3600")
        });
        let session = place.builder().cache_control(true).build().unwrap();
        thread::scope(|scope| {
            let slow = scope.spawn(|| session.get(origin.url("/a")).send().unwrap());
            was_asked.recv().unwrap();
            session.post(origin.url("/a")).send().unwrap();
            go.send(()).unwrap();
            assert_eq!(slow.join().unwrap().text().unwrap(), "old");
        });
        let next = session.get(origin.url("/a")).send().unwrap();
        assert_eq!((next.text().unwrap().as_str(), next.cache_status()), ("new", CacheStatus::Stale));
        assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
    }
}

/// "The target URI" is that of all requests for it, whatever they carry.
#[test]
fn answers_to_requests_with_bodies_are_invalidated_with_their_url() {
    for backend in [Backend::Memory, Backend::Log] {
        let place = Place::new(backend);
        let origin = Origin::start();
        origin.handle("/a", |seen| Reply::ok(seen.text()).header("Cache-Control", "max-age=3600"));
        let session = place.builder().cache_control(true).allowable_methods(["GET", "POST"]).build().unwrap();
        let ask = |body: &str| match body {
            "" => session.get(origin.url("/a")).send().unwrap(),
            _ => session.post(origin.url("/a")).body(body).send().unwrap(),
        };
        for method in ["PUT", "DELETE", "PATCH"] {
            // A question that is asked with POST invalidates nothing, itself least of all.
            for from_cache in [false, true] {
                for body in ["", "{\"q\":1}", "{\"q\":2}"] {
                    let answer = ask(body);
                    assert_eq!((answer.text().unwrap().as_str(), answer.from_cache()), (body, from_cache), "{method}");
                }
            }
            session.request(method, origin.url("/a")).body("new").send().unwrap();
        }
        assert_eq!(ask("{\"q\":1}").cache_status(), CacheStatus::Stale);
        assert!(session.cache().delete_url(origin.url("/a")).unwrap() && session.cache().is_empty().unwrap());
    }
}
