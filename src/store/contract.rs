//! The laws of [`Store`], one function each. Every store passes all of them.

use super::{LogStore, MemoryStore, Store};
use crate::{
    ErrorKind,
    log::{Options, Times, Version, Write},
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// Runs each law on a fresh store of each kind.
macro_rules! laws {
    ($($law:ident),* $(,)?) => {
        mod memory {
            $(#[test]
            fn $law() {
                super::$law(&super::MemoryStore::new());
            })*
        }

        mod log {
            $(#[test]
            fn $law() {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("cache.larder");
                super::$law(&super::LogStore::open(path, super::Options::new()).unwrap());
            })*
        }
    };
}

laws![
    a_value_comes_back_as_it_was,
    an_absent_key_is_none_and_deleting_it_is_no_error,
    the_last_write_of_a_batch_counts,
    a_batch_whose_expectation_fails_changes_nothing,
    a_version_changes_with_every_write,
    an_alias_is_shown_itself_with_its_own_head,
    an_alias_outlives_the_overwriting_of_its_target,
    an_alias_of_a_deleted_key_is_gone_for_good,
    an_alias_in_the_batch_of_its_target_leads_there,
    a_long_way_of_aliases_is_there_at_every_step,
    bookkeeping_is_neither_counted_nor_visited,
    a_visit_sees_each_value_once_and_stops_when_told,
    a_visit_may_use_the_store,
    an_error_of_the_visitor_comes_out,
    clear_removes_bookkeeping_too_and_the_store_is_usable_after,
    compaction_keeps_everything,
    what_is_past_its_time_is_still_there_until_a_compaction,
];

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

fn a_value_comes_back_as_it_was(store: &dyn Store) {
    let times = Times { created_ms: -5, drop_after_ms: 99 };
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

fn an_absent_key_is_none_and_deleting_it_is_no_error(store: &dyn Store) {
    store.commit(vec![delete("k")]).unwrap();
    assert!(store.entry(b"k").unwrap().is_none());
    assert!(store.head(b"k").unwrap().is_none());
    assert!(store.is_empty().unwrap());
}

fn the_last_write_of_a_batch_counts(store: &dyn Store) {
    store.commit(vec![put("k", "1"), put("k", "2"), put("x", "1"), delete("x")]).unwrap();
    assert_eq!((body(store, "k").as_deref(), body(store, "x")), (Some("2"), None));
    assert_eq!(store.len().unwrap(), 1);
}

fn a_batch_whose_expectation_fails_changes_nothing(store: &dyn Store) {
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

fn a_version_changes_with_every_write(store: &dyn Store) {
    let mut seen = Vec::new();
    for write in [put("k", "1"), put("k", "1"), alias("k", "t"), put("k", "1")] {
        store.commit(vec![put("t", "t"), write]).unwrap();
        let version = version(store, "k").unwrap();
        assert!(!seen.contains(&version));
        seen.push(version);
        store.commit(vec![delete("k")]).unwrap();
    }
}

fn an_alias_is_shown_itself_with_its_own_head(store: &dyn Store) {
    let empty = Write::Alias { key: bytes("plain"), to: bytes("t"), head: Bytes::new(), times: TIMES };
    store.commit(vec![put("t", "body"), alias("a", "t"), empty]).unwrap();
    for (key, want) in [("a", "hop"), ("plain", "")] {
        let entry = store.entry(key.as_bytes()).unwrap().unwrap();
        assert_eq!((&entry.head[..], &entry.body[..]), (want.as_bytes(), &b""[..]));
        assert_eq!(entry.alias_to.as_deref(), Some(&b"t"[..]));
        let head = store.head(key.as_bytes()).unwrap().unwrap();
        assert_eq!((&head.head[..], head.body_len), (want.as_bytes(), 0));
        assert_eq!((head.alias_to.as_deref(), head.version), (Some(&b"t"[..]), entry.version));
    }
    assert_eq!(store.len().unwrap(), 1);
    assert_eq!(visited(store), ["t"]);
}

fn an_alias_outlives_the_overwriting_of_its_target(store: &dyn Store) {
    store.commit(vec![put("t", "1"), alias("a", "t")]).unwrap();
    store.commit(vec![put("t", "2")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_some());
    // A target may become an alias itself.
    store.commit(vec![put("u", "3"), alias("t", "u")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_some());
}

fn an_alias_of_a_deleted_key_is_gone_for_good(store: &dyn Store) {
    store.commit(vec![put("t", "1"), alias("a", "t")]).unwrap();
    store.commit(vec![delete("t")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_none());
    assert!(store.head(b"a").unwrap().is_none());
    store.commit(vec![put("t", "2")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_none());
    store.commit(vec![alias("a", "t")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_some());
}

fn an_alias_in_the_batch_of_its_target_leads_there(store: &dyn Store) {
    store.commit(vec![put("t", "1"), alias("a", "t"), alias("b", "a")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_some());
    assert!(store.entry(b"b").unwrap().is_some());
}

fn a_long_way_of_aliases_is_there_at_every_step(store: &dyn Store) {
    let steps: Vec<_> = (0..30).map(|n| format!("k{n}")).collect();
    let mut batch = vec![put(&steps[0], "end")];
    batch.extend(steps.windows(2).map(|pair| alias(&pair[1], &pair[0])));
    store.commit(batch).unwrap();
    for step in &steps {
        assert!(store.entry(step.as_bytes()).unwrap().is_some(), "{step}");
        assert!(store.head(step.as_bytes()).unwrap().is_some(), "{step}");
    }
}

fn bookkeeping_is_neither_counted_nor_visited(store: &dyn Store) {
    store.commit(vec![put("k", "1"), aux("x")]).unwrap();
    assert_eq!((store.len().unwrap(), visited(store)), (1, vec!["k".to_owned()]));
    assert_eq!(store.stats().unwrap().entries, 1);
    let head = store.head(b"x").unwrap().unwrap();
    assert_eq!(&head.head[..], b"aux");
}

fn a_visit_sees_each_value_once_and_stops_when_told(store: &dyn Store) {
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

fn a_visit_may_use_the_store(store: &dyn Store) {
    store.commit(vec![put("a", "1"), put("b", "1")]).unwrap();
    let mut each = |key: &[u8], _| {
        store.commit(vec![Write::Delete { key: Bytes::copy_from_slice(key) }])?;
        Ok(ControlFlow::Continue(()))
    };
    store.visit(&mut each).unwrap();
    assert!(store.is_empty().unwrap());
}

fn an_error_of_the_visitor_comes_out(store: &dyn Store) {
    store.commit(vec![put("a", "1")]).unwrap();
    let mut each = |_: &[u8], _| Err(crate::Error::new(ErrorKind::Store, "enough"));
    assert_eq!(store.visit(&mut each).unwrap_err().kind(), ErrorKind::Store);
}

fn clear_removes_bookkeeping_too_and_the_store_is_usable_after(store: &dyn Store) {
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

fn compaction_keeps_everything(store: &dyn Store) {
    store.commit(vec![put("k", "1"), aux("x"), alias("a", "k")]).unwrap();
    store.commit(vec![put("k", "2")]).unwrap();
    store.compact().unwrap();
    store.flush().unwrap();
    assert_eq!(body(store, "k").as_deref(), Some("2"));
    assert!(store.entry(b"x").unwrap().is_some());
    assert!(store.entry(b"a").unwrap().is_some());
}

fn what_is_past_its_time_is_still_there_until_a_compaction(store: &dyn Store) {
    let times = Times { created_ms: 0, drop_after_ms: 1 };
    let put = Write::Put { key: bytes("k"), head: Bytes::new(), body: bytes("1"), times, aux: false };
    store.commit(vec![put]).unwrap();
    assert_eq!(body(store, "k").as_deref(), Some("1"));
}
