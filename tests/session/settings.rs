//! Settings that are not about storing and serving: the file's place, hooks, keys, read-only sessions, damage.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use larder::{Backend, CachedSession, ErrorKind, Response};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    a_filter_decides_what_is_stored_and_served,
    a_key_function_decides_what_is_the_same,
    the_response_hook_sees_misses_and_hits,
    the_response_hook_can_refuse_and_change_nothing_stored,
    responses_can_be_saved_and_named_by_hand,
);

#[test]
fn the_file_lies_where_name_location_and_extension_say() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    for (builder, file) in [
        (CachedSession::builder("cache").location(base), "cache.larder"),
        (CachedSession::builder("a/b/cache").location(base), "a/b/cache.larder"),
        (CachedSession::builder("cache").location(base.join("c")).extension(".http"), "c/cache.http"),
        (CachedSession::builder(base.join("d/cache")), "d/cache.larder"),
    ] {
        let session = builder.build().unwrap();
        assert!(base.join(file).is_file(), "{file}");
        assert_eq!(fs::metadata(base.join(file)).unwrap().permissions().mode() & 0o777, 0o600);
        drop(session);
    }
    for made in ["a", "a/b", "c", "d"] {
        assert_eq!(fs::metadata(base.join(made)).unwrap().permissions().mode() & 0o777, 0o700, "{made}");
    }
    let file_in_the_way = CachedSession::builder("cache.larder/x").location(base).build().unwrap_err();
    assert_eq!(file_in_the_way.path().unwrap(), base.join("cache.larder"));
}

#[test]
fn settings_that_cannot_be_are_errors_of_build() {
    let builder = || CachedSession::builder("cache").backend(Backend::Memory);
    for (builder, what) in [
        (builder().allowable_codes([200, 99]), "99"),
        (builder().allowable_codes([1000]), "1000"),
        (builder().allowable_methods(["GET", "NO METHOD"]), "NO METHOD"),
        (builder().allowable_methods([""]), "method"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    builder().allowable_codes([100, 999]).allowable_methods(["get", "PROPFIND"]).build().unwrap();
}

#[test]
fn a_session_shows_its_file_and_mode() {
    let place = Place::new(Backend::Log);
    let shown = format!("{:?}", place.session());
    assert_eq!(shown, format!("CachedSession {{ path: {:?}, mode: Cache, .. }}", place.file()));
}

#[test]
fn a_file_of_another_kind_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.larder");
    let notes = "my notes\n".repeat(2000);
    fs::write(&path, &notes).unwrap();
    let error = CachedSession::builder("cache").location(folder.path()).build().unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::NotALarder, Some(path.as_path())));
    assert_eq!(fs::read_to_string(&path).unwrap(), notes);
}

#[test]
fn a_damaged_file_is_put_aside_and_reported_unless_the_session_is_strict() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    place.session().get(origin.url("/a")).send().unwrap();
    let mut bytes = fs::read(place.file()).unwrap();
    bytes[20] ^= 0xff;
    fs::write(place.file(), &bytes).unwrap();
    assert_eq!(place.builder().strict(true).build().unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(place.builder().read_only(true).build().unwrap_err().kind(), ErrorKind::Damaged);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let seen = Arc::clone(&seen);
        move |error: &larder::Error| seen.lock().unwrap().push((error.kind(), error.path().map(fs::read)))
    };
    let session = place.builder().on_store_error(hook).build().unwrap();
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
    let seen = seen.lock().unwrap();
    assert_eq!((seen.len(), seen[0].0), (1, ErrorKind::Damaged));
    assert_eq!(seen[0].1.as_ref().unwrap().as_ref().unwrap(), &bytes);
    assert_eq!(session.cache().stats().unwrap().errors, 1);
}

#[test]
fn a_read_only_session_serves_and_changes_nothing() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a")).route("/b", Reply::ok("b"));
    place.session().get(origin.url("/a")).send().unwrap();
    let before = fs::read(place.file()).unwrap();
    let session = place.builder().read_only(true).build().unwrap();
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
    // Without a salt in the file there are no partitions: this one bypasses the cache.
    assert!(!session.get(origin.url("/a")).bearer_auth("t").send().unwrap().from_cache());
    for _ in 0..2 {
        let missed = session.get(origin.url("/b")).send().unwrap();
        assert!(!missed.from_cache() && missed.cache_key().is_none());
    }
    assert!(!session.get(origin.url("/a")).force_refresh().send().unwrap().from_cache());
    assert_eq!(session.cache().clear().unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(session.cache().stats().unwrap().errors, 0);
    drop(session);
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

#[test]
fn a_read_only_session_in_memory_stores_nothing() {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a"));
    let session = CachedSession::builder("c").backend(Backend::Memory).read_only(true).build().unwrap();
    for _ in 0..2 {
        assert!(!session.get(origin.url("/a")).bearer_auth("t").send().unwrap().from_cache());
    }
    assert_eq!(session.cache().clear().unwrap_err().kind(), ErrorKind::ReadOnly);
}

#[test]
fn sessions_with_one_custom_store_share_it() {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a"));
    let backend = Backend::custom(larder::store::MemoryStore::new());
    let sessions = [0, 1].map(|_| CachedSession::new("any", backend.clone()).unwrap());
    assert!(!sessions[0].get(origin.url("/a")).send().unwrap().from_cache());
    assert!(sessions[1].get(origin.url("/a")).send().unwrap().from_cache());
}

fn a_filter_decides_what_is_stored_and_served(place: &Place) {
    let origin = Origin::start();
    origin.route("/good", Reply::ok("good")).route("/bad", Reply::ok("bad"));
    let allow_bad = Arc::new(AtomicUsize::new(0));
    let session = {
        let allow_bad = Arc::clone(&allow_bad);
        let filter = move |response: &Response| response.bytes() != "bad" || allow_bad.load(Ordering::SeqCst) == 1;
        place.builder().filter(filter).build().unwrap()
    };
    let hits = |path: &str| session.get(origin.url(path)).send().unwrap().from_cache();
    assert!(!hits("/good") && hits("/good"));
    assert!(!hits("/bad") && !hits("/bad"));
    allow_bad.store(1, Ordering::SeqCst);
    assert!(!hits("/bad") && hits("/bad"));
    allow_bad.store(0, Ordering::SeqCst);
    assert!(!hits("/bad"));
}

fn a_key_function_decides_what_is_the_same(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| Reply::ok(seen.target.clone()));
    let without_query = |request: &larder::Request| {
        format!("{} {}", request.method(), request.url().split('?').next().unwrap_or_default())
    };
    let session = place.builder().key_fn(without_query).build().unwrap();
    let first = session.get(origin.url("/a?n=1")).send().unwrap();
    let second = session.get(origin.url("/a?n=2")).send().unwrap();
    assert!(second.from_cache());
    assert_eq!(second.text().unwrap(), "/a?n=1");
    assert_eq!(first.cache_key(), second.cache_key());
    // Whose answer it is stays another question.
    assert!(!session.get(origin.url("/a?n=3")).bearer_auth("t").send().unwrap().from_cache());
    assert!(session.cache().delete(first.cache_key().unwrap()).unwrap());
    assert!(!session.get(origin.url("/a?n=2")).send().unwrap().from_cache());
}

fn the_response_hook_sees_misses_and_hits(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::redirect(302, "/b")).route("/b", Reply::ok("b"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let seen = Arc::clone(&seen);
        move |response: Response| {
            seen.lock().unwrap().push((response.from_cache(), response.history().len()));
            Ok(response)
        }
    };
    let session = place.builder().on_response(hook).build().unwrap();
    for _ in 0..3 {
        session.get(origin.url("/a")).send().unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [(false, 1), (true, 1), (true, 1)]);
}

#[test]
#[cfg(feature = "zstd")]
fn bodies_are_kept_compressed_where_that_helps() {
    let origin = Origin::start();
    let line = "a line of a page that is much like the line before\n";
    origin.route("/page", Reply::ok(line.repeat(2000)).header("Content-Type", "text/html"));
    origin.route(
        "/picture",
        Reply::ok("a picture, as far as its type tells".repeat(3000)).header("Content-Type", "image/png"),
    );
    let folder = tempfile::tempdir().unwrap();
    let open = |compress| {
        CachedSession::builder("cache").location(folder.path()).compress(compress).memory_tier(0).build().unwrap()
    };
    let size = || fs::metadata(folder.path().join("cache.larder")).unwrap().len();
    let session = open(true);
    session.get(origin.url("/page")).send().unwrap();
    let with_page = size();
    assert!(with_page < 40_000, "{with_page}");
    session.get(origin.url("/picture")).send().unwrap();
    assert!(size() > with_page + 100_000, "what is compressed already is not tried");
    for compress in [true, false] {
        let session = open(compress);
        let page = session.get(origin.url("/page")).send().unwrap();
        assert!(page.from_cache() && page.text().unwrap() == line.repeat(2000));
        let mut stream = session.get(origin.url("/page")).send_stream().unwrap();
        assert!(stream.from_cache());
        assert_eq!(std::io::copy(&mut stream, &mut std::io::sink()).unwrap(), 2000 * line.len() as u64);
    }
    assert_eq!((origin.hits("/page"), origin.hits("/picture")), (1, 1));
}

fn the_response_hook_can_refuse_and_change_nothing_stored(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::new(404).body("gone"));
    let session = place.builder().allowable_codes([404]).on_response(Response::error_for_status).build().unwrap();
    for _ in 0..2 {
        assert_eq!(session.get(origin.url("/a")).send().unwrap_err().kind(), ErrorKind::Status);
    }
    assert_eq!((origin.hits("/a"), session.cache().len().unwrap()), (1, 1));
}

fn responses_can_be_saved_and_named_by_hand(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a"));
    let session = place.session();
    let key = session.get(origin.url("/a")).send().unwrap().cache_key().unwrap().to_owned();
    let cache = session.cache();
    cache.alias(origin.url("/other"), &key).unwrap();
    let other = session.get(origin.url("/other")).send().unwrap();
    assert!(other.from_cache() && other.history().is_empty());
    assert_eq!((other.text().unwrap().as_str(), origin.hits("/other")), ("a", 0));
    let (stored, _) = cache.get(&key).unwrap().unwrap();
    assert!(cache.delete(&key).unwrap());
    assert!(!cache.contains_url(origin.url("/other")).unwrap());
    assert_eq!(cache.save(&stored).unwrap(), key);
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
    assert_eq!(cache.responses().unwrap().map(|item| item.unwrap().0).collect::<Vec<_>>(), [key]);
}
