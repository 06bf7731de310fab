//! sled. Its `flush` asks for write-back of the pages and not for a flush of the drive, so it promises less than the
//! others where durable writes are measured.

use crate::store::{Result, Store, Use};
use bytes::Bytes;
use sled::{Batch, Db};
use std::path::Path;

struct Sled {
    db: Db,
    durable: bool,
}

pub fn open(folder: &Path, wanted: Use) -> Result<Box<dyn Store>> {
    Ok(Box::new(Sled { db: sled::open(folder.join("sled"))?, durable: wanted != Use::Fast }))
}

impl Sled {
    fn flush(&self) -> Result<()> {
        if self.durable {
            self.db.flush()?;
        }
        Ok(())
    }
}

impl Store for Sled {
    fn put(&self, key: &[u8], body: &[u8]) -> Result<()> {
        self.db.insert(key, body)?;
        self.flush()
    }

    fn put_all(&self, items: &[(&[u8], &[u8])]) -> Result<()> {
        let mut batch = Batch::default();
        for (key, body) in items {
            batch.insert(*key, *body);
        }
        self.db.apply_batch(batch)?;
        self.flush()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.db.get(key)?.map(Bytes::from_owner))
    }

    fn clear(&self) -> Result<()> {
        self.db.clear()?;
        self.flush()
    }

    fn compact(self: Box<Self>) -> Result<bool> {
        Ok(false)
    }
}
