//! Who gets whose answer, and what never reaches the file.

use std::fs;

use larder::{Backend, CachedSession, ErrorKind, KeyScheme, Response};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    alice_and_bob_get_their_own_answers,
    credentials_of_many_services_make_partitions,
    a_host_header_gets_its_own_answers,
    the_same_credentials_hit_whatever_their_order_and_case,
    a_named_partition_replaces_the_credentials,
    shared_answers_are_shared,
    credentials_are_sent_but_not_shown,
    userinfo_becomes_a_header_and_a_partition,
    credentials_do_not_follow_a_redirect_to_another_origin,
    credentials_in_paths_are_sent_and_tell_users_apart_and_are_not_shown,
    links_with_other_credentials_choose_other_variants,
    chosen_credentials_tell_users_apart_whatever_is_shared,
    what_turns_out_to_be_for_one_user_is_shared_no_longer,
);

const SECRET: &str = "S3cr3t-Value/With+Signs=";

/// Answers with what it was sent.
fn echo(origin: &Origin, path: &str) {
    origin.handle(path, |seen| {
        let mut said: Vec<String> = seen.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        said.retain(|line| !line.starts_with("host:") && !line.starts_with("user-agent:"));
        Reply::ok(format!("{} {}", seen.target, said.join("; ")))
    });
}

fn alice_and_bob_get_their_own_answers(place: &Place) {
    let origin = Origin::start();
    echo(&origin, "/me");
    let session = place.session();
    let ask = |who: Option<(&str, &str)>| -> Response {
        match who {
            Some((name @ ("api_key" | "ACCESS-TOKEN"), value)) => session.get(origin.url("/me")).query(name, value),
            Some((name, value)) => session.get(origin.url("/me")).header(name, value),
            None => session.get(origin.url("/me")),
        }
        .send()
        .unwrap()
    };
    let people = [
        None,
        Some(("Authorization", "Bearer alice")),
        Some(("Authorization", "Bearer bob")),
        Some(("Cookie", "sid=alice")),
        Some(("Cookie", "sid=bob")),
        Some(("X-API-Key", "alice")),
        Some(("X-API-Key", "bob")),
        Some(("api_key", "alice")),
        Some(("api_key", "bob")),
        Some(("ACCESS-TOKEN", "alice")),
        Some(("ACCESS-TOKEN", "bob")),
    ];
    let texts: Vec<String> = people.map(|who| ask(who).text().unwrap()).to_vec();
    assert_eq!(origin.hits("/me"), people.len());
    for (who, text) in people.iter().zip(&texts) {
        let again = ask(*who);
        assert!(again.from_cache(), "{who:?}");
        assert_eq!(again.text().unwrap(), *text, "{who:?}");
        assert!(who.is_none_or(|(_, value)| text.contains(value)));
    }
    // All of them are gone with their URL.
    for url in session.cache().urls().unwrap() {
        session.cache().delete_url(url).unwrap();
    }
    assert!(session.cache().is_empty().unwrap());
}

fn credentials_of_many_services_make_partitions(place: &Place) {
    let origin = Origin::start();
    echo(&origin, "/me");
    let session = place.session();
    for name in ["X-Shopify-Access-Token", "DD-APPLICATION-KEY", "JOB-TOKEN", "X-Auth-Key", "CF-Access-Client-Secret"] {
        for who in ["alice", "bob"] {
            let answer = session.get(origin.url("/me")).header(name, who).send().unwrap();
            assert!(!answer.from_cache() && answer.text().unwrap().contains(who), "{name}");
            assert_eq!(answer.request().headers()[name], "REDACTED");
        }
    }
    for page in ["1", "2"] {
        let answer = session.get(origin.url("/me")).query("pageToken", page).send().unwrap();
        assert!(!answer.from_cache() && answer.url().ends_with(&format!("pageToken={page}")));
    }
}

fn a_host_header_gets_its_own_answers(place: &Place) {
    let origin = Origin::start();
    origin.handle("/", |seen| Reply::ok(seen.header("host").unwrap()));
    let session = place.session();
    for round in 0..2 {
        for host in ["a.example", "b.example"] {
            let answer = session.get(origin.url("/")).header("Host", host).send().unwrap();
            assert_eq!(answer.text().unwrap(), host);
            assert_eq!(answer.from_cache(), round == 1);
        }
    }
    // The host of the URL says nothing new.
    let own = format!("127.0.0.1:{}", origin.port());
    assert_eq!(session.get(origin.url("/")).send().unwrap().text().unwrap(), own);
    assert!(session.get(origin.url("/")).header("Host", &own).send().unwrap().from_cache());
    session.cache().delete_url(origin.url("/")).unwrap();
    assert!(session.cache().is_empty().unwrap());
}

fn the_same_credentials_hit_whatever_their_order_and_case(place: &Place) {
    let origin = Origin::start();
    echo(&origin, "/me");
    let session = place.session();
    let request = session.get(origin.url("/me"));
    request.clone().header("authorization", "Bearer a").header("x-api-key", "k").send().unwrap();
    let again = request.header("X-Api-Key", "k").header("AUTHORIZATION", "Bearer a").send().unwrap();
    assert!(again.from_cache());
}

fn a_named_partition_replaces_the_credentials(place: &Place) {
    let origin = Origin::start();
    echo(&origin, "/me");
    let session = place.builder().partition("user-42").build().unwrap();
    session.get(origin.url("/me")).bearer_auth("old").send().unwrap();
    assert!(session.get(origin.url("/me")).bearer_auth("new").send().unwrap().from_cache());
}

#[test]
fn sessions_of_other_partitions_share_a_file_and_no_answers() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    echo(&origin, "/me");
    let sessions = ["user-1", "user-2"].map(|name| place.builder().partition(name).build().unwrap());
    for round in 0..2 {
        for session in &sessions {
            assert_eq!(session.get(origin.url("/me")).send().unwrap().from_cache(), round == 1);
        }
    }
    assert!(!place.session().get(origin.url("/me")).send().unwrap().from_cache());
}

fn shared_answers_are_shared(place: &Place) {
    let origin = Origin::start();
    echo(&origin, "/me");
    let session = place.builder().share_across_credentials(true).build().unwrap();
    session.get(origin.url("/me")).bearer_auth("alice").send().unwrap();
    assert!(session.get(origin.url("/me")).bearer_auth("bob").send().unwrap().from_cache());
    assert!(session.get(origin.url("/me")).send().unwrap().from_cache());
}

fn credentials_are_sent_but_not_shown(place: &Place) {
    let origin = Origin::start();
    echo(&origin, "/me");
    let session = place.session();
    let request = session.get(origin.url(&format!("/me?token={SECRET}"))).bearer_auth(SECRET);
    for _ in 0..2 {
        let response = request.clone().send().unwrap();
        assert!(response.text().unwrap().contains(&format!("authorization: Bearer {SECRET}")));
        assert_eq!(response.request().headers()["authorization"], "REDACTED");
        assert!(response.request().url().ends_with("/me?token=REDACTED"));
        for shown in [format!("{response:?}"), format!("{request:?}"), format!("{session:?}")] {
            assert!(!shown.contains("S3cr3t"), "{shown}");
        }
    }
    origin.route("/gone", Reply::new(404));
    let gone = session.get(origin.url(&format!("/gone?token={SECRET}"))).send().unwrap();
    let error = gone.error_for_status().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("S3cr3t"), "{error:?}");
    let nowhere = session.get(format!("http://user:{SECRET}@127.0.0.1:1/?token={SECRET}")).send().unwrap_err();
    assert!(!format!("{nowhere} {nowhere:?}").contains("S3cr3t"), "{nowhere:?}");
    let invalid = session.get(format!("gopher://user:{SECRET}@host/?token={SECRET}")).send().unwrap_err();
    assert!(!format!("{invalid} {invalid:?}").contains("S3cr3t"), "{invalid:?}");
}

fn userinfo_becomes_a_header_and_a_partition(place: &Place) {
    let origin = Origin::start();
    echo(&origin, "/me");
    let session = place.session();
    let url = |user: &str| origin.url("/me").replace("http://", &format!("http://{user}:p%40ss@"));
    let alice = session.get(url("alice")).send().unwrap();
    assert!(alice.text().unwrap().contains("authorization: Basic YWxpY2U6cEBzcw=="));
    assert!(!session.get(url("bob")).send().unwrap().from_cache());
    assert!(session.get(url("alice")).send().unwrap().from_cache());
    assert!(session.get(origin.url("/me")).basic_auth("alice", "p@ss").send().unwrap().from_cache());
    assert!(!alice.url().contains("alice"));
}

fn credentials_do_not_follow_a_redirect_to_another_origin(place: &Place) {
    let (origin, other) = (Origin::start(), Origin::start());
    echo(&origin, "/end");
    echo(&other, "/end");
    origin.route("/same", Reply::redirect(302, "/end")).route("/other", Reply::redirect(307, other.url("/end")));
    let session = place.session();
    let ask = |path: &str| {
        let request = session.get(origin.url(path)).bearer_auth("t").header("Cookie", "a=1").header("X-Kept", "1");
        request.send().unwrap().text().unwrap()
    };
    assert!(ask("/same").contains("authorization: Bearer t"));
    let told = ask("/other");
    assert!(!told.contains("authorization") && !told.contains("cookie") && told.contains("x-kept"), "{told}");
}

fn credentials_in_paths_are_sent_and_tell_users_apart_and_are_not_shown(place: &Place) {
    let origin = Origin::start();
    let session = place.session();
    for name in ["jsessionid", "token", "PHPSESSID"] {
        for round in 0..2 {
            for who in ["alice", "bob"] {
                let path = format!("/a;v=1;{name}=S3cr3t-{who}/b");
                echo(&origin, &path);
                let answer = session.get(origin.url(&path)).send().unwrap();
                assert_eq!(answer.from_cache(), round > 0);
                assert!(answer.text().unwrap().starts_with(&path), "what is sent is whole");
                assert!(answer.request().url().ends_with(&format!("/a;v=1;{name}=REDACTED/b")));
                assert!(!format!("{answer:?}").contains("S3cr3t"), "{answer:?}");
            }
        }
    }
    assert!(session.cache().urls().unwrap().iter().all(|url| !url.contains("S3cr3t")));
    let error = session.get("http://127.0.0.1:1/a;jsessionid=S3cr3t").send().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("S3cr3t"), "{error:?}");
}

/// What stands in the place of the token is the same in all of them.
fn links_with_other_credentials_choose_other_variants(place: &Place) {
    let origin = Origin::start();
    let echo = |seen: &str| Reply::ok(seen.to_owned()).header("Vary", "Referer").header("Cache-Control", "max-age=0");
    origin.handle("/a", move |seen| echo(seen.header("referer").unwrap_or_default()));
    let tagged = Reply::new(304).header("Vary", "Referer").header("Cache-Control", "max-age=60");
    let links = ["alice", "bob"].map(|who| format!("http://x.example/p?page=1&token={SECRET}{who}"));
    for by_rfc in [false, true] {
        let session = place.builder().cache_control(by_rfc).build().unwrap();
        session.cache().clear().unwrap();
        let ask = |link: &str| session.get(origin.url("/a")).header("Referer", link).send().unwrap();
        if by_rfc {
            // A 304 may say anew by what it varies.
            let (tagged, echo) = (tagged.clone(), echo);
            origin.handle("/a", move |seen| match seen.header("if-none-match") {
                Some(_) => tagged.clone(),
                None => echo(seen.header("referer").unwrap_or_default()).header("ETag", "\"1\""),
            });
        }
        for round in 0..3 {
            for link in &links {
                let answer = ask(link);
                assert_eq!((answer.text().unwrap(), answer.from_cache()), (link.clone(), round > 0), "{by_rfc}");
                assert_eq!(answer.revalidated(), by_rfc && round == 1);
                let stored = answer.request().headers()["referer"].to_str().unwrap();
                assert_eq!(stored, "http://x.example/p?page=1&token=REDACTED");
            }
        }
        assert!(!ask("http://x.example/p?page=1").from_cache());
    }
    // The same where the caller has chosen the header.
    let session = place.builder().match_headers(["Referer"]).build().unwrap();
    session.cache().clear().unwrap();
    origin.handle("/b", |seen| Reply::ok(seen.header("referer").unwrap()));
    for round in 0..2 {
        for link in &links {
            let answer = session.get(origin.url("/b")).header("Referer", link).send().unwrap();
            assert_eq!((answer.text().unwrap(), answer.from_cache()), (link.clone(), round > 0));
        }
    }
}

fn chosen_credentials_tell_users_apart_whatever_is_shared(place: &Place) {
    let origin = Origin::start();
    echo(&origin, "/me");
    let named = place.builder().partition("user-42");
    for builder in [place.builder().share_across_credentials(true), named] {
        let session = builder.match_headers(["Authorization", "X-Page"]).build().unwrap();
        session.cache().clear().unwrap();
        for round in 0..2 {
            for user in ["alice", "bob"] {
                let request = session.get(origin.url("/me")).bearer_auth(user).header("X-Api-Key", round.to_string());
                let answer = request.send().unwrap();
                assert_eq!(answer.from_cache(), round > 0, "another key of the same user");
                assert!(answer.text().unwrap().contains(user));
                assert_eq!(answer.request().headers()["authorization"], "REDACTED");
            }
        }
        assert!(!session.get(origin.url("/me")).send().unwrap().from_cache());
    }
    // It is stored although it varies by a credential: that is told apart.
    origin.handle("/vary", |seen| Reply::ok(seen.header("authorization").unwrap()).header("Vary", "Authorization"));
    let session = place.builder().share_across_credentials(true).match_headers(["Authorization"]).build().unwrap();
    for round in 0..2 {
        for user in ["Bearer alice", "Bearer bob"] {
            let answer = session.get(origin.url("/vary")).header("Authorization", user).send().unwrap();
            assert_eq!((answer.text().unwrap().as_str(), answer.from_cache()), (user, round > 0));
        }
    }
}

/// A 304 may be what says so.
fn what_turns_out_to_be_for_one_user_is_shared_no_longer(place: &Place) {
    let origin = Origin::start();
    origin.handle("/me", |seen| match seen.header("if-none-match") {
        Some(_) => Reply::new(304).header("ETag", "\"1\"").header("Vary", "Authorization"),
        None => Reply::ok(seen.header("authorization").unwrap()).header("ETag", "\"1\""),
    });
    let session = place.builder().share_across_credentials(true).build().unwrap();
    let ask = |user: &str| session.get(origin.url("/me")).header("Authorization", user);
    ask("alice").send().unwrap();
    assert!(ask("bob").send().unwrap().from_cache(), "it is shared as long as nothing speaks against it");
    assert!(ask("alice").refresh().send().unwrap().revalidated());
    assert_eq!(ask("bob").send().unwrap().text().unwrap(), "bob");
}

#[test]
fn a_header_that_python_ignores_cannot_be_chosen_to_tell_users_apart() {
    let builder = || {
        let builder = Place::new(Backend::Memory).builder().key_scheme(KeyScheme::RequestsCache);
        builder.share_across_credentials(true).match_headers(["Accept", "Authorization"])
    };
    let error = builder().build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.to_string().contains("`authorization`") && error.to_string().contains("ignored_parameters"),
        "{error}"
    );
    assert!(builder().ignored_parameters(["api_key"]).build().is_ok());
    assert!(builder().share_across_credentials(false).build().is_ok(), "what has credentials bypasses the cache");
}

/// Plants a secret wherever a request can carry one.
fn plant(session: &CachedSession, origin: &Origin) {
    let request = session.get(origin.url("/a"));
    for name in [
        "Authorization",
        "aUTHORIZATION",
        "Proxy-Authorization",
        "Cookie",
        "X-Api-Key",
        "x-auth-token",
        "X-GitHub-Token",
    ] {
        request.clone().header(name, format!("Bearer {SECRET}")).send().unwrap();
    }
    request.clone().basic_auth("user", SECRET).send().unwrap();
    for name in ["token", "api_key", "Access-Token", "client_secret", "password", "user_password"] {
        request.clone().query(name, SECRET).send().unwrap();
        session.post(origin.url("/a")).form([("x", "1"), (name, SECRET)]).send().unwrap();
        let deep = serde_json::json!({"a": [{"b": {name: SECRET, "other": 1}}], name: {"c": SECRET}});
        session.post(origin.url("/a")).json(&deep).send().unwrap();
        let untyped = session.post(origin.url("/a")).body(deep.to_string()).send().unwrap();
        assert!(untyped.request().headers().get("content-type").is_none());
    }
    session.get(origin.url(&format!("/a#token={SECRET}"))).send().unwrap();
    session.get(origin.url("/a;token=S3cr3t-Value")).send().unwrap();
    session.get(origin.url("/a").replace("http://", "http://user:S3cr3t-Value@")).send().unwrap();
    request.clone().header("Referer", format!("http://x.example/?token={SECRET}")).send().unwrap();
    session.get(origin.url("/hop")).query("token", SECRET).bearer_auth(SECRET).send().unwrap();
    session.cache().flush().unwrap();
}

/// Every way in which the secret might be spelled in the file.
fn spellings() -> Vec<Vec<u8>> {
    let mut spellings = vec![b"S3cr3t".to_vec(), b"S3cr3t-Value%2FWith%2BSigns%3D".to_vec()];
    // Base64 of a text looks different at each of three offsets; the inner characters do not depend on what is around.
    for offset in 0..3 {
        let mut text = vec![b'x'; offset];
        text.extend_from_slice(SECRET.as_bytes());
        let coded = base64(&text);
        let (from, to) = (offset.div_ceil(3) * 4, coded.len() - 4);
        spellings.push(coded.as_bytes()[from..to].to_vec());
        spellings.push(coded.as_bytes()[from..to].iter().map(|c| if *c == b'+' { b'-' } else { *c }).collect());
    }
    spellings
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for digit in 0..4 {
            let at = usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap();
            text.push(if digit <= chunk.len() { char::from(DIGITS[at]) } else { '=' });
        }
    }
    text
}

#[test]
fn no_planted_secret_is_in_the_file() {
    let place = Place::new(Backend::Log);
    let origin = Origin::start();
    origin.route("/a", Reply::ok("no secret in here"));
    origin.route("/a;token=S3cr3t-Value", Reply::ok("no secret in here"));
    let hop = format!("http://user:{SECRET}@127.0.0.1:{}/hop2?api_key={SECRET}&x=1", origin.port());
    origin.route("/hop", Reply::redirect(302, hop.replace("Value/With", "Value%2FWith")));
    origin.route("/hop2", Reply::redirect(307, format!("/a?token={SECRET}")));
    let session = place.builder().allowable_methods(["GET", "POST"]).header("X-Api-Token", SECRET).build().unwrap();
    plant(&session, &origin);
    origin.route("/vary", Reply::ok("no secret").header("Vary", "Referer"));
    let chosen = place.builder().share_across_credentials(true).match_headers(["Authorization"]).build().unwrap();
    let link = format!("http://x.example/?token={SECRET}");
    chosen.get(origin.url("/vary")).bearer_auth(SECRET).header("Referer", link).send().unwrap();
    let named = place.builder().partition(SECRET).build().unwrap();
    named.get(origin.url("/a")).send().unwrap();
    named.cache().flush().unwrap();
    let stored = named.cache().len().unwrap();
    assert!(stored > 20, "{stored}");
    let file = fs::read(place.file()).unwrap();
    for spelling in spellings() {
        assert!(spelling.len() > 5);
        let found = file.windows(spelling.len()).position(|part| part == spelling);
        assert_eq!(found, None, "{}", String::from_utf8_lossy(&spelling));
    }
    assert!(file.windows(8).any(|part| part == b"REDACTED"));
}
