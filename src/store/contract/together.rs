//! Laws of threads that use a store at the same time.

use super::{alias, body, bytes, put, version};
use crate::{ErrorKind, log::Write, store::Store};
use std::{sync::Barrier, thread};

const THREADS: usize = 8;

/// Every writer's every write is there in the end.
pub fn concurrent_writers_lose_nothing(store: &dyn Store) {
    const EACH: usize = 25;
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for n in 0..EACH {
                    let (key, name) = (format!("{thread} {n}"), format!("{thread} {n} alias"));
                    retrying(store, || vec![put(&key, &key), alias(&name, &key)]);
                }
            });
        }
    });
    assert_eq!(store.len().unwrap(), (THREADS * EACH) as u64);
    for thread in 0..THREADS {
        for n in 0..EACH {
            let key = format!("{thread} {n}");
            assert_eq!(body(store, &key).as_deref(), Some(&key[..]));
            assert!(store.entry(format!("{key} alias").as_bytes()).unwrap().is_some());
        }
    }
}

/// Threads that add one to a number, each by compare-and-set, add as many as they are.
pub fn concurrent_changes_of_one_key_lose_nothing(store: &dyn Store) {
    const EACH: usize = 10;
    store.commit(vec![put("n", "0")]).unwrap();
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for _ in 0..EACH {
                    retrying(store, || {
                        let entry = store.entry(b"n").unwrap().unwrap();
                        let n: usize = std::str::from_utf8(&entry.body).unwrap().parse().unwrap();
                        let expect = Write::Expect { key: bytes("n"), version: Some(entry.version) };
                        vec![expect, put("n", &(n + 1).to_string())]
                    });
                }
            });
        }
    });
    assert_eq!(body(store, "n"), Some((THREADS * EACH).to_string()));
}

/// Of those who make the same key, expecting that it is not there, one succeeds.
pub fn one_of_many_creates_a_key(store: &dyn Store) {
    let start = Barrier::new(THREADS);
    let made: Vec<bool> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let expect = Write::Expect { key: bytes("k"), version: None };
                    match store.commit(vec![expect, put("k", &n.to_string())]) {
                        Ok(()) => true,
                        Err(error) if error.kind() == ErrorKind::Conflict => false,
                        Err(error) => panic!("{error}"),
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winner = made.iter().position(|made| *made).unwrap();
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    assert_eq!(body(store, "k"), Some(winner.to_string()));
}

/// Where batches are promised to be atomic, nobody sees a part of one.
pub fn a_batch_is_seen_whole_where_that_is_promised(store: &dyn Store) {
    const ROUNDS: usize = 100;
    if !store.is_atomic() {
        return;
    }
    // Each batch moves the value: whoever expects both keys to be as they were knows that nothing came between.
    store.commit(vec![put("a", "0")]).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for n in 0..ROUNDS {
                let (from, to) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
                store.commit(vec![put(to, &n.to_string()), Write::Delete { key: bytes(from) }]).unwrap();
            }
        });
        while !writer.is_finished() {
            let (a, b) = (version(store, "a"), version(store, "b"));
            let expect = |key, version| Write::Expect { key: bytes(key), version };
            let check = vec![expect("a", a), expect("b", b), put("checked", "")];
            if store.commit(check).is_ok() {
                assert!(a.is_some() != b.is_some(), "half of a batch was seen");
            }
        }
    });
    assert!(version(store, "a").is_some() && version(store, "b").is_none());
}

/// Commits a batch, which is made anew as often as it conflicts.
fn retrying(store: &dyn Store, make: impl Fn() -> Vec<Write>) {
    for _ in 0..10_000 {
        match store.commit(make()) {
            Err(error) if error.kind() == ErrorKind::Conflict => thread::yield_now(),
            result => return result.unwrap(),
        }
    }
    panic!("conflicts without end");
}
