//! Every store passes the same laws.

use larder::{
    dict::{LogDict, MemoryDict},
    log::{Log, Options},
    store::{DictStore, LogStore, MemoryStore, Store},
};

fn with_memory(law: fn(&dyn Store)) {
    law(&MemoryStore::new());
}

fn with_log(law: fn(&dyn Store)) {
    let folder = tempfile::tempdir().unwrap();
    law(&LogStore::open(folder.path().join("cache.larder"), Options::new()).unwrap());
}

fn with_two_dicts(law: fn(&dyn Store)) {
    law(&DictStore::new(MemoryDict::new(), MemoryDict::new()));
}

fn with_two_log_dicts(law: fn(&dyn Store)) {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path().join("dicts.larder"), Options::new()).unwrap();
    law(&DictStore::new(LogDict::named(&log, "responses").unwrap(), LogDict::named(&log, "aliases").unwrap()));
}

mod memory {
    larder::store_contract!(super::with_memory);
}

mod log {
    larder::store_contract!(super::with_log);
}

mod two_dicts {
    larder::store_contract!(super::with_two_dicts);
}

mod two_log_dicts {
    larder::store_contract!(super::with_two_log_dicts);
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use larder::{
        dict::SqliteOptions,
        store::{DictStore, Store},
    };

    fn with_sqlite(law: fn(&dyn Store)) {
        let folder = tempfile::tempdir().unwrap();
        law(&DictStore::sqlite(folder.path().join("cache.sqlite"), &SqliteOptions::new()).unwrap());
    }

    larder::store_contract!(with_sqlite);
}
