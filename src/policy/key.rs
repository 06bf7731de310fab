//! The key of a request: what makes two requests the same to the cache.

use super::{
    normalize,
    redact::{self, Credentials, Ignored},
    requests_cache::{KeyRules, Keyed},
    vary::matched,
};
use crate::{
    Error, ErrorKind, Result,
    entry::{Key, Namespace, StoredRequest, foreign},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header::HOST};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use url::Url;

/// Part of every base, so that a later scheme never meets the keys of this one.
const SCHEME: &[u8] = b"larder-1";

/// What identifies a request, with nothing secret in it.
///
/// The partition, which stands for the credentials, is filled in by the caller: it needs the salt of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// In upper case.
    pub(crate) method: String,
    /// Redacted and normalised, without fragment.
    pub(crate) url: String,
    /// Of the redacted normal form of the body; `None` if there is no body.
    pub(crate) body_digest: Option<[u8; 32]>,
    /// Of the `Host` headers if they name another host than the URL.
    pub(crate) host: Option<[u8; 32]>,
    pub(crate) partition: Option<[u8; 16]>,
    pub(crate) variant: Option<[u8; 32]>,
    /// Of the text that a `key_fn` gave: then it is the key, and method, URL, host and body are not.
    pub(crate) name: Option<[u8; 32]>,
}

/// A request as the cache sees it: its identity, its redacted form to be stored, and the credentials taken out.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) identity: Identity,
    /// The URL as it was asked, redacted.
    pub(crate) url: String,
    /// The headers as they were asked, redacted.
    pub(crate) headers: Arc<HeaderMap>,
    /// The same where redacted values tell requests apart: with something in their place that does. It is not stored.
    pub(crate) telling: Option<HeaderMap>,
    pub(crate) credentials: Credentials,
    /// The body as it may be stored, where it is to be: see [`StoredRequest`].
    pub(crate) body: Option<Bytes>,
}

/// A URL as it may be shown, and in its normal form: both redacted, the latter without a fragment.
#[derive(Debug)]
pub(crate) struct Forms {
    pub(crate) shown: String,
    pub(crate) normal: String,
}

impl Forms {
    /// Takes the credentials out of a URL. Fails with `InvalidInput` if it has no host.
    pub(crate) fn of(url: &Url, found: &mut Credentials) -> Result<Self> {
        let shown = redact::parsed_url(url, found);
        let normal = if shown == url.as_str() { normalize::parsed_url(url) } else { normalize::url(&shown) }?;
        Ok(Self { shown, normal })
    }
}

impl Asked {
    /// Redacts a request, then normalises it. Fails with `InvalidInput` if the URL is not an absolute one.
    pub(crate) fn new(method: &str, url: &str, headers: &HeaderMap, body: &[u8]) -> Result<Self> {
        let parsed = Url::parse(url).map_err(|error| {
            let shown = redact::url(url, &mut Credentials::default());
            Error::new(ErrorKind::InvalidInput, format!("not a URL: {error}")).with_url(shown)
        })?;
        Self::parsed(method, &parsed, &Arc::new(headers.clone()), body)
    }

    /// The same of a URL that is parsed already. Nothing is copied that holds no credentials, but the URL.
    pub(crate) fn parsed(method: &str, url: &Url, headers: &Arc<HeaderMap>, body: &[u8]) -> Result<Self> {
        Self::ignoring(&Ignored::default(), method, url, headers, body)
    }

    /// The same without regard to the values of what is ignored.
    pub(crate) fn ignoring(
        ignored: &Ignored,
        method: &str,
        url: &Url,
        headers: &Arc<HeaderMap>,
        body: &[u8],
    ) -> Result<Self> {
        let mut credentials = Credentials::ignoring(ignored);
        let forms = Forms::of(url, &mut credentials)?;
        Ok(Self::of(forms, credentials, method, headers, body))
    }

    /// The same of a URL that was looked into before, and the credentials that were in it.
    pub(crate) fn of(
        Forms { shown, normal }: Forms,
        mut credentials: Credentials,
        method: &str,
        headers: &Arc<HeaderMap>,
        body: &[u8],
    ) -> Self {
        let headers = redact::headers(headers, &mut credentials);
        let content_type = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let body = normalize::body(content_type, body, &mut credentials);
        credentials.sort();
        let identity = Identity {
            method: method.to_ascii_uppercase(),
            host: other_host(&normal, &headers),
            url: normal,
            body_digest: body.map(|body| digest(&[body.kind.as_bytes(), &body.bytes])),
            partition: None,
            variant: None,
            name: None,
        };
        Self { identity, url: shown, headers, telling: None, credentials, body: None }
    }

    /// The headers that choose among variants, and are part of the key where the caller wants that.
    pub(crate) fn telling(&self) -> &HeaderMap {
        self.telling.as_ref().unwrap_or(&self.headers)
    }

    /// Makes a text the key, in the place of method, URL, host and body.
    pub(crate) fn name(&mut self, text: &str) {
        self.identity.name = Some(digest_of_name(text));
    }

    /// Makes the values of these headers part of the key.
    pub(crate) fn match_headers(&mut self, names: &[HeaderName]) {
        self.identity.name = Some(self.by_headers(&self.identity, names));
    }

    fn by_headers(&self, identity: &Identity, names: &[HeaderName]) -> [u8; 32] {
        digest(&[SCHEME, b"headers", &identity.base(), &matched(names, self.telling())])
    }

    /// What a GET of the same would be; these are the names of the headers that are part of its key.
    pub(crate) fn as_get(&self, names: &[HeaderName]) -> Identity {
        let mut get = Identity { method: "GET".to_owned(), ..self.identity.clone() };
        if !names.is_empty() {
            get.name = None;
            get.name = Some(self.by_headers(&get, names));
        }
        get
    }

    /// Makes a key of requests-cache the key. The body is kept to be stored if `keep_body`: redacted, and normalised as
    /// there unless credentials are in it that nobody looks for there; not at all if they cannot be looked for.
    pub(crate) fn foreign(&mut self, rules: &KeyRules, request: &Keyed<'_>, keep_body: bool) {
        self.identity.name = rules.key(request).map(|key| foreign(key, 0));
        if keep_body {
            let mut found = Credentials::default();
            let content_type = request.headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
            let redacted = normalize::body(content_type, request.body, &mut found);
            let body = match redacted {
                Some(redacted) if !found.is_empty() => redacted.bytes,
                // Not what its type says: whatever credentials are in it could not be found.
                Some(raw) if raw.kind == "bytes" && normalize::is_looked_into(content_type) => return,
                _ => rules.body(request.headers, request.body),
            };
            self.body = Some(Bytes::copy_from_slice(&body));
        }
    }

    /// What is stored of the request beside its response.
    pub(crate) fn to_stored(&self) -> StoredRequest {
        StoredRequest {
            method: self.identity.method.clone(),
            url: self.url.clone(),
            headers: HeaderMap::clone(&self.headers),
            body_digest: self.identity.body_digest,
            partition: self.identity.partition,
            variant: self.identity.variant,
            name: self.identity.name,
            body: self.body.clone(),
        }
    }
}

impl StoredRequest {
    /// Makes a request that a [`StoredResponse`](crate::StoredResponse) answers, to save one without fetching it.
    ///
    /// Whoever asks the same without credentials gets the response. Method, URL and body count; headers are only
    /// kept to be shown, apart from a `Host` that is not the one of the URL.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it is not an absolute URL, or if there are credentials in URL,
    /// headers or body: what belongs to one user must not be stored for all.
    pub fn new(method: &str, url: &str, headers: &HeaderMap, body: &[u8]) -> Result<Self> {
        let asked = Asked::new(method, url, headers, body)?;
        if !asked.credentials.is_empty() {
            let message = "a response cannot be saved for a request with credentials; take them out";
            return Err(Error::new(ErrorKind::InvalidInput, message).with_url(asked.url));
        }
        Ok(asked.to_stored())
    }
}

impl Identity {
    /// The identity that a stored request was filed under. Fails with `InvalidInput` if its URL is not one.
    pub(crate) fn of(request: &StoredRequest) -> Result<Self> {
        let url = normalize::url(&request.url)?;
        Ok(Self {
            method: request.method.clone(),
            host: other_host(&url, &request.headers),
            url,
            body_digest: request.body_digest,
            partition: request.partition,
            variant: request.variant,
            name: request.name,
        })
    }

    /// The key of the request apart from who asks and which variant was chosen.
    pub(crate) fn base(&self) -> [u8; 32] {
        if let Some(name) = self.name {
            return name;
        }
        let body = self.body_digest.as_ref().map_or(&[][..], |digest| digest);
        let (method, url) = (self.method.as_bytes(), self.url.as_bytes());
        match &self.host {
            Some(host) => digest(&[SCHEME, method, url, body, host]),
            None => digest(&[SCHEME, method, url, body]),
        }
    }

    /// The key of the response. One of requests-cache has no place for partition and variant.
    pub(crate) fn key(&self) -> Key {
        if let Some(key) = self.name.map(Key::from_digest).filter(|key| key.foreign().is_some()) {
            return key;
        }
        let partition = self.partition.as_ref().map_or(&[][..], |partition| partition);
        let variant = self.variant.as_ref().map_or(&[][..], |variant| variant);
        key_of(&self.base(), partition, variant)
    }

    /// Whether its key is one of requests-cache, which has no place for partition and variant.
    pub(crate) fn is_foreign(&self) -> bool {
        self.name.is_some_and(|name| Key::from_digest(name).foreign().is_some())
    }

    /// The key of what leads to the response whatever its variant.
    pub(crate) fn home(&self) -> Key {
        if self.is_foreign() {
            return self.key();
        }
        let partition = self.partition.as_ref().map_or(&[][..], |partition| partition);
        key_of(&self.base(), partition, &[])
    }

    /// The key of the list of responses to the same URL, whatever the method and the body: they are made invalid
    /// together.
    pub(crate) fn list_key(&self) -> Bytes {
        let mut key = vec![Namespace::Url as u8];
        // The empty part is what lists of requests without a body have had from the first.
        key.extend_from_slice(&digest(&[self.url.as_bytes(), &[]]));
        key.into()
    }

    /// The memory that it takes.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.method.capacity() + self.url.capacity()
    }

    /// Whether `stored` is what this asks for; `identity` is that of `stored`, if it has one. Guards against a key that
    /// leads to a wrong response for any reason.
    pub(crate) fn matches(&self, stored: &StoredRequest, identity: Option<&Self>) -> bool {
        if self.name.is_some() {
            // Whoever named it says that different requests are the same.
            return (self.name, self.partition, self.variant) == (stored.name, stored.partition, stored.variant);
        }
        identity == Some(self)
    }

    /// The same, of one variant of what this asks for.
    pub(crate) fn matches_variant(&self, variant: [u8; 32], stored: &StoredRequest, identity: Option<&Self>) -> bool {
        if self.name.is_some() {
            return (self.name, self.partition, Some(variant)) == (stored.name, stored.partition, stored.variant);
        }
        identity.is_some_and(|own| {
            let Self { method, url, body_digest, host, partition, variant: _, name } = self;
            (method, url, body_digest, host) == (&own.method, &own.url, &own.body_digest, &own.host)
                && (*partition, *name, Some(variant)) == (own.partition, own.name, own.variant)
        })
    }
}

/// The key of one variant of what has this base and partition.
pub(crate) fn variant_key(base: &[u8; 32], partition: Option<&[u8; 16]>, variant: &[u8; 32]) -> Key {
    key_of(base, partition.map_or(&[][..], |partition| partition), variant)
}

/// The digest of the `Host` headers, unless there is none or each names the host of this normal URL: the server answers
/// for the host in the header.
fn other_host(url: &str, headers: &HeaderMap) -> Option<[u8; 32]> {
    if !headers.contains_key(HOST) {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let hosts: Vec<_> =
        headers.get_all(HOST).iter().map(|host| host.as_bytes().trim_ascii().to_ascii_lowercase()).collect();
    let same = |host: &Vec<u8>| {
        host.strip_prefix(authority.as_bytes()).is_some_and(|port| port.is_empty() || port == default_port.as_bytes())
    };
    let parts: Vec<_> = hosts.iter().map(Vec::as_slice).collect();
    (!hosts.iter().all(same)).then(|| digest(&parts))
}

/// The key of a name that people chose, for an alias or with a key function, outside any partition.
pub(crate) fn named(name: &str) -> Key {
    key_of(&digest_of_name(name), &[], &[])
}

fn digest_of_name(name: &str) -> [u8; 32] {
    digest(&[SCHEME, b"name", name.as_bytes()])
}

fn key_of(base: &[u8; 32], partition: &[u8], variant: &[u8]) -> Key {
    Key::from_digest(digest(&[base, partition, variant]))
}

/// SHA-256 over the parts, each behind its length (8 bytes, big-endian), so that no two lists of parts are alike.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn asked(method: &str, url: &str, headers: &[(&'static str, &'static str)], body: &str) -> Asked {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Asked::new(method, url, &map, body.as_bytes()).unwrap()
    }

    fn matches(asked: &Identity, stored: &StoredRequest) -> bool {
        asked.matches(stored, Identity::of(stored).ok().as_ref())
    }

    fn get(url: &str) -> Identity {
        asked("GET", url, &[], "").identity
    }

    #[test]
    fn a_body_in_which_no_credentials_can_be_found_is_not_kept() {
        for (content_type, body, kept) in [
            ("application/json", &br#"{"a":1}"#[..], true),
            ("application/x-ndjson", b"{\"password\":\"s\"}\n{\"password\":\"t\"}", false),
            ("application/x-www-form-urlencoded", b"user=\xfc&password=s", false),
            ("multipart/form-data", b"password=s", false),
            ("text/plain", b"text", true),
        ] {
            let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            let mut asked = Asked::new("POST", "http://x.org/", &headers, body).unwrap();
            let keyed = Keyed { method: "POST", url: "http://x.org/", headers: &headers, body, verify: true };
            asked.foreign(&KeyRules::default(), &keyed, true);
            assert_eq!(asked.body.is_some(), kept, "{content_type}");
        }
    }

    /// Files depend on these; a change needs another scheme.
    #[test]
    fn keys_are_frozen() {
        assert_eq!(
            get("http://a.test/?b=1&a=2").key().to_hex(),
            "728dec0729378b362d812cb9bbdbe0cf5606aabfc74d215a56a98182730e93e5be"
        );
        let json = [("content-type", "application/json")];
        let mut post = asked("post", "http://a.test/", &json, r#"{"b":1,"a":2}"#).identity;
        post.partition = Some([7; 16]);
        assert_eq!(post.key().to_hex(), "72271596c5ecfdc7d8a51e52e287af0df3a33f47f430e9b7de86f48be22d4acddc");
    }

    #[test]
    fn another_host_than_that_of_the_url_makes_another_key() {
        let with = |url: &str, host: &'static str| asked("GET", url, &[("host", host)], "");
        for (url, host) in [
            ("http://x.org/", "X.org"),
            ("http://x.org?a", "x.org:80"),
            ("https://x.org/", "x.org:443"),
            ("http://x.org:81/", "x.org:81"),
            ("http://[::1]/", "[::1]:80"),
        ] {
            assert_eq!(with(url, host).identity, get(url), "{url} {host}");
        }
        let mut keys = vec![get("http://x.org/").key()];
        for host in ["a.example", "b.example", "x.org:443", "x.org:81", "x.orga", "u@x.org", ""] {
            let asked = with("http://x.org/", host);
            assert!(matches(&asked.identity, &asked.to_stored()), "{host}");
            assert!(!matches(&get("http://x.org/"), &asked.to_stored()), "{host}");
            assert_eq!(asked.identity.list_key(), get("http://x.org/").list_key());
            keys.push(asked.identity.key());
        }
        keys.push(asked("GET", "http://x.org/", &[("host", "x.org"), ("host", "a.example")], "").identity.key());
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"a"]), digest(&[b"a", b""]));
        let a = asked("POST", "http://x.org/a", &[], "b").identity.key();
        assert_ne!(a, asked("POST", "http://x.org/ab", &[], "").identity.key());
    }

    #[test]
    fn method_body_partition_and_variant_make_other_keys() {
        let json = [("content-type", "application/json")];
        let mut keys = vec![
            get("http://x.org/").key(),
            asked("HEAD", "http://x.org/", &[], "").identity.key(),
            asked("POST", "http://x.org/", &[], "").identity.key(),
            asked("POST", "http://x.org/", &[], "1").identity.key(),
            asked("POST", "http://x.org/", &json, "1").identity.key(),
            Identity { partition: Some([0; 16]), ..get("http://x.org/") }.key(),
            Identity { variant: Some([0; 32]), ..get("http://x.org/") }.key(),
            named("http://x.org/"),
        ];
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn secrets_have_no_part_in_identity_or_stored_request() {
        let headers = |secret: &'static str| [("authorization", secret), ("content-type", "application/json")];
        let body = |secret: &str| format!(r#"{{"a":{{"password":"{secret}"}}}}"#);
        let a =
            asked("POST", "http://u:swordfish@x.org/?API%5FKEY=swordfish", &headers("swordfish"), &body("swordfish"));
        let b = asked("POST", "http://v:marlin@x.org/?API%5FKEY=marlin", &headers("marlin"), &body("marlin"));
        assert_eq!(a.identity, b.identity);
        assert_eq!(a.to_stored(), b.to_stored());
        assert_ne!(a.credentials, b.credentials);
        assert_eq!(a.credentials.len(), 4);
        let shown = format!("{a:?} {:?} {:?}", a.to_stored(), a.to_stored().headers);
        assert!(!shown.contains("swordfish"), "{shown}");
    }

    /// Keys of before URLs were taken as they are parsed.
    #[test]
    fn a_parsed_url_is_redacted_and_normalised_like_its_text() {
        for text in [
            "HTTP://X.org:80/%7e/./a/../b?b=2&a=1&&#f",
            "http://x.org",
            "http://x.org/?",
            "http://x.org/#token=s",
            "http://u:p@x.org/?a=%zz&b=+",
            "http://u@x.org:8080//a//b?token=s&x=%41",
            "https:\\\\x.org\\a?Api%5FKey=s;b",
            "ht\ttp://x.org/a\nb?to\tken=s",
            "http://b\u{fc}cher.test/\u{e9}?q=\u{e9}|",
            "http://[::1]:81/?a=b=c&d",
            "http://x.org/?a?token=s",
            " http://x.org/%2F%2f?%26=%3D ",
            "http://0x7f.1/",
            "http://user%40:p%3A@x.org/?sig=1&sig=2",
        ] {
            let mut found = Credentials::default();
            let shown = redact::url(text, &mut found);
            found.sort();
            let asked = asked("GET", text, &[], "");
            assert_eq!(asked.url, shown, "{text}");
            assert_eq!(asked.identity.url, normalize::url(&shown).unwrap(), "{text}");
            assert_eq!(asked.credentials, found, "{text}");
            // What a session has parsed once is what it sends.
            assert_eq!(normalize::url(&asked.identity.url).unwrap(), asked.identity.url, "{text}");
        }
    }

    #[test]
    fn a_request_with_a_secret_differs_from_one_without() {
        let with = get("http://x.org/?token=s");
        assert_ne!(with.key(), get("http://x.org/").key());
        assert_ne!(with.list_key(), get("http://x.org/").list_key());
    }

    #[test]
    fn a_stored_request_matches_its_own_identity_and_no_other() {
        let json = [("content-type", "application/json")];
        let mut asked_for = asked("POST", "HTTP://X.org:80/%7e?b=2&token=s&a=1#f", &json, "[1]");
        asked_for.identity.partition = Some([3; 16]);
        let stored = asked_for.to_stored();
        assert!(matches(&asked_for.identity, &stored));
        assert_eq!(Identity::of(&stored).unwrap().key(), asked_for.identity.key());
        let others = [
            StoredRequest { method: "PUT".to_owned(), ..stored.clone() },
            StoredRequest { url: "http://x.org/".to_owned(), ..stored.clone() },
            StoredRequest { url: "no url".to_owned(), ..stored.clone() },
            StoredRequest { body_digest: None, ..stored.clone() },
            StoredRequest { partition: None, ..stored.clone() },
            StoredRequest { name: Some([0; 32]), ..stored.clone() },
            StoredRequest { variant: Some([0; 32]), ..stored },
        ];
        assert!(others.iter().all(|other| !matches(&asked_for.identity, other)));
    }

    #[test]
    fn a_name_replaces_method_url_and_body_and_not_the_partition() {
        let mut one = asked("GET", "http://x.org/1", &[], "");
        let mut other = asked("POST", "http://x.org/2", &[], "body");
        one.name("page");
        other.name("page");
        assert_eq!(one.identity.key(), named("page"));
        assert_eq!(other.identity.key(), named("page"));
        assert!(matches(&one.identity, &other.to_stored()));
        other.identity.partition = Some([1; 16]);
        assert_ne!(other.identity.key(), named("page"));
        assert!(!matches(&one.identity, &other.to_stored()));
    }

    #[test]
    fn a_request_made_by_hand_has_no_credentials() {
        let made = StoredRequest::new("get", "http://x.org/", &HeaderMap::new(), b"").unwrap();
        assert!(matches(&get("http://x.org/"), &made));
        for url in ["http://u:p@x.org/", "http://x.org/?token=swordfish", "no url"] {
            let error = StoredRequest::new("GET", url, &HeaderMap::new(), b"").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!format!("{error} {error:?}").contains("swordfish"));
        }
    }

    #[test]
    fn what_is_asked_in_another_order_is_the_same() {
        let json = [("content-type", "application/json")];
        for ((url_a, body_a), (url_b, body_b)) in [
            (("http://x.org/?a=1&b=2", ""), ("http://x.org:80/?b=2&a=1", "")),
            (("http://x.org/", r#"{"a":{"b":1,"c":2}}"#), ("http://x.org/", r#"{ "a": {"c":2, "b":1} }"#)),
        ] {
            let (a, b) = (asked("POST", url_a, &json, body_a), asked("POST", url_b, &json, body_b));
            assert_eq!(a.identity.key(), b.identity.key());
        }
    }
}
