//! Section 4.3: asking whether a stored response still holds, and being asked.

use super::script::{Step, ask, get, run, run_with};

const D1: &str = "Thu, 18 Aug 2022 02:01:18 GMT";
const D2: &str = "Fri, 19 Aug 2022 02:01:18 GMT";

fn case(name: impl Into<String>, steps: Vec<Step>) -> (String, Vec<Step>) {
    (name.into(), steps)
}

#[test]
fn stale_responses_are_validated_with_all_that_they_have() {
    let mut cases = Vec::new();
    for why in ["max-age=0", "no-cache", "max-age=3600, no-cache", "max-age=0, must-revalidate", ""] {
        for (validators, sent) in [
            ("ETag: \"a\"".to_owned(), vec!["if-none-match: \"a\"".to_owned()]),
            ("ETag: W/\"a\"".to_owned(), vec!["if-none-match: W/\"a\"".to_owned()]),
            ("ETag: unquoted".to_owned(), vec!["if-none-match: unquoted".to_owned()]),
            (format!("Last-Modified: {D1} | Cache-Control: max-age=0"), vec![format!("if-modified-since: {D1}")]),
            (
                format!("ETag: \"a\" | Last-Modified: {D1} | Cache-Control: max-age=0"),
                vec!["if-none-match: \"a\"".to_owned(), format!("if-modified-since: {D1}")],
            ),
        ] {
            let again = sent.into_iter().fold(get("").confirmed(""), Step::sent);
            let first = get("").gives(200, format!("Cache-Control: {why} | {validators}"));
            cases.push(case(format!("{why} {validators}"), vec![first, again.status(200).body("body 0")]));
        }
    }
    run(&cases);
}

#[test]
fn a_confirmed_response_is_fresh_by_its_new_headers() {
    run(&[
        case(
            "max-age",
            vec![
                get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\" | A: 1 | B: 1"),
                get("").confirmed("Cache-Control: max-age=3600 | ETag: \"a\" | A: 2").has("a: 2").has("b: 1"),
                get("").hits().has("a: 2").has("b: 1").body("body 0"),
            ],
        ),
        case(
            "expires",
            vec![
                get("").gives(200, "Expires: 0 | ETag: \"a\""),
                get("").confirmed("Expires: {now+3600}"),
                get("").hits().body("body 0"),
            ],
        ),
        case(
            "age is of one message",
            vec![
                get("").gives(200, "Cache-Control: max-age=3600 | Age: 7200 | ETag: \"a\""),
                get("").confirmed("").lacks("age"),
                get("").hits().has("age: 0"),
            ],
        ),
        case(
            "stale again",
            vec![
                get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\""),
                get("").confirmed(""),
                get("").confirmed("").sent("if-none-match: \"a\""),
            ],
        ),
        case(
            "repeats",
            vec![
                get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\" | A: 1 | A: 2"),
                get("").confirmed("Cache-Control: max-age=60 | A: 3 | A: 4").has("a: 3").has("a: 4"),
                get("").hits().has("a: 3").has("a: 4"),
            ],
        ),
        case(
            "404",
            vec![
                get("").gives(404, "Cache-Control: max-age=0 | ETag: \"a\""),
                get("").confirmed("Cache-Control: max-age=60").status(404),
                get("").hits().status(404),
            ],
        ),
    ]);
}

#[test]
fn a_304_updates_all_headers_but_those_of_the_body() {
    let mut cases = Vec::new();
    for name in [
        "Test-Header",
        "Content-Foo",
        "Content-Language",
        "Content-Location",
        "Content-Security-Policy",
        "Content-Type",
        "Clear-Site-Data",
        "Public-Key-Pins",
        "Set-Cookie",
        "Server",
        "X-Frame-Options",
        "X-XSS-Protection",
        "Date",
        "Warning",
    ] {
        let new: &'static str = Box::leak(format!("{}: new", name.to_lowercase()).into_boxed_str());
        cases.push(case(
            name,
            vec![
                get("").gives(200, format!("Cache-Control: max-age=0 | ETag: \"a\" | {name}: old")),
                get("").confirmed(format!("Cache-Control: max-age=3600 | {name}: new")).has(new),
                get("").hits().has(new),
            ],
        ));
    }
    cases.push(case(
        "Content-Encoding",
        vec![
            get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\" | Content-Encoding: x"),
            get("").confirmed("Content-Encoding: y").has("content-encoding: x"),
        ],
    ));
    cases.push(case(
        "of the connection",
        vec![
            get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\" | A: old"),
            get("").confirmed("Connection: a | A: new | Keep-Alive: x").has("a: old").lacks("keep-alive"),
        ],
    ));
    run(&cases);
}

#[test]
fn what_is_not_confirmed_is_replaced() {
    let first = || get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\"");
    run(&[
        case(
            "200",
            vec![
                first(),
                get("").gives(200, "Cache-Control: max-age=60 | ETag: \"b\"").sent("if-none-match: \"a\""),
                get("").hits().body("body 1").has("etag: \"b\""),
            ],
        ),
        case(
            "404",
            vec![first(), get("").gives(404, "Cache-Control: max-age=60"), get("").hits().status(404).body("body 1")],
        ),
        case(
            "500 is passed on and leaves what is stored",
            vec![
                first(),
                get("").gives(500, ""),
                get("").confirmed("Cache-Control: max-age=60"),
                get("").hits().body("body 0"),
            ],
        ),
        case(
            "no validator",
            vec![get("").gives(200, "Cache-Control: max-age=0"), get("").gives(200, "").not_sent("if-none-match")],
        ),
    ]);
}

#[test]
fn the_callers_conditions_are_answered_from_the_cache() {
    let stored =
        || get("").gives(200, format!("Cache-Control: max-age=3600 | ETag: \"a\" | Last-Modified: {D1} | A: 1"));
    let mut cases = Vec::new();
    for (condition, status) in [
        ("If-None-Match: \"a\"".to_owned(), 304),
        ("If-None-Match: W/\"a\"".to_owned(), 304),
        ("If-None-Match: \"b\", \"a\"".to_owned(), 304),
        ("If-None-Match: \"b\" | If-None-Match: \"a\"".to_owned(), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"b\"".to_owned(), 200),
        ("If-None-Match: a".to_owned(), 200),
        (format!("If-None-Match: \"b\" | If-Modified-Since: {D2}"), 200),
        (format!("If-None-Match: \"a\" | If-Modified-Since: {}", "Thu, 18 Aug 2011 02:01:18 GMT"), 304),
        (format!("If-Modified-Since: {D1}"), 304),
        (format!("If-Modified-Since: {D2}"), 304),
        ("If-Modified-Since: Thursday, 18-Aug-22 02:01:18 GMT".to_owned(), 304),
        ("If-Modified-Since: Thu, 18 Aug 2011 02:01:18 GMT".to_owned(), 200),
        ("If-Modified-Since: x".to_owned(), 200),
    ] {
        let again = get(condition.clone()).hits().status(status);
        let again = match status {
            304 => again.body("").has("etag: \"a\"").has("age: 0").lacks("a").lacks("content-length"),
            _ => again.body("body 0").has("a: 1"),
        };
        cases.push(case(condition, vec![stored(), again, get("").hits().status(200).body("body 0")]));
    }
    cases.push(case(
        "of another status",
        vec![
            get("").gives(404, "Cache-Control: max-age=3600 | ETag: \"a\""),
            get("If-None-Match: \"a\"").hits().status(404),
        ],
    ));
    cases.push(case("for the origin", vec![stored(), get("If-Match: \"a\"").gives(200, "").sent("if-match: \"a\"")]));
    for condition in [format!("If-Unmodified-Since: {D1}"), "If-Match: \"b\"".to_owned()] {
        let kept = get("").hits().body("body 0");
        cases.push(case("refused by the origin", vec![stored(), get(condition).gives(412, ""), kept]));
    }
    run(&cases);
}

/// RFC 9110, 8.8.3: a comma within the quotes is part of the tag, and what stands there is compared as it is.
#[test]
fn tags_are_told_apart_by_their_quotes() {
    let mut cases = Vec::new();
    for (tag, condition, status) in [
        ("\"a,b\"", "\"x\",\"a,b\"", 304),
        ("\"b\"", "\"a,b\"", 200),
        ("\"a\"", "\"a,b\"", 200),
        ("\"\"", "\"\"", 304),
        ("\"a\"", "\"\"", 200),
        ("\"a\"", "", 200),
        ("\"a\"", "\"A\"", 200),
        ("\"a\"", ",, \"a\" ,,", 304),
        ("\"a\"", "\"a", 200),
        ("\"a\\\"", "\"a\\\"", 304),
        ("a", "a", 304),
        ("a", "\"a\"", 200),
    ] {
        let stored = get("").gives(200, format!("Cache-Control: max-age=3600 | ETag: {tag}"));
        let again = get(format!("If-None-Match: {condition}")).hits().status(status);
        cases.push(case(format!("{tag} / {condition}"), vec![stored, again]));
    }
    run(&cases);
}

#[test]
fn conditions_go_to_the_origin_where_nothing_fresh_is_stored() {
    run(&[
        case(
            "nothing stored",
            vec![
                get("If-None-Match: \"a\"").gives(304, "ETag: \"a\"").sent("if-none-match: \"a\""),
                get("").gives(200, "Cache-Control: max-age=60"),
            ],
        ),
        case(
            "a whole answer is stored",
            vec![
                get("If-None-Match: \"a\"").gives(200, "Cache-Control: max-age=60 | ETag: \"b\""),
                get("").hits().body("body 0"),
                get("If-None-Match: \"b\"").hits().status(304),
            ],
        ),
        case(
            "both confirmed",
            vec![
                get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\""),
                get("If-None-Match: \"a\"").confirmed("ETag: \"a\" | Cache-Control: max-age=60").status(304),
                get("").hits().body("body 0"),
            ],
        ),
        case(
            "ours confirmed",
            vec![
                get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\""),
                get("If-None-Match: \"b\"")
                    .confirmed("ETag: \"a\" | Cache-Control: max-age=60")
                    .sent("if-none-match: \"a\"")
                    .sent("if-none-match: \"b\"")
                    .status(200)
                    .body("body 0"),
                get("").hits().body("body 0"),
            ],
        ),
        case(
            "the caller's confirmed",
            vec![
                get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\""),
                get("If-None-Match: \"b\"").gives(304, "ETag: \"b\""),
                get("").confirmed("ETag: \"a\"").sent("if-none-match: \"a\""),
            ],
        ),
        case(
            "dates",
            vec![
                get("").gives(200, format!("Cache-Control: max-age=0 | Last-Modified: {D1}")),
                get(format!("If-Modified-Since: {D1}")).confirmed("").status(304),
                get(format!("If-Modified-Since: {D2}")).gives(304, "").sent(format!("if-modified-since: {D1}")),
            ],
        ),
    ]);
}

#[test]
fn a_head_updates_what_a_get_has_stored() {
    let stale = || get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\" | A: 1");
    run(&[
        case(
            "from a get",
            vec![
                get("").gives(200, "Cache-Control: max-age=60 | A: 1"),
                ask("HEAD", "").hits().status(200).body("").has("a: 1").has("content-length: 6").has("age: 0"),
            ],
        ),
        case(
            "the same",
            vec![
                stale(),
                ask("HEAD", "").gives(200, "Cache-Control: max-age=60 | ETag: \"a\" | A: 2"),
                get("").hits().body("body 0").has("a: 2"),
            ],
        ),
        case(
            "another",
            vec![
                get("").gives(200, "Cache-Control: max-age=60 | ETag: \"a\""),
                ask("HEAD", "Cache-Control: no-cache").gives(200, "Cache-Control: max-age=60 | ETag: \"b\""),
                get("").gives(200, "").sent("if-none-match: \"a\""),
            ],
        ),
        case(
            "of its own",
            vec![
                ask("HEAD", "").gives(200, "Cache-Control: max-age=60 | A: 1"),
                ask("HEAD", "").hits().has("a: 1"),
                get("").gives(200, ""),
            ],
        ),
        case("gone", vec![stale(), ask("HEAD", "").gives(410, ""), get("").confirmed("")]),
    ]);
}

/// 3: what the origin says last is whether a response may be stored, and for whom.
#[test]
fn a_304_can_take_back_that_a_response_may_be_stored() {
    let steps = |said: &str| {
        vec![
            get("").gives(200, "Cache-Control: max-age=0 | ETag: \"1\""),
            get("").confirmed(format!("Cache-Control: {said}, max-age=3600 | ETag: \"1\"")).status(200).body("body 0"),
            get("").gives(200, "").not_sent("if-none-match"),
        ]
    };
    run(&[("no-store".to_owned(), steps("no-store"))]);
    run_with(&[("private".to_owned(), steps("private"))], |builder| builder.shared_cache(true));
}
