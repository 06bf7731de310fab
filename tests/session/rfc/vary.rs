//! Section 4.1: which of several responses to one URL a request gets.

use super::script::{Step, get, run, run_with};

const FRESH: &str = "Cache-Control: max-age=3600";

fn case(name: impl Into<String>, steps: Vec<Step>) -> (String, Vec<Step>) {
    (name.into(), steps)
}

fn varied(sends: &str, names: &str) -> Step {
    get(sends).gives(200, format!("{FRESH} | Vary: {names}"))
}

#[test]
fn a_request_gets_what_answered_one_with_the_same_headers() {
    let mut cases = Vec::new();
    for (names, first, second, hits) in [
        ("Foo", "Foo: 1", "Foo: 1", true),
        ("foo", "FOO: 1", "Foo: 1", true),
        ("Foo", "Foo: 1", "Foo: 2", false),
        ("Foo", "Foo: 1", "", false),
        ("Foo", "", "Foo: 1", false),
        ("Foo", "", "", true),
        ("Foo", "Foo: 1 | Bar: 1", "Foo: 1 | Bar: 2", true),
        ("Foo, Bar", "Foo: 1 | Bar: 1", "Foo: 1 | Bar: 1", true),
        ("Foo, Bar", "Foo: 1 | Bar: 1", "Bar: 1 | Foo: 1", true),
        ("Foo, Bar", "Foo: 1 | Bar: 1", "Foo: 1 | Bar: 2", false),
        ("Foo, Bar", "Foo: 1 | Bar: 1", "Foo: 1", false),
        ("Foo,Bar,,Foo", "Foo: 1 | Bar: 1", "Foo: 1 | Bar: 1", true),
        ("Foo | Vary: Bar", "Foo: 1 | Bar: 1", "Foo: 1 | Bar: 2", false),
        ("Foo", "Foo: 1, 2", "Foo: 1,2", true),
        ("Foo", "Foo: 1, 2", "Foo: 1 | Foo: 2", true),
        ("Foo", "Foo: 1, 2", "Foo: 2, 1", false),
        ("Foo", "Foo: a", "Foo: A", false),
        ("Accept-Language", "Accept-Language: en, de", "Accept-Language: eN,De", true),
        ("Accept-Language", "Accept-Language: en, de", "Accept-Language: de, en", false),
        ("Accept-Language", "Accept-Language: en, de;q=0.5", "Accept-Language: de;q=0.5 | Accept-Language: en", true),
        ("Accept-Language", "Accept-Language: en, de;q=0.5", "Accept-Language: de, en;q=0.5", false),
        ("", "Foo: 1", "Foo: 2", true),
        ("*", "", "", false),
        ("*", "Foo: 1", "Foo: 1", false),
        ("*, *", "", "", false),
        ("*, Foo", "Foo: 1", "Foo: 1", false),
        ("Foo, *", "Foo: 1", "Foo: 1", false),
        (", *", "", "", false),
        ("Foo | Vary: *", "Foo: 1", "Foo: 1", false),
        ("Accept-Encoding", "", "", true),
        ("User-Agent, Accept", "", "", true),
        ("Cookie", "Cookie: a=1", "Cookie: a=1", true),
        ("Cookie", "Cookie: a=1", "Cookie: a=2", false),
        ("Authorization", "Authorization: a", "Authorization: b", false),
    ] {
        let again = if hits { get(second).hits().body("body 0") } else { varied(second, names) };
        cases.push(case(format!("{names}: {first} / {second}"), vec![varied(first, names), again]));
    }
    run(&cases);
}

#[test]
fn variants_stand_side_by_side() {
    run(&[
        case(
            "three",
            vec![
                varied("Foo: 1", "Foo"),
                varied("Foo: 2", "Foo"),
                varied("", "Foo"),
                get("Foo: 1").hits().body("body 0"),
                get("Foo: 2").hits().body("body 1"),
                get("").hits().body("body 2"),
            ],
        ),
        case(
            "by other names",
            vec![
                varied("Foo: 1 | Bar: 1", "Foo"),
                varied("Foo: 2 | Bar: 2", "Bar"),
                get("Foo: 1 | Bar: 3").hits().body("body 0"),
                get("Foo: 3 | Bar: 2").hits().body("body 1"),
                get("Foo: 3 | Bar: 3").gives(200, ""),
            ],
        ),
        case(
            "each is validated by its own tag",
            vec![
                get("Foo: 1").gives(200, "Cache-Control: max-age=0 | Vary: Foo | ETag: \"1\""),
                get("Foo: 2").gives(200, "Cache-Control: max-age=0 | Vary: Foo | ETag: \"2\""),
                get("Foo: 1").confirmed("ETag: \"1\"").sent("if-none-match: \"1\"").body("body 0"),
                get("Foo: 2")
                    .confirmed("ETag: \"2\" | Cache-Control: max-age=60")
                    .sent("if-none-match: \"2\"")
                    .body("body 1"),
                get("Foo: 2").hits().body("body 1"),
                get("Foo: 1").confirmed("").body("body 0"),
            ],
        ),
        case(
            "what varies no more replaces them",
            vec![
                varied("Foo: 1", "Foo"),
                get("Foo: 2").gives(200, FRESH),
                get("Foo: 1").hits().body("body 1"),
                get("Foo: 3").hits().body("body 1"),
            ],
        ),
        case(
            "what varies from now on",
            vec![
                get("Foo: 1").gives(200, "Cache-Control: max-age=0 | ETag: \"a\""),
                varied("Foo: 1", "Foo"),
                get("Foo: 1").hits().body("body 1"),
                get("Foo: 2").gives(200, ""),
            ],
        ),
    ]);
}

#[test]
fn the_latest_of_several_that_match_is_chosen() {
    // Each step a millisecond later at least: of two at the same time either may be chosen.
    run(&[case(
        "two names",
        vec![
            varied("Foo: 1 | Bar: 1", "Foo"),
            get("Foo: 1 | Bar: 1 | Cache-Control: no-cache").gives(200, format!("{FRESH} | Vary: Foo, Bar")),
            get("Foo: 1 | Bar: 1").hits().body("body 1"),
            get("Foo: 1 | Bar: 2").hits().body("body 0"),
        ],
    )]);
}

#[test]
fn shared_credentials_are_not_shared_where_the_response_varies_by_them() {
    run_with(
        &[
            case(
                "cookie",
                vec![
                    get("Cookie: a").gives(200, format!("{FRESH} | Vary: Cookie")),
                    get("Cookie: b").gives(200, format!("{FRESH} | Vary: Cookie")),
                    get("Cookie: a").gives(200, format!("{FRESH} | Vary: Cookie")),
                ],
            ),
            case("without", vec![get("Cookie: a").gives(200, FRESH), get("Cookie: b").hits()]),
        ],
        |builder| builder.share_across_credentials(true),
    );
}

/// 4.1: what counts is the `Vary` that the response has now.
#[test]
fn a_304_can_make_a_response_vary_by_more() {
    let tag = "ETag: \"1\" | Vary: A";
    run(&[(
        "more".to_owned(),
        vec![
            get("A: 1 | B: 1").gives(200, format!("Cache-Control: max-age=0 | {tag}")),
            get("A: 1 | B: 1").confirmed(format!("Cache-Control: max-age=3600 | {tag}, B")).status(200),
            get("A: 1 | B: 1").hits().status(200),
            get("A: 1 | B: 2").gives(200, format!("Cache-Control: max-age=3600 | {tag}, B")).body("body 3"),
            get("A: 1 | B: 2").hits().body("body 3"),
        ],
    )]);
}
