//! RFC 5861: stale responses that are served all the same.

use std::{thread, time::Duration};

use larder::{Backend, CacheStatus, ErrorKind};

use super::script::{Step, get, run, run_with};
use crate::{
    Place,
    support::{Origin, Reply},
};

fn case(name: impl Into<String>, steps: Vec<Step>) -> (String, Vec<Step>) {
    (name.into(), steps)
}

#[test]
fn stale_if_error_serves_in_the_place_of_errors() {
    let mut cases = Vec::new();
    for (control, request, status, serves) in [
        ("stale-if-error=3600", "", 500, true),
        ("stale-if-error=3600", "", 502, true),
        ("stale-if-error=3600", "", 503, true),
        ("stale-if-error=3600", "", 504, true),
        ("stale-if-error=3600", "", 501, false),
        ("stale-if-error=3600", "", 404, false),
        ("stale-if-error=3600", "", 200, false),
        ("stale-if-error=60", "", 503, false),
        ("stale-if-error=x", "", 503, false),
        ("stale-if-error=3600, must-revalidate", "", 503, false),
        ("stale-if-error=3600, no-cache", "", 503, false),
        ("stale-if-error=3600", "Cache-Control: no-cache", 503, false),
        ("", "Cache-Control: stale-if-error=3600", 503, true),
        ("", "Cache-Control: stale-if-error=60", 503, false),
        ("must-revalidate", "Cache-Control: stale-if-error=3600", 503, false),
        ("", "", 503, false),
    ] {
        for validator in ["", " | ETag: \"a\""] {
            let stored = get("").gives(200, format!("Cache-Control: max-age=60, {control} | Age: 180{validator}"));
            let again = if serves {
                get(request).fails(status).status(200).body("body 0")
            } else {
                get(request).gives(status, "")
            };
            // Without either there is nothing that could ever be served.
            if serves && request.contains("stale") && validator.is_empty() {
                continue;
            }
            cases.push(case(format!("{control} {request} {status} {validator}"), vec![stored, again]));
        }
    }
    run(&cases);
}

#[test]
fn the_setting_serves_what_the_response_does_not_forbid() {
    let stale = |control: &str| get("").gives(200, format!("Cache-Control: max-age=60, {control} | Age: 180"));
    run_with(
        &[
            case("500", vec![stale(""), get("").fails(500).body("body 0")]),
            case("501", vec![stale(""), get("").fails(501).body("body 0")]),
            case("404", vec![stale(""), get("").gives(404, "")]),
            case("must-revalidate", vec![stale("must-revalidate"), get("").gives(500, "")]),
        ],
        |builder| builder.stale_if_error(true),
    );
    run_with(&[case("too stale", vec![stale(""), get("").gives(500, "")])], |builder| {
        builder.stale_if_error(Duration::from_secs(60))
    });
}

#[test]
fn a_dead_origin_counts_as_an_error() {
    for (control, serves) in
        [("max-age=0, stale-if-error=60", true), ("max-age=0, must-revalidate", false), ("max-age=0", false)]
    {
        let place = Place::new(Backend::Memory);
        let origin = Origin::start();
        origin.route("/a", Reply::ok("old").header("Cache-Control", control).header("ETag", "\"a\""));
        let session = place.builder().cache_control(true).build().unwrap();
        let url = origin.url("/a");
        session.get(&url).send().unwrap();
        drop(origin);
        match session.get(&url).send() {
            Ok(response) => {
                assert!(serves, "{control}");
                assert_eq!(
                    (response.text().unwrap().as_str(), response.cache_status()),
                    ("old", CacheStatus::StaleHit)
                );
            }
            Err(error) => assert_eq!((error.kind(), serves), (ErrorKind::Network, false), "{control}"),
        }
    }
}

#[test]
fn stale_while_revalidate_serves_at_once_and_refreshes_once() {
    for backend in [Backend::Memory, Backend::Log] {
        let place = Place::new(backend);
        let origin = Origin::start();
        let stale = "max-age=60, stale-while-revalidate=3600";
        origin.route("/a", Reply::ok("old").header("Cache-Control", stale).header("Age", "120"));
        let session = place.builder().cache_control(true).build().unwrap();
        session.get(origin.url("/a")).send().unwrap();
        origin.route("/a", Reply::ok("new").header("Cache-Control", stale).after(Duration::from_millis(200)));
        for _ in 0..5 {
            let served = session.get(origin.url("/a")).send().unwrap();
            assert_eq!((served.text().unwrap().as_str(), served.cache_status()), ("old", CacheStatus::StaleHit));
        }
        let mut rounds = 0;
        while session.get(origin.url("/a")).send().unwrap().text().unwrap() == "old" {
            thread::sleep(Duration::from_millis(10));
            rounds += 1;
            assert!(rounds < 1000, "it is never refreshed");
        }
        assert_eq!(session.get(origin.url("/a")).send().unwrap().cache_status(), CacheStatus::Hit);
        assert_eq!(origin.hits("/a"), 2);
    }
}

#[test]
fn stale_while_revalidate_has_its_limits() {
    let mut cases = Vec::new();
    for control in [
        "max-age=60, stale-while-revalidate=30",
        "max-age=60, stale-while-revalidate=x",
        "max-age=60, stale-while-revalidate=3600, must-revalidate",
        "max-age=60, stale-while-revalidate=3600, no-cache",
    ] {
        let stored = get("").gives(200, format!("Cache-Control: {control} | Age: 120"));
        cases.push(case(control, vec![stored, get("").gives(200, "")]));
    }
    run(&cases);
}
