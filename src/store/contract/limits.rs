//! Laws of what a store must take.

use super::{TIMES, bytes};
use crate::{log::Write, store::Store};
use bytes::Bytes;
use std::ops::ControlFlow;

/// Keys and values are bytes, whatever they are.
pub fn any_bytes_are_keys_and_values(store: &dyn Store) {
    let mut keys: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    keys.extend([b"\0\0".to_vec(), b"a\0b".to_vec(), b"a:b*?[x]\\".to_vec(), "é \u{1F980}".into(), vec![0xff; 4096]]);
    keys.extend([b"'; DROP TABLE responses; --".to_vec(), b"$where".to_vec(), b"a.b".to_vec(), b"\r\n".to_vec()]);
    let mut writes = Vec::new();
    for key in &keys {
        let (head, body) = ([&b"head of "[..], key].concat().into(), Bytes::copy_from_slice(key));
        writes.push(Write::Put { key: Bytes::copy_from_slice(key), head, body, times: TIMES, aux: false });
    }
    store.commit(writes).unwrap();
    for key in &keys {
        let entry = store.entry(key).unwrap().unwrap();
        assert_eq!((&entry.body[..], &entry.head[8..]), (&key[..], &key[..]));
    }
    let mut visited = Vec::new();
    let mut each = |key: &[u8], _| {
        visited.push(key.to_vec());
        Ok(ControlFlow::Continue(()))
    };
    store.visit(&mut each).unwrap();
    visited.sort();
    keys.sort();
    assert_eq!(visited, keys);
}

/// A body of no bytes is a body.
pub fn an_empty_body_is_there(store: &dyn Store) {
    let put = |head: &'static [u8]| Write::Put {
        key: bytes("k"),
        head: Bytes::from_static(head),
        body: Bytes::new(),
        times: TIMES,
        aux: false,
    };
    for head in [&b""[..], b"head"] {
        store.commit(vec![put(head)]).unwrap();
        let entry = store.entry(b"k").unwrap().unwrap();
        assert_eq!((&entry.head[..], &entry.body[..]), (head, &b""[..]));
        assert_eq!((store.head(b"k").unwrap().unwrap().body_len, store.len().unwrap()), (0, 1));
    }
}

/// A body of 64 MiB comes back as it was, and is replaced and deleted as others are.
pub fn a_body_of_64_mib_comes_back_as_it_was(store: &dyn Store) {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()
    };
    let long: Bytes = (0..16 << 20).flat_map(|_| next()).collect::<Vec<u8>>().into();
    let put = |body: &Bytes| Write::Put {
        key: bytes("k"),
        head: bytes("head"),
        body: body.clone(),
        times: TIMES,
        aux: false,
    };
    store.commit(vec![put(&long)]).unwrap();
    let entry = store.entry(b"k").unwrap().unwrap();
    assert!(entry.body == long, "the body is another");
    assert_eq!(store.head(b"k").unwrap().unwrap().body_len, 64 << 20);
    let mut reader = store.reader(b"k", entry.version).unwrap().unwrap();
    reader.seek(std::io::SeekFrom::Start(60 << 20)).unwrap();
    let mut end = Vec::new();
    reader.read_to_end(&mut end).unwrap();
    assert!(end == long[60 << 20..], "the end of the body is another");
    store.commit(vec![put(&long.slice(1..))]).unwrap();
    assert!(store.entry(b"k").unwrap().unwrap().body == long[1..], "the second body is another");
    store.commit(vec![put(&Bytes::from_static(b"short"))]).unwrap();
    assert_eq!(&store.entry(b"k").unwrap().unwrap().body[..], b"short");
}

/// A head of a MiB is a head.
pub fn a_long_head_comes_back_without_its_body(store: &dyn Store) {
    let head: Bytes = vec![b'h'; 1 << 20].into();
    let body = bytes("body");
    store.commit(vec![Write::Put { key: bytes("k"), head: head.clone(), body, times: TIMES, aux: false }]).unwrap();
    let found = store.head(b"k").unwrap().unwrap();
    assert!(found.head == head && found.body_len == 4);
    assert!(store.entry(b"k").unwrap().unwrap().head == head);
}
