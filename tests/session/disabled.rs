use std::thread;

use larder::CacheStatus;

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    while_disabled_the_cache_is_neither_read_nor_written,
    guards_nest,
    other_sessions_and_other_threads_are_not_concerned,
);

fn while_disabled_the_cache_is_neither_read_nor_written(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.session();
    {
        let _guard = session.cache_disabled();
        assert_eq!(session.get(origin.url("/a")).send().unwrap().cache_status(), CacheStatus::Bypass);
        assert_eq!(session.cache().len().unwrap(), 0);
    }
    session.get(origin.url("/a")).send().unwrap();
    let guard = session.clone().cache_disabled();
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    drop(guard);
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
}

fn guards_nest(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.session();
    session.get(origin.url("/a")).send().unwrap();
    let outer = session.cache_disabled();
    let inner = session.clone().cache_disabled();
    drop(inner);
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    // Dropped in any order.
    let late = session.cache_disabled();
    drop(outer);
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    drop(late);
    assert!(session.get(origin.url("/a")).send().unwrap().from_cache());
}

fn other_sessions_and_other_threads_are_not_concerned(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let (session, other) = (place.session(), place.session());
    for session in [&session, &other] {
        session.get(origin.url("/a")).send().unwrap();
    }
    let _guard = session.cache_disabled();
    assert!(!session.get(origin.url("/a")).send().unwrap().from_cache());
    assert!(other.get(origin.url("/a")).send().unwrap().from_cache());
    thread::scope(|scope| {
        scope.spawn(|| assert!(session.get(origin.url("/a")).send().unwrap().from_cache()));
    });
}
