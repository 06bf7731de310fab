//! Proxies that the environment names. It is that of a process, so each case is one.

use std::{env, process::Command};

use larder::{Backend, CachedSession};

use crate::{
    builder, forwarding,
    support::{Origin, Reply},
};

const NAMES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// What a process with these variables gets for a URL.
fn ask(variables: &[(&str, &str)], url: &str) -> String {
    let mut process = Command::new(env::current_exe().unwrap());
    for name in NAMES {
        process.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    let output = process
        .args(["--exact", "environment::the_process_behind_proxies", "--include-ignored", "--nocapture"])
        .env("LARDER_TEST_URL", url)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.split("GOT ").nth(1).unwrap_or_else(|| panic!("{said}")).split(" TOG").next().unwrap().to_owned()
}

#[test]
#[ignore = "a part of the tests above, which start it as a process of its own"]
fn the_process_behind_proxies() {
    let Ok(url) = env::var("LARDER_TEST_URL") else { return };
    let session = CachedSession::builder("cache").backend(Backend::Memory).build().unwrap();
    let got = session.get(&url).send().map_or_else(|error| format!("{:?}", error.kind()), |got| got.text().unwrap());
    // The harness writes to the same output.
    eprintln!("{got}");
    let line = format!("GOT {got} TOG\n");
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
    let straight = builder().build().unwrap().get(&url).send();
    assert!(url.contains("127.0.0.1") || straight.is_err(), "nobody else knows these hosts");
}

#[test]
fn variables_in_lower_and_upper_case_name_proxies() {
    let [proxy, origin] = [(); 2].map(|()| Origin::start());
    forwarding(&proxy);
    proxy.handle(&origin.url("/"), |_| Reply::ok("by the proxy"));
    origin.route("/", Reply::ok("straight"));
    let (address, nobody) = (proxy.url(""), "http://127.0.0.1:1");
    let bare = address.strip_prefix("http://").unwrap();
    let url = origin.url("/");
    for (variables, want) in [
        (vec![], "straight"),
        (vec![("http_proxy", &*address)], "by the proxy"),
        (vec![("HTTP_PROXY", &*address)], "by the proxy"),
        (vec![("HTTP_PROXY", bare)], "by the proxy"),
        (vec![("http_proxy", &*address), ("HTTP_PROXY", nobody)], "by the proxy"),
        (vec![("ALL_PROXY", &*address)], "by the proxy"),
        (vec![("all_proxy", nobody), ("http_proxy", &*address)], "by the proxy"),
        (vec![("https_proxy", &*address)], "straight"),
        (vec![("HTTPS_PROXY", nobody)], "straight"),
        (vec![("HTTP_PROXY", &*address), ("REQUEST_METHOD", "GET")], "straight"),
        (vec![("http_proxy", "")], "straight"),
        (vec![("http_proxy", "nonsense://x")], "InvalidInput"),
        (vec![("http_proxy", nobody)], "Network"),
        (vec![("http_proxy", &*address), ("no_proxy", "127.0.0.1")], "straight"),
        (vec![("http_proxy", &*address), ("NO_PROXY", "x.org, 127.0.0.0/8 ")], "straight"),
        (vec![("http_proxy", &*address), ("NO_PROXY", "*")], "straight"),
        (vec![("http_proxy", &*address), ("NO_PROXY", &*format!("127.0.0.1:{}", origin.port()))], "straight"),
        (vec![("http_proxy", &*address), ("NO_PROXY", "127.0.0.1:1")], "by the proxy"),
        (vec![("http_proxy", &*address), ("no_proxy", "x.org"), ("NO_PROXY", "*")], "by the proxy"),
    ] {
        assert_eq!(ask(&variables, &url), want, "{variables:?}");
    }
    let variables = [("http_proxy", &*address), ("no_proxy", ".example.org")];
    assert_eq!(ask(&variables, "http://a.example/"), "http://a.example/ a.example ");
}
