//! larder's engine.

use crate::store::{Result, Store, Use};
use bytes::Bytes;
use larder::log::{Log, Options, Times, Write};
use std::path::Path;

pub fn open(folder: &Path, wanted: Use) -> Result<Box<dyn Store>> {
    open_with(folder, wanted, Options::new())
}

/// Without the memory tier: each get reads and verifies.
pub fn open_without_tier(folder: &Path, wanted: Use) -> Result<Box<dyn Store>> {
    open_with(folder, wanted, Options::new().memory_tier(0))
}

fn open_with(folder: &Path, wanted: Use, options: Options) -> Result<Box<dyn Store>> {
    let options = options.fast_save(wanted == Use::Fast).read_only(wanted == Use::BesideWriter);
    Ok(Box::new(Log::open(folder.join("cache.larder"), options)?))
}

impl Store for Log {
    fn put(&self, key: &[u8], body: &[u8]) -> Result<()> {
        Ok(Log::put(self, key, body)?)
    }

    fn put_all(&self, items: &[(&[u8], &[u8])]) -> Result<()> {
        let mut batch = self.batch();
        for (key, body) in items {
            batch.put(key, body);
        }
        Ok(batch.commit()?)
    }

    fn put_all_shared(&self, items: &[(&[u8], Bytes)]) -> Result<()> {
        let times = Times::kept(0);
        let put = |(key, body): &(&[u8], Bytes)| Write::Put {
            key: Bytes::copy_from_slice(key),
            head: Bytes::new(),
            body: body.clone(),
            times,
            aux: false,
        };
        Ok(self.apply(&items.iter().map(put).collect::<Vec<_>>())?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(Log::get(self, key)?)
    }

    fn clear(&self) -> Result<()> {
        Ok(Log::clear(self)?)
    }

    fn compact(self: Box<Self>) -> Result<bool> {
        Log::compact(&self)?;
        self.close()?;
        Ok(true)
    }
}
