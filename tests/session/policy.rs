//! Settings that decide what is stored, under which key, and when it is served, without RFC 9111.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use larder::{Backend, CacheStatus, CachedSession, ErrorKind, Expire, KeyScheme, Staleness};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    urls_have_their_own_expiry,
    chosen_headers_are_part_of_the_key,
    a_head_is_answered_by_the_get_with_its_chosen_headers,
    a_head_is_answered_by_the_get_under_the_keys_of_requests_cache,
    ignored_parameters_do_not_count,
    an_ignored_credential_is_shared,
    what_varies_by_an_ignored_header_is_not_stored,
    an_expired_answer_is_confirmed_by_its_origin,
    refresh_asks_whether_it_still_holds,
    always_revalidate_asks_each_time,
    a_confirmation_that_changes_nothing_writes_nothing,
    stale_if_error_serves_what_has_expired,
    stale_if_error_serves_in_the_place_of_a_body_that_breaks_off,
    stale_while_revalidate_serves_at_once,
    a_request_asks_for_freshness_by_its_cache_control,
    a_request_that_forbids_the_network_gets_504,
    variants_are_kept_apart_without_cache_control,
    a_filter_also_refuses_what_is_stored,
    responses_are_found_by_what_their_heads_say,
    a_url_is_deleted_with_all_variants_and_users,
    every_variant_is_replayed_without_the_credentials,
    what_is_read_only_confirms_without_writing,
    a_chain_is_followed_from_its_first_fresh_redirect,
);

const TAG: &str = "\"1\"";

/// Answers 304 to whoever has the tag, and 200 with it else.
fn tagged(origin: &Origin, path: &str) {
    origin.handle(path, |seen| match seen.header("if-none-match") {
        Some(TAG) => Reply::new(304).header("ETag", TAG).header("X-New", "1"),
        _ => Reply::ok("body").header("ETag", TAG),
    });
}

fn urls_have_their_own_expiry(place: &Place) {
    let origin = Origin::start();
    for path in ["/a", "/b", "/c", "/d"] {
        origin.route(path, Reply::ok("x"));
    }
    let host = format!("127.0.0.1:{}", origin.port());
    let patterns = [
        (format!("{host}/a"), Expire::DoNotCache),
        ("regex:/b$".to_owned(), Duration::from_secs(60).into()),
        (format!("http://{host}/[bc]"), Expire::Never),
    ];
    let session = place.builder().expire_after(Duration::from_secs(5)).urls_expire_after(patterns).build().unwrap();
    for (path, stored, lifetime) in
        [("/a", false, None), ("/b", true, Some(60)), ("/c", true, None), ("/d", true, Some(5))]
    {
        let response = session.get(origin.url(path)).send().unwrap();
        let span = response.expires_at().map(|at| at.duration_since(response.created_at()).unwrap().as_secs());
        assert_eq!((response.cache_key().is_some(), span), (stored, lifetime), "{path}");
    }
    let own = session.get(origin.url("/d?2")).expire_after(Expire::Never).send().unwrap();
    assert_eq!(own.expires_at(), None);
    let error = place.builder().urls_expire_after([("[", Expire::Never)]).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

fn chosen_headers_are_part_of_the_key(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| Reply::ok(seen.header("accept-language").unwrap_or("none").to_owned()));
    let session = place.builder().match_headers(["Accept-Language", "X-Api-Key"]).build().unwrap();
    let ask = |language: &str| {
        session.get(origin.url("/a")).header("Accept-Language", language).header("X-Other", language).send().unwrap()
    };
    for (language, hits) in [("de", false), ("en", false), ("de", true), ("de, en", false), ("EN,de", true)] {
        assert_eq!(ask(language).from_cache(), hits, "{language}");
    }
    assert_eq!(ask("en").text().unwrap(), "en");
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    // Others of the file ask without, and by URL all are one.
    assert!(session.cache().contains_url(origin.url("/a")).unwrap());
    assert!(session.cache().delete_url(origin.url("/a")).unwrap());
    assert!(session.cache().is_empty().unwrap());
    assert!(place.builder().match_headers(["no header"]).build().is_err());
}

/// The key of a HEAD is that of a GET apart from the method, with chosen headers too.
fn a_head_is_answered_by_the_get_with_its_chosen_headers(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x").header("Cache-Control", "max-age=60"));
    let session = place.builder().cache_control(true).match_headers(["X-User"]).build().unwrap();
    session.get(origin.url("/a")).header("X-User", "1").send().unwrap();
    for (user, from_cache) in [("1", true), ("2", false)] {
        assert_eq!(session.head(origin.url("/a")).header("X-User", user).send().unwrap().from_cache(), from_cache);
    }
}

/// The keys of requests-cache have the method in them as well.
fn a_head_is_answered_by_the_get_under_the_keys_of_requests_cache(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x").header("Cache-Control", "max-age=60"));
    origin.handle("/vary", |seen| {
        let language = seen.header("accept-language").unwrap_or_default().to_owned();
        Reply::ok("x").header("Cache-Control", "max-age=60").header("Vary", "Accept-Language").header("X-Got", language)
    });
    let session = place.builder().cache_control(true).key_scheme(KeyScheme::RequestsCache).build().unwrap();
    session.get(origin.url("/a")).send().unwrap();
    let head = session.head(origin.url("/a")).send().unwrap();
    assert!(head.from_cache() && head.bytes().is_empty());
    for language in ["de", "en"] {
        session.get(origin.url("/vary")).header("Accept-Language", language).send().unwrap();
    }
    for (language, from_cache) in [("de", true), ("en", true), ("fr", false)] {
        let head = session.head(origin.url("/vary")).header("Accept-Language", language).send().unwrap();
        assert_eq!((head.headers()["x-got"].to_str().unwrap(), head.from_cache()), (language, from_cache));
    }
}

fn ignored_parameters_do_not_count(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session =
        place.builder().ignored_parameters(["utm_source", "stamp"]).allowable_methods(["GET", "POST"]).build().unwrap();
    let get = |query: &str| session.get(origin.url(&format!("/a?{query}"))).send().unwrap();
    for (query, hits) in [
        ("q=1&utm_source=a", false),
        ("q=1&utm_source=b", true),
        ("UTM-Source=c&q=1", false),
        ("q=2&utm_source=a", false),
        ("q=1", false),
    ] {
        assert_eq!(get(query).from_cache(), hits, "{query}");
    }
    let post =
        |stamp: u32| session.post(origin.url("/a")).json(serde_json::json!({"a": {"stamp": stamp}})).send().unwrap();
    assert!(!post(1).from_cache());
    assert!(post(2).from_cache());
    assert!(session.cache().contains(origin.url("/a?utm_source=z&q=1")).unwrap());
    let urls = session.cache().urls().unwrap().join(" ");
    assert!(urls.contains("utm_source=REDACTED") && !urls.contains("utm_source=a"), "{urls}");
}

fn an_ignored_credential_is_shared(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.builder().ignored_parameters(["token"]).build().unwrap();
    assert!(!session.get(origin.url("/a?token=1")).send().unwrap().from_cache());
    assert!(session.get(origin.url("/a?token=2")).send().unwrap().from_cache());
    assert!(!session.get(origin.url("/a?token=1")).bearer_auth("x").send().unwrap().from_cache());
}

fn what_varies_by_an_ignored_header_is_not_stored(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x").header("Vary", "X-Stamp"));
    let session = place.builder().ignored_parameters(["X-Stamp"]).build().unwrap();
    for _ in 0..2 {
        assert!(!session.get(origin.url("/a")).header("X-Stamp", "1").send().unwrap().from_cache());
    }
}

fn an_expired_answer_is_confirmed_by_its_origin(place: &Place) {
    let origin = Origin::start();
    tagged(&origin, "/a");
    let session = place.builder().expire_after(Duration::from_millis(1)).build().unwrap();
    let first = session.get(origin.url("/a")).send().unwrap();
    thread::sleep(Duration::from_millis(5));
    let again = session.get(origin.url("/a")).expire_after(Duration::from_secs(60)).send().unwrap();
    assert_eq!((again.cache_status(), again.from_cache(), again.revalidated()), (CacheStatus::Revalidated, true, true));
    assert_eq!(again.status(), 200);
    assert_eq!(again.text().unwrap(), "body");
    assert_eq!(again.headers()["x-new"], "1");
    assert_eq!(again.created_at(), first.created_at());
    assert!(again.expires_at().unwrap() > SystemTime::now() + Duration::from_secs(30));
    // The confirmation was stored.
    let hit = session.get(origin.url("/a")).send().unwrap();
    assert_eq!((hit.cache_status(), hit.revalidated()), (CacheStatus::Hit, false));
    assert_eq!((&hit.headers()["x-new"], hit.text().unwrap().as_str()), (&again.headers()["x-new"], "body"));
    let (stored, _) = session.cache().get(origin.url("/a")).unwrap().unwrap();
    assert!(stored.validated_at().unwrap() >= stored.created_at());
    assert_eq!(origin.hits("/a"), 2);
}

fn refresh_asks_whether_it_still_holds(place: &Place) {
    let origin = Origin::start();
    tagged(&origin, "/a");
    let session = place.session();
    session.get(origin.url("/a")).send().unwrap();
    assert_eq!(session.get(origin.url("/a")).refresh().send().unwrap().cache_status(), CacheStatus::Revalidated);
    let forced = session.get(origin.url("/a")).force_refresh().send().unwrap();
    assert_eq!(forced.cache_status(), CacheStatus::Refresh);
    assert!(origin.last("/a").header("if-none-match").is_none());
}

fn always_revalidate_asks_each_time(place: &Place) {
    let origin = Origin::start();
    tagged(&origin, "/a");
    origin.route("/b", Reply::ok("x"));
    let session = place.builder().always_revalidate(true).build().unwrap();
    for path in ["/a", "/b"] {
        session.get(origin.url(path)).send().unwrap();
    }
    assert_eq!(session.get(origin.url("/a")).send().unwrap().cache_status(), CacheStatus::Revalidated);
    assert_eq!(session.get(origin.url("/b")).send().unwrap().cache_status(), CacheStatus::Hit);
}

fn a_confirmation_that_changes_nothing_writes_nothing(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| match seen.header("if-none-match") {
        Some(_) => Reply::new(304).header("ETag", TAG).header("Date", "Thu, 18 Aug 2022 02:01:18 GMT"),
        None => Reply::ok("body").header("ETag", TAG),
    });
    let session = place.builder().always_revalidate(true).build().unwrap();
    session.get(origin.url("/a")).send().unwrap();
    let before = session.cache().stats().unwrap().file_bytes;
    assert!(session.get(origin.url("/a")).send().unwrap().revalidated());
    assert_eq!(session.cache().stats().unwrap().file_bytes, before);
    assert_eq!(session.cache().get(origin.url("/a")).unwrap().unwrap().0.validated_at(), None);
}

/// Whatever of it has come: the caller has seen nothing of it.
fn stale_if_error_serves_in_the_place_of_a_body_that_breaks_off(place: &Place) {
    let origin = Origin::start();
    let broken = [
        Reply::ok("new").short_by(5),
        Reply::ok("new").without_last_chunk(),
        Reply::ok("new").header("Content-Encoding", "gzip"),
        Reply::ok("new").body_after(Duration::from_secs(20)),
    ];
    let limits = (Duration::from_secs(20), Duration::from_millis(200));
    let setting = place.builder().stale_if_error(true).expire_after(Duration::from_millis(1)).timeout(limits);
    let standard = place.builder().cache_control(true).timeout(limits);
    for (by_rfc, session) in [(false, setting.build().unwrap()), (true, standard.build().unwrap())] {
        session.cache().clear().unwrap();
        let control = if by_rfc { "max-age=0, stale-if-error=60" } else { "" };
        origin.route("/a", Reply::ok("old").header("Cache-Control", control).header("ETag", TAG));
        session.get(origin.url("/a")).send().unwrap();
        thread::sleep(Duration::from_millis(5));
        for reply in &broken {
            origin.route("/a", reply.clone());
            let answer = session.get(origin.url("/a")).send().unwrap();
            assert_eq!((answer.text().unwrap().as_str(), answer.cache_status()), ("old", CacheStatus::StaleHit));
        }
        // What may not be served stale is an error as before, and so is a stream.
        origin.route("/b", Reply::ok("old").header("Cache-Control", "max-age=0, must-revalidate").header("ETag", TAG));
        let strict = place.builder().cache_control(true).stale_if_error(true).build().unwrap();
        strict.get(origin.url("/b")).send().unwrap();
        origin.route("/a", broken[0].clone()).route("/b", broken[0].clone());
        assert_eq!(strict.get(origin.url("/b")).send().unwrap_err().kind(), ErrorKind::Network);
        assert!(session.get(origin.url("/a")).send_stream().unwrap().bytes().is_err());
        assert_eq!(session.get(origin.url("/a")).send().unwrap().text().unwrap(), "old", "it is stored still");
    }
}

fn stale_if_error_serves_what_has_expired(place: &Place) {
    let origin = Origin::start();
    let down = Arc::new(AtomicBool::new(false));
    for (path, status) in [("/a", 500), ("/b", 404), ("/c", 403)] {
        let down = Arc::clone(&down);
        origin.handle(path, move |_| {
            if down.load(Ordering::SeqCst) { Reply::new(status).body("down") } else { Reply::ok("old") }
        });
    }
    let with = |stale: Staleness| {
        let builder = place.builder().expire_after(Duration::from_millis(1)).allowable_codes([200, 403]);
        builder.stale_if_error(stale).build().unwrap()
    };
    let session = with(true.into());
    for path in ["/a", "/b", "/c"] {
        session.get(origin.url(path)).send().unwrap();
    }
    thread::sleep(Duration::from_millis(20));
    down.store(true, Ordering::SeqCst);
    for path in ["/a", "/b"] {
        let stale = session.get(origin.url(path)).send().unwrap();
        assert_eq!((stale.text().unwrap().as_str(), stale.cache_status()), ("old", CacheStatus::StaleHit), "{path}");
        assert!(stale.from_cache() && stale.is_expired());
    }
    // Forced or not, an old answer is better than none where that was set.
    assert_eq!(session.get(origin.url("/a")).force_refresh().send().unwrap().text().unwrap(), "old");
    assert!(session.get(origin.url("/a")).only_if_cached().send().unwrap().from_cache());
    // A code that is allowed is an answer like any other.
    assert_eq!(session.get(origin.url("/c")).send().unwrap().text().unwrap(), "down");
}

fn stale_while_revalidate_serves_at_once(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("old"));
    let session = place.builder().expire_after(Duration::from_millis(1)).stale_while_revalidate(true).build().unwrap();
    session.get(origin.url("/a")).send().unwrap();
    thread::sleep(Duration::from_millis(5));
    origin.route("/a", Reply::ok("new"));
    let stale = session.get(origin.url("/a")).send().unwrap();
    assert_eq!((stale.text().unwrap().as_str(), stale.cache_status()), ("old", CacheStatus::StaleHit));
    let fresh = (0..1000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        session.cache().get(origin.url("/a")).unwrap().unwrap().0.bytes() == "new"
    });
    assert!(fresh);
}

#[test]
fn refreshing_has_a_bounded_number_of_threads() {
    let (gate, sent) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
    let (theirs, count) = (Arc::clone(&gate), Arc::clone(&sent));
    let session = CachedSession::builder("cache")
        .backend(Backend::Memory)
        .expire_after(Duration::ZERO)
        .stale_while_revalidate(true)
        .transport(move |_: &http::Request<bytes::Bytes>| {
            count.fetch_add(1, Ordering::SeqCst);
            drop(theirs.lock().unwrap());
            Ok(http::Response::new(b"x".to_vec()))
        })
        .build()
        .unwrap();
    let get = |n: usize| session.get(format!("http://x.org/{n}")).send().unwrap();
    (0..50).for_each(|n| drop(get(n)));
    let closed = gate.lock().unwrap();
    assert!((0..50).all(|n| get(n).from_cache()));
    thread::sleep(Duration::from_millis(500));
    assert_eq!(sent.load(Ordering::SeqCst), 50 + 32);
    drop(closed);
}

fn a_request_asks_for_freshness_by_its_cache_control(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.session();
    let ask = |control: &str| session.get(origin.url("/a")).header("Cache-Control", control).send().unwrap();
    assert_eq!(ask("no-store").cache_status(), CacheStatus::Bypass);
    let first = ask("max-age=60");
    assert_eq!(first.expires_at().unwrap().duration_since(first.created_at()).unwrap(), Duration::from_secs(60));
    for (control, status) in [
        ("max-age=60", CacheStatus::Hit),
        ("min-fresh=10", CacheStatus::Hit),
        ("min-fresh=3600", CacheStatus::Refresh),
        ("max-age=0", CacheStatus::Refresh),
        ("no-cache", CacheStatus::Refresh),
        ("only-if-cached", CacheStatus::Hit),
    ] {
        session.cache().clear().unwrap();
        ask("max-age=60");
        assert_eq!(ask(control).cache_status(), status, "{control}");
    }
}

fn a_request_that_forbids_the_network_gets_504(place: &Place) {
    let origin = Origin::start();
    let session = place.session();
    let request = http::Request::get(origin.url("/a")).header("cache-control", "only-if-cached").body(()).unwrap();
    let response = session.send(request).unwrap();
    assert_eq!((response.status().as_u16(), response.cache_status()), (504, CacheStatus::NotCached));
    assert!(!response.from_cache());
    assert_eq!(origin.connections(), 0);
}

fn variants_are_kept_apart_without_cache_control(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| {
        Reply::ok(seen.header("accept-language").unwrap_or("none").to_owned()).header("Vary", "Accept-Language")
    });
    origin.route("/star", Reply::ok("x").header("Vary", "*"));
    origin.route("/to", Reply::redirect(302, "/a"));
    let session = place.session();
    for _ in 0..2 {
        for path in ["/a", "/to"] {
            for language in ["de", "en"] {
                let response = session.get(origin.url(path)).header("Accept-Language", language).send().unwrap();
                assert_eq!(response.text().unwrap(), language, "{path}");
            }
        }
        assert!(!session.get(origin.url("/star")).send().unwrap().from_cache());
    }
    assert_eq!((origin.hits("/a"), origin.hits("/to")), (2, 1));
    let other = session.get(origin.url("/a")).send().unwrap();
    assert_eq!(other.cache_status(), CacheStatus::VaryMiss);
    assert_eq!(session.cache().len().unwrap(), 3);
}

fn a_filter_also_refuses_what_is_stored(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x").header("X-Old", "1"));
    place.session().get(origin.url("/a")).send().unwrap();
    let session = place.builder().filter(|response| !response.headers().contains_key("x-old")).build().unwrap();
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    origin.route("/a", Reply::ok("new"));
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
}

fn responses_are_found_by_what_their_heads_say(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a")).route("/b", Reply::new(404).body("b"));
    let session = place.builder().allowable_codes([200, 404]).build().unwrap();
    session.get(origin.url("/a")).send().unwrap();
    session.get(origin.url("/b")).expire_after(Duration::from_millis(1)).send().unwrap();
    thread::sleep(Duration::from_millis(5));
    let (cache, now) = (session.cache(), SystemTime::now());
    let found = |test: &dyn Fn(&larder::StoredResponse) -> bool| {
        cache.filter(test).unwrap().map(|item| item.unwrap().1.bytes().clone()).collect::<Vec<_>>()
    };
    assert_eq!(found(&|response| response.status() == 404), ["b"]);
    assert_eq!(found(&|response| response.is_expired(now)), ["b"]);
    assert_eq!(found(&|response| response.host() == "127.0.0.1").len(), 2);
    assert_eq!(found(&|response| response.host() == "example.org").len(), 0);
    assert_eq!(found(&|response| response.age(now) > Duration::from_secs(3600)).len(), 0);
    assert_eq!(found(&|response| response.age(now + Duration::from_secs(7200)) > Duration::from_secs(3600)).len(), 2);
    assert_eq!(cache.remove_expired().unwrap(), 1);
    assert_eq!(cache.delete_matching(|response| response.status() == 200).unwrap(), 1);
    assert!(cache.is_empty().unwrap());
}

/// Two users ask for two variants each.
fn fill(place: &Place, origin: &Origin) -> larder::CachedSession {
    origin.handle("/a", |seen| Reply::ok(format!("{:?}", seen.header("accept"))).header("Vary", "Accept"));
    let session = place.session();
    for user in ["alice", "bob"] {
        for accept in ["text/html", "text/plain"] {
            let request = session.get(origin.url("/a")).bearer_auth(user).header("Accept", accept);
            assert!(!request.send().unwrap().from_cache());
        }
    }
    assert_eq!(session.cache().len().unwrap(), 4);
    session
}

fn a_url_is_deleted_with_all_variants_and_users(place: &Place) {
    let origin = Origin::start();
    let session = fill(place, &origin);
    let (cache, url) = (session.cache(), origin.url("/a"));
    assert!(cache.contains_url(&url).unwrap());
    let one = cache.keys().unwrap().remove(0);
    assert!(cache.delete(&one).unwrap());
    assert_eq!((cache.len().unwrap(), cache.contains_url(&url).unwrap()), (3, true));
    assert!(cache.delete_url(&url).unwrap());
    assert_eq!((cache.len().unwrap(), cache.contains_url(&url).unwrap()), (0, false));
    assert!(!cache.delete_url(&url).unwrap());
    assert!(!session.get(&url).bearer_auth("bob").header("Accept", "text/html").send().unwrap().from_cache());
}

fn every_variant_is_replayed_without_the_credentials(place: &Place) {
    let origin = Origin::start();
    let session = fill(place, &origin);
    if session.cache().stats().unwrap().file_bytes == 0 {
        return; // Nothing outlives a session in memory.
    }
    drop(session);
    let replay = place.builder().mode(larder::Mode::Offline).build().unwrap();
    let url = origin.url("/a");
    let bob = replay.get(&url).bearer_auth("bob").header("Accept", "text/html").send().unwrap();
    assert_eq!(bob.text().unwrap(), "Some(\"text/html\")");
    assert!(replay.get(&url).send().unwrap().from_cache());
    assert!(replay.get(&url).bearer_auth("carol").header("Accept", "image/png").send().unwrap().from_cache());
}

fn what_is_read_only_confirms_without_writing(place: &Place) {
    let origin = Origin::start();
    tagged(&origin, "/a");
    let writer = place.builder().expire_after(Duration::from_millis(1)).build().unwrap();
    writer.get(origin.url("/a")).send().unwrap();
    if !place.file().exists() {
        return; // It is told by the bytes of the log.
    }
    thread::sleep(Duration::from_millis(5));
    let before = std::fs::read(place.file()).unwrap();
    let reader = place.builder().read_only(true).build().unwrap();
    for _ in 0..2 {
        assert!(reader.get(origin.url("/a")).send().unwrap().revalidated());
    }
    assert_eq!(std::fs::read(place.file()).unwrap(), before);
}

fn a_chain_is_followed_from_its_first_fresh_redirect(place: &Place) {
    let origin = Origin::start();
    origin.route("/from", Reply::redirect(301, "/to").header("Cache-Control", "max-age=3600"));
    origin.route("/to", Reply::ok("x").header("Cache-Control", "max-age=0").header("ETag", TAG));
    let session = place.builder().cache_control(true).build().unwrap();
    session.get(origin.url("/from")).send().unwrap();
    origin.route("/to", Reply::new(304).header("Cache-Control", "max-age=3600"));
    let again = session.get(origin.url("/from")).send().unwrap();
    assert_eq!((again.text().unwrap().as_str(), again.cache_status()), ("x", CacheStatus::Revalidated));
    assert_eq!((again.history().len(), again.history()[0].from_cache()), (1, true));
    assert_eq!((origin.hits("/from"), origin.hits("/to")), (1, 2));
    let third = session.get(origin.url("/from")).send().unwrap();
    assert_eq!((third.cache_status(), third.history().len()), (CacheStatus::Hit, 1));
    assert_eq!(origin.total_hits(), 3);
}
