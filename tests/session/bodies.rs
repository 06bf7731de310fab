use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use flate2::{Compression, write};
use larder::ErrorKind;

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    gzip_and_deflate_are_undone_once_and_the_headers_stay,
    what_is_stored_as_it_came_and_decoded_for_a_hit_has_the_headers_of_a_hit,
    chunked_and_close_delimited_bodies_are_stored,
    a_truncated_body_is_an_error_and_is_not_stored,
    a_decompression_bomb_is_an_error_and_is_not_stored,
    a_body_over_max_body_is_an_error_and_is_not_stored,
    bodies_from_nothing_to_40_mib_come_back,
    wire_bytes_are_handed_out_and_stored_when_asked_for,
    any_charset_and_binary_survives,
    what_is_not_what_its_coding_says_is_an_error,
    a_stored_body_that_cannot_be_decoded_is_fetched_again,
    a_coding_that_is_not_built_in_is_handed_out_as_it_is,
);

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8], zlib: bool) -> Vec<u8> {
    if zlib {
        let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        return encoder.finish().unwrap();
    }
    let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress, the same on every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..len).map(step).collect()
}

fn gzip_and_deflate_are_undone_once_and_the_headers_stay(place: &Place) {
    let origin = Origin::start();
    let twice = gzip(b"a gzip file");
    origin
        .route("/gzip", Reply::ok(gzip(b"text")).header("Content-Encoding", "gzip"))
        .route("/zlib", Reply::ok(deflate(b"text", true)).header("Content-Encoding", "deflate"))
        .route("/raw", Reply::ok(deflate(b"text", false)).header("Content-Encoding", "deflate"))
        .route("/both", Reply::ok(deflate(&gzip(b"text"), true)).header("Content-Encoding", "gzip, deflate"))
        .route("/file.gz", Reply::ok(gzip(&twice)).header("Content-Encoding", "gzip"));
    let session = place.session();
    for round in 0..2 {
        for path in ["/gzip", "/zlib", "/raw", "/both"] {
            let response = session.get(origin.url(path)).send().unwrap();
            assert_eq!(response.from_cache(), round == 1);
            assert_eq!(response.text().unwrap(), "text", "{path}");
            assert!(response.headers().contains_key("content-encoding"));
        }
        assert_eq!(session.get(origin.url("/file.gz")).send().unwrap().bytes(), &twice);
    }
    let brotli = if cfg!(feature = "brotli") { ", br" } else { "" };
    let zstd = if cfg!(feature = "zstd") { ", zstd" } else { "" };
    assert_eq!(origin.last("/gzip").header("accept-encoding"), Some(&*format!("gzip, deflate{brotli}{zstd}")));
}

fn what_is_stored_as_it_came_and_decoded_for_a_hit_has_the_headers_of_a_hit(place: &Place) {
    let origin = Origin::start();
    let reply = Reply::ok(gzip(b"text")).header("Content-Encoding", "gzip").header("Set-Cookie", "user=alice");
    origin.route("/a", reply.header("Cache-Control", "max-age=60, no-cache=\"Set-Cookie\""));
    let session = place.builder().cache_control(true).build().unwrap();
    session.get(origin.url("/a")).decode(false).send().unwrap();
    for decode in [false, true] {
        let hit = session.get(origin.url("/a")).decode(decode).send().unwrap();
        assert!(hit.from_cache() && hit.headers().contains_key("age"), "{decode}");
        assert!(!hit.headers().contains_key("set-cookie"), "{decode}");
    }
}

fn chunked_and_close_delimited_bodies_are_stored(place: &Place) {
    let origin = Origin::start();
    origin
        .route("/chunked", Reply::ok(noise(5000)).chunked())
        .route("/close", Reply::ok(noise(5000)).close_delimited())
        .route("/empty", Reply::new(204));
    let session = place.builder().allowable_codes([200, 204]).build().unwrap();
    for round in 0..2 {
        for (path, len) in [("/chunked", 5000), ("/close", 5000), ("/empty", 0)] {
            let response = session.get(origin.url(path)).send().unwrap();
            assert_eq!((response.from_cache(), response.bytes().len()), (round == 1, len), "{path}");
            assert_eq!(response.bytes(), &noise(len));
        }
    }
}

fn a_truncated_body_is_an_error_and_is_not_stored(place: &Place) {
    let origin = Origin::start();
    origin
        .route("/short", Reply::ok(noise(5000)).short_by(1))
        .route("/nothing", Reply::ok("").short_by(10))
        .route("/chunked", Reply::ok(noise(5000)).without_last_chunk())
        .route("/gzip", Reply::ok(&gzip(&noise(5000))[..4000]).header("Content-Encoding", "gzip"));
    let session = place.session();
    for (path, kind) in [
        ("/short", ErrorKind::Network),
        ("/nothing", ErrorKind::Network),
        ("/chunked", ErrorKind::Network),
        ("/gzip", ErrorKind::Decode),
    ] {
        let error = session.get(origin.url(path)).send().unwrap_err();
        assert_eq!(error.kind(), kind, "{path}: {error}");
        assert_eq!(error.url(), Some(origin.url(path).as_str()));
    }
    assert_eq!(session.cache().len().unwrap(), 0);
    // The connection that broke does not spoil the next request.
    origin.route("/short", Reply::ok("whole"));
    assert_eq!(session.get(origin.url("/short")).send().unwrap().text().unwrap(), "whole");
}

fn a_decompression_bomb_is_an_error_and_is_not_stored(place: &Place) {
    let origin = Origin::start();
    origin.route("/bomb", Reply::ok(gzip(&vec![0; 70 << 20])).header("Content-Encoding", "gzip"));
    let session = place.session();
    let error = session.get(origin.url("/bomb")).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(session.cache().len().unwrap(), 0);
    assert_eq!(
        session.get(origin.url("/bomb")).decode(false).send().unwrap().bytes().len(),
        gzip(&vec![0; 70 << 20]).len()
    );
}

fn a_body_over_max_body_is_an_error_and_is_not_stored(place: &Place) {
    let origin = Origin::start();
    for (path, len) in [("/exact", 1000), ("/over", 1001)] {
        origin.route(path, Reply::ok(noise(len)));
        origin.route(&format!("{path}.chunked"), Reply::ok(noise(len)).chunked());
        origin.route(&format!("{path}.gz"), Reply::ok(gzip(&vec![0; len])).header("Content-Encoding", "gzip"));
    }
    let session = place.builder().max_body(1000).build().unwrap();
    for end in ["", ".chunked", ".gz"] {
        assert_eq!(session.get(origin.url(&format!("/exact{end}"))).send().unwrap().bytes().len(), 1000);
        let error = session.get(origin.url(&format!("/over{end}"))).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains("max_body"), "{error}");
    }
    assert_eq!(session.cache().len().unwrap(), 3);
}

fn bodies_from_nothing_to_40_mib_come_back(place: &Place) {
    let origin = Origin::start();
    let session = place.session();
    for len in [0, 1, 4095, 4096, 4097, 11 << 20, 40 << 20] {
        let path = format!("/{len}");
        let body = noise(len);
        origin.route(&path, Reply::ok(body.clone()));
        for round in 0..2 {
            let response = session.get(origin.url(&path)).send().unwrap();
            assert_eq!(response.from_cache(), round == 1);
            assert!(response.bytes() == &body, "{len}");
        }
    }
}

fn wire_bytes_are_handed_out_and_stored_when_asked_for(place: &Place) {
    let origin = Origin::start();
    let wire = gzip(b"text");
    origin.route("/a", Reply::ok(wire.clone()).header("Content-Encoding", "gzip"));
    let session = place.session();
    let ask = |decode: bool| session.get(origin.url("/a")).decode(decode).send().unwrap();
    assert_eq!(ask(false).bytes(), &wire);
    let (raw, decoded) = (ask(false), ask(true));
    assert!(raw.from_cache() && decoded.from_cache());
    assert_eq!((raw.bytes().to_vec(), decoded.text().unwrap().as_str()), (wire.clone(), "text"));
    // Decoded bytes cannot be coded again: asked for the wire bytes, the cache has to fetch them.
    session.cache().clear().unwrap();
    ask(true);
    let raw = ask(false);
    assert_eq!((raw.from_cache(), raw.bytes()), (false, &wire.clone().into()));
    assert!(ask(false).from_cache() && ask(true).from_cache());
    // What has no coding is the same either way.
    origin.route("/plain", Reply::ok("plain"));
    session.get(origin.url("/plain")).send().unwrap();
    assert!(session.get(origin.url("/plain")).decode(false).send().unwrap().from_cache());
}

fn any_charset_and_binary_survives(place: &Place) {
    let origin = Origin::start();
    let all: Vec<u8> = (0..=255).collect();
    origin
        .route("/latin", Reply::ok(b"caf\xe9".to_vec()).header("Content-Type", "text/plain; charset=ISO-8859-1"))
        .route("/sjis", Reply::ok(b"\x93\xfa\x96\x7b".to_vec()).header("Content-Type", "text/html; charset=shift_jis"))
        .route("/utf16", Reply::ok(b"\xff\xfea\0b\0".to_vec()))
        .route("/utf8", Reply::ok("grün"))
        .route("/binary", Reply::ok(all.clone()).header("Content-Type", "image/png"));
    let session = place.session();
    for _ in 0..2 {
        for (path, text) in [("/latin", "café"), ("/sjis", "日本"), ("/utf16", "ab"), ("/utf8", "grün")] {
            assert_eq!(session.get(origin.url(path)).send().unwrap().text().unwrap(), text);
        }
        assert_eq!(session.get(origin.url("/binary")).send().unwrap().bytes(), &all);
    }
    assert_eq!(origin.total_hits(), 5);
}

fn what_is_not_what_its_coding_says_is_an_error(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("plain text").header("Content-Encoding", "gzip"));
    let session = place.session();
    let error = session.get(origin.url("/a")).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(session.get(origin.url("/a")).decode(false).send().unwrap().text().unwrap(), "plain text");
    // The stored wire bytes are no more gzip than the fetched ones.
    assert_eq!(session.get(origin.url("/a")).send().unwrap_err().kind(), ErrorKind::Decode);
}

fn a_stored_body_that_cannot_be_decoded_is_fetched_again(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("plain text").header("Content-Encoding", "gzip"));
    let reported = Arc::new(AtomicUsize::new(0));
    let hook = {
        let reported = Arc::clone(&reported);
        move |error: &larder::Error| {
            assert_eq!(error.kind(), ErrorKind::Decode);
            reported.fetch_add(1, Ordering::Relaxed);
        }
    };
    let session = place.builder().on_store_error(hook).build().unwrap();
    session.get(origin.url("/a")).decode(false).send().unwrap();
    origin.route("/a", Reply::ok(gzip(b"text")).header("Content-Encoding", "gzip"));
    for from_cache in [false, true] {
        let response = session.get(origin.url("/a")).send().unwrap();
        assert_eq!((response.from_cache(), response.text().unwrap().as_str()), (from_cache, "text"));
    }
    assert_eq!((reported.load(Ordering::Relaxed), session.cache().stats().unwrap().errors), (1, 1));
}

fn a_coding_that_is_not_built_in_is_handed_out_as_it_is(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("as it is").header("Content-Encoding", "dcb"));
    let session = place.session();
    for round in 0..2 {
        for decode in [true, false] {
            let response = session.get(origin.url("/a")).decode(decode).send().unwrap();
            assert_eq!(response.text().unwrap(), "as it is");
            assert_eq!(response.from_cache(), (round, decode) != (0, true));
        }
    }
}
