//! One collection.

use super::{
    connections::{MongoConnections, MongoOptions, is_duplicate},
    document::{self, Chunks, Stored},
};
use crate::{
    Error, ErrorKind, Result,
    dict::{Change, Dict, Expected, New},
};
use bytes::Bytes;
use mongodb::{
    IndexModel,
    bson::{Bson, Document, doc},
    options::IndexOptions,
    sync::Collection,
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The server of those who name none.
pub(crate) const URI: &str = "mongodb://127.0.0.1:27017";

/// The database unless another is given.
const DATABASE: &str = "requests-cache";

/// The collection unless another is given.
const COLLECTION: &str = "mongo_dict_data";

/// Just under what the length of a chunked value is counted in.
const VALUE_MAX: u64 = u32::MAX as u64;

/// Keys that are asked for at once.
const AT_ONCE: usize = 100;

/// How often a long value is read anew because it was replaced meanwhile.
const TRIES_MAX: u32 = 8;

/// How old a chunk without a value must be before it is taken for left over.
const LEFT_OVER_MS: i64 = 60 * 60 * 1000;

/// A [`Dict`] in a collection of a MongoDB database: documents `{_id, data}`, with `drop_after` and a TTL index on it
/// where values may be dropped, and `stamp`, which is another for each write.
///
/// A key that is UTF-8 is a string, another is binary. A value over 1 MiB is cut: its beginning is in `data`, the rest
/// in the collection `COLLECTION.chunks`, so that the limit of 16 MiB to a document is none to a value; values are up
/// to 4 GiB. A batch is atomic for each key alone. What a write promises to survive is what the write concern of the
/// connection string says.
///
/// ```no_run
/// use larder::dict::{Dict, MongoConnections, MongoDict, MongoOptions};
///
/// let server = MongoConnections::open("mongodb://127.0.0.1:27017", &MongoOptions::new())?;
/// let dict = MongoDict::named(server, "my-database", "fruit");
/// dict.insert(b"apple", b"red", None)?; // {_id: "apple", data: BinData(0, "cmVk"), ...}
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone)]
pub struct MongoDict {
    connections: MongoConnections,
    names: Arc<Names>,
}

struct Names {
    database: String,
    collection: String,
    chunks: String,
    /// Whether the TTL indexes are known to be there.
    indexed: AtomicBool,
}

impl MongoDict {
    /// The collection `mongo_dict_data` of the database `requests-cache` on the server at 127.0.0.1:27017.
    ///
    /// # Errors
    /// None: nothing is connected before it is needed.
    pub fn open() -> Result<Self> {
        Ok(Self::new(MongoConnections::open(URI, &MongoOptions::new())?, DATABASE))
    }

    /// The collection `mongo_dict_data` of a database, on a server that is named already: [`MongoConnections`], or a
    /// client of your own.
    #[must_use]
    pub fn new(connections: impl Into<MongoConnections>, database: &str) -> Self {
        Self::named(connections, database, COLLECTION)
    }

    /// A collection of a database.
    #[must_use]
    pub fn named(connections: impl Into<MongoConnections>, database: &str, collection: &str) -> Self {
        let names = Names {
            database: database.to_owned(),
            collection: collection.to_owned(),
            chunks: format!("{collection}.chunks"),
            indexed: AtomicBool::new(false),
        };
        Self { connections: connections.into(), names: Arc::new(names) }
    }

    fn on_values<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Collection<Document>) -> mongodb::error::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.connections.run((&self.names.database, &self.names.collection), act)
    }

    fn on_chunks<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Collection<Document>) -> mongodb::error::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.connections.run((&self.names.database, &self.names.chunks), act)
    }

    fn find(&self, keys: &[&[u8]]) -> Result<HashMap<Vec<u8>, Stored>> {
        let ids: Vec<_> = keys.iter().map(|key| document::id(key)).collect();
        let found = self.on_values(move |values| {
            let filter = if let [id] = &ids[..] {
                doc! { "_id": id }
            } else {
                doc! { "_id": { "$in": ids } }
            };
            values.find(filter).run()?.collect::<mongodb::error::Result<Vec<_>>>()
        })?;
        let keyed = |stored: Stored| Some((document::key(&stored.id)?, stored));
        Ok(found.into_iter().filter_map(Stored::read).filter_map(keyed).collect())
    }

    /// The rest of a long value; `None` if it is not all there.
    fn read_chunks(&self, stored: &Stored, chunks: Chunks) -> Result<Option<Vec<u8>>> {
        let mut value = stored.data.clone();
        let mut after = None;
        for _ in 0..chunks.count {
            // One at a time: each operation has its time limit.
            let mut filter = chunks.filter();
            if let Some(id) = after.take()
                && let Ok(range) = filter.get_document_mut("_id")
            {
                range.insert("$gt", id);
            }
            let found = self.on_chunks(move |all| all.find_one(filter).sort(doc! { "_id": 1 }).run())?;
            let Some(chunk) = found.and_then(Stored::read) else { return Ok(None) };
            value.extend_from_slice(&chunk.data);
            after = Some(chunk.id);
        }
        Ok((value.len() as u64 == chunks.len).then_some(value))
    }

    fn whole(&self, key: &[u8]) -> Result<Option<Bytes>> {
        for _ in 0..TRIES_MAX {
            let Some(stored) = self.find(&[key])?.remove(key) else { return Ok(None) };
            let Some(chunks) = stored.chunks else { return Ok(Some(stored.data.into())) };
            if let Some(value) = self.read_chunks(&stored, chunks)? {
                return Ok(Some(value.into()));
            }
        }
        Err(Error::new(ErrorKind::Damaged, "chunks of the value are missing on the MongoDB server; store it anew"))
    }

    /// Whether what is stored is as expected, and by which filter to find it as long as it is.
    fn holds(&self, change: &Change<'_>, stored: Option<&Stored>) -> Result<bool> {
        let Some(found) = stored else { return Ok(change.expected.holds_for(None)) };
        match (change.expected, found.chunks) {
            (Expected::Value(expected), Some(chunks)) => Ok(expected.len() as u64 == chunks.len
                && self.read_chunks(found, chunks)?.is_some_and(|value| value == expected)),
            (Expected::Prefix(expected), Some(chunks)) if expected.len() > found.data.len() => {
                Ok(self.read_chunks(found, chunks)?.is_some_and(|value| value.starts_with(expected)))
            }
            (expected, _) => Ok(expected.holds_for(Some(&found.data))),
        }
    }

    /// Makes one change; `false` if what was read is not there any more.
    fn apply(&self, change: &Change<'_>, stored: Option<&Stored>) -> Result<bool> {
        let any = change.expected == Expected::Any;
        let filter = match stored {
            Some(stored) if !any => stored.filter(),
            _ => doc! { "_id": document::id(change.key) },
        };
        let rest = doc! { "file": 1, "chunks": 1, "length": 1 };
        let replaced = match change.new {
            New::Keep => return Ok(true),
            New::Remove => {
                let removed =
                    self.on_values(move |values| values.find_one_and_delete(filter).projection(rest).run())?;
                if removed.is_none() && !any && stored.is_some() {
                    return Ok(false);
                }
                removed
            }
            New::Put { value, drop_after_ms } => {
                self.index(drop_after_ms)?;
                let (document, chunks) = document::write(change.key, value, drop_after_ms);
                let new = Chunks::of(&document);
                for chunk in chunks {
                    self.on_chunks(move |all| all.insert_one(chunk).run())?;
                }
                let (replaced, done) = if stored.is_none() && !any {
                    (None, self.insert(document)?)
                } else {
                    self.replace(filter, document, rest, any)?
                };
                if !done {
                    self.remove_chunks(new)?;
                    return Ok(false);
                }
                replaced
            }
        };
        self.remove_chunks(replaced.as_ref().and_then(Chunks::of))?;
        Ok(true)
    }

    /// Stores a document under a key that is absent; `false` if it is not.
    fn insert(&self, document: Document) -> Result<bool> {
        self.on_values(move |values| match values.insert_one(document).run() {
            Err(error) if is_duplicate(&error) => Ok(false),
            result => result.map(|_| true),
        })
    }

    /// Replaces what a filter finds. Returns what was there, and whether that was done.
    fn replace(
        &self,
        filter: Document,
        document: Document,
        rest: Document,
        any: bool,
    ) -> Result<(Option<Document>, bool)> {
        self.on_values(move |values| {
            let replace = || {
                let replace = values.find_one_and_replace(filter.clone(), document.clone());
                replace.upsert(any).projection(rest.clone()).run()
            };
            // Two that make the same key at the same time: one of them must try again.
            let replaced = match replace() {
                Err(error) if any && is_duplicate(&error) => replace(),
                result => result,
            }?;
            let done = any || replaced.is_some();
            Ok((replaced, done))
        })
    }

    fn remove_chunks(&self, chunks: Option<Chunks>) -> Result<()> {
        let Some(chunks) = chunks else { return Ok(()) };
        self.on_chunks(move |all| all.delete_many(chunks.filter()).run()).map(drop)
    }

    /// Sees to it that the server drops what may be dropped.
    fn index(&self, drop_after_ms: i64) -> Result<()> {
        if drop_after_ms == i64::MAX || self.names.indexed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let make = |all: &Collection<Document>| {
            let options = IndexOptions::builder().expire_after(Duration::ZERO).build();
            let index = IndexModel::builder().keys(doc! { "drop_after": 1 }).options(options).build();
            all.create_index(index).run().map(drop)
        };
        self.on_values(make)?;
        self.on_chunks(make)?;
        self.names.indexed.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn files_in_use(&self) -> Result<HashSet<Vec<u8>>> {
        self.on_values(|values| {
            let all = values.find(doc! { "file": { "$exists": true } }).projection(doc! { "file": 1 }).run()?;
            all.map(|document| {
                Ok(document?.get_object_id("file").map(|file| file.bytes().to_vec()).unwrap_or_default())
            })
            .collect()
        })
    }
}

impl Dict for MongoDict {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.whole(key)
    }

    fn batch(&self, changes: &[Change<'_>]) -> Result<bool> {
        crate::dict::interface::check_sizes(changes, VALUE_MAX, "MongoDB")?;
        let mut keys: Vec<_> = changes.iter().filter(|change| change.expected != Expected::Any).collect();
        keys.sort_unstable_by_key(|change| change.key);
        keys.dedup_by_key(|change| change.key);
        let mut found = HashMap::new();
        for keys in keys.chunks(AT_ONCE) {
            found.extend(self.find(&keys.iter().map(|change| change.key).collect::<Vec<_>>())?);
        }
        for change in changes.iter().filter(|change| change.expected != Expected::Any) {
            if !self.holds(change, found.get(change.key))? {
                return Ok(false);
            }
        }
        let mut seen = HashSet::new();
        for change in changes.iter().filter(|change| change.new != New::Keep) {
            // What an earlier change of this batch has made of the key is not what was expected.
            let first = seen.insert(change.key);
            let change = if first { *change } else { change.expecting(Expected::Any) };
            if !self.apply(&change, found.get(change.key))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn keys(&self) -> Result<Vec<Bytes>> {
        let ids = self.on_values(|values| {
            let all = values.find(doc! {}).projection(doc! { "_id": 1 }).run()?;
            all.map(|document| Ok(document?.remove("_id"))).collect::<mongodb::error::Result<Vec<Option<Bson>>>>()
        })?;
        let mut keys: Vec<_> = ids.iter().flatten().filter_map(document::key).map(Bytes::from).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    fn len(&self) -> Result<u64> {
        self.on_values(|values| values.count_documents(doc! {}).run())
    }

    fn clear(&self) -> Result<()> {
        self.on_values(|values| values.delete_many(doc! {}).run())?;
        self.on_chunks(|chunks| chunks.delete_many(doc! {}).run()).map(drop)
    }

    fn prefixes(&self, keys: &[&[u8]], len: usize) -> Result<Vec<Option<Bytes>>> {
        let mut prefixes = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let found = self.find(keys)?;
            for key in keys {
                prefixes.push(match found.get(*key) {
                    None => None,
                    Some(stored) if stored.chunks.is_some() && len > stored.data.len() => {
                        self.whole(key)?.map(|value| value.slice(..value.len().min(len)))
                    }
                    Some(stored) => Some(Bytes::copy_from_slice(stored.data.get(..len).unwrap_or(&stored.data))),
                });
            }
        }
        Ok(prefixes)
    }

    /// Removes chunks that a crash has left without their value.
    fn compact(&self) -> Result<()> {
        let chunks = self.on_chunks(|all| {
            let all = all.find(doc! {}).projection(doc! { "_id": 1 }).run()?;
            all.map(|document| Ok(document?.remove("_id"))).collect::<mongodb::error::Result<Vec<Option<Bson>>>>()
        })?;
        let in_use = self.files_in_use()?;
        let now = crate::dict::interface::now_ms();
        let left_over = chunks.into_iter().flatten().filter(|id| {
            document::file_of(id).is_some_and(|file| {
                !in_use.contains(&file.bytes()[..]) && now - file.timestamp().timestamp_millis() > LEFT_OVER_MS
            })
        });
        for id in left_over {
            self.on_chunks(move |all| all.delete_one(doc! { "_id": id }).run())?;
        }
        Ok(())
    }

    fn max_value(&self) -> u64 {
        VALUE_MAX
    }
}

impl fmt::Debug for MongoDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = &self.names;
        f.debug_struct("MongoDict")
            .field("database", &names.database)
            .field("collection", &names.collection)
            .finish_non_exhaustive()
    }
}
