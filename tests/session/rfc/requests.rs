//! Section 5.2.1: what a request can ask of the cache.

use super::script::{Step, get, run};

const FRESH: &str = "Cache-Control: max-age=3600";
const STALE: &str = "Cache-Control: max-age=3600 | Age: 3660 | ETag: \"a\"";

fn case(name: &str, steps: Vec<Step>) -> (String, Vec<Step>) {
    (name.to_owned(), steps)
}

#[test]
fn directives_of_the_request_ask_for_more_freshness() {
    let mut cases = Vec::new();
    for (request, age, hits) in [
        ("Cache-Control: max-age=0", 0, false),
        ("Cache-Control: max-age=60", 30, true),
        ("Cache-Control: max-age=60", 90, false),
        ("Cache-Control: max-age=\"60\"", 30, true),
        ("Cache-Control: max-age=x", 30, false),
        ("Cache-Control: MAX-AGE=60", 90, false),
        ("Cache-Control: max-age=99999999999999999999", 90, true),
        ("Cache-Control: min-fresh=60", 30, true),
        ("Cache-Control: min-fresh=3590", 30, false),
        ("Cache-Control: min-fresh=x", 30, false),
        ("Cache-Control: no-cache", 0, false),
        ("Cache-Control: No-Cache", 0, false),
        ("Cache-Control: foo, no-cache", 0, false),
        ("Cache-Control: foo | Cache-Control: no-cache", 0, false),
        ("Cache-Control: a=\"no-cache\"", 0, true),
        ("Cache-Control: no-store", 0, false),
        ("Cache-Control: no-transform", 0, true),
        ("Cache-Control: foo, bar=baz", 0, true),
        ("Cache-Control: ,,", 0, true),
        ("Cache-Control: max-stale=60", 30, true),
        ("Cache-Control: max-stale", 30, true),
        ("Cache-Control: only-if-cached", 30, true),
        ("Pragma: no-cache", 0, false),
        ("Pragma: foo", 0, true),
        ("Pragma: no-cache | Cache-Control: foo", 0, true),
    ] {
        let again = if hits { get(request).hits() } else { get(request).gives(200, FRESH) };
        cases.push(case(request, vec![get("").gives(200, format!("{FRESH} | Age: {age}")), again]));
    }
    run(&cases);
}

#[test]
fn what_must_be_asked_about_is_asked_with_its_validators() {
    let mut cases = Vec::new();
    for request in
        ["Cache-Control: no-cache", "Cache-Control: max-age=0", "Cache-Control: min-fresh=9999", "Pragma: no-cache"]
    {
        cases.push(case(
            request,
            vec![
                get("").gives(200, format!("{FRESH} | ETag: \"a\"")),
                get(request).confirmed("").sent("if-none-match: \"a\"").body("body 0"),
            ],
        ));
        cases.push(case(
            request,
            vec![
                get("").gives(200, format!("{FRESH} | Last-Modified: Thu, 18 Aug 2022 02:01:18 GMT")),
                get(request).confirmed("").sent("if-modified-since: Thu, 18 Aug 2022 02:01:18 GMT").body("body 0"),
            ],
        ));
        cases.push(case(
            request,
            vec![
                get("").gives(200, format!("{FRESH} | ETag: \"a\"")),
                get(request).gives(200, FRESH),
                get("").hits().body("body 1"),
            ],
        ));
    }
    run(&cases);
}

#[test]
fn directives_of_the_request_ask_for_less_freshness() {
    let mut cases = Vec::new();
    for (request, response, hits) in [
        ("", "", false),
        ("Cache-Control: max-stale", "", true),
        ("Cache-Control: max-stale=120", "", true),
        ("Cache-Control: max-stale=\"120\"", "", true),
        ("Cache-Control: max-stale=30", "", false),
        ("Cache-Control: max-stale=x", "", false),
        ("Cache-Control: max-stale, max-age=60", "", false),
        ("Cache-Control: max-stale, no-cache", "", false),
        ("Cache-Control: max-stale", "must-revalidate", false),
        ("Cache-Control: max-stale", "no-cache", false),
        ("Cache-Control: max-stale", "proxy-revalidate", true),
        ("Cache-Control: max-stale", "s-maxage=1", true),
        ("Cache-Control: only-if-cached, max-stale", "", true),
    ] {
        let again = if hits { get(request).hits() } else { get(request).gives(200, "") };
        let first = get("").gives(200, format!("{STALE} | Cache-Control: {response}"));
        cases.push(case(&format!("{request} / {response}"), vec![first, again]));
    }
    run(&cases);
}

#[test]
fn only_if_cached_is_answered_without_the_origin() {
    let only = "Cache-Control: only-if-cached";
    let not_there = || get(only).status(504).lacks("age");
    run(&[
        case("nothing", vec![not_there()]),
        case("fresh", vec![get("").gives(200, FRESH), get(only).hits().body("body 0")]),
        case("stale", vec![get("").gives(200, STALE), not_there()]),
        case("no-cache", vec![get("").gives(200, FRESH), get("Cache-Control: only-if-cached, no-cache").status(504)]),
        case("other case", vec![get("Cache-Control: ONLY-IF-CACHED").status(504)]),
        case("post", vec![super::script::ask("POST", only).status(504)]),
    ]);
}
