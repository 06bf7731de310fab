//! The laws of [`Dict`] as tests that any dict can run: one function each, which panics if the law does not hold.
//!
//! [`dict_contract!`](crate::dict_contract) makes one test of each. Each law wants a dict of its own, which is empty.
//!
//! ```
//! use larder::dict::{Dict, MemoryDict};
//!
//! fn with_my_dict(law: fn(&dyn Dict)) {
//!     law(&MemoryDict::new()); // here goes yours
//! }
//!
//! larder::dict_contract!(with_my_dict);
//! # fn main() {
//! larder::dict::contract::a_value_comes_back_as_it_was(&MemoryDict::new());
//! # }
//! ```

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a law that does not hold panics and says where")]

use super::{Change, Dict, Expected};
use std::{
    collections::BTreeMap,
    sync::Barrier,
    thread,
    time::{Duration, SystemTime},
};

/// Makes a test of each law of [`dict::contract`](crate::dict::contract), for those who write a dict.
///
/// It takes the name of a function that gets a law, makes an empty dict and calls the law with it; attributes before
/// the name, such as `#[ignore]`, go before each test.
#[macro_export]
macro_rules! dict_contract {
    ($(#[$attribute:meta])* $with_dict:path) => {
        $crate::dict_contract! { @each [$(#[$attribute])*] $with_dict;
            a_value_comes_back_as_it_was
            what_is_absent_is_none
            any_bytes_are_keys_and_values
            overwriting_replaces_and_a_key_is_usable_after_its_removal
            keys_and_items_agree_and_are_in_order
            compare_and_swap_changes_what_is_as_expected
            a_batch_applies_in_order_and_the_last_change_counts
            a_batch_with_an_expectation_that_fails_changes_nothing
            values_read_together_are_those_read_alone
            prefixes_are_the_beginnings_of_values
            what_may_be_dropped_is_there_or_gone_and_never_early
            clear_empties_and_the_dict_is_usable_after
            concurrent_writers_lose_nothing
            concurrent_swaps_lose_nothing
            a_long_value_comes_back_as_it_was
        }
    };
    (@each $attributes:tt $with_dict:path; $($law:ident)*) => {
        $($crate::dict_contract! { @one $attributes $with_dict; $law })*
    };
    (@one [$(#[$attribute:meta])*] $with_dict:path; $law:ident) => {
        #[test]
        $(#[$attribute])*
        fn $law() {
            $with_dict($crate::dict::contract::$law);
        }
    };
}

const THREADS: usize = 8;

fn get(dict: &dyn Dict, key: &str) -> Option<String> {
    dict.get(key.as_bytes()).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn put(dict: &dyn Dict, key: &str, value: &str) {
    dict.insert(key.as_bytes(), value.as_bytes(), None).unwrap();
}

/// What was inserted is there.
pub fn a_value_comes_back_as_it_was(dict: &dyn Dict) {
    for value in ["", "value", &"long ".repeat(100_000)] {
        put(dict, "k", value);
        assert!(get(dict, "k").as_deref() == Some(value) && dict.contains(b"k").unwrap());
        assert_eq!((dict.len().unwrap(), dict.is_empty().unwrap()), (1, false));
    }
}

/// What is not there is `None`, and removing it is no error.
pub fn what_is_absent_is_none(dict: &dyn Dict) {
    assert_eq!(dict.get(b"k").unwrap(), None);
    assert!(!dict.contains(b"k").unwrap() && !dict.remove(b"k").unwrap() && dict.is_empty().unwrap());
    put(dict, "other", "1");
    assert!(!dict.remove(b"k").unwrap());
    assert_eq!(get(dict, "other").as_deref(), Some("1"));
    assert!(dict.batch(&[]).unwrap());
}

/// Keys and values are bytes, whatever they are.
pub fn any_bytes_are_keys_and_values(dict: &dyn Dict) {
    let mut keys: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    keys.extend([b"".to_vec(), b"a\0b".to_vec(), b"a:b*?[x]\\".to_vec(), "é \u{1F980}".into(), vec![0xff; 4096]]);
    keys.extend([b"'; DROP TABLE data; --".to_vec(), b"$where".to_vec(), b"a.b".to_vec(), b"\r\n".to_vec()]);
    let changes: Vec<_> = keys.iter().map(|key| Change::put(key, key)).collect();
    assert!(dict.batch(&changes).unwrap());
    for key in &keys {
        assert_eq!(dict.get(key).unwrap().as_deref(), Some(&key[..]));
    }
    keys.sort();
    assert_eq!(dict.keys().unwrap(), keys);
    for key in &keys {
        assert!(dict.remove(key).unwrap(), "{key:?}");
    }
    assert!(dict.is_empty().unwrap());
}

/// There is one value under a key.
pub fn overwriting_replaces_and_a_key_is_usable_after_its_removal(dict: &dyn Dict) {
    for value in ["1", "2"] {
        put(dict, "k", value);
        assert_eq!((get(dict, "k").as_deref(), dict.keys().unwrap().len()), (Some(value), 1));
    }
    assert!(dict.remove(b"k").unwrap());
    assert_eq!((get(dict, "k"), dict.len().unwrap()), (None, 0));
    put(dict, "k", "3");
    assert_eq!(get(dict, "k").as_deref(), Some("3"));
}

/// Keys come in ascending order, each once, as often as one asks.
pub fn keys_and_items_agree_and_are_in_order(dict: &dyn Dict) {
    let expected: BTreeMap<Vec<u8>, String> =
        (0..200).map(|n| (format!("key {}", n * 7919 % 1000).into_bytes(), n.to_string())).collect();
    for n in 0..200 {
        put(dict, &format!("key {}", n * 7919 % 1000), &n.to_string());
    }
    for n in (0..200).step_by(4) {
        dict.remove(format!("key {}", n * 7919 % 1000).as_bytes()).unwrap();
    }
    let left: Vec<_> = expected.into_iter().filter(|(_, n)| n.parse::<u32>().unwrap() % 4 != 0).collect();
    for _ in 0..2 {
        let keys: Vec<_> = dict.keys().unwrap().into_iter().map(|key| key.to_vec()).collect();
        assert_eq!(keys, left.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
        let items = dict.items().unwrap().map(|item| item.unwrap());
        let items: Vec<_> =
            items.map(|(key, value)| (key.to_vec(), String::from_utf8(value.to_vec()).unwrap())).collect();
        assert_eq!(items, left);
    }
    assert_eq!(dict.len().unwrap(), 150);
}

/// Compare-and-swap, with absence on either side.
pub fn compare_and_swap_changes_what_is_as_expected(dict: &dyn Dict) {
    let swap = |expected: Option<&[u8]>, new: Option<&[u8]>| dict.compare_and_swap(b"k", expected, new).unwrap();
    assert!(!swap(Some(b"1"), Some(b"2")));
    assert!(swap(None, None));
    assert!(swap(None, Some(b"1")));
    assert!(!swap(None, Some(b"2")));
    assert!(!swap(Some(b""), Some(b"2")));
    assert!(!swap(Some(b"11"), Some(b"2")));
    assert_eq!(get(dict, "k").as_deref(), Some("1"));
    assert!(swap(Some(b"1"), Some(b"")));
    assert!(swap(Some(b""), Some(b"3")));
    assert!(!swap(Some(b"1"), None));
    assert!(swap(Some(b"3"), None));
    assert!(dict.is_empty().unwrap());
}

/// Later changes of a batch see the earlier ones.
pub fn a_batch_applies_in_order_and_the_last_change_counts(dict: &dyn Dict) {
    let changes = [Change::put(b"a", b"1"), Change::put(b"a", b"2"), Change::put(b"b", b"1"), Change::remove(b"b")];
    assert!(dict.batch(&changes).unwrap());
    assert_eq!((get(dict, "a").as_deref(), get(dict, "b")), (Some("2"), None));
    let many: Vec<_> = (0..1000_u32).map(u32::to_be_bytes).collect();
    assert!(dict.batch(&many.iter().map(|key| Change::put(key, key)).collect::<Vec<_>>()).unwrap());
    assert_eq!(dict.len().unwrap(), 1001);
    assert!(dict.batch(&many.iter().map(|key| Change::remove(key)).collect::<Vec<_>>()).unwrap());
    assert_eq!(dict.len().unwrap(), 1);
}

/// Whatever the expectation and wherever it stands.
pub fn a_batch_with_an_expectation_that_fails_changes_nothing(dict: &dyn Dict) {
    put(dict, "k", "value");
    for failing in [
        Change::expect(b"k", Expected::Absent),
        Change::expect(b"k", Expected::Value(b"valu")),
        Change::expect(b"k", Expected::Prefix(b"values")),
        Change::expect(b"absent", Expected::Prefix(b"")),
        Change::remove(b"absent").expecting(Expected::Value(b"")),
    ] {
        let batch = [Change::put(b"new", b"1"), Change::put(b"k", b"2"), failing, Change::remove(b"k")];
        assert!(!dict.batch(&batch).unwrap(), "{failing:?}");
        assert_eq!((get(dict, "k").as_deref(), get(dict, "new")), (Some("value"), None));
    }
    let batch = [
        Change::expect(b"k", Expected::Prefix(b"val")),
        Change::expect(b"absent", Expected::Absent),
        Change::put(b"k", b"2").expecting(Expected::Value(b"value")),
        Change::put(b"new", b"1").expecting(Expected::Absent),
    ];
    assert!(dict.batch(&batch).unwrap());
    assert_eq!((get(dict, "k").as_deref(), get(dict, "new").as_deref()), (Some("2"), Some("1")));
}

/// What is asked for together, of one dict or of two, is what each key alone has; a dict may decline.
pub fn values_read_together_are_those_read_alone(dict: &dyn Dict) {
    put(dict, "a", "1");
    put(dict, "b", "");
    let keys: [&[u8]; 4] = [b"b", b"absent", b"a", b"a"];
    for (keys, others) in [(&keys[..], &keys[1..3]), (&[], &keys), (&keys[..1], &[]), (&[], &[])] {
        if let Some(together) = dict.get_with(keys, dict, others).unwrap() {
            let alone = |keys: &[&[u8]]| keys.iter().map(|key| dict.get(key).unwrap()).collect::<Vec<_>>();
            assert_eq!(together, (alone(keys), alone(others)));
        }
    }
    let many = vec![&b"a"[..]; 2_000];
    if let Some((values, others)) = dict.get_with(&many, dict, &many[..1]).unwrap() {
        assert!(values.len() == 2_000 && others.len() == 1);
        assert!(values.iter().chain(&others).all(|value| value.as_deref() == Some(b"1")));
    }
}

/// They are as long as was asked, or as the value is.
pub fn prefixes_are_the_beginnings_of_values(dict: &dyn Dict) {
    dict.insert(b"binary", b"\xff\x00\xfe\x01", None).unwrap();
    put(dict, "text", "é text");
    put(dict, "empty", "");
    let keys: [&[u8]; 5] = [b"binary", b"absent", b"text", b"empty", b"binary"];
    for len in [0, 1, 3, 100] {
        let prefixes = dict.prefixes(&keys, len).unwrap();
        assert_eq!(prefixes.len(), keys.len());
        for (key, prefix) in keys.iter().zip(prefixes) {
            let value = dict.get(key).unwrap();
            assert_eq!(prefix, value.map(|value| value.slice(..value.len().min(len))), "{key:?}, {len}");
        }
    }
}

/// What has an expiry in the future is there; after it, and a compaction, it is whole or gone.
pub fn what_may_be_dropped_is_there_or_gone_and_never_early(dict: &dyn Dict) {
    let now = SystemTime::now();
    dict.insert(b"later", b"1", Some(now + Duration::from_secs(3600))).unwrap();
    dict.insert(b"past", b"2", Some(now - Duration::from_secs(3600))).unwrap();
    dict.insert(b"never", b"3", None).unwrap();
    for _ in 0..2 {
        assert_eq!((get(dict, "later").as_deref(), get(dict, "never").as_deref()), (Some("1"), Some("3")));
        assert!(get(dict, "past").is_none_or(|value| value == "2"));
        dict.compact().unwrap();
    }
    dict.insert(b"past", b"4", None).unwrap();
    assert_eq!(get(dict, "past").as_deref(), Some("4"));
    dict.compact().unwrap();
    assert_eq!(get(dict, "past").as_deref(), Some("4"));
    dict.flush().unwrap();
}

/// Clearing an empty dict is no error.
pub fn clear_empties_and_the_dict_is_usable_after(dict: &dyn Dict) {
    dict.clear().unwrap();
    for n in 0..50 {
        put(dict, &n.to_string(), "1");
    }
    dict.clear().unwrap();
    assert_eq!((dict.len().unwrap(), dict.keys().unwrap().len(), get(dict, "1")), (0, 0, None));
    put(dict, "1", "2");
    assert_eq!((dict.len().unwrap(), get(dict, "1").as_deref()), (1, Some("2")));
}

/// Every thread's every key is there in the end.
pub fn concurrent_writers_lose_nothing(dict: &dyn Dict) {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for n in 0..50 {
                    put(dict, &format!("{thread} {n}"), &n.to_string());
                }
            });
        }
    });
    assert_eq!(dict.len().unwrap(), 50 * THREADS as u64);
    for thread in 0..THREADS {
        assert_eq!(get(dict, &format!("{thread} 49")).as_deref(), Some("49"));
    }
}

/// Threads that add one to a number, each by compare-and-swap, add as many as they are.
pub fn concurrent_swaps_lose_nothing(dict: &dyn Dict) {
    put(dict, "n", "0");
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for _ in 0..10 {
                    loop {
                        let old = get(dict, "n").unwrap();
                        let new = (old.parse::<usize>().unwrap() + 1).to_string();
                        if dict.compare_and_swap(b"n", Some(old.as_bytes()), Some(new.as_bytes())).unwrap() {
                            break;
                        }
                        thread::yield_now();
                    }
                }
            });
        }
    });
    assert_eq!(get(dict, "n"), Some((10 * THREADS).to_string()));
}

/// Of 20 MiB, which is more than a document of some servers may have.
pub fn a_long_value_comes_back_as_it_was(dict: &dyn Dict) {
    let long: Vec<u8> =
        (0..20 << 20_u32).map(|n: u32| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    dict.insert(b"k", &long, None).unwrap();
    assert!(dict.get(b"k").unwrap().unwrap() == long[..], "the value is another");
    assert_eq!(dict.prefixes(&[b"k"], 100).unwrap()[0].as_deref(), Some(&long[..100]));
    assert_eq!(dict.keys().unwrap(), [&b"k"[..]]);
    assert!(dict.compare_and_swap(b"k", Some(&long), Some(&long[1..])).unwrap());
    assert!(dict.get(b"k").unwrap().unwrap() == long[1..], "the second value is another");
    dict.insert(b"k", b"short", None).unwrap();
    assert_eq!((get(dict, "k").as_deref(), dict.len().unwrap()), (Some("short"), 1));
    dict.insert(b"k", &long, None).unwrap();
    assert!(dict.remove(b"k").unwrap() && dict.is_empty().unwrap());
}
