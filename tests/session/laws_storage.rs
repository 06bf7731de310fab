//! What the tests of requests-cache check of the responses in a cache, and no other file here has.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use larder::{
    Backend, CachedSession, Result,
    log::{Entry, Head, Write},
    store::{Ahead, MemoryStore, Reads, Store, StoreStats, Visitor},
};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    keys_heads_responses_and_urls_agree,
    each_value_tells_the_key_that_it_is_found_under,
    of_twenty_without_five_exactly_fifteen_are_left,
    deleting_many_ignores_what_is_missing_and_nothing_deletes_nothing,
    an_empty_cache_can_be_cleared_and_is_usable_again,
    what_is_overwritten_is_there_once,
    a_stored_response_is_asked_for_by_key_url_and_request,
    old_responses_and_those_of_some_requests_can_be_deleted,
    responses_are_copied_from_one_place_to_another_and_back,
    bodies_that_are_no_json_are_taken_as_they_are,
    fields_of_a_form_count_in_any_order,
);

fn numbered(place: &Place, count: usize) -> (Origin, CachedSession, Vec<String>) {
    let origin = Origin::start();
    let session = place.session();
    let keys = (0..count).map(|n| {
        origin.route(&format!("/{n:02}"), Reply::ok(n.to_string()));
        let response = session.get(origin.url(&format!("/{n:02}"))).send().unwrap();
        response.cache_key().unwrap().to_owned()
    });
    let keys = keys.collect();
    (origin, session, keys)
}

fn keys_heads_responses_and_urls_agree(place: &Place) {
    let (origin, session, mut keys) = numbered(place, 12);
    let cache = session.cache();
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    keys.sort();
    assert_eq!(sorted(cache.keys().unwrap()), keys);
    assert_eq!(sorted(cache.heads().unwrap().into_iter().map(|head| head.key).collect()), keys);
    assert_eq!(sorted(cache.responses().unwrap().map(|item| item.unwrap().0).collect()), keys);
    let urls: Vec<_> = (0..12).map(|n| origin.url(&format!("/{n:02}"))).collect();
    assert_eq!(cache.urls().unwrap(), urls);
    assert_eq!(cache.len().unwrap(), 12);
}

fn each_value_tells_the_key_that_it_is_found_under(place: &Place) {
    let (origin, session, keys) = numbered(place, 5);
    for (n, key) in keys.iter().enumerate() {
        let hit = session.get(origin.url(&format!("/{n:02}"))).send().unwrap();
        assert_eq!(hit.cache_key(), Some(key.as_str()));
        assert_eq!(session.cache().get(key).unwrap().unwrap().0.bytes(), &n.to_string());
    }
    for item in session.cache().responses().unwrap() {
        let (key, response) = item.unwrap();
        let n: usize = std::str::from_utf8(response.bytes()).unwrap().parse().unwrap();
        assert_eq!(key, keys[n]);
    }
}

fn of_twenty_without_five_exactly_fifteen_are_left(place: &Place) {
    let (origin, session, keys) = numbered(place, 20);
    for key in &keys[..5] {
        assert!(session.cache().delete(key).unwrap());
    }
    assert_eq!((session.cache().len().unwrap(), session.cache().keys().unwrap().len()), (15, 15));
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(session.cache().contains(key).unwrap(), n >= 5);
        assert_eq!(session.cache().contains_url(origin.url(&format!("/{n:02}"))).unwrap(), n >= 5);
    }
}

fn deleting_many_ignores_what_is_missing_and_nothing_deletes_nothing(place: &Place) {
    let (_origin, session, keys) = numbered(place, 6);
    let cache = session.cache();
    assert_eq!(cache.delete_matching(|_| false).unwrap(), 0);
    assert_eq!(cache.len().unwrap(), 6);
    let deleted = ["absent", &keys[0], "http://absent.test/", &keys[1], &keys[0]].map(|key| cache.delete(key).unwrap());
    assert_eq!(deleted, [false, true, false, true, false]);
    assert_eq!(cache.delete_matching(|_| true).unwrap(), 4);
    assert!(cache.is_empty().unwrap());
}

fn an_empty_cache_can_be_cleared_and_is_usable_again(place: &Place) {
    let (origin, session, _) = numbered(place, 1);
    for _ in 0..2 {
        session.cache().clear().unwrap();
        assert!(session.cache().is_empty().unwrap() && session.cache().keys().unwrap().is_empty());
    }
    assert!(!session.get(origin.url("/00")).send().unwrap().from_cache());
    assert!(session.get(origin.url("/00")).send().unwrap().from_cache());
    assert_eq!(session.cache().len().unwrap(), 1);
}

fn what_is_overwritten_is_there_once(place: &Place) {
    let (origin, session, keys) = numbered(place, 2);
    for body in ["a longer body than before", "", "x"] {
        origin.route("/00", Reply::ok(body));
        session.get(origin.url("/00")).force_refresh().send().unwrap();
        assert_eq!(session.cache().get(&keys[0]).unwrap().unwrap().0.bytes(), body);
        assert_eq!((session.cache().len().unwrap(), session.cache().keys().unwrap().len()), (2, 2));
    }
}

fn a_stored_response_is_asked_for_by_key_url_and_request(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.builder().allowable_methods(["GET", "POST"]).build().unwrap();
    let cache = session.cache();
    let file = place.file().with_file_name("data.csv");
    std::fs::write(&file, "1,2").unwrap();
    let form = || larder::multipart::Form::new().text("a", "1").file("f", &file);
    let posted = session.post(origin.url("/a")).multipart(form()).send().unwrap();
    assert!(!cache.contains(origin.url("/a")).unwrap(), "a URL stands for a GET");
    assert!(cache.contains_url(origin.url("/a")).unwrap(), "a response to it, whatever was sent");
    let got = session.get(origin.url("/a")).send().unwrap();
    for response in [&posted, &got] {
        assert!(cache.contains(response.cache_key().unwrap()).unwrap());
        assert!(!cache.contains(&response.cache_key().unwrap()[2..]).unwrap());
    }
    assert!(cache.contains(origin.url("/a")).unwrap() && cache.contains_url(origin.url("/a")).unwrap());
    assert!(!cache.contains_url(origin.url("/b")).unwrap());
    // Whether the same request is there, whatever makes it: that is asked by `only_if_cached`.
    let asked = session.post(origin.url("/a")).multipart(form()).only_if_cached().send().unwrap();
    assert_eq!(asked.cache_key(), posted.cache_key());
}

fn old_responses_and_those_of_some_requests_can_be_deleted(place: &Place) {
    let (origin, session, _) = numbered(place, 4);
    let cache = session.cache();
    let before = std::time::SystemTime::now();
    thread::sleep(Duration::from_millis(20));
    for n in [0, 1] {
        session.get(origin.url(&format!("/{n:02}"))).force_refresh().send().unwrap();
    }
    assert_eq!(cache.delete_matching(|response| response.created_at() < before).unwrap(), 2);
    assert_eq!(cache.urls().unwrap(), [origin.url("/00"), origin.url("/01")]);
    assert_eq!(cache.delete_matching(|response| response.url().ends_with("/00")).unwrap(), 1);
    assert_eq!(cache.urls().unwrap(), [origin.url("/01")]);
}

fn responses_are_copied_from_one_place_to_another_and_back(place: &Place) {
    let (origin, session, _) = numbered(place, 5);
    origin.route("/to", Reply::redirect(302, "/00"));
    session.get(origin.url("/to")).send().unwrap();
    let other = CachedSession::new("other", Backend::Memory).unwrap();
    let report = other.cache().update(session.cache()).unwrap();
    assert_eq!((report.copied, report.aliases, report.skipped), (5, 1, 0));
    let hit = other.get(origin.url("/to")).send().unwrap();
    assert!(hit.from_cache() && hit.history().len() == 1);
    session.cache().clear().unwrap();
    assert_eq!(session.cache().update(other.cache()).unwrap().copied, 5);
    assert_eq!(session.cache().update(other.cache()).unwrap().unchanged, 5);
    assert!(session.cache().verify(other.cache()).unwrap().is_whole());
    assert!(session.get(origin.url("/to")).send().unwrap().from_cache());
    assert_eq!(session.cache().urls().unwrap(), other.cache().urls().unwrap());
}

fn bodies_that_are_no_json_are_taken_as_they_are(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| Reply::ok(seen.body.clone()));
    let session = place.builder().allowable_methods(["POST"]).build().unwrap();
    // Over the length up to which requests-cache looks into JSON.
    let oversized = format!("{{\"a\": \"{}\"}}", "x".repeat(11 << 20)).into_bytes();
    let bodies =
        [b"".to_vec(), b" ".to_vec(), b"{not".to_vec(), b"{\"a\":1} x".to_vec(), vec![0, 0xff, 0xfe], oversized];
    for from_cache in [false, true] {
        for body in &bodies {
            let request = session.post(origin.url("/a")).header("Content-Type", "application/json");
            let response = request.body(body.clone()).send().unwrap();
            assert_eq!(response.from_cache(), from_cache);
            assert!(response.bytes() == &body[..], "the body is another");
        }
    }
    assert_eq!(session.cache().len().unwrap(), bodies.len() as u64);
}

fn fields_of_a_form_count_in_any_order(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| Reply::ok(seen.body.clone()));
    let session = place.builder().allowable_methods(["POST"]).build().unwrap();
    let post = |body: &'static str| {
        let request = session.post(origin.url("/a")).header("Content-Type", "application/x-www-form-urlencoded");
        request.body(body).send().unwrap()
    };
    assert!(!post("b=2&a=1&a=3&key-only").from_cache());
    let hit = post("key-only&a=1&b=2&a=3");
    assert!(hit.from_cache() && hit.bytes() == "b=2&a=1&a=3&key-only");
    for other in ["b=2&a=1&key-only", "b=2&a=1&a=4&key-only", "b=2&a=1&a=3"] {
        assert!(!post(other).from_cache(), "{other}");
    }
}

/// A store that counts how often it is read, and in how many goes.
#[derive(Debug, Default, Clone)]
struct Counting {
    inner: Arc<MemoryStore>,
    reads: Arc<AtomicUsize>,
    goes: Arc<AtomicUsize>,
}

impl Counting {
    /// Goes and reads since this was asked last.
    fn counted(&self) -> (usize, usize) {
        (self.goes.swap(0, Ordering::SeqCst), self.reads.swap(0, Ordering::SeqCst))
    }
}

/// What is read in one go.
struct Go(Counting);

impl Reads for Go {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.0.entry(key)
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        self.0.head(key)
    }
}

impl Store for Counting {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.entry(key)
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.head(key)
    }

    fn reads(&self, _ahead: Ahead<'_>) -> Result<Box<dyn Reads + '_>> {
        self.goes.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Go(self.clone())))
    }

    fn commit(&self, writes: Vec<Write>) -> Result<()> {
        self.inner.commit(writes)
    }

    fn visit(&self, each: Visitor<'_>) -> Result<()> {
        self.inner.visit(each)
    }

    fn visit_aliases(&self, each: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>) -> Result<()> {
        self.inner.visit_aliases(each)
    }

    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn clear(&self) -> Result<()> {
        self.inner.clear()
    }

    fn compact(&self) -> Result<()> {
        self.inner.compact()
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn stats(&self) -> Result<StoreStats> {
        self.inner.stats()
    }

    fn location(&self) -> Option<&Path> {
        None
    }
}

#[test]
fn a_hit_reads_the_store_in_one_go() {
    let origin = Origin::start();
    let fresh = || Reply::ok("x").header("Cache-Control", "max-age=60");
    origin.route("/a", fresh());
    origin.route("/varies", fresh().header("Vary", "Accept"));
    // The response; the list of its URL, which says whether it has been made invalid; what leads to its variants.
    for (cache_control, path, reads) in [(false, "/a", 1), (true, "/a", 2), (true, "/varies", 3)] {
        let store = Counting::default();
        let builder = CachedSession::builder("cache").backend(Backend::custom(store.clone()));
        let session = builder.cache_control(cache_control).build().unwrap();
        session.get(origin.url(path)).send().unwrap();
        store.counted();
        for _ in 0..3 {
            assert!(session.get(origin.url(path)).send().unwrap().from_cache());
            assert_eq!(store.counted(), (1, reads), "{path}");
        }
    }
}
