use std::{
    thread,
    time::{Duration, Instant},
};

use larder::{ErrorKind, Response};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    chains_are_replayed_with_their_history,
    the_last_url_is_a_hit_without_history,
    a_hop_in_the_middle_is_a_hit_with_the_rest_of_the_history,
    without_following_the_redirect_itself_is_the_answer,
    a_location_without_its_credential_is_not_handed_out,
    a_post_becomes_a_get_and_a_307_repeats_it,
    too_many_redirects_are_an_error_live_and_from_the_cache,
    a_chain_is_stored_although_its_codes_are_not_allowed,
    a_chain_that_ends_in_an_error_is_not_stored,
    an_expired_chain_is_fetched_again,
    a_redirect_without_location_is_an_error_unless_it_is_the_answer_that_is_wished,
    a_circle_of_redirects_is_an_error_that_says_so,
    deleting_the_end_of_a_chain_takes_its_hops_along,
);

/// `/n` leads to `/n-1` and so on to `/0`.
fn chain(origin: &Origin, absolute: bool) {
    for n in 1..=4 {
        let path = format!("/{}?n={n}", n - 1);
        let location = if absolute { origin.url(&path) } else { path };
        let reply = Reply::redirect([301, 302, 303, 307, 308][n % 5], location).header("X-Hop", n.to_string());
        origin.route(&format!("/{n}"), reply.body("moved"));
    }
    origin.route("/0", Reply::ok("here"));
}

/// What a user sees of an answer, apart from how it came.
fn face(response: &Response) -> (u16, String, String, Vec<(String, String)>) {
    let mut headers: Vec<_> = response.headers().iter().map(|(n, v)| (n.to_string(), format!("{v:?}"))).collect();
    headers.sort();
    (response.status().as_u16(), response.url().to_owned(), response.reason().to_owned(), headers)
}

fn chains_are_replayed_with_their_history(place: &Place) {
    for absolute in [true, false] {
        for hops in 1..=4 {
            let origin = Origin::start();
            chain(&origin, absolute);
            let session = place.session();
            let url = origin.url(&format!("/{hops}"));
            let miss = session.get(&url).send().unwrap();
            assert_eq!(miss.history().len(), hops);
            assert_eq!(origin.total_hits(), hops + 1);
            let hit = session.get(&url).send().unwrap();
            assert!(hit.from_cache() && hit.history().iter().all(Response::from_cache));
            assert_eq!(origin.total_hits(), hops + 1);
            assert_eq!(face(&hit), face(&miss));
            assert_eq!(hit.text().unwrap(), "here");
            let faces = |response: &Response| response.history().iter().map(face).collect::<Vec<_>>();
            assert_eq!(faces(&hit), faces(&miss));
            assert_eq!(hit.history()[0].url(), url);
            assert_eq!(hit.url(), origin.url("/0?n=1"));
        }
    }
}

fn the_last_url_is_a_hit_without_history(place: &Place) {
    let origin = Origin::start();
    chain(&origin, false);
    let session = place.session();
    let end = session.get(origin.url("/3")).send().unwrap();
    let hit = session.get(end.url()).send().unwrap();
    assert!(hit.from_cache() && hit.history().is_empty());
    assert_eq!(hit.cache_key(), end.cache_key());
    assert_eq!(session.cache().len().unwrap(), 1);
}

fn a_hop_in_the_middle_is_a_hit_with_the_rest_of_the_history(place: &Place) {
    let origin = Origin::start();
    chain(&origin, true);
    let session = place.session();
    session.get(origin.url("/2?n=3")).send().unwrap();
    // Only the first hop of this one is new.
    let joined = session.get(origin.url("/3")).send().unwrap();
    assert_eq!(joined.history().iter().map(Response::from_cache).collect::<Vec<_>>(), [false, true, true]);
    assert!(joined.from_cache());
    assert_eq!((origin.hits("/3"), origin.hits("/2"), origin.hits("/0")), (1, 1, 1));
    let hit = session.get(origin.url("/3")).send().unwrap();
    assert_eq!(hit.history().len(), 3);
    assert!(hit.history().iter().all(Response::from_cache));
    assert_eq!(origin.hits("/3"), 1);
}

fn without_following_the_redirect_itself_is_the_answer(place: &Place) {
    let origin = Origin::start();
    chain(&origin, false);
    let session = place.session();
    let live = session.get(origin.url("/2")).redirects(0).send().unwrap();
    assert_eq!((live.status().as_u16(), live.from_cache(), live.text().unwrap().as_str()), (303, false, "moved"));
    session.get(origin.url("/2")).send().unwrap();
    let hit = session.get(origin.url("/2")).redirects(0).send().unwrap();
    assert!(hit.from_cache() && hit.history().is_empty());
    assert_eq!(hit.status().as_u16(), 303);
    assert_eq!(hit.headers()["location"], "/1?n=2");
    let unfollowed = place.builder().redirects(0).build().unwrap();
    assert_eq!(unfollowed.get(origin.url("/4")).send().unwrap().status().as_u16(), 308);
}

fn a_location_without_its_credential_is_not_handed_out(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::redirect(302, "/b?token=s3cret")).route("/b", Reply::ok("here"));
    let session = place.builder().allowable_codes([200, 302]).build().unwrap();
    session.get(origin.url("/a")).send().unwrap();
    for _ in 0..2 {
        let response = session.get(origin.url("/a")).redirects(0).send().unwrap();
        assert!(!response.from_cache());
        assert_eq!(response.headers()["location"], "/b?token=s3cret");
    }
}

fn a_post_becomes_a_get_and_a_307_repeats_it(place: &Place) {
    let origin = Origin::start();
    origin.handle("/end", |seen| Reply::ok(format!("{} {}", seen.method, String::from_utf8_lossy(&seen.body))));
    let session = place.session();
    for (status, want) in [(301, "GET "), (302, "GET "), (303, "GET "), (307, "POST body"), (308, "POST body")] {
        origin.route("/go", Reply::redirect(status, "/end"));
        session.cache().clear().unwrap();
        assert_eq!(session.post(origin.url("/go")).body("body").send().unwrap().text().unwrap(), want, "{status}");
    }
}

fn too_many_redirects_are_an_error_live_and_from_the_cache(place: &Place) {
    let origin = Origin::start();
    chain(&origin, false);
    origin.route("/loop", Reply::redirect(302, "/loop"));
    let session = place.session();
    for _ in 0..2 {
        let error = session.get(origin.url("/4")).redirects(3).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network);
        assert!(error.to_string().contains("3 redirects"), "{error}");
        session.get(origin.url("/4")).redirects(4).send().unwrap();
    }
    let error = session.get(origin.url("/loop")).send().unwrap_err();
    assert!(error.to_string().contains("30 redirects"), "{error}");
    assert_eq!(origin.hits("/loop"), 31);
}

fn a_chain_is_stored_although_its_codes_are_not_allowed(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::redirect(302, "/b")).route("/b", Reply::new(404).body("gone"));
    let session = place.builder().allowable_codes([404]).build().unwrap();
    session.get(origin.url("/a")).send().unwrap();
    let hit = session.get(origin.url("/a")).send().unwrap();
    assert!(hit.from_cache());
    assert_eq!((hit.status().as_u16(), hit.history().len()), (404, 1));
}

fn a_chain_that_ends_in_an_error_is_not_stored(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::redirect(302, "/b")).route("/b", Reply::new(500));
    let session = place.session();
    for _ in 0..2 {
        let response = session.get(origin.url("/a")).send().unwrap();
        assert!(!response.from_cache() && response.cache_key().is_none());
    }
    assert_eq!((origin.hits("/a"), session.cache().len().unwrap()), (2, 0));
}

fn an_expired_chain_is_fetched_again(place: &Place) {
    let origin = Origin::start();
    chain(&origin, false);
    let session = place.builder().expire_after(Duration::from_millis(1)).build().unwrap();
    for round in 1..=2 {
        let response = session.get(origin.url("/2")).send().unwrap();
        assert!(!response.from_cache());
        assert_eq!(origin.hits("/2"), round);
        thread::sleep(Duration::from_millis(5));
    }
}

fn a_redirect_without_location_is_an_error_unless_it_is_the_answer_that_is_wished(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::new(302).body("where to?"));
    let session = place.builder().allowable_codes([302]).build().unwrap();
    for stored in [false, true] {
        let error = session.get(origin.url("/a")).send().unwrap_err();
        assert!(error.kind() == ErrorKind::Network && error.to_string().contains("no Location"), "{error}");
        assert_eq!(error.url(), Some(&*origin.url("/a")));
        let answer = session.get(origin.url("/a")).redirects(0).send().unwrap();
        assert_eq!((answer.from_cache(), answer.text().unwrap().as_str()), (stored, "where to?"));
    }
}

fn a_circle_of_redirects_is_an_error_that_says_so(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::redirect(302, "/b")).route("/b", Reply::redirect(307, "/a"));
    let session = place.builder().redirects(10).build().unwrap();
    let error = session.get(origin.url("/a")).send().unwrap_err();
    assert!(error.kind() == ErrorKind::Network && error.to_string().contains("in a circle"), "{error}");
    assert_eq!(origin.total_hits(), 11);
    assert!(session.cache().is_empty().unwrap());
}

#[test]
fn a_redirect_is_followed_although_its_body_never_comes() {
    let origin = Origin::start();
    let never = Duration::from_secs(20);
    origin.route("/a", Reply::redirect(302, "/b").body("moved").body_after(never)).route("/b", Reply::ok("here"));
    let started = Instant::now();
    let response = Place::new(larder::Backend::Memory).session().get(origin.url("/a")).send().unwrap();
    assert_eq!(response.text().unwrap(), "here");
    assert!(started.elapsed() < never / 2);
}

#[test]
fn a_stored_redirect_is_followed_when_following_is_wished() {
    let origin = Origin::start();
    chain(&origin, false);
    let session = Place::new(larder::Backend::Memory).builder().allowable_codes([200, 301, 302, 303]).build().unwrap();
    session.get(origin.url("/2")).redirects(0).send().unwrap();
    assert!(session.get(origin.url("/2")).redirects(0).send().unwrap().from_cache());
    let followed = session.get(origin.url("/2")).send().unwrap();
    assert_eq!((followed.history().len(), followed.text().unwrap().as_str()), (2, "here"));
    assert_eq!(origin.hits("/2"), 1);
}

fn deleting_the_end_of_a_chain_takes_its_hops_along(place: &Place) {
    let origin = Origin::start();
    chain(&origin, false);
    let session = place.session();
    let end = session.get(origin.url("/3")).send().unwrap();
    session.cache().delete_url(end.url()).unwrap();
    assert!(session.cache().is_empty().unwrap());
    let again = session.get(origin.url("/3")).send().unwrap();
    assert!(again.history().iter().all(|hop| !hop.from_cache()));
    // And from the other end.
    session.cache().delete_url(origin.url("/3")).unwrap();
    assert!(session.cache().is_empty().unwrap());
}
