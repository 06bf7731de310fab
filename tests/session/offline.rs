use std::{fs, thread, time::Duration};

use larder::{Backend, CachedSession, Error, ErrorKind, Mode};

use crate::{
    Place,
    support::{Origin, Reply},
};

/// A session that fails the test if it touches the network.
fn offline(place: &Place) -> CachedSession {
    let no_network = |request: &http::Request<bytes::Bytes>| -> larder::Result<http::Response<Vec<u8>>> {
        panic!("the network was asked for {}", request.uri())
    };
    place.builder().mode(Mode::Offline).transport(no_network).build().unwrap()
}

#[test]
fn what_is_recorded_is_replayed_expired_or_not_and_whoever_recorded_it() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    origin
        .route("/old", Reply::ok("old"))
        .route("/mine", Reply::ok("mine"))
        .route("/moved", Reply::redirect(302, "/old"));
    let urls = ["/old", "/mine?api_key=s3cret", "/moved"].map(|path| origin.url(path));
    {
        let session = place.session();
        session.get(&urls[0]).expire_after(Duration::from_millis(1)).send().unwrap();
        session.get(&urls[1]).bearer_auth("t0ken").send().unwrap();
        session.get(&urls[2]).send().unwrap();
    }
    thread::sleep(Duration::from_millis(5));
    drop(origin);
    let before = fs::read(place.file()).unwrap();
    let session = offline(&place);
    for (url, text) in [(&urls[0], "old"), (&urls[1], "mine"), (&urls[2], "old")] {
        let response = session.get(url).send().unwrap();
        assert!(response.from_cache());
        assert_eq!(response.text().unwrap(), text);
    }
    assert_eq!(session.get(&urls[1]).bearer_auth("another").send().unwrap().text().unwrap(), "mine");
    assert_eq!(session.get(&urls[2]).send().unwrap().history().len(), 1);
    drop(session);
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

#[test]
fn a_miss_names_method_url_file_and_what_is_recorded_nearby() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    for path in ["/v1/users", "/v1/user", "/v1/groups", "/elsewhere"] {
        origin.route(path, Reply::ok("x"));
    }
    let session = place.session();
    for path in ["/v1/users?page=1", "/v1/user", "/v1/groups", "/elsewhere"] {
        session.get(origin.url(path)).send().unwrap();
    }
    drop(session);
    let session = offline(&place);
    let error = session.get(origin.url("/v1/users?page=2&token=s3cret")).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OfflineMiss);
    let text = error.to_string();
    assert!(text.contains("GET") && text.contains(&origin.url("/v1/users?page=1")), "{text}");
    assert!(!text.contains("s3cret") && !text.contains("elsewhere"), "{text}");
    assert_eq!(error.url(), Some(origin.url("/v1/users?page=2&token=REDACTED").as_str()));
    assert_eq!(error.path(), Some(place.file().as_path()));
    let error = session.post(origin.url("/v1/user")).send().unwrap_err();
    assert!(error.to_string().contains("POST"), "{error}");
    assert!(error.to_string().contains("recorded of this URL: GET; run once with Mode::Cache and POST"), "{error}");
    let error = session.get(origin.url("/v1/user?a=1")).send().unwrap_err();
    assert!(error.to_string().contains("run once with Mode::Cache to record it"), "{error}");
    let _guard = session.cache_disabled();
    assert_eq!(session.get(origin.url("/v1/user")).send().unwrap_err().kind(), ErrorKind::OfflineMiss);
}

#[test]
fn a_recording_that_does_not_exist_is_an_error_and_is_not_made() {
    let place = Place::new(Backend::Log);
    let error: Error = place.builder().mode(Mode::Offline).build().unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(place.file().as_path())));
    assert!(error.to_string().starts_with("nothing is recorded there yet; run once with Mode::Cache"), "{error}");
    assert!(!place.file().exists());
}

#[test]
fn recordings_keep_what_an_unsafe_method_answered() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    origin.handle("/form", |seen| Reply::ok(seen.body.clone()));
    let url = origin.url("/form");
    let session = place.builder().allowable_methods(["POST"]).build().unwrap();
    session.post(&url).form([("name", "a"), ("password", "s3cret")]).send().unwrap();
    drop((session, origin));
    let session = offline(&place);
    let replayed = session.post(&url).form([("password", "other"), ("name", "a")]).send().unwrap();
    assert!(replayed.text().unwrap().contains("s3cret"), "bodies of answers stay as received");
    assert_eq!(session.post(&url).form([("name", "b")]).send().unwrap_err().kind(), ErrorKind::OfflineMiss);
}
