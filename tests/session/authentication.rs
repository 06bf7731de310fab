//! Who asks: basic, bearer, digest, netrc, userinfo and functions.

use std::{
    env, fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue};
use larder::{CachedSession, Request, RequestBuilder};
use sha2::{Digest, Sha256};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    authentication_of_the_session_and_of_the_request,
    a_function_makes_headers_that_nobody_stores,
    digest_answers_the_challenge_and_reuses_the_nonce,
    digest_users_get_their_own_answers_and_hits_send_nothing,
    a_shared_cache_keeps_nothing_that_digest_users_got,
    no_authentication_leaves_its_host,
);

const SECRET: &str = "swordfish-S3cret";

fn echo() -> Origin {
    let origin = Origin::start();
    origin.handle("/", |seen| Reply::ok(seen.header("authorization").unwrap_or("nobody")));
    origin
}

fn text(request: RequestBuilder) -> String {
    request.send().unwrap().text().unwrap()
}

fn authentication_of_the_session_and_of_the_request(place: &Place) {
    let origin = echo();
    let with_user = origin.url("/").replace("http://", "http://u:p@");
    let basic = place.builder().basic_auth("a", "b").build().unwrap();
    assert_eq!(text(basic.get(origin.url("/"))), "Basic YTpi");
    assert_eq!(text(basic.get(origin.url("/")).bearer_auth("t")), "Bearer t");
    assert_eq!(text(basic.get(origin.url("/")).header("Authorization", "Own x")), "Own x");
    assert_eq!(text(basic.get(origin.url("/")).remove_header("Authorization")), "nobody");
    assert_eq!(text(basic.get(&with_user)), "Basic YTpi");
    assert_eq!(text(place.builder().bearer_auth("s").build().unwrap().get(origin.url("/"))), "Bearer s");
    assert_eq!(text(place.session().get(&with_user)), "Basic dTpw");
    assert_eq!(text(place.session().get(&with_user).bearer_auth("t")), "Bearer t");
    assert!(place.session().get(origin.url("/")).basic_auth("a", "b\n").send().is_ok(), "base64 holds anything");
    assert!(place.session().get(origin.url("/")).bearer_auth("a\nb").send().is_err());
}

fn a_function_makes_headers_that_nobody_stores(place: &Place) {
    let origin = Origin::start();
    // What it says is stored as it is, so it does not repeat the secret.
    origin.handle("/", |seen| Reply::ok(seen.header("x-sign").unwrap_or("nobody").replace(SECRET, "signed")));
    origin.route("/moved", Reply::redirect(302, "/?b=2"));
    let sign = |request: &Request| {
        let value = format!("{SECRET} {} {} {}", request.method(), request.url().len(), request.body().len());
        Ok(HeaderMap::from_iter([(http::HeaderName::from_static("x-sign"), HeaderValue::try_from(value).unwrap())]))
    };
    let session = place.builder().auth(sign).build().unwrap();
    let url = origin.url("/?a=1");
    let miss = session.get(&url).send().unwrap();
    assert_eq!(miss.text().unwrap(), format!("signed GET {} 0", url.len()));
    assert_eq!(miss.request().headers()["x-sign"], "REDACTED");
    assert!(session.get(&url).send().unwrap().from_cache());
    assert!(!place.session().get(&url).send().unwrap().from_cache(), "nobody else gets it");
    // Signed anew for the URL that it leads to.
    let moved = session.get(origin.url("/moved")).send().unwrap();
    assert_eq!(moved.text().unwrap(), format!("signed GET {} 0", url.len()));
    let refused = session.get(&url).auth(|_| Err(larder::Error::new(larder::ErrorKind::Tls, "no key"))).send();
    assert_eq!(refused.unwrap_err().kind(), larder::ErrorKind::Tls);
    if place.file().exists() {
        let file = fs::read(place.file()).unwrap();
        assert!(!file.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
    }
}

/// A server of digest authentication that checks what it is answered. A nonce is good for so many requests.
fn digest_origin(qop: Option<&'static str>, good_for: usize) -> (Origin, Arc<AtomicUsize>) {
    let origin = Origin::start();
    let challenges = Arc::new(AtomicUsize::new(0));
    let (count, used) = (Arc::clone(&challenges), AtomicUsize::new(0));
    origin.handle("/private", move |seen| {
        let field = |name: &str| {
            let header = seen.header("authorization")?;
            let rest = header.split_once(&format!(" {name}="))?.1;
            let value = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => rest.split(',').next(),
            };
            value.map(str::to_owned)
        };
        let nonce = format!("n{}", count.load(Ordering::SeqCst));
        let hash = |text: String| {
            let hex: Vec<_> = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            hex.concat()
        };
        let right = || {
            let ha1 = hash(format!("alice:the \"realm\":{SECRET}").replace('\\', ""));
            let ha2 = hash(format!("{}:{}", seen.method, seen.target));
            let want = match qop {
                Some(_) => hash(format!("{ha1}:{}:{}:{}:auth:{ha2}", field("nonce")?, field("nc")?, field("cnonce")?)),
                None => hash(format!("{ha1}:{}:{ha2}", field("nonce")?)),
            };
            Some(field("uri")? == seen.target && field("response")? == want)
        };
        if field("nonce").as_ref() == Some(&nonce) && used.load(Ordering::SeqCst) < good_for && right() == Some(true) {
            used.fetch_add(1, Ordering::SeqCst);
            return Reply::ok(format!("{} {}", field("username").unwrap(), seen.text()));
        }
        let stale = used.swap(0, Ordering::SeqCst) >= good_for;
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        let qop = qop.map_or_else(String::new, |qop| format!(", qop=\"{qop}\""));
        Reply::new(401)
            .header("WWW-Authenticate", "Basic realm=\"x\"")
            .header("WWW-Authenticate", format!("Digest realm=\"the \\\"realm\\\"\", nonce=\"n{n}\", algorithm=SHA-256, opaque=\"o\"{qop}, stale={stale}"))
            .body("who?")
    });
    (origin, challenges)
}

fn digest_answers_the_challenge_and_reuses_the_nonce(place: &Place) {
    for qop in [Some("auth"), Some("auth-int, auth"), None] {
        let (origin, challenges) = digest_origin(qop, 3);
        let session = place.builder().digest_auth("alice", SECRET).build().unwrap();
        for n in 1..=4 {
            let answer = session.post(origin.url(&format!("/private?n={n}"))).body("hello").send().unwrap();
            assert_eq!(answer.text().unwrap(), "alice hello", "{qop:?}");
        }
        // One for each nonce: what is known is answered without being asked, and renewed when it is too old.
        assert_eq!((challenges.load(Ordering::SeqCst), origin.hits("/private")), (2, 6), "{qop:?}");
        let wrong = session.get(origin.url("/private")).digest_auth("alice", "wrong").send().unwrap();
        assert_eq!(wrong.status().as_u16(), 401);
        assert!(origin.hits("/private") <= 9, "it is not tried for ever");
    }
}

/// RFC 9111, 3.5: whoever says who asks, only later, has said so.
fn a_shared_cache_keeps_nothing_that_digest_users_got(place: &Place) {
    let (origin, _) = digest_origin(Some("auth"), 100);
    let builder = place.builder().cache_control(true).shared_cache(true).expire_after(Duration::from_secs(60));
    let session = builder.share_across_credentials(true).build().unwrap();
    for _ in 0..2 {
        let answer = session.get(origin.url("/private")).digest_auth("alice", SECRET).send().unwrap();
        assert_eq!((answer.status().as_u16(), answer.from_cache()), (200, false));
    }
}

fn digest_users_get_their_own_answers_and_hits_send_nothing(place: &Place) {
    let (origin, _) = digest_origin(Some("auth"), 100);
    let session = place.session();
    let get = || session.get(origin.url("/private"));
    let miss = get().digest_auth("alice", SECRET).send().unwrap();
    assert_eq!((miss.status().as_u16(), miss.from_cache()), (200, false));
    assert_eq!(miss.request().headers()["authorization"], "REDACTED");
    let hits = origin.hits("/private");
    assert!(get().digest_auth("alice", SECRET).send().unwrap().from_cache());
    if place.file().exists() {
        // Without having met the server.
        let other = place.session().get(origin.url("/private")).digest_auth("alice", SECRET).send().unwrap();
        assert!(other.from_cache());
    }
    assert_eq!(origin.hits("/private"), hits);
    for request in [
        get(),
        get().digest_auth("alice", "wrong"),
        get().digest_auth("bob", SECRET),
        get().basic_auth("alice", SECRET),
    ] {
        assert_eq!(request.send().unwrap().status().as_u16(), 401);
    }
    if place.file().exists() {
        let file = fs::read(place.file()).unwrap();
        assert!(!file.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
    }
}

fn no_authentication_leaves_its_host(place: &Place) {
    let (here, there) = (echo(), echo());
    here.route("/away", Reply::redirect(307, there.url("/"))).route("/near", Reply::redirect(307, "/"));
    let session = place.session();
    let header =
        |_: &Request| Ok(HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static("Own x"))]));
    for (path, want) in [("/near", ["Basic YTpi", "Bearer t", "Own x"]), ("/away", ["nobody"; 3])] {
        let get = || session.get(here.url(path)).no_store();
        let got = [get().basic_auth("a", "b"), get().bearer_auth("t"), get().auth(header)].map(text);
        assert_eq!(got, want, "{path}");
    }
    let default = place.builder().basic_auth("a", "b").build().unwrap();
    assert_eq!(text(default.get(here.url("/away")).no_store()), "nobody");
    let (digest, _) = digest_origin(Some("auth"), 100);
    here.route("/digest", Reply::redirect(307, digest.url("/private")));
    let away = session.get(here.url("/digest")).digest_auth("alice", SECRET).send().unwrap();
    assert_eq!(away.status().as_u16(), 401);
}

/// The environment is that of a process, so each of these is one.
fn in_a_process(test: &str, variables: &[(&str, &str)]) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env_remove("NETRC")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_netrc_file_says_who_asks_unless_somebody_else_does() {
    let origin = echo();
    origin.route("/away", Reply::redirect(302, origin.url("/").replace("127.0.0.1", "localhost")));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("netrc");
    fs::write(&path, "machine 127.0.0.1 login a password b\nmachine localhost login c password d\n").unwrap();
    let url = origin.url("/");
    for (name, value) in [("NETRC", path.to_str().unwrap()), ("HOME", folder.path().to_str().unwrap())] {
        if name == "HOME" {
            fs::rename(&path, folder.path().join(".netrc")).unwrap();
        }
        in_a_process("authentication::the_process_with_a_netrc_file", &[(name, value), ("LARDER_TEST_URL", &url)]);
    }
}

#[test]
#[ignore = "a part of the test above, which starts it as a process of its own"]
fn the_process_with_a_netrc_file() {
    let Ok(url) = env::var("LARDER_TEST_URL") else { return };
    let builder = || CachedSession::builder("cache").backend(larder::Backend::Memory);
    let session = builder().build().unwrap();
    assert_eq!(text(session.get(&url)), "Basic YTpi");
    assert!(session.get(&url).send().unwrap().from_cache());
    assert_eq!(text(session.get(&url).bearer_auth("t")), "Bearer t");
    assert_eq!(text(session.get(url.replace("http://", "http://u:p@"))), "Basic dTpw");
    // Who it is there says the file, not the one who was redirected.
    assert_eq!(text(session.get(format!("{url}away")).basic_auth("x", "y")), "Basic Yzpk");
    assert_eq!(text(builder().trust_env(false).build().unwrap().get(&url)), "nobody");
}
