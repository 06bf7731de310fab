//! Laws of aliases.

use super::{TIMES, alias, body, bytes, delete, put, visited};
use crate::{log::Write, store::Store};
use bytes::Bytes;

/// Reading an alias does not follow it.
pub fn an_alias_is_shown_itself_with_its_own_head(store: &dyn Store) {
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

/// Rewriting the target keeps its aliases.
pub fn an_alias_outlives_the_overwriting_of_its_target(store: &dyn Store) {
    store.commit(vec![put("t", "1"), alias("a", "t")]).unwrap();
    store.commit(vec![put("t", "2")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_some());
    // A target may become an alias itself.
    store.commit(vec![put("u", "3"), alias("t", "u")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_some());
}

/// Storing the target again does not bring its aliases back.
pub fn an_alias_of_a_deleted_key_is_gone_for_good(store: &dyn Store) {
    store.commit(vec![put("t", "1"), alias("a", "t")]).unwrap();
    store.commit(vec![delete("t")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_none());
    assert!(store.head(b"a").unwrap().is_none());
    store.commit(vec![put("t", "2")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_none());
    store.commit(vec![alias("a", "t")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_some());
}

/// One batch may store a value and what leads to it.
pub fn an_alias_in_the_batch_of_its_target_leads_there(store: &dyn Store) {
    store.commit(vec![put("t", "1"), alias("a", "t"), alias("b", "a")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_some());
    assert!(store.entry(b"b").unwrap().is_some());
}

/// Aliases of aliases are aliases.
pub fn a_long_way_of_aliases_is_there_at_every_step(store: &dyn Store) {
    let steps: Vec<_> = (0..30).map(|n| format!("k{n}")).collect();
    let mut batch = vec![put(&steps[0], "end")];
    batch.extend(steps.windows(2).map(|pair| alias(&pair[1], &pair[0])));
    store.commit(batch).unwrap();
    for step in &steps {
        assert!(store.entry(step.as_bytes()).unwrap().is_some(), "{step}");
        assert!(store.head(step.as_bytes()).unwrap().is_some(), "{step}");
    }
}

/// Ten thousand aliases in a ring are no endless way for anybody.
pub fn a_ring_of_aliases_ends_nothing(store: &dyn Store) {
    const LEN: usize = 10_000;
    let name = |n: usize| format!("ring {}", n % LEN);
    let steps: Vec<_> = (0..LEN).map(|n| alias(&name(n), &name(n + 1))).collect();
    for steps in steps.chunks(500) {
        store.commit(steps.to_vec()).unwrap();
    }
    for n in [0, 1, LEN / 2, LEN - 1] {
        if let Some(entry) = store.entry(name(n).as_bytes()).unwrap() {
            assert_eq!(entry.alias_to.as_deref(), Some(name(n + 1).as_bytes()));
            assert!(store.reader(name(n).as_bytes(), entry.version).unwrap().is_none());
        }
    }
    assert_eq!((store.len().unwrap(), visited(store).len()), (0, 0));
    store.commit(vec![put(&name(0), "no ring any more"), delete(&name(1))]).unwrap();
    assert_eq!(body(store, &name(0)).as_deref(), Some("no ring any more"));
    store.compact().unwrap();
    assert_eq!(body(store, &name(0)).as_deref(), Some("no ring any more"));
}

/// A key is a value or an alias, and may turn from one into the other.
pub fn a_key_may_turn_from_value_to_alias_and_back(store: &dyn Store) {
    store.commit(vec![put("t", "t"), put("k", "1")]).unwrap();
    store.commit(vec![alias("k", "t")]).unwrap();
    assert_eq!(store.entry(b"k").unwrap().unwrap().alias_to.as_deref(), Some(&b"t"[..]));
    assert_eq!(store.len().unwrap(), 1);
    store.commit(vec![put("k", "2")]).unwrap();
    assert_eq!((body(store, "k").as_deref(), store.len().unwrap()), (Some("2"), 2));
    store.commit(vec![delete("k")]).unwrap();
    assert!(store.entry(b"k").unwrap().is_none());
    assert_eq!(visited(store), ["t"]);
}

/// An alias may be made first.
pub fn an_alias_made_before_its_target_leads_there_once_it_is(store: &dyn Store) {
    store.commit(vec![alias("a", "t")]).unwrap();
    assert!(store.entry(b"a").unwrap().is_none());
    store.commit(vec![put("t", "1")]).unwrap();
    assert_eq!(store.entry(b"a").unwrap().unwrap().alias_to.as_deref(), Some(&b"t"[..]));
    store.compact().unwrap();
    assert!(store.head(b"a").unwrap().is_some());
}
