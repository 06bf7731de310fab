//! One cache for a whole process. What is installed is one for all tests that run at once, so that one test has it all.

use std::{sync::Arc, thread};

use larder::{Backend, CachedSession, CachedSessionBuilder, ErrorKind};

use crate::{
    Place,
    support::{Origin, Reply},
};

fn memory() -> CachedSessionBuilder {
    CachedSession::builder("cache").backend(Backend::Memory)
}

#[test]
fn what_is_installed_serves_every_thread_until_it_is_uninstalled() {
    let origin = Arc::new(Origin::start());
    origin
        .route("/a", Reply::ok("a"))
        .handle("/echo", |seen| Reply::ok(format!("{} {}", seen.method, seen.body.len())));
    let url = origin.url("/a");
    assert!(!larder::is_installed() && larder::cache().is_none());
    larder::get(&url).unwrap();
    assert!(!larder::get(&url).unwrap().from_cache());
    larder::clear().unwrap();
    assert_eq!(larder::remove_expired().unwrap(), 0);

    larder::install_cache(memory()).unwrap();
    assert!(larder::is_installed());
    larder::get(&url).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(larder::request("get", &url).send().unwrap().from_cache()));
        }
    });
    assert_eq!(larder::cache().unwrap().len().unwrap(), 1);
    assert_eq!(larder::post(origin.url("/echo"), "body").unwrap().text().unwrap(), "POST 4");
    assert_eq!(larder::put(origin.url("/echo"), "").unwrap().text().unwrap(), "PUT 0");
    assert_eq!(larder::patch(origin.url("/echo"), "x").unwrap().text().unwrap(), "PATCH 1");
    assert_eq!(larder::delete(origin.url("/echo")).unwrap().text().unwrap(), "DELETE 0");
    assert_eq!(larder::options(origin.url("/echo")).unwrap().text().unwrap(), "OPTIONS 0");
    assert_eq!(larder::head(origin.url("/echo")).unwrap().status(), 200);
    {
        let _guard = larder::disabled();
        let _nested = larder::disabled();
        assert!(!larder::is_installed() && larder::cache().is_none());
        assert!(!larder::get(&url).unwrap().from_cache());
        let elsewhere = thread::scope(|scope| scope.spawn(|| larder::get(&url).unwrap().from_cache()).join().unwrap());
        assert!(elsewhere, "other threads are not concerned");
        let _within = larder::enabled(memory()).unwrap();
        assert!(larder::is_installed() && larder::cache().unwrap().is_empty().unwrap());
    }
    assert!(larder::get(&url).unwrap().from_cache());
    larder::clear().unwrap();
    assert!(!larder::get(&url).unwrap().from_cache());

    // One that cannot be built changes nothing.
    assert_eq!(larder::configure(memory().allowable_codes([7])).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(larder::get(&url).unwrap().from_cache());
    larder::configure(memory().allowable_codes([404])).unwrap();
    larder::get(&url).unwrap();
    assert!(!larder::get(&url).unwrap().from_cache());

    let place = Place::new(Backend::Log);
    let session = place.session();
    let given = session.clone();
    larder::install_cache_with(move || given.clone());
    larder::get(&url).unwrap();
    assert!(session.get(&url).send().unwrap().from_cache());

    // Installing and asking at once, from many threads.
    thread::scope(|scope| {
        for n in 0..8 {
            let url = &url;
            scope.spawn(move || {
                for round in 0..20 {
                    match (n + round) % 4 {
                        0 => larder::install_cache(memory()).unwrap(),
                        1 => larder::uninstall_cache(),
                        _ => assert_eq!(larder::get(url).unwrap().text().unwrap(), "a"),
                    }
                }
            });
        }
    });
    larder::uninstall_cache();
    assert!(!larder::is_installed() && !larder::get(&url).unwrap().from_cache());
}

#[test]
fn a_guard_makes_one_thread_use_a_cache_of_its_own_in_whatever_order_they_go() {
    let origin = Origin::start();
    origin.route("/g", Reply::ok("g"));
    let outer = larder::enabled(memory()).unwrap();
    larder::get(origin.url("/g")).unwrap();
    let inner = larder::disabled();
    drop(outer);
    assert!(!larder::is_installed());
    let last = larder::enabled(memory()).unwrap();
    drop(inner);
    assert!(larder::is_installed());
    assert!(!larder::get(origin.url("/g")).unwrap().from_cache());
    assert!(larder::get(origin.url("/g")).unwrap().from_cache());
    drop(last);
}
