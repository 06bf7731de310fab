//! A server, and how it is waited for.

use super::workers::Workers;
use crate::{
    Error, ErrorKind, Result,
    dict::patience::{Patience, TIMEOUT},
};
use mongodb::{
    Client as AsyncClient,
    bson::Document,
    error::{Error as DriverError, ErrorKind as DriverErrorKind, WriteFailure},
    options::ClientOptions,
    sync::{Client, Collection},
};
use std::{fmt, sync::Arc, time::Duration};

/// Connections that are open at most, unless a program says otherwise.
const POOL_SIZE: u32 = 16;

/// How often the driver looks whether a server is there: more often than an operation may take.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How a server is reached.
#[derive(Debug, Clone)]
pub struct MongoOptions {
    timeout: Duration,
    pool_size: u32,
}

impl MongoOptions {
    /// 3 seconds, 16 connections.
    #[must_use]
    pub fn new() -> Self {
        Self { timeout: TIMEOUT, pool_size: POOL_SIZE }
    }

    /// How long one operation may take, the choice of a server and the connection included. Default: 3 seconds. The
    /// driver's own default for the choice alone is 30.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit.max(Duration::from_millis(1));
        self
    }

    /// How many connections are open at most, and how many operations run at once. Default: 16.
    #[must_use]
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections.max(1);
        self
    }
}

impl Default for MongoOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Connections to a MongoDB server, a replica set or a sharded cluster, that any number of dicts share. Clones share
/// them.
///
/// Nothing is connected before it is needed. A client of your own can be handed in: `MongoConnections::from(client)`
/// takes a [`mongodb::sync::Client`] and an async [`mongodb::Client`], which needs the runtime that it was made in to
/// go on. Its read and write concerns stay as they are.
///
/// The driver runs on a few threads of its own, so that a dict may be used anywhere, on a thread of an async runtime
/// too: it blocks that thread, no longer than the [time-out](MongoOptions::timeout), and does not panic. After a call
/// that waited in vain, others wait for a quarter of a second at most, until one is answered.
#[derive(Clone)]
pub struct MongoConnections {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    timeout: Duration,
    patience: Patience,
    workers: Workers,
}

impl MongoConnections {
    /// Names a server by a connection string, `mongodb://USER:PASSWORD@HOST:PORT/?options`. What it does not say is the
    /// driver's default, but for shorter time-outs, and that nothing is tried twice.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a string that is none, or wants what is not built in
    /// (`mongodb+srv://`, compressors).
    pub fn open(uri: &str, options: &MongoOptions) -> Result<Self> {
        let workers = Workers::new(usize::try_from(options.pool_size).unwrap_or(usize::MAX));
        let (uri, limit, pool_size) = (uri.to_owned(), options.timeout, options.pool_size);
        let client = workers.run(limit.max(TIMEOUT), move || {
            let mut client = ClientOptions::parse(uri).run()?;
            let shorter = |own: Option<Duration>| Some(own.map_or(limit, |own| own.min(limit)));
            client.server_selection_timeout = shorter(client.server_selection_timeout);
            client.connect_timeout = shorter(client.connect_timeout);
            client.max_pool_size.get_or_insert(pool_size);
            // After a wrong password the driver waits until it has heard of the server again, with each operation and
            // before each second try, which ends the same way.
            client.heartbeat_freq.get_or_insert(HEARTBEAT);
            client.retry_reads.get_or_insert(false);
            client.retry_writes.get_or_insert(false);
            client.app_name.get_or_insert_with(|| "larder".to_owned());
            Client::with_options(client)
        });
        let client = client.ok_or_else(in_vain)?.map_err(|error| invalid_uri(&error))?;
        Ok(Self::assemble(client, options.timeout, workers))
    }

    /// Runs an operation of the driver on a collection.
    pub(super) fn run<T: Send + 'static>(
        &self,
        collection: (&str, &str),
        act: impl FnOnce(&Collection<Document>) -> mongodb::error::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (database, name) = (collection.0.to_owned(), collection.1.to_owned());
        let client = self.inner.client.clone();
        let limit = self.inner.patience.limit(self.inner.timeout);
        let result = self.inner.workers.run(limit, move || act(&client.database(&database).collection(&name)));
        let waited = |error: &DriverError| matches!(*error.kind, DriverErrorKind::ServerSelection { .. });
        self.inner.patience.learn(result.as_ref().is_none_or(|result| result.as_ref().is_err_and(waited)));
        result.ok_or_else(in_vain)?.map_err(mongo_error)
    }

    fn assemble(client: Client, timeout: Duration, workers: Workers) -> Self {
        Self { inner: Arc::new(Inner { client, timeout, patience: Patience::default(), workers }) }
    }
}

impl From<Client> for MongoConnections {
    fn from(client: Client) -> Self {
        Self::assemble(client, TIMEOUT, Workers::new(POOL_SIZE as usize))
    }
}

impl From<AsyncClient> for MongoConnections {
    fn from(client: AsyncClient) -> Self {
        Self::from(Client::from(client))
    }
}

/// Nothing of it, as the address may come with a password.
impl fmt::Debug for MongoConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoConnections").field("timeout", &self.inner.timeout).finish_non_exhaustive()
    }
}

/// Whether a document is there already.
pub(super) fn is_duplicate(error: &DriverError) -> bool {
    const DUPLICATE_KEY: i32 = 11000;
    match &*error.kind {
        DriverErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        DriverErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}

fn in_vain() -> Error {
    Error::new(ErrorKind::Timeout, "the MongoDB server does not answer in time")
}

fn invalid_uri(error: &DriverError) -> Error {
    // Those of other kinds may quote the string, and with it a password.
    let what = match &*error.kind {
        DriverErrorKind::InvalidArgument { message, .. } if !message.contains('@') => message.clone(),
        _ => "it cannot be parsed".to_owned(),
    };
    let message = format!(
        "the connection string of the MongoDB server is not usable ({what}); it looks like mongodb://HOST:PORT, and \
         mongodb+srv:// is not part of this build"
    );
    Error::new(ErrorKind::InvalidInput, message)
}

/// Sorts an error of the driver into a kind.
fn mongo_error(error: DriverError) -> Error {
    const REFUSED: &str = "the MongoDB server refuses access; look at user and password in its connection string";
    let (kind, message) = match &*error.kind {
        DriverErrorKind::Authentication { .. } => (ErrorKind::Store, REFUSED.to_owned()),
        DriverErrorKind::ServerSelection { .. } => {
            (ErrorKind::Timeout, "no MongoDB server can be reached in time".to_owned())
        }
        DriverErrorKind::Command(failed) => match failed.code {
            13 | 18 => (ErrorKind::Store, REFUSED.to_owned()),
            14031 => (ErrorKind::Full, "the disk of the MongoDB server is full".to_owned()),
            _ => (ErrorKind::Store, format!("the MongoDB server has failed: {}", failed.message)),
        },
        _ => (ErrorKind::Store, format!("the MongoDB server has failed: {error}")),
    };
    Error::new(kind, message).with_source(error)
}
