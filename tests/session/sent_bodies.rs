//! Bodies of requests: from memory, readers, files and forms.

use std::{
    fs::{self, File},
    io::{Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use larder::{
    Body, ErrorKind,
    multipart::{Form, Part},
};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    every_kind_of_body_arrives,
    a_body_is_part_of_the_key_in_its_normal_form_and_read_once,
    forms_with_files_arrive_and_are_the_same_whatever_their_boundary,
    a_redirect_repeats_what_can_be_repeated,
    a_body_that_breaks_off_is_an_error_of_the_request,
);

/// Counts how much was read of it.
struct Counted(Cursor<Vec<u8>>, Arc<AtomicUsize>);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.fetch_add(n, Ordering::SeqCst);
        Ok(n)
    }
}

fn echo() -> Origin {
    let origin = Origin::start();
    origin.handle("/", |seen| Reply::ok(seen.body.clone()));
    origin
}

fn every_kind_of_body_arrives(place: &Place) {
    let origin = echo();
    let path = place.file().with_extension("txt");
    fs::write(&path, "from a file").unwrap();
    let long = "0123456789".repeat(100_000);
    for allowed in [false, true] {
        let methods: &[&str] = if allowed { &["GET", "POST"] } else { &["GET"] };
        let session = place.builder().allowable_methods(methods).build().unwrap();
        let bodies: [(Body, &str, Option<&str>, bool); 9] = [
            ("text".into(), "text", None, true),
            (vec![b'v'].into(), "v", None, true),
            (().into(), "", None, true),
            (Body::json([1, 2]).unwrap(), "[1,2]", Some("application/json"), true),
            (
                Body::form([("a", "b c"), ("a", ""), ("ü", "&")]),
                "a=b+c&a=&%C3%BC=%26",
                Some("application/x-www-form-urlencoded"),
                true,
            ),
            (Body::reader(Cursor::new(long.clone())), &long, None, allowed),
            (Body::sized_reader(Cursor::new(long.clone()), 1_000_000), &long, None, true),
            (Body::file(&path), "from a file", None, true),
            (File::open(&path).unwrap().into(), "from a file", None, true),
        ];
        for (body, want, content_type, has_length) in bodies {
            let shown = format!("{body:?}");
            let request = http::Request::post(origin.url("/")).body(body).unwrap();
            let answer = session.send(request).unwrap();
            assert!(answer.bytes() == want.as_bytes(), "{shown}");
            let seen = origin.last("/");
            assert_eq!(seen.header("content-type"), content_type, "{shown}");
            let length = want.len().to_string();
            let (framing, value) =
                if has_length { ("content-length", &*length) } else { ("transfer-encoding", "chunked") };
            assert_eq!(seen.header(framing), Some(value), "{shown}");
        }
        session.cache().clear().unwrap();
    }
}

fn a_body_is_part_of_the_key_in_its_normal_form_and_read_once(place: &Place) {
    let origin = echo();
    let session = place.builder().allowable_methods(["POST"]).build().unwrap();
    let post = || session.post(origin.url("/"));
    let from_cache = |request: larder::RequestBuilder| request.send().unwrap().from_cache();
    assert!(!from_cache(post().json(serde_json::json!({"b": {"c": 1, "d": [2, 1]}, "a": 2}))));
    assert!(from_cache(
        post().header("Content-Type", "application/json").body(r#"{ "a": 2, "b": {"d": [2, 1], "c": 1} }"#)
    ));
    assert!(!from_cache(post().json(serde_json::json!({"b": {"c": 1, "d": [1, 2]}, "a": 2}))));
    assert!(!from_cache(post().form([("a", "1"), ("b", "2"), ("a", "")])));
    assert!(from_cache(post().form([("b", "2"), ("a", ""), ("a", "1")])));
    assert!(!from_cache(post().form([("b", "2"), ("a", "1")])));
    // What is not what its type says, or is too large to be looked at, counts as bytes.
    for body in ["{\"a\": 1,}".to_owned(), format!("{{\"a\": \"{}\", \"b\": 1}}", "x".repeat(10 << 20))] {
        let json = |body: String| post().header("Content-Type", "application/json").body(body);
        assert!(!from_cache(json(body.clone())));
        assert!(from_cache(json(body.clone())));
        assert!(!from_cache(json(body + " ")));
    }
    let read = Arc::new(AtomicUsize::new(0));
    let reader = || Body::reader(Counted(Cursor::new(vec![7; 50_000]), Arc::clone(&read)));
    assert!(!from_cache(post().body(reader())));
    assert!(from_cache(post().body(reader())));
    assert!(from_cache(post().body(vec![7; 50_000])), "where it comes from does not count");
    assert_eq!(read.load(Ordering::SeqCst), 100_000);
    let error = place
        .builder()
        .allowable_methods(["POST"])
        .max_body(49_999)
        .build()
        .unwrap()
        .post(origin.url("/"))
        .body(reader())
        .send()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

fn forms_with_files_arrive_and_are_the_same_whatever_their_boundary(place: &Place) {
    let origin = echo();
    let session = place.builder().allowable_methods(["POST"]).build().unwrap();
    let [one, other] = ["one.csv", "other.bin"].map(|name| place.file().with_file_name(name));
    fs::write(&one, "a,b\r\n").unwrap();
    fs::write(&other, [0, 255, b'\n']).unwrap();
    let form = || Form::new().text("title", "T").file("f", &one).file("f", &other).text("title", "U");
    let answer = session.post(origin.url("/")).multipart(form()).send().unwrap();
    let seen = origin.last("/");
    let boundary = seen.header("content-type").unwrap().strip_prefix("multipart/form-data; boundary=").unwrap();
    let head = |name: &str, rest: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{rest}\r\n\r\n")
    };
    let want = [
        head("title", ""),
        "T\r\n".to_owned(),
        head("f", "; filename=\"one.csv\"\r\nContent-Type: text/csv"),
        "a,b\r\n\r\n".to_owned(),
        head("f", "; filename=\"other.bin\"\r\nContent-Type: application/octet-stream"),
    ]
    .concat();
    let mut want = want.into_bytes();
    want.extend_from_slice(&[0, 255, b'\n']);
    want.extend_from_slice(format!("\r\n{}U\r\n--{boundary}--\r\n", head("title", "")).as_bytes());
    assert_eq!(String::from_utf8_lossy(&answer.bytes()[..]), String::from_utf8_lossy(&want));
    assert_eq!(seen.header("content-length"), Some(&*want.len().to_string()));

    assert!(session.post(origin.url("/")).multipart(form()).send().unwrap().from_cache());
    let other_boundary = replace(&want, boundary.as_bytes(), b"x");
    let request = session.post(origin.url("/")).header("Content-Type", "multipart/form-data; boundary=\"x\"");
    assert!(request.body(other_boundary).send().unwrap().from_cache(), "the boundary does not count");
    fs::write(&one, "a,c\r\n").unwrap();
    assert!(!session.post(origin.url("/")).multipart(form()).send().unwrap().from_cache(), "the content does");

    // Streamed, as POST is not one of the methods.
    let part = Part::body(Body::reader(Cursor::new("streamed"))).file_name("s");
    let streaming = place.session();
    let sent = streaming.post(origin.url("/")).multipart(Form::new().part("s", part)).send().unwrap();
    assert!(sent.text().unwrap().contains("filename=\"s\"\r\n\r\nstreamed\r\n--"));
    assert_eq!(origin.last("/").header("transfer-encoding"), Some("chunked"));
    fs::remove_file(&one).unwrap();
    let error = streaming.post(origin.url("/")).multipart(form()).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

fn replace(bytes: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(what) {
            out.extend_from_slice(by);
            at += what.len();
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

fn a_redirect_repeats_what_can_be_repeated(place: &Place) {
    let origin = echo();
    origin
        .route("/307", Reply::redirect(307, "/"))
        .route("/308", Reply::redirect(308, "/"))
        .route("/302", Reply::redirect(302, "/"));
    let path = place.file().with_extension("txt");
    fs::write(&path, "again").unwrap();
    let session = place.session();
    let reader = || Body::reader(Cursor::new("once"));
    for path_of in ["/307", "/308"] {
        let post = || session.post(origin.url(path_of));
        assert_eq!(post().body("again").send().unwrap().text().unwrap(), "again");
        assert_eq!(post().body(Body::file(&path)).send().unwrap().text().unwrap(), "again");
        let form = post().multipart(Form::new().file("f", &path)).send().unwrap();
        assert!(form.text().unwrap().contains("\r\n\r\nagain\r\n--"));
        let error = post().body(reader()).send().unwrap_err();
        assert!(
            error.kind() == ErrorKind::InvalidInput && error.to_string().contains("cannot be sent again"),
            "{error}"
        );
    }
    assert_eq!(session.post(origin.url("/302")).body(reader()).send().unwrap().text().unwrap(), "");
    let shared = session.post(origin.url("/")).body(reader());
    shared.clone().send().unwrap();
    assert_eq!(shared.send().unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn a_body_that_breaks_off_is_an_error_of_the_request(place: &Place) {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("torn"))
        }
    }
    let origin = echo();
    let session = place.session();
    for body in [
        Body::reader(Broken),
        Body::sized_reader(Cursor::new("abc").chain(Broken), 10),
        Body::sized_reader(Cursor::new("abc"), 10),
        Body::file(place.file().with_extension("missing")),
    ] {
        let error = session.post(origin.url("/")).body(body).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    let wrong = session.post(origin.url("/")).json(std::collections::HashMap::from([((1, 2), 3)])).send();
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidInput);
}
