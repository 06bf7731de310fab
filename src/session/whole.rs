//! The body of an answer, read whole.

use std::io::{self, Read};

use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    response,
};

use super::{WireBody, decode, send::Course, transport::timed_out};
use crate::{Error, ErrorKind, Result};

/// What is set aside for a body before its first byte has come, whatever its announced length.
const RESERVED: u64 = 1 << 20;

impl Course<'_> {
    /// The body as the request wants it, and the codings that are left in it.
    pub(super) fn read_decoded(
        &self,
        request: &http::Request<Bytes>,
        parts: &response::Parts,
        wire: WireBody,
    ) -> Result<(Bytes, String)> {
        let wire = self.read(request, parts, wire)?;
        let coding = decode::coding_of(&parts.headers);
        if !self.decode {
            return Ok((wire, coding));
        }
        decode::decode(&wire, &coding, self.settings.max_body, self.limits().deadline)
    }

    /// The body as it came, or an error if it did not come whole.
    fn read(&self, request: &http::Request<Bytes>, parts: &response::Parts, wire: WireBody) -> Result<Bytes> {
        let max = self.settings.max_body;
        let announced = if has_no_body(request.method(), parts) { None } else { announced(&parts.headers) };
        let announced = announced.unwrap_or(0);
        if announced > max {
            return Err(decode::too_large(max));
        }
        let reserved = usize::try_from(announced.min(RESERVED)).unwrap_or(0);
        let mut body = Vec::with_capacity(reserved);
        if let Err(error) = wire.take(max.saturating_add(1)).read_to_end(&mut body) {
            if error.kind() == io::ErrorKind::TimedOut {
                return Err(timed_out(request.method(), self.timeout).with_source(error));
            }
            let message = format!(
                "the connection broke after {} bytes of the body of {} ({error}); nothing was stored, try again",
                body.len(),
                request.method()
            );
            return Err(Error::new(ErrorKind::Network, message).with_source(error));
        }
        if body.len() as u64 > max {
            return Err(decode::too_large(max));
        }
        Ok(body.into())
    }
}

/// Whether the answer ends with its head: `Content-Length` of an answer to HEAD and of a 304 is that of the body that
/// a GET would have brought (RFC 9110, 8.6).
pub(super) fn has_no_body(method: &Method, parts: &response::Parts) -> bool {
    method == Method::HEAD
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        // Of the two, `Transfer-Encoding` decides (RFC 9112, 6.3).
        || announced(&parts.headers) == Some(0) && !parts.headers.contains_key(TRANSFER_ENCODING)
}

pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
