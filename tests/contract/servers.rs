//! The same laws on servers, each test in a namespace of its own.

/// What `./test` has put there.
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
