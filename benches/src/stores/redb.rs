//! redb. Its fast mode, `Durability::None`, keeps data in memory only: less than the others promise there.

use crate::store::{Result, Store, Use};
use bytes::Bytes;
use redb::{
    Builder, ConcurrencyMode, Database, Durability, ReadOnlyDatabase, ReadTransaction, ReadableDatabase,
    TableDefinition, TableError, WriteTransaction,
};
use std::path::Path;

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("kv");

struct Redb {
    handle: Handle,
    durability: Durability,
}

enum Handle {
    Writer(Database),
    Reader(ReadOnlyDatabase),
}

pub fn open(folder: &Path, wanted: Use) -> Result<Box<dyn Store>> {
    let (path, mut builder) = (folder.join("kv.redb"), Builder::new());
    if matches!(wanted, Use::BesideReader | Use::BesideWriter) {
        builder.set_concurrency_mode(ConcurrencyMode::SingleWriter);
    }
    let handle = match wanted {
        Use::BesideWriter => Handle::Reader(builder.open_read_only(path)?),
        _ => Handle::Writer(builder.create(path)?),
    };
    let durability = if wanted == Use::Fast { Durability::None } else { Durability::Immediate };
    Ok(Box::new(Redb { handle, durability }))
}

impl Redb {
    fn write(&self, change: impl FnOnce(&WriteTransaction) -> Result<()>) -> Result<()> {
        let Handle::Writer(database) = &self.handle else { return Err("opened to read".into()) };
        let mut transaction = database.begin_write()?;
        transaction.set_durability(self.durability)?;
        change(&transaction)?;
        Ok(transaction.commit()?)
    }

    fn read(&self) -> Result<ReadTransaction> {
        Ok(match &self.handle {
            Handle::Writer(database) => database.begin_read()?,
            Handle::Reader(database) => database.begin_read()?,
        })
    }
}

impl Store for Redb {
    fn put(&self, key: &[u8], body: &[u8]) -> Result<()> {
        self.put_all(&[(key, body)])
    }

    fn put_all(&self, items: &[(&[u8], &[u8])]) -> Result<()> {
        self.write(|transaction| {
            let mut table = transaction.open_table(TABLE)?;
            for (key, body) in items {
                table.insert(key, body)?;
            }
            Ok(())
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.read()?.open_table(TABLE) {
            Ok(table) => Ok(table.get(key)?.map(|value| Bytes::copy_from_slice(value.value()))),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn clear(&self) -> Result<()> {
        self.write(|transaction| {
            transaction.delete_table(TABLE)?;
            Ok(())
        })
    }

    fn compact(self: Box<Self>) -> Result<bool> {
        let Handle::Writer(mut database) = self.handle else { return Err("opened to read".into()) };
        database.compact()?;
        Ok(true)
    }
}
