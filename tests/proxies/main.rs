//! Requests that go by proxies: by those of this process, which show what they were asked, and by real ones.
//!
//! `./test` starts tinyproxy (one that lets everybody in, one that wants a password) and dante, and names their addresses
//! in `LARDER_HTTP_PROXY`, `LARDER_AUTH_PROXY` and `LARDER_SOCKS_PROXY`.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(dead_code, reason = "other tests use what these have no use for")]

#[path = "../support/mod.rs"]
mod support;

mod environment;
mod real;
mod tunnel;

use std::{fs, path::PathBuf, sync::Arc};

use larder::{Backend, CachedSession, CachedSessionBuilder, ErrorKind, Proxies};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use support::{Origin, Reply};
use tempfile::TempDir;
use tunnel::Tunnel;

fn builder() -> CachedSessionBuilder {
    CachedSession::builder("cache").backend(Backend::Memory).trust_env(false)
}

/// TLS for `localhost`, and the file with the certificate to trust.
fn tls() -> (Arc<ServerConfig>, PathBuf, TempDir) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    fs::write(&path, cert.pem()).unwrap();
    (Arc::new(config), path, folder)
}

/// Answers as a proxy does that is asked for whole URLs.
fn forwarding(proxy: &Origin) -> &Origin {
    for url in ["http://a.example/", "http://a.example/x?y=z", "http://b.example:81/", "http://c.example/"] {
        proxy.handle(url.split('?').next().unwrap(), |seen| {
            Reply::ok(format!("{} {} {}", seen.target, seen.header("host").unwrap(), seen.text()))
        });
    }
    proxy
}

#[test]
fn an_http_proxy_is_asked_for_whole_urls() {
    let proxy = Origin::start();
    forwarding(&proxy).route("http://c.example/moved", Reply::redirect(307, "http://b.example:81/"));
    let address = proxy.url("").replace("http://", "http://us%40er:p%3Aw@");
    let session = builder().proxies([("http", address)]).build().unwrap();
    for from_cache in [false, true] {
        for (url, want) in [
            ("http://a.example/x?y=z", "http://a.example/x?y=z a.example "),
            ("http://b.example:81/", "http://b.example:81/ b.example:81 "),
            ("http://a.example:80/#part", "http://a.example/ a.example "),
        ] {
            let answer = session.get(url).send().unwrap();
            assert_eq!((answer.text().unwrap().as_str(), answer.from_cache()), (want, from_cache), "{url}");
            assert!(!answer.request().headers().contains_key("proxy-authorization"), "it is not the origin's");
        }
    }
    let seen = proxy.last("http://b.example:81/");
    assert_eq!(seen.header("proxy-authorization"), Some("Basic dXNAZXI6cDp3"));
    let moved =
        session.post("http://c.example/moved").header("Expect", "100-continue").body("body /of it").send().unwrap();
    assert_eq!(moved.text().unwrap(), "http://b.example:81/ b.example:81 body /of it");
    let own = session.get("http://a.example/").header("Host", "own.example").send().unwrap();
    assert_eq!(own.text().unwrap(), "http://a.example/ own.example ");
    let long = "x / ".repeat(100_000);
    let sent = session.post("http://a.example/").header("X-Long", "/ ".repeat(5000)).body(long.clone()).send().unwrap();
    assert_eq!(sent.text().unwrap(), format!("http://a.example/ a.example {long}"));
    assert_eq!(proxy.connections(), 1, "one for all hosts, and kept");
}

#[test]
fn an_https_proxy_is_asked_the_same_behind_tls() {
    let (config, ca, _folder) = tls();
    let proxy = Origin::start_tls(&config);
    forwarding(&proxy);
    let session = builder().proxies(proxy.url("").as_str()).build().unwrap();
    for _ in 0..2 {
        let answer = session.get("http://a.example/").no_store().verify(ca.clone()).send().unwrap();
        assert_eq!(answer.text().unwrap(), "http://a.example/ a.example ");
    }
    assert_eq!(proxy.connections(), 1);
    assert_eq!(session.get("http://a.example/").send().unwrap_err().kind(), ErrorKind::Tls);
}

#[test]
fn https_goes_through_a_tunnel_of_an_http_or_https_proxy() {
    let (config, ca, _folder) = tls();
    let origin = Origin::start_tls(&config);
    origin.route("/", Reply::ok("through"));
    for tls in [None, Some(config)] {
        let tunnel = Tunnel::start(tls, Some("Basic dTpw"));
        let session = builder().verify(ca.clone()).proxies([("https", tunnel.url("u:p@"))]).build().unwrap();
        for _ in 0..2 {
            assert_eq!(session.get(origin.url("/")).no_store().send().unwrap().text().unwrap(), "through");
        }
        assert_eq!(tunnel.asked(), [format!("CONNECT localhost:{} HTTP/1.1", origin.port())], "and it is kept");
        let wrong = session.get(origin.url("/")).proxies(tunnel.url("u:wrong@")).send().unwrap_err();
        assert!(wrong.kind() == ErrorKind::Network && wrong.to_string().contains("proxy"), "{wrong}");
        assert!(!format!("{wrong:?}").contains("wrong"));
    }
}

#[test]
fn the_request_then_the_session_then_nobody_names_the_proxy() {
    let [one, two, origin] = [(); 3].map(|()| Origin::start());
    for proxy in [&one, &two] {
        forwarding(proxy);
        proxy.handle(&origin.url("/"), |_| Reply::ok("by a proxy"));
    }
    origin.route("/", Reply::ok("straight"));
    let text = |request: larder::RequestBuilder| request.no_store().send().unwrap().text().unwrap();
    let session = builder()
        .proxies([("http://a.example", one.url("")), ("https", "http://127.0.0.1:1".to_owned())])
        .build()
        .unwrap();
    assert_eq!(text(session.get("http://a.example/")), "http://a.example/ a.example ");
    assert_eq!(text(session.get(origin.url("/"))), "straight");
    assert_eq!(text(session.get("http://a.example/").proxies([("all", two.url(""))])), "http://a.example/ a.example ");
    assert_eq!((one.total_hits(), two.total_hits()), (1, 1));
    // What the request does not speak of is left to the session.
    text(session.get("http://a.example/").proxies([("https", two.url(""))]));
    assert_eq!((one.total_hits(), two.total_hits()), (2, 1));
    let list = Proxies::all(one.url("")).no_proxy("127.0.0.0/8");
    assert_eq!(text(session.get(origin.url("/")).proxies(list)), "straight");
    assert_eq!(text(session.get(origin.url("/")).proxies(Proxies::all(one.url("")))), "by a proxy");
    let wrong = session.get(origin.url("/")).proxies("ftp://user:swordfish@x").send().unwrap_err();
    assert!(wrong.kind() == ErrorKind::InvalidInput && !format!("{wrong:?}").contains("swordfish"));
    assert_eq!(builder().proxies([("nonsense", "x")]).build().unwrap_err().kind(), ErrorKind::InvalidInput);
    let nobody = session.get(origin.url("/")).proxies("127.0.0.1:1").send().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Network);
}

#[test]
fn each_hop_of_a_redirect_has_its_own_proxy() {
    let [one, two] = [(); 2].map(|()| Origin::start());
    forwarding(&two);
    one.route("http://a.example/", Reply::redirect(302, "http://b.example:81/"));
    let session =
        builder().proxies([("http://a.example", one.url("")), ("http://b.example", two.url(""))]).build().unwrap();
    let answer = session.get("http://a.example/").send().unwrap();
    assert_eq!((answer.text().unwrap().as_str(), answer.history().len()), ("http://b.example:81/ b.example:81 ", 1));
    assert!(
        session.get("http://a.example/").proxies("").send().unwrap().from_cache(),
        "proxies are no part of the key"
    );
}

#[test]
fn a_proxy_of_ureq_s_own_settings_is_used_where_none_is_named() {
    let (config, ca, _folder) = tls();
    let (origin, plain) = (Origin::start_tls(&config), Origin::start());
    origin.route("/", Reply::ok("through"));
    forwarding(&plain);
    let tunnel = Tunnel::start(None, None);
    let root = ureq::tls::Certificate::from_pem(&fs::read(ca).unwrap()).unwrap();
    let settings = ureq::config::Config::builder()
        .proxy(Some(ureq::Proxy::new(&tunnel.url("")).unwrap()))
        .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&[root])).build())
        .build();
    let session = builder().agent_config(settings).build().unwrap();
    assert_eq!(session.get(origin.url("/")).send().unwrap().text().unwrap(), "through");
    assert_eq!(tunnel.asked().len(), 1);
    let named = session.get("http://a.example/").proxies(plain.url("").as_str()).send().unwrap();
    assert_eq!(named.text().unwrap(), "http://a.example/ a.example ");
    assert_eq!(tunnel.asked().len(), 1);
}

#[test]
fn a_proxy_or_server_that_says_nothing_is_left_when_the_time_is_over() {
    // The kernel accepts; nobody ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let short = std::time::Duration::from_millis(300);
    let session = builder().build().unwrap();
    for (url, proxy) in [
        ("http://a.example/".to_owned(), format!("http://{address}")),
        ("http://a.example/".to_owned(), format!("https://{address}")),
        ("https://a.example/".to_owned(), format!("http://{address}")),
        ("https://a.example/".to_owned(), format!("socks5h://{address}")),
        (format!("http://{address}/"), String::new()),
        (format!("https://{address}/"), String::new()),
    ] {
        let timeouts = [larder::Timeout::from(short), (short, short).into()];
        for timeout in timeouts {
            let error = session.get(&url).proxies(proxy.as_str()).timeout(timeout).send().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{url} {proxy} {timeout:?} {error}");
        }
    }
}
