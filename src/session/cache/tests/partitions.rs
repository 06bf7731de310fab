//! Who gets what, and what happens when the store fails.

use super::{TestClock, asked, at, find, found, get, on_each, page, response};
use crate::{
    ErrorKind, Result,
    entry::{Namespace, StoredResponse},
    log::{Clock, Entry, Head, Write},
    session::cache::{Cache, PartitionBy, Whose},
    store::{MemoryStore, Store, StoreStats, Visitor},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

#[test]
fn nobody_gets_what_another_was_answered() {
    on_each(|cache, _, _| {
        let with = |value: &str| {
            let mut asked = asked("GET", "http://x.org/", &[("authorization", value)]);
            assert!(cache.partition(&mut asked, &PartitionBy::Credentials).unwrap());
            asked
        };
        cache.save(&response(&with("alice"), 200, "alice's")).unwrap();
        assert_eq!(found(cache, &with("bob").identity), None);
        assert_eq!(found(cache, &get("http://x.org/")), None);
        assert_eq!(found(cache, &with("alice").identity), Some(("alice's".to_owned(), 0)));
        // For replay without credentials, the latest of anybody.
        let later = StoredResponse { created: at(5), ..response(&with("bob"), 200, "bob's") };
        cache.save(&later).unwrap();
        let any = find(cache, &get("http://x.org/"), 30, Whose::Any).unwrap();
        assert_eq!(&any.response.bytes()[..], b"bob's");
        assert!(find(cache, &get("http://x.org/?a"), 30, Whose::Any).is_none());
        // Unless the credentials are at hand: then one's own goes first.
        let mut alice = asked("GET", "http://x.org/", &[("authorization", "alice")]);
        cache.partition_for_replay(&mut alice, &PartitionBy::Credentials).unwrap();
        let own = find(cache, &alice.identity, 30, Whose::Any).unwrap();
        assert_eq!(&own.response.bytes()[..], b"alice's");
    });
}

#[test]
fn the_salt_is_made_once_and_survives_clearing() {
    on_each(|cache, clock, store| {
        let partition = |cache: &Cache| {
            let mut asked = asked("GET", "http://x.org/", &[("cookie", "c")]);
            assert!(cache.partition(&mut asked, &PartitionBy::Credentials).unwrap());
            asked.identity.partition.unwrap()
        };
        let before = partition(cache);
        cache.save(&page("http://x.org/", "body")).unwrap();
        cache.clear().unwrap();
        assert!(cache.is_empty().unwrap() && !cache.contains_url("http://x.org/").unwrap());
        assert_eq!(partition(cache), before);
        let clock = Arc::new(TestClock(AtomicI64::new(clock.wall_ms())));
        let other = Cache::new(store, clock).unwrap();
        assert_eq!(partition(&other), before);
    });
}

#[test]
fn partitions_are_by_credentials_by_name_or_none() {
    on_each(|cache, _, store| {
        let partition = |headers: &[(&str, &str)], by: &PartitionBy| {
            let mut asked = asked("GET", "http://x.org/", headers);
            assert!(cache.partition(&mut asked, by).unwrap());
            asked.identity.partition
        };
        assert_eq!(partition(&[], &PartitionBy::Credentials), None);
        assert_eq!(partition(&[("authorization", "a")], &PartitionBy::Nobody), None);
        assert!(store.head(&[Namespace::Salt as u8]).unwrap().is_none(), "no salt until it is needed");
        let name = |name: &str| PartitionBy::Name(name.to_owned());
        let named = partition(&[("authorization", "a")], &name("user-42"));
        assert!(named.is_some());
        assert_eq!(partition(&[("authorization", "b")], &name("user-42")), named);
        assert_eq!(partition(&[], &name("user-42")), named);
        assert_ne!(partition(&[], &name("user-43")), named);
        assert_ne!(partition(&[("authorization", "a")], &PartitionBy::Credentials), named);
    });
}

/// A store in front of another that fails when told to.
#[derive(Debug)]
struct Failing {
    store: MemoryStore,
    kind: ErrorKind,
    fails: AtomicBool,
}

impl Failing {
    fn check(&self) -> Result<()> {
        if self.fails.load(Ordering::SeqCst) { Err(crate::Error::new(self.kind, "told to fail")) } else { Ok(()) }
    }
}

impl Store for Failing {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.store.entry(key)
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>> {
        self.store.head(key)
    }

    fn commit(&self, writes: Vec<Write>) -> Result<()> {
        self.check()?;
        self.store.commit(writes)
    }

    fn visit(&self, each: Visitor<'_>) -> Result<()> {
        self.store.visit(each)
    }

    fn len(&self) -> Result<u64> {
        self.store.len()
    }

    fn clear(&self) -> Result<()> {
        self.check()?;
        self.store.clear()
    }

    fn compact(&self) -> Result<()> {
        self.check()
    }

    fn flush(&self) -> Result<()> {
        self.check()
    }

    fn stats(&self) -> Result<StoreStats> {
        self.store.stats()
    }

    fn location(&self) -> Option<&Path> {
        None
    }
}

fn failing(kind: ErrorKind) -> (Cache, Arc<Failing>) {
    let store = Arc::new(Failing { store: MemoryStore::new(), kind, fails: AtomicBool::new(true) });
    let cache = Cache::new(Arc::clone(&store) as Arc<dyn Store>, Arc::new(TestClock::default())).unwrap();
    (cache, store)
}

#[test]
fn without_a_salt_a_read_only_store_has_no_partitions() {
    let (cache, store) = failing(ErrorKind::ReadOnly);
    let mut asked = asked("GET", "http://x.org/", &[("authorization", "a")]);
    assert!(!cache.partition(&mut asked, &PartitionBy::Credentials).unwrap());
    store.fails.store(false, Ordering::SeqCst);
    cache.partition_for_replay(&mut asked, &PartitionBy::Credentials).unwrap();
    assert_eq!(asked.identity.partition, None);
    store.fails.store(false, Ordering::SeqCst);
    assert!(cache.partition(&mut asked, &PartitionBy::Credentials).unwrap());
    store.fails.store(true, Ordering::SeqCst);
    assert!(cache.partition(&mut asked, &PartitionBy::Credentials).unwrap());
}

#[test]
fn a_store_that_fails_makes_an_error_and_an_endless_conflict_ends() {
    for kind in [ErrorKind::Full, ErrorKind::Conflict] {
        let (cache, store) = failing(kind);
        assert_eq!(cache.save(&page("http://x.org/", "body")).unwrap_err().kind(), kind);
        assert!(store.store.is_empty().unwrap());
        store.fails.store(false, Ordering::SeqCst);
        cache.save(&page("http://x.org/", "body")).unwrap();
    }
}
