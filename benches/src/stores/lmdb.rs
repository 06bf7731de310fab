//! LMDB through heed. It has no checksums.

use crate::store::{Result, Store, Use};
use bytes::Bytes;
use heed::{CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, WithoutTls, types};
use std::path::{Path, PathBuf};

/// Address space, not disk space.
const MAP_BYTES: usize = 16 << 30;

struct Lmdb {
    folder: PathBuf,
    env: Env<WithoutTls>,
    database: Database<types::Bytes, types::Bytes>,
}

pub fn open(folder: &Path, wanted: Use) -> Result<Box<dyn Store>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES);
    if wanted == Use::Fast {
        // SAFETY: without syncs a power cut may corrupt the file, which no phase survives anyway.
        unsafe { options.flags(EnvFlags::NO_SYNC) };
    }
    // SAFETY: nobody else changes the files in this folder while they are mapped.
    let env = unsafe { options.open(folder) }?;
    let mut transaction = env.write_txn()?;
    let database = env.create_database(&mut transaction, None)?;
    transaction.commit()?;
    Ok(Box::new(Lmdb { folder: folder.to_path_buf(), env, database }))
}

impl Store for Lmdb {
    fn put(&self, key: &[u8], body: &[u8]) -> Result<()> {
        self.put_all(&[(key, body)])
    }

    fn put_all(&self, items: &[(&[u8], &[u8])]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (key, body) in items {
            self.database.put(&mut transaction, key, body)?;
        }
        Ok(transaction.commit()?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let transaction = self.env.read_txn()?;
        Ok(self.database.get(&transaction, key)?.map(Bytes::copy_from_slice))
    }

    fn clear(&self) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        self.database.clear(&mut transaction)?;
        Ok(transaction.commit()?)
    }

    fn compact(self: Box<Self>) -> Result<bool> {
        let copy = self.folder.join("copy.mdb");
        self.env.copy_to_path(&copy, CompactionOption::Enabled)?.sync_data()?;
        self.env.prepare_for_closing().wait();
        std::fs::rename(copy, self.folder.join("data.mdb"))?;
        Ok(true)
    }
}
