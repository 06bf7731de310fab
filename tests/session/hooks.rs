//! What sees every answer last.

use std::sync::{Arc, Mutex};

use larder::{Backend, CachedSession, Error, ErrorKind, Response};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    hooks_of_session_and_request_run_in_order_on_misses_and_hits,
    a_hook_may_replace_or_refuse_an_answer_and_what_is_stored_stays,
    streams_pass_the_hooks_too_and_a_replaced_one_brings_its_own_body,
);

fn hooks_of_session_and_request_run_in_order_on_misses_and_hits(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a")).route("/moved", Reply::redirect(302, "/a"));
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let log = Arc::clone(&log);
        move |response: Response| {
            log.lock().unwrap().push((name, response.from_cache(), response.history().len()));
            Ok(response)
        }
    };
    let session = place.builder().on_response(note("first")).on_response(note("second")).build().unwrap();
    for from_cache in [false, true] {
        let request = session.get(origin.url("/moved")).on_response(note("third")).on_response(note("fourth"));
        assert_eq!(request.clone().send().unwrap().text().unwrap(), "a");
        let want = ["first", "second", "third", "fourth"].map(|name| (name, from_cache, 1));
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), want);
        assert_eq!(request.send_stream().unwrap().text().unwrap(), "a");
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), want.map(|(name, _, len)| (name, true, len)));
        session.get(origin.url("/a")).send().unwrap();
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()).len(), 2, "those of a request are for it alone");
    }
}

fn other() -> Response {
    let session = CachedSession::builder("other")
        .backend(Backend::Memory)
        .transport(|_: &http::Request<bytes::Bytes>| Ok(http::Response::new(b"another".to_vec())))
        .build()
        .unwrap();
    session.get("http://example.org/other").send().unwrap()
}

fn a_hook_may_replace_or_refuse_an_answer_and_what_is_stored_stays(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a"));
    let session = place.session();
    for _ in 0..2 {
        let replaced = session.get(origin.url("/a")).on_response(|_| Ok(other())).send().unwrap();
        assert_eq!(replaced.text().unwrap(), "another");
        let refused = session.get(origin.url("/a")).on_response(|_| Err(Error::new(ErrorKind::Status, "no"))).send();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Status);
    }
    assert_eq!(session.get(origin.url("/a")).send().unwrap().text().unwrap(), "a");
    assert_eq!(origin.hits("/a"), 1);
}

fn streams_pass_the_hooks_too_and_a_replaced_one_brings_its_own_body(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a")).route("/b", Reply::ok("b"));
    let session = place.builder().on_response(|response| {
        assert!(response.bytes().is_empty() || !response.url().ends_with("/a"));
        if response.url().ends_with("/b") { Ok(other()) } else { Ok(response) }
    });
    let session = session.build().unwrap();
    for from_cache in [false, true] {
        let stream = session.get(origin.url("/a")).send_stream().unwrap();
        assert_eq!(stream.from_cache(), from_cache);
        assert_eq!(stream.text().unwrap(), "a");
        assert_eq!(session.get(origin.url("/b")).send_stream().unwrap().text().unwrap(), "another");
    }
    assert_eq!(session.cache().len().unwrap(), 1, "what was not read is not stored");
    let refused = session.get(origin.url("/a")).on_response(|_| Err(Error::new(ErrorKind::Status, "no")));
    assert_eq!(refused.send_stream().unwrap_err().kind(), ErrorKind::Status);
}
