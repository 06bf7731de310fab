//! What can go wrong while a body is read in pieces, and the ways to go through one.

use std::{
    fs,
    io::{self, Read, Write as _},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use flate2::{Compression, write::GzEncoder};
use larder::{
    Backend, CachedSession, Error, ErrorKind, HopOptions, Result, Transport, WireBody,
    log::{Entry, Head, Version, Write},
    store::{BodyReader, MemoryStore, Store, StoreStats, Visitor},
};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    what_is_left_of_a_body_can_be_had_whole,
    max_body_bounds_what_is_read_whole_of_a_stream,
    a_body_is_gone_through_by_line_by_piece_and_into_a_file,
    a_body_that_breaks_off_is_an_error_on_every_way,
);

type Intruder = Box<dyn FnOnce() + Send>;

/// A memory store in which something happens between the look at a head and the look at its body, and which may be full.
#[derive(Clone, Default)]
struct Troubled {
    inner: Arc<MemoryStore>,
    intruder: Arc<Mutex<Option<Intruder>>>,
    full: Arc<AtomicBool>,
}

impl std::fmt::Debug for Troubled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Troubled")
    }
}

impl Store for Troubled {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.inner.entry(key)
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        self.inner.head(key)
    }

    fn commit(&self, writes: Vec<Write>) -> Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Full, "no room"));
        }
        self.inner.commit(writes)
    }

    fn reader(&self, key: &[u8], version: Version) -> Result<Option<Box<dyn BodyReader>>> {
        if let Some(intruder) = self.intruder.lock().unwrap().take() {
            intruder();
        }
        self.inner.reader(key, version)
    }

    fn visit(&self, each: Visitor<'_>) -> Result<()> {
        self.inner.visit(each)
    }

    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn clear(&self) -> Result<()> {
        self.inner.clear()
    }

    fn compact(&self) -> Result<()> {
        self.inner.compact()
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn stats(&self) -> Result<StoreStats> {
        self.inner.stats()
    }

    fn location(&self) -> Option<&Path> {
        None
    }
}

#[test]
fn head_and_body_of_a_hit_are_of_one_response_whatever_is_stored_in_between() {
    let origin = Origin::start();
    let number = Arc::new(Mutex::new(0));
    origin.handle("/a", move |_| {
        let mut number = number.lock().unwrap();
        *number += 1;
        Reply::ok(format!("body {number}")).header("Number", number.to_string())
    });
    let store = Troubled::default();
    let session = CachedSession::builder("cache").backend(Backend::custom(store.clone())).build().unwrap();
    let url = origin.url("/a");
    session.get(&url).send().unwrap();
    let (other, other_url) = (session.clone(), url.clone());
    *store.intruder.lock().unwrap() = Some(Box::new(move || {
        other.get(&other_url).force_refresh().send().unwrap();
    }));
    let stream = session.get(&url).send_stream().unwrap();
    assert!(stream.from_cache());
    let number = stream.headers()["number"].to_str().unwrap().to_owned();
    assert_eq!(stream.text().unwrap(), format!("body {number}"));
    assert_eq!((number.as_str(), origin.hits("/a")), ("2", 2));
}

#[test]
fn a_hit_is_read_to_its_end_from_what_was_found_whatever_is_stored_meanwhile() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    origin.route("/a", Reply::ok(vec![b'1'; 3 << 20]));
    let session = place.session();
    let url = origin.url("/a");
    session.get(&url).send().unwrap();
    let mut stream = session.get(&url).send_stream().unwrap();
    stream.read_exact(&mut vec![0; 1 << 20]).unwrap();
    origin.route("/a", Reply::ok(vec![b'2'; 3 << 20]));
    session.get(&url).force_refresh().send().unwrap();
    session.cache().compact().unwrap();
    assert!(stream.bytes().unwrap().iter().all(|byte| *byte == b'1'));
}

#[test]
fn a_strict_session_gets_every_byte_and_then_the_error_of_the_store() {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("announced")).route("/b", Reply::ok("chunked").chunked());
    let store = Troubled::default();
    let builder = || CachedSession::builder("cache").backend(Backend::custom(store.clone()));
    store.full.store(true, Ordering::SeqCst);
    for (path, body) in [("/a", "announced"), ("/b", "chunked")] {
        let mut stream = builder().strict(true).build().unwrap().get(origin.url(path)).send_stream().unwrap();
        let mut all = String::new();
        for _ in 0..2 {
            let error = stream.read_to_string(&mut all).unwrap_err();
            assert_eq!(error.downcast::<Error>().unwrap().kind(), ErrorKind::Full, "{path}");
        }
        let mut bytes = vec![0; body.len()];
        let mut stream = builder().strict(true).build().unwrap().get(origin.url(path)).send_stream().unwrap();
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, body.as_bytes());
        assert!(stream.read(&mut [0]).is_err());
        assert_eq!(builder().build().unwrap().get(origin.url(path)).send_stream().unwrap().text().unwrap(), body);
    }
}

/// Brings a body whose reads are interrupted now and then, one byte at a time.
struct Interrupting(Vec<u8>);

struct Halting(io::Cursor<Vec<u8>>, bool);

impl Read for Halting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = buffer.len().min(1);
        self.0.read(&mut buffer[..n])
    }
}

impl Transport for Interrupting {
    fn send(&self, _: &http::Request<bytes::Bytes>, _: &HopOptions) -> Result<http::Response<WireBody>> {
        let body = Halting(io::Cursor::new(self.0.clone()), false);
        let response = http::Response::builder().header("content-encoding", "gzip");
        Ok(response.body(Box::new(body) as WireBody).unwrap())
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_interrupted_read_is_no_end_and_a_failed_one_is_followed_by_no_end() {
    let text = "a text ".repeat(5000);
    let wire = gzip(text.as_bytes());
    let session = |wire: Vec<u8>| {
        CachedSession::builder("cache").backend(Backend::Memory).transport(Interrupting(wire)).build().unwrap()
    };
    let whole = session([wire.clone(), gzip(b"and a second member")].concat());
    let want = text + "and a second member";
    assert_eq!(whole.get("http://example.org/").send_stream().unwrap().text().unwrap(), want);
    assert_eq!(whole.get("http://example.org/b").send().unwrap().text().unwrap(), want);
    for bad in [wire[..wire.len() / 2].to_vec(), [&wire[..wire.len() - 5], b"xxxxx"].concat(), b"no gzip".to_vec()] {
        let session = session(bad);
        let mut stream = session.get("http://example.org/").send_stream().unwrap();
        for _ in 0..3 {
            let error = io::copy(&mut stream, &mut io::sink()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(error.downcast::<Error>().unwrap().kind(), ErrorKind::Decode);
        }
        assert!(session.cache().is_empty().unwrap());
    }
}

#[test]
fn a_stored_body_that_rots_is_an_error_once_and_fetched_again_then() {
    for read_only in [false, true] {
        let place = Place::new(Backend::Log);
        let origin = Origin::start();
        let body: Vec<u8> = (0..3_u32 << 18).flat_map(u32::to_be_bytes).collect();
        origin.route("/a", Reply::ok(body.clone()));
        io::copy(&mut place.session().get(origin.url("/a")).send_stream().unwrap(), &mut io::sink()).unwrap();
        let mut bytes = fs::read(place.file()).unwrap();
        let needle = &body[2 << 20..][..4096];
        let at = bytes.windows(needle.len()).position(|part| part == needle).unwrap();
        bytes[at + 9] ^= 1;
        fs::write(place.file(), bytes).unwrap();
        let session = place.builder().read_only(read_only).build().unwrap();
        let mut stream = session.get(origin.url("/a")).send_stream().unwrap();
        assert!(stream.from_cache());
        let mut start = vec![0; 1 << 20];
        stream.read_exact(&mut start).unwrap();
        assert!(start == body[..1 << 20]);
        for _ in 0..2 {
            assert_eq!(io::copy(&mut stream, &mut io::sink()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        for from_cache in [false, !read_only] {
            let stream = session.get(origin.url("/a")).send_stream().unwrap();
            assert_eq!(stream.from_cache(), from_cache);
            assert!(stream.bytes().unwrap() == body);
        }
    }
}

fn what_is_left_of_a_body_can_be_had_whole(place: &Place) {
    let origin = Origin::start();
    origin
        .route("/a", Reply::ok("grün".as_bytes()))
        .route("/j", Reply::ok(r#"{"n": 7}"#))
        .route("/404", Reply::new(404).body("none"));
    let session = place.session();
    for from_cache in [false, true] {
        let stream = |path| session.get(origin.url(path)).send_stream().unwrap();
        assert_eq!(stream("/j").json::<serde_json::Value>().unwrap()["n"], 7);
        let mut rest = stream("/a");
        assert_eq!((rest.from_cache(), rest.cookies().count()), (from_cache, 0));
        rest.read_exact(&mut [0; 2]).unwrap();
        assert_eq!(rest.text().unwrap(), "ün");
        assert_eq!(stream("/a").bytes().unwrap(), "grün".as_bytes());
        assert_eq!(stream("/a").into_http().unwrap().body(), "grün".as_bytes());
        let whole = stream("/a").into_response().unwrap();
        assert!(whole.text().unwrap() == "grün" && whole.cache_key().is_some());
        assert_eq!(stream("/404").error_for_status().unwrap_err().kind(), ErrorKind::Status);
        assert_eq!(stream("/a").error_for_status().unwrap().text().unwrap(), "grün");
    }
}

fn max_body_bounds_what_is_read_whole_of_a_stream(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok(vec![7; 1000]));
    let session = place.builder().max_body(1000).build().unwrap();
    assert_eq!(session.get(origin.url("/a")).send_stream().unwrap().bytes().unwrap().len(), 1000);
    origin.route("/b", Reply::ok(vec![7; 1001]));
    for _ in 0..2 {
        let error = session.get(origin.url("/b")).send_stream().unwrap().into_response().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.url().is_some_and(|url| url.ends_with("/b")));
    }
}

fn a_body_is_gone_through_by_line_by_piece_and_into_a_file(place: &Place) {
    let origin = Origin::start();
    let long = "long ".repeat(20_000);
    let text = format!("one\r\n\ntwo\n{long}\nlast");
    origin
        .route("/a", Reply::ok(text.clone()).chunked())
        .route("/latin", Reply::ok(&b"caf\xe9\ncr\xe8me\n"[..]).header("Content-Type", "text/plain; charset=latin1"))
        .route("/utf-16", Reply::ok(&b"\xff\xfea\0\n\0b\0"[..]))
        .route("/odd", Reply::ok("x").header("Content-Type", "text/plain; charset=odd"))
        .route("/empty", Reply::ok(""));
    let session = place.session();
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let stream = |path| session.get(origin.url(path)).send_stream().unwrap();
        let lines = |path| stream(path).lines().collect::<Result<Vec<_>>>();
        assert_eq!(lines("/a").unwrap(), ["one", "", "two", long.as_str(), "last"]);
        assert_eq!(lines("/latin").unwrap(), ["café", "crème"]);
        assert_eq!(lines("/utf-16").unwrap(), ["a", "b"]);
        assert_eq!(lines("/odd").unwrap_err().kind(), ErrorKind::Decode);
        assert!(lines("/empty").unwrap().is_empty());
        for len in [1, 7, text.len(), text.len() + 1] {
            let chunks: Vec<_> = stream("/a").chunks(len).collect::<Result<_>>().unwrap();
            assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.len() == len));
            assert_eq!(chunks.concat(), text.as_bytes(), "{len}");
        }
        assert_eq!(stream("/empty").chunks(0).count(), 0);
        let path = folder.path().join("copy");
        fs::write(&path, "what was there").unwrap();
        assert_eq!(stream("/a").copy_to(&path).unwrap(), text.len() as u64);
        assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
        let mut memory = Vec::new();
        stream("/latin").copy_to(&mut memory).unwrap();
        assert_eq!(memory, b"caf\xe9\ncr\xe8me\n");
        assert_eq!(stream("/a").copy_to(folder.path().join("no/folder")).unwrap_err().kind(), ErrorKind::Io);
    }
    let bounded = place.builder().max_body(1000).build().unwrap();
    let lines: Vec<_> = bounded.get(origin.url("/a")).send_stream().unwrap().lines().collect();
    assert_eq!(lines.last().unwrap().as_ref().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(lines.len(), 4);
}

fn a_body_that_breaks_off_is_an_error_on_every_way(place: &Place) {
    let origin = Origin::start();
    origin.route("/short", Reply::ok("one\ntwo").short_by(1));
    let session = place.session();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy");
    fs::write(&path, "what was there").unwrap();
    let stream = || session.get(origin.url("/short")).send_stream().unwrap();
    assert_eq!(stream().bytes().unwrap_err().kind(), ErrorKind::Network);
    assert_eq!(stream().copy_to(&path).unwrap_err().kind(), ErrorKind::Network);
    assert_eq!(fs::read(&path).unwrap(), b"what was there");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let lines: Vec<_> = stream().lines().collect();
    assert_eq!((lines.len(), lines[0].as_ref().unwrap().as_str()), (2, "one"));
    assert!(lines[1].is_err());
    let chunks: Vec<_> = stream().chunks(2).collect();
    assert!(chunks.last().unwrap().is_err() && chunks[..chunks.len() - 1].iter().all(Result::is_ok));
    assert!(session.cache().is_empty().unwrap());
}
