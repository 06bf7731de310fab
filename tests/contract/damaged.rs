//! 3,000 damaged values a store: an error or a miss, never a panic or a wrong body.

use std::{fs, sync::Arc};

use bytes::Bytes;
use larder::{
    Result,
    dict::{Dict, MemoryDict},
    log::{Entry, Options, Times, Write},
    store::{DictStore, LogStore, Store},
};

const ROUNDS: u64 = 3000;

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit as u64).unwrap()
    }

    /// Flips a bit, cuts, or adds something.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        match self.below(10) {
            0 => damaged.truncate(self.below(bytes.len())),
            1 => damaged.drain(..=self.below(bytes.len())).for_each(drop),
            2 => damaged.push(0),
            _ => damaged[self.below(bytes.len())] ^= 1 << self.below(8),
        }
        damaged
    }
}

fn body() -> Bytes {
    (0..700_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect::<Vec<_>>().into()
}

fn put(key: &'static str) -> Write {
    let head = Bytes::from_static(b"the head of a response");
    Write::Put { key: key.into(), head, body: body(), times: Times::kept(1), aux: false }
}

/// That a read gives what was stored, or nothing.
fn check(read: Result<Option<Entry>>) -> bool {
    match read {
        Ok(Some(entry)) => {
            assert!(entry.body == body() && &entry.head[..] == b"the head of a response", "a wrong body was read");
            true
        }
        Ok(None) | Err(_) => false,
    }
}

/// Damages the one value of a store, through the dict that has it.
fn values_of(store: &dyn Store, get: impl Fn(&[u8]) -> Bytes, set: impl Fn(&[u8], &[u8])) {
    let name = b"6b6579"; // `key`, as the dicts have it
    let mut numbers = Numbers(7);
    store.commit(vec![put("key")]).unwrap();
    let sound = get(name);
    for round in 0..ROUNDS {
        set(name, &numbers.damage(&sound));
        assert!(!check(store.entry(b"key")), "damage was not noticed in round {round}");
        // The head alone: it is sound, or absent.
        if let Ok(Some(head)) = store.head(b"key") {
            assert_eq!(&head.head[..], b"the head of a response");
        }
        assert!(store.visit(&mut |_, _| Ok(std::ops::ControlFlow::Continue(()))).is_ok());
    }
    assert!(store.unsound_reads() >= ROUNDS);
    // A value under another key is as wrong as a damaged one.
    set(b"6b6578", &sound);
    assert!(store.entry(b"kex").unwrap().is_none());
    // What is stored anew is there again.
    store.commit(vec![put("key")]).unwrap();
    assert!(check(store.entry(b"key")));
}

fn values_of_dict(store: &dyn Store, dict: &dyn Dict) {
    values_of(store, |key| dict.get(key).unwrap().unwrap(), |key, value| dict.insert(key, value, None).unwrap());
}

#[test]
fn damaged_values_in_a_dict_are_never_served() {
    let dict = Arc::new(MemoryDict::new());
    values_of_dict(&DictStore::new(Arc::clone(&dict), MemoryDict::new()), &dict);
}

#[cfg(feature = "sqlite")]
#[test]
fn damaged_values_in_sqlite_are_never_served() {
    use larder::dict::{SqliteDict, SqliteOptions};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.sqlite");
    let options = SqliteOptions::new().fast_save(true);
    let store = DictStore::sqlite(&path, &options).unwrap();
    values_of_dict(&store, &SqliteDict::open_table(&path, "responses", &options).unwrap());
}

#[cfg(feature = "redis")]
#[test]
#[ignore = "needs Redis; run by ./test"]
fn damaged_values_in_redis_are_never_served() {
    use larder::dict::{RedisConnections, RedisOptions};
    let address = crate::servers::address("LARDER_REDIS");
    let store = DictStore::redis(RedisConnections::open(&address, &RedisOptions::new()).unwrap(), "damaged");
    let link = std::sync::Mutex::new(redis::Client::open(address).unwrap().get_connection().unwrap());
    let key = |key: &[u8]| [b"damaged:", key].concat();
    let get = |name: &[u8]| {
        let value: Vec<u8> = redis::cmd("GET").arg(key(name)).query(&mut *link.lock().unwrap()).unwrap();
        value.into()
    };
    let set = |name: &[u8], value: &[u8]| {
        redis::cmd("SET").arg(key(name)).arg(value).exec(&mut *link.lock().unwrap()).unwrap();
    };
    values_of(&store, get, set);
    store.clear().unwrap();
}

#[cfg(feature = "mongodb")]
#[test]
#[ignore = "needs MongoDB; run by ./test"]
fn damaged_values_in_mongodb_are_never_served() {
    use larder::dict::{MongoConnections, MongoDict, MongoOptions};
    let uri = crate::servers::address("LARDER_MONGO");
    let connections = MongoConnections::open(&uri, &MongoOptions::new()).unwrap();
    let store = DictStore::mongo(connections.clone(), "damaged").unwrap();
    values_of_dict(&store, &MongoDict::named(connections, "damaged", "responses"));
    store.clear().unwrap();
}

#[test]
fn damaged_logs_never_serve_a_wrong_body() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.larder");
    let store = LogStore::open(&path, Options::new()).unwrap();
    store.commit(vec![put("key")]).unwrap();
    store.commit(vec![put("other")]).unwrap();
    drop(store);
    let sound = fs::read(&path).unwrap();
    let mut numbers = Numbers(11);
    let mut noticed = 0;
    for round in 0..ROUNDS {
        let path = folder.path().join(format!("{round}.larder"));
        fs::write(&path, numbers.damage(&sound)).unwrap();
        let options = Options::new().read_only(true).memory_tier(0);
        let read = LogStore::open(&path, options).and_then(|store| store.entry(b"key"));
        noticed += u64::from(!check(read));
        fs::remove_file(path).unwrap();
    }
    assert!(noticed > 0, "the damage never hit what is read");
}
