//! One file per command: it takes what was said, calls the library, and writes what came of it.

pub(crate) mod check;
pub(crate) mod clear;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod expire;
pub(crate) mod get;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod repair;
pub(crate) mod rm;
mod select;
pub(crate) mod show;
pub(crate) mod stat;

use crate::failure::Failure;
use larder::{Backend, Cache};
use std::io;

/// A cache to look at: it is there, and is not changed.
fn look_at(place: &str) -> Result<Cache, Failure> {
    exists(place)?;
    Ok(Cache::open_read_only(place)?)
}

/// A cache to change: it is there, so that a mistyped place does not become a new one.
fn change(place: &str) -> Result<Cache, Failure> {
    exists(place)?;
    Ok(Cache::open(place)?)
}

/// A place as it is told of: without the password of a server.
fn told(place: &str) -> String {
    match Backend::at(place) {
        Ok(backend) if place.contains("://") => backend.to_string(),
        _ => place.to_owned(),
    }
}

fn exists(place: &str) -> Result<(), Failure> {
    match Backend::at(place)? {
        Backend::LogAt(path) | Backend::SqliteAt(path) => path
            .try_exists()
            .and_then(|there| if there { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) })
            .map_err(Failure::io(format!("open the cache {}", path.display()))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_place_is_told_of_without_its_password() {
        for (place, want) in [
            ("redis://user:secret@x.org/0#name", "redis://REDACTED@x.org/0"),
            ("a/b.larder", "a/b.larder"),
            ("log:a.larder", "log:a.larder"),
        ] {
            assert_eq!(super::told(place), want);
        }
    }
}
