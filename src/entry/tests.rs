//! The bytes of heads and lists, and what hostile ones lead to.

use super::{
    Index, Item, Key, StoredRequest, StoredResponse, UrlEntry,
    codec::{decode_response, encode_response},
    fuzz::head_decode,
    response::{from_ms, to_ms},
};
use crate::{ErrorKind, log::fuzz::looped::run};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn headers(list: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn response() -> StoredResponse {
    let request = StoredRequest {
        method: "GET".to_owned(),
        url: "http://a.test/?k=1".to_owned(),
        headers: headers(&[("accept", b"*/*")]),
        body_digest: None,
        partition: Some([7; 16]),
        variant: None,
        name: None,
        body: None,
    };
    let fields = headers(&[("set-cookie", b"a=1"), ("set-cookie", b"b=2"), ("x-raw", &[0xff, b'\t', 0x80])]);
    let created = UNIX_EPOCH + Duration::from_nanos(1_234_567_891_234_567);
    StoredResponse::new(request, StatusCode::OK, fields, "body", created)
        .with_reason("OK")
        .with_expires(created.checked_add(Duration::from_secs(60)))
        .with_elapsed(Duration::from_nanos(1_500_700))
        .with_coding("gzip")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn entry() -> UrlEntry {
    UrlEntry {
        key: Key::from_digest([1; 32]),
        method: "GET".to_owned(),
        base: [2; 32],
        partition: None,
        variant: None,
        mark: 3,
    }
}

/// These bytes never change: another layout gets another version byte.
#[test]
fn the_bytes_of_a_head_are_frozen() {
    let golden = [
        "01",                                     // version
        "c8",                                     // status
        "024f4b",                                 // reason
        "03",                                     // headers, three
        "0a7365742d636f6f6b696503613d31",         // set-cookie: a=1
        "0a7365742d636f6f6b696503623d32",         // set-cookie: b=2
        "05782d72617703ff0980",                   // x-raw, not text
        "12687474703a2f2f612e746573742f3f6b3d31", // URL
        "03474554",                               // method
        "12687474703a2f2f612e746573742f3f6b3d31", // URL of the request
        "0106616363657074032a2f2a",               // headers of the request, one
        "00",                                     // no body digest
        "0107070707070707070707070707070707",     // partition
        "00",                                     // no variant
        "00",                                     // no name
        "fca6052c93",                             // created, ms, zigzag
        "01fc66da2d93",                           // expires, ms, zigzag
        "fbdc05",                                 // elapsed, us
        "04677a6970",                             // content coding
    ]
    .concat();
    let head = encode_response(&response()).unwrap();
    assert_eq!(hex(&head), golden);
}

/// These bytes never change either.
#[test]
fn the_bytes_of_lists_are_frozen() {
    let mut urls = Index::new("http://a.test/");
    urls.items.push(entry());
    let golden = ["01", "0e687474703a2f2f612e746573742f", "00", "00", "01"].concat()
        + &"01".repeat(32)
        + "03474554"
        + &"02".repeat(32)
        + "000003";
    assert_eq!(hex(&urls.encode().unwrap()), golden);
    let mut aliases = Index::new("");
    aliases.items.push(Key::from_digest([9; 32]));
    aliases.spread = true;
    assert_eq!(hex(&aliases.encode().unwrap()), "0100000101".to_owned() + &"09".repeat(32));
}

#[test]
fn a_response_comes_back_as_it_was() {
    let response = response();
    let head = encode_response(&response).unwrap();
    let back = decode_response(&head, response.body.clone()).unwrap();
    assert_eq!(back, response);
    let cookies: Vec<_> = back.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[test]
fn a_list_comes_back_as_it_was() {
    let mut urls = Index::new("http://a.test/");
    urls.mark = 5;
    urls.items.push(entry());
    assert_eq!(Index::<UrlEntry>::decode(&urls.encode().unwrap()), Some(urls.clone()));
    assert_eq!(urls.find(entry().key()), Some(&entry()));
    assert!(!urls.is_void() && Index::<Key>::new("u").is_void());
}

#[test]
fn another_version_trailing_bytes_and_every_cut_are_undecodable() {
    let head = encode_response(&response()).unwrap();
    for len in 0..head.len() {
        assert_eq!(decode_response(&head[..len], Bytes::new()), None, "{len}");
    }
    let mut longer = head.to_vec();
    longer.push(0);
    assert_eq!(decode_response(&longer, Bytes::new()), None);
    let mut newer = head.to_vec();
    newer[0] = 2;
    assert_eq!(decode_response(&newer, Bytes::new()), None);
}

#[test]
fn head_decode_survives_mutations() {
    // Large lengths are the interesting ones: 0xfb and more announce 2 bytes and longer.
    run("head_decode", head_decode, |data| {
        if let Some(at) = data.iter().rposition(|byte| *byte < 0x20) {
            data[at] = 0xfb + data[at] % 5;
        }
    });
}

/// `LARDER_WRITE_VECTORS=1 cargo test seeds` writes them anew.
#[test]
fn the_seeds_of_head_decode_are_what_is_stored() {
    let (mut urls, mut aliases) = (Index::new("http://a.test/"), Index::new(""));
    urls.mark = 5;
    urls.items.push(entry());
    aliases.items.extend([Key::from_digest([9; 32]), Key::from_digest([8; 32])]);
    let bare = StoredResponse::new(response().request, StatusCode::NO_CONTENT, HeaderMap::new(), "", UNIX_EPOCH);
    let heads = [encode_response(&response()), encode_response(&bare), urls.encode(), aliases.encode()];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/head_decode");
    for (name, head) in ["response", "bare", "urls", "aliases"].into_iter().zip(heads) {
        let (path, head) = (folder.join(format!("{name}.bin")), head.unwrap());
        if std::env::var_os("LARDER_WRITE_VECTORS").is_some() {
            std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, &head)).unwrap();
        }
        assert!(std::fs::read(&path).is_ok_and(|seed| seed == head), "{} is out of date", path.display());
    }
}

#[test]
fn a_head_over_one_mebibyte_is_too_large() {
    let mut response = response();
    for n in 0..17 {
        let value = HeaderValue::from_str(&"v".repeat(1 << 16)).unwrap();
        response.headers.append(HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap(), value);
    }
    assert_eq!(encode_response(&response).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn a_response_expires_at_the_very_moment() {
    let expires = UNIX_EPOCH + Duration::from_secs(10);
    let response = response().with_expires(Some(expires));
    assert!(!response.is_expired(expires - Duration::from_millis(1)));
    assert!(response.is_expired(expires));
    assert!(!response.with_expires(None).is_expired(SystemTime::now()));
}

#[test]
fn times_of_any_age_survive_in_milliseconds() {
    for ms in [i64::MIN, -1, 0, 1, 1_700_000_000_123, i64::MAX] {
        let time = from_ms(ms);
        assert!(to_ms(time) == ms || time == UNIX_EPOCH, "{ms}");
    }
    assert_eq!(to_ms(UNIX_EPOCH - Duration::from_nanos(1)), -1);
}

#[test]
fn debug_shows_neither_headers_nor_body() {
    let text = format!("{:?}", response());
    assert!(!text.contains("set-cookie") && !text.contains("a=1") && !text.contains("body\""), "{text}");
}
