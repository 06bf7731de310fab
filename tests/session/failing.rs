//! A store that fails, in the ways in which stores fail.

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use larder::{
    Backend, CachedSession, Error, ErrorKind, Result,
    log::{Entry, Write},
    store::{MemoryStore, Store, StoreStats, Visitor},
};

use crate::{
    Place,
    support::{Origin, Reply},
};

/// A memory store whose reads or writes can be made to fail.
#[derive(Debug, Default, Clone)]
struct Moody {
    inner: Arc<MemoryStore>,
    reads_fail: Arc<AtomicBool>,
    writes_fail: Arc<AtomicBool>,
}

impl Moody {
    fn read(&self) -> Result<&MemoryStore> {
        if self.reads_fail.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Store, "the reads are down"));
        }
        Ok(&self.inner)
    }

    fn write(&self) -> Result<&MemoryStore> {
        if self.writes_fail.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Full, "the writes are down"));
        }
        Ok(&self.inner)
    }
}

impl Store for Moody {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.read()?.entry(key)
    }

    fn commit(&self, writes: Vec<Write>) -> Result<()> {
        self.write()?.commit(writes)
    }

    fn visit(&self, each: Visitor<'_>) -> Result<()> {
        self.read()?.visit(each)
    }

    fn len(&self) -> Result<u64> {
        self.read()?.len()
    }

    fn clear(&self) -> Result<()> {
        self.write()?.clear()
    }

    fn compact(&self) -> Result<()> {
        self.write()?.compact()
    }

    fn flush(&self) -> Result<()> {
        self.write()?.flush()
    }

    fn stats(&self) -> Result<StoreStats> {
        self.read()?.stats()
    }

    fn location(&self) -> Option<&Path> {
        None
    }
}

fn origin() -> Origin {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x")).route("/moved", Reply::redirect(302, "/a"));
    origin
}

#[test]
fn requests_go_on_when_the_store_fails_and_the_failures_are_reported() {
    let origin = origin();
    for (reads_fail, writes_fail) in [(true, false), (false, true), (true, true)] {
        let store = Moody::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let session = CachedSession::builder("cache")
            .backend(Backend::custom(store.clone()))
            .on_store_error({
                let seen = Arc::clone(&seen);
                move |error| seen.lock().unwrap().push(error.kind())
            })
            .build()
            .unwrap();
        store.reads_fail.store(reads_fail, Ordering::SeqCst);
        store.writes_fail.store(writes_fail, Ordering::SeqCst);
        for path in ["/a", "/moved", "/a"] {
            let response = session.get(origin.url(path)).header("Authorization", "Bearer t").send().unwrap();
            assert_eq!((response.from_cache(), response.text().unwrap().as_str()), (false, "x"));
            assert_eq!(response.cache_key(), None);
        }
        assert!(seen.lock().unwrap().len() >= 3);
        // It is back: so is the cache.
        store.reads_fail.store(false, Ordering::SeqCst);
        store.writes_fail.store(false, Ordering::SeqCst);
        assert!(session.cache().stats().unwrap().errors >= 3);
        session.get(origin.url("/a")).send().unwrap();
        assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
    }
}

#[test]
fn a_strict_session_makes_a_failing_store_an_error() {
    let origin = origin();
    let store = Moody::default();
    let session = CachedSession::builder("cache").backend(Backend::custom(store.clone())).strict(true).build().unwrap();
    store.writes_fail.store(true, Ordering::SeqCst);
    assert_eq!(session.get(origin.url("/a")).send().unwrap_err().kind(), ErrorKind::Full);
    store.reads_fail.store(true, Ordering::SeqCst);
    assert_eq!(session.get(origin.url("/a")).send().unwrap_err().kind(), ErrorKind::Store);
    let _guard = session.cache_disabled();
    assert!(session.get(origin.url("/a")).send().is_ok());
}

#[test]
fn an_entry_that_cannot_be_decoded_is_a_miss_and_is_healed() {
    let origin = origin();
    let store = Moody::default();
    let session = CachedSession::builder("cache").backend(Backend::custom(store.clone())).build().unwrap();
    session.get(origin.url("/a")).send().unwrap();
    let mut damaged = Vec::new();
    store
        .visit(&mut |key, head| {
            let (key, times) = (key.to_vec().into(), head.times);
            let head = b"\x01damaged".as_slice().into();
            damaged.push(Write::Put { key, head, body: "y".into(), times, aux: false });
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(damaged.len(), 1);
    store.commit(damaged).unwrap();
    let refetched = session.get(origin.url("/a")).send().unwrap();
    assert_eq!((refetched.from_cache(), refetched.text().unwrap().as_str()), (false, "x"));
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
}

#[test]
fn requests_go_on_when_a_folder_takes_the_place_of_the_file() {
    let place = Place::new(Backend::Log);
    let origin = origin();
    let session = place.session();
    session.get(origin.url("/a")).send().unwrap();
    fs::remove_file(place.file()).unwrap();
    fs::create_dir(place.file()).unwrap();
    for path in ["/a", "/moved", "/a"] {
        assert_eq!(session.get(origin.url(path)).send().unwrap().text().unwrap(), "x");
    }
    assert!(session.cache().stats().map_or(true, |stats| stats.errors > 0));
    assert!(fs::metadata(place.file()).unwrap().is_dir());
}

#[test]
fn a_rotten_body_is_fetched_again_and_never_served() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    let body = "a body that will rot".repeat(50);
    origin.route("/a", Reply::ok(body.clone()));
    origin.route("/b", Reply::ok("stored after it"));
    for path in ["/a", "/b"] {
        place.session().get(origin.url(path)).send().unwrap();
    }
    let mut bytes = fs::read(place.file()).unwrap();
    let at = bytes.windows(body.len()).position(|part| part == body.as_bytes()).unwrap();
    bytes[at + 7] ^= 1;
    fs::write(place.file(), bytes).unwrap();
    let session = place.session();
    for round in 0..3 {
        let response = session.get(origin.url("/a")).send().unwrap();
        assert_eq!(response.text().unwrap(), body);
        assert_eq!(response.from_cache(), round > 0, "the first request heals the file");
    }
    assert!(session.get(origin.url("/b")).send().unwrap().from_cache());
}

#[test]
fn a_body_that_rots_under_a_running_session_is_reported_and_fetched_again() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    let body = "a body that will rot".repeat(50);
    origin.route("/a", Reply::ok(body.clone()));
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let session =
        place.builder().on_store_error(move |error| heard.lock().unwrap().push(error.kind())).build().unwrap();
    session.get(origin.url("/a")).send().unwrap();
    let mut bytes = fs::read(place.file()).unwrap();
    let at = bytes.windows(body.len()).position(|part| part == body.as_bytes()).unwrap();
    bytes[at + 7] ^= 1;
    fs::write(place.file(), bytes).unwrap();
    for from_cache in [false, true] {
        let response = session.get(origin.url("/a")).send().unwrap();
        assert_eq!((response.text().unwrap(), response.from_cache()), (body.clone(), from_cache));
    }
    assert_eq!(*told.lock().unwrap(), [ErrorKind::Damaged]);
    assert!(session.cache().stats().unwrap().errors > 0);
}
