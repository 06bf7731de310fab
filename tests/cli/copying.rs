//! `larder copy`.

use crate::{Place, urls};
use larder::{Cache, StoredRequest, StoredResponse};
use std::{fs, process::Stdio, time::SystemTime};

#[test]
fn a_copy_goes_there_and_back_between_stores() {
    let place = Place::new();
    let cache = place.cache("c.larder");
    cache.alias("a name", "http://example.org/").unwrap();
    let to = &place.json(&["copy", "c.larder", "sqlite:c.sqlite"])[0];
    assert_eq!((&to["copied"], &to["aliases"], &to["verified"]["same"]), (&4.into(), &1.into(), &4.into()));
    let back = &place.json(&["copy", "c.sqlite", "back.larder"])[0];
    assert_eq!(back["verified"]["checksum"], to["verified"]["checksum"]);
    assert_eq!(place.json(&["ls", "back.larder"]), place.json(&["ls", "c.larder"]));
    let back = larder::Cache::open_read_only(place.path("back.larder").to_str().unwrap()).unwrap();
    assert!(back.contains("a name").unwrap());
}

#[test]
fn a_copy_that_was_interrupted_goes_on() {
    let place = Place::new();
    let cache = place.cache("c.larder");
    place.ok(&["copy", "c.larder", "to.larder"]);
    let to = larder::Cache::open(place.path("to.larder").to_str().unwrap()).unwrap();
    to.delete("http://example.org/").unwrap();
    cache.delete("http://example.org/old").unwrap();
    let again = &place.json(&["copy", "c.larder", "to.larder"])[0];
    assert_eq!((&again["copied"], &again["unchanged"]), (&1.into(), &2.into()));
    assert!(to.contains("http://example.org/old").unwrap(), "what the target alone has stays");
}

/// Killed at the first byte, in the middle and near the end: what is there is whole, and the next copy brings the rest.
#[test]
fn a_copy_that_was_killed_goes_on() {
    const PAGES: usize = 400;
    let place = Place::new();
    let cache = place.cache("c.larder");
    for n in 0..PAGES {
        let url = format!("http://many.example.com/{n}");
        let request = StoredRequest::new("GET", &url, &http::HeaderMap::new(), b"").unwrap();
        let body = vec![b'x'; 10_000];
        let now = SystemTime::now();
        cache.save(&StoredResponse::new(request, http::StatusCode::OK, http::HeaderMap::new(), body, now)).unwrap();
    }
    for (file, to) in [("to.larder", "to.larder"), ("to.sqlite", "sqlite:to.sqlite")] {
        for bytes in [1, 1 << 20, 3 << 20] {
            let mut copy = place.command(&["copy", "c.larder", to]).stdout(Stdio::null()).spawn().unwrap();
            // SQLite keeps what is new beside its file.
            let len = |name: String| fs::metadata(place.path(&name)).map_or(0, |meta| meta.len());
            while len(file.into()) + len(format!("{file}-wal")) < bytes && copy.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            copy.kill().unwrap();
            copy.wait().unwrap();
            // SQLite has to roll back what was under way first, which is for whoever writes next.
            if file == to && fs::exists(place.path(file)).unwrap() {
                place.ok(&["check", to]);
            }
        }
        let report = &place.json(&["copy", "c.larder", to])[0];
        let brought = ["copied", "unchanged"].map(|name| report[name].as_u64().unwrap());
        assert_eq!((brought.iter().sum::<u64>(), &report["verified"]["same"]), (PAGES as u64 + 4, &(PAGES + 4).into()));
    }
}

#[test]
fn a_copy_for_python_and_back_holds_the_same() {
    let place = Place::new();
    place.cache("c.larder");
    let there = &place.json(&["copy", "--requests-cache", "c.larder", "sqlite:http_cache.sqlite"])[0];
    assert_eq!(there["verified"]["same"], 4);
    assert_eq!(urls(&place.json(&["ls", "http_cache.sqlite"])), urls(&place.json(&["ls", "c.larder"])));
    let keys = place.json(&["ls", "http_cache.sqlite"]);
    assert!(keys.iter().all(|line| line["key"].as_str().unwrap().len() == 16), "the keys are those of Python");
    let back = &place.json(&["copy", "http_cache.sqlite", "back.larder"])[0];
    assert_eq!(back["verified"]["checksum"], there["verified"]["checksum"]);
    let refused = place.run(&["copy", "--requests-cache", "c.larder", "d.larder"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
}

#[test]
fn pickles_of_python_are_read_and_what_would_run_code_is_refused_by_name() {
    let place = Place::new();
    let database = rusqlite::Connection::open(place.path("http_cache.sqlite")).unwrap();
    database
        .execute_batch(
            "CREATE TABLE responses (key TEXT PRIMARY KEY, value BLOB, expires INTEGER);
             CREATE TABLE redirects (key TEXT PRIMARY KEY, value BLOB, expires INTEGER)",
        )
        .unwrap();
    let seed =
        |name: &str| fs::read(format!("{}/fuzz/seeds/pickle_decode/{name}.bin", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for (key, value) in [
        ("0000000000000001", seed("redirected")),
        ("0000000000000002", seed("posted")),
        ("0000000000000003", b"\x80\x04cos\nsystem\n\x8c\x02ls\x85R.".to_vec()),
    ] {
        database.execute("INSERT INTO responses VALUES (?1, ?2, NULL)", rusqlite::params![key, value]).unwrap();
    }
    database.execute("INSERT INTO redirects VALUES ('0000000000000001', '0000000000000001', NULL)", []).unwrap();
    drop(database);
    let report = &place.json(&["copy", "http_cache.sqlite", "c.larder"])[0];
    assert_eq!((&report["copied"], &report["skipped"]), (&2.into(), &1.into()));
    let why = report["skipped_because"][0].as_str().unwrap();
    assert!(why.contains("0000000000000003") && why.contains("GLOBAL"), "{why}");
    let lines = place.json(&["ls", "c.larder"]);
    assert_eq!(urls(&lines), ["http://origin.example/p", "http://origin.example/small?a=1&b=2"]);
    assert_eq!(place.run(&["check", "http_cache.sqlite"]).code, 4);
}

/// A place of this test alone on a server that `./test` has started.
fn on_server(variable: &str, name: &str) -> String {
    let address = std::env::var(variable);
    let address = address.unwrap_or_else(|_| panic!("{variable} is not set; run ./test, which starts the servers"));
    format!("{address}#cli-{}-{name}", std::process::id())
}

/// There, on after an interruption, and back; each time compared.
fn a_copy_goes_there_and_back(server: &str) {
    let place = Place::new();
    let cache = place.cache("c.larder");
    cache.alias("a name", "http://example.org/").unwrap();
    let there = &place.json(&["copy", "c.larder", server])[0];
    assert_eq!((&there["copied"], &there["aliases"], &there["skipped"]), (&4.into(), &1.into(), &0.into()));
    assert_eq!((&there["verified"]["same"], &there["verified"]["missing"]), (&4.into(), &0.into()));
    assert_eq!(place.json(&["ls", server]), place.json(&["ls", "c.larder"]));
    // As if it had ended early, and as if one had been damaged on the way.
    let stored = Cache::open(server).unwrap();
    assert!(stored.contains("a name").unwrap());
    assert!(stored.delete("http://example.org/").unwrap());
    let old = stored.get("http://example.org/old").unwrap().unwrap().0;
    stored.save(&old.with_expires(None)).unwrap();
    let again = &place.json(&["copy", "c.larder", server])[0];
    assert_eq!((&again["copied"], &again["unchanged"], &again["aliases"]), (&2.into(), &2.into(), &1.into()));
    assert_eq!(again["verified"], there["verified"]);
    // The other way, interrupted as well.
    let back = &place.json(&["copy", server, "back.larder"])[0];
    assert_eq!((&back["copied"], &back["aliases"]), (&4.into(), &1.into()));
    assert_eq!(back["verified"], there["verified"]);
    assert_eq!(place.json(&["ls", "back.larder"]), place.json(&["ls", "c.larder"]));
    let to = Cache::open(place.path("back.larder").to_str().unwrap()).unwrap();
    assert!(to.contains("a name").unwrap());
    to.delete("http://example.org/old").unwrap();
    drop(to);
    let again = &place.json(&["copy", server, "back.larder"])[0];
    assert_eq!((&again["copied"], &again["unchanged"], &again["verified"]), (&1.into(), &3.into(), &there["verified"]));
    // What is at the target alone stays, and is no fault.
    let lonely = &place.json(&["copy", "c.larder", "other.larder"])[0];
    assert_eq!(lonely["verified"], there["verified"]);
    stored.clear().unwrap();
    assert!(place.json(&["ls", server]).is_empty());
}

#[test]
#[ignore = "needs Redis; run by ./test"]
fn a_copy_goes_to_redis_and_back_and_goes_on_where_it_ended() {
    a_copy_goes_there_and_back(&on_server("LARDER_REDIS", "copy"));
}

#[test]
#[ignore = "needs MongoDB; run by ./test"]
fn a_copy_goes_to_mongodb_and_back_and_goes_on_where_it_ended() {
    a_copy_goes_there_and_back(&on_server("LARDER_MONGO", "copy"));
}

#[test]
#[ignore = "needs Redis and MongoDB; run by ./test"]
fn a_copy_goes_from_one_server_to_another() {
    let place = Place::new();
    place.cache("c.larder");
    let (redis, mongo) = (on_server("LARDER_REDIS", "across"), on_server("LARDER_MONGO", "across"));
    let first = &place.json(&["copy", "c.larder", &redis])[0];
    for (from, to) in [(&redis, &mongo), (&mongo, &redis)] {
        let report = &place.json(&["copy", from, to])[0];
        assert_eq!(report["verified"], first["verified"]);
    }
    for server in [redis, mongo] {
        Cache::open(&server).unwrap().clear().unwrap();
    }
}

#[test]
#[ignore = "needs Redis; run by ./test"]
fn a_copy_for_python_goes_to_redis_and_back() {
    let place = Place::new();
    place.cache("c.larder");
    let server = on_server("LARDER_REDIS", "python");
    let there = &place.json(&["copy", "--requests-cache", "c.larder", &server])[0];
    assert_eq!(there["verified"]["same"], 4);
    assert!(place.json(&["ls", &server]).iter().all(|line| line["key"].as_str().unwrap().len() == 16));
    let back = &place.json(&["copy", &server, "back.larder"])[0];
    assert_eq!(back["verified"]["checksum"], there["verified"]["checksum"]);
    Cache::open(&server).unwrap().clear().unwrap();
}
