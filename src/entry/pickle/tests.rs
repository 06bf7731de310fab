use super::*;

/// Written by requests-cache 1.3.3: a GET that was redirected once.
const REDIRECTED: &[u8] = include_bytes!("../../../fuzz/seeds/pickle_decode/redirected.bin");

/// The same of a POST with a form.
const POSTED: &[u8] = include_bytes!("../../../fuzz/seeds/pickle_decode/posted.bin");

#[test]
fn a_response_that_python_pickled_is_read() {
    assert!(is_pickle(REDIRECTED));
    let read = decode_pickle(REDIRECTED).unwrap();
    assert_eq!(&read.response.body[..], br#"{"ok": true}"#);
    assert_eq!(read.response.status.as_u16(), 200);
    assert_eq!(read.response.headers["set-cookie"], "a=1; Path=/, b=2");
    assert_eq!(read.response.request.url, "http://origin.example/small?a=1&b=2");
    assert!(read.response.expires.is_some());
    assert_eq!(read.hops.len(), 1);
    assert_eq!(read.hops[0].headers["location"], "/small?b=2&a=1");
    assert_eq!(read.hops[0].request.url, "http://origin.example/r1");
    let posted = decode_pickle(POSTED).unwrap().response;
    assert_eq!(posted.request.body.as_deref(), Some(&b"a=2&b=1"[..]));
    assert_eq!(posted.request.method, "POST");
}

#[test]
fn every_cut_is_refused() {
    for len in 0..REDIRECTED.len() {
        assert!(decode_pickle(&REDIRECTED[..len]).is_err(), "{len}");
    }
}

#[test]
fn what_would_run_code_is_refused_by_name() {
    for (pickle, name) in [
        (&b"\x80\x04cos\nsystem\n."[..], "GLOBAL"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "STACK_GLOBAL"),
        (b"\x80\x04N)R.", "REDUCE"),
        (b"\x80\x04N)\x81.", "NEWOBJ"),
        (b"\x80\x04N}b.", "BUILD"),
        (b"\x80\x04(ios\nsystem\n.", "INST"),
        (b"\x80\x04(No.", "OBJ"),
        (b"\x80\x04\x82\x01.", "EXT1"),
        (b"\x80\x04NQ.", "BINPERSID"),
    ] {
        let refused = decode_pickle(pickle).unwrap_err();
        assert!(refused.why.contains(&format!("({name})")), "{name}: {}", refused.why);
    }
}

#[test]
fn what_is_no_response_is_refused() {
    for pickle in [
        &b""[..],
        b".",
        b"\x80\x04N.",
        b"\x80\x06N.",
        b"\x80\x04}.",
        b"\x80\x04]N\x94h\x05.",
        b"\x80\x04](a.",
        b"\x80\x04}(Nu.",
        b"\x80\x04Na.",
        b"\x80\x04\x8a\x09123456789.",
        b"\x80\x04\x8c\x01\xff.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04I1\n.",
    ] {
        assert!(decode_pickle(pickle).is_err(), "{pickle:?}");
    }
}

#[test]
fn what_contains_itself_or_grows_without_end_is_refused() {
    let decoded = |value: &[u8]| {
        let head = b"\x80\x04}(\x8c\x0bstatus_codeK\xc8\x8c\x10_decoded_content";
        decode_pickle(&[head, value, b"u."].concat())
    };
    assert!(decoded(b"](K\x01\x88Ne").is_ok());
    // A list that is its own item; then lists that hold each the one before twice.
    assert!(decoded(b"]q\x01h\x01a").is_err());
    let mut bomb = b"]q\x000".to_vec();
    for level in 0..40 {
        bomb.extend_from_slice(&[b']', b'(', b'h', level, b'h', level, b'e', b'q', level + 1, b'0']);
    }
    bomb.extend_from_slice(&[b'h', 40]);
    assert!(decoded(&bomb).is_err());
    let deep = [b"]".repeat(100_000), b"a".repeat(99_999)].concat();
    assert!(decoded(&deep).is_err());
}

#[test]
fn one_long_text_that_is_named_often_is_refused() {
    let text = "x".repeat(60_000);
    let mut pickle = [&b"\x80\x04}(\x8c\x0bstatus_codeK\xc8\x8c\x07headers}(X"[..], &60_000_u32.to_le_bytes()].concat();
    pickle.extend_from_slice(text.as_bytes());
    pickle.extend_from_slice(b"q\x00");
    pickle.extend(b"h\x00".repeat(10_001));
    pickle.extend_from_slice(b"uu.");
    assert!(decode_pickle(&pickle).is_err());
}

#[test]
fn pickle_decode_survives_mutations() {
    crate::log::fuzz::looped::run("pickle_decode", fuzz, |_| {});
}
