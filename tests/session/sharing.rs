//! Identical requests that are under way at once.

use std::{
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use larder::{Backend, CacheStatus, CachedSession, Error, ErrorKind, Expire};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    twenty_threads_and_one_cold_url_are_one_request,
    an_expired_answer_is_fetched_once_too,
    each_variant_is_one_request,
    each_variant_is_one_request_beside_a_stream,
    what_differs_in_partition_or_key_is_sent_apart,
    an_answer_that_may_not_be_stored_releases_all_at_once,
    a_leader_that_fails_releases_the_others,
    followers_of_a_stream_read_along,
    a_stream_that_is_given_up_is_read_on_by_those_who_follow,
    a_follower_with_time_limits_waits_for_no_other_reader,
    a_stream_that_nobody_can_follow_holds_nobody_up,
);

const THREADS: usize = 20;

/// Runs the same in many threads that begin at once.
fn in_threads<T: Send>(act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let run = |n| {
            barrier.wait();
            act(n)
        };
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || run(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn slow(body: impl Into<Vec<u8>>) -> Reply {
    Reply::ok(body).after(Duration::from_millis(150))
}

fn twenty_threads_and_one_cold_url_are_one_request(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", slow("a")).route("/moved", Reply::redirect(302, "/a").after(Duration::from_millis(150)));
    let session = place.session();
    for path in ["/moved", "/a"] {
        let texts = in_threads(|_| session.get(origin.url(path)).send().unwrap().text().unwrap());
        assert!(texts.iter().all(|text| text == "a"));
    }
    assert_eq!((origin.hits("/moved"), origin.hits("/a")), (1, 1));
    let apart = place.builder().single_flight(false).build().unwrap();
    session.cache().clear().unwrap();
    in_threads(|_| apart.get(origin.url("/a")).send().unwrap());
    assert!(origin.hits("/a") > 2, "the switch turns it off");
}

fn an_expired_answer_is_fetched_once_too(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", slow("a"));
    let session = place.session();
    session.get(origin.url("/a")).send().unwrap();
    session.cache().reset_expiration(Expire::Immediately).unwrap();
    in_threads(|_| session.get(origin.url("/a")).send().unwrap());
    assert_eq!(origin.hits("/a"), 2);
}

/// Two variants, ten threads each.
fn each_variant_is_one_request(place: &Place) {
    let origin = Origin::start();
    let vary = |language: &str| slow(language).header("Vary", "Accept-Language");
    origin.handle("/a", move |seen| vary(seen.header("accept-language").unwrap()));
    let session = place.session();
    let ask = |n: usize| {
        let language = ["de", "en"][n % 2];
        let answer = session.get(origin.url("/a")).header("Accept-Language", language).header("X-Thread", n);
        assert_eq!(answer.send().unwrap().text().unwrap(), language);
    };
    // Cold, then known to vary, then stale.
    in_threads(ask);
    assert_eq!(origin.hits("/a"), 2);
    session.cache().clear().unwrap();
    session.get(origin.url("/a")).header("Accept-Language", "fr").send().unwrap();
    in_threads(ask);
    assert_eq!(origin.hits("/a"), 5);
    session.cache().reset_expiration(Expire::Immediately).unwrap();
    in_threads(ask);
    assert_eq!(origin.hits("/a"), 7);
}

/// The body of one is being read all the time that the other is asked for.
fn each_variant_is_one_request_beside_a_stream(place: &Place) {
    let origin = Origin::start();
    let body = |language: &str| [noise(1 << 20), language.into()].concat();
    let session = place.session();
    for path in ["/cold", "/known-to-vary"] {
        let vary = move |language: &str| slow(body(language)).header("Vary", "Accept-Language");
        origin.handle(path, move |seen| vary(seen.header("accept-language").unwrap()));
        let ask = |language| session.get(origin.url(path)).header("Accept-Language", language);
        let mut leader = ask("de").send_stream().unwrap();
        leader.read_exact(&mut [0; 10]).unwrap();
        if path == "/known-to-vary" {
            // From here on requests look for what is under way by its variant.
            assert!(ask("en").send().unwrap().bytes()[..] == body("en"));
        }
        in_threads(|n| {
            let language = ["de", "en"][n % 2];
            assert!(ask(language).send().unwrap().bytes()[..] == body(language));
        });
        assert_eq!(origin.hits(path), 2, "{path}");
        drop(leader);
    }
}

fn what_differs_in_partition_or_key_is_sent_apart(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| slow(seen.header("authorization").unwrap_or_default()));
    let session = place.session();
    let texts = in_threads(|n| {
        let (user, query) = (n % 2, n % 4 / 2);
        let request = session.get(origin.url("/a")).query("q", query).bearer_auth(format!("user {user}"));
        (user, request.send().unwrap().text().unwrap())
    });
    assert!(texts.iter().all(|(user, text)| *text == format!("Bearer user {user}")));
    assert_eq!(origin.hits("/a"), 4);
}

fn an_answer_that_may_not_be_stored_releases_all_at_once(place: &Place) {
    let origin = Origin::start();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (at_once, together) = (Arc::clone(&now), Arc::clone(&most));
    origin.handle("/none", move |_| {
        together.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(150));
        at_once.fetch_sub(1, Ordering::SeqCst);
        Reply::new(404)
    });
    let session = place.session();
    in_threads(|_| assert_eq!(session.get(origin.url("/none")).send().unwrap().status(), 404));
    assert_eq!(origin.hits("/none"), THREADS);
    assert!(most.load(Ordering::SeqCst) > THREADS / 2, "one after the other");
}

fn a_leader_that_fails_releases_the_others(place: &Place) {
    for panics in [false, true] {
        let calls = AtomicUsize::new(0);
        let transport = move |_: &http::Request<bytes::Bytes>| {
            thread::sleep(Duration::from_millis(150));
            match calls.fetch_add(1, Ordering::SeqCst) {
                0 if panics => panic!("the transport panics, as this test wants it"),
                0 => Err(Error::new(ErrorKind::Network, "no connection")),
                _ => Ok(http::Response::new(b"a".to_vec())),
            }
        };
        let session = place.builder().transport(transport).build().unwrap();
        session.cache().clear().unwrap();
        let send = || session.get("http://example.org/a").send();
        let results = in_threads(|_| catch_unwind(AssertUnwindSafe(send)));
        let failed = results.iter().filter(|result| !matches!(result, Ok(Ok(_)))).count();
        assert_eq!(failed, 1);
        assert!(send().unwrap().from_cache());
    }
}

#[test]
fn a_wait_ends_with_the_time_out_of_whoever_waits() {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a").after(Duration::from_millis(1500)));
    let session = Place::new(Backend::Memory).session();
    let url = origin.url("/a");
    thread::scope(|scope| {
        scope.spawn(|| session.get(&url).send().unwrap());
        while origin.hits("/a") == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        let error = session.get(&url).timeout(Duration::from_millis(100)).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(origin.hits("/a"), 1);
        // Limits for each step: its own request is sent, and fails by itself.
        let apart = (Duration::from_millis(50), Duration::from_millis(50));
        assert_eq!(session.get(&url).timeout(apart).send().unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(origin.hits("/a"), 2);
    });
}

#[test]
fn a_request_that_is_made_while_another_is_answered_does_not_wait_for_it() {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a"));
    let place = Place::new(Backend::Memory);
    let within: Arc<std::sync::OnceLock<CachedSession>> = Arc::default();
    let (inner, url) = (Arc::clone(&within), origin.url("/a"));
    let nested = AtomicUsize::new(0);
    let builder = place.builder().filter(move |_| {
        if nested.fetch_add(1, Ordering::SeqCst) == 0 {
            inner.get().unwrap().get(&url).send().unwrap();
        }
        true
    });
    let session = within.get_or_init(|| builder.build().unwrap());
    assert_eq!(session.get(origin.url("/a")).send().unwrap().text().unwrap(), "a");
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from((n * n / 7 + n) % 251).unwrap()).collect()
}

fn followers_of_a_stream_read_along(place: &Place) {
    let origin = Origin::start();
    for (n, len) in [100, 3 << 20, 12 << 20].into_iter().enumerate() {
        let (path, body) = (format!("/{n}"), noise(len));
        origin.route(&path, Reply::ok(body.clone()));
        let session = place.session();
        let url = origin.url(&path);
        let mut leader = session.get(&url).send_stream().unwrap();
        let mut start = vec![0; len / 10];
        leader.read_exact(&mut start).unwrap();
        // In this very thread, which could not wait for itself.
        let mut follower = session.get(&url).send_stream().unwrap();
        assert_eq!((follower.from_cache(), follower.cache_status()), (false, CacheStatus::Collapsed));
        let bodies = thread::scope(|scope| {
            let whole = scope.spawn(|| session.get(&url).send().unwrap().bytes().to_vec());
            let mut along = vec![0; len - 1];
            follower.read_exact(&mut along).unwrap();
            leader.read_to_end(&mut start).unwrap();
            follower.read_to_end(&mut along).unwrap();
            assert!(follower.cache_key().is_some());
            [start, along, whole.join().unwrap()]
        });
        assert!(bodies.iter().all(|other| *other == body), "{len}");
        assert_eq!(origin.hits(&path), 1);
        assert!(session.get(&url).send().unwrap().from_cache());
    }
}

fn a_stream_that_is_given_up_is_read_on_by_those_who_follow(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok(noise(8 << 20))).route("/short", Reply::ok(noise(1 << 20)).short_by(1));
    let session = place.session();
    let leader = session.get(origin.url("/a")).send_stream().unwrap();
    let follower = session.get(origin.url("/a")).send_stream().unwrap();
    drop(leader);
    assert!(follower.bytes().unwrap() == noise(8 << 20));
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
    // What breaks off does so for all; those who wanted it whole ask for themselves.
    let mut leader = session.get(origin.url("/short")).send_stream().unwrap();
    let mut follower = session.get(origin.url("/short")).send_stream().unwrap();
    assert!(session.get(origin.url("/short")).send().is_err());
    assert!(io::copy(&mut follower, &mut io::sink()).is_err() && io::copy(&mut leader, &mut io::sink()).is_err());
    assert_eq!(origin.hits("/short"), 2);
}

/// Limits that are the same do not make a follower depend on the first; a shorter one is no time to wait for it.
fn a_follower_with_time_limits_waits_for_no_other_reader(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok(noise(8 << 20))).route("/b", Reply::ok(noise(8 << 20)));
    let apart = (Duration::from_secs(20), Duration::from_secs(20));
    let session = place.builder().timeout(apart).build().unwrap();
    let leader = session.get(origin.url("/a")).send_stream().unwrap();
    let follower = session.get(origin.url("/a")).send_stream().unwrap();
    drop(leader);
    assert!(follower.bytes().unwrap() == noise(8 << 20));
    assert_eq!(origin.hits("/a"), 1);
    // Nobody reads this one on meanwhile.
    let leader = session.get(origin.url("/b")).send_stream().unwrap();
    let hurried = session.get(origin.url("/b")).timeout(Duration::from_secs(5)).send().unwrap();
    assert!(hurried.bytes()[..] == noise(8 << 20) && origin.hits("/b") == 2);
    drop(leader);
}

fn a_stream_that_nobody_can_follow_holds_nobody_up(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok(noise(9 << 20)));
    let session = place.session();
    let mut leader = session.get(origin.url("/a")).send_stream().unwrap();
    // Other headers may want another variant.
    let other = session.get(origin.url("/a")).header("Accept-Language", "de").send().unwrap();
    assert!(other.bytes()[..] == noise(9 << 20) && origin.hits("/a") == 2);
    session.cache().clear().unwrap();
    leader.read_exact(&mut vec![0; 5 << 20]).unwrap();
    assert!(session.get(origin.url("/a")).send().unwrap().bytes()[..] == noise(9 << 20));
    assert_eq!(origin.hits("/a"), 3);
    drop(leader);
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
}
