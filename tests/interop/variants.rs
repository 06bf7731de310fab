//! Answers that vary by headers, and requests that are told apart by what both are told to look at.

use crate::{
    Shared,
    cases::{CASE, Case},
    check,
    python::{Python, Result},
    send,
    support::{Origin, Reply},
};
use larder::CachedSession;
use std::path::Path;

type Headers = &'static [(&'static str, &'static str)];

/// Four variants of one page. The one without any of the headers is the first: its key is that of the request, so that
/// it takes the place of what is there, for Python as well.
const VARIANTS: [Headers; 4] = [
    &[],
    &[("accept-language", "de")],
    &[("accept-language", "fr, EN"), ("x-kind", "a")],
    &[("accept-language", "de"), ("x-kind", "a")],
];

/// The third in another spelling.
const AGAIN: [Headers; 4] = [VARIANTS[0], VARIANTS[1], &[("accept-language", "en,fr"), ("x-kind", "a")], VARIANTS[3]];

fn case(path: &'static str, headers: Headers) -> Case {
    Case { name: "a variant", first: path, second: path, headers, ..CASE }
}

/// Answers with what it was asked with.
fn origin(vary: &'static str) -> Origin {
    let origin = Origin::start();
    origin.handle("/v", move |seen| {
        let header = |name| seen.header(name).unwrap_or("none").to_ascii_lowercase().replace("fr, en", "en,fr");
        let reply = Reply::ok(format!("{} {} {}", seen.target, header("accept-language"), header("x-kind")));
        reply.header("Vary", vary)
    });
    origin.route("/to/v", Reply::redirect(302, "/v"));
    origin
}

fn python(shared: &Shared, origin: &Origin, cases: &[Case]) -> Vec<Result> {
    Python::new(&shared.place, cases.iter().map(|case| (case, case.first(origin)))).run().results
}

fn ask(session: &CachedSession, origin: &Origin, cases: &[Case]) -> Vec<larder::Response> {
    cases.iter().map(|case| send(session, case, &case.first(origin))).collect()
}

fn of(path: &'static str, headers: &[Headers]) -> Vec<Case> {
    headers.iter().map(|headers| case(path, headers)).collect()
}

/// Both find each answer that the other has stored, in whatever order they ask.
fn each_finds_what_the_other_stored(shared: &Shared, folder: &Path, vary: &'static str, path: &'static str) {
    let origin = origin(vary);
    let session = shared.builder(folder).build().unwrap();
    let (first, again) = (of(path, &VARIANTS), of(path, &AGAIN));
    let stored = ask(&session, &origin, &first);
    assert!(stored.iter().all(|response| !response.from_cache()));
    let before = origin.total_hits();
    for _ in 0..2 {
        for ((case, stored), found) in again.iter().zip(&stored).zip(python(shared, &origin, &again)) {
            assert!(found.from_cache, "Python asks the origin: {case:?}");
            check(case, stored, &found);
        }
    }
    assert_eq!((origin.total_hits(), session.cache().len().unwrap()), (before, 4));
    assert!(session.cache().delete_url(origin.url("/v")).unwrap());
    assert!(session.cache().is_empty().unwrap(), "a variant of a URL is left when the URL is deleted");

    let stored = python(shared, &origin, &first);
    assert!(stored.iter().all(|result| !result.from_cache));
    let before = origin.total_hits();
    for _ in 0..2 {
        for ((case, stored), found) in again.iter().zip(&stored).zip(ask(&session, &origin, &again)) {
            assert!(found.from_cache(), "larder asks the origin: {case:?}");
            check(case, &found, stored);
        }
    }
    assert_eq!(origin.total_hits(), before);
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn variants_in_sqlite_are_found_by_both() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::sqlite(folder.path());
    each_finds_what_the_other_stored(&shared, folder.path(), "X-Kind, Accept-Language", "/v");
}

#[test]
#[ignore = "needs requests-cache and a Redis server; run by ./test"]
fn variants_in_redis_are_found_by_both() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::redis(folder.path());
    each_finds_what_the_other_stored(&shared, folder.path(), "Accept-Language, X-Kind", "/v");
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn variants_behind_a_redirect_are_found_by_both() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::sqlite(folder.path());
    each_finds_what_the_other_stored(&shared, folder.path(), "X-Kind, Accept-Language", "/to/v");
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn headers_to_match_count_beside_those_that_an_answer_varies_by() {
    for vary in ["Accept-Language", "X-Kind, Accept-Language"] {
        let folder = tempfile::tempdir().unwrap();
        let shared = Shared::sqlite(folder.path()).matching(&["X-Kind"]);
        each_finds_what_the_other_stored(&shared, folder.path(), vary, "/v");
    }
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn headers_to_match_tell_requests_apart_for_both() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::sqlite(folder.path()).matching(&["x-kind", "Accept-Language"]);
    each_finds_what_the_other_stored(&shared, folder.path(), "", "/v");
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn parameters_to_ignore_count_for_neither() {
    const FORM: Headers = &[("content-type", "application/x-www-form-urlencoded")];
    const JSON: Headers = &[("content-type", "application/json")];
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::sqlite(folder.path()).ignoring(&["trace", "X-Trace"]);
    let session = shared.builder(folder.path()).build().unwrap();
    let origin = Origin::start();
    origin.route("/q", Reply::ok("q")).route("/p", Reply::ok("p"));
    let cases = |trace: [&'static str; 2], form, json| {
        [
            Case { first: trace[0], ..CASE },
            Case { first: trace[1], headers: &[("x-trace", "1")], ..CASE },
            Case { method: "POST", first: "/p", headers: FORM, body: form, ..CASE },
            Case { method: "POST", first: "/p", headers: JSON, body: json, ..CASE },
        ]
    };
    let one = cases(["/q?trace=1&a=1", "/q?a=2"], "trace=1&b=1", r#"{"trace": 1, "b": 1}"#);
    let other = cases(["/q?a=1&trace=2", "/q?a=2"], "b=1&trace=2", r#"{"b": 1, "trace": 2}"#);
    assert!(ask(&session, &origin, &one).iter().all(|response| !response.from_cache()));
    let found = python(&shared, &origin, &other);
    assert!(found.iter().all(|result| result.from_cache));
    session.cache().clear().unwrap();
    assert!(python(&shared, &origin, &one).iter().all(|result| !result.from_cache));
    assert!(ask(&session, &origin, &other).iter().all(larder::Response::from_cache));
    // What is not ignored any more, since names that are set take the place of the usual ones.
    let key = [Case { first: "/q?api_key=1", ..CASE }, Case { first: "/q?api_key=2", ..CASE }];
    assert!(!ask(&session, &origin, &key[..1])[0].from_cache());
    assert!(!python(&shared, &origin, &key[1..])[0].from_cache);
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn what_varies_by_anything_or_by_what_is_ignored_is_a_miss_for_both() {
    for (vary, headers) in
        [("*", VARIANTS[2]), ("X-Trace", &[("x-trace", "1")]), ("Authorization", &[("authorization", "Bearer one")])]
    {
        let folder = tempfile::tempdir().unwrap();
        let mut shared = Shared::sqlite(folder.path());
        if vary == "X-Trace" {
            shared = shared.ignoring(&["X-Trace"]);
        }
        let origin = origin(vary);
        let session = shared.builder(folder.path()).build().unwrap();
        let cases = of("/v", &[headers, headers]);
        for _ in 0..2 {
            assert!(python(&shared, &origin, &cases).iter().all(|result| !result.from_cache), "{vary}");
            assert!(ask(&session, &origin, &cases).iter().all(|response| !response.from_cache()), "{vary}");
        }
    }
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn a_variant_is_replaced_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::sqlite(folder.path());
    let origin = Origin::start();
    let answer = |text: &'static str| {
        origin.handle("/v", move |seen| {
            Reply::ok(format!("{text} {}", seen.header("x-kind").unwrap_or_default())).header("Vary", "X-Kind")
        });
    };
    answer("old");
    let cases = of("/v", &[&[("x-kind", "a")], &[("x-kind", "b")]]);
    // One of each.
    python(&shared, &origin, &cases[..1]);
    let session = shared.builder(folder.path()).build().unwrap();
    assert!(!ask(&session, &origin, &cases[1..])[0].from_cache());
    answer("new");
    for (case, text) in cases.iter().zip(["new a", "new b"]) {
        let request = session.get(case.first(&origin)).header("x-kind", case.headers[0].1);
        assert_eq!(request.force_refresh().send().unwrap().text().unwrap(), text);
    }
    for (found, text) in python(&shared, &origin, &cases).iter().zip(["new a", "new b"]) {
        assert!(found.from_cache);
        assert_eq!(found.body, text.as_bytes());
    }
    assert_eq!(session.cache().len().unwrap(), 2);
    let native = CachedSession::new("native", larder::Backend::Memory).unwrap();
    assert_eq!(native.cache().update(session.cache()).unwrap().copied, 2);
    assert!(native.cache().verify(session.cache()).unwrap().is_whole());
    let replayed = native.get(cases[0].first(&origin)).header("x-kind", "a").send().unwrap();
    assert!(replayed.from_cache() && replayed.text().unwrap() == "new a");
    session.cache().clear().unwrap();
    assert_eq!(session.cache().update(native.cache()).unwrap().copied, 2);
    assert!(session.cache().verify(native.cache()).unwrap().is_whole());
    assert!(python(&shared, &origin, &cases).iter().all(|result| result.from_cache));
}
