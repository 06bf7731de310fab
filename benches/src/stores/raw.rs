//! The least that a durable store can be: an append file, a map of it in memory, group commit, a checksum that every
//! read verifies, and an fstat per read to see what another process has appended. One process writes.

use crate::store::{Result, Store, Use};
use bytes::Bytes;
use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// The lengths of key and body and the body's checksum, each a little-endian u32; then key and body.
const HEADER_LEN: usize = 12;

struct Raw {
    path: PathBuf,
    file: File,
    durable: bool,
    index: RwLock<Index>,
    sync: Mutex<Sync>,
    synced: Condvar,
}

#[derive(Default)]
struct Index {
    places: HashMap<Box<[u8]>, Place>,
    end: u64,
}

struct Place {
    offset: u64,
    key_len: u32,
    body_len: u32,
    crc: u32,
}

#[derive(Default)]
struct Sync {
    end: u64,
    running: bool,
}

pub fn open(folder: &Path, wanted: Use) -> Result<Box<dyn Store>> {
    let (path, writes) = (folder.join("raw.log"), wanted != Use::BesideWriter);
    let file = File::options().read(true).write(writes).create(writes).truncate(false).open(&path)?;
    let raw = Raw {
        path,
        file,
        durable: wanted != Use::Fast,
        index: RwLock::default(),
        sync: Mutex::default(),
        synced: Condvar::new(),
    };
    raw.read_on(raw.file.metadata()?.len(), true)?;
    if writes {
        raw.file.set_len(raw.index().end)?;
    }
    Ok(Box::new(raw))
}

/// The same over space that was filled with zeros before, so that the size of the file does not change with a put. Only
/// for a fresh file: this one could not tell where its log ends.
pub fn open_zero_filled(folder: &Path, wanted: Use) -> Result<Box<dyn Store>> {
    const AHEAD: usize = 160 << 20;
    let store = open(folder, wanted)?;
    let file = File::options().write(true).open(folder.join("raw.log"))?;
    let zeros = vec![0; 1 << 20];
    for at in (0..AHEAD).step_by(zeros.len()) {
        file.write_all_at(&zeros, at as u64)?;
    }
    file.sync_all()?;
    Ok(store)
}

impl Place {
    fn decode(header: &[u8; HEADER_LEN], offset: u64) -> Self {
        let [key_len, body_len, crc] =
            [0, 4, 8].map(|at| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
        Self { offset, key_len, body_len, crc }
    }

    fn body_at(&self) -> u64 {
        self.offset + HEADER_LEN as u64 + u64::from(self.key_len)
    }

    fn end(&self) -> u64 {
        self.body_at() + u64::from(self.body_len)
    }
}

impl Raw {
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the records up to `size`, with their bodies if they are to be verified.
    fn read_on(&self, size: u64, verify: bool) -> Result<()> {
        let mut index = self.index_mut();
        let mut reader = BufReader::with_capacity(if verify { 1 << 20 } else { 64 << 10 }, &self.file);
        reader.seek(SeekFrom::Start(index.end))?;
        let (mut header, mut body) = ([0; HEADER_LEN], Vec::new());
        while index.end + HEADER_LEN as u64 <= size {
            reader.read_exact(&mut header)?;
            let place = Place::decode(&header, index.end);
            if place.end() > size {
                break;
            }
            let mut key = vec![0; place.key_len as usize];
            reader.read_exact(&mut key)?;
            if verify {
                body.resize(place.body_len as usize, 0);
                reader.read_exact(&mut body)?;
                if crc32fast::hash(&body) != place.crc {
                    break;
                }
            } else {
                reader.seek_relative(i64::from(place.body_len))?;
            }
            index.end = place.end();
            index.places.insert(key.into(), place);
        }
        Ok(())
    }

    /// Appends one record and returns where it ends.
    fn append(&self, key: &[u8], body: &[u8]) -> Result<u64> {
        let (key_len, body_len) = (u32::try_from(key.len())?, u32::try_from(body.len())?);
        let crc = crc32fast::hash(body);
        let mut record = Vec::with_capacity(HEADER_LEN + key.len() + body.len());
        for field in [key_len, body_len, crc] {
            record.extend(field.to_le_bytes());
        }
        record.extend(key);
        record.extend(body);
        let mut index = self.index_mut();
        self.file.write_all_at(&record, index.end)?;
        let place = Place { offset: index.end, key_len, body_len, crc };
        index.end = place.end();
        index.places.insert(key.into(), place);
        Ok(index.end)
    }

    /// One thread syncs for all that have appended before it began. After an error it is not used any more.
    fn acknowledge(&self, end: u64) -> Result<()> {
        let mut sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        while self.durable && sync.end < end {
            if sync.running {
                sync = self.synced.wait(sync).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            sync.running = true;
            drop(sync);
            let covered = self.index().end;
            self.file.sync_data()?;
            sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
            *sync = Sync { end: covered, running: false };
            self.synced.notify_all();
        }
        Ok(())
    }
}

impl Store for Raw {
    fn put(&self, key: &[u8], body: &[u8]) -> Result<()> {
        let end = self.append(key, body)?;
        self.acknowledge(end)
    }

    fn put_all(&self, items: &[(&[u8], &[u8])]) -> Result<()> {
        let mut end = 0;
        for (key, body) in items {
            end = self.append(key, body)?;
        }
        self.acknowledge(end)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let size = u64::try_from(rustix::fs::fstat(&self.file)?.st_size)?;
        if size > self.index().end {
            self.read_on(size, false)?;
        }
        let (offset, len, crc) = match self.index().places.get(key) {
            Some(place) => (place.body_at(), place.body_len as usize, place.crc),
            None => return Ok(None),
        };
        let mut body = Vec::with_capacity(len);
        let read = rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut body), offset)?;
        if read != len || crc32fast::hash(&body) != crc {
            return Err("the bare append has lost a body".into());
        }
        Ok(Some(Bytes::from(body)))
    }

    fn clear(&self) -> Result<()> {
        let mut index = self.index_mut();
        self.file.set_len(0)?;
        self.file.sync_data()?;
        *index = Index::default();
        *self.sync.lock().unwrap_or_else(PoisonError::into_inner) = Sync::default();
        Ok(())
    }

    /// Copies the live bytes in the order of the file, and looks at none of them.
    fn compact(self: Box<Self>) -> Result<bool> {
        const BUFFER_LEN: usize = 1 << 20;
        let path = self.path.with_extension("new");
        let (new, index) = (File::create(&path)?, self.index());
        let mut places: Vec<_> = index.places.values().collect();
        places.sort_unstable_by_key(|place| place.offset);
        let (mut buffer, mut written) = (Vec::with_capacity(BUFFER_LEN * 4), 0);
        for place in places {
            let start = buffer.len();
            buffer.resize(start + usize::try_from(place.end() - place.offset)?, 0);
            self.file.read_exact_at(&mut buffer[start..], place.offset)?;
            if buffer.len() >= BUFFER_LEN {
                new.write_all_at(&buffer, written)?;
                written += buffer.len() as u64;
                buffer.clear();
            }
        }
        new.write_all_at(&buffer, written)?;
        new.sync_data()?;
        std::fs::rename(path, &self.path)?;
        Ok(true)
    }
}
