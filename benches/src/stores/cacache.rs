//! cacache, with its blocking calls: a file for each body, named by its SHA-256, and one for each key. It never syncs.

use crate::store::{Result, Store, Use};
use bytes::Bytes;
use std::path::{Path, PathBuf};

struct Cacache(PathBuf);

#[expect(clippy::unnecessary_wraps, reason = "as all others are opened")]
pub fn open(folder: &Path, _: Use) -> Result<Box<dyn Store>> {
    Ok(Box::new(Cacache(folder.join("cacache"))))
}

impl Store for Cacache {
    fn put(&self, key: &[u8], body: &[u8]) -> Result<()> {
        cacache::write_sync(&self.0, std::str::from_utf8(key)?, body)?;
        Ok(())
    }

    fn put_all(&self, items: &[(&[u8], &[u8])]) -> Result<()> {
        items.iter().try_for_each(|(key, body)| self.put(key, body))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match cacache::read_sync(&self.0, std::str::from_utf8(key)?) {
            Ok(body) => Ok(Some(Bytes::from(body))),
            Err(cacache::Error::EntryNotFound(..)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn clear(&self) -> Result<()> {
        Ok(cacache::clear_sync(&self.0)?)
    }

    fn compact(self: Box<Self>) -> Result<bool> {
        Ok(false)
    }
}
