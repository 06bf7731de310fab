//! A store of one's own, made of two dictionaries: here each value is a file, and each dictionary a folder.
//!
//! `cargo run --example custom_store`; `cargo test --example custom_store` runs the laws of dicts and stores over it.

use std::{
    fs,
    io::{self, ErrorKind::NotFound, Write as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use larder::{
    Backend, CachedSession, Error, ErrorKind, Result,
    dict::{Change, Dict, New},
    store::DictStore,
};
use sha2::{Digest, Sha256};

/// A folder of files, one for each key. Other processes may read it; only one may write.
#[derive(Debug)]
struct FolderDict {
    folder: PathBuf,
    /// Held while files change, so that expectations hold until the change is made.
    changing: Mutex<()>,
    parts: AtomicU64,
}

impl FolderDict {
    fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        Ok(Self { folder, changing: Mutex::new(()), parts: AtomicU64::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a file is a digest, as a key may be longer than names may be; the key itself is in the file.
    fn path(&self, key: &[u8]) -> PathBuf {
        let name = Sha256::digest(key).iter().fold(String::new(), |name, byte| name + &format!("{byte:02x}"));
        self.folder.join(name)
    }

    /// The file is there whole or not at all. Whoever wants it to survive a power cut syncs it before the renaming, and the
    /// folder after it.
    fn write(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let part = self.folder.join(format!("part{}", self.parts.fetch_add(1, Ordering::Relaxed)));
        let mut file = fs::File::create(&part)?;
        file.write_all(&(key.len() as u64).to_le_bytes())?;
        file.write_all(key)?;
        file.write_all(value)?;
        fs::rename(part, self.path(key))
    }
}

fn read(path: &Path) -> Result<Option<(Bytes, Bytes)>> {
    match fs::read(path) {
        Ok(file) => Ok(split(&Bytes::from(file))),
        Err(error) if error.kind() == NotFound => Ok(None),
        Err(error) => Err(failed(path, error)),
    }
}

/// Key and value of a file; `None` if it is cut.
fn split(file: &Bytes) -> Option<(Bytes, Bytes)> {
    let len = usize::try_from(u64::from_le_bytes(*file.first_chunk()?)).ok()?;
    let rest = file.slice(8..);
    (rest.len() >= len).then(|| (rest.slice(..len), rest.slice(len..)))
}

impl Dict for FolderDict {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(read(&self.path(key))?.filter(|(own, _)| own == key).map(|(_, value)| value))
    }

    fn batch(&self, changes: &[Change<'_>]) -> Result<bool> {
        let _changing = self.lock();
        for change in changes {
            if !change.expected.holds_for(self.get(change.key)?.as_deref()) {
                return Ok(false);
            }
        }
        for change in changes {
            let path = self.path(change.key);
            let done = match change.new {
                New::Put { value, .. } => self.write(change.key, value),
                New::Remove => fs::remove_file(&path),
                _ => Ok(()),
            };
            match done {
                Err(error) if error.kind() != NotFound => return Err(failed(&path, error)),
                _ => {}
            }
        }
        Ok(true)
    }

    fn keys(&self) -> Result<Vec<Bytes>> {
        let mut keys = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(|error| failed(&self.folder, error))? {
            let file = file.map_err(|error| failed(&self.folder, error))?;
            // One that a crash has left half written has no key to go by.
            if !file.file_name().to_string_lossy().starts_with("part") {
                keys.extend(read(&file.path())?.map(|(key, _)| key));
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    fn len(&self) -> Result<u64> {
        Ok(self.keys()?.len() as u64)
    }

    fn clear(&self) -> Result<()> {
        let _changing = self.lock();
        let emptied = fs::remove_dir_all(&self.folder).and_then(|()| fs::create_dir_all(&self.folder));
        emptied.map_err(|error| failed(&self.folder, error))
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::StorageFull { ErrorKind::Full } else { ErrorKind::Store };
    Error::new(kind, format!("the folder of the cache cannot be used: {error}")).with_path(path).with_source(error)
}

fn open(folder: &Path) -> Result<DictStore> {
    Ok(DictStore::new(FolderDict::open(folder.join("responses"))?, FolderDict::open(folder.join("aliases"))?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let session = CachedSession::builder("any name")
        .backend(Backend::custom(open(folder.path())?))
        // No network in an example.
        .transport(|_: &http::Request<Bytes>| Ok(http::Response::new(b"hello".to_vec())))
        .build()?;
    for _ in 0..2 {
        let response = session.get("http://example.org/").send()?;
        assert_eq!(response.text()?, "hello");
        println_from(response.from_cache());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn println_from(cache: bool) {
    println!("from the {}", if cache { "cache" } else { "network" });
}

#[cfg(test)]
mod tests {
    use larder::{dict::Dict, store::Store};

    use super::{FolderDict, open};

    fn with_folders(law: fn(&dyn Store)) {
        let folder = tempfile::tempdir().unwrap();
        law(&open(folder.path()).unwrap());
    }

    fn with_a_folder(law: fn(&dyn Dict)) {
        let folder = tempfile::tempdir().unwrap();
        law(&FolderDict::open(folder.path().join("dict")).unwrap());
    }

    mod store {
        larder::store_contract!(super::with_folders);
    }

    mod dict {
        larder::dict_contract!(super::with_a_folder);
    }
}
