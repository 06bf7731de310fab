//! Against httpbin, an origin that nobody here wrote: first a miss, then a hit with the same content.
//!
//! `./test` starts it and names its address in `LARDER_HTTPBIN`.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{
    env,
    time::{Duration, Instant},
};

use larder::{
    Backend, Body, CachedSession, CachedSessionBuilder, CookieJar, Error, ErrorKind, RequestBuilder, Response, Retries,
    multipart::Form,
};
use serde_json::Value;
use tempfile::TempDir;

/// The address, such as `http://127.0.0.1:8000`.
fn httpbin(path: &str) -> String {
    let address = env::var("LARDER_HTTPBIN")
        .expect("LARDER_HTTPBIN must hold the address of an httpbin, such as http://127.0.0.1:8000; ./test sets it");
    format!("{}{path}", address.trim_end_matches('/'))
}

fn builder(folder: &TempDir) -> CachedSessionBuilder {
    CachedSession::builder("httpbin")
        .backend(Backend::Log)
        .location(folder.path())
        .allowable_methods(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
        .timeout(Duration::from_secs(30))
}

/// Sends the request twice, the second time from a session that has just opened the file, and compares.
fn miss_then_hit(request: impl Fn(&CachedSession) -> RequestBuilder) -> Response {
    let folder = tempfile::tempdir().unwrap();
    let miss = request(&builder(&folder).build().unwrap()).send().unwrap();
    let hit = request(&builder(&folder).build().unwrap()).send().unwrap();
    assert!(!miss.from_cache() && hit.from_cache(), "{miss:?} {hit:?}");
    same(&miss, &hit);
    assert_eq!(miss.history().len(), hit.history().len());
    for (missed, hit) in miss.history().iter().zip(hit.history()) {
        assert!(!missed.from_cache() && hit.from_cache());
        same(missed, hit);
    }
    hit
}

fn same(one: &Response, other: &Response) {
    assert_eq!((one.status(), one.reason(), one.url()), (other.status(), other.reason(), other.url()));
    assert_eq!(one.headers(), other.headers());
    assert_eq!(one.bytes(), other.bytes());
    assert_eq!(one.created_at(), other.created_at());
}

fn get(path: &str) -> Response {
    miss_then_hit(|session| session.get(httpbin(path)))
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn every_method_with_query_body_json_and_form() {
    for (method, path) in
        [("GET", "/get"), ("POST", "/post"), ("PUT", "/put"), ("PATCH", "/patch"), ("DELETE", "/delete")]
    {
        let ask = |session: &CachedSession| session.request(method, httpbin(path)).query("q", "a b").query("q", "ü");
        let said: Value = miss_then_hit(ask).json().unwrap();
        assert_eq!(said["args"]["q"], serde_json::json!(["a b", "ü"]));
        if method == "GET" {
            continue;
        }
        let said: Value = miss_then_hit(|session| ask(session).json(serde_json::json!({"a": [1]}))).json().unwrap();
        assert_eq!(said["json"]["a"][0], 1);
        let said: Value = miss_then_hit(|session| ask(session).form([("f", "x y")])).json().unwrap();
        assert_eq!(said["form"]["f"], "x y");
        let said: Value = miss_then_hit(|session| ask(session).body("plain")).json().unwrap();
        assert_eq!(said["data"], "plain");
    }
    assert!(miss_then_hit(|session| session.head(httpbin("/get"))).bytes().is_empty());
    assert!(miss_then_hit(|session| session.options(httpbin("/get"))).headers().contains_key("allow"));
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn a_changed_value_is_another_answer() {
    let folder = tempfile::tempdir().unwrap();
    let session = builder(&folder).build().unwrap();
    let ask = |value: &str| session.post(httpbin("/post")).query("q", value).json(value).send().unwrap();
    assert!(!ask("a").from_cache());
    assert!(!ask("b").from_cache());
    assert!(ask("a").from_cache());
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn status_codes() {
    let folder = tempfile::tempdir().unwrap();
    let session = builder(&folder).allowable_codes([200, 404, 418]).build().unwrap();
    for (status, stored) in [(200, true), (204, false), (400, false), (404, true), (418, true), (500, false)] {
        let url = httpbin(&format!("/status/{status}"));
        assert_eq!(session.get(&url).send().unwrap().status().as_u16(), status);
        let again = session.get(&url).send().unwrap();
        assert_eq!((again.status().as_u16(), again.from_cache()), (status, stored));
        assert_eq!(again.error_for_status().is_err(), status >= 400);
    }
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn redirects_absolute_relative_and_to() {
    for n in 1..=4 {
        for path in [format!("/redirect/{n}"), format!("/absolute-redirect/{n}"), format!("/relative-redirect/{n}")] {
            let end = get(&path);
            assert_eq!((end.history().len(), end.status().as_u16()), (n, 200), "{path}");
            assert!(end.url().ends_with("/get"), "{}", end.url());
        }
    }
    for status in [301, 302, 303, 307, 308] {
        let end = get(&format!("/redirect-to?url=%2Fget%3Fx%3D1&status_code={status}"));
        assert_eq!(end.history()[0].status().as_u16(), status);
        assert!(end.url().ends_with("/get?x=1"), "{}", end.url());
    }
    let folder = tempfile::tempdir().unwrap();
    let session = builder(&folder).build().unwrap();
    let unfollowed = session.get(httpbin("/redirect/2")).redirects(0).send().unwrap();
    assert_eq!((unfollowed.status().as_u16(), unfollowed.history().len()), (302, 0));
    let error: Error = session.get(httpbin("/redirect/4")).redirects(3).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    let end = session.get(httpbin("/redirect/3")).send().unwrap();
    assert!(session.get(end.url()).send().unwrap().from_cache());
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn a_redirected_post_becomes_a_get_or_is_repeated() {
    let to = |status: u16, path: &str| httpbin(&format!("/redirect-to?url={path}&status_code={status}"));
    let folder = tempfile::tempdir().unwrap();
    let session = builder(&folder).build().unwrap();
    for status in [301, 302, 303] {
        let end = session.post(to(status, "/get")).body("x").send().unwrap();
        assert_eq!((end.request().method(), end.status().as_u16()), ("GET", 200));
    }
    for status in [307, 308] {
        let said: Value = session.post(to(status, "/post")).body("x").send().unwrap().json().unwrap();
        assert_eq!(said["data"], "x");
    }
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn formats_and_codings() {
    let gzip: Value = get("/gzip").json().unwrap();
    assert_eq!(gzip["gzipped"], true);
    let deflate: Value = get("/deflate").json().unwrap();
    assert_eq!(deflate["deflated"], true);
    assert!(get("/encoding/utf8").text().unwrap().contains("ሰማይ"));
    assert!(get("/html").text().unwrap().contains("Herman Melville"));
    assert!(get("/json").json::<Value>().unwrap()["slideshow"].is_object());
    assert!(get("/xml").text().unwrap().starts_with("<?xml"));
    assert!(get("/image/png").bytes().starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(get("/image/jpeg").bytes().starts_with(b"\xff\xd8"));
    assert_eq!(get("/bytes/5000?seed=1").bytes().len(), 5000);
    assert_eq!(get("/stream-bytes/50000?seed=1&chunk_size=777").bytes().len(), 50_000);
    assert_eq!(get("/stream/20").text().unwrap().lines().count(), 20);
    let wire = miss_then_hit(|session| session.get(httpbin("/gzip")).decode(false));
    assert!(wire.bytes().starts_with(&[0x1f, 0x8b]));
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn headers_cookies_and_repeats() {
    let response = get("/response-headers?X-One=1&X-Two=a&X-Two=b");
    assert_eq!(response.headers()["x-one"], "1");
    assert_eq!(response.headers().get_all("x-two").iter().count(), 2);
    let set = miss_then_hit(|session| session.get(httpbin("/cookies/set?a=1&b=2")));
    assert_eq!(set.history()[0].headers().get_all("set-cookie").iter().count(), 2);
    let said: Value = miss_then_hit(|session| session.get(httpbin("/cookies")).header("Cookie", "a=1")).json().unwrap();
    assert_eq!(said["cookies"]["a"], "1");
    let said: Value = miss_then_hit(|session| session.get(httpbin("/headers")).header("X-Own", "ü")).json().unwrap();
    assert!(said["headers"]["X-Own"].is_string());
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn basic_and_bearer_authentication() {
    let folder = tempfile::tempdir().unwrap();
    let session = builder(&folder).build().unwrap();
    let url = httpbin("/basic-auth/alice/p%40ss");
    assert_eq!(session.get(&url).send().unwrap().status().as_u16(), 401);
    assert_eq!(session.get(&url).basic_auth("alice", "wrong").send().unwrap().status().as_u16(), 401);
    let miss = session.get(&url).basic_auth("alice", "p@ss").send().unwrap();
    assert_eq!((miss.status().as_u16(), miss.from_cache()), (200, false));
    let in_url = url.replace("http://", "http://alice:p%40ss@");
    assert!(session.get(in_url).send().unwrap().from_cache());
    assert_eq!(session.get(&url).basic_auth("bob", "p@ss").send().unwrap().status().as_u16(), 401);
    let bearer = miss_then_hit(|session| session.get(httpbin("/bearer")).bearer_auth("t0ken"));
    assert_eq!(bearer.json::<Value>().unwrap()["token"], "t0ken");
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn a_delay_over_the_time_out_is_an_error_and_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let session = builder(&folder).build().unwrap();
    let started = Instant::now();
    let error = session.get(httpbin("/delay/5")).timeout(Duration::from_millis(500)).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(4));
    assert!(session.cache().is_empty().unwrap());
    get("/delay/1");
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn forms_with_files_and_bodies_from_readers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    std::fs::write(&path, "a,b").unwrap();
    let form = || Form::new().text("title", "T").text("title", "U").file("table", &path).file("again", &path);
    let said: Value = miss_then_hit(|session| session.post(httpbin("/post")).multipart(form())).json().unwrap();
    assert_eq!(said["form"]["title"], serde_json::json!(["T", "U"]));
    assert_eq!(said["files"], serde_json::json!({"table": "a,b", "again": "a,b"}));
    let reader = || Body::reader(std::io::Cursor::new("from a reader"));
    for body in [reader(), Body::sized_reader(std::io::Cursor::new("from a reader"), 13)] {
        let session = builder(&folder).allowable_methods(["GET"]).build().unwrap();
        let said: Value = session.put(httpbin("/put")).body(body).send().unwrap().json().unwrap();
        assert_eq!(said["data"], "from a reader");
    }
    let said: Value = miss_then_hit(|session| session.put(httpbin("/put")).body(reader())).json().unwrap();
    assert_eq!(said["data"], "from a reader");
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn digest_authentication_of_all_kinds() {
    for qop in ["auth", "auth-int"] {
        for algorithm in ["MD5", "SHA-256"] {
            let path = format!("/digest-auth/{qop}/alice/pass/{algorithm}");
            let said = miss_then_hit(|session| {
                session.get(httpbin(&path)).cookies([("fake", "fake_value")]).digest_auth("alice", "pass")
            });
            assert_eq!(said.status().as_u16(), 200, "{path}");
            let folder = tempfile::tempdir().unwrap();
            let wrong = builder(&folder).digest_auth("alice", "wrong").build().unwrap();
            assert_eq!(wrong.get(httpbin(&path)).send().unwrap().status().as_u16(), 401);
        }
    }
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn a_jar_keeps_what_is_set_and_loses_what_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let jar = CookieJar::new();
    let session = builder(&folder).cookie_jar(jar.clone()).build().unwrap();
    let said: Value = session.get(httpbin("/cookies/set?a=1&b=2")).send().unwrap().json().unwrap();
    assert_eq!(said["cookies"], serde_json::json!({"a": "1", "b": "2"}));
    jar.save(folder.path().join("jar")).unwrap();
    let said: Value = session.get(httpbin("/cookies/delete?a")).send().unwrap().json().unwrap();
    assert_eq!(said["cookies"], serde_json::json!({"b": "2"}));
    let loaded = CookieJar::load(folder.path().join("jar")).unwrap();
    let again = builder(&folder).cookie_jar(loaded).build().unwrap();
    let said: Value = again.get(httpbin("/cookies")).cookies([("c", "3")]).send().unwrap().json().unwrap();
    assert_eq!(said["cookies"], serde_json::json!({"a": "1", "b": "2", "c": "3"}));
}

#[test]
#[ignore = "needs httpbin; run by ./test"]
fn a_status_is_tried_again_until_it_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let session = builder(&folder)
        .retries(Retries::new(20).backoff(Duration::from_millis(1)).wait_max(Duration::from_millis(2)).statuses([503]))
        .build()
        .unwrap();
    assert_eq!(session.get(httpbin("/status/503,200")).send().unwrap().status().as_u16(), 200);
}
