//! A dict in the single file of the engine, beside others.

use super::{
    Change, Dict, Expected, New,
    interface::{DictSize, now_ms},
};
use crate::{
    Error, ErrorKind, Result,
    log::{Log, Times, Write},
};
use bytes::Bytes;
use std::{collections::HashMap, fmt, path::Path};

/// The name of a dict unless another is given.
const NAME: &str = "data";

/// How often a batch is made anew because another changed what was read for it.
const TRIES_MAX: u32 = 64;

/// Removals in one batch of [`clear`](Dict::clear).
const CLEARED_MAX: usize = 1024;

/// A [`Dict`] in a [`Log`]: one file, which survives the process and a power cut, with as many dicts as there are
/// names.
///
/// The file is one for dicts: a session counts everything in its own file as its own. Keys are up to 65,535 bytes
/// less the name and one byte, values up to 4 GiB. Clones share the file. Listing and counting go through the whole
/// file, heads only.
///
/// ```
/// use larder::{dict::{Dict, LogDict}, log::{Log, Options}};
///
/// # let folder = tempfile::tempdir()?;
/// let log = Log::open(folder.path().join("dicts.larder"), Options::new())?;
/// let (fruit, tools) = (LogDict::named(&log, "fruit")?, LogDict::named(&log, "tools")?);
/// fruit.insert(b"apple", b"red", None)?;
/// tools.insert(b"saw", b"sharp", None)?;
/// fruit.clear()?;
/// assert_eq!((fruit.len()?, tools.len()?), (0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LogDict {
    log: Log,
    /// The name with its length before it, so that no name is the beginning of another.
    prefix: Vec<u8>,
}

impl LogDict {
    /// The dict `data` of a log.
    #[must_use]
    pub fn new(log: &Log) -> Self {
        Self { log: log.clone(), prefix: prefix(NAME) }
    }

    /// The dict of this name in a log.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name of more than 255 bytes.
    pub fn named(log: &Log, name: &str) -> Result<Self> {
        if name.len() > usize::from(u8::MAX) {
            let message = "the name of a dict is at most 255 bytes long; choose a shorter one";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(Self { log: log.clone(), prefix: prefix(name) })
    }

    fn key(&self, key: &[u8]) -> Bytes {
        [&self.prefix, key].concat().into()
    }

    /// Reads what a batch expects and makes it of what holds. `None` if something does not.
    fn writes(&self, changes: &[Change<'_>]) -> Result<Option<Vec<Write>>> {
        let mut writes = Vec::with_capacity(2 * changes.len());
        let mut read = HashMap::new();
        for change in changes {
            let key = self.key(change.key);
            if change.expected == Expected::Any {
                continue;
            }
            if !read.contains_key(&key) {
                read.insert(key.clone(), self.log.entry(&key)?);
            }
            let entry = read.get(&key).and_then(Option::as_ref);
            if !change.expected.holds_for(entry.map(|entry| &entry.body[..])) {
                return Ok(None);
            }
            writes.push(Write::Expect { key, version: entry.map(|entry| entry.version) });
        }
        let now = now_ms();
        for change in changes {
            let key = self.key(change.key);
            match change.new {
                New::Keep => {}
                New::Remove => writes.push(Write::Delete { key }),
                New::Put { value, drop_after_ms } => writes.push(Write::Put {
                    key,
                    head: Bytes::new(),
                    body: Bytes::copy_from_slice(value),
                    times: Times { created_ms: now, drop_after_ms },
                    aux: false,
                }),
            }
        }
        Ok(Some(writes))
    }

    /// The keys of this dict, with the name before them, in the order of the log.
    fn own(&self) -> impl Iterator<Item = Result<Bytes>> {
        self.log.iter().filter_map(|item| match item {
            Ok((key, _)) if key.starts_with(&self.prefix) => Some(Ok(key.into())),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

impl Dict for LogDict {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.log.get(self.key(key))
    }

    fn batch(&self, changes: &[Change<'_>]) -> Result<bool> {
        for _ in 0..TRIES_MAX {
            let Some(writes) = self.writes(changes)? else { return Ok(false) };
            if writes.iter().all(|write| matches!(write, Write::Expect { .. })) {
                return Ok(true);
            }
            match self.log.apply(&writes) {
                // A compaction conflicts as well, and changes nothing of what is expected.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                result => return result.map(|()| true),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "others change the same key all the time; try again"))
    }

    fn keys(&self) -> Result<Vec<Bytes>> {
        let own = self.own().map(|key| Ok(key?.slice(self.prefix.len()..)));
        let mut keys = own.collect::<Result<Vec<_>>>()?;
        keys.sort_unstable();
        Ok(keys)
    }

    fn len(&self) -> Result<u64> {
        self.own().try_fold(0, |n, key| key.map(|_| n + 1))
    }

    fn clear(&self) -> Result<()> {
        let own = self.own().collect::<Result<Vec<_>>>()?;
        for keys in own.chunks(CLEARED_MAX) {
            let writes: Vec<_> = keys.iter().map(|key| Write::Delete { key: key.clone() }).collect();
            self.log.apply(&writes)?;
        }
        Ok(())
    }

    fn is_atomic(&self) -> bool {
        true
    }

    fn compact(&self) -> Result<()> {
        self.log.compact()
    }

    fn flush(&self) -> Result<()> {
        self.log.flush()
    }

    fn max_value(&self) -> u64 {
        u64::from(u32::MAX)
    }

    fn size(&self) -> Result<DictSize> {
        let stats = self.log.stats()?;
        Ok(DictSize::new(stats.live_bytes, stats.dead_bytes, stats.file_bytes))
    }

    fn location(&self) -> Option<&Path> {
        Some(self.log.path())
    }
}

impl fmt::Debug for LogDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(self.prefix.get(1..).unwrap_or_default());
        f.debug_struct("LogDict").field("path", &self.log.path()).field("name", &name).finish()
    }
}

fn prefix(name: &str) -> Vec<u8> {
    let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
    [&[len], name.as_bytes()].concat()
}
