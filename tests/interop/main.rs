//! One cache for larder and for Python's requests-cache 1.3.3: each gets hits from what the other has stored.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod support;

mod cases;
mod python;
mod variants;

use cases::{Case, all, origin};
use larder::{Backend, CachedSession, CachedSessionBuilder, Expire, KeyScheme, Serializer};
use python::{Python, Result};
use std::{path::Path, time::Duration};
use support::Origin;

/// A cache that both can open.
struct Shared {
    backend: Backend,
    /// As Python names it.
    place: serde_json::Value,
    match_headers: Vec<String>,
    ignored: Option<Vec<String>>,
}

impl Shared {
    fn sqlite(folder: &Path) -> Self {
        let path = folder.join("http_cache.sqlite");
        let place = serde_json::json!({ "backend": "sqlite", "name": path });
        Self { backend: Backend::Sqlite, place, match_headers: Vec::new(), ignored: None }
    }

    /// A cache on a server that other tests use as well: each has its folder for a name.
    fn redis(folder: &Path) -> Self {
        let url = std::env::var("LARDER_REDIS").expect("LARDER_REDIS is the URL of a Redis server; ./test sets it");
        let place = serde_json::json!({ "backend": "redis", "name": name_of(folder), "redis_url": url });
        Self { backend: url.parse().unwrap(), place, match_headers: Vec::new(), ignored: None }
    }

    /// Whose values both count as part of a request.
    fn matching(mut self, names: &[&str]) -> Self {
        self.place["match_headers"] = names.into();
        self.match_headers = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Whose values count for neither.
    fn ignoring(mut self, names: &[&str]) -> Self {
        self.place["ignored_parameters"] = names.into();
        self.ignored = Some(names.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    fn builder(&self, folder: &Path) -> CachedSessionBuilder {
        let name = if matches!(self.backend, Backend::Sqlite) { "http_cache".into() } else { name_of(folder) };
        let builder = CachedSession::builder(name).match_headers(&self.match_headers);
        let builder = match &self.ignored {
            Some(names) => builder.ignored_parameters(names),
            None => builder,
        };
        builder
            .location(folder)
            .backend(self.backend.clone())
            .serializer(Serializer::Json)
            .key_scheme(KeyScheme::RequestsCache)
            .allowable_methods(["GET", "HEAD", "POST"])
            .allowable_codes([200, 404])
            .share_across_credentials(true)
            .strict(true)
    }
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap().to_str().unwrap().to_owned()
}

fn send(session: &CachedSession, case: &Case, url: &str) -> larder::Response {
    let mut request = session.request(case.method, url).body(case.body);
    for (name, value) in case.headers {
        request = request.header(*name, *value);
    }
    request.send().unwrap()
}

/// What both must agree on.
fn check(case: &Case, larder: &larder::Response, python: &Result) {
    assert_eq!(larder.status().as_u16(), python.status, "{}: status", case.name);
    assert_eq!(larder.bytes().to_vec(), python.body, "{}: body", case.name);
    let hops: Vec<_> = larder.history().iter().map(|hop| hop.status().as_u16()).collect();
    assert_eq!(hops, python.history, "{}: history", case.name);
    for (name, value) in &python.headers {
        // Each end of a connection decides about that for itself.
        if ["connection", "date"].contains(&name.as_str()) {
            continue;
        }
        let ours: Vec<_> = larder.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(&ours.join(", "), value, "{}: {name}", case.name);
    }
}

/// Each case: larder stores, Python finds it.
fn python_finds(shared: &Shared, folder: &Path) {
    let origin = origin();
    let session = shared.builder(folder).build().unwrap();
    let stored: Vec<_> = all().iter().map(|case| send(&session, case, &case.first(&origin))).collect();
    assert!(stored.iter().all(|response| !response.from_cache()));
    let before = origin.total_hits();
    let again: Vec<_> = all().iter().map(Case::again).collect();
    let python = Python::new(&shared.place, again.iter().map(|case| (case, case.second(&origin))));
    let report = python.run();
    for ((case, larder), python) in all().iter().zip(&stored).zip(&report.results) {
        assert!(python.from_cache, "{}: Python asks the origin", case.name);
        check(case, larder, python);
    }
    assert_eq!(origin.total_hits(), before);
    assert!(report.urls.len() > 20, "Python lists what is stored");
    assert!(report.keys.iter().all(|key| key.len() == 16), "{:?}", report.keys);
}

/// Each case: Python stores, larder finds it.
fn larder_finds(shared: &Shared, folder: &Path) {
    let origin = origin();
    let python = Python::new(&shared.place, all().iter().map(|case| (case, case.first(&origin))));
    let report = python.run();
    assert!(report.results.iter().all(|result| !result.from_cache));
    let before = origin.total_hits();
    let session = shared.builder(folder).build().unwrap();
    for (case, python) in all().iter().zip(&report.results) {
        let response = send(&session, &case.again(), &case.second(&origin));
        assert!(response.from_cache(), "{}: larder asks the origin", case.name);
        check(case, &response, python);
    }
    assert_eq!(origin.total_hits(), before);
    assert_eq!(session.cache().stats().unwrap().errors, 0);
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn python_finds_in_sqlite_what_larder_stored() {
    let folder = tempfile::tempdir().unwrap();
    python_finds(&Shared::sqlite(folder.path()), folder.path());
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn larder_finds_in_sqlite_what_python_stored() {
    let folder = tempfile::tempdir().unwrap();
    larder_finds(&Shared::sqlite(folder.path()), folder.path());
}

#[test]
#[ignore = "needs requests-cache and a Redis server; run by ./test"]
fn python_finds_in_redis_what_larder_stored() {
    let folder = tempfile::tempdir().unwrap();
    python_finds(&Shared::redis(folder.path()), folder.path());
}

#[test]
#[ignore = "needs requests-cache and a Redis server; run by ./test"]
fn larder_finds_in_redis_what_python_stored() {
    let folder = tempfile::tempdir().unwrap();
    larder_finds(&Shared::redis(folder.path()), folder.path());
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn an_expired_response_is_one_to_both() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::sqlite(folder.path());
    let origin = origin();
    let case = &all()[0];
    let (url, path) = (case.first(&origin), "/plain");
    let short = shared.builder(folder.path()).expire_after(Duration::from_millis(1)).build().unwrap();
    send(&short, case, &url);
    std::thread::sleep(Duration::from_millis(5));
    let python = || Python::new(&shared.place, [(case, url.clone())]);
    let result = &python().run().results[0];
    assert!(!result.from_cache, "Python takes what larder let expire");
    assert_eq!(origin.hits(path), 2);
    // Python keeps it for ever.
    let lasting = shared.builder(folder.path()).build().unwrap();
    assert!(send(&lasting, case, &url).from_cache());
    lasting.cache().reset_expiration(Expire::Immediately).unwrap();
    assert!(!python().run().results[0].from_cache, "a reset expiry is not seen");
    let lasting = shared.builder(folder.path()).expire_after(Duration::from_secs(3600)).build().unwrap();
    assert!(send(&lasting, case, &url).from_cache());
    assert_eq!(origin.hits(path), 3);
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn what_one_deletes_is_gone_for_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::sqlite(folder.path());
    let origin = origin();
    let session = shared.builder(folder.path()).build().unwrap();
    let redirected = all().iter().find(|case| case.name == "two redirects").unwrap();
    let url = redirected.first(&origin);
    let report = Python::new(&shared.place, [(redirected, url.clone())]).run();
    assert_eq!(report.keys.len(), 2, "the last page, and the first with its redirects");
    assert!(session.cache().contains_url(&url).unwrap());
    assert!(session.cache().delete_url(&url).unwrap());
    assert!(session.cache().is_empty().unwrap());
    let report = Python::new(&shared.place, [(redirected, url)]).run();
    assert!(!report.results[0].from_cache);
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn credentials_bypass_the_cache_unless_it_is_shared_across_them() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::sqlite(folder.path());
    let origin = origin();
    let session = shared.builder(folder.path()).share_across_credentials(false).build().unwrap();
    let url = origin.url("/plain");
    for _ in 0..2 {
        let response = session.get(&url).header("authorization", "Bearer swordfish").send().unwrap();
        assert!(!response.from_cache());
    }
    assert!(session.cache().is_empty().unwrap());
    session.get(&url).send().unwrap();
    assert!(session.get(&url).send().unwrap().from_cache());
    let bytes = std::fs::read(folder.path().join("http_cache.sqlite")).unwrap();
    assert!(!bytes.windows(9).any(|part| part == b"swordfish"));
}

#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn an_origin_is_not_asked_again_in_either_direction_after_an_update() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::sqlite(folder.path());
    let origin = Origin::start();
    origin.route("/n", support::Reply::ok("one"));
    let case = Case { name: "update", first: "/n", second: "/n", ..cases::CASE };
    let session = shared.builder(folder.path()).build().unwrap();
    assert_eq!(&send(&session, &case, &origin.url("/n")).bytes()[..], b"one");
    origin.route("/n", support::Reply::ok("two"));
    let refreshed = session.get(origin.url("/n")).force_refresh().send().unwrap();
    assert_eq!(&refreshed.bytes()[..], b"two");
    let result = &Python::new(&shared.place, [(&case, origin.url("/n"))]).run().results[0];
    assert!(result.from_cache);
    assert_eq!(result.body, b"two");
}
