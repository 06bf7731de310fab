//! `larder get`, and its settings.

use crate::{
    Place, bytes,
    support::{Origin, Reply},
};
use std::{fs, io::Write, process::Stdio};

fn origin() -> Origin {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("hello").header("Content-Type", "text/plain"));
    origin.handle("/echo", |seen| {
        let named = seen.header("x-named").unwrap_or_default();
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        Reply::ok(format!("{} {} {named} {body}", seen.method, seen.target))
    });
    origin.route("/moved", Reply::redirect(302, "/a"));
    origin.route("/binary", Reply::ok(vec![0, 159, 146, 150]));
    origin
}

#[test]
fn get_fetches_once_and_then_answers_from_the_cache() {
    let (place, origin) = (Place::new(), origin());
    let url = origin.url("/a");
    assert_eq!(place.ok(&["get", &url, "--cache", "c.larder"]), "hello");
    let again = place.run(&["get", &url, "--cache", "c.larder", "--verbose"]);
    assert_eq!(again.text(), "hello");
    assert!(again.err.contains("from the cache"), "{}", again.err);
    assert_eq!(origin.hits("/a"), 1);
    place.ok(&["get", "--refresh", &url, "-c", "c.larder"]);
    assert_eq!(origin.hits("/a"), 2);
    place.ok(&["get", "--no-store", &url, "-c", "c.larder"]);
    assert_eq!(origin.hits("/a"), 3);
    assert_eq!(place.ok(&["get", "--offline", &url, "-c", "c.larder"]), "hello");
    drop(origin);
    assert_eq!(place.ok(&["get", "--only-if-cached", &url, "-c", "c.larder"]), "hello");
}

#[test]
fn without_a_place_the_cache_is_in_the_users_folder() {
    let (place, origin) = (Place::new(), origin());
    place.ok(&["get", &origin.url("/a")]);
    place.ok(&["get", &origin.url("/a")]);
    assert_eq!(origin.hits("/a"), 1);
    assert!(place.path(".cache/larder/cache.larder").exists());
}

#[test]
fn method_headers_query_and_data_are_sent() {
    let (place, origin) = (Place::new(), origin());
    let url = origin.url("/echo");
    let get = |args: &[&str]| place.ok(&[&["get", &url, "-c", "c.larder", "-H", "X-Named: me"], args].concat());
    assert_eq!(get(&["-q", "a=1", "-q", "b=x y"]), "GET /echo?a=1&b=x+y me ");
    assert_eq!(get(&["-d", "some data"]), "POST /echo me some data");
    assert_eq!(get(&["-X", "PUT", "-d", "x"]), "PUT /echo me x");
    fs::write(place.path("data"), "of a file").unwrap();
    assert_eq!(get(&["-d", "@data"]), "POST /echo me of a file");
    let mut child = place
        .command(&["get", &url, "-c", "c.larder", "-d", "@-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"of the input").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"POST /echo  of the input");
    let ran = place.run(&["get", &url, "-H", "secret-without-a-colon"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn the_body_goes_to_a_file_whole_or_not_at_all() {
    let (place, origin) = (Place::new(), origin());
    assert_eq!(place.ok(&["get", &origin.url("/binary"), "-c", "c.larder", "-o", "out"]), "");
    assert_eq!(bytes(&place.path("out")), [0, 159, 146, 150]);
    origin.route("/cut", Reply::ok("only a part").short_by(10));
    let cut = place.run(&["get", &origin.url("/cut"), "-c", "c.larder", "-o", "cut"]);
    assert_eq!(cut.code, 1, "{}", cut.err);
    assert!(!place.path("cut").exists() && !place.path("cut.part").exists());
}

#[test]
fn include_head_and_json_show_the_answer() {
    let (place, origin) = (Place::new(), origin());
    let text = place.ok(&["get", "-i", &origin.url("/a"), "-c", "c.larder"]);
    assert!(text.starts_with("HTTP 200 OK\n") && text.contains("content-type: text/plain\n"), "{text}");
    assert!(text.ends_with("\n\nhello"), "{text}");
    let head = place.ok(&["get", "-I", &origin.url("/a"), "-c", "c.larder"]);
    assert!(head.starts_with("HTTP 200") && !head.contains("hello"), "{head}");
    let json = &place.json(&["get", &origin.url("/moved"), "-c", "c.larder"])[0];
    assert_eq!(json["status"], 200);
    assert_eq!(json["body"], "hello");
    assert_eq!(json["history"][0]["status"], 302);
    let binary = &place.json(&["get", &origin.url("/binary"), "-c", "c.larder"])[0];
    assert_eq!(binary["body_base64"], "AJ+Slg==");
    let stopped = &place.json(&["get", "--redirects", "0", &origin.url("/moved"), "-c", "c.larder"])[0];
    assert_eq!(stopped["status"], 302);
}

#[test]
fn each_failure_has_its_exit_code() {
    let (place, origin) = (Place::new(), origin());
    let code = |args: &[&str]| place.run(&[&["get", "-c", "c.larder"], args].concat()).code;
    assert_eq!(code(&[&origin.url("/none")]), 0);
    assert_eq!(code(&["--fail", &origin.url("/none")]), 22);
    assert_eq!(code(&["--offline", &origin.url("/never")]), 3);
    assert_eq!(code(&["--only-if-cached", &origin.url("/never")]), 3);
    assert_eq!(code(&["no url"]), 2);
    assert_eq!(code(&[]), 2);
    let gone = origin.url("/gone");
    drop(origin);
    assert_eq!(code(&[&gone]), 1);
}

#[test]
fn settings_come_from_the_line_the_environment_and_a_file_in_this_order() {
    let (place, origin) = (Place::new(), origin());
    let settings = format!(
        "cache = \"of-the-file\"\nbackend = \"sqlite\"\nexpire_after = \"1h\"\nallowable_codes = [200, 404]\n\
         allowable_methods = [\"GET\", \"POST\"]\ntimeout = \"30s\"\n\n[headers]\nX-Named = \"file\"\n\n\
         [urls]\n\"127.0.0.1:{port}/echo**\" = \"never\"\n\"127.0.0.1:{port}/no**\" = \"2d\"\n",
        port = origin.port()
    );
    fs::write(place.path("larder.toml"), settings).unwrap();
    assert_eq!(place.ok(&["get", &origin.url("/echo")]), "GET /echo file ");
    place.ok(&["get", &origin.url("/a")]);
    place.ok(&["get", &origin.url("/nothing")]);
    let lines = place.json(&["ls", "sqlite:of-the-file", "--sort", "expires"]);
    assert_eq!(lines.len(), 3, "a 404 is stored as well");
    assert!(lines[0]["url"].as_str().unwrap().ends_with("/a"), "in an hour");
    assert!(lines[1]["url"].as_str().unwrap().ends_with("/nothing"), "in two days");
    assert!(lines[2]["expires_at"].is_null(), "never");
    let mut command = place.command(&["get", &origin.url("/a")]);
    command.env("LARDER_CACHE", "of-the-environment.larder").env("LARDER_BACKEND", "log");
    assert!(command.status().unwrap().success());
    assert_eq!(place.json(&["ls", "of-the-environment.larder"]).len(), 1);
    let mut command = place.command(&["get", &origin.url("/a"), "--cache", "of-the-line.larder", "--backend", "log"]);
    assert!(command.env("LARDER_CACHE", "of-the-environment.larder").status().unwrap().success());
    assert_eq!(place.json(&["ls", "of-the-line.larder"]).len(), 1);
}

#[test]
fn a_mistake_in_the_settings_is_named() {
    let (place, origin) = (Place::new(), origin());
    for (text, word) in [
        ("expire_afer = \"1h\"", "expire_afer"),
        ("expire_after = \"soon\"", "soon"),
        ("backend = \"logg\"", "logg"),
        ("[headers]\na = 1", "header"),
        ("[urls]\n\"[\" = \"1h\"", "urls_expire_after"),
    ] {
        fs::write(place.path("s.toml"), text).unwrap();
        let ran = place.run(&["get", &origin.url("/a"), "--config", "s.toml", "-c", "c.larder"]);
        assert_eq!(ran.code, 2, "{text}: {}", ran.err);
        assert!(ran.err.contains(word), "{text}: {}", ran.err);
    }
    assert_eq!(place.run(&["get", "http://x.org", "--config", "none.toml"]).code, 1);
    fs::write(place.path("broken.toml"), "redirects = 1\n[headers]\nAuthorization = \"Bearer s3cret\n").unwrap();
    let ran = place.run(&["get", "http://x.org", "--config", "broken.toml"]);
    assert!(ran.code == 2 && ran.err.contains("line 3") && !ran.err.contains("s3cret"), "{}", ran.err);
    assert_eq!(origin.total_hits(), 0);
}

#[test]
fn no_credential_of_a_url_is_told() {
    let (place, origin) = (Place::new(), Origin::start());
    origin.route("/from;jsessionid=S3cr3t", Reply::redirect(302, "/to;token=S3cr3t?api_key=S3cr3t&a=1"));
    origin.route("/to;token=S3cr3t", Reply::ok("hello"));
    let url = origin.url("/from;jsessionid=S3cr3t?sig=S3cr3t").replace("http://", "http://me:S3cr3t@");
    let args = ["get", &url, "-c", "c.larder", "--verbose"];
    for from_cache in [false, true] {
        let told = place.run(&args);
        assert!(!told.err.contains("S3cr3t") && told.err.contains("302 of http"), "{}", told.err);
        let json = place.json(&args).remove(0);
        assert!(!json.to_string().contains("S3cr3t"), "{json}");
        assert!(json["url"].as_str().unwrap().ends_with("/to;token=REDACTED?api_key=REDACTED&a=1"), "{json}");
        assert!(
            json["history"][0]["url"].as_str().unwrap().ends_with("/from;jsessionid=REDACTED?sig=REDACTED"),
            "{json}"
        );
        assert!(from_cache || json["from_cache"] == true);
    }
    let key = place.json(&["ls", "c.larder"])[0]["key"].as_str().unwrap().to_owned();
    let shown = [place.ok(&["ls", "c.larder"]), place.ok(&["show", "c.larder", &key])];
    assert!(shown.iter().all(|text| text.contains("/to;token=REDACTED") && !text.contains("S3cr3t")), "{shown:?}");
}
