//! Asking the origin whether a stored response still holds, and answering those who ask that of the cache
//! (RFC 9111, 4.3; RFC 9110, 13).

use super::{
    cache_control::elements,
    freshness::{Held, http_date},
    storable::without_connection,
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, DATE, ETAG, EXPIRES,
        IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY,
    },
};

/// Whether the answer to a request may be a part, a 304 or a 412.
pub(crate) fn asks_for_less(request: &HeaderMap) -> bool {
    const LESS: [HeaderName; 6] = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
    LESS.iter().any(|name| request.contains_key(name))
}

/// 4.3.2: "A cache MUST NOT evaluate conditional header fields that only apply to an origin server".
pub(crate) fn asks_the_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether the caller has a response and asks whether it still holds.
pub(crate) fn has_condition(request: &HeaderMap) -> bool {
    request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE)
}

/// Makes a request ask whether a stored response still holds.
///
/// 4.3.1: "When sending such a request, a cache MUST send the relevant entity tags (using If-Match, If-None-Match, or
/// If-Range) if the entity tags were provided in the stored response(s) being validated; SHOULD send the Last-Modified
/// value (using If-Modified-Since)". 4.3.2: "When a cache decides to revalidate its own stored responses for a request
/// that contains an If-None-Match list of entity tags, the cache MAY combine the received list with a list of entity
/// tags from its own stored set of responses (fresh or stale)".
pub(crate) fn add_conditions(request: &mut HeaderMap, stored: &HeaderMap) {
    if let Some(tag) = stored.get(ETAG).filter(|tag| !matches_any(request, tag)) {
        request.append(IF_NONE_MATCH, tag.clone());
    }
    // A date of the caller's would let a server that knows no entity tags confirm what the caller has, not this.
    request.remove(IF_MODIFIED_SINCE);
    if let Some(date) = stored.get(LAST_MODIFIED) {
        request.insert(IF_MODIFIED_SINCE, date.clone());
    }
}

/// Whether a 304 is about the stored response that was asked about.
///
/// 4.3.4: "If the new response contains one or more 'strong validators' [..], then each of those strong validators
/// identifies a selected representation for update. [..] If none of the initial set contains at least one of the same
/// strong validators, then the cache MUST NOT use the new response to update any stored responses. If the new response
/// contains no strong validators but does contain one or more 'weak validators', and if those validators correspond to
/// one of the initial set's stored responses, then the most recent of those matching stored responses is identified for
/// update. If the new response does not include any form of validator (such as where a client generates an
/// If-Modified-Since request from a source other than the Last-Modified response header field), and there is only one
/// stored response in the initial set, and that stored response also lacks a validator, then that stored response is
/// identified for update."
///
/// Servers leave validators out of a 304; where only this response was asked about it is still about this one.
pub(crate) fn confirms(stored: &HeaderMap, new: &HeaderMap, asked_by_caller: &HeaderMap) -> bool {
    match (new.get(ETAG), stored.get(ETAG)) {
        (Some(new), Some(stored)) if is_strong(new) => new.as_bytes() == stored.as_bytes(),
        (Some(new), Some(stored)) => weakly_equal(new.as_bytes(), stored.as_bytes()),
        // The origin has begun to send entity tags; the date was what it confirmed.
        (Some(_), None) => !has_condition(asked_by_caller),
        (None, Some(stored)) => !has_condition(asked_by_caller) || matches_any(asked_by_caller, stored),
        (None, None) => {
            !has_condition(asked_by_caller) || asked_by_caller.get(IF_MODIFIED_SINCE) == stored.get(LAST_MODIFIED)
        }
    }
}

/// Whether the caller's condition makes a 304 of a stored response that may be used.
///
/// 4.3.2: "When a request contains an If-None-Match header field [..] a stored response is selected [if its] entity tag
/// matches". RFC 9110, 13.1.3: "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match
/// header field"; "if the received field value is not a valid HTTP-date, the field value has more than one member, or
/// if the request method is neither GET nor HEAD". RFC 9110, 13.2.1: "a server MUST ignore the conditional request
/// header fields [if the] response without those conditions would be other than a 2xx (Successful) or 412".
pub(crate) fn is_not_modified(request: &HeaderMap, held: &Held<'_>) -> bool {
    let stored = &held.response.headers;
    if !held.response.status.is_success() {
        return false;
    }
    if request.contains_key(IF_NONE_MATCH) {
        let any = request.get_all(IF_NONE_MATCH).iter().any(|line| line.as_bytes().trim_ascii() == b"*");
        return any || stored.get(ETAG).is_some_and(|tag| matches_any(request, tag));
    }
    let mut dates = request.get_all(IF_MODIFIED_SINCE).iter();
    let (Some(date), None) = (dates.next(), dates.next()) else { return false };
    // 4.3.2: "If the stored response [has] no Last-Modified, the Date, or if there is none, the time it was received".
    let changed = held.facts.last_modified().unwrap_or_else(|| held.facts.date_value(held.received()));
    http_date(date.as_bytes()).is_some_and(|since| changed <= since)
}

/// The headers of a 304 that the cache answers itself.
///
/// RFC 9110, 15.4.5: "The server generating a 304 response MUST generate any of the following header fields that would
/// have been sent in a 200 (OK) response to the same request: Content-Location, Date, `ETag`, and Vary; Cache-Control
/// and Expires. [..] a sender SHOULD NOT generate representation metadata other than the above listed fields unless
/// said metadata exists for the purpose of guiding cache updates (e.g., Last-Modified might be useful if the response
/// does not have an `ETag` field)."
pub(crate) fn not_modified(stored: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [AGE, CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY] {
        if name == LAST_MODIFIED && stored.contains_key(ETAG) {
            continue;
        }
        for value in stored.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// The headers of a stored response after the origin has sent new ones for it.
///
/// 3.2: "the cache MUST add each header field in the provided response to the stored response, replacing field values
/// that are already present, with the following exceptions: Header fields excepted from storage in Section 3.1, Header
/// fields that the cache's stored response depends upon, as described below, Header fields that are automatically
/// processed and removed by the recipient, as described below, and the Content-Length header field. [..] a browser
/// might decode the content coding of a response while it is being received, creating a disconnect between the data it
/// has stored and the response's original metadata. Updating that stored metadata with a different Content-Encoding
/// header field would be problematic."
///
/// `Age` and `Date` are those of one message: the old ones go even if the new one has none.
pub(crate) fn merged(stored: &HeaderMap, new: &HeaderMap) -> HeaderMap {
    let mut merged = stored.clone();
    merged.remove(AGE);
    merged.remove(DATE);
    let new = without_connection(new);
    for name in new.keys().filter(|name| ![CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE].contains(name)) {
        merged.remove(name);
        for value in new.get_all(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    merged
}

/// Whether an answer to HEAD describes the stored response to GET.
///
/// 4.3.5: "If one or more stored GET responses could have been chosen [..] for each of those stored responses: If the
/// HEAD response's validators and Content-Length are the same as the stored [ones, it is] updated [..]; if not, [..]
/// the cache SHOULD consider the stored response to be stale."
pub(crate) fn describes(head: &HeaderMap, stored: &HeaderMap) -> bool {
    // What HEAD does not say does not differ.
    [ETAG, LAST_MODIFIED, CONTENT_LENGTH].iter().all(|name| match (head.get(name), stored.get(name)) {
        (Some(head), Some(stored)) => head == stored,
        (Some(_), None) => *name == CONTENT_LENGTH,
        (None, _) => true,
    })
}

/// Whether a part of what the caller has may be completed from this response.
///
/// RFC 9110, 13.1.5: "If the validator given [..] is an entity tag: [..] strong comparison; an HTTP-date: the date
/// validator provided is not a strong validator: false; exactly matches the Last-Modified field value: true".
pub(crate) fn if_range_holds(request: &HeaderMap, held: &Held<'_>) -> bool {
    let (stored, facts) = (&held.response.headers, held.facts);
    let Some(validator) = request.get(IF_RANGE).map(|value| value.as_bytes().trim_ascii()) else { return true };
    if validator.starts_with(b"\"") || validator.starts_with(b"W/") {
        return stored.get(ETAG).is_some_and(|tag| is_strong(tag) && tag.as_bytes() == validator);
    }
    // RFC 9110, 8.8.2.2: a date is strong if "the origin server [..] has a Date value at least one second later".
    let date = facts.date_value(held.received());
    let is_strong = |last: std::time::SystemTime| date.duration_since(last).is_ok_and(|since| since.as_secs() >= 1);
    stored.get(LAST_MODIFIED).is_some_and(|last| last.as_bytes() == validator)
        && facts.last_modified().is_some_and(is_strong)
}

fn matches_any(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let lines = request.get_all(IF_NONE_MATCH).iter();
    lines.flat_map(|line| elements(line.as_bytes())).any(|asked| weakly_equal(asked, tag.as_bytes()))
}

/// RFC 9110, 8.8.3.2: "two entity tags are equivalent if their opaque-tags match character-by-character, regardless of
/// either or both being tagged as 'weak'."
fn weakly_equal(a: &[u8], b: &[u8]) -> bool {
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    opaque(a.trim_ascii()) == opaque(b.trim_ascii())
}

fn is_strong(tag: &HeaderValue) -> bool {
    !tag.as_bytes().starts_with(b"W/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::{StoredRequest, StoredResponse},
        policy::freshness::Facts,
    };
    use http::StatusCode;
    use std::time::{Duration, UNIX_EPOCH};

    const DATE_1: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE_2: &str = "Sun, 06 Nov 1994 08:50:37 GMT";

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn shown(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_validating_request_names_all_validators_and_keeps_the_callers_tags() {
        for (caller, stored, want) in [
            (&[][..], &[("etag", "\"1\"")][..], &[("if-none-match", "\"1\"")][..]),
            (&[], &[("last-modified", DATE_1)], &[("if-modified-since", DATE_1)]),
            (
                &[],
                &[("etag", "W/\"1\""), ("last-modified", DATE_1)],
                &[("if-none-match", "W/\"1\""), ("if-modified-since", DATE_1)],
            ),
            (
                &[("if-none-match", "\"2\"")],
                &[("etag", "\"1\"")],
                &[("if-none-match", "\"2\""), ("if-none-match", "\"1\"")],
            ),
            (&[("if-none-match", "\"2\", \"1\"")], &[("etag", "\"1\"")], &[("if-none-match", "\"2\", \"1\"")]),
            (&[("if-modified-since", DATE_2)], &[("last-modified", DATE_1)], &[("if-modified-since", DATE_1)]),
            (&[("if-modified-since", DATE_2)], &[("etag", "\"1\"")], &[("if-none-match", "\"1\"")]),
            (&[], &[], &[]),
        ] {
            let mut request = headers(caller);
            add_conditions(&mut request, &headers(stored));
            assert_eq!(shown(&request), want, "{caller:?} {stored:?}");
        }
    }

    #[test]
    fn a_304_confirms_what_has_its_validator() {
        for (stored, new, caller, want) in [
            (&[("etag", "\"1\"")][..], &[("etag", "\"1\"")][..], &[][..], true),
            (&[("etag", "\"1\"")], &[("etag", "\"2\"")], &[], false),
            (&[("etag", "W/\"1\"")], &[("etag", "W/\"1\"")], &[], true),
            (&[("etag", "\"1\"")], &[("etag", "W/\"1\"")], &[], true),
            // A strong validator must be the same strong validator.
            (&[("etag", "W/\"1\"")], &[("etag", "\"1\"")], &[], false),
            (&[("etag", "\"1\"")], &[], &[], true),
            (&[("last-modified", DATE_1)], &[], &[], true),
            (&[("last-modified", DATE_1)], &[("etag", "\"1\"")], &[], true),
            (&[("etag", "\"1\"")], &[("etag", "\"2\"")], &[("if-none-match", "\"2\"")], false),
            (&[("etag", "\"1\"")], &[], &[("if-none-match", "\"2\"")], false),
            (&[("etag", "\"1\"")], &[], &[("if-none-match", "\"2\", \"1\"")], true),
            (&[("last-modified", DATE_1)], &[], &[("if-modified-since", DATE_1)], true),
            (&[("last-modified", DATE_1)], &[], &[("if-modified-since", DATE_2)], false),
        ] {
            assert_eq!(
                confirms(&headers(stored), &headers(new), &headers(caller)),
                want,
                "{stored:?} {new:?} {caller:?}"
            );
        }
    }

    fn not_modified_by(status: u16, request: &[(&'static str, &'static str)], stored: &HeaderMap) -> bool {
        let asked = StoredRequest::new("GET", "http://x.org/", &HeaderMap::new(), b"").unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let received = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let response = StoredResponse::new(asked, status, stored.clone(), "", received);
        let facts = Facts::of(stored);
        is_not_modified(&headers(request), &Held { response: &response, facts: &facts, invalid: false })
    }

    #[test]
    fn the_callers_condition_is_judged_by_the_stored_response() {
        let both = headers(&[("etag", "\"1\""), ("last-modified", DATE_1)]);
        for (request, want) in [
            (&[("if-none-match", "\"1\"")][..], true),
            (&[("if-none-match", "W/\"1\"")], true),
            (&[("if-none-match", "\"2\"")], false),
            (&[("if-none-match", "\"2\", \"1\"")], true),
            (&[("if-none-match", "\"2\""), ("if-none-match", "\"1\"")], true),
            (&[("if-none-match", "\"a, \\\"1\"")], false),
            (&[("if-none-match", "*")], true),
            (&[("if-none-match", "1")], false),
            (&[("if-modified-since", DATE_1)], true),
            (&[("if-modified-since", DATE_2)], true),
            (&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], false),
            (&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], true),
            (&[("if-modified-since", "x")], false),
            (&[("if-modified-since", DATE_1), ("if-modified-since", DATE_1)], false),
            (&[("if-none-match", "\"2\""), ("if-modified-since", DATE_2)], false),
            (&[("if-none-match", "\"1\""), ("if-modified-since", "x")], true),
            (&[], false),
        ] {
            assert_eq!(not_modified_by(200, request, &both), want, "{request:?}");
            assert!(!not_modified_by(404, request, &both), "{request:?}");
        }
        let plain = headers(&[]);
        assert!(!not_modified_by(200, &[("if-none-match", "\"1\"")], &plain));
        // The date of receipt stands in for what is not there.
        assert!(not_modified_by(200, &[("if-modified-since", DATE_1)], &plain));
        let dated = headers(&[("date", DATE_2)]);
        assert!(!not_modified_by(200, &[("if-modified-since", DATE_1)], &dated));
    }

    #[test]
    fn a_304_of_ours_has_the_fields_that_guide_a_cache() {
        let stored = headers(&[
            ("etag", "\"1\""),
            ("last-modified", DATE_1),
            ("content-type", "text/plain"),
            ("content-length", "5"),
            ("date", DATE_2),
            ("cache-control", "a"),
            ("cache-control", "b"),
            ("set-cookie", "a=b"),
        ]);
        let want = [("cache-control", "a"), ("cache-control", "b"), ("date", DATE_2), ("etag", "\"1\"")];
        assert_eq!(shown(&not_modified(&stored)), want);
        assert_eq!(shown(&not_modified(&headers(&[("last-modified", DATE_1)]))), [("last-modified", DATE_1)]);
    }

    #[test]
    fn new_headers_take_the_place_of_stored_ones() {
        let stored = headers(&[
            ("a", "1"),
            ("a", "2"),
            ("b", "1"),
            ("age", "60"),
            ("date", DATE_1),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("content-type", "text/plain"),
        ]);
        let new = headers(&[
            ("a", "3"),
            ("c", "1"),
            ("c", "2"),
            ("date", DATE_2),
            ("content-length", "0"),
            ("content-encoding", "br"),
            ("content-type", "text/html"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ]);
        let mut all = shown(&merged(&stored, &new)).iter().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>();
        all.sort();
        let date = format!("date: {DATE_2}");
        let want =
            ["a: 3", "b: 1", "c: 1", "c: 2", "content-encoding: gzip", "content-length: 5", "content-type: text/html"];
        assert_eq!(all, [&want[..], &[date.as_str()]].concat());
    }

    #[test]
    fn a_head_describes_what_has_its_validators_and_length() {
        let stored = headers(&[("etag", "\"1\""), ("content-length", "5")]);
        for (head, want) in [
            (&[("etag", "\"1\""), ("content-length", "5")][..], true),
            (&[("etag", "\"1\"")], true),
            (&[], true),
            (&[("etag", "\"2\"")], false),
            (&[("content-length", "6")], false),
            (&[("last-modified", DATE_1)], false),
        ] {
            assert_eq!(describes(&headers(head), &stored), want, "{head:?}");
        }
    }
}
