//! Requests in two spellings that are one to both, and the answers to them.

use crate::support::{Origin, Reply};
use std::io::Write;

/// A request that one sends in its first and the other in its second spelling.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) first: &'static str,
    pub(crate) second: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) body: &'static str,
    /// Of the second request, if it is spelled differently.
    pub(crate) second_body: Option<&'static str>,
}

pub(crate) const CASE: Case =
    Case { name: "", method: "GET", first: "", second: "", headers: &[], body: "", second_body: None };

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

const fn get(name: &'static str, first: &'static str, second: &'static str) -> Case {
    Case { name, first, second, ..CASE }
}

const fn post(
    name: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Case {
    Case { name, method: "POST", first: path, second: path, headers, body, second_body: None }
}

const CASES: &[Case] = &[
    get("plain", "/plain", "/plain"),
    get("the order of parameters", "/q?b=2&a=1&o", "/q?o&a=1&b=2"),
    get("parameters that come twice", "/q?a=2&a=1&t", "/q?a=1&t&a=2"),
    get("blank values", "/q?blank=&x=1", "/q?x=1&blank="),
    get("names without a value", "/q?key&only", "/q?only&key"),
    get("nothing but a name", "/q?alone", "/q?alone"),
    get("escapes that need not be", "/q?e=%7E%41", "/q?e=~A"),
    get("spaces", "/q?s=a+b", "/q?s=a%20b"),
    get("an escaped plus", "/q?s=a%2Bb", "/q?s=a%2bb"),
    get("reserved characters in a value", "/q?u=http://y.org/?z", "/q?u=http%3A%2F%2Fy.org%2F%3Fz"),
    get("an escaped ampersand", "/q?s=%26%3D%23", "/q?s=%26%3d%23"),
    get("letters outside of ASCII", "/q?n=\u{fc}ber&m=\u{65e5}\u{672c}", "/q?m=%E6%97%A5%E6%9C%AC&n=%C3%BCber"),
    get("bytes that are no text", "/q?n=%E9", "/q?n=%e9"),
    get("a path outside of ASCII", "/\u{fc}/\u{65e5}", "/%C3%BC/%E6%97%A5"),
    get("a space in the path", "/a%20b", "/a b"),
    get("dots in the path", "/x/./y/../z", "/x/z"),
    get("an empty segment", "/x//w", "/x/w"),
    get("a semicolon", "/q?a=1;b=2", "/q?a=1;b=2"),
    get("brackets", "/q?f[a]=1&f[b]=2", "/q?f%5Bb%5D=2&f%5Ba%5D=1"),
    get("an empty query", "/empty-query?", "/empty-query"),
    get("a fragment", "/q?f=1#part", "/q?f=1#part"),
    get("a redacted parameter", "/q?access_token=one&r=1", "/q?access_token=two&r=1"),
    get("another redacted parameter", "/q?apikey=one&r=2", "/q?r=2&apikey=two"),
    Case { headers: &[("authorization", "Bearer secret")], ..get("an authorization", "/q?auth", "/q?auth") },
    get("one redirect", "/to/plain", "/to/plain"),
    get("two redirects", "/twice", "/twice"),
    get("the end of redirects", "/end", "/end"),
    get("a redirect for good", "/moved", "/moved"),
    get("repeated headers", "/headers", "/headers"),
    get("a gzip body", "/gzip", "/gzip"),
    get("an empty body", "/nothing", "/nothing"),
    get("a body of all bytes", "/bytes", "/bytes"),
    get("a large body", "/large", "/large"),
    get("a text in its charset", "/latin", "/latin"),
    get("a page that is not there", "/missing", "/missing"),
    Case { method: "HEAD", ..get("HEAD", "/head", "/head") },
    Case {
        second_body: Some("{\"a\": [1, 2], \"b\": \"\\u00fc\"}"),
        ..post("JSON", "/post", JSON, "{\"b\":\"\u{fc}\",\"a\":[1,2]}")
    },
    post("JSON that is a list", "/post", JSON, "[3, 1, 2]"),
    post(
        "JSON with large and small numbers",
        "/post",
        JSON,
        "{\"n\":123456789012345678901234567890,\"x\":1e-7,\"y\":1.0}",
    ),
    post("what is called JSON and is none", "/post", JSON, "{bad"),
    Case { second_body: Some("a=1&b=%C3%BC"), ..post("a form", "/post", FORM, "b=%c3%bc&a=1") },
    Case { second_body: Some("apikey=two&c=1"), ..post("a form with a secret", "/post", FORM, "c=1&apikey=one") },
    post("a text", "/post", &[("content-type", "text/plain")], "b=1&a=2"),
    post("an empty POST", "/post?empty", &[], ""),
];

pub(crate) fn all() -> &'static [Case] {
    CASES
}

impl Case {
    pub(crate) fn first(&self, origin: &Origin) -> String {
        origin.url(self.first)
    }

    pub(crate) fn second(&self, origin: &Origin) -> String {
        // Upper case in a host does not count either.
        origin.url(self.second).replacen("http", "HTTP", 1)
    }

    /// The same with what is different the second time.
    pub(crate) fn again(&self) -> Self {
        Self { body: self.second_body.unwrap_or(self.body), ..*self }
    }
}

/// An origin that answers all of them.
pub(crate) fn origin() -> Origin {
    let origin = Origin::start();
    let json = Reply::ok("{\"ok\": true}").header("Content-Type", "application/json");
    for path in ["/plain", "/q", "/post", "/head", "/empty-query", "/end", "/x/z", "/x/w", "/x//w"] {
        origin.route(path, json.clone().header("ETag", "\"1\""));
    }
    origin.route("/to/plain", Reply::redirect(302, "/end?1"));
    origin.route("/twice", Reply::redirect(302, "/twice/2"));
    origin.route("/twice/2", Reply::redirect(301, origin.url("/end?2")));
    origin.route("/moved", Reply::redirect(308, "../end?3"));
    let headers = json.header("Set-Cookie", "a=1; Path=/").header("Set-Cookie", "b=2").header("X-Two", "1");
    origin.route("/headers", headers.header("X-Two", "2"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all("hello ".repeat(1000).as_bytes()).unwrap();
    let gzip = Reply::ok(gzip.finish().unwrap()).header("Content-Encoding", "gzip");
    origin.route("/gzip", gzip.header("Content-Type", "text/plain; charset=utf-8"));
    origin.route("/nothing", Reply::ok(""));
    origin
        .route("/bytes", Reply::ok((0..=255).collect::<Vec<u8>>()).header("Content-Type", "application/octet-stream"));
    origin.route("/large", Reply::ok(vec![b'x'; 1 << 20]).chunked());
    origin.route("/latin", Reply::ok(&b"caf\xe9"[..]).header("Content-Type", "text/html; charset=ISO-8859-1"));
    origin
}
