//! A cache that may take so much space and no more.

use std::fs;

use larder::{Backend, CachedSession, ErrorKind};

use crate::{
    Place,
    support::{Origin, Reply},
};

const MAX: u64 = 2 << 20;
/// What the engine adds at most, but for one response.
const SLACK: u64 = 16 << 20;
const BODY: usize = 20_000;

fn page(n: usize) -> Vec<u8> {
    n.to_le_bytes().repeat(BODY / 8)
}

#[test]
fn the_file_stays_within_its_limit_and_hot_responses_stay_hits() {
    for fast_save in [false, true] {
        let place = Place::new(Backend::Log);
        let origin = Origin::start();
        let session = place.builder().max_size(MAX).fast_save(fast_save).build().unwrap();
        let hot: Vec<String> = (0..10).map(|n| format!("/hot/{n}")).collect();
        for (n, path) in hot.iter().enumerate() {
            origin.route(path, Reply::ok(page(n)));
        }
        origin.route("/private", Reply::ok("mine")).route("/from", Reply::redirect(302, "/hot/3"));
        let private = || session.get(origin.url("/private")).bearer_auth("token").send().unwrap();
        // In the first turn all of it is new.
        let mut misses = 0;
        let total = 24 * usize::try_from(MAX).unwrap() / BODY;
        for n in 0..total {
            let path = format!("/cold/{n}");
            origin.route(&path, Reply::ok(page(n)));
            assert_eq!(session.get(origin.url(&path)).send().unwrap().bytes().len(), BODY);
            let len = fs::metadata(place.file()).unwrap().len();
            assert!(len <= MAX + SLACK + 2 * BODY as u64, "{len} bytes after {n} responses");
            if n % 20 == 0 {
                for path in hot.iter().map(String::as_str).chain(["/from"]) {
                    misses += usize::from(!session.get(origin.url(path)).send().unwrap().from_cache());
                }
                misses += usize::from(!private().from_cache());
                misses *= usize::from(n > 0);
            }
        }
        assert_eq!(misses, 0);
        let stats = session.cache().stats().unwrap();
        assert!(stats.evictions > total as u64 / 2, "{stats:?}");
        session.cache().compact().unwrap();
        session.cache().compact().unwrap();
        let stats = session.cache().stats().unwrap();
        assert!(stats.file_bytes <= MAX && stats.live_bytes <= MAX, "{stats:?}");
        // What is listed is there.
        assert_eq!(session.cache().urls().unwrap().len() as u64, stats.entries);
        let gone = origin.url("/cold/0");
        assert!(!session.cache().contains_url(&gone).unwrap() && !session.cache().delete_url(&gone).unwrap());
        let last = origin.url(&format!("/cold/{}", total - 1));
        assert!(session.cache().delete_url(&last).unwrap());
        assert!(!session.get(&last).send().unwrap().from_cache());
        assert!(session.get(origin.url("/cold/0")).send().unwrap().bytes()[..] == page(0));
    }
}

#[test]
fn lists_of_what_is_gone_do_not_add_up() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    let session = place.builder().max_size(1 << 20).fast_save(true).build().unwrap();
    for n in 0..3000 {
        let path = format!("/{n}");
        origin.route(&path, Reply::ok(vec![7; 600]));
        session.get(origin.url(&path)).send().unwrap();
    }
    session.cache().compact().unwrap();
    session.cache().compact().unwrap();
    let stats = session.cache().stats().unwrap();
    // A response and its list take some 1,300 bytes; 3,000 lists alone would take more than half a MiB.
    assert!(stats.live_bytes < (1 << 20), "{stats:?}");
    assert!(stats.live_bytes / stats.entries < 2000, "{stats:?}");
    assert!(stats.evictions > 1000, "{stats:?}");
}

#[test]
fn a_redirect_to_what_is_gone_is_followed_anew() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    let session = place.builder().max_size(MAX).build().unwrap();
    origin.route("/old", Reply::redirect(302, "/new")).route("/new", Reply::ok("here"));
    assert!(!session.get(origin.url("/old")).send().unwrap().from_cache());
    assert!(session.get(origin.url("/old")).send().unwrap().from_cache());
    // Nobody asks for it any more while others come, until nothing of it is left.
    let mut n = 0;
    while session.cache().contains_url(origin.url("/new")).unwrap() {
        let path = format!("/cold/{n}");
        origin.route(&path, Reply::ok(page(n)));
        session.get(origin.url(&path)).send().unwrap();
        n += 1;
        // To look is to ask for it, so look seldom.
        if n % 200 == 0 {
            session.cache().compact().unwrap();
        }
        assert!(n < 10_000, "it never goes");
    }
    assert!(!session.cache().contains_url(origin.url("/old")).unwrap());
    let again = session.get(origin.url("/old")).send().unwrap();
    assert!(!again.from_cache() && again.history().len() == 1 && again.bytes()[..] == b"here"[..]);
    assert!(session.get(origin.url("/old")).send().unwrap().from_cache());
}

#[test]
fn what_is_longer_than_the_cache_may_be_is_handed_out_and_not_stored() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    let session = place.builder().max_size(MAX).strict(true).build().unwrap();
    let large = vec![7; usize::try_from(MAX).unwrap() + 1];
    origin.route("/large", Reply::ok(large.clone()));
    for stream in [false, true, false] {
        let got = session.get(origin.url("/large"));
        let response = if stream { got.send_stream().unwrap().into_response().unwrap() } else { got.send().unwrap() };
        assert!(!response.from_cache() && response.bytes()[..] == large);
    }
    assert_eq!(origin.hits("/large"), 3);
    let stats = session.cache().stats().unwrap();
    assert_eq!((stats.entries, stats.errors), (0, 0));
}

#[test]
fn other_backends_refuse_the_limit() {
    let built = CachedSession::builder("cache").backend(Backend::Memory).max_size(MAX).build();
    assert_eq!(built.unwrap_err().kind(), ErrorKind::InvalidInput);
}
