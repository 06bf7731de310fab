//! The body of the fuzz target for heads and lists; its seeds are what the tests store.

#![expect(clippy::missing_panics_doc, reason = "a panic is how it reports")]

use super::{
    Index, Item, Key, UrlEntry,
    codec::{decode_response, encode_response},
};
use bytes::Bytes;

/// Decodes any bytes as the head of a response and as the lists that find responses. Numbers have longer encodings than
/// the one that is written, so that what decodes need not encode to the same bytes; but it is read again as it was.
pub fn head_decode(data: &[u8]) {
    if let Some(response) = decode_response(data, Bytes::new()) {
        let head = encode_response(&response).expect("it was read from as many bytes or more");
        assert!(head.len() <= data.len());
        assert_eq!(decode_response(&head, Bytes::new()), Some(response));
    }
    list_decode::<UrlEntry>(data);
    list_decode::<Key>(data);
}

fn list_decode<T: Item + std::fmt::Debug>(data: &[u8]) {
    if let Some(list) = Index::<T>::decode(data) {
        let bytes = list.encode().expect("it was read from as many bytes or more");
        assert!(bytes.len() <= data.len());
        assert_eq!(Index::<T>::decode(&bytes), Some(list));
    }
}
