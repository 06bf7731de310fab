//! Stored responses, the bookkeeping that finds them by URL, and the bytes of both.

pub(crate) mod base64;
mod codec;
#[cfg(any(feature = "sqlite", feature = "redis", fuzzing))]
mod document;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod index;
#[cfg(any(feature = "sqlite", feature = "redis", fuzzing))]
mod iso;
mod key;
#[cfg(any(feature = "sqlite", feature = "redis", fuzzing))]
pub(crate) mod pickle;
mod response;
#[cfg(test)]
mod tests;
mod variants;

pub(crate) use codec::{ALIAS_HEAD, decode_response, encode_response, is_alias_head};
#[cfg(any(feature = "sqlite", feature = "redis"))]
pub(crate) use document::{Documented, decode_document, encode_document};
pub(crate) use index::{INLINE_MAX, Index, Item, PAGE_MAX, UrlEntry, page_key};
pub(crate) use key::{Key, Namespace, foreign, foreign_digest};
pub(crate) use response::to_ms;
pub use response::{StoredRequest, StoredResponse};
pub(crate) use variants::Variants;
