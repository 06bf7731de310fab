//! What a session tells about itself.

use std::time::Duration;

use larder::Mode;

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(hits_misses_bytes_and_time_are_counted_and_kept_across_runs, the_status_says_why);

fn hits_misses_bytes_and_time_are_counted_and_kept_across_runs(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("12345").after(Duration::from_millis(30)));
    let url = origin.url("/a");
    for run in 1..=3 {
        let session = place.session();
        session.get(&url).send().unwrap();
        session.get(&url).send().unwrap();
        session.get(&url).send_stream().unwrap().bytes().unwrap();
        session.get(origin.url("/none")).send().unwrap();
        let stats = session.cache().stats().unwrap();
        let kept = !place.is_in_memory();
        let hits = if run == 1 || !kept { 2 } else { 3 };
        assert_eq!((stats.hits, stats.misses, stats.bytes_saved), (hits, 4 - hits, 5 * hits));
        assert!(stats.time_saved > Duration::ZERO);
        let runs = if kept { run } else { 1 };
        assert_eq!((stats.all_runs.hits, stats.all_runs.misses), (3 * runs - 1, runs + 1));
        assert_eq!(stats.all_runs.bytes, 5 * (3 * runs - 1));
        // Storing them in between does not count them twice.
        session.cache().flush().unwrap();
        session.cache().flush().unwrap();
        let again = session.cache().stats().unwrap();
        assert_eq!((again.all_runs, again.hits), (stats.all_runs, stats.hits));
    }
    if !place.is_in_memory() {
        let before = std::fs::read(place.file()).ok();
        let offline = place.builder().mode(Mode::Offline).build().unwrap();
        offline.get(&url).send().unwrap();
        assert_eq!(offline.cache().stats().unwrap().all_runs.hits, 9);
        drop(offline);
        assert_eq!(std::fs::read(place.file()).ok(), before, "what is only read stays as it is");
        let session = place.session();
        session.cache().clear().unwrap();
        assert_eq!(session.cache().stats().unwrap().all_runs.hits, 0);
    }
}

fn the_status_says_why(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("a"));
    let session = place.session();
    let request = || session.get(origin.url("/a"));
    let status = |request: larder::RequestBuilder| request.send().unwrap().cache_status().to_string();
    assert_eq!(status(request()), "fwd=uri-miss");
    assert_eq!(status(request()), "hit");
    assert_eq!(status(request().force_refresh()), "fwd=request");
    assert_eq!(status(request().no_store()), "fwd=bypass");
    assert_eq!(status(session.post(origin.url("/a"))), "fwd=method");
    let mut stream = session.get(origin.url("/a?2")).send_stream().unwrap();
    assert_eq!(stream.cache_status_field(), "larder; fwd=uri-miss; fwd-status=200");
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    assert!(stream.cache_status_field().starts_with("larder; fwd=uri-miss; fwd-status=200; stored; key="));
    session.cache().reset_expiration(larder::Expire::Immediately).unwrap();
    assert_eq!(status(request()), "fwd=stale");
}

#[cfg(feature = "tracing")]
mod events {
    use std::{
        fmt::{Debug, Write},
        sync::{Arc, Mutex},
    };

    use larder::Backend;
    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::*;

    /// Keeps every event of larder as a line.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("larder")
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn each_request_is_told_with_its_verdict_and_without_its_credentials() {
        let place = Place::new(Backend::Memory);
        let origin = Origin::start();
        origin.route("/a", Reply::ok("a"));
        let lines = Lines::default();
        // With one listener alone, a thread that has none would settle for all that an event of which it is the first to
        // tell interests nobody.
        let _second = tracing::Dispatch::new(lines.clone());
        tracing::subscriber::with_default(lines.clone(), || {
            let session = place.session();
            let request = || {
                let url = origin.url("/a?access_token=sesame-1&q=2").replace("http://", "http://me:sesame-2@");
                session.get(url).header("X-Api-Key", "sesame-3").header("Cookie", "id=sesame-4")
            };
            request().send().unwrap();
            request().send_stream().unwrap().text().unwrap();
            let refused = session.get("http://me:sesame-5@127.0.0.1:1/?api_key=sesame-6").send();
            refused.unwrap_err();
            // Through an agent as well.
            let agent: ureq::Agent =
                ureq::Agent::config_builder().middleware(larder::middleware(session.clone())).build().into();
            let url = origin.url("/a?access_token=sesame-7&q=3").replace("http://", "http://me:sesame-8@");
            agent.get(url).call().unwrap();
        });
        let lines = lines.0.lock().unwrap().clone();
        let about = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
        assert_eq!((about("verdict=\"miss\""), about("verdict=\"hit\""), about("failed")), (2, 1, 1), "{lines:#?}");
        for part in
            ["method=\"GET\"", "q=2", "REDACTED", "reason=fwd=uri-miss", "key=\"72", "elapsed_us=", "status=200"]
        {
            assert!(about(part) > 0, "{part}: {lines:#?}");
        }
        assert_eq!(about("sesame"), 0, "{lines:#?}");
    }
}
