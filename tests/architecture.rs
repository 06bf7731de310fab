//! The rules about how the source is arranged, checked by reading it: CONTRIBUTING.md states them.
//!
//! Comments, strings and `#[cfg(test)]` items do not count. What is found is reported as `file:line: what`.

#[path = "support/tokens.rs"]
mod tokens;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use tokens::{Token, is, is_name, tokens, without_tests};

/// The house, lowest floor first: each part with the parts that it may use. `lib.rs` may use all of them, and
/// `src/bin` is a crate of its own, which sees the public names only.
const HOUSE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("log", &["error"]),
    ("dict", &["error", "log"]),
    ("entry", &["error"]),
    ("policy", &["error", "entry"]),
    ("store", &["error", "log", "dict", "entry"]),
    ("replay", &["error", "entry", "policy", "store"]),
    ("session", &["error", "log", "dict", "entry", "policy", "store", "replay"]),
    ("global", &["error", "log", "dict", "entry", "policy", "store", "replay", "session"]),
    ("middleware", &["error", "log", "dict", "entry", "policy", "store", "replay", "session"]),
];

const PACKAGES_MAX: usize = 120;
const NOT_IN_DEFAULT: &[&str] = &["rusqlite", "libsqlite3-sys", "redis", "mongodb", "clap", "tokio"];
const NOT_IN_ENGINE: &[&str] = &["ureq", "rustls", "http", "url", "serde", "serde_json", "bincode", "argon2"];

#[test]
fn the_house_has_no_circles() {
    for (floor, (part, below)) in HOUSE.iter().enumerate() {
        for used in *below {
            let at = HOUSE.iter().position(|(name, _)| name == used);
            assert!(at.is_some_and(|at| at < floor), "{part} may use {used}, which is not below it");
        }
    }
}

#[test]
fn arrows_between_folders_run_down() {
    let sources = sources();
    let root = sources.iter().find(|source| source.path == "src/lib.rs").expect("src/lib.rs");
    let exports = exports(&root.tokens);
    let mut wrong = Vec::new();
    for source in &sources {
        wrong.extend(arrows_up(source, &exports));
    }
    fail_if_any("arrows that run up (allowed ones are in HOUSE, at the top of this test)", &wrong);
}

#[test]
fn unsafe_code_is_where_it_is_argued_for_and_nowhere_else() {
    // Mapping a file, a call that no safe crate offers, and forking in a test: each with a SAFETY argument.
    const ARGUED: [&str; 3] = ["src/log/map.rs", "src/log/writeback.rs", "tests/torture/fork.rs"];
    let mut wrong = Vec::new();
    for (path, text) in rust_files().into_iter().chain(rust_files_under("tests")) {
        let mut unsafe_tokens = tokens(&text).into_iter().filter(|token| token.text == "unsafe");
        if !ARGUED.contains(&path.as_str()) {
            wrong.extend(unsafe_tokens.map(|token| format!("{path}:{}: unsafe", token.line)));
        } else if unsafe_tokens.next().is_none() || !text.contains("// SAFETY: ") {
            wrong.push(format!("{path}:1: nothing unsafe is argued for here"));
        }
    }
    fail_if_any("unsafe code without an argument", &wrong);
}

#[test]
fn the_engine_touches_files_through_the_disk_trait_alone() {
    let mut wrong = Vec::new();
    for source in sources() {
        let is_the_trait =
            ["src/log/real_disk.rs", "src/log/statx.rs", "src/log/writeback.rs"].contains(&&*source.path);
        if source.path.starts_with("src/log/") && !is_the_trait {
            wrong.extend(file_access(&source));
        }
    }
    fail_if_any("file access in the engine outside src/log/real_disk.rs and what it calls", &wrong);
}

#[test]
fn no_file_names_this_machine_or_a_registry() {
    // Put together here, so that this file does not find itself.
    let banned = [["/ro", "ot/"], ["/ho", "me/"], ["/wo", "rk/"], ["crates", ".io"], ["pypi", ".org"]]
        .map(|parts| parts.concat());
    let mut wrong = Vec::new();
    for (path, text) in files_under(&package(), &is_text_of_ours) {
        for (number, line) in (1..).zip(text.lines()) {
            let found = banned.iter().filter(|word| line.contains(word.as_str()));
            wrong.extend(found.map(|word| format!("{path}:{number}: {word}")));
        }
    }
    fail_if_any("paths of one machine, or names of registry hosts", &wrong);
}

#[test]
fn the_default_build_is_small() {
    let packages = cargo_tree(&[]);
    let listed: Vec<_> = packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
    assert!(
        packages.len() <= PACKAGES_MAX,
        "the default build has {} packages, at most {PACKAGES_MAX} are allowed:\n{}",
        packages.len(),
        listed.join("\n")
    );
    assert_without(&packages, NOT_IN_DEFAULT, "the default build");
}

#[test]
fn the_engine_alone_knows_no_http_and_no_serde() {
    let packages = cargo_tree(&["--no-default-features"]);
    assert_without(&packages, NOT_IN_DEFAULT, "the build without features");
    assert_without(&packages, NOT_IN_ENGINE, "the build without features");
}

// --- the rules on tokens ---

/// A file of src/ without what belongs to tests.
struct Source {
    path: String,
    tokens: Vec<Token>,
}

/// Every use of a part of the house by a file of another part that may not use it.
fn arrows_up(source: &Source, exports: &[(String, String)]) -> Vec<String> {
    let module = module_path(&source.path);
    let Some(part) = module.first() else { return Vec::new() };
    let Some((_, allowed)) = HOUSE.iter().find(|(name, _)| name == part) else {
        return vec![format!("{}:1: `{part}` has no floor in HOUSE; give it one", source.path)];
    };
    let mut wrong = Vec::new();
    for (name, line) in names_in_root(&source.tokens, module.len()) {
        let target = exports.iter().find(|(export, _)| *export == name).map_or(&name, |(_, target)| target);
        let known = HOUSE.iter().any(|(name, _)| name == target);
        if target == "*" {
            wrong.push(format!("{}:{line}: `crate::*` hides what is used", source.path));
        } else if known && target != part && !allowed.contains(&target.as_str()) {
            let through = if *target == name { String::new() } else { format!(" (through `crate::{name}`)") };
            wrong.push(format!("{}:{line}: {part} uses {target}{through}", source.path));
        }
    }
    wrong
}

/// The names that a file takes from the root of the crate: the first segments behind `crate::`, or behind as many
/// `super::` as lead from a module of this depth up to the root.
fn names_in_root(tokens: &[Token], depth: usize) -> Vec<(String, usize)> {
    let mut names = Vec::new();
    for at in 0..tokens.len() {
        let path_goes_on = |at: usize| is(tokens, at + 1, "::");
        let starts_here = at == 0 || !is(tokens, at - 1, "::");
        if is(tokens, at, "crate") && path_goes_on(at) {
            names.extend(branches(tokens, at + 2));
        } else if is(tokens, at, "super") && starts_here {
            let mut last = at;
            let mut supers = 1;
            while path_goes_on(last) && is(tokens, last + 2, "super") {
                last += 2;
                supers += 1;
            }
            if supers == depth && path_goes_on(last) {
                names.extend(branches(tokens, last + 2));
            }
        }
    }
    names
}

/// The first segments of a path or of a `{tree, of::paths}`.
fn branches(tokens: &[Token], at: usize) -> Vec<(String, usize)> {
    branch_starts(tokens, at).into_iter().map(|at| (tokens[at].text.clone(), tokens[at].line)).collect()
}

fn branch_starts(tokens: &[Token], at: usize) -> Vec<usize> {
    if !is(tokens, at, "{") {
        return if at < tokens.len() { vec![at] } else { Vec::new() };
    }
    let mut starts = Vec::new();
    let mut depth = 1;
    let mut fresh = true;
    for (at, token) in tokens.iter().enumerate().skip(at + 1) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => fresh = true,
            _ if fresh => {
                starts.push(at);
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    starts
}

/// What the root re-exports, as (name, part that it comes from): `pub use session::{Response as R}` is (R, session).
fn exports(tokens: &[Token]) -> Vec<(String, String)> {
    let mut exports = Vec::new();
    for at in 0..tokens.len() {
        if !is(tokens, at, "use") {
            continue;
        }
        let skip = if is(tokens, at + 1, "crate") || is(tokens, at + 1, "self") { 3 } else { 1 };
        for start in branch_starts(tokens, at + skip) {
            let part = &tokens[start].text;
            let mut depth = 0;
            for at in start..tokens.len() {
                match tokens[at].text.as_str() {
                    "{" => depth += 1,
                    ";" => break,
                    "}" | "," if depth == 0 => break,
                    "}" => depth -= 1,
                    // A name ends its branch: what follows is no `::` and no `as`.
                    name if is_name(name) && !is(tokens, at + 1, "::") && !is(tokens, at + 1, "as") => {
                        exports.push((name.to_owned(), part.clone()));
                    }
                    _ => {}
                }
            }
        }
    }
    exports
}

/// Every way to a file other than the trait: `std::fs`, also in a tree, and the crates that wrap it.
fn file_access(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let path_goes_on = is(&source.tokens, at + 1, "::");
        if ["std", "rustix"].contains(&token.text.as_str()) && path_goes_on {
            let fs = branches(&source.tokens, at + 2).into_iter().filter(|(name, _)| name == "fs");
            wrong.extend(fs.map(|(_, line)| format!("{}:{line}: {}::fs", source.path, token.text)));
        } else if token.text == "fs2" && path_goes_on {
            wrong.push(format!("{}:{}: fs2", source.path, token.line));
        }
    }
    wrong
}

// --- reading files and packages ---

/// `src/log/walk.rs` is the module `log::walk`, `src/log/mod.rs` is `log`, `src/lib.rs` is the root.
fn module_path(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut module: Vec<_> = inner.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of src/ without bin/, without test items, and without the files of test modules.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut test_files = Vec::new();
    for (path, text) in rust_files() {
        let (kept, modules) = without_tests(&tokens(&text));
        let folder = format!("src/{}", module_path(&path).join("/"));
        for module in modules {
            let stem = format!("{}/{module}", folder.trim_end_matches('/'));
            test_files.push(format!("{stem}.rs"));
            test_files.push(format!("{stem}/"));
        }
        sources.push(Source { path, tokens: kept });
    }
    sources.retain(|source| {
        !source.path.starts_with("src/bin/")
            && !test_files
                .iter()
                .any(|test| source.path == *test || test.ends_with('/') && source.path.starts_with(test))
    });
    assert!(!sources.is_empty(), "no sources found");
    sources
}

fn rust_files() -> Vec<(String, String)> {
    rust_files_under("src")
}

fn rust_files_under(folder: &str) -> Vec<(String, String)> {
    files_under(&package().join(folder), &|path| path.extension().is_some_and(|extension| extension == "rs"))
}

/// Text that somebody here wrote. The lock file names the registry, as it must.
fn is_text_of_ours(path: &Path) -> bool {
    const KINDS: [&str; 8] = ["rs", "md", "toml", "py", "sh", "json", "yml", "txt"];
    match path.extension() {
        Some(extension) => KINDS.iter().any(|kind| extension == *kind),
        None => true,
    }
}

/// The text files under a folder as (path from the package's root, text), sorted. What is built is left out.
fn files_under(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<(String, String)> {
    const SKIPPED: [&str; 6] = [".git", "target", "__pycache__", "corpus", "artifacts", "coverage"];
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let listing = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for item in listing {
            let item = item.expect("a folder that can be listed");
            let kind = item.file_type().expect("a file type");
            let path = item.path();
            if SKIPPED.iter().any(|skipped| item.file_name() == *skipped) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && wanted(&path)
                && let Ok(text) = fs::read_to_string(&path)
            {
                let name = path.strip_prefix(package()).expect("a path in the package").to_string_lossy().into_owned();
                files.push((name, text));
            }
        }
    }
    files.sort();
    files
}

/// The packages of a build, larder included, as (name, version).
fn cargo_tree(features: &[&str]) -> BTreeSet<(String, String)> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "-e", "normal", "--prefix", "none", "--locked", "--offline"])
        .args(features)
        .current_dir(package())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    let packages: BTreeSet<_> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect();
    assert!(packages.iter().any(|(name, _)| name == "larder"), "cargo tree does not list larder: {packages:?}");
    packages
}

fn assert_without(packages: &BTreeSet<(String, String)>, banned: &[&str], build: &str) {
    let found: Vec<_> = packages.iter().filter(|(name, _)| banned.contains(&name.as_str())).collect();
    assert!(
        found.is_empty(),
        "{build} has {found:?}; put it behind a feature (`cargo tree -i NAME` shows who needs it)"
    );
}

fn fail_if_any(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

// --- the checks are checked: each of them must be able to fail ---

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), tokens: without_tests(&tokens(text)).0 }
}

#[test]
fn an_arrow_that_runs_up_is_found_however_it_is_written() {
    let exports =
        exports(&tokens("pub mod log;\npub use error::{Error, Result};\npub use session::{Response as R, x::Body};"));
    for (path, text, wrong) in [
        ("src/log/walk.rs", "use crate::store::Store;", "src/log/walk.rs:1: log uses store"),
        ("src/log/walk.rs", "\nuse crate::{error::Error, session};", "src/log/walk.rs:2: log uses session"),
        ("src/log/mod.rs", "fn f() { super::policy::key() }", "src/log/mod.rs:1: log uses policy"),
        ("src/store/x.rs", "pub use super::super::session::Y;", "src/store/x.rs:1: store uses session"),
        ("src/policy/key.rs", "fn f(_: &crate::R) {}", "src/policy/key.rs:1: policy uses session (through `crate::R`)"),
        ("src/policy/key.rs", "use crate::Body;", "src/policy/key.rs:1: policy uses session (through `crate::Body`)"),
        ("src/policy/key.rs", "use crate::log::Times;", "src/policy/key.rs:1: policy uses log"),
        ("src/entry/mod.rs", "use crate::*;", "src/entry/mod.rs:1: `crate::*` hides what is used"),
        ("src/attic/mod.rs", "", "src/attic/mod.rs:1: `attic` has no floor in HOUSE; give it one"),
    ] {
        assert_eq!(arrows_up(&source(path, text), &exports), [wrong], "{path}: {text}");
    }
}

#[test]
fn arrows_that_run_down_pass_and_so_do_tests_comments_and_strings() {
    let exports = exports(&tokens("pub use error::Error; pub use session::Response;"));
    for (path, text) in [
        ("src/session/send.rs", "use crate::{Error, policy::key, store::{Store, log::LogStore}, log};"),
        ("src/log/walk.rs", "use super::record; use crate::error::Error; use crate::Error as E;"),
        (
            "src/log/walk.rs",
            "// use crate::store;\n/* crate::store /* crate::dict */ crate::session */ //! crate::session",
        ),
        (
            "src/log/walk.rs",
            r##"const A: &str = "crate::store \" crate::store"; const B: &str = r#"" crate::store"#;"##,
        ),
        ("src/log/walk.rs", "fn f<'a>(x: &'a u8) -> char { '\\'' } // '\"' crate::store"),
        ("src/log/walk.rs", "#[cfg(test)]\nmod tests { use crate::store::Store; fn f() {} }"),
        ("src/log/walk.rs", "#[cfg(test)] use crate::session::Response;"),
        ("src/lib.rs", "pub use crate::session::Response;"),
    ] {
        assert_eq!(arrows_up(&source(path, text), &exports), [""; 0], "{path}: {text}");
    }
}

#[test]
fn file_access_is_found_in_trees_and_paths() {
    for (text, count) in [
        ("use std::fs::File;", 1),
        ("use std::{io, fs::{self, File}};", 1),
        ("fn f() { std::fs::read(p); fs2::FileExt::unlock(&f); rustix::fs::open(p) }", 3),
        ("use std::{io, path::Path, os::unix::fs::MetadataExt}; use rustix::process::getuid;", 0),
        ("#[cfg(test)] mod tests { use std::fs; }", 0),
    ] {
        assert_eq!(file_access(&source("src/log/walk.rs", text)).len(), count, "{text}");
    }
}

#[test]
fn a_test_module_in_a_file_of_its_own_is_named() {
    let (kept, modules) = without_tests(&tokens("mod walk; #[cfg(test)] #[allow(x)] pub(crate) mod sim; mod record;"));
    assert_eq!(modules, ["sim"]);
    assert!(!kept.iter().any(|token| token.text == "sim"));
    assert!(kept.iter().any(|token| token.text == "record"));
}
