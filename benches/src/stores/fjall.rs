//! fjall, with its values apart from its keys, as it recommends for values of more than 1 KiB. It compresses (LZ4).

use crate::store::{Result, Store, Use};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use std::path::Path;

struct Fjall {
    database: Database,
    keyspace: Keyspace,
    persist: PersistMode,
}

pub fn open(folder: &Path, wanted: Use) -> Result<Box<dyn Store>> {
    let database = Database::builder(folder.join("fjall")).open()?;
    let separate = || KeyspaceCreateOptions::default().with_kv_separation(Some(KvSeparationOptions::default()));
    let keyspace = database.keyspace("kv", separate)?;
    let persist = if wanted == Use::Fast { PersistMode::Buffer } else { PersistMode::SyncData };
    Ok(Box::new(Fjall { database, keyspace, persist }))
}

impl Store for Fjall {
    fn put(&self, key: &[u8], body: &[u8]) -> Result<()> {
        self.keyspace.insert(key, body)?;
        Ok(self.database.persist(self.persist)?)
    }

    fn put_all(&self, items: &[(&[u8], &[u8])]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(self.persist));
        for (key, body) in items {
            batch.insert(&self.keyspace, *key, *body);
        }
        Ok(batch.commit()?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.keyspace.get(key)?.map(Bytes::from))
    }

    fn clear(&self) -> Result<()> {
        Ok(self.keyspace.clear()?)
    }

    fn compact(self: Box<Self>) -> Result<bool> {
        self.keyspace.rotate_memtable_and_wait()?;
        self.keyspace.major_compact()?;
        Ok(true)
    }
}
