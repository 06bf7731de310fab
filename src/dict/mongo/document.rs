//! A value as documents: one, or if it is long one and its chunks.

use mongodb::bson::{Binary, Bson, DateTime, Document, doc, oid::ObjectId, spec::BinarySubtype};

/// Values up to here are one document.
pub(super) const WHOLE_MAX: usize = 1 << 20;

/// Bytes of a longer value that are in its document, so that its beginning is read without the rest.
pub(super) const FIRST: usize = 64 << 10;

/// Bytes in each chunk: enough of them in a document, and few enough for one operation.
pub(super) const CHUNK: usize = 4 << 20;

/// What is stored under a key.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: Bson,
    /// The value, or its beginning.
    pub(super) data: Vec<u8>,
    /// Another for each write, to compare by; none if another program has written it.
    pub(super) stamp: Option<ObjectId>,
    pub(super) chunks: Option<Chunks>,
}

/// The rest of a long value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    pub(super) file: ObjectId,
    pub(super) count: u32,
    /// Of the whole value.
    pub(super) len: u64,
}

impl Stored {
    /// Reads a document; `None` if it is none of a dict.
    pub(super) fn read(mut document: Document) -> Option<Self> {
        let stamp = document.get_object_id("stamp").ok();
        let chunks = Chunks::of(&document);
        let data = match document.remove("data") {
            Some(Bson::Binary(binary)) => binary.bytes,
            // What other programs may have put there.
            Some(Bson::String(text)) => text.into_bytes(),
            None => Vec::new(),
            Some(_) => return None,
        };
        Some(Self { id: document.remove("_id")?, data, stamp, chunks })
    }

    /// What finds the document as long as it is as it was read.
    pub(super) fn filter(&self) -> Document {
        let mut filter = doc! { "_id": self.id.clone() };
        if let Some(stamp) = self.stamp {
            filter.insert("stamp", stamp);
        } else {
            filter.extend(doc! { "stamp": { "$exists": false }, "data": binary(&self.data) });
        }
        filter
    }
}

impl Chunks {
    pub(super) fn of(document: &Document) -> Option<Self> {
        let file = document.get_object_id("file").ok()?;
        let count = u32::try_from(document.get_i32("chunks").ok()?).ok()?;
        let len = u64::try_from(document.get_i64("length").ok()?).ok()?;
        Some(Self { file, count, len })
    }

    /// What finds the chunks.
    pub(super) fn filter(&self) -> Document {
        let (first, end) = (chunk_id(self.file, 0), chunk_id(self.file, u32::MAX));
        doc! { "_id": { "$gte": first, "$lte": end } }
    }
}

/// The document of a new value, and its chunks.
pub(super) fn write(key: &[u8], value: &[u8], drop_after_ms: i64) -> (Document, Vec<Document>) {
    let mut document = doc! { "_id": id(key) };
    let mut chunks = Vec::new();
    let date = (drop_after_ms < i64::MAX).then(|| DateTime::from_millis(drop_after_ms));
    if value.len() <= WHOLE_MAX {
        document.insert("data", binary(value));
    } else {
        let (first, rest) = value.split_at(FIRST);
        let file = ObjectId::new();
        for (n, bytes) in (0..).zip(rest.chunks(CHUNK)) {
            let mut chunk = doc! { "_id": chunk_id(file, n), "data": binary(bytes) };
            chunk.extend(date.map(|date| ("drop_after".to_owned(), date.into())));
            chunks.push(chunk);
        }
        document.insert("data", binary(first));
        document.insert("length", i64::try_from(value.len()).unwrap_or(i64::MAX));
        document.insert("chunks", i32::try_from(chunks.len()).unwrap_or(i32::MAX));
        document.insert("file", file);
    }
    document.insert("stamp", ObjectId::new());
    document.extend(date.map(|date| ("drop_after".to_owned(), date.into())));
    (document, chunks)
}

/// A key as the id of a document: a string where it is one.
pub(super) fn id(key: &[u8]) -> Bson {
    match std::str::from_utf8(key) {
        Ok(text) => Bson::String(text.to_owned()),
        Err(_) => binary(key),
    }
}

/// The key of a document; `None` if it is none of a dict.
pub(super) fn key(id: &Bson) -> Option<Vec<u8>> {
    match id {
        Bson::String(text) => Some(text.clone().into_bytes()),
        Bson::Binary(binary) => Some(binary.bytes.clone()),
        _ => None,
    }
}

pub(super) fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() })
}

/// The file that a chunk belongs to.
pub(super) fn file_of(id: &Bson) -> Option<ObjectId> {
    let Bson::Binary(binary) = id else { return None };
    binary.bytes.first_chunk().map(|bytes| ObjectId::from_bytes(*bytes))
}

fn chunk_id(file: ObjectId, n: u32) -> Bson {
    binary(&[&file.bytes()[..], &n.to_be_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_and_a_short_one_is_not() {
        let (document, chunks) = write(b"k", &vec![7; WHOLE_MAX], i64::MAX);
        assert!(chunks.is_empty() && Chunks::of(&document).is_none() && !document.contains_key("drop_after"));
        let (document, chunks) = write(b"k", &vec![7; WHOLE_MAX + 1], 5);
        let found = Chunks::of(&document).unwrap();
        assert_eq!((found.count as usize, found.len), (chunks.len(), WHOLE_MAX as u64 + 1));
        assert_eq!(file_of(chunks[0].get("_id").unwrap()), Some(found.file));
        assert!(document.contains_key("drop_after") && chunks[0].contains_key("drop_after"));
        let stored = Stored::read(document).unwrap();
        assert_eq!((stored.data.len(), key(&stored.id).unwrap()), (FIRST, b"k".to_vec()));
    }

    #[test]
    fn keys_are_text_where_they_can_be() {
        assert_eq!(id(b"abc"), Bson::String("abc".to_owned()));
        for bytes in [&b"abc"[..], b"\xff\x00", b""] {
            assert_eq!(key(&id(bytes)).unwrap(), bytes);
        }
    }
}
