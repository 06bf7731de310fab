//! The cache on both stores: what it finds, what a save and a deletion take along, and what nobody may see.

mod partitions;
mod scale;

use super::{Cache, Chain, Marks, PartitionBy, Whose, With};
use crate::{
    ErrorKind, Expire, Result,
    entry::{Key, StoredResponse},
    log::{Clock, Options, Times, Write},
    policy::key::{Asked, Identity},
    store::{LogStore, MemoryStore, Store},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn wall_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn find(cache: &Cache, asked: &Identity, hops_max: usize, whose: Whose) -> Option<Chain> {
    cache.look_up(asked, &HeaderMap::new(), hops_max, (whose, With::Body), |_| None).unwrap().found()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Runs a test on a memory store and on a log.
fn on_each(test: impl Fn(&Cache, &TestClock, Arc<dyn Store>)) {
    let folder = tempfile::tempdir().unwrap();
    let log = LogStore::open(folder.path().join("cache.larder"), Options::new()).unwrap();
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(log)] {
        let clock = Arc::new(TestClock::default());
        let cache = Cache::new(Arc::clone(&store), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        test(&cache, &clock, store);
    }
}

fn asked(method: &str, url: &str, headers: &[(&str, &str)]) -> Asked {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    Asked::new(method, url, &map, &[]).unwrap()
}

fn get(url: &str) -> Identity {
    asked("GET", url, &[]).identity
}

fn response(asked: &Asked, status: u16, body: &str) -> StoredResponse {
    StoredResponse::new(
        asked.to_stored(),
        StatusCode::from_u16(status).unwrap(),
        HeaderMap::new(),
        body.to_owned(),
        at(0),
    )
}

fn page(url: &str, body: &str) -> StoredResponse {
    response(&asked("GET", url, &[]), 200, body)
}

fn hop(url: &str) -> StoredResponse {
    response(&asked("GET", url, &[]), 302, "")
}

/// Body and number of hops of what a look-up finds.
fn found(cache: &Cache, identity: &Identity) -> Option<(String, usize)> {
    let chain = find(cache, identity, 30, Whose::Own)?;
    Some((String::from_utf8(chain.response.bytes().to_vec()).unwrap(), chain.hops.len()))
}

fn body(cache: &Cache, url: &str) -> Option<String> {
    found(cache, &get(url)).map(|(body, _)| body)
}

#[test]
fn a_saved_response_is_found_under_every_spelling_of_its_url() {
    on_each(|cache, _, _| {
        let key = cache.save(&page("http://x.org/?b=1&a=2", "body")).unwrap();
        assert_eq!(body(cache, "HTTP://X.org:80/?a=2&b=1#f").as_deref(), Some("body"));
        assert_eq!(body(cache, "http://x.org/?a=2"), None);
        let (response, created) = cache.get(&key).unwrap().unwrap();
        assert_eq!((response.status(), created), (StatusCode::OK, at(0)));
        assert!(cache.contains(&key).unwrap() && cache.contains_url("http://x.org/?b=1&a=2").unwrap());
        assert_eq!(cache.keys().unwrap(), [key]);
        assert_eq!(cache.urls().unwrap(), ["http://x.org/?b=1&a=2"]);
        assert_eq!((cache.len().unwrap(), cache.is_empty().unwrap()), (1, false));
    });
}

#[test]
fn a_chain_is_found_from_each_of_its_urls_with_what_led_there_from_it() {
    on_each(|cache, _, _| {
        let hops = [hop("http://x.org/0"), hop("http://x.org/1")];
        let key = cache.save_chain(&hops, &page("http://x.org/2", "end")).unwrap();
        for (n, hops) in [(0, 2), (1, 1), (2, 0)] {
            assert_eq!(found(cache, &get(&format!("http://x.org/{n}"))), Some(("end".to_owned(), hops)));
        }
        let chain = find(cache, &get("http://x.org/0"), 30, Whose::Own).unwrap();
        assert_eq!(chain.response.key, key);
        assert!(chain.hops.iter().zip(&hops).all(|(part, hop)| **part == *hop) && chain.hops.len() == hops.len());
        assert_eq!(cache.len().unwrap(), 1);
    });
}

#[test]
fn a_hit_from_memory_is_decoded_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = LogStore::open(folder.path().join("cache.larder"), Options::new()).unwrap();
    let cache = Cache::new(Arc::new(store), Arc::new(TestClock::default())).unwrap();
    let usual = [
        ("content-type", "application/json; charset=utf-8"),
        ("content-length", "10240"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("etag", "\"7d3c4d0fa8f5a4e1\""),
        ("server", "nginx"),
    ];
    let sent = [("user-agent", "larder/0.1.0"), ("accept", "*/*"), ("accept-encoding", "gzip, deflate")];
    let headers = |list: &[(&'static str, &'static str)]| -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    };
    for (name, headers, once) in [
        ("few", HeaderMap::new(), true),
        ("usual", headers(&usual), true),
        // Each takes a hundred times its length, so that what is decoded would not be what was counted for it.
        ("hostile", (0..1000).map(|_| (header::VARY, HeaderValue::from_static(""))).collect(), false),
    ] {
        let asked = asked("GET", &format!("http://x.org/{name}"), &sent);
        let stored = StoredResponse { headers, ..response(&asked, 200, "body") };
        cache.save(&stored).unwrap();
        let look_up = || find(&cache, &asked.identity, 30, Whose::Own).unwrap().response;
        let (first, second) = (look_up(), look_up());
        assert_eq!((&*first, &*second), (&stored, &stored), "{name}");
        assert_eq!(Arc::ptr_eq(first.response(), second.response()), once, "{name}: {} bytes", first.memory());
    }
}

#[test]
fn a_look_up_ends_at_the_redirect_where_the_limit_is() {
    on_each(|cache, _, _| {
        cache.save_chain(&[hop("http://x.org/0"), hop("http://x.org/1")], &page("http://x.org/2", "end")).unwrap();
        for (limit, hops, status, url) in
            [(0, 0, 302, "http://x.org/0"), (1, 1, 302, "http://x.org/1"), (2, 2, 200, "http://x.org/2")]
        {
            let chain = find(cache, &get("http://x.org/0"), limit, Whose::Own).unwrap();
            assert_eq!((chain.hops.len(), chain.response.status().as_u16()), (hops, status));
            assert_eq!(chain.response.url(), url);
        }
    });
}

#[test]
fn a_chain_is_no_fresher_than_its_stalest_part() {
    on_each(|cache, _, _| {
        let hops = [hop("http://x.org/0").with_expires(Some(at(5))), hop("http://x.org/1")];
        cache.save_chain(&hops, &page("http://x.org/2", "end").with_expires(Some(at(9)))).unwrap();
        for (url, expires) in [("http://x.org/0", 5), ("http://x.org/1", 9)] {
            let chain = find(cache, &get(url), 30, Whose::Own).unwrap();
            assert_eq!(chain.parts().filter_map(|part| part.expires_at()).min(), Some(at(expires)));
        }
    });
}

#[test]
fn a_chain_that_comes_by_its_start_again_has_no_loop() {
    on_each(|cache, _, _| {
        let hops = [hop("http://x.org/0"), hop("http://x.org/login"), hop("http://x.org/0")];
        cache.save_chain(&hops, &page("http://x.org/login", "end")).unwrap();
        assert_eq!(found(cache, &get("http://x.org/0")), Some(("end".to_owned(), 1)));
        cache.save_chain(&[hop("http://x.org/login")], &page("http://x.org/login", "again")).unwrap();
        assert_eq!(found(cache, &get("http://x.org/login")), Some(("again".to_owned(), 0)));
    });
}

#[test]
fn redirects_can_be_saved_to_what_is_stored_already() {
    on_each(|cache, _, _| {
        let key = get("http://x.org/").key();
        cache.save_hops(&[hop("http://x.org/0")], key, &Marks::new()).unwrap();
        assert_eq!(body(cache, "http://x.org/0"), None);
        cache.save(&page("http://x.org/", "end")).unwrap();
        cache.save_hops(&[hop("http://x.org/0")], key, &Marks::new()).unwrap();
        assert_eq!(found(cache, &get("http://x.org/0")), Some(("end".to_owned(), 1)));
    });
}

#[test]
fn deleting_any_key_of_a_chain_takes_all_of_it_and_all_that_leads_there() {
    on_each(|cache, _, store| {
        for from in 0..3 {
            cache.save_chain(&[hop("http://x.org/0"), hop("http://x.org/1")], &page("http://x.org/2", "end")).unwrap();
            cache.save_chain(&[hop("http://x.org/3")], &page("http://x.org/2", "end")).unwrap();
            cache.alias("name", get("http://x.org/3").key().to_hex()).unwrap();
            assert!(cache.contains("name").unwrap());
            assert!(cache.delete(get(&format!("http://x.org/{from}")).key().to_hex()).unwrap());
            for n in 0..4 {
                let identity = get(&format!("http://x.org/{n}"));
                assert!(store.entry(identity.key().as_bytes()).unwrap().is_none(), "{n}");
                assert!(store.head(&identity.list_key()).unwrap().is_none(), "the list of {n}");
                assert!(store.head(&identity.key().aliases_key()).unwrap().is_none(), "the aliases of {n}");
            }
            assert!(!cache.contains("name").unwrap());
            assert!(!cache.delete(get("http://x.org/2").key().to_hex()).unwrap());
        }
    });
}

#[test]
fn a_deleted_response_leaves_aliases_alone_that_were_pointed_elsewhere() {
    on_each(|cache, _, _| {
        cache.save_chain(&[hop("http://x.org/0")], &page("http://x.org/old", "old")).unwrap();
        cache.save_chain(&[hop("http://x.org/0")], &page("http://x.org/new", "new")).unwrap();
        assert!(cache.delete_url("http://x.org/old").unwrap());
        assert_eq!(found(cache, &get("http://x.org/0")), Some(("new".to_owned(), 1)));
    });
}

#[test]
fn deleting_by_url_takes_every_method_body_and_partition_and_nothing_else() {
    on_each(|cache, _, store| {
        let users = ["alice", "bob"].map(|user| {
            let mut asked = asked("GET", "http://x.org/", &[("authorization", user)]);
            assert!(cache.partition(&mut asked, &PartitionBy::Credentials).unwrap());
            asked
        });
        for asked in &users {
            cache.save(&response(asked, 200, "mine")).unwrap();
        }
        cache.save(&page("http://x.org/", "everybody's")).unwrap();
        cache.save(&response(&asked("HEAD", "http://x.org/", &[]), 200, "")).unwrap();
        for body in ["1", "2"] {
            let posted = Asked::new("POST", "http://x.org/", &HeaderMap::new(), body.as_bytes()).unwrap();
            cache.save(&response(&posted, 200, body)).unwrap();
        }
        cache.save(&page("http://x.org/other", "other")).unwrap();
        assert_eq!(cache.len().unwrap(), 7);
        assert!(cache.contains_url("http://x.org:80/").unwrap());
        assert!(cache.delete_url("http://x.org:80/").unwrap());
        assert!(!cache.contains_url("http://x.org/").unwrap());
        assert!(!cache.delete_url("http://x.org/").unwrap());
        assert_eq!(cache.urls().unwrap(), ["http://x.org/other"]);
        assert!(store.head(&get("http://x.org/").list_key()).unwrap().is_none());
    });
}

#[test]
fn a_key_that_leads_to_another_request_is_a_miss() {
    on_each(|cache, _, store| {
        let key = get("http://x.org/a").key();
        cache.save(&page("http://x.org/b", "b")).unwrap();
        let entry = store.entry(get("http://x.org/b").key().as_bytes()).unwrap().unwrap();
        let (head, times) = (entry.head, entry.times);
        store.commit(vec![Write::Put { key: key.to_bytes(), head, body: entry.body, times, aux: false }]).unwrap();
        assert_eq!(body(cache, "http://x.org/a"), None);
        assert_eq!(cache.stats().unwrap().errors, 1);
    });
}

#[test]
fn what_cannot_be_decoded_is_a_miss_that_the_next_save_heals() {
    on_each(|cache, _, store| {
        let key = get("http://x.org/").key();
        for head in [&b""[..], b"\x02later", b"\x01torn"] {
            let (head, times) = (Bytes::copy_from_slice(head), Times::kept(0));
            store
                .commit(vec![Write::Put { key: key.to_bytes(), head, body: Bytes::new(), times, aux: false }])
                .unwrap();
            assert_eq!(body(cache, "http://x.org/"), None);
            assert_eq!(cache.responses().unwrap().count(), 0);
            assert!(cache.urls().unwrap().is_empty());
        }
        assert_eq!(cache.stats().unwrap().errors, 9);
        let list = get("http://x.org/").list_key();
        let (head, times) = (Bytes::from_static(b"\x07"), Times::kept(0));
        store.commit(vec![Write::Put { key: list, head, body: Bytes::new(), times, aux: true }]).unwrap();
        cache.save(&page("http://x.org/", "healed")).unwrap();
        assert_eq!(body(cache, "http://x.org/").as_deref(), Some("healed"));
        assert!(cache.delete_url("http://x.org/").unwrap());
    });
}

#[test]
fn aliases_are_names_and_urls_of_a_response() {
    on_each(|cache, _, _| {
        let key = cache.save(&page("http://x.org/", "body")).unwrap();
        cache.alias("my page", &key).unwrap();
        cache.alias("http://y.org/", "my page").unwrap();
        assert_eq!(&cache.get("my page").unwrap().unwrap().0.bytes()[..], b"body");
        assert_eq!(found(cache, &get("http://y.org/")), Some(("body".to_owned(), 0)));
        assert_eq!(cache.len().unwrap(), 1);
        for (new, to) in [("a", "nothing"), ("a", "a"), (&*key, "http://y.org/"), ("my page", "http://y.org/")] {
            assert_eq!(cache.alias(new, to).unwrap_err().kind(), ErrorKind::InvalidInput, "{new} {to}");
        }
        assert!(cache.delete("http://y.org/").unwrap());
        assert!(!cache.contains(&key).unwrap() && !cache.contains("my page").unwrap());
    });
}

#[test]
fn an_expiry_is_reset_for_responses_and_the_redirects_to_them() {
    on_each(|cache, clock, _| {
        cache.save_chain(&[hop("http://x.org/0").with_expires(Some(at(1)))], &page("http://x.org/1", "end")).unwrap();
        cache.alias("name", "http://x.org/0").unwrap();
        clock.0.store(10_000, Ordering::SeqCst);
        for (expire, want) in [
            (Expire::After(Duration::from_secs(5)), Some(at(15))),
            (Expire::Never, None),
            (Expire::At(at(3)), Some(at(3))),
        ] {
            assert_eq!(cache.reset_expiration(expire).unwrap(), 1);
            let chain = find(cache, &get("http://x.org/0"), 30, Whose::Own).unwrap();
            assert_eq!([chain.hops[0].expires_at(), chain.response.expires_at()], [want; 2]);
            assert_eq!(&chain.response.bytes()[..], b"end");
            assert!(cache.contains("name").unwrap());
        }
    });
}

#[test]
fn all_responses_can_be_walked_through() {
    on_each(|cache, _, _| {
        for n in 0..3 {
            cache.save_chain(&[hop("http://x.org/hop")], &page(&format!("http://x.org/{n}"), "body")).unwrap();
        }
        let mut seen: Vec<_> = cache.responses().unwrap().map(Result::unwrap).collect();
        seen.sort_by(|a, b| a.1.url().cmp(b.1.url()));
        let urls: Vec<_> = seen.iter().map(|(_, response)| response.url()).collect();
        assert_eq!(urls, ["http://x.org/0", "http://x.org/1", "http://x.org/2"]);
        assert!(seen.iter().all(|(key, response)| cache.get(key).unwrap().unwrap().0 == *response));
    });
}

#[test]
fn an_unchanged_list_is_not_written_again() {
    on_each(|cache, _, store| {
        let list = get("http://x.org/").list_key();
        cache.save(&page("http://x.org/", "1")).unwrap();
        let before = store.head(&list).unwrap().unwrap();
        cache.save(&page("http://x.org/", "2")).unwrap();
        assert_eq!(store.head(&list).unwrap().unwrap(), before);
    });
}

#[test]
fn times_let_a_store_drop_only_what_nobody_can_use() {
    on_each(|cache, _, store| {
        let dropped = |response: &StoredResponse| {
            let key = Key::from_hex(&cache.save(response).unwrap()).unwrap();
            store.head(key.as_bytes()).unwrap().unwrap().times.drop_after_ms
        };
        let plain = page("http://x.org/", "body");
        assert_eq!(dropped(&plain), i64::MAX);
        let expiring = plain.with_expires(Some(at(10)));
        assert_eq!(dropped(&expiring), (10 + 24 * 60 * 60) * 1000);
        let mut validated = expiring;
        validated.headers.insert("etag", HeaderValue::from_static("\"1\""));
        assert_eq!(dropped(&validated), i64::MAX);
    });
}
