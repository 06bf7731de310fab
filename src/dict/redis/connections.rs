//! Connections to a server or a cluster: pooled, and never waited for without limit.

use crate::{
    Error, ErrorKind, Result,
    dict::patience::{Patience, TIMEOUT},
};
use redis::{Client, Cmd, Connection, ConnectionLike, Pipeline, RedisError, RedisResult, Value};
#[cfg(feature = "redis-cluster")]
use redis::{
    cluster::{ClusterClient, ClusterConnection, cluster_pipe},
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
};
use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Connections that are open at most, unless a program says otherwise.
const POOL_SIZE: usize = 16;

/// How a server is reached.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    timeout: Duration,
    pool_size: usize,
}

impl RedisOptions {
    /// 3 seconds, 16 connections.
    #[must_use]
    pub fn new() -> Self {
        Self { timeout: TIMEOUT, pool_size: POOL_SIZE }
    }

    /// How long a call waits for a connection, and for the server to take or to send the next bytes. Default: 3
    /// seconds.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        // Zero would be no limit at all.
        self.timeout = limit.max(Duration::from_millis(1));
        self
    }

    /// How many connections are open at most; calls of more threads wait for one another. Default: 16.
    #[must_use]
    pub fn pool_size(mut self, connections: usize) -> Self {
        self.pool_size = connections.max(1);
        self
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Connections to a Redis server, or to the nodes of a cluster, that any number of dicts share. Clones share them.
///
/// Nothing is connected before it is needed. Of your own, a [`redis::Client`], a
/// [`redis::cluster::ClusterClient`](https://docs.rs/redis/latest/redis/cluster/struct.ClusterClient.html) (with the
/// feature `redis-cluster`) or a pool ([`r2d2::Pool`]) can be handed in: `RedisConnections::from(client)`. A pool sets
/// the time-outs of its connections itself.
///
/// No call waits longer than the [time-out](RedisOptions::timeout) for the server, apart from a second try where a
/// connection turns out to be broken. After a call that waited in vain, others wait for a quarter of a second at most,
/// until one is answered.
#[derive(Clone)]
pub struct RedisConnections {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    options: RedisOptions,
    patience: Patience,
    pool: Mutex<Pool>,
    returned: Condvar,
}

enum Source {
    Server(Client),
    #[cfg(feature = "redis-cluster")]
    Cluster(ClusterClient),
    Lent(Box<dyn Lender>),
}

#[derive(Default)]
struct Pool {
    idle: Vec<Link>,
    open: usize,
}

/// One connection.
enum Link {
    Server(Box<Connection>),
    #[cfg(feature = "redis-cluster")]
    Cluster(Box<ClusterConnection>),
}

/// A pool of somebody else.
trait Lender: Send + Sync {
    fn lend(&self, limit: Duration, act: &mut dyn FnMut(&mut dyn ConnectionLike)) -> Result<()>;
}

impl<M: r2d2::ManageConnection> Lender for r2d2::Pool<M>
where
    M::Connection: ConnectionLike,
{
    fn lend(&self, limit: Duration, act: &mut dyn FnMut(&mut dyn ConnectionLike)) -> Result<()> {
        let mut connection = self.get_timeout(limit).map_err(|error| {
            let message = format!("the pool gives no connection to the Redis server: {error}");
            Error::new(ErrorKind::Store, message).with_source(error)
        })?;
        act(&mut *connection);
        Ok(())
    }
}

/// A connection while it is lent to a call.
pub(super) enum Lent<'a> {
    Server(&'a mut Connection),
    #[cfg(feature = "redis-cluster")]
    Cluster(&'a mut ClusterConnection),
    Other(&'a mut dyn ConnectionLike),
}

impl RedisConnections {
    /// Names a server, `redis://USER:PASSWORD@HOST:PORT/DB`, or with `redis-cluster://HOST:PORT,HOST:PORT` nodes of a
    /// cluster, from which the others are found.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a URL that is none, or wants what is not built in (`rediss://`);
    /// [`NotBuiltIn`](ErrorKind::NotBuiltIn) for a cluster without the feature `redis-cluster`.
    pub fn open(url: &str, options: &RedisOptions) -> Result<Self> {
        let source = match url.strip_prefix("redis-cluster://") {
            Some(nodes) => cluster(nodes, options)?,
            None => Source::Server(Client::open(url).map_err(|error| invalid_url(&error))?),
        };
        Ok(Self::assemble(source, options))
    }

    /// Whether keys are spread over several servers, so that no batch of several is atomic.
    pub(super) fn is_cluster(&self) -> bool {
        match &self.inner.source {
            Source::Server(_) => false,
            #[cfg(feature = "redis-cluster")]
            Source::Cluster(_) => true,
            Source::Lent(lender) => {
                let mut pipelines = true;
                let lent = lender.lend(self.inner.options.timeout, &mut |link| pipelines = link.supports_pipelining());
                lent.is_ok() && !pipelines
            }
        }
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Runs a call on a connection.
    pub(super) fn run<T>(&self, act: impl Fn(&mut Lent<'_>) -> RedisResult<T>) -> Result<T> {
        let limit = self.inner.patience.limit(self.inner.options.timeout);
        if let Source::Lent(lender) = &self.inner.source {
            let mut result = None;
            lender.lend(limit, &mut |link| result = Some(act(&mut Lent::Other(link))))?;
            let missing = || Error::new(ErrorKind::Store, "the pool has lent no connection");
            return self.judge(result.ok_or_else(missing)?);
        }
        let deadline = Instant::now() + limit;
        let (mut link, fresh) = self.take(limit, deadline)?;
        let mut result = link.act(limit, &act);
        if !fresh && result.as_ref().is_err_and(|error| error.is_io_error() && !error.is_timeout()) {
            // The server was restarted, or has closed what was idle: so it has the rest.
            self.close_idle();
            drop(link);
            link = match self.connect(limit) {
                Ok(link) => link,
                Err(error) => {
                    self.give_back(None);
                    return self.judge(Err(error));
                }
            };
            result = link.act(limit, &act);
        }
        let sound = result.as_ref().err().is_none_or(|error| !error.is_io_error() && !error.is_cluster_error());
        self.give_back(sound.then_some(link));
        self.judge(result)
    }

    fn assemble(source: Source, options: &RedisOptions) -> Self {
        let (pool, returned) = (Mutex::default(), Condvar::new());
        let inner = Inner { source, options: options.clone(), patience: Patience::default(), pool, returned };
        Self { inner: Arc::new(inner) }
    }

    /// An idle connection, or a fresh one (`true`).
    fn take(&self, limit: Duration, deadline: Instant) -> Result<(Link, bool)> {
        let mut pool = self.pool();
        loop {
            if let Some(link) = pool.idle.pop() {
                return Ok((link, false));
            }
            if pool.open < self.inner.options.pool_size {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = "all connections to the Redis server are in use; raise pool_size(..)";
                return Err(Error::new(ErrorKind::Timeout, message));
            }
            pool = self.inner.returned.wait_timeout(pool, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        pool.open += 1;
        drop(pool);
        match self.connect(limit) {
            Ok(link) => Ok((link, true)),
            Err(error) => {
                self.give_back(None);
                self.judge(Err(error))
            }
        }
    }

    fn connect(&self, limit: Duration) -> RedisResult<Link> {
        match &self.inner.source {
            Source::Server(client) => {
                client.get_connection_with_timeout(limit).map(|link| Link::Server(Box::new(link)))
            }
            #[cfg(feature = "redis-cluster")]
            Source::Cluster(client) => client.get_connection().map(|link| Link::Cluster(Box::new(link))),
            Source::Lent(_) => Err((redis::ErrorKind::Client, "a lent connection is not made here").into()),
        }
    }

    fn close_idle(&self) {
        let mut pool = self.pool();
        pool.open -= pool.idle.len().min(pool.open);
        pool.idle.clear();
    }

    /// Takes a connection back, or knows that it is no more.
    fn give_back(&self, link: Option<Link>) {
        let mut pool = self.pool();
        match link {
            Some(link) => pool.idle.push(link),
            None => pool.open -= 1.min(pool.open),
        }
        drop(pool);
        self.inner.returned.notify_one();
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Nothing that runs under the lock panics half-way.
        self.inner.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sorts the error, and learns from it how long to wait next time.
    fn judge<T>(&self, result: RedisResult<T>) -> Result<T> {
        self.inner.patience.learn(result.as_ref().err().is_some_and(RedisError::is_timeout));
        result.map_err(redis_error)
    }
}

impl From<Client> for RedisConnections {
    fn from(client: Client) -> Self {
        Self::assemble(Source::Server(client), &RedisOptions::new())
    }
}

#[cfg(feature = "redis-cluster")]
impl From<ClusterClient> for RedisConnections {
    fn from(client: ClusterClient) -> Self {
        Self::assemble(Source::Cluster(client), &RedisOptions::new())
    }
}

impl<M: r2d2::ManageConnection> From<r2d2::Pool<M>> for RedisConnections
where
    M::Connection: ConnectionLike,
{
    fn from(pool: r2d2::Pool<M>) -> Self {
        Self::assemble(Source::Lent(Box::new(pool)), &RedisOptions::new())
    }
}

/// Where it is, without what is needed to get in.
impl fmt::Debug for RedisConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.inner.source {
            Source::Server(client) => client.get_connection_info().addr().to_string(),
            #[cfg(feature = "redis-cluster")]
            Source::Cluster(_) => "a cluster".to_owned(),
            Source::Lent(_) => "a pool".to_owned(),
        };
        f.debug_tuple("RedisConnections").field(&place).finish()
    }
}

impl Link {
    fn act<T>(&mut self, limit: Duration, act: impl Fn(&mut Lent<'_>) -> RedisResult<T>) -> RedisResult<T> {
        match self {
            Self::Server(link) => {
                link.set_read_timeout(Some(limit))?;
                link.set_write_timeout(Some(limit))?;
                act(&mut Lent::Server(link))
            }
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(link) => {
                link.set_read_timeout(Some(limit))?;
                link.set_write_timeout(Some(limit))?;
                act(&mut Lent::Cluster(link))
            }
        }
    }
}

impl Lent<'_> {
    /// The connection as commands and scripts want it.
    pub(super) fn link(&mut self) -> &mut dyn ConnectionLike {
        match self {
            Self::Server(link) => *link,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(link) => *link,
            Self::Other(link) => *link,
        }
    }

    /// Runs commands on one key each, in as few round trips as possible.
    pub(super) fn many(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<Value>> {
        #[cfg(feature = "redis-cluster")]
        if let Self::Cluster(link) = self {
            let mut pipeline = cluster_pipe();
            for command in commands {
                pipeline.add_command(command);
            }
            return pipeline.query(link);
        }
        let link = self.link();
        if !link.supports_pipelining() {
            return commands.iter().map(|command| command.query(link)).collect();
        }
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command);
        }
        pipeline.query(link)
    }

    /// Runs a command on each server that has keys of its own.
    pub(super) fn on_each_server<T>(
        &mut self,
        act: impl Fn(&mut dyn FnMut(&Cmd) -> RedisResult<Value>) -> RedisResult<Vec<T>>,
    ) -> RedisResult<Vec<T>> {
        #[cfg(feature = "redis-cluster")]
        if let Self::Cluster(link) = self {
            let nodes: String = redis::cmd("CLUSTER").arg("NODES").query(*link)?;
            let mut all = Vec::new();
            for (host, port) in masters(&nodes) {
                let node = SingleNodeRoutingInfo::ByAddress { host, port };
                all.extend(act(&mut |command| link.route_command(command, RoutingInfo::SingleNode(node.clone())))?);
            }
            return Ok(all);
        }
        let link = self.link();
        act(&mut |command| link.req_command(command))
    }
}

/// The masters in the answer to CLUSTER NODES: lines of `id host:port@bus flags ...`.
#[cfg(feature = "redis-cluster")]
fn masters(nodes: &str) -> Vec<(String, u16)> {
    let lines = nodes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let masters = lines.filter(|words| words.get(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "master")));
    // One without slots has no keys.
    let address = |words: Vec<&str>| {
        let (host, port) = words.get(1).filter(|_| words.len() > 8)?.split('@').next()?.rsplit_once(':')?;
        Some((host.to_owned(), port.parse().ok()?))
    };
    masters.filter_map(address).collect()
}

#[cfg(feature = "redis-cluster")]
fn cluster(nodes: &str, options: &RedisOptions) -> Result<Source> {
    // User and password stand before the first node and are those of all.
    let (login, nodes) = nodes.rsplit_once('@').map_or(("", nodes), |(login, nodes)| (login, nodes));
    let at = if login.is_empty() { "" } else { "@" };
    let urls = nodes.split(',').map(|node| format!("redis://{login}{at}{}", node.trim_end_matches('/')));
    let client = ClusterClient::builder(urls)
        .connection_timeout(options.timeout)
        .response_timeout(options.timeout)
        .retries(2)
        .min_retry_wait(10)
        .max_retry_wait(100)
        .build()
        .map_err(|error| invalid_url(&error))?;
    Ok(Source::Cluster(client))
}

#[cfg(not(feature = "redis-cluster"))]
fn cluster(_nodes: &str, _options: &RedisOptions) -> Result<Source> {
    let message = "Redis clusters are not part of this build; add the feature `redis-cluster` of larder";
    Err(Error::new(ErrorKind::NotBuiltIn, message))
}

/// The client's own words may hold the URL, and with it a password.
fn invalid_url(error: &RedisError) -> Error {
    let message = format!(
        "the URL of the Redis server is not usable ({}); it looks like redis://HOST:PORT/DB, and rediss:// is not \
         part of this build",
        error.category()
    );
    Error::new(ErrorKind::InvalidInput, message)
}

/// Sorts an error of the client into a kind.
pub(super) fn redis_error(error: RedisError) -> Error {
    let (kind, message) = match error.code() {
        _ if error.is_timeout() => (ErrorKind::Timeout, "the Redis server does not answer in time".to_owned()),
        _ if error.is_io_error() => (ErrorKind::Store, format!("the Redis server cannot be reached: {error}")),
        Some("OOM") => (ErrorKind::Full, "the Redis server is full; raise its maxmemory, or let it evict".to_owned()),
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => {
            let message = "the Redis server refuses access; look at user and password in its URL";
            (ErrorKind::Store, message.to_owned())
        }
        Some("READONLY") => (ErrorKind::ReadOnly, "the Redis server is a read-only replica".to_owned()),
        Some("LOADING" | "BUSY") => (ErrorKind::Busy, format!("the Redis server is busy; try again: {error}")),
        _ if error.kind() == redis::ErrorKind::AuthenticationFailed => {
            let message = "the Redis server refuses access; look at user and password in its URL";
            (ErrorKind::Store, message.to_owned())
        }
        _ => (ErrorKind::Store, format!("the Redis server has failed: {error}")),
    };
    Error::new(kind, message).with_source(error)
}
