//! Answers whose bodies are read in pieces.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::TcpListener,
    process::Command,
    thread,
};

use flate2::{Compression, write};
use larder::{Backend, CachedSession, Mode};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    a_miss_is_stored_when_it_has_been_read_and_a_hit_is_read_the_same_way,
    a_body_that_is_dropped_or_breaks_off_is_not_stored,
    codings_are_undone_on_the_way,
    a_body_over_max_body_is_handed_out_and_not_stored,
    redirects_and_empty_bodies_stream_too,
    what_streamed_in_is_replayed_offline_and_what_was_sent_whole_streams_out,
);

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from((n * n / 7 + n) % 251).unwrap()).collect()
}

fn read(mut stream: larder::ResponseStream) -> Vec<u8> {
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    body
}

fn a_miss_is_stored_when_it_has_been_read_and_a_hit_is_read_the_same_way(place: &Place) {
    let origin = Origin::start();
    let session = place.session();
    for (n, len) in [0, 1, 100_000, (1 << 20) + 1, 9 << 20].into_iter().enumerate() {
        let (plain, chunked) = (format!("/plain{n}"), format!("/chunked{n}"));
        origin.route(&plain, Reply::ok(noise(len))).route(&chunked, Reply::ok(noise(len)).chunked());
        for path in [&plain, &chunked] {
            let mut miss = session.get(origin.url(path)).send_stream().unwrap();
            assert!(!miss.from_cache() && miss.status() == 200 && miss.cache_key().is_none());
            let mut body = Vec::new();
            miss.read_to_end(&mut body).unwrap();
            assert!(body == noise(len) && miss.cache_key().is_some());
            let hit = session.get(origin.url(path)).send_stream().unwrap();
            assert!(hit.from_cache());
            assert!(read(hit) == noise(len));
            let whole = session.get(origin.url(path)).send().unwrap();
            assert!(whole.from_cache() && whole.bytes()[..] == noise(len));
            let whole = session.get(origin.url(path)).send_stream().unwrap().into_response().unwrap();
            assert!(whole.bytes()[..] == noise(len));
            assert_eq!(origin.hits(path), 1);
        }
    }
    assert_eq!(session.cache().len().unwrap(), 10);
}

fn a_body_that_is_dropped_or_breaks_off_is_not_stored(place: &Place) {
    let origin = Origin::start();
    origin
        .route("/dropped", Reply::ok(noise(3 << 20)))
        .route("/short", Reply::ok(noise(50_000)).short_by(1))
        .route("/chunked", Reply::ok(noise(50_000)).without_last_chunk());
    let session = place.session();
    let mut half = session.get(origin.url("/dropped")).send_stream().unwrap();
    half.read_exact(&mut vec![0; 2 << 20]).unwrap();
    drop(half);
    for path in ["/short", "/chunked"] {
        let mut stream = session.get(origin.url(path)).send_stream().unwrap();
        assert!(io::copy(&mut stream, &mut io::sink()).is_err(), "{path}");
    }
    assert!(session.cache().is_empty().unwrap());
    // The last byte of an announced length is the end, whether or not anybody asks for more.
    let mut all = session.get(origin.url("/dropped")).send_stream().unwrap();
    all.read_exact(&mut vec![0; 3 << 20]).unwrap();
    drop(all);
    assert!(session.cache().contains(origin.url("/dropped")).unwrap());
}

fn codings_are_undone_on_the_way(place: &Place) {
    let gzip = |bytes: &[u8]| {
        let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zlib = |bytes: &[u8]| {
        let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let bare = |bytes: &[u8]| {
        let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let text = noise(300_000);
    let members = [gzip(&text[..1000]), gzip(&text[1000..]), vec![0; 9]].concat();
    let origin = Origin::start();
    origin
        .route("/gzip", Reply::ok(gzip(&text)).header("Content-Encoding", "gzip"))
        .route("/members", Reply::ok(members).header("Content-Encoding", "gzip"))
        .route("/zlib", Reply::ok(zlib(&text)).header("Content-Encoding", "deflate"))
        .route("/bare", Reply::ok(bare(&text)).header("Content-Encoding", "deflate"))
        .route("/both", Reply::ok(zlib(&gzip(&text))).header("Content-Encoding", "gzip, deflate"))
        .route("/bad", Reply::ok("no gzip").header("Content-Encoding", "gzip"))
        .route("/bomb", Reply::ok(gzip(&vec![0; 70 << 20])).header("Content-Encoding", "gzip"));
    let session = place.session();
    for path in ["/gzip", "/members", "/zlib", "/bare", "/both"] {
        for from_cache in [false, true] {
            let stream = session.get(origin.url(path)).send_stream().unwrap();
            assert_eq!(stream.from_cache(), from_cache, "{path}");
            assert!(read(stream) == text, "{path}");
        }
        let wire = read(session.get(origin.url(path)).decode(false).send_stream().unwrap());
        assert!(wire.len() < text.len() && session.get(origin.url(path)).send().unwrap().bytes()[..] == text);
    }
    let count = session.cache().len().unwrap();
    for path in ["/bad", "/bomb"] {
        let mut stream = session.get(origin.url(path)).send_stream().unwrap();
        assert!(io::copy(&mut stream, &mut io::sink()).is_err(), "{path}");
    }
    assert_eq!(session.cache().len().unwrap(), count);
}

fn a_body_over_max_body_is_handed_out_and_not_stored(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok(noise(100_001))).route("/b", Reply::ok(noise(100_001)).chunked());
    let session = place.builder().max_body(100_000).build().unwrap();
    for path in ["/a", "/b"] {
        assert!(read(session.get(origin.url(path)).send_stream().unwrap()) == noise(100_001));
        assert!(session.get(origin.url(path)).send().is_err());
    }
    assert!(session.cache().is_empty().unwrap());
}

fn redirects_and_empty_bodies_stream_too(place: &Place) {
    let origin = Origin::start();
    origin
        .route("/from", Reply::redirect(302, "/to"))
        .route("/to", Reply::ok(noise(5000)))
        .route("/empty", Reply::new(204));
    let session = place.builder().allowable_codes([200, 204]).build().unwrap();
    for from_cache in [false, true] {
        let stream = session.get(origin.url("/from")).send_stream().unwrap();
        assert_eq!((stream.from_cache(), stream.history().len()), (from_cache, 1));
        assert!(stream.url().ends_with("/to") && read(stream) == noise(5000));
        let stream = session.get(origin.url("/empty")).send_stream().unwrap();
        assert_eq!((stream.from_cache(), read(stream).len()), (from_cache, 0));
        assert_eq!(read(session.head(origin.url("/to")).send_stream().unwrap()).len(), 0);
    }
}

fn what_streamed_in_is_replayed_offline_and_what_was_sent_whole_streams_out(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok(noise(2 << 20))).route("/b", Reply::ok(noise(5000)));
    let session = place.session();
    read(session.get(origin.url("/a")).send_stream().unwrap());
    session.get(origin.url("/b")).send().unwrap();
    if place.file().exists() {
        let offline = place.builder().mode(Mode::Offline).build().unwrap();
        assert!(read(offline.get(origin.url("/a")).send_stream().unwrap()) == noise(2 << 20));
        assert!(offline.get(origin.url("/c")).send_stream().is_err());
    }
    assert!(read(session.get(origin.url("/b")).send_stream().unwrap()) == noise(5000));
}

/// The bytes of the large body: a block that repeats.
fn block() -> Vec<u8> {
    noise(1 << 20)
}

#[test]
#[ignore = "writes and reads a body of 2 GiB"]
fn a_body_of_2_gib_goes_through_a_miss_and_a_hit_in_less_than_64_mib_of_memory() {
    let mib: u64 = env::var("LARDER_STREAM_MIB").map_or(2048, |mib| mib.parse().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/large", listener.local_addr().unwrap());
    let origin = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", mib << 20).unwrap();
        (0..mib).for_each(|_| stream.write_all(&block()).unwrap());
    });
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--include-ignored", "--nocapture", "streams::the_process_whose_memory_is_watched"])
        .env("LARDER_STREAM_URL", &url)
        .env("LARDER_STREAM_FOLDER", folder.path())
        .env("LARDER_STREAM_MIB", mib.to_string())
        .status();
    assert!(child.unwrap().success());
    origin.join().unwrap();
}

#[test]
#[ignore = "a part of the test above, which starts it as a process of its own"]
fn the_process_whose_memory_is_watched() {
    let Ok(url) = env::var("LARDER_STREAM_URL") else { return };
    let mib: u64 = env::var("LARDER_STREAM_MIB").unwrap().parse().unwrap();
    let session = CachedSession::builder("large")
        .backend(Backend::Log)
        .location(env::var("LARDER_STREAM_FOLDER").unwrap())
        .max_body(4 << 30)
        .build()
        .unwrap();
    let block = block();
    for from_cache in [false, true] {
        let mut stream = session.get(&url).send_stream().unwrap();
        assert_eq!(stream.from_cache(), from_cache);
        let mut piece = vec![0; block.len()];
        for n in 0..mib {
            stream.read_exact(&mut piece).unwrap();
            assert!(piece == block, "MiB {n}");
        }
        assert_eq!(stream.read(&mut piece).unwrap(), 0);
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        eprintln!("from the cache: {from_cache}, peak of memory {} MiB", peak_kib >> 10);
        assert!(peak_kib < 64 << 10, "{peak_kib} KiB");
    }
}
