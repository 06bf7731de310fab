//! By proxies that nobody here wrote.

use std::env;

use larder::{CachedSession, ErrorKind};

use crate::{
    builder,
    support::{Origin, Reply},
    tls,
    tunnel::Tunnel,
};

/// The address of a proxy, such as `http://127.0.0.1:8888`.
fn address(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| panic!("{variable} must hold the address of a proxy; ./test sets it"))
}

fn origin() -> Origin {
    let origin = Origin::start();
    origin
        .handle("/", |seen| Reply::ok(format!("{} {}", seen.header("via").unwrap_or("straight"), seen.text())))
        .route("/moved", Reply::redirect(307, "/"));
    origin
}

fn session(proxy: &str) -> CachedSession {
    builder().proxies(proxy).build().unwrap()
}

#[test]
#[ignore = "needs tinyproxy; run by ./test"]
fn tinyproxy_forwards_http_and_tunnels_https() {
    let (config, ca, _folder) = tls();
    let (plain, safe) = (origin(), Origin::start_tls(&config));
    safe.route("/", Reply::ok("safe"));
    let proxy = address("LARDER_HTTP_PROXY");
    let (session, fresh) = (session(&proxy), session(&proxy));
    for from_cache in [false, true] {
        let answer = session.get(plain.url("/moved")).send().unwrap();
        assert!(answer.text().unwrap().contains("tinyproxy"), "{:?}", plain.all());
        assert_eq!(answer.from_cache(), from_cache);
        let answer = session.get(safe.url("/")).verify(ca.clone()).send().unwrap();
        assert_eq!((answer.text().unwrap().as_str(), answer.from_cache()), ("safe", from_cache));
    }
    let long = "0123456789".repeat(50_000);
    // The proxy closes each connection, and a POST on one that it is just closing may not be sent again.
    let sent = fresh.post(plain.url("/")).body(long.clone()).send().unwrap();
    assert!(sent.text().unwrap().ends_with(&long));
    let nobody = session.get("http://127.0.0.1:1/").send().unwrap();
    assert!(nobody.status().is_server_error(), "the proxy says that nobody is there");
}

#[test]
#[ignore = "needs tinyproxy; run by ./test"]
fn tinyproxy_wants_a_password() {
    let (config, ca, _folder) = tls();
    let (plain, safe) = (origin(), Origin::start_tls(&config));
    safe.route("/", Reply::ok("safe"));
    let proxy = address("LARDER_AUTH_PROXY");
    let right = session(&proxy);
    assert!(right.get(plain.url("/")).send().unwrap().text().unwrap().contains("tinyproxy"));
    assert_eq!(right.get(safe.url("/")).verify(ca.clone()).send().unwrap().text().unwrap(), "safe");
    let without = session(&format!("http://{}", proxy.rsplit_once('@').unwrap().1));
    let refused = without.get(plain.url("/")).send().unwrap();
    assert_eq!(refused.status().as_u16(), 407);
    assert_eq!(without.get(safe.url("/")).verify(ca).send().unwrap_err().kind(), ErrorKind::Network);
    assert_eq!((plain.total_hits(), safe.total_hits()), (1, 1));
}

#[test]
#[ignore = "needs dante; run by ./test"]
fn dante_connects_by_address_and_by_name() {
    let (config, ca, _folder) = tls();
    let (plain, safe) = (origin(), Origin::start_tls(&config));
    safe.route("/", Reply::ok("safe"));
    let proxy = address("LARDER_SOCKS_PROXY");
    for scheme in ["socks5", "socks5h", "socks"] {
        let session = session(&format!("{scheme}://{proxy}"));
        for _ in 0..2 {
            let answer = session.get(plain.url("/moved")).no_store().send().unwrap();
            assert_eq!(answer.text().unwrap(), "straight ", "{scheme}");
        }
        assert_eq!(session.get(safe.url("/")).verify(ca.clone()).send().unwrap().text().unwrap(), "safe");
        let refused = session.get("http://127.0.0.1:1/").send().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Network);
    }
    assert_eq!(plain.connections(), 3, "they are kept");
    let nobody = session("socks5h://127.0.0.1:1").get(plain.url("/")).send().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Network);
}

#[test]
fn a_socks_proxy_gets_names_or_addresses_and_a_password() {
    let origin = origin();
    let url = origin.url("/").replace("127.0.0.1", "localhost");
    let tunnel = Tunnel::socks("us er", "p@ss");
    let by = |scheme: &str, userinfo: &str| {
        let proxy = tunnel.url(userinfo).replace("http://", scheme);
        session(&proxy).get(&url).send().map(|answer| answer.text().unwrap())
    };
    assert_eq!(by("socks5h://", "us%20er:p%40ss@").unwrap(), "straight ");
    assert_eq!(by("socks5://", "us%20er:p%40ss@").unwrap(), "straight ");
    let asked = tunnel.asked();
    assert_eq!(asked[0], "localhost", "the proxy resolves the name");
    assert!(asked[1].parse::<std::net::IpAddr>().is_ok(), "it was resolved here: {}", asked[1]);
    for userinfo in ["us%20er:wrong@", ""] {
        let error = by("socks5h://", userinfo).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    }
}
