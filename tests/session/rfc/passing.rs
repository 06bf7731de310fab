//! What is none of the cache's business passes through unharmed.

use larder::Backend;

use super::script::{ask, get, run};
use crate::{
    Place,
    support::{Origin, Reply},
};

#[test]
fn unknown_methods_and_statuses_pass() {
    let mut cases = Vec::new();
    for method in ["FOO", "foo", "PROPFIND", "TRACE", "X-Y_Z", "OPTIONS"] {
        cases.push((method.to_owned(), vec![ask(method, "").gives(200, "A: 1").has("a: 1")]));
    }
    for status in (200..1000).step_by(7) {
        cases.push((status.to_string(), vec![get("").gives(status, "A: 1").has("a: 1")]));
    }
    run(&cases);
}

#[test]
fn bytes_of_headers_and_their_repeats_survive_the_cache() {
    for backend in [Backend::Memory, Backend::Log] {
        let place = Place::new(backend);
        let origin = Origin::start();
        let reply = Reply::ok("x")
            .header("Cache-Control", "max-age=60")
            .header("Cache-Control", b"\xff\xfe")
            .header("X-Raw", b"caf\xe9 \x80\xff")
            .header("X-Two", "1")
            .header("X-Between", "1")
            .header("X-Two", "2")
            .header("X-Two", "")
            .header("Set-Cookie", "a=1")
            .header("Set-Cookie", "b=2");
        origin.route("/a", reply);
        let session = place.builder().cache_control(true).redirects(0).decode(false).build().unwrap();
        for hit in [false, true] {
            let response = session.get(origin.url("/a")).send().unwrap();
            assert_eq!(response.from_cache(), hit);
            assert_eq!(response.headers()["x-raw"].as_bytes(), b"caf\xe9 \x80\xff");
            let two: Vec<_> = response.headers().get_all("x-two").iter().collect();
            assert_eq!(two, ["1", "2", ""]);
            assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        }
    }
}

#[test]
fn ill_formed_headers_are_no_error() {
    let mut cases = Vec::new();
    for name in [
        "Cache-Control",
        "Expires",
        "Age",
        "Date",
        "Last-Modified",
        "ETag",
        "Vary",
        "Location",
        "Content-Location",
        "Content-Range",
        "Warning",
        "Pragma",
    ] {
        for value in
            ["", ",", "\"", "\\", "=", "x", "\u{e9}", "*", "-1", "99999999999999999999999999999", "\"a, b", "a=\"\\"]
        {
            let line = format!("{name}: {value}");
            cases.push((format!("response {line}"), vec![get("").gives(200, line.clone()), get("")]));
            cases.push((
                format!("fresh response {line}"),
                vec![get("").gives(200, format!("Cache-Control: max-age=60 | {line}")), get(""), get(line.clone())],
            ));
        }
    }
    for name in ["Range", "If-Range", "If-None-Match", "If-Modified-Since", "Cache-Control", "Pragma"] {
        for value in
            ["", ",", "\"", "=", "x", "bytes=", "bytes=-", "*", "-1", "bytes=9999999999999999999999-", "\"a, b"]
        {
            let stored = get("").gives(200, "Cache-Control: max-age=60 | ETag: \"a\"");
            cases.push((format!("request {name}: {value}"), vec![stored, get(format!("{name}: {value}"))]));
        }
    }
    run(&cases);
}

#[test]
fn a_redirect_is_an_answer_of_its_own() {
    let mut cases = Vec::new();
    for status in [301, 302, 303, 307, 308] {
        let headers = "Cache-Control: max-age=60 | Location: {base}/elsewhere";
        cases.push((
            status.to_string(),
            vec![get("").gives(status, headers), get("").hits().status(status).body("body 0")],
        ));
    }
    run(&cases);
}
