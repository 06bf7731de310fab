//! The engine on the real disk, with real processes: killed at any moment, crowded, out of space, among files that are
//! not its own. `LARDER_KILLS` sets how many processes are killed, `LARDER_HISTORY_SECONDS` how long the others run.

mod again;
mod disk;
mod files;
mod fork;
mod history;
mod leaks;
mod locks;
mod moved;
mod processes;
mod rights;
mod user;
mod worker;

use std::{fs, path::Path};

/// A body that says which number it belongs to, of a length that differs from number to number.
fn body(number: u64) -> Vec<u8> {
    let len = 8 + usize::try_from(number * 37 % 1500).expect("a small length");
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

/// The number that a body belongs to; nothing if it is not a whole one.
fn number(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(*bytes.first_chunk()?);
    (body(number) == bytes).then_some(number)
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name().into_string()).collect();
    names.sort();
    names.into_iter().map(|name| name.expect("a name in UTF-8")).collect()
}
