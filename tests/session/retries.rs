//! Trying again, and how long that may take.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use larder::{Body, ErrorKind, Retries};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    nothing_is_tried_again_unless_asked,
    statuses_and_broken_connections_are_tried_again,
    the_last_answer_counts_and_is_not_stored,
    waits_end_with_the_time_out,
);

/// Fails so often before it answers.
fn failing(times: usize, failure: Reply) -> Origin {
    let origin = Origin::start();
    let asked = AtomicUsize::new(0);
    origin.handle("/", move |_| {
        if asked.fetch_add(1, Ordering::SeqCst) < times { failure.clone() } else { Reply::ok("at last") }
    });
    origin
}

fn quick(times: u32) -> Retries {
    Retries::new(times).backoff(Duration::from_millis(1)).statuses([503])
}

fn nothing_is_tried_again_unless_asked(place: &Place) {
    let origin = failing(1, Reply::new(503).header("Retry-After", "0"));
    assert_eq!(place.session().get(origin.url("/")).send().unwrap().status().as_u16(), 503);
    assert_eq!(origin.hits("/"), 1);
}

fn statuses_and_broken_connections_are_tried_again(place: &Place) {
    for failure in [Reply::new(503).body("later").header("Retry-After", "0"), Reply::hang_up()] {
        let origin = failing(2, failure.clone());
        let session = place.builder().retries(quick(2)).build().unwrap();
        let answer = session.get(origin.url("/")).send().unwrap();
        assert_eq!((answer.text().unwrap().as_str(), origin.hits("/")), ("at last", 3));
        assert!(session.get(origin.url("/")).send().unwrap().from_cache());

        let origin = failing(2, failure);
        let post = || session.post(origin.url("/")).body("x");
        let once = post().send();
        assert!(once.is_err() || once.unwrap().status().as_u16() == 503, "a POST may have been done already");
        assert_eq!(origin.hits("/"), 1);
        assert_eq!(post().retries(quick(1).any_method(true)).send().unwrap().text().unwrap(), "at last");
        assert_eq!(origin.last("/").text(), "x");
    }
    // A body that can be read only once is not sent twice.
    let origin = failing(1, Reply::new(503));
    let session = place.builder().retries(quick(2)).build().unwrap();
    let put = session.put(origin.url("/")).body(Body::reader(std::io::Cursor::new("x")));
    assert_eq!(put.send().unwrap().status().as_u16(), 503);
}

fn the_last_answer_counts_and_is_not_stored(place: &Place) {
    let origin = failing(usize::MAX, Reply::new(503).body("never"));
    let session = place.session();
    let answer = session.get(origin.url("/")).retries(quick(3)).send().unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().unwrap().as_str(), origin.hits("/")), (503, "never", 4));
    assert!(session.cache().is_empty().unwrap());
    let nobody = session.get("http://127.0.0.1:1/").retries(quick(2)).send().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Network);
}

fn waits_end_with_the_time_out(place: &Place) {
    let origin = failing(usize::MAX, Reply::new(503).header("Retry-After", "3600"));
    let session = place.session();
    let started = Instant::now();
    let patient = Retries::new(5).statuses([503]).wait_max(Duration::from_secs(7200));
    let answer = session.get(origin.url("/")).retries(patient).timeout(Duration::from_secs(30)).send().unwrap();
    assert_eq!((answer.status().as_u16(), origin.hits("/")), (503, 1), "an hour is more than there is");
    assert!(started.elapsed() < Duration::from_secs(30));
}
