//! Looking at caches, and changing them.

use crate::{Place, bytes, urls};
use std::{fs, io::Read, process::Stdio};

#[test]
fn ls_lists_sorts_and_limits() {
    let place = Place::new();
    place.cache("c.larder");
    let all = place.json(&["ls", "c.larder"]);
    assert_eq!(
        urls(&all),
        [
            "http://api.example.com/v1/items?page=2",
            "http://api.example.com/v1/users",
            "http://example.org/",
            "http://example.org/old"
        ]
    );
    let largest = place.json(&["ls", "c.larder", "--sort", "size", "--reverse", "-n", "1"]);
    assert_eq!(largest[0]["size"], 29);
    let by_expiry = place.json(&["ls", "c.larder", "--sort", "expires"]);
    assert_eq!(urls(&by_expiry)[..2], ["http://example.org/old", "http://example.org/"]);
    assert_eq!(place.ok(&["ls", "c.larder"]).lines().count(), 4);
}

#[test]
fn ls_chooses_by_pattern_status_and_expiry() {
    let place = Place::new();
    place.cache("c.larder");
    let count = |args: &[&str]| place.json(&[&["ls", "c.larder"], args].concat()).len();
    assert_eq!(count(&["*.example.com"]), 2);
    assert_eq!(count(&["*.example.com/v1/u*"]), 1);
    assert_eq!(count(&["**"]), 4);
    assert_eq!(count(&["--expired"]), 1);
    assert_eq!(count(&["--fresh"]), 3);
    assert_eq!(count(&["--status", "404"]), 1);
    assert_eq!(count(&["--method", "post"]), 0);
    assert_eq!(count(&["--older-than", "1d"]), 0);
    assert_eq!(place.run(&["ls", "c.larder", "["]).code, 2);
}

#[test]
fn show_shows_one_response_by_url_and_by_key() {
    let place = Place::new();
    place.cache("c.larder");
    let text = place.ok(&["show", "c.larder", "http://api.example.com/v1/users"]);
    assert!(text.contains("200") && text.ends_with("[1, 2]\n"), "{text}");
    let key = place.json(&["ls", "c.larder", "*.example.com/v1/users"])[0]["key"].as_str().unwrap().to_owned();
    assert_eq!(place.ok(&["show", "--body", "c.larder", &key]), "[1, 2]");
    let shown = &place.json(&["show", "c.larder", &key])[0];
    assert_eq!(shown["body"], "[1, 2]");
    assert_eq!(shown["request"]["method"], "GET");
    let missing = place.run(&["show", "c.larder", "http://nobody.example/"]);
    assert_eq!(missing.code, 3);
    assert!(missing.err.contains("http://nobody.example/"), "{}", missing.err);
}

#[test]
fn stat_counts() {
    let place = Place::new();
    place.cache("c.larder");
    let stat = &place.json(&["stat", "c.larder"])[0];
    assert_eq!(stat["responses"], 4);
    assert_eq!(stat["expired"], 1);
    assert_eq!(stat["hosts"]["example.org"]["responses"], 2);
    assert_eq!(stat["statuses"]["404"], 1);
    assert_eq!(stat["file_bytes"], fs::metadata(place.path("c.larder")).unwrap().len());
}

#[test]
fn rm_deletes_by_url_key_and_pattern() {
    let place = Place::new();
    let cache = place.cache("c.larder");
    assert_eq!(place.json(&["rm", "c.larder", "http://example.org/"])[0]["deleted"], 1);
    assert_eq!(place.json(&["rm", "c.larder", "--dry-run", "--glob", "**"])[3]["deleted"], 3);
    assert_eq!(cache.len().unwrap(), 3);
    assert_eq!(place.json(&["rm", "c.larder", "--glob", "*.example.com"])[0]["deleted"], 2);
    assert_eq!(cache.urls().unwrap(), ["http://example.org/old"]);
    let missing = place.run(&["rm", "c.larder", "http://example.org/"]);
    assert_eq!(missing.code, 3);
    assert_eq!(place.run(&["rm", "c.larder"]).code, 2);
}

/// `*` stands for slashes too, a scheme counts, and what a pattern begins it matches to the end.
#[test]
fn patterns_mean_what_they_mean_in_settings() {
    let place = Place::new();
    place.cache("c.larder");
    for (pattern, count) in [
        ("api.example.com/*s", 2),
        ("API.example.com/v1/i", 1),
        ("example.org", 2),
        ("https://example.org", 0),
        ("http://*/old", 1),
        ("example.{com,org}/", 2),
        ("regex:page=[0-9]$", 1),
    ] {
        assert_eq!(place.json(&["ls", "c.larder", pattern]).len(), count, "{pattern}");
        let deleted = place.json(&["rm", "c.larder", "--dry-run", "--glob", pattern]).pop().unwrap();
        assert_eq!(deleted["deleted"], count, "{pattern}");
    }
    for pattern in ["[", "regex:("] {
        let wrong = place.run(&["ls", "c.larder", pattern]);
        assert!(wrong.code == 2 && wrong.err.contains(pattern), "{} {}", wrong.code, wrong.err);
    }
}

#[test]
fn expire_deletes_what_is_expired_or_sets_when() {
    let place = Place::new();
    let cache = place.cache("c.larder");
    assert_eq!(place.json(&["expire", "c.larder", "--set", "7d", "--glob", "api.example.com"])[0]["changed"], 2);
    assert_eq!(place.json(&["expire", "c.larder"])[0]["deleted"], 1);
    let never = place.json(&["ls", "c.larder"]).iter().filter(|line| line["expires_at"].is_null()).count();
    assert_eq!((never, cache.len().unwrap()), (0, 3));
    assert_eq!(place.json(&["expire", "c.larder", "--set", "never"])[0]["changed"], 3);
    assert_eq!(place.run(&["expire", "c.larder", "--set", "tomorrow"]).code, 2);
}

#[test]
fn clear_asks_first_and_compact_gives_space_back() {
    let place = Place::new();
    let cache = place.cache("c.larder");
    let refused = place.run(&["clear", "c.larder"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    assert_eq!(cache.len().unwrap(), 4);
    assert_eq!(place.json(&["clear", "--yes", "c.larder"])[0]["deleted"], 4);
    assert!(cache.is_empty().unwrap());
    let sizes = &place.json(&["compact", "c.larder"])[0];
    assert_eq!(sizes["bytes_after"], fs::metadata(place.path("c.larder")).unwrap().len());
}

#[test]
fn check_finds_damage_and_repair_saves_the_rest() {
    let place = Place::new();
    drop(place.cache("c.larder"));
    assert_eq!(place.json(&["check", "c.larder"])[0]["sound"], true);
    let mut damaged = bytes(&place.path("c.larder"));
    let at = damaged.windows(6).rposition(|part| part == b"[1, 2]").unwrap();
    damaged[at] ^= 1;
    fs::write(place.path("d.larder"), &damaged).unwrap();
    let found = place.run(&["--json", "check", "d.larder"]);
    assert_eq!(found.code, 4, "{}", found.text());
    assert!(found.err.contains("repair"), "{}", found.err);
    place.ok(&["repair", "d.larder", "r.larder"]);
    assert_eq!(bytes(&place.path("d.larder")), damaged, "the damaged file is left as it is");
    assert_eq!(place.run(&["check", "r.larder"]).code, 0);
    assert_eq!(place.json(&["ls", "r.larder"]).len(), 3);
}

#[test]
fn looking_changes_no_byte_and_waits_for_no_writer() {
    let place = Place::new();
    let cache = place.cache("c.larder");
    let before = bytes(&place.path("c.larder"));
    for args in [
        &["ls", "c.larder"][..],
        &["stat", "c.larder"],
        &["check", "c.larder"],
        &["show", "c.larder", "http://example.org/"],
    ] {
        place.ok(args);
    }
    assert_eq!(bytes(&place.path("c.larder")), before);
    let mut files: Vec<_> = fs::read_dir(place.path(".")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["c.larder"]);
    // The cache is still open here, and is seen as it is now.
    cache.delete("http://example.org/").unwrap();
    assert_eq!(place.json(&["ls", "c.larder"]).len(), 3);
}

#[test]
fn a_file_of_sqlite_is_seen_by_its_first_bytes() {
    let place = Place::new();
    drop(place.cache("c.sqlite"));
    fs::rename(place.path("c.sqlite"), place.path("anything")).unwrap();
    assert_eq!(place.json(&["ls", "anything"]).len(), 4);
    assert_eq!(place.json(&["check", "anything"])[0]["sound"], true);
    assert_eq!(place.json(&["stat", "sqlite:anything"])[0]["responses"], 4);
}

#[test]
fn a_cache_that_is_not_there_is_an_error_and_not_made() {
    let place = Place::new();
    for args in [
        &["ls", "no.larder"][..],
        &["show", "no.larder", "x"],
        &["stat", "no.larder"],
        &["rm", "no.larder", "x"],
        &["expire", "no.larder"],
        &["clear", "--yes", "no.larder"],
        &["compact", "no.larder"],
        &["check", "no.larder"],
        &["repair", "no.larder", "r.larder"],
        &["copy", "no.larder", "to.larder"],
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, 1, "{args:?}: {}", ran.err);
        assert!(ran.err.contains("no.larder"), "{}", ran.err);
    }
    assert_eq!(fs::read_dir(place.path(".")).unwrap().count(), 0);
    fs::write(place.path("text"), "this is no cache, and longer than a header of one would be").unwrap();
    let other = place.run(&["ls", "text"]);
    assert_eq!(other.code, 1);
    assert_eq!(bytes(&place.path("text")).len(), 58);
}

#[test]
fn a_broken_pipe_is_success() {
    let place = Place::new();
    place.cache("c.larder");
    for args in [&["man"][..], &["ls", "c.larder"], &["--json", "stat", "c.larder"], &["completions", "zsh"]] {
        let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    assert!(help.contains("Exit codes"), "{help}");
    for command in [
        "get",
        "ls",
        "show",
        "stat",
        "rm",
        "expire",
        "clear",
        "compact",
        "check",
        "repair",
        "copy",
        "completions",
        "man",
    ] {
        assert!(help.contains(command));
        let help = place.ok(&[command, "--help"]);
        assert!(help.contains("Example") && help.contains(&format!("larder {command}")), "{help}");
    }
    assert_eq!(place.run(&["no-such-command"]).code, 2);
    assert!(place.ok(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_and_manual_name_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.ok(&["completions", shell]);
        assert!(script.contains("compact") && script.contains("only-if-cached"), "{shell}");
    }
    let manual = place.ok(&["man"]);
    assert!(manual.contains(".TH larder 1"));
    assert!(manual.contains("older\\-than"), "{manual}");
}

#[test]
fn control_characters_of_others_do_not_reach_the_terminal() {
    let place = Place::new();
    let cache = place.cache("c.larder");
    let request = larder::StoredRequest::new("GET", "http://x.org/", &http::HeaderMap::new(), b"").unwrap();
    let now = std::time::SystemTime::now();
    let response =
        larder::StoredResponse::new(request, http::StatusCode::OK, http::HeaderMap::new(), "\u{1b}[2Jx", now);
    cache.save(&response).unwrap();
    let text = place.ok(&["show", "c.larder", "http://x.org/"]);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert_eq!(place.ok(&["show", "--body", "c.larder", "http://x.org/"]), "\u{1b}[2Jx");
}
