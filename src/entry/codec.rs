//! The bytes of heads: a version byte, then bincode.
//!
//! This is the only place that knows bincode. The bytes are frozen by the tests below: integers are bincode's
//! varints (zigzag if signed), a string or byte string is a varint length and the bytes, a list a varint count and
//! the items, an option one byte 0 or 1 and the value, an array its bytes.

use super::response::{StoredRequest, StoredResponse, from_ms, to_ms};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The head of an alias that carries no response of its own.
pub(crate) const ALIAS_HEAD: &[u8] = &[0];

/// Largest head, as the engine has it. Decoding claims no more memory than this, whatever the bytes say.
const HEAD_LEN_MAX: usize = 1 << 20;

const VERSION: u8 = 1;

/// A head of version 1 with one field more, the time of the last validation. Only a response that was validated has it,
/// so that whoever knows version 1 alone reads all the others.
const VERSION_VALIDATED: u8 = 2;

/// The head of a record that leads to the variants of a response.
pub(super) const VERSION_VARIANTS: u8 = 3;

/// Of a head that has the body of the request behind it. It never gets into a file: stores that keep responses in the
/// form of others take it apart.
const WITH_BODY: u8 = 0x80;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<HEAD_LEN_MAX>,
> = bincode::config::standard().with_limit::<HEAD_LEN_MAX>();

/// Version 1 of a response's head. The order of the fields is the format.
#[derive(Serialize, Deserialize)]
struct HeadV1<'a> {
    status: u16,
    reason: &'a str,
    #[serde(borrow)]
    headers: Vec<(&'a str, &'a [u8])>,
    url: &'a str,
    method: &'a str,
    request_url: &'a str,
    request_headers: Vec<(&'a str, &'a [u8])>,
    body_digest: Option<[u8; 32]>,
    partition: Option<[u8; 16]>,
    variant: Option<[u8; 32]>,
    name: Option<[u8; 32]>,
    created_ms: i64,
    expires_ms: Option<i64>,
    elapsed_us: u64,
    coding: &'a str,
}

/// Whether an alias carries no response of its own.
///
/// The engine reads an empty head of an alias as that of its target, hence the mark.
pub(crate) fn is_alias_head(head: &[u8]) -> bool {
    head == ALIAS_HEAD
}

/// The head of a response: everything but its body. Fails with `TooLarge` if headers and URLs exceed 1 MiB.
pub(crate) fn encode_response(response: &StoredResponse) -> Result<Bytes> {
    let head = HeadV1::of(response);
    match (&response.request.body, response.validated) {
        (Some(body), _) => encode(WITH_BODY, &(head, &body[..])),
        (None, Some(validated)) => encode(VERSION_VALIDATED, &(head, to_ms(validated))),
        (None, None) => encode(VERSION, &head),
    }
}

impl<'a> HeadV1<'a> {
    fn of(response: &'a StoredResponse) -> Self {
        let request = &response.request;
        Self {
            status: response.status.as_u16(),
            reason: &response.reason,
            headers: list(&response.headers),
            url: &response.url,
            method: &request.method,
            request_url: &request.url,
            request_headers: list(&request.headers),
            body_digest: request.body_digest,
            partition: request.partition,
            variant: request.variant,
            name: request.name,
            created_ms: to_ms(response.created),
            expires_ms: response.expires.map(to_ms),
            elapsed_us: u64::try_from(response.elapsed.as_micros()).unwrap_or(u64::MAX),
            coding: &response.coding,
        }
    }
}

/// The response of a head and a body. `None` if the head is of another version or damaged: the caller takes it as
/// absent, and what is fetched next replaces it.
pub(crate) fn decode_response(head: &[u8], body: Bytes) -> Option<StoredResponse> {
    let (head, request_body, validated_ms) = match head.first() {
        Some(&WITH_BODY) => {
            let (head, body): (HeadV1<'_>, &[u8]) = decode(WITH_BODY, head)?;
            (head, Some(Bytes::copy_from_slice(body)), None)
        }
        Some(&VERSION_VALIDATED) => {
            let (head, validated_ms): (HeadV1<'_>, i64) = decode(VERSION_VALIDATED, head)?;
            (head, None, Some(validated_ms))
        }
        _ => (decode(VERSION, head)?, None, None),
    };
    Some(StoredResponse {
        status: StatusCode::from_u16(head.status).ok()?,
        reason: head.reason.to_owned(),
        headers: map(&head.headers)?,
        url: head.url.to_owned(),
        request: StoredRequest {
            method: head.method.to_owned(),
            url: head.request_url.to_owned(),
            headers: map(&head.request_headers)?,
            body_digest: head.body_digest,
            partition: head.partition,
            variant: head.variant,
            name: head.name,
            body: request_body,
        },
        created: from_ms(head.created_ms),
        validated: validated_ms.map(from_ms),
        expires: head.expires_ms.map(from_ms),
        elapsed: Duration::from_micros(head.elapsed_us),
        coding: head.coding.to_owned(),
        body,
    })
}

/// A version byte and the value.
pub(super) fn encode_v1(value: &impl Serialize) -> Result<Bytes> {
    encode(VERSION, value)
}

/// The value, if the version is ours and the bytes are it and nothing else.
pub(super) fn decode_v1<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    decode(VERSION, bytes)
}

pub(super) fn encode(version: u8, value: &impl Serialize) -> Result<Bytes> {
    let mut bytes = vec![version];
    bincode::serde::encode_into_std_write(value, &mut bytes, CONFIG).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, "cannot encode the head of a response").with_source(error)
    })?;
    if bytes.len() > HEAD_LEN_MAX {
        let message = format!("the headers and URL of the response take {} bytes; 1 MiB can be stored", bytes.len());
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(bytes.into())
}

pub(super) fn decode<'a, T: Deserialize<'a>>(version: u8, bytes: &'a [u8]) -> Option<T> {
    let rest = bytes.split_first().filter(|(first, _)| **first == version).map(|(_, rest)| rest)?;
    let (value, read) = bincode::serde::borrow_decode_from_slice(rest, CONFIG).ok()?;
    (read == rest.len()).then_some(value)
}

fn list(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn map(list: &[(&str, &[u8])]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::try_with_capacity(list.len()).ok()?;
    for (name, value) in list {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.try_append(name, HeaderValue::from_bytes(value).ok()?).ok()?;
    }
    Some(headers)
}
