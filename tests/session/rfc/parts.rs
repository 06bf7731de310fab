//! Sections 3.3 and 3.4, and RFC 9110, 14: parts of stored responses.

use super::script::{Step, get, run};

const STORED: &str = "Cache-Control: max-age=3600 | ETag: \"a\" | Last-Modified: Thu, 18 Aug 2022 02:01:18 GMT | A: 1";

fn case(name: impl Into<String>, steps: Vec<Step>) -> (String, Vec<Step>) {
    (name.into(), steps)
}

/// Of the six bytes `body 0`.
#[test]
fn a_part_of_a_stored_response_comes_from_the_cache() {
    let mut cases = Vec::new();
    for (range, body, content_range) in [
        ("bytes=0-1", "bo", "content-range: bytes 0-1/6"),
        ("bytes=2-", "dy 0", "content-range: bytes 2-5/6"),
        ("bytes=-2", " 0", "content-range: bytes 4-5/6"),
        ("bytes=-99", "body 0", "content-range: bytes 0-5/6"),
        ("bytes=5-99", "0", "content-range: bytes 5-5/6"),
        ("BYTES=0-0", "b", "content-range: bytes 0-0/6"),
    ] {
        let part = get(format!("Range: {range}")).hits().status(206).body(body).has(content_range).has("a: 1");
        cases.push(case(range, vec![get("").gives(200, STORED), part, get("").hits().status(200).body("body 0")]));
    }
    for range in ["bytes=6-", "bytes=99-100", "bytes=-0"] {
        let part = get(format!("Range: {range}")).hits().status(416).body("").has("content-range: bytes */6");
        cases.push(case(range, vec![get("").gives(200, STORED), part, get("").hits().status(200)]));
    }
    for range in ["lines=0-1", "bytes=4-2", "bytes=x", "bytes", "bytes=0-1 | Range: bytes=2-3"] {
        let whole = get(format!("Range: {range}")).hits().status(200).body("body 0").lacks("content-range");
        cases.push(case(range, vec![get("").gives(200, STORED), whole]));
    }
    cases.push(case(
        "several",
        vec![get("").gives(200, STORED), get("Range: bytes=0-1, 3-4").gives(206, "").sent("range: bytes=0-1, 3-4")],
    ));
    cases
        .push(case("404", vec![get("").gives(404, STORED), get("Range: bytes=0-1").hits().status(404).body("body 0")]));
    run(&cases);
}

#[test]
fn if_range_asks_for_the_whole_where_it_has_changed() {
    let mut cases = Vec::new();
    for (validator, status) in [
        ("\"a\"", 206),
        ("\"b\"", 200),
        ("W/\"a\"", 200),
        ("Thu, 18 Aug 2022 02:01:18 GMT", 206),
        ("Fri, 19 Aug 2022 02:01:18 GMT", 200),
        ("x", 200),
    ] {
        let part = get(format!("Range: bytes=0-1 | If-Range: {validator}")).hits().status(status);
        cases.push(case(validator, vec![get("").gives(200, STORED), part]));
    }
    cases.push(case(
        "not modified goes before",
        vec![get("").gives(200, STORED), get("Range: bytes=0-1 | If-None-Match: \"a\"").hits().status(304).body("")],
    ));
    cases.push(case(
        "no range",
        vec![get("").gives(200, STORED), get("If-Range: \"b\"").hits().status(200).body("body 0")],
    ));
    run(&cases);
}

#[test]
fn parts_are_not_stored() {
    let part = "Cache-Control: max-age=3600 | ETag: \"a\" | Content-Range: bytes 0-5/100";
    run(&[
        case(
            "a part",
            vec![
                get("Range: bytes=0-5").gives(206, part).sent("range: bytes=0-5"),
                get("Range: bytes=0-5").gives(206, part),
                get("").gives(200, STORED),
                get("").hits().body("body 2"),
            ],
        ),
        case(
            "the whole in place of a part",
            vec![get("Range: bytes=0-1").gives(200, STORED), get("Range: bytes=0-1").hits().status(206).body("bo")],
        ),
        case(
            "beside a whole one",
            vec![
                get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\""),
                get("Range: bytes=0-5").gives(206, part).sent("if-none-match: \"a\""),
                get("").confirmed("").body("body 0"),
            ],
        ),
        case(
            "of a stale one that still holds",
            vec![
                get("").gives(200, "Cache-Control: max-age=0 | ETag: \"a\""),
                get("Range: bytes=0-1").confirmed("").status(206).body("bo"),
            ],
        ),
        case(
            "of a coding",
            vec![
                get("").gives(200, "Cache-Control: max-age=3600 | Content-Encoding: br"),
                get("Range: bytes=0-1").hits().status(206).body("bo").has("content-encoding: br"),
            ],
        ),
    ]);
}

/// Nobody who asks for the whole is told that a part of it is not there.
#[test]
fn what_a_range_does_not_reach_is_not_stored_for_all() {
    let fresh = "Cache-Control: max-age=3600 | Content-Range: bytes */6";
    run(&[case("416", vec![get("Range: bytes=9-").gives(416, fresh), get("").gives(200, STORED).status(200)])]);
}
