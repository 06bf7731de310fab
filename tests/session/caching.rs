use std::{
    thread,
    time::{Duration, SystemTime},
};

use larder::{Backend, CacheStatus, ErrorKind, Expire, Mode};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    the_second_request_is_a_hit_and_the_origin_is_not_asked,
    a_hit_is_the_same_as_the_miss_that_stored_it,
    other_urls_methods_and_bodies_are_other_answers,
    spellings_of_one_url_are_one_answer,
    only_allowed_codes_are_stored,
    only_allowed_methods_are_looked_up_and_stored,
    a_post_with_its_body_in_the_key_can_be_cached,
    an_expired_answer_is_fetched_again,
    a_request_can_set_its_own_expiry,
    do_not_cache_neither_reads_nor_stores,
    refresh_asks_again_and_replaces,
    no_store_neither_reads_nor_stores,
    only_if_cached_never_asks,
    the_cache_can_be_listed_and_emptied,
    what_is_deleted_by_url_is_fetched_again,
    hits_and_misses_are_counted,
    a_request_for_a_part_bypasses_the_cache,
    a_conditional_request_bypasses_the_cache,
    many_threads_share_one_session,
);

fn the_second_request_is_a_hit_and_the_origin_is_not_asked(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("hello"));
    let session = place.session();
    let miss = session.get(origin.url("/a")).send().unwrap();
    assert_eq!((miss.from_cache(), miss.cache_status()), (false, CacheStatus::Miss));
    let hit = session.get(origin.url("/a")).send().unwrap();
    assert_eq!((hit.from_cache(), hit.cache_status()), (true, CacheStatus::Hit));
    assert_eq!(hit.text().unwrap(), "hello");
    assert_eq!(hit.cache_key(), miss.cache_key());
    assert!(hit.cache_key().is_some());
    assert_eq!(origin.hits("/a"), 1);
}

#[test]
fn a_second_session_on_the_file_hits_with_the_origin_gone() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    origin.route("/a", Reply::ok("hello"));
    let url = origin.url("/a");
    place.session().get(&url).send().unwrap();
    drop(origin);
    let session = place.session();
    let hit = session.get(&url).send().unwrap();
    assert!(hit.from_cache());
    assert_eq!(hit.text().unwrap(), "hello");
    assert_eq!(session.get(format!("{url}b")).send().unwrap_err().kind(), ErrorKind::Network);
}

fn a_hit_is_the_same_as_the_miss_that_stored_it(place: &Place) {
    let origin = Origin::start();
    let reply = Reply::ok(vec![0, 1, 2, 255, 0])
        .header("Set-Cookie", "a=1; Path=/")
        .header("X-First", "1")
        .header("Set-Cookie", "b=2; HttpOnly")
        .header("Content-Type", "application/octet-stream")
        .header("X-Latin", b"caf\xe9");
    origin.route("/a", reply);
    let session = place.session();
    let miss = session.get(origin.url("/a#part")).send().unwrap();
    let hit = session.get(origin.url("/a#part")).send().unwrap();
    assert!(hit.from_cache());
    assert_eq!(hit.headers(), miss.headers());
    let order = |headers: &http::HeaderMap| headers.iter().map(|(n, v)| (n.clone(), v.clone())).collect::<Vec<_>>();
    assert_eq!(order(hit.headers()), order(miss.headers()));
    assert_eq!(hit.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(hit.bytes(), &[0, 1, 2, 255, 0][..]);
    assert_eq!((hit.status(), hit.reason(), hit.url()), (miss.status(), miss.reason(), miss.url()));
    assert_eq!(hit.url(), origin.url("/a#part"));
    assert_eq!((hit.created_at(), hit.expires_at()), (miss.created_at(), miss.expires_at()));
    assert_eq!(hit.request(), miss.request());
    assert_eq!(hit.request().method(), "GET");
    assert!(hit.history().is_empty());
}

fn other_urls_methods_and_bodies_are_other_answers(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| Reply::ok(format!("{} {} {:?}", seen.method, seen.target, seen.body)));
    let session = place.builder().allowable_methods(["get", "POST", "DELETE"]).build().unwrap();
    let requests = [
        session.get(origin.url("/a")),
        session.get(origin.url("/a?")).query("b", "1"),
        session.get(origin.url("/a")).query("b", "2"),
        session.delete(origin.url("/a")),
        session.post(origin.url("/a")),
        session.post(origin.url("/a")).body("x"),
        session.post(origin.url("/a")).json(["x"]),
        session.post(origin.url("/a")).form([("x", "y")]),
        session.get(origin.url("/a")).body("x"),
    ];
    for round in 0..2 {
        let mut texts = Vec::new();
        for request in &requests {
            let response = request.clone().send().unwrap();
            assert_eq!(response.from_cache(), round == 1);
            texts.push(response.text().unwrap());
        }
        assert_eq!(texts[1], "GET /a?b=1 []");
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), requests.len());
    }
}

fn spellings_of_one_url_are_one_answer(place: &Place) {
    let origin = Origin::start();
    origin.route("/a/b", Reply::ok("x"));
    let session = place.session();
    session.get(origin.url("/a/b?x=1&y=%7e")).send().unwrap();
    let upper = origin.url("/a/b?x=1&y=~").replace("http://", "HTTP://");
    for url in [origin.url("/a/./b?x=1&y=~"), origin.url("/a/c/../b?y=%7E&x=1"), upper, origin.url("/a/b?x=1&y=~#frag")]
    {
        assert!(session.get(&url).send().unwrap().from_cache(), "{url}");
    }
    assert_eq!(origin.total_hits(), 1);
}

fn only_allowed_codes_are_stored(place: &Place) {
    let origin = Origin::start();
    for status in [201, 404, 500] {
        origin.route(&format!("/{status}"), Reply::new(status).body("x"));
    }
    let session = place.builder().allowable_codes([200, 404]).build().unwrap();
    for (path, stored) in [("/201", false), ("/404", true), ("/500", false)] {
        let first = session.get(origin.url(path)).send().unwrap();
        assert_eq!(first.cache_key().is_some(), stored);
        assert_eq!(session.get(origin.url(path)).send().unwrap().from_cache(), stored, "{path}");
    }
}

fn only_allowed_methods_are_looked_up_and_stored(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.session();
    for _ in 0..2 {
        for method in ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PURGE"] {
            let response = session.request(method, origin.url("/a")).send().unwrap();
            assert_eq!((response.from_cache(), response.cache_status()), (false, CacheStatus::Method), "{method}");
        }
    }
    assert_eq!(session.cache().len().unwrap(), 0);
}

fn a_post_with_its_body_in_the_key_can_be_cached(place: &Place) {
    let origin = Origin::start();
    origin.handle("/search", |seen| Reply::ok(seen.body.clone()));
    let session = place.builder().allowable_methods(["GET", "POST"]).build().unwrap();
    let ask = |body: &str| {
        let request = session.post(origin.url("/search")).header("Content-Type", "application/json").body(body);
        request.send().unwrap()
    };
    assert!(!ask(r#"{"q": "a", "n": [1, 2]}"#).from_cache());
    assert!(ask(r#"{"n":[1,2],"q":"a"}"#).from_cache());
    assert!(!ask(r#"{"q": "a", "n": [2, 1]}"#).from_cache());
    assert!(!ask(r#"{"q": "b", "n": [1, 2]}"#).from_cache());
}

fn an_expired_answer_is_fetched_again(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let future = SystemTime::now() + Duration::from_secs(3600);
    let forms: [(Expire, CacheStatus); 7] = [
        (Expire::Never, CacheStatus::Hit),
        (None.into(), CacheStatus::Hit),
        (Duration::from_secs(3600).into(), CacheStatus::Hit),
        (future.into(), CacheStatus::Hit),
        (Duration::from_millis(1).into(), CacheStatus::Stale),
        // Without a validator there is no use in storing what is expired from the start.
        (Expire::Immediately, CacheStatus::Miss),
        (SystemTime::UNIX_EPOCH.into(), CacheStatus::Miss),
    ];
    for (expire, status) in forms {
        let session = place.builder().expire_after(expire).build().unwrap();
        session.cache().clear().unwrap();
        let stored = session.get(origin.url("/a")).send().unwrap();
        assert_eq!(stored.cache_key().is_some(), status != CacheStatus::Miss, "{expire:?}");
        thread::sleep(Duration::from_millis(5));
        assert_eq!(stored.is_expired(), status == CacheStatus::Stale, "{expire:?}");
        let again = session.get(origin.url("/a")).send().unwrap();
        assert_eq!(again.cache_status(), status, "{expire:?}");
    }
}

fn a_request_can_set_its_own_expiry(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.session();
    let short = session.get(origin.url("/a")).expire_after(Duration::from_millis(50)).send().unwrap();
    let lifetime = short.expires_at().unwrap().duration_since(short.created_at()).unwrap();
    assert!(lifetime <= Duration::from_millis(51), "{lifetime:?}");
    thread::sleep(Duration::from_millis(60));
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
}

fn do_not_cache_neither_reads_nor_stores(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.session();
    let ask = |expire| session.get(origin.url("/a")).expire_after(expire).send().unwrap();
    assert!(!ask(Expire::DoNotCache).from_cache());
    assert_eq!(session.cache().len().unwrap(), 0);
    assert!(!ask(Expire::Never).from_cache());
    assert!(!ask(Expire::DoNotCache).from_cache());
    assert!(ask(Expire::Never).from_cache());
}

fn refresh_asks_again_and_replaces(place: &Place) {
    let origin = Origin::start();
    let session = place.session();
    for (round, body) in ["one", "two", "three"].into_iter().enumerate() {
        origin.route("/a", Reply::ok(body));
        let request = session.get(origin.url("/a"));
        let fresh = if round == 1 { request.refresh() } else { request.force_refresh() }.send().unwrap();
        assert_eq!(fresh.cache_status(), CacheStatus::Refresh);
        assert_eq!(fresh.text().unwrap(), body);
        let hit = session.get(origin.url("/a")).send().unwrap();
        assert!(hit.from_cache());
        assert_eq!(hit.text().unwrap(), body);
    }
    assert_eq!(session.cache().len().unwrap(), 1);
}

fn no_store_neither_reads_nor_stores(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.session();
    assert_eq!(session.get(origin.url("/a")).no_store().send().unwrap().cache_status(), CacheStatus::Bypass);
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    assert!(!session.get(origin.url("/a")).no_store().send().unwrap().from_cache());
}

fn only_if_cached_never_asks(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.session();
    let error = session.get(origin.url("/a")).only_if_cached().send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OfflineMiss);
    assert_eq!(origin.connections(), 0);
    session.get(origin.url("/a")).send().unwrap();
    assert!(session.get(origin.url("/a")).only_if_cached().send().unwrap().from_cache());
}

fn the_cache_can_be_listed_and_emptied(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a")).route("/b", Reply::ok("b"));
    let session = place.session();
    let a = session.get(origin.url("/a")).send().unwrap();
    session.get(origin.url("/b")).send().unwrap();
    let cache = session.cache();
    assert_eq!(cache.len().unwrap(), 2);
    assert_eq!(cache.urls().unwrap(), [origin.url("/a"), origin.url("/b")]);
    assert!(cache.contains_url(origin.url("/a")).unwrap());
    let (stored, created) = cache.get(a.cache_key().unwrap()).unwrap().unwrap();
    assert_eq!(stored.bytes(), "a");
    assert_eq!(created, a.created_at());
    cache.clear().unwrap();
    assert_eq!(cache.len().unwrap(), 0);
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
}

fn what_is_deleted_by_url_is_fetched_again(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a")).route("/b", Reply::ok("b"));
    let session = place.session();
    for path in ["/a", "/b"] {
        session.get(origin.url(path)).send().unwrap();
    }
    session.cache().delete_url(origin.url("/a")).unwrap();
    assert!(!session.cache().contains_url(origin.url("/a")).unwrap());
    assert!(session.get(origin.url("/b")).send().unwrap().from_cache());
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
}

fn hits_and_misses_are_counted(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a"));
    let session = place.session();
    for _ in 0..3 {
        session.clone().get(origin.url("/a")).send().unwrap();
    }
    let stats = session.cache().stats().unwrap();
    assert_eq!((stats.hits, stats.misses, stats.errors, stats.entries), (2, 1, 0, 1));
}

fn a_request_for_a_part_bypasses_the_cache(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| match seen.header("range") {
        Some(_) => Reply::new(206).body("wh"),
        None => Reply::ok("whole"),
    });
    let session = place.builder().allowable_codes([200, 206]).build().unwrap();
    for (range, text, hits) in
        [(true, "wh", false), (false, "whole", false), (true, "wh", false), (false, "whole", true)]
    {
        let request = session.get(origin.url("/a"));
        let request = if range { request.header("Range", "bytes=0-1") } else { request };
        let response = request.send().unwrap();
        assert_eq!((response.text().unwrap().as_str(), response.from_cache()), (text, hits));
    }
}

fn a_conditional_request_bypasses_the_cache(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| match seen.header("if-none-match") {
        Some(_) => Reply::new(304).header("ETag", "\"1\""),
        None => Reply::ok("whole"),
    });
    let session = place.builder().allowable_codes([200, 304]).build().unwrap();
    for (conditional, status, hits) in [(true, 304, false), (false, 200, false), (true, 304, false), (false, 200, true)]
    {
        let request = session.get(origin.url("/a"));
        let request = if conditional { request.header("If-None-Match", "\"1\"") } else { request };
        let response = request.send().unwrap();
        assert_eq!((response.status().as_u16(), response.from_cache()), (status, hits));
    }
    let date = "Thu, 01 Jan 1970 00:00:00 GMT";
    for name in ["If-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"] {
        assert!(!session.get(origin.url("/a")).header(name, date).send().unwrap().from_cache(), "{name}");
    }
}

fn many_threads_share_one_session(place: &Place) {
    let origin = Origin::start();
    for n in 0..20 {
        origin.route(&format!("/{n}"), Reply::ok(n.to_string()));
    }
    let session = place.session();
    for _ in 0..2 {
        thread::scope(|scope| {
            for thread in 0..8 {
                let (session, origin) = (session.clone(), &origin);
                scope.spawn(move || {
                    for n in 0..20 {
                        let n = (n + thread) % 20;
                        let response = session.get(origin.url(&format!("/{n}"))).send().unwrap();
                        assert_eq!(response.text().unwrap(), n.to_string());
                    }
                });
            }
        });
    }
    assert_eq!(session.cache().len().unwrap(), 20);
    assert!(place.builder().mode(Mode::Cache).build().is_ok());
}
