//! Many responses, many partitions, many aliases, many threads.

use super::{asked, at, body, get, hop, on_each, page, response};
use crate::entry::{Index, UrlEntry};
use std::sync::atomic::Ordering;

#[test]
fn expired_responses_are_removed_with_what_leads_to_them() {
    on_each(|cache, clock, _| {
        for n in 0..600_u64 {
            let page = page(&format!("http://x.org/{n}"), "body").with_expires(Some(at(n)));
            cache.save_chain(&[hop(&format!("http://x.org/to/{n}"))], &page).unwrap();
        }
        cache.save(&page("http://x.org/never", "body")).unwrap();
        clock.0.store(499_000, Ordering::SeqCst);
        assert_eq!(cache.remove_expired().unwrap(), 500);
        assert_eq!((cache.len().unwrap(), cache.remove_expired().unwrap()), (101, 0));
        assert_eq!(body(cache, "http://x.org/to/499"), None);
        assert_eq!(body(cache, "http://x.org/to/500").as_deref(), Some("body"));
        assert!(!cache.contains_url("http://x.org/to/499").unwrap());
    });
}

#[test]
fn a_url_with_thousands_of_partitions_keeps_its_records_small() {
    on_each(|cache, _, store| {
        let mut asked = asked("GET", "http://x.org/", &[]);
        let mut key = None;
        for n in 0..2_000_u128 {
            asked.identity.partition = Some(n.to_be_bytes());
            key = Some(cache.save_chain(&[], &response(&asked, 200, "body")).unwrap());
            cache.alias(format!("name {n}"), key.unwrap().to_hex()).unwrap();
        }
        let root = store.head(&get("http://x.org/").list_key()).unwrap().unwrap();
        let list = Index::<UrlEntry>::decode(&root.head).unwrap();
        assert_eq!((list.items.len(), list.spread, list.url.as_str()), (64, true, "http://x.org/"));
        assert!(root.head.len() < 8_000);
        assert!(cache.delete(key.unwrap().to_hex()).unwrap());
        assert!(cache.contains_url("http://x.org/").unwrap());
        assert!(cache.delete_url("http://x.org/").unwrap());
        assert_eq!(cache.len().unwrap(), 0);
        assert!(!cache.contains_url("http://x.org/").unwrap() && !cache.contains("name 7").unwrap());
    });
}

#[test]
fn a_key_with_thousands_of_aliases_takes_all_of_them_along() {
    on_each(|cache, _, store| {
        cache.save(&page("http://x.org/login", "login")).unwrap();
        let to = get("http://x.org/login").key();
        for n in 0..1_000 {
            cache.save_hops(&[hop(&format!("http://x.org/{n}"))], to, &crate::session::cache::Marks::new()).unwrap();
        }
        assert!(cache.delete_url("http://x.org/500").unwrap());
        for n in 0..1_000 {
            let identity = get(&format!("http://x.org/{n}"));
            assert!(store.entry(identity.key().as_bytes()).unwrap().is_none());
            assert!(store.head(&identity.list_key()).unwrap().is_none());
        }
    });
}

#[test]
fn threads_that_save_and_delete_the_same_url_leave_no_response_unlisted() {
    on_each(|cache, _, _| {
        std::thread::scope(|scope| {
            for thread in 0..8_u128 {
                scope.spawn(move || {
                    for n in 0..30_u128 {
                        let mut asked = asked("GET", "http://x.org/", &[]);
                        asked.identity.partition = Some((thread * 100 + n % 7).to_be_bytes());
                        let hops = [hop(&format!("http://x.org/{thread}"))];
                        cache.save_chain(&hops, &response(&asked, 200, "body")).unwrap();
                        if n % 5 == 4 {
                            cache.delete_url("http://x.org/").unwrap();
                        }
                    }
                });
            }
        });
        let listed = cache.listed(&get("http://x.org/")).unwrap();
        let mut keys: Vec<_> = listed.iter().map(|entry| entry.key.to_hex()).collect();
        let mut stored = cache.keys().unwrap();
        keys.sort();
        stored.sort();
        assert_eq!(keys, stored);
        cache.delete_url("http://x.org/").unwrap();
        assert!(cache.is_empty().unwrap());
    });
}
