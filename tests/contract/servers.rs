//! The same laws on servers, each test in a namespace of its own.

/// What `./test` has put there.
#[cfg(any(feature = "redis", feature = "mongodb"))]
pub(crate) fn address(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; run ./test, which starts the servers"))
}

/// A name that no other test has.
#[cfg(any(feature = "redis", feature = "mongodb"))]
fn name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("contract-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(feature = "redis")]
mod redis {
    use larder::{
        dict::{Dict, RedisConnections, RedisDict, RedisOptions},
        store::{DictStore, Store},
    };

    use super::{address, name};

    pub(super) fn connections(variable: &str) -> RedisConnections {
        RedisConnections::open(&address(variable), &RedisOptions::new()).unwrap()
    }

    fn run_store(connections: RedisConnections, law: fn(&dyn Store)) {
        let store = DictStore::redis(connections, &name());
        law(&store);
        store.clear().unwrap();
    }

    fn run_dict(connections: impl Into<RedisConnections>, law: fn(&dyn Dict)) {
        let dict = RedisDict::new(connections, &name());
        law(&dict);
        dict.clear().unwrap();
    }

    mod stores {
        use super::{Store, connections, run_store};

        fn with_redis(law: fn(&dyn Store)) {
            run_store(connections("LARDER_REDIS"), law);
        }

        larder::store_contract!(
            #[ignore = "needs Redis; run by ./test"]
            with_redis
        );
    }

    #[cfg(feature = "redis-cluster")]
    mod cluster {
        use super::{Dict, Store, connections, run_dict, run_store};

        fn with_redis_cluster(law: fn(&dyn Store)) {
            run_store(connections("LARDER_REDIS_CLUSTER"), law);
        }

        fn with_a_dict_in_a_cluster(law: fn(&dyn Dict)) {
            run_dict(connections("LARDER_REDIS_CLUSTER"), law);
        }

        larder::store_contract!(
            #[ignore = "needs a Redis cluster; run by ./test"]
            with_redis_cluster
        );

        mod dicts {
            larder::dict_contract!(
                #[ignore = "needs a Redis cluster; run by ./test"]
                super::with_a_dict_in_a_cluster
            );
        }
    }

    mod dicts {
        use super::{Dict, address, connections, run_dict};

        fn with_redis(law: fn(&dyn Dict)) {
            run_dict(connections("LARDER_REDIS"), law);
        }

        fn with_a_client_of_ones_own(law: fn(&dyn Dict)) {
            run_dict(redis::Client::open(address("LARDER_REDIS")).unwrap(), law);
        }

        fn with_a_pool_of_ones_own(law: fn(&dyn Dict)) {
            let client = redis::Client::open(address("LARDER_REDIS")).unwrap();
            run_dict(r2d2::Pool::builder().max_size(4).build(client).unwrap(), law);
        }

        larder::dict_contract!(
            #[ignore = "needs Redis; run by ./test"]
            with_redis
        );

        mod client {
            larder::dict_contract!(
                #[ignore = "needs Redis; run by ./test"]
                super::with_a_client_of_ones_own
            );
        }

        mod pool {
            larder::dict_contract!(
                #[ignore = "needs Redis; run by ./test"]
                super::with_a_pool_of_ones_own
            );
        }
    }
}

#[cfg(feature = "mongodb")]
mod mongo {
    use larder::{
        dict::{Dict, MongoConnections, MongoDict, MongoOptions},
        store::{DictStore, Store},
    };

    use super::{address, name};

    fn connections() -> MongoConnections {
        MongoConnections::open(&address("LARDER_MONGO"), &MongoOptions::new()).unwrap()
    }

    fn with_mongo(law: fn(&dyn Store)) {
        let store = DictStore::mongo(connections(), &name()).unwrap();
        law(&store);
        store.clear().unwrap();
    }

    larder::store_contract!(
        #[ignore = "needs MongoDB; run by ./test"]
        with_mongo
    );

    mod dicts {
        use super::{Dict, MongoDict, address, connections, name};

        fn with_mongo(law: fn(&dyn Dict)) {
            let dict = MongoDict::new(connections(), &name());
            law(&dict);
            dict.clear().unwrap();
        }

        fn with_a_client_of_ones_own(law: fn(&dyn Dict)) {
            let client = mongodb::sync::Client::with_uri_str(address("LARDER_MONGO")).unwrap();
            law(&MongoDict::new(client, &name()));
        }

        larder::dict_contract!(
            #[ignore = "needs MongoDB; run by ./test"]
            with_mongo
        );

        mod client {
            larder::dict_contract!(
                #[ignore = "needs MongoDB; run by ./test"]
                super::with_a_client_of_ones_own
            );
        }
    }
}

/// Two caches of one place, of which the names are alike, do not mix.
#[cfg(any(feature = "redis", feature = "mongodb"))]
fn clear_keeps_the_other(one: &dyn larder::store::Store, other: &dyn larder::store::Store) {
    use larder::log::{Times, Write};
    for store in [one, other] {
        let (key, head, body) = ("k".into(), "head".into(), "body".into());
        store.commit(vec![Write::Put { key, head, body, times: Times::kept(0), aux: false }]).unwrap();
        let (key, to, head) = ("a".into(), "k".into(), "hop".into());
        store.commit(vec![Write::Alias { key, to, head, times: Times::kept(0) }]).unwrap();
    }
    one.clear().unwrap();
    assert_eq!((one.len().unwrap(), other.len().unwrap()), (0, 1));
    assert!(one.entry(b"a").unwrap().is_none() && other.entry(b"a").unwrap().is_some());
    other.clear().unwrap();
}

#[cfg(feature = "redis")]
#[test]
#[ignore = "needs Redis; run by ./test"]
fn clear_keeps_other_namespaces_of_a_redis_server() {
    use larder::store::DictStore;
    let name = name();
    let store = |name: &str| DictStore::redis(redis::connections("LARDER_REDIS"), name);
    for other in [format!("{name}:more"), format!("{name}more"), format!("{name}*"), "*".to_owned()] {
        clear_keeps_the_other(&store(&name), &store(&other));
        clear_keeps_the_other(&store(&other), &store(&name));
    }
}

#[cfg(feature = "redis")]
#[test]
#[ignore = "needs Redis; run by ./test"]
fn redis_drops_what_may_be_dropped_and_nothing_else() {
    use larder::{
        log::{Times, Write},
        store::{DictStore, Store},
    };
    let name = name();
    let store = DictStore::redis(redis::connections("LARDER_REDIS"), &name);
    let put = |key: &'static str, drop_after_ms| {
        let times = Times { created_ms: 0, drop_after_ms };
        Write::Put { key: key.into(), head: "".into(), body: "".into(), times, aux: false }
    };
    store.commit(vec![put("a", i64::MAX), put("b", 4_102_444_800_000), put("c", 1)]).unwrap();
    let mut link = ::redis::Client::open(address("LARDER_REDIS")).unwrap().get_connection().unwrap();
    let mut ttl = |key: &str| ::redis::cmd("EXPIRETIME").arg(format!("{name}:{key}")).query::<i64>(&mut link).unwrap();
    assert_eq!((ttl("61"), ttl("62"), ttl("63")), (-1, 4_102_444_800, -2));
    store.clear().unwrap();
}

#[cfg(feature = "mongodb")]
#[test]
#[ignore = "needs MongoDB; run by ./test"]
fn clear_keeps_other_databases_of_a_mongodb_server() {
    use larder::store::DictStore;
    let name = name();
    let uri = address("LARDER_MONGO");
    let connections = larder::dict::MongoConnections::open(&uri, &larder::dict::MongoOptions::new()).unwrap();
    let store = |name: &str| DictStore::mongo(connections.clone(), name).unwrap();
    clear_keeps_the_other(&store(&name), &store(&format!("{name}-more")));
    for wrong in ["", "a.b", "a/b", &"x".repeat(64)] {
        let error = DictStore::mongo(connections.clone(), wrong).unwrap_err();
        assert_eq!(error.kind(), larder::ErrorKind::InvalidInput);
    }
}

#[cfg(feature = "mongodb")]
#[test]
#[ignore = "needs MongoDB; run by ./test"]
fn mongodb_drops_what_may_be_dropped() {
    use larder::{
        dict::{Dict, MongoConnections, MongoDict, MongoOptions},
        log::{Times, Write},
        store::{DictStore, Store},
    };
    use std::{
        thread,
        time::{Duration, Instant},
    };
    let name = name();
    let connections = MongoConnections::open(&address("LARDER_MONGO"), &MongoOptions::new()).unwrap();
    let store = DictStore::mongo(connections.clone(), &name).unwrap();
    let put = |key: &'static str, drop_after_ms, len| {
        let times = Times { created_ms: 0, drop_after_ms };
        Write::Put { key: key.into(), head: "".into(), body: vec![7; len].into(), times, aux: false }
    };
    store.commit(vec![put("a", i64::MAX, 5), put("b", 4_102_444_800_000, 2 << 20), put("c", 1, 2 << 20)]).unwrap();
    // The server of ./test looks each second.
    let started = Instant::now();
    let chunks = MongoDict::named(connections, &name, "responses.chunks");
    while store.len().unwrap() > 2 || chunks.len().unwrap() > 1 {
        assert!(started.elapsed() < Duration::from_secs(120), "nothing is dropped");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(store.entry(b"c").unwrap().is_none());
    assert_eq!(store.entry(b"b").unwrap().unwrap().body.len(), 2 << 20);
    store.clear().unwrap();
    assert!(chunks.is_empty().unwrap(), "chunks are removed with their values");
}

#[cfg(feature = "mongodb")]
#[test]
#[ignore = "needs MongoDB; run by ./test"]
fn a_mongodb_dict_works_in_an_async_runtime_and_with_a_client_of_it() {
    use larder::dict::{Dict, MongoConnections, MongoDict, MongoOptions};
    let name = name();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let connections = MongoConnections::open(&address("LARDER_MONGO"), &MongoOptions::new()).unwrap();
        let dict = MongoDict::new(connections, &name);
        dict.insert(b"k", b"direct", None).unwrap();
        let client = ::mongodb::Client::with_uri_str(address("LARDER_MONGO")).await.unwrap();
        let other = MongoDict::new(client, &name);
        let value = tokio::task::spawn_blocking(move || other.get(b"k").unwrap()).await.unwrap();
        assert_eq!(value.as_deref(), Some(&b"direct"[..]));
        dict.clear().unwrap();
    });
}
