//! What the request builder sends, and what it refuses.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    thread,
    time::{Duration, Instant},
};

use larder::{Backend, CachedSession, ErrorKind};

use crate::{
    Place,
    support::{Origin, Reply},
};

fn memory() -> CachedSession {
    Place::new(Backend::Memory).session()
}

#[test]
fn query_headers_and_bodies_arrive_as_they_were_given() {
    let origin = Origin::start();
    origin.route("/a", Reply::ok(""));
    let session = memory();
    session
        .put(origin.url("/a?x=1#frag"))
        .query("q", "a b&c")
        .query("q", "ü")
        .header("X-Twice", "1")
        .headers([("X-Twice", "2"), ("Accept", "text/plain")])
        .body(b"\x00body")
        .send()
        .unwrap();
    let seen = origin.last("/a");
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/a?x=1&q=a+b%26c&q=%C3%BC"));
    let twice: Vec<_> = seen.headers.iter().filter(|(name, _)| name == "x-twice").map(|(_, v)| v.as_str()).collect();
    assert_eq!(twice, ["1", "2"]);
    assert_eq!((seen.header("accept"), seen.header("content-length")), (Some("text/plain"), Some("5")));
    assert!(seen.header("user-agent").unwrap().starts_with("larder/"));
    assert_eq!(seen.body, b"\x00body");

    session.post(origin.url("/a")).json(serde_json::json!({"a": [1, "ü"]})).send().unwrap();
    let seen = origin.last("/a");
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.body, r#"{"a":[1,"ü"]}"#.as_bytes());

    session.post(origin.url("/a")).form([("a", "1 2"), ("b", "&")]).send().unwrap();
    let seen = origin.last("/a");
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(seen.body, b"a=1+2&b=%26");

    session.post(origin.url("/a")).json(1).header("content-type", "application/vnd.api+json").send().unwrap();
    assert_eq!(origin.last("/a").header("content-type"), Some("application/vnd.api+json"));

    session.post(origin.url("/a")).send().unwrap();
    assert_eq!(origin.last("/a").header("content-length"), Some("0"));
}

#[test]
#[expect(clippy::needless_borrows_for_generic_args, reason = "that references are taken is what is tested")]
fn what_is_given_by_reference_or_by_value_arrives_alike() {
    let origin = Origin::start();
    origin.route("/a", Reply::ok(""));
    let session = memory();
    let mut map = http::HeaderMap::new();
    for value in ["1", "2"] {
        map.append("x-twice", value.parse().unwrap());
    }
    let pairs = [("x-twice", "1"), ("x-twice", "2")];
    let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let request = || session.get(origin.url("/a")).no_store();
    for request in [
        request().headers(&map),
        request().headers(map.clone()),
        request().headers(pairs),
        request().headers(&pairs),
        request().headers(&owned),
        request().headers(owned.clone()),
    ] {
        request.send().unwrap();
        let seen = origin.last("/a");
        let twice: Vec<_> =
            seen.headers.iter().filter(|(name, _)| name == "x-twice").map(|(_, v)| v.as_str()).collect();
        assert_eq!(twice, ["1", "2"]);
    }

    let fields = [("a", "b")];
    let map = HashMap::from([("a".to_owned(), "b".to_owned())]);
    let (text, bytes) = ("a=b".to_owned(), b"a=b".to_vec());
    let post = || session.request(String::from("post"), origin.url("/a")).query("page", 2).query("q", &text);
    for request in [
        post().form(fields),
        post().form(&fields),
        post().form(vec![("a".to_owned(), "b".to_owned())]),
        post().form(&map),
        post().form(map.clone()),
        post().body(&text),
        post().body(&bytes),
    ] {
        request.send().unwrap();
        let seen = origin.last("/a");
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/a?page=2&q=a%3Db"));
        assert_eq!(seen.body, b"a=b");
    }
}

#[test]
fn defaults_of_the_session_give_way_to_the_request() {
    let origin = Origin::start();
    origin.route("/a", Reply::ok(""));
    let session = CachedSession::builder("cache")
        .backend(Backend::Memory)
        .header("Accept-Language", "en")
        .header("X-Default", "1")
        .query("lang", "en")
        .query("v", "1")
        .build()
        .unwrap();
    session.get(origin.url("/a?v=2")).header("accept-language", "de").send().unwrap();
    let seen = origin.last("/a");
    assert_eq!(seen.target, "/a?v=2&lang=en");
    assert_eq!((seen.header("accept-language"), seen.header("x-default")), (Some("de"), Some("1")));
    session.get(origin.url("/a")).query("lang", "fr").send().unwrap();
    assert_eq!(origin.last("/a").target, "/a?v=1&lang=fr");
}

#[test]
fn every_method_is_sent_as_it_is() {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = memory();
    let url = origin.url("/a");
    for (request, method) in [
        (session.get(&url), "GET"),
        (session.post(&url), "POST"),
        (session.put(&url), "PUT"),
        (session.patch(&url), "PATCH"),
        (session.delete(&url), "DELETE"),
        (session.head(&url), "HEAD"),
        (session.options(&url), "OPTIONS"),
        (session.request("propfind", &url), "PROPFIND"),
        (session.request(http::Method::TRACE, &url), "TRACE"),
    ] {
        let response = request.send().unwrap();
        assert_eq!(origin.last("/a").method, method);
        assert_eq!(response.bytes().len(), usize::from(method != "HEAD"), "{method}");
    }
}

#[test]
fn a_request_of_the_http_crate_is_sent_and_followed() {
    let origin = Origin::start();
    origin.route("/go", Reply::redirect(302, "/a")).route("/a", Reply::ok("x"));
    let session = memory();
    for round in 0..2 {
        let request = http::Request::get(origin.url("/go")).header("x-own", "1").body(()).unwrap();
        let response = session.send(request).unwrap();
        assert_eq!((response.from_cache(), response.history().len()), (round == 1, 1));
    }
    assert_eq!(origin.last("/go").header("x-own"), Some("1"));
    let relative = http::Request::get("/a").body("").unwrap();
    assert_eq!(session.send(relative).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn what_cannot_be_sent_is_an_error_of_send() {
    let session = memory();
    let good = "http://127.0.0.1:1/";
    for (request, what) in [
        (session.get("not a url"), "URL"),
        (session.get("/relative"), "URL"),
        (session.get("ftp://host/file"), "http://"),
        (session.get(""), "URL"),
        (session.request("NO SUCH METHOD", good), "method"),
        (session.get(good).header("bad name", "x"), "header name"),
        (session.get(good).header("x", "line\nbreak"), "header x"),
        (session.get(good).bearer_auth("line\nbreak"), "credentials"),
        (session.post(good).json(std::collections::HashMap::from([((), 1)])), "JSON"),
    ] {
        let error = request.send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let error = session.request("NO SUCH METHOD", "http://me:s3cret@h/a?token=s3cret").send().unwrap_err();
    assert_eq!(error.url(), Some("http://h/a?token=REDACTED"));
}

#[test]
fn a_connection_that_fails_is_a_network_error_with_the_url() {
    let session = memory();
    let error = session.get("http://127.0.0.1:1/a?token=s3cret").send().unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::Network, Some("http://127.0.0.1:1/a?token=REDACTED")));
    assert!(error.to_string().starts_with("cannot send GET:"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    let error = session.get("http://no-such-host.invalid/").send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
}

/// A server that sends these bytes to whoever connects first. Gives its address.
fn raw_server(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(bytes).unwrap();
        // Closing at once would reset the connection before the answer is read.
        let _ = stream.read(&mut [0; 4096]);
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    address
}

#[test]
fn https_to_a_server_without_tls_is_a_tls_error() {
    let address = raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let error = memory().get(format!("https://{address}/")).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
}

#[test]
fn an_answer_that_is_not_http_is_a_network_error() {
    for bytes in
        [&b"220 mail.example ESMTP\r\n\r\n"[..], b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 9 x\r\n\r\n"]
    {
        let error = memory().get(format!("http://{}/", raw_server(bytes))).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    }
}

#[test]
fn time_outs_end_a_request_before_and_in_the_body() {
    let origin = Origin::start();
    let long = Duration::from_secs(20);
    origin
        .route("/head", Reply::ok("x").after(long))
        .route("/body", Reply::ok("x").body_after(long))
        .route("/hop", Reply::redirect(302, "/head"));
    let session = memory();
    for path in ["/head", "/body", "/hop"] {
        let started = Instant::now();
        let error = session.get(origin.url(path)).timeout(Duration::from_millis(300)).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{path}: {error:?}");
        assert!(error.to_string().contains("300ms in all"), "{error}");
        let apart = (Duration::from_secs(5), Duration::from_millis(300));
        let error = session.get(origin.url(path)).timeout(apart).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{path}: {error:?}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    assert!(session.cache().is_empty().unwrap());
    let session = CachedSession::builder("c").backend(Backend::Memory).timeout(Duration::from_millis(300)).build();
    assert_eq!(session.unwrap().get(origin.url("/head")).send().unwrap_err().kind(), ErrorKind::Timeout);
}

#[test]
fn connections_are_kept() {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x")).route("/go", Reply::redirect(302, "/a"));
    let session = memory();
    for _ in 0..5 {
        session.get(origin.url("/go")).force_refresh().send().unwrap();
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_redirect_that_announces_two_lengths_is_not_waited_for() {
    let address = raw_server(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let error = memory().get(format!("http://{address}/")).timeout(Duration::from_secs(10)).send().unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::Network, Some("http://127.0.0.1:1/")), "{error}");
}

#[test]
fn responses_can_be_read_in_every_way() {
    let origin = Origin::start();
    let reply = Reply::ok(r#"{"id": 7}"#).header("Link", "</b?page=2>; rel=\"next\"");
    let reply = ["a=1; Path=/; HttpOnly", " b = x=y ", "c=", "=d", "e"]
        .iter()
        .fold(reply, |reply, cookie| reply.header("Set-Cookie", cookie));
    origin.route("/a", reply).route("/gone", Reply::new(410).body("gone"));
    let session = memory();
    for _ in 0..2 {
        let response = session.get(origin.url("/a")).send().unwrap();
        assert_eq!(response.json::<serde_json::Value>().unwrap()["id"], 7);
        assert_eq!(response.json::<Vec<u8>>().unwrap_err().kind(), ErrorKind::Decode);
        assert_eq!(response.cookies().collect::<Vec<_>>(), [("a", "1"), ("b", "x=y"), ("c", "")]);
        assert_eq!(response.links()[0].url(), origin.url("/b?page=2"));
        assert_eq!((response.reason(), response.revalidated()), ("OK", false));
        assert!(response.elapsed() > Duration::ZERO);
        let http: http::Response<Vec<u8>> = response.error_for_status().unwrap().into_http();
        assert_eq!((http.status().as_u16(), http.body().len()), (200, 9));
        assert!(http.headers().contains_key("link"));
    }
    let error = session.get(origin.url("/gone")).send().unwrap().error_for_status().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Status);
    assert!(error.to_string().contains("410 Gone") && error.to_string().contains("/gone"), "{error}");
}

#[test]
fn json_errors_say_where_and_quote_nothing_of_the_body() {
    let origin = Origin::start();
    let session = memory();
    for (n, body) in ["\"s3cret\"", "s3cret", "{\n\"s3cret\": tru", "[\"s3cret\""].into_iter().enumerate() {
        let path = format!("/{n}");
        origin.route(&path, Reply::ok(body));
        let error = session.get(origin.url(&path)).send().unwrap().json::<Vec<u8>>().unwrap_err();
        let streamed = session.get(origin.url(&path)).send_stream().unwrap().json::<Vec<u8>>().unwrap_err();
        assert_eq!((error.url(), streamed.url()), (Some(&*origin.url(&path)), Some(&*origin.url(&path))));
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains("line") && error.to_string().contains("column"), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        assert!(std::error::Error::source(&error).is_none());
    }
}

#[test]
fn a_session_can_be_sent_to_and_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let session = memory();
    shared(&session);
    let request = session.get("http://127.0.0.1:1/");
    assert_eq!(thread::spawn(move || request.send()).join().unwrap().unwrap_err().kind(), ErrorKind::Network);
}
