//! Stored responses, the bookkeeping that finds them by URL, and the bytes of both.

mod codec;
mod index;
mod key;
mod response;
#[cfg(test)]
mod tests;
mod variants;

pub(crate) use codec::{ALIAS_HEAD, decode_response, encode_response, is_alias_head};
pub(crate) use index::{INLINE_MAX, Index, Item, PAGE_MAX, UrlEntry, page_key};
pub(crate) use key::{Key, Namespace};
pub(crate) use response::to_ms;
pub use response::{StoredRequest, StoredResponse};
pub(crate) use variants::Variants;
