use super::*;
use http::{HeaderName, HeaderValue};

fn hex(key: [u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(key))
}

fn normal(url: &str) -> String {
    url::normal(url, &KeyRules::default()).unwrap()
}

fn body(content_type: &'static str, body: &str) -> String {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    String::from_utf8(KeyRules::default().body(&headers, body.as_bytes()).into_owned()).unwrap()
}

/// Computed by requests-cache 1.3.3.
#[test]
fn the_key_of_a_row_that_python_wrote() {
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer SECRET"))]);
    let url = "http://127.0.0.1:18765/small?b=2&a=1&access_token=SECRET";
    let key = KeyRules::default().key(&Keyed { method: "get", url, headers: &headers, body: b"", verify: true });
    assert_eq!(hex(key.unwrap()), "2c9aee55ad5927ee");
}

#[test]
fn urls_are_spelled_as_python_spells_them() {
    for (url, want) in [
        ("HTTP://X.org:80/?", "http://x.org/"),
        ("http://x.org/?b=1&a=2&a=1", "http://x.org/?a=1&a=2&b=1"),
        ("http://x.org/?x=%7E+%20", "http://x.org/?x=~++"),
        ("http://x.org/?a=1;b=2", "http://x.org/?a=1;b%3D2"),
        ("http://x.org/?k&b=1&e=", "http://x.org/?b=1&k"),
        ("http://x.org/a//b/../c/.", "http://x.org/a/c/"),
        ("http://x.org/?a=%E9", "http://x.org/?a=%EF%BF%BD"),
        ("http://x.org/%e9%2f%7e", "http://x.org/%E9%2F~"),
        ("http://x.org/?a=%zz%41", "http://x.org/?a=%25zz%2541"),
        ("http://x.org/u%CC%88", "http://x.org/%C3%BC"),
        ("http://x.org./a;#f g", "http://x.org/a#f%20g"),
        ("http://x.org/#!a/b", "http://x.org/?_escaped_fragment_=a/b"),
        ("http://x.org/?api_key=s&API_KEY=t", "http://x.org/?API_KEY=t&api_key=REDACTED"),
        ("http://b\u{fc}cher.example/", "http://xn--bcher-kva.example/"),
    ] {
        assert_eq!(normal(url), want, "{url}");
    }
    assert_eq!(url::normal("no URL", &KeyRules::default()), None);
}

#[test]
fn bodies_are_normalised_by_their_type() {
    for (content_type, text, want) in [
        ("application/json", r#"{"b":1,"a":{"d":1,"c":[ ]}}"#, r#"{"a": {"d": 1, "c": []}, "b": 1}"#),
        ("application/json", r#"{"api_key":"s","API_KEY":"t"}"#, r#"{"API_KEY": "t", "api_key": "REDACTED"}"#),
        ("application/json", r#"["b","a","apikey"]"#, r#"["a", "b"]"#),
        ("application/json", r#"[1,"a"]"#, r#"[1,"a"]"#),
        ("application/json", r#""ba""#, r#"["a", "b"]"#),
        ("application/json", "\"\u{e9}\\ud800\u{1f600}\"", r#"["\u00e9", "\ud800", "\ud83d\ude00"]"#),
        ("application/json", "[1e16,0.00001,1.50,123456789012345678901]", "[1e-05, 1.5, 1e+16, 123456789012345678901]"),
        ("application/json", "{bad", "{bad"),
        ("application/json", "{}", "{}"),
        ("text/json", r#"{"b":1,"a":2}"#, r#"{"b":1,"a":2}"#),
        ("application/x-www-form-urlencoded", "b=1&a=%41&k&e=", "a=A&b=1&k"),
        ("text/plain", "b=1&a=2", "b=1&a=2"),
    ] {
        assert_eq!(body(content_type, text), want, "{content_type} {text}");
    }
}

#[test]
fn json_of_any_depth_returns() {
    let deep = "[".repeat(100_000);
    assert_eq!(body("application/json", &deep), deep);
}

#[test]
fn matched_headers_verification_and_serializer_make_other_keys() {
    let headers = HeaderMap::from_iter([
        (HeaderName::from_static("accept"), HeaderValue::from_static("text/html, TEXT/plain")),
        (HeaderName::from_static("x-api-key"), HeaderValue::from_static("secret")),
    ]);
    let rules = KeyRules { match_headers: vec!["X-API-Key".into(), "Accept".into()], ..KeyRules::default() };
    assert_eq!(rules.matched(&headers), [&b"accept=text/html, text/plain"[..], b"x-api-key=REDACTED"]);
    let asked = Keyed { method: "GET", url: "http://x.org/", headers: &headers, body: b"", verify: true };
    let pickled = KeyRules { serializer: JSON.replace("json", "pickle"), ..KeyRules::default() };
    let keys = [
        KeyRules::default().key(&asked),
        KeyRules::default().key(&Keyed { verify: false, ..asked }),
        rules.key(&asked),
        pickled.key(&asked),
    ];
    for (n, key) in keys.iter().enumerate() {
        assert!(key.is_some() && !keys[..n].contains(key), "{n}");
    }
}

/// Requests of all shapes with the keys that Python computes for them: see `tests/interop/keys.py`.
#[test]
#[ignore = "needs requests-cache; run by ./test"]
fn keys_are_those_of_python() {
    let python =
        std::env::var("LARDER_REQUESTS_CACHE").expect("LARDER_REQUESTS_CACHE names a python that has requests-cache");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/keys.py");
    let output = std::process::Command::new(python).arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut wrong = Vec::new();
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let texts =
            |name: &str| case[name].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in case["headers"].as_object().unwrap() {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_str(value.as_str().unwrap()).unwrap());
        }
        let rules = KeyRules { match_headers: texts("match"), ..KeyRules::default() };
        let body = crate::entry::base64::decode(case["body"].as_str().unwrap()).unwrap();
        let (method, url) = (case["method"].as_str().unwrap(), case["url"].as_str().unwrap());
        let asked = Keyed { method, url, headers: &headers, body: &body, verify: case["verify"].as_bool().unwrap() };
        if rules.key(&asked).map(hex).as_deref() != case["key"].as_str() {
            wrong.push(format!(
                "{line}\n  {:?} {}",
                url::normal(url, &rules),
                String::from_utf8_lossy(&rules.body(&headers, &body))
            ));
        }
    }
    assert_eq!(text.lines().count(), 500);
    assert!(wrong.is_empty(), "{} of 500 differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Computed by requests-cache 1.3.3.
#[test]
fn variants_have_the_keys_that_python_looks_for() {
    let names = ["accept-language", "cookie", "x-kind"].map(HeaderName::from_static);
    let of = |list: &[(&'static str, &'static str)]| -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    };
    let key = |headers: &HeaderMap, matched: &[&str]| {
        let match_headers = matched.iter().map(|&name| name.to_owned()).collect();
        let rules = KeyRules { match_headers, ..KeyRules::default() };
        let keyed = Keyed { method: "GET", url: "http://x.org/v", headers, body: b"", verify: true };
        hex(rules.variant_key(&names, &keyed).unwrap())
    };
    let both = of(&[("x-kind", "a"), ("accept-language", "fr, EN"), ("accept", "*/*"), ("cookie", "a=1")]);
    assert_eq!(key(&both, &[]), "491f15718768f859");
    assert_eq!(key(&both, &["X-Kind", "Accept"]), "4ef449b470b7cf66");
    assert_eq!(key(&of(&[("accept-language", "de")]), &[]), "f6a409b4e62c5434");
    assert_eq!(key(&of(&[]), &[]), "6f9600a4c3f0681a", "that of the request without any of them");

    let rules = KeyRules::default();
    let other = of(&[("x-kind", "a"), ("accept-language", "EN,fr"), ("cookie", "a=1")]);
    assert!(rules.is_same_variant(&names, &both, &other));
    assert!(!rules.is_same_variant(&names, &both, &of(&[("x-kind", "a"), ("accept-language", "en")])));
    // An ignored header tells nothing, so that whoever sends it has to ask.
    let token = of(&[("authorization", "REDACTED")]);
    assert!(!rules.is_same_variant(&[header::AUTHORIZATION], &token, &token));
    assert!(rules.is_same_variant(&[header::AUTHORIZATION], &of(&[]), &of(&[])));
}
