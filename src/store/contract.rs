//! The laws of [`Store`] as tests that any store can run: one function each, which panics if the law does not hold.
//!
//! [`store_contract!`](crate::store_contract) makes one test of each. Each law wants a store of its own, which is
//! empty.
//!
//! ```
//! use larder::store::{MemoryStore, Store};
//!
//! fn with_my_store(law: fn(&dyn Store)) {
//!     law(&MemoryStore::new()); // here goes yours
//! }
//!
//! larder::store_contract!(with_my_store);
//! # fn main() {
//! larder::store::contract::a_value_comes_back_as_it_was(&MemoryStore::new());
//! # }
//! ```

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a law that does not hold panics and says where")]

mod aliases;
mod limits;
mod together;

pub use aliases::*;
pub use limits::*;
pub use together::*;

use super::Store;
use crate::{
    ErrorKind,
    log::{Times, Version, Write},
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// Makes a test of each law of [`store::contract`](crate::store::contract), for those who write a store.
///
/// It takes the name of a function that gets a law, makes an empty store and calls the law with it; attributes before
/// the name, such as `#[ignore]`, go before each test.
#[macro_export]
macro_rules! store_contract {
    ($(#[$attribute:meta])* $with_store:path) => {
        $crate::store_contract! { @each [$(#[$attribute])*] $with_store;
            a_value_comes_back_as_it_was
            an_absent_key_is_none_and_deleting_it_is_no_error
            the_last_write_of_a_batch_counts
            a_batch_whose_expectation_fails_changes_nothing
            a_version_changes_with_every_write
            bookkeeping_is_neither_counted_nor_visited
            a_visit_sees_each_value_once_and_stops_when_told
            reads_that_belong_together_see_what_was_stored_before
            a_visit_may_use_the_store
            an_error_of_the_visitor_comes_out
            clear_removes_bookkeeping_too_and_the_store_is_usable_after
            compaction_keeps_everything
            what_is_past_its_time_is_whole_or_gone
            a_staged_body_is_stored_whole
            a_head_is_replaced_and_the_body_stays
            an_alias_is_shown_itself_with_its_own_head
            an_alias_outlives_the_overwriting_of_its_target
            an_alias_of_a_deleted_key_is_gone_for_good
            an_alias_in_the_batch_of_its_target_leads_there
            a_long_way_of_aliases_is_there_at_every_step
            an_alias_made_before_its_target_leads_there_once_it_is
            a_ring_of_aliases_ends_nothing
            a_key_may_turn_from_value_to_alias_and_back
            any_bytes_are_keys_and_values
            an_empty_body_is_there
            a_body_of_64_mib_comes_back_as_it_was
            a_long_head_comes_back_without_its_body
            concurrent_writers_lose_nothing
            concurrent_changes_of_one_key_lose_nothing
            one_of_many_creates_a_key
            a_batch_is_seen_whole_where_that_is_promised
        }
    };
    (@each $attributes:tt $with_store:path; $($law:ident)*) => {
        $($crate::store_contract! { @one $attributes $with_store; $law })*
    };
    (@one [$(#[$attribute:meta])*] $with_store:path; $law:ident) => {
        #[test]
        $(#[$attribute])*
        fn $law() {
            $with_store($crate::store::contract::$law);
        }
    };
}

const TIMES: Times = Times { created_ms: 1_000, drop_after_ms: i64::MAX };

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, body: &str) -> Write {
    Write::Put { key: bytes(key), head: bytes("head"), body: bytes(body), times: TIMES, aux: false }
}

fn aux(key: &str) -> Write {
    Write::Put { key: bytes(key), head: bytes("aux"), body: Bytes::new(), times: TIMES, aux: true }
}

fn alias(key: &str, to: &str) -> Write {
    Write::Alias { key: bytes(key), to: bytes(to), head: bytes("hop"), times: TIMES }
}

fn delete(key: &str) -> Write {
    Write::Delete { key: bytes(key) }
}

fn body(store: &dyn Store, key: &str) -> Option<String> {
    let entry = store.entry(key.as_bytes()).unwrap();
    entry.map(|entry| String::from_utf8(entry.body.to_vec()).unwrap())
}

fn version(store: &dyn Store, key: &str) -> Option<Version> {
    store.entry(key.as_bytes()).unwrap().map(|entry| entry.version)
}

fn visited(store: &dyn Store) -> Vec<String> {
    let mut keys = Vec::new();
    let mut each = |key: &[u8], _| {
        keys.push(String::from_utf8(key.to_vec()).unwrap());
        Ok(ControlFlow::Continue(()))
    };
    store.visit(&mut each).unwrap();
    keys.sort();
    keys
}

/// Head, body and times come back, of whatever size.
pub fn a_value_comes_back_as_it_was(store: &dyn Store) {
    // In the year 2100: a server drops what is past its time.
    let times = Times { created_ms: -5, drop_after_ms: 4_102_444_800_000 };
    let head: Bytes = (0..=255).collect();
    let long: Bytes = vec![7; 3 << 20].into();
    for body in [Bytes::new(), head.clone(), long] {
        let put = Write::Put { key: bytes("k"), head: head.clone(), body: body.clone(), times, aux: false };
        store.commit(vec![put]).unwrap();
        let entry = store.entry(b"k").unwrap().unwrap();
        assert_eq!((&entry.head, &entry.body, entry.times, entry.alias_to), (&head, &body, times, None));
        let short = store.head(b"k").unwrap().unwrap();
        assert_eq!((short.head, short.body_len, short.times), (head.clone(), body.len() as u64, times));
        assert_eq!(short.version, entry.version);
    }
}

/// What is not there is `None`.
pub fn an_absent_key_is_none_and_deleting_it_is_no_error(store: &dyn Store) {
    store.commit(vec![delete("k")]).unwrap();
    assert!(store.entry(b"k").unwrap().is_none());
    assert!(store.head(b"k").unwrap().is_none());
    assert!(store.is_empty().unwrap());
}

/// Writes of a batch apply in order.
pub fn the_last_write_of_a_batch_counts(store: &dyn Store) {
    store.commit(vec![put("k", "1"), put("k", "2"), put("x", "1"), delete("x")]).unwrap();
    assert_eq!((body(store, "k").as_deref(), body(store, "x")), (Some("2"), None));
    assert_eq!(store.len().unwrap(), 1);
}

/// Compare-and-set: all or nothing.
pub fn a_batch_whose_expectation_fails_changes_nothing(store: &dyn Store) {
    store.commit(vec![put("k", "1")]).unwrap();
    let old = version(store, "k");
    store.commit(vec![put("k", "2")]).unwrap();
    for (key, expected) in [("k", None), ("k", old), ("absent", old)] {
        let expect = Write::Expect { key: bytes(key), version: expected };
        let error = store.commit(vec![put("k", "3"), put("new", "3"), expect]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!((body(store, "k").as_deref(), body(store, "new")), (Some("2"), None));
    }
    let holds = [("k", version(store, "k")), ("absent", None)];
    let mut batch: Vec<_> = holds.map(|(key, version)| Write::Expect { key: bytes(key), version }).into();
    batch.push(put("k", "4"));
    store.commit(batch).unwrap();
    assert_eq!(body(store, "k").as_deref(), Some("4"));
}

/// No version comes back, not even after a deletion.
pub fn a_version_changes_with_every_write(store: &dyn Store) {
    let mut seen = Vec::new();
    for write in [put("k", "1"), put("k", "1"), alias("k", "t"), put("k", "1")] {
        store.commit(vec![put("t", "t"), write]).unwrap();
        let version = version(store, "k").unwrap();
        assert!(!seen.contains(&version));
        seen.push(version);
        store.commit(vec![delete("k")]).unwrap();
    }
}

/// What is written with `aux` is there for those who ask by key.
pub fn bookkeeping_is_neither_counted_nor_visited(store: &dyn Store) {
    store.commit(vec![put("k", "1"), aux("x")]).unwrap();
    assert_eq!((store.len().unwrap(), visited(store)), (1, vec!["k".to_owned()]));
    assert_eq!(store.stats().unwrap().entries, 1);
    let head = store.head(b"x").unwrap().unwrap();
    assert_eq!(&head.head[..], b"aux");
}

/// Values only, once each, until `Break`.
pub fn a_visit_sees_each_value_once_and_stops_when_told(store: &dyn Store) {
    store.commit(vec![put("a", "1"), put("b", "1"), put("c", "1"), alias("d", "a")]).unwrap();
    store.commit(vec![put("a", "2"), delete("b")]).unwrap();
    assert_eq!(visited(store), ["a", "c"]);
    let mut seen = 0;
    let mut each = |_: &[u8], _| {
        seen += 1;
        Ok(ControlFlow::Break(()))
    };
    store.visit(&mut each).unwrap();
    assert_eq!(seen, 1);
}

/// They find what single reads find, whatever was named ahead, and leave the store free for others.
pub fn reads_that_belong_together_see_what_was_stored_before(store: &dyn Store) {
    store.commit(vec![put("k", "1"), put("other", "2"), aux("x"), alias("a", "k"), alias("dangling", "d")]).unwrap();
    store.commit(vec![put("d", "3")]).unwrap();
    store.commit(vec![delete("d"), put("k", "4")]).unwrap();
    let keys = ["k", "x", "a", "dangling", "absent", "other", "k"];
    for ahead in [&keys[..], &keys[..4], &["absent", "other", "other"], &[]] {
        let reads = store.reads(&mut ahead.iter().map(|key| bytes(key))).unwrap();
        for key in keys {
            assert_eq!(
                reads.entry(key.as_bytes()).unwrap(),
                store.entry(key.as_bytes()).unwrap(),
                "{key} of {ahead:?}"
            );
            assert_eq!(reads.head(key.as_bytes()).unwrap(), store.head(key.as_bytes()).unwrap(), "{key} of {ahead:?}");
        }
        assert_eq!(&reads.entry(b"k").unwrap().unwrap().body[..], b"4");
        store.commit(vec![put("meanwhile", "5")]).unwrap();
        assert!(reads.entry(b"absent").unwrap().is_none());
    }
}

/// No lock is held over the visitor.
pub fn a_visit_may_use_the_store(store: &dyn Store) {
    store.commit(vec![put("a", "1"), put("b", "1")]).unwrap();
    let mut each = |key: &[u8], _| {
        store.commit(vec![Write::Delete { key: Bytes::copy_from_slice(key) }])?;
        Ok(ControlFlow::Continue(()))
    };
    store.visit(&mut each).unwrap();
    assert!(store.is_empty().unwrap());
}

/// A visit passes on what the visitor says.
pub fn an_error_of_the_visitor_comes_out(store: &dyn Store) {
    store.commit(vec![put("a", "1")]).unwrap();
    let mut each = |_: &[u8], _| Err(crate::Error::new(ErrorKind::Store, "enough"));
    assert_eq!(store.visit(&mut each).unwrap_err().kind(), ErrorKind::Store);
}

/// Clearing an empty store is no error either.
pub fn clear_removes_bookkeeping_too_and_the_store_is_usable_after(store: &dyn Store) {
    store.clear().unwrap();
    store.commit(vec![put("k", "1"), aux("x"), alias("a", "k")]).unwrap();
    store.clear().unwrap();
    for key in ["k", "x", "a"] {
        assert!(store.entry(key.as_bytes()).unwrap().is_none());
    }
    assert_eq!(store.len().unwrap(), 0);
    store.commit(vec![put("k", "2")]).unwrap();
    assert_eq!(body(store, "k").as_deref(), Some("2"));
}

/// What is there stays there.
pub fn compaction_keeps_everything(store: &dyn Store) {
    store.commit(vec![put("k", "1"), aux("x"), alias("a", "k")]).unwrap();
    store.commit(vec![put("k", "2")]).unwrap();
    store.compact().unwrap();
    store.flush().unwrap();
    assert_eq!(body(store, "k").as_deref(), Some("2"));
    assert!(store.entry(b"x").unwrap().is_some());
    assert!(store.entry(b"a").unwrap().is_some());
}

/// What may be dropped is there or absent, and never anything else.
pub fn what_is_past_its_time_is_whole_or_gone(store: &dyn Store) {
    let times = Times { created_ms: 0, drop_after_ms: 1 };
    let put = Write::Put { key: bytes("k"), head: Bytes::new(), body: bytes("1"), times, aux: false };
    store.commit(vec![put, self::put("kept", "2")]).unwrap();
    assert!(body(store, "k").is_none_or(|body| body == "1"));
    store.compact().unwrap();
    assert!(body(store, "k").is_none_or(|body| body == "1"));
    assert_eq!(body(store, "kept").as_deref(), Some("2"));
}

/// A body that comes in pieces is stored as if it had come whole.
pub fn a_staged_body_is_stored_whole(store: &dyn Store) {
    let mut stage = store.stage().unwrap();
    for piece in [&b"one, "[..], b"", b"two"] {
        stage.write_all(piece).unwrap();
    }
    let staged = stage.finish().unwrap();
    store.commit(vec![Write::put_staged(bytes("k"), bytes("head"), &staged, TIMES, false)]).unwrap();
    assert_eq!(body(store, "k").as_deref(), Some("one, two"));
    let old = version(store, "k").unwrap();
    let mut reader = store.reader(b"k", old).unwrap().unwrap();
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read, "one, two");
    assert!(store.reader(b"absent", old).unwrap().is_none());
    // A reader stays with what it was opened for, and none is opened for what has been replaced.
    let mut reader = store.reader(b"k", old).unwrap().unwrap();
    store.commit(vec![put("k", "another")]).unwrap();
    read.clear();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read, "one, two");
    assert!(store.reader(b"k", old).unwrap().is_none());
    drop(store.stage().unwrap());
    assert_eq!(store.len().unwrap(), 1);
}

/// A head can be replaced without the body, if the key is still in the state that was read.
pub fn a_head_is_replaced_and_the_body_stays(store: &dyn Store) {
    store.commit(vec![put("k", "body")]).unwrap();
    let old = version(store, "k").unwrap();
    let later = Times { created_ms: 2_000, ..TIMES };
    store.update_head(b"k", old, bytes("another"), later).unwrap();
    let entry = store.entry(b"k").unwrap().unwrap();
    assert_eq!((&entry.head[..], &entry.body[..]), (&b"another"[..], &b"body"[..]));
    assert_eq!((entry.times, store.len().unwrap()), (later, 1));
    assert_ne!(entry.version, old);
    for (key, version) in [("k", old), ("absent", entry.version)] {
        let error = store.update_head(key.as_bytes(), version, bytes("late"), TIMES).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{key}");
    }
    assert_eq!(&store.head(b"k").unwrap().unwrap().head[..], b"another");
    store.commit(vec![Write::Alias { key: bytes("a"), to: bytes("k"), head: bytes("own"), times: TIMES }]).unwrap();
    let alias = version(store, "a").unwrap();
    store.update_head(b"a", alias, bytes("new"), TIMES).unwrap();
    let alias = store.entry(b"a").unwrap().unwrap();
    assert_eq!((&alias.head[..], alias.alias_to.as_deref()), (&b"new"[..], Some(&b"k"[..])));
}
