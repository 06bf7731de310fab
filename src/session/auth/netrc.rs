//! The netrc file: who one is on which host.

use std::{env, fmt, fs, path::PathBuf};

/// A file larger than this is no netrc file.
const LEN_MAX: u64 = 1 << 20;

/// The entries of a netrc file, in their order.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Netrc {
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Default)]
struct Entry {
    /// In lower case; `None` is any host.
    host: Option<String>,
    login: String,
    password: String,
}

impl Netrc {
    /// That of the user: the file that `NETRC` names, else `.netrc` or `_netrc` in the home folder. `None` if there is
    /// none that can be read, or nothing in it.
    pub(crate) fn of_user() -> Option<Self> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let of_home = |home: PathBuf| vec![home.join(".netrc"), home.join("_netrc")];
        let paths = set("NETRC").map(|path| vec![path]).or_else(|| set("HOME").map(of_home))?;
        let usable = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= LEN_MAX);
        let text = fs::read(paths.iter().find(|path| usable(path))?).ok()?;
        let netrc = Self::parse(&String::from_utf8_lossy(&text));
        (!netrc.entries.is_empty()).then_some(netrc)
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut rest = text;
        while let Some((word, after)) = next_word(rest) {
            rest = after;
            // The word behind a keyword is its value, whatever it reads.
            let mut value = || -> Option<String> {
                let (value, after) = next_word(rest)?;
                rest = after;
                Some(value)
            };
            match word.as_str() {
                "machine" => {
                    let host = value().map(|host| host.to_ascii_lowercase());
                    entries.extend(host.map(|host| Entry { host: Some(host), ..Entry::default() }));
                }
                "default" => entries.push(Entry::default()),
                "login" | "user" => {
                    if let (Some(entry), Some(login)) = (entries.last_mut(), value()) {
                        entry.login = login;
                    }
                }
                "password" => {
                    if let (Some(entry), Some(password)) = (entries.last_mut(), value()) {
                        entry.password = password;
                    }
                }
                "account" => drop(value()),
                // A macro goes to the next empty line.
                "macdef" => rest = rest.split_once("\n\n").map_or("", |(_, after)| after),
                _ => {}
            }
        }
        Self { entries }
    }

    /// Login and password for a host. A default counts only where no machine does, wherever it stands.
    pub(crate) fn find(&self, host: &str) -> Option<(&str, &str)> {
        let host = host.trim_matches(['[', ']']);
        let named =
            self.entries.iter().find(|entry| entry.host.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(host)));
        let entry = named.or_else(|| self.entries.iter().find(|entry| entry.host.is_none()))?;
        (!entry.login.is_empty() || !entry.password.is_empty()).then_some((&*entry.login, &*entry.password))
    }
}

impl fmt::Debug for Netrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Netrc").field("entries", &self.entries.len()).finish()
    }
}

/// The next word, which may stand in quotes, and what follows it. A comment goes to the end of its line.
fn next_word(mut text: &str) -> Option<(String, &str)> {
    loop {
        text = text.trim_start();
        match text.strip_prefix('#') {
            Some(comment) => text = comment.split_once('\n').map_or("", |(_, after)| after),
            None => break,
        }
    }
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        return (!word.is_empty()).then(|| (word.to_owned(), rest));
    };
    let mut word = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => word.extend(chars.next()),
            c => word.push(c),
        }
    }
    Some((word, chars.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_defaults_macros_and_comments_are_read() {
        let netrc = Netrc::parse(
            "# mine\nmachine A.example login alice password p#w\nmacdef init\ncd /\nmachine not.example login x\n\n\
             machine b.example\n  login \"bob \\\"b\\\"\"\taccount z\n  password machine\ndefault login any password \"\"",
        );
        assert_eq!(netrc.find("a.EXAMPLE"), Some(("alice", "p#w")));
        assert_eq!(netrc.find("b.example"), Some(("bob \"b\"", "machine")));
        assert_eq!(netrc.find("not.example"), Some(("any", "")));
        assert_eq!(format!("{netrc:?}"), "Netrc { entries: 3 }");
    }

    #[test]
    fn broken_files_give_what_they_can() {
        for text in ["", "machine", "login x", "machine a", "machine a login", "\"", "macdef x\ny"] {
            assert_eq!(Netrc::parse(text).find("a"), None, "{text}");
        }
        let netrc = Netrc::parse("default login d password d\nmachine ::1 login six password p");
        assert_eq!(netrc.find("[::1]"), Some(("six", "p")));
    }
}
