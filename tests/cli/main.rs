//! The program `larder`, as people use it: what it writes, what it changes, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod support;

mod caches;
mod copying;
mod fetching;

use larder::{Cache, StoredRequest, StoredResponse};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

/// A folder in which the program runs, with no settings of anybody.
pub(crate) struct Place {
    folder: TempDir,
}

/// How the program ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LARDER_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.folder.path()).env_remove("XDG_CONFIG_HOME").env_remove("XDG_CACHE_HOME");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs it, and it must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        String::from_utf8(ran.out).unwrap()
    }

    /// The same with `--json`: a value for each line.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let args: Vec<_> = ["--json"].iter().chain(args).copied().collect();
        self.ok(&args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A cache with pages of two hosts, one of them expired.
    pub(crate) fn cache(&self, name: &str) -> Cache {
        let cache = Cache::open(self.path(name).to_str().unwrap()).unwrap();
        let now = SystemTime::now();
        for (url, status, body, expires) in [
            ("http://api.example.com/v1/users", 200, "[1, 2]", None),
            ("http://api.example.com/v1/items?page=2", 200, "a longer body than the others", None),
            ("http://example.org/", 404, "gone", Some(now + Duration::from_secs(3600))),
            ("http://example.org/old", 200, "old", Some(now - Duration::from_secs(60))),
        ] {
            let request = StoredRequest::new("GET", url, &http::HeaderMap::new(), b"").unwrap();
            let status = http::StatusCode::from_u16(status).unwrap();
            let response = StoredResponse::new(request, status, http::HeaderMap::new(), body, now);
            cache.save(&response.with_expires(expires)).unwrap();
        }
        cache
    }
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

pub(crate) fn urls(lines: &[Value]) -> Vec<String> {
    lines.iter().map(|line| line["url"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
