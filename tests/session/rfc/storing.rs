//! Section 3: what may be stored, and what of it.

use super::script::{Step, ask, get, run, run_with};

fn twice(status: u16, headers: &str, stored: bool) -> Vec<Step> {
    let again = if stored { get("").hits().status(status) } else { get("").gives(status, "") };
    vec![get("").gives(status, headers), again]
}

#[test]
fn every_final_status_can_be_stored_if_the_response_says_so() {
    let mut cases = Vec::new();
    for status in [
        200, 201, 202, 203, 204, 205, 207, 226, 299, 300, 301, 302, 303, 305, 307, 308, 400, 401, 402, 403, 404, 405,
        406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 429, 451, 499, 500, 501, 502, 503, 504,
        505, 511, 599, 600, 799, 999,
    ] {
        for fresh in ["Cache-Control: max-age=3600", "Expires: {now+3600}"] {
            cases.push((format!("{status} {fresh}"), twice(status, fresh, true)));
        }
        cases.push((format!("{status} stale"), twice(status, "Cache-Control: max-age=0", false)));
        cases.push((format!("{status} no-store"), twice(status, "Cache-Control: max-age=3600, no-store", false)));
    }
    cases.push(("206".into(), twice(206, "Cache-Control: max-age=3600 | Content-Range: bytes 0-5/10", false)));
    run(&cases);
}

#[test]
fn directives_of_the_response_decide() {
    let mut cases = Vec::new();
    for (headers, stored) in [
        ("Cache-Control: max-age=3600, no-store", false),
        ("Cache-Control: max-age=3600, No-StOrE", false),
        ("Cache-Control: no-store, max-age=3600", false),
        ("Cache-Control: max-age=3600 | Cache-Control: no-store", false),
        ("Cache-Control: max-age=3600, no-store=\"x\"", false),
        ("Expires: {now+3600} | Cache-Control: no-store", false),
        ("Cache-Control: max-age=3600, a=\"no-store\"", true),
        ("Cache-Control: max-age=3600, no-storex", true),
        ("Cache-Control: max-age=3600, no-cache", false),
        ("Cache-Control: no-cache, max-age=3600", false),
        ("Cache-Control: max-age=3600, No-CaChE", false),
        ("Cache-Control: max-age=3600 | Cache-Control: no-cache", false),
        ("Cache-Control: max-age=3600, no-cache=\"x\"", true),
        ("Cache-Control: max-age=3600, private", true),
        ("Cache-Control: max-age=3600, PRIVATE", true),
        ("Cache-Control: max-age=3600, private=\"x\"", true),
        ("Cache-Control: max-age=3600, must-revalidate", true),
        ("Cache-Control: max-age=3600, proxy-revalidate", true),
        ("Cache-Control: max-age=3600, no-transform", true),
        ("Cache-Control: max-age=3600, immutable", true),
        ("Cache-Control: immutable", false),
        ("Cache-Control: max-age=3600, must-understand", true),
        ("Cache-Control: max-age=3600, no-store, must-understand", true),
        ("Cache-Control: max-age=3600 | Pragma: no-cache", true),
        ("Pragma: no-cache | Cache-Control: max-age=3600", true),
        ("Cache-Control: max-age=3600 | CDN-Cache-Control: no-store", true),
    ] {
        cases.push((headers.to_owned(), twice(200, headers, stored)));
    }
    for (status, stored) in [(200, true), (404, true), (599, false), (700, false)] {
        let must_understand = "Cache-Control: max-age=3600, no-store, must-understand";
        cases.push((format!("{status} must-understand"), twice(status, must_understand, stored)));
    }
    run(&cases);
}

#[test]
fn only_get_and_head_are_answered_from_the_cache() {
    let mut cases = Vec::new();
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "FOO", "M-SEARCH"] {
        let fresh = "Cache-Control: max-age=3600";
        cases.push((
            method.to_owned(),
            vec![ask(method, "").gives(200, fresh), ask(method, "").gives(200, fresh), get("").gives(200, "")],
        ));
    }
    run(&cases);
}

#[test]
fn a_request_can_forbid_storing() {
    run(&[(
        "no-store".into(),
        vec![
            get("Cache-Control: no-store").gives(200, "Cache-Control: max-age=3600"),
            get("").gives(200, "Cache-Control: max-age=3600"),
            get("").hits().body("body 1"),
        ],
    )]);
}

#[test]
fn headers_are_stored_but_those_of_the_connection() {
    let mut cases = Vec::new();
    for name in [
        "Test-Header",
        "X-Test-Header",
        "Content-Foo",
        "X-Content-Foo",
        "Content-Type",
        "Content-Language",
        "Content-Location",
        "Content-MD5",
        "Content-Security-Policy",
        "Clear-Site-Data",
        "ETag",
        "Public-Key-Pins",
        "Set-Cookie",
        "Set-Cookie2",
        "Server",
        "Warning",
        "WWW-Authenticate",
        "X-Frame-Options",
        "X-XSS-Protection",
        "CDN-Cache-Control",
    ] {
        let line: &'static str = Box::leak(format!("{}: a value", name.to_lowercase()).into_boxed_str());
        let response = format!("Cache-Control: max-age=3600 | {name}: a value");
        cases.push((name.to_owned(), vec![get("").gives(200, response).has(line), get("").hits().has(line)]));
    }
    for name in [
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authentication-Info",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Upgrade",
    ] {
        let response = format!("Cache-Control: max-age=3600 | {name}: a value");
        cases.push((name.to_owned(), vec![get("").gives(200, response), get("").hits().lacks(name)]));
    }
    cases.push((
        "named by Connection".into(),
        vec![
            get("").gives(200, "Cache-Control: max-age=3600 | Connection: a, B | A: 1 | B: 2 | C: 3"),
            get("").hits().lacks("a").lacks("b").lacks("connection").has("c: 3"),
        ],
    ));
    cases.push((
        "named by no-cache".into(),
        vec![
            get("").gives(200, "Cache-Control: max-age=3600, no-cache=\"a, b\" | A: 1 | B: 2 | C: 3").has("a: 1"),
            get("").hits().lacks("a").lacks("b").has("c: 3"),
        ],
    ));
    cases.push((
        "named by private".into(),
        vec![get("").gives(200, "Cache-Control: max-age=3600, private=\"a\" | A: 1"), get("").hits().has("a: 1")],
    ));
    run(&cases);
}

#[test]
fn a_shared_cache_keeps_its_own_rules() {
    let cases = [
        ("", "Cache-Control: max-age=3600", true),
        ("", "Cache-Control: s-maxage=3600", true),
        ("", "Cache-Control: max-age=0, s-maxage=3600", true),
        ("", "Cache-Control: max-age=3600, s-maxage=0", false),
        ("", "Cache-Control: max-age=3600, private", false),
        ("", "Cache-Control: max-age=3600, private=\"a\"", false),
        ("Authorization: x", "Cache-Control: max-age=3600", false),
        ("Authorization: x", "Cache-Control: max-age=3600, public", true),
        ("Authorization: x", "Cache-Control: max-age=3600, must-revalidate", true),
        ("Authorization: x", "Cache-Control: s-maxage=3600", true),
    ];
    let case = |(request, response, stored): &(&str, &str, bool)| {
        let again = if *stored { get(*request).hits() } else { get(*request).gives(200, "") };
        (format!("{request} {response}"), vec![get(*request).gives(200, *response), again])
    };
    run_with(&cases.iter().map(case).collect::<Vec<_>>(), |builder| builder.shared_cache(true));
}

#[test]
fn with_authorization_each_has_an_answer_of_his_own() {
    run(&[(
        "two users".into(),
        vec![
            get("Authorization: a").gives(200, "Cache-Control: max-age=3600"),
            get("Authorization: b").gives(200, "Cache-Control: max-age=3600"),
            get("").gives(200, "Cache-Control: max-age=3600"),
            get("Authorization: a").hits().body("body 0"),
            get("Authorization: b").hits().body("body 1"),
            get("").hits().body("body 2"),
        ],
    )]);
}
