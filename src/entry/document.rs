//! The JSON document in which requests-cache 1.3 keeps a response (`serializer='json'`).
//!
//! Headers are a flat object there, repeated ones joined by `", "`; the body is base64 of the decoded content. What
//! that loses is kept beside it in a member `larder`, which Python does not look at and drops when it writes anew.

use super::{
    base64, iso,
    response::{StoredRequest, StoredResponse, from_ms, to_ms},
};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Redirects in one document. More than are ever followed, so that damage cannot make it costly.
const HISTORY_MAX: usize = 64;

/// A response with the redirects that led to it, first asked first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Documented {
    pub(crate) hops: Vec<StoredResponse>,
    pub(crate) response: StoredResponse,
}

/// The document of a response and the redirects that led to it.
///
/// Fails with `InvalidInput` if the body is still in a content coding: a document holds decoded bodies.
pub(crate) fn encode_document(hops: &[StoredResponse], response: &StoredResponse) -> Result<String> {
    let mut document = Document::of(response)?;
    document.history = hops.iter().map(Document::of).collect::<Result<_>>()?;
    serde_json::to_string_pretty(&document)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, "cannot write the response as JSON").with_source(error))
}

/// The response of a document; `None` if it is damaged, or not one.
pub(crate) fn decode_document(bytes: &[u8]) -> Option<Documented> {
    serde_json::from_slice::<Document>(bytes).ok()?.read()
}

/// The fields in their order there. What equals its default is left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    /// Python reads `null` as an empty body, and has none at all if it is left out.
    #[serde(rename = "_content")]
    pub(crate) content: Option<Content>,
    /// Instead of the content, under `decode_content=True`: the value of a JSON body, or a text.
    #[serde(rename = "_decoded_content", skip_serializing)]
    pub(crate) decoded_content: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub(crate) cookies: Pairs,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) elapsed: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub(crate) headers: Pairs,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) history: Vec<Document>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Request>,
    pub(crate) status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) larder: Option<Beside>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Content>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub(crate) headers: Pairs,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

/// What the document has no place for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Beside {
    /// The headers one by one, if some are repeated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    /// The key of the request, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// Bytes: base64 in JSON.
#[derive(Debug, Default)]
pub(crate) struct Content(pub(crate) Vec<u8>);

/// An object of texts in its order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl Document {
    fn of(response: &StoredResponse) -> Result<Self> {
        if !response.coding.is_empty() {
            let message = "a cache that is shared with requests-cache holds decoded bodies only; use decode(true)";
            return Err(Error::new(ErrorKind::InvalidInput, message).with_url(response.url.clone()));
        }
        let request = &response.request;
        let key = request.name.as_ref().and_then(super::key::foreign_hex);
        let flat = Pairs::flat(&response.headers);
        let headers = if flat.0.len() == response.headers.len() { Vec::new() } else { pairs(&response.headers) };
        let beside = Beside { headers, key };
        Ok(Self {
            content: (!response.body.is_empty()).then(|| Content(response.body.to_vec())),
            decoded_content: None,
            cookies: cookies(&response.headers),
            created_at: iso::format(response.created),
            elapsed: Some(response.elapsed.as_secs_f64()),
            encoding: encoding(&response.headers),
            expires: response.expires.and_then(iso::format),
            headers: flat,
            history: Vec::new(),
            reason: Some(response.reason.clone()),
            request: Some(Request {
                body: request.body.as_ref().filter(|body| !body.is_empty()).map(|body| Content(body.to_vec())),
                headers: Pairs::flat(&request.headers),
                method: Some(request.method.clone()),
                url: Some(request.url.clone()),
            }),
            status_code: response.status.as_u16(),
            url: Some(response.url.clone()),
            larder: (beside.key.is_some() || !beside.headers.is_empty()).then_some(beside),
        })
    }

    /// The response that it describes; `None` if it cannot be one.
    pub(crate) fn read(mut self) -> Option<Documented> {
        let history = std::mem::take(&mut self.history);
        if history.len() > HISTORY_MAX {
            return None;
        }
        // The redirects of a redirect are not looked at; Python stores none.
        let hops = history.into_iter().map(Self::read_one).collect::<Option<Vec<_>>>()?;
        Some(Documented { hops, response: self.read_one()? })
    }

    fn read_one(self) -> Option<StoredResponse> {
        let request = self.request.unwrap_or_default();
        let url = self.url.or_else(|| request.url.clone()).unwrap_or_default();
        let beside = self.larder.unwrap_or_default();
        let mut headers = self.headers.to_map()?;
        if !beside.headers.is_empty() {
            let all = Pairs(beside.headers).to_map()?;
            // Unless Python has changed them since.
            if Pairs::flat(&all) == self.headers {
                headers = all;
            }
        }
        let body = match (self.content, self.decoded_content) {
            (None, Some(decoded)) => encoded(&headers, &decoded),
            (content, _) => content.unwrap_or_default().0,
        };
        let elapsed = self.elapsed.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default();
        Some(StoredResponse {
            status: StatusCode::from_u16(self.status_code).ok()?,
            reason: self.reason.unwrap_or_default(),
            headers,
            url: url.clone(),
            request: StoredRequest {
                method: request.method.unwrap_or_else(|| "GET".to_owned()).to_ascii_uppercase(),
                url: request.url.unwrap_or(url),
                headers: request.headers.to_map()?,
                body_digest: None,
                partition: None,
                variant: None,
                name: beside.key.as_deref().and_then(super::key::foreign_digest),
                body: Some(request.body.unwrap_or_default().0.into()),
            },
            validated: None,
            created: whole_ms(time(self.created_at)?.unwrap_or(UNIX_EPOCH)),
            expires: time(self.expires)?.map(whole_ms),
            elapsed: Duration::from_micros(u64::try_from(elapsed.as_micros()).ok()?),
            coding: String::new(),
            body: Bytes::from(body),
        })
    }
}

/// The outer `None` is a text that is no time.
#[expect(clippy::option_option, reason = "no time, and something else than a time, are two things")]
fn time(text: Option<String>) -> Option<Option<SystemTime>> {
    match text {
        None => Some(None),
        Some(text) => iso::parse(&text).map(Some),
    }
}

fn whole_ms(time: SystemTime) -> SystemTime {
    from_ms(to_ms(time))
}

/// The body of what Python stored decoded. Its spelling as it came is lost.
fn encoded(headers: &HeaderMap, decoded: &serde_json::Value) -> Vec<u8> {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_json = content_type.starts_with(b"application/") && content_type.windows(4).any(|part| part == b"json");
    match decoded {
        serde_json::Value::String(text) if !is_json => text.clone().into_bytes(),
        value => value.to_string().into_bytes(),
    }
}

/// What `requests` takes for the charset: the one that is named, else that of the type.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next()?.to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['\'', '"']).to_owned())
    });
    charset.or_else(|| match media_type.as_str() {
        "application/json" => Some("utf-8".to_owned()),
        text if text.contains("text") => Some("ISO-8859-1".to_owned()),
        _ => None,
    })
}

/// Names and values of the cookies that a response sets.
fn cookies(headers: &HeaderMap) -> Pairs {
    let set = headers.get_all(header::SET_COOKIE).iter().filter_map(|cookie| {
        let cookie = latin1(cookie.as_bytes());
        let (name, value) = cookie.split(';').next()?.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    });
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, value) in set {
        match pairs.iter_mut().find(|(old, _)| *old == name) {
            Some((_, old)) => *old = value,
            None => pairs.push((name, value)),
        }
    }
    Pairs(pairs)
}

/// Python takes each byte of a header for a character.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), latin1(value.as_bytes()))).collect()
}

impl Pairs {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn flat(headers: &HeaderMap) -> Self {
        let joined = |name: &HeaderName| {
            let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            latin1(&values.join(&b", "[..]))
        };
        Self(headers.keys().map(|name| (name.as_str().to_owned(), joined(name))).collect())
    }

    /// `None` if one of them is no header.
    fn to_map(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::try_with_capacity(self.0.len()).ok()?;
        for (name, value) in &self.0 {
            let bytes: Result<Vec<u8>, _> = value.chars().map(|c| u8::try_from(u32::from(c))).collect();
            let bytes = bytes.unwrap_or_else(|_| value.clone().into_bytes());
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.try_append(name, HeaderValue::from_bytes(&bytes).ok()?).ok()?;
        }
        Some(headers)
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        base64::decode(&text).map(Self).ok_or_else(|| serde::de::Error::custom("not base64"))
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
                    // A cookie may have no value there.
                    pairs.push((name, value.unwrap_or_default()));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{
  "_content": "eyJvayI6IHRydWUsICJuIjogMX0=",
  "cookies": {"sid": "42"},
  "created_at": "2026-11-22T18:57:51.324186+00:00",
  "elapsed": 0.006045,
  "encoding": "utf-8",
  "expires": "2026-11-22T19:57:51.324152+00:00",
  "headers": {"Content-Type": "application/json", "ETag": "\"abc\"", "Set-Cookie": "sid=42; Path=/"},
  "reason": "OK",
  "request": {"headers": {"Accept": "*/*", "Authorization": "REDACTED"}, "method": "GET", "url": "http://x.org/?a=1"},
  "status_code": 200,
  "unknown": [1, {"a": null}],
  "url": "http://x.org/?a=1"
}"#;

    fn response() -> StoredResponse {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2"), ("content-type", "text/html; charset=utf-8")]
        {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.append("x-raw", HeaderValue::from_bytes(b"\xe9\xff").unwrap());
        let request = StoredRequest {
            method: "POST".to_owned(),
            url: "http://x.org/a".to_owned(),
            headers: HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("*/*"))]),
            body_digest: None,
            partition: None,
            variant: None,
            name: super::super::key::foreign_digest("2c9aee55ad5927ee"),
            body: Some("a=1".into()),
        };
        StoredResponse::new(request, StatusCode::CREATED, headers, &b"\0\xff body"[..], from_ms(1_795_373_871_324))
            .with_expires(Some(from_ms(1_795_377_471_324)))
            .with_elapsed(Duration::from_micros(6_045))
            .with_reason("Created")
    }

    #[test]
    fn a_row_of_python_is_read() {
        let read = decode_document(ROW.as_bytes()).unwrap();
        assert!(read.hops.is_empty());
        let response = read.response;
        assert_eq!(&response.body[..], br#"{"ok": true, "n": 1}"#);
        assert_eq!((response.status.as_u16(), response.reason.as_str()), (200, "OK"));
        assert_eq!(response.headers["etag"], "\"abc\"");
        assert_eq!(to_ms(response.created), 1_795_373_871_324);
        assert_eq!(response.expires.map(to_ms), Some(1_795_377_471_324));
        assert_eq!(response.elapsed, Duration::from_micros(6_045));
        assert_eq!(response.request.headers["authorization"], "REDACTED");
    }

    #[test]
    fn what_is_written_comes_back_with_its_repeated_headers() {
        let hop = StoredResponse { status: StatusCode::FOUND, body: Bytes::new(), ..response() };
        let text = encode_document(std::slice::from_ref(&hop), &response()).unwrap();
        let read = decode_document(text.as_bytes()).unwrap();
        assert_eq!(read, Documented { hops: vec![hop], response: response() });
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["headers"]["set-cookie"], "a=1; Path=/, b=2");
        assert_eq!(value["cookies"], serde_json::json!({"a": "1", "b": "2"}));
        assert_eq!(value["request"]["body"], "YT0x");
        assert_eq!(value["encoding"], "utf-8");
    }

    #[test]
    fn headers_that_python_has_changed_count() {
        let text = encode_document(&[], &response()).unwrap().replace("a=1; Path=/, b=2", "c=3");
        assert_eq!(decode_document(text.as_bytes()).unwrap().response.headers["set-cookie"], "c=3");
    }

    #[test]
    fn decoded_content_and_the_smallest_document_are_read() {
        let read = |text: &str| decode_document(text.as_bytes()).map(|read| read.response);
        let json =
            read(r#"{"status_code":200,"_decoded_content":{"a":[1]},"headers":{"Content-Type":"application/json"}}"#);
        assert_eq!(&json.unwrap().body[..], br#"{"a":[1]}"#);
        let text = read(r#"{"status_code":200,"_decoded_content":"é","headers":{"Content-Type":"text/plain"}}"#);
        assert_eq!(text.unwrap().body, "é".as_bytes());
        assert_eq!(read(r#"{"status_code":204,"_content":null}"#).unwrap().body, "");
    }

    #[test]
    fn damage_is_a_miss() {
        for (from, to) in [
            ("eyJv", "ey*v"),
            ("2026-11-22T18", "2026-13-22T18"),
            ("\"status_code\": 200", "\"status_code\": 20"),
            ("\"ETag\"", "\"E Tag\""),
            ("{\"Accept\"", "[\"Accept\""),
            ("\n}", ""),
        ] {
            let text = ROW.replace(from, to);
            assert_ne!(text, ROW);
            assert_eq!(decode_document(text.as_bytes()), None, "{to}");
        }
        for len in 0..ROW.len() {
            assert_eq!(decode_document(&ROW.as_bytes()[..len]), None);
        }
    }

    #[test]
    fn a_body_in_a_coding_is_refused() {
        let error = encode_document(&[], &response().with_coding("gzip")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
