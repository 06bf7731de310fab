//! Section 4.2: how long a response is fresh, and how old it is.

use super::script::{Step, get, run};

/// Each response is asked for twice: the second time it comes from the cache, or the origin is asked.
fn twice(table: &[(&str, bool)]) -> Vec<(String, Vec<Step>)> {
    let case = |(headers, fresh): &(&str, bool)| {
        let again = if *fresh { get("").hits().status(200).body("body 0") } else { get("").gives(200, "") };
        ((*headers).to_owned(), vec![get("").gives(200, *headers), again])
    };
    table.iter().map(case).collect()
}

#[test]
fn max_age_makes_fresh() {
    run(&twice(&[
        ("", false),
        ("Cache-Control: max-age=3600", true),
        ("Cache-Control: MaX-aGe=3600", true),
        ("Cache-Control: max-age=\"3600\"", true),
        ("Cache-Control: max-age=003600", true),
        ("Cache-Control: max-age=99999999999", true),
        ("Cache-Control: max-age=99999999999999999999999999", true),
        ("Cache-Control: public, max-age=3600", true),
        ("Cache-Control: a=b, max-age=3600", true),
        ("Cache-Control: a=\"b, c\", max-age=3600", true),
        ("Cache-Control: a=\"max-age=0\", max-age=3600", true),
        ("Cache-Control: , ,max-age=3600,,", true),
        ("Cache-Control: foo | Cache-Control: max-age=3600", true),
        ("Cache-Control: max-age=3600, max-age=1800", true),
        ("Cache-Control: max-age=0", false),
        ("Cache-Control: max-age=00", false),
        ("Cache-Control: max-age", false),
        ("Cache-Control: max-age=", false),
        ("Cache-Control: max-age=-3600", false),
        ("Cache-Control: max-age=3600.0", false),
        ("Cache-Control: max-age='3600'", false),
        ("Cache-Control: max-age =3600", false),
        ("Cache-Control: max-age= 3600", false),
        ("Cache-Control: max-age=a3600", false),
        ("Cache-Control: max-age=3600a", false),
        ("Cache-Control: max-age: 3600", false),
        ("Cache-Control: a=\"max-age=3600\"", false),
        ("Cache-Control: a=\"b, max-age=3600, c\"", false),
        ("Cache-Control: xmax-age=3600", false),
        ("Cache-Control: s-maxage=3600", false),
        ("Cache-Control: max-age=0, s-maxage=3600", false),
        ("Cache-Control: max-age=3600, s-maxage=0", true),
    ]));
}

#[test]
fn expires_makes_fresh_where_max_age_is_not() {
    run(&twice(&[
        ("Expires: {now+3600}", true),
        ("Expires: {now+3600} | Date: {now}", true),
        ("Expires: {now-3600} | Cache-Control: max-age=3600", true),
        ("Expires: 0 | Cache-Control: max-age=3600", true),
        ("Expires: {now+3600} | Cache-Control: max-age=0", false),
        ("Expires: {now+3600} | Cache-Control: max-age=x", false),
        ("Expires: {now+3600} | Cache-Control: s-maxage=0", true),
        ("Expires: {now+3600} | Date: {now+3600}", false),
        ("Expires: {now+3600} | Date: {now+1800}", true),
        ("Expires: {now+10} | Date: {now-3600}", true),
        ("Expires: {now} | Date: {now}", false),
        ("Expires: {now-1}", false),
        ("Expires: {now-3600}", false),
        ("Expires: 0", false),
        ("Expires: -1", false),
        ("Expires:", false),
        ("Expires: never", false),
        ("Expires: 9999999999", false),
        ("Expires: Thu, 18 Aug 2050 02:01:18 GMT", true),
        ("Expires: Thursday, 18-Aug-50 02:01:18 GMT", true),
        ("Expires: Thu Aug 18 02:01:18 2050", true),
        ("Expires: THU, 18 Aug 2050 02:01:18 GMT", true),
        ("Expires: Thu, 18 AUG 2050 02:01:18 GMT", true),
        ("Expires: Thu, 18 Aug 2050 02:01:18 gMT", true),
        ("Expires: thursday, 18-aug-50 02:01:18 gmt", true),
        ("Expires: THU AUG 18 02:01:18 2050", true),
        ("Expires: Thu, 18 Aug 2050 02:01:18 UTC", false),
        ("Expires: Thu, 18 Aug 2050 02:01:18 AEST", false),
        ("Expires: Thu, 18 Aug 2050 02:01:18", false),
        ("Expires: Thu, 18 Aug 2050 2:01:18 GMT", false),
        ("Expires: Thu, 18 Aug 50 02:01:18 GMT", false),
        ("Expires: Thu, 18-Aug-2050 02:01:18 GMT", false),
        ("Expires: Thu, 18 Aug 2050 02.01.18 GMT", false),
        ("Expires: Thu  18  Aug  2050  02:01:18  GMT", false),
        ("Expires: Thu 18 Aug 2050 02:01:18 GMT", false),
        ("Expires: Thu, 18 Aug 2050 02:01:18 +0000", false),
        ("Expires: 2050-08-18T02:01:18Z", false),
    ]));
}

#[test]
fn age_and_date_make_old() {
    run(&twice(&[
        ("Cache-Control: max-age=3600 | Age: 0", true),
        ("Cache-Control: max-age=3600 | Age: 1800", true),
        ("Cache-Control: max-age=3600 | Age: 3600", false),
        ("Cache-Control: max-age=3600 | Age: 7200", false),
        ("Cache-Control: max-age=3600 | Age: 99999999999999999999", false),
        ("Cache-Control: max-age=3600 | Age: 0, 7200", true),
        ("Cache-Control: max-age=3600 | Age: 0 | Age: 7200", true),
        ("Cache-Control: max-age=3600 | Age: 7200 | Age: 0", false),
        ("Cache-Control: max-age=3600 | Age: -7200", true),
        ("Cache-Control: max-age=3600 | Age: 7200.0", true),
        ("Cache-Control: max-age=3600 | Age: x7200", true),
        ("Cache-Control: max-age=3600 | Age: 7200x", true),
        ("Cache-Control: max-age=3600 | Age: 7200;foo=bar", true),
        ("Cache-Control: max-age=3600 | Age: ", true),
        ("Cache-Control: max-age=3600 | Date: {now-1800}", true),
        ("Cache-Control: max-age=3600 | Date: {now-7200}", false),
        ("Cache-Control: max-age=3600 | Date: {now+7200}", true),
        ("Cache-Control: max-age=3600 | Date: {now+7200} | Age: 7200", false),
        ("Cache-Control: max-age=3600 | Date: x", true),
        ("Expires: {now+3600} | Date: {now} | Age: 7200", false),
        ("Expires: {now+3600} | Date: {now} | Age: 1800", true),
    ]));
}

#[test]
fn heuristics_are_for_some_statuses_and_with_last_modified_alone() {
    let mut cases = Vec::new();
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        let response = "Last-Modified: {now-86400}";
        cases.push((
            format!("{status} by default"),
            vec![get("").gives(status, response), get("").hits().status(status)],
        ));
    }
    for status in [201, 202, 302, 303, 307, 400, 401, 403, 500, 502, 503, 504, 599, 999] {
        let response = "Last-Modified: {now-86400}";
        let again = get("").gives(status, "").not_sent("if-modified-since");
        cases.push((format!("{status} by default"), vec![get("").gives(status, response), again]));
        let response = "Last-Modified: {now-86400} | Cache-Control: public";
        cases.push((format!("{status} public"), vec![get("").gives(status, response), get("").hits().status(status)]));
    }
    cases.extend(twice(&[
        ("Last-Modified: {now+3600}", false),
        ("Last-Modified: x", false),
        ("Last-Modified: {now-86400} | Cache-Control: max-age=0", false),
        ("Last-Modified: {now-86400} | Expires: 0", false),
        ("Last-Modified: {now-86400} | Cache-Control: no-cache", false),
        ("Last-Modified: {now-86400} | Age: 86400", false),
        ("Last-Modified: {now-86400} | Age: 60", true),
        ("Last-Modified: {now-86400} | Cache-Control: private", true),
        ("Last-Modified: {now-86400} | Cache-Control: must-revalidate", true),
        ("Last-Modified: {now-86400} | Pragma: no-cache", true),
    ]));
    run(&cases);
}

#[test]
fn a_reused_response_says_its_age() {
    run(&[
        ("none".into(), vec![get("").gives(200, "Cache-Control: max-age=3600"), get("").hits().has("age: 0")]),
        (
            "from before".into(),
            vec![
                get("").gives(200, "Cache-Control: max-age=3600 | Age: 30").has("age: 30"),
                get("").hits().has("age: 30"),
                get("").hits().has("age: 30"),
            ],
        ),
        (
            "ill-formed".into(),
            vec![get("").gives(200, "Cache-Control: max-age=3600 | Age: x"), get("").hits().has("age: 0")],
        ),
        (
            "two".into(),
            vec![
                get("").gives(200, "Cache-Control: max-age=3600 | Age: 5 | Age: 6"),
                get("").hits().has("age: 5").lacks("x"),
            ],
        ),
    ]);
}
