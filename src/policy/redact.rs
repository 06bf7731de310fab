//! Takes credentials out of what is stored and shown, and collects them for the partition.

use super::secret_names::{is_secret, squeeze};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::percent_decode;
use std::{borrow::Cow, collections::BTreeSet, fmt, sync::Arc};
use url::Url;

/// What stands in the place of a credential.
pub(crate) const REDACTED: &str = "REDACTED";

/// The names of parameters and headers whose values do not matter, squeezed.
pub(crate) type Ignored = Arc<BTreeSet<String>>;

/// The credentials of a request. `Debug` shows only how many there are.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Credentials {
    found: Vec<(String, Vec<u8>)>,
    /// What is taken out like a credential, and does not say who asks.
    ignored: Ignored,
}

impl Credentials {
    pub(crate) fn ignoring(ignored: &Ignored) -> Self {
        Self { found: Vec::new(), ignored: Arc::clone(ignored) }
    }

    pub(crate) fn push(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        if !self.ignores(name) {
            self.found.push((name.to_owned(), value.into()));
        }
    }

    /// Whether the value under this name is taken out.
    pub(super) fn hides(&self, name: &str) -> bool {
        is_secret(name) || self.ignores(name)
    }

    pub(super) fn ignores(&self, name: &str) -> bool {
        !self.ignored.is_empty() && self.ignored.contains(&squeeze(name))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Makes the order in which they were found irrelevant.
    pub(crate) fn sort(&mut self) {
        self.found.sort();
    }

    /// All of them, each part behind its length.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in self.found.iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.len())
    }
}

/// A URL, or a relative one as in `Location`, without userinfo and with the values of secret parameters replaced, in
/// its path (`/a;jsessionid=1`), its query and its fragment. An absolute URL comes back in the spelling that is sent.
pub(crate) fn url(text: &str, found: &mut Credentials) -> String {
    without_parameters(&without_userinfo(text, found), found)
}

/// The same of a URL that is parsed already.
pub(crate) fn parsed_url(url: &Url, found: &mut Credentials) -> String {
    if !has_userinfo(url) {
        return without_parameters(url.as_str(), found);
    }
    let mut url = url.clone();
    take_userinfo(&mut url, found);
    without_parameters(url.as_str(), found)
}

fn without_parameters(text: &str, found: &mut Credentials) -> String {
    let (rest, fragment) = split(text, '#');
    let (path, query) = split(rest, '?');
    let mut out = String::with_capacity(text.len());
    write_path(&mut out, path, found);
    for (mark, text) in [('?', query), ('#', fragment)] {
        if let Some(text) = text {
            out.push(mark);
            write_pairs(&mut out, text, PAIRS, found);
        }
    }
    out
}

/// A path, behind scheme and host if there are any. Each segment may have parameters (RFC 3986, 3.3).
fn write_path(out: &mut String, text: &str, found: &mut Credentials) {
    let scheme =
        text.find("://").filter(|at| text[..*at].bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)));
    let authority = scheme.map_or(0, |at| at + 3);
    let start = text[authority..].find('/').map_or(text.len(), |at| authority + at);
    let (before, path) = text.split_at(if authority > 0 { start } else { 0 });
    out.push_str(before);
    for segment in path.split_inclusive('/') {
        let (name, parameters) = segment.split_at(segment.find(';').unwrap_or(segment.len()));
        let (parameters, slash) = parameters.split_at(parameters.trim_end_matches('/').len());
        out.push_str(name);
        write_pairs(out, parameters, &[';'], found);
        out.push_str(slash);
    }
}

/// A query or a form with the values of secret parameters replaced, everything else as it is spelled.
pub(crate) fn pairs(text: &str, found: &mut Credentials) -> String {
    let mut out = String::with_capacity(text.len());
    write_pairs(&mut out, text, PAIRS, found);
    out
}

/// What stands between the pairs of queries and forms: `;` does for some servers, and `?` begins the parameters of a
/// fragment such as `#/path?token=`.
const PAIRS: &[char] = &['&', ';', '?'];

fn write_pairs(out: &mut String, text: &str, separators: &[char], found: &mut Credentials) {
    let mut hidden = None;
    for piece in text.split_inclusive(separators) {
        let end = piece.trim_end_matches(separators).len();
        let (pair, separator) = piece.split_at(end);
        match pair.split_once('=') {
            Some((name, value)) if found.hides(&String::from_utf8_lossy(&form_decode(name))) => {
                let squeezed = squeeze(&String::from_utf8_lossy(&form_decode(name)));
                found.push(&squeezed, form_decode(value).into_owned());
                out.push_str(name);
                out.push('=');
                out.push_str(REDACTED);
                hidden = Some(squeezed);
            }
            // To servers that separate by `&` alone it is more of the value.
            None if !pair.is_empty() && hidden.is_some() => {
                found.push(hidden.as_deref().unwrap_or_default(), form_decode(pair).into_owned());
                out.push_str(REDACTED);
            }
            _ => out.push_str(pair),
        }
        out.push_str(separator);
        hidden = hidden.filter(|_| separator != "&");
    }
}

/// The headers of a request with the values of secret ones replaced, and parameters in `Referer`.
pub(crate) fn headers(headers: &Arc<HeaderMap>, found: &mut Credentials) -> Arc<HeaderMap> {
    if !headers.keys().any(|name| found.hides(name.as_str()) || name == header::REFERER) {
        return Arc::clone(headers);
    }
    let mut out = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        let shown = if found.hides(name.as_str()) {
            found.push(name.as_str(), credential(value));
            HeaderValue::from_static(REDACTED)
        } else if name == header::REFERER {
            // Where a link was found is not who asks, so it takes no part in the partition.
            link(value)
        } else {
            value.clone()
        };
        out.append(name, shown);
    }
    Arc::new(out)
}

/// The headers of a response with credentials in `Location` and `Content-Location` replaced.
pub(crate) fn response_headers(headers: &HeaderMap) -> HeaderMap {
    const LINKS: [HeaderName; 2] = [header::LOCATION, header::CONTENT_LOCATION];
    let mut headers = headers.clone();
    for (name, value) in &mut headers {
        if LINKS.contains(name) {
            *value = link(value);
        }
    }
    headers
}

/// A header that is a URL: unchanged, byte for byte, unless there is a credential in it.
fn link(value: &HeaderValue) -> HeaderValue {
    let text = String::from_utf8_lossy(value.as_bytes());
    let mut found = Credentials::default();
    let shown = url(&text, &mut found);
    if found.is_empty() {
        return value.clone();
    }
    HeaderValue::try_from(shown).unwrap_or(HeaderValue::from_static(REDACTED))
}

/// What of a credential header says who asks. In digest authentication all but user and realm changes each time.
pub(crate) fn credential(value: &HeaderValue) -> Vec<u8> {
    let bytes = value.as_bytes().trim_ascii();
    let Some(fields) = digest_fields(bytes) else { return bytes.to_vec() };
    let mut who = Credentials::default();
    for name in ["username", "realm"] {
        who.push(name, field(fields, name));
    }
    who.to_bytes()
}

fn digest_fields(value: &[u8]) -> Option<&str> {
    let (scheme, fields) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("digest").then_some(fields)
}

/// The value of one field of `a="1", b="2"`, in which a quoted value may hold commas and escaped quotes.
fn field(fields: &str, wanted: &str) -> String {
    let mut rest = fields;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = value(after.trim_start());
        if name.trim_matches([' ', '\t', ',']).eq_ignore_ascii_case(wanted) {
            return value;
        }
        rest = next;
    }
    String::new()
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = split(text, ',');
        return (token.trim_end().to_owned(), rest.unwrap_or_default());
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

fn without_userinfo(text: &str, found: &mut Credentials) -> String {
    // The parser drops these anywhere in a URL, so a name may not hide behind them.
    let text = text.replace(['\t', '\r', '\n'], "");
    if let Ok(mut url) = Url::parse(&text) {
        take_userinfo(&mut url, found);
        return url.into();
    }
    // Relative: only one that begins with an authority can have userinfo. The base is dropped again.
    let base = Url::parse("http://relative.invalid/").ok();
    match Url::options().base_url(base.as_ref()).parse(&text) {
        Ok(mut url) => {
            if take_userinfo(&mut url, found) {
                return url.as_str().trim_start_matches("http:").to_owned();
            }
            text
        }
        // Not a URL, so nobody asks it; it may still be shown in an error.
        Err(_) => match text.rsplit_once('@') {
            Some((before, after)) => {
                found.push("userinfo", before);
                format!("{REDACTED}@{after}")
            }
            None => text,
        },
    }
}

fn take_userinfo(url: &mut Url, found: &mut Credentials) -> bool {
    if !has_userinfo(url) {
        return false;
    }
    let mut userinfo = Credentials::default();
    userinfo.push("user", percent_decode(url.username().as_bytes()).collect::<Vec<u8>>());
    userinfo.push("password", percent_decode(url.password().unwrap_or_default().as_bytes()).collect::<Vec<u8>>());
    found.push("userinfo", userinfo.to_bytes());
    // Both only fail for URLs that cannot have userinfo in the first place.
    url.set_username("").and_then(|()| url.set_password(None)).is_ok()
}

fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn form_decode(text: &str) -> Cow<'_, [u8]> {
    if text.contains(['+', '%']) {
        percent_decode(text.replace('+', " ").as_bytes()).collect::<Vec<_>>().into()
    } else {
        text.as_bytes().into()
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> (String, usize) {
        let mut found = Credentials::default();
        (url(text, &mut found), found.len())
    }

    #[test]
    fn secrets_are_taken_out_of_urls() {
        for (text, want, found) in [
            ("http://x.org/a?b=1#c", "http://x.org/a?b=1#c", 0),
            ("http://x.org/?api_key=s&b=1", "http://x.org/?api_key=REDACTED&b=1", 1),
            ("http://x.org/?a=1&Api%5Fkey=s%26t", "http://x.org/?a=1&Api%5Fkey=REDACTED", 1),
            ("http://x.org/?a=1;token=s", "http://x.org/?a=1;token=REDACTED", 1),
            ("http://x.org/?token=s;t&b;c", "http://x.org/?token=REDACTED;REDACTED&b;c", 2),
            ("http://x.org/?token=s?t", "http://x.org/?token=REDACTED?REDACTED", 2),
            ("http://x.org/?token=s;b=1", "http://x.org/?token=REDACTED;b=1", 1),
            ("http://x.org/?token", "http://x.org/?token", 0),
            ("http://x.org/?token=", "http://x.org/?token=REDACTED", 1),
            ("http://x.org/#access_token=s&x=1", "http://x.org/#access_token=REDACTED&x=1", 1),
            ("http://x.org/#/p?token=s", "http://x.org/#/p?token=REDACTED", 1),
            ("http://x.org/?to\tken=s", "http://x.org/?token=REDACTED", 1),
            ("http://user:pw@x.org/", "http://x.org/", 1),
            ("http://user@x.org/?sig=s", "http://x.org/?sig=REDACTED", 2),
            ("http:\\\\user:pw@x.org\\a", "http://x.org/a", 1),
            ("http:user:pw@x.org/a", "http://x.org/a", 1),
            ("//user:pw@x.org/a", "//x.org/a", 1),
            ("/a@b?x=u@v", "/a@b?x=u@v", 0),
            ("../a?secret=s", "../a?secret=REDACTED", 1),
            ("http://x.org/a;jsessionid=s", "http://x.org/a;jsessionid=REDACTED", 1),
            (
                "http://x.org/a;v=1;TOKEN=s;w/b;PHPSESSID=t;c=d/e",
                "http://x.org/a;v=1;TOKEN=REDACTED;REDACTED/b;PHPSESSID=REDACTED;c=d/e",
                3,
            ),
            ("http://x.org/;jsession%69d=s&t?a;b", "http://x.org/;jsession%69d=REDACTED?a;b", 1),
            ("http://x.org/token=s/a;b", "http://x.org/token=s/a;b", 0),
            ("http://x;token=s/", "http://x;token=s/", 0),
            ("//x.org/a;jsessionid=s", "//x.org/a;jsessionid=REDACTED", 1),
            ("/a;jsessionid=s/http://x.org/b", "/a;jsessionid=REDACTED/http://x.org/b", 1),
            ("b;sid=s#c", "b;sid=REDACTED#c", 1),
            ("?secret=s", "?secret=REDACTED", 1),
            ("http://user:pw@[bad/", "REDACTED@[bad/", 1),
        ] {
            assert_eq!(shown(text), (want.to_owned(), found), "{text}");
            assert_eq!(shown(want).0, want, "redacting twice changes nothing");
        }
    }

    #[test]
    fn spellings_of_a_secret_are_the_same_credential() {
        let all = |text: &str| {
            let mut found = Credentials::default();
            url(text, &mut found);
            found.to_bytes()
        };
        assert_eq!(all("http://x/?api_key=a%41+"), all("http://x/?API%2DKEY=%61A%20"));
        assert_ne!(all("http://x/?api_key=a"), all("http://x/?api_key=b"));
        assert_ne!(all("http://a:b@x/"), all("http://ab@x/"));
    }

    #[test]
    fn headers_lose_their_secrets_and_keep_their_repeats() {
        let mut sent = HeaderMap::new();
        for (name, value) in [
            ("accept", "a"),
            ("accept", "b"),
            ("cookie", "c1"),
            ("authorization", "Bearer t"),
            ("x-api-key", "k"),
            ("referer", "http://u:p@x.org/?token=s"),
        ] {
            sent.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut found = Credentials::default();
        let stored = headers(&Arc::new(sent), &mut found);
        let shown: Vec<_> = stored.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let want = [
            ("accept", "a"),
            ("accept", "b"),
            ("cookie", REDACTED),
            ("authorization", REDACTED),
            ("x-api-key", REDACTED),
            ("referer", "http://x.org/?token=REDACTED"),
        ];
        assert_eq!(shown, want);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn digest_authentication_counts_by_user_and_realm() {
        let who = |text: &'static str| credential(&HeaderValue::from_static(text));
        let a = who(r#"Digest username="a, \"b\"", realm="r", nonce="1", response="x=2", nc=00000001"#);
        assert_eq!(a, who(r#"digest nonce="2",realm="r",  username="a, \"b\"", response="y""#));
        assert_ne!(a, who(r#"Digest username="a", realm="r", nonce="1""#));
        assert_ne!(a, who(r#"Digest username="a, \"b\"", realm="s", nonce="1""#));
        assert_ne!(who("Basic a"), who("Basic b"));
    }

    #[test]
    fn location_loses_its_secrets_and_else_stays_as_it_is() {
        for (value, want) in [
            (&b"/next?token=s"[..], &b"/next?token=REDACTED"[..]),
            (b"http://x.org", b"http://x.org"),
            (b"//u:p@x.org/", b"//x.org/"),
            (b"/\xe9?a=1", b"/\xe9?a=1"),
        ] {
            let mut received = HeaderMap::new();
            received.insert(header::LOCATION, HeaderValue::from_bytes(value).unwrap());
            received.insert(header::SET_COOKIE, HeaderValue::from_static("token=s"));
            let stored = response_headers(&received);
            assert_eq!(stored[header::LOCATION].as_bytes(), want);
            assert_eq!(stored[header::SET_COOKIE], "token=s");
        }
    }

    #[test]
    fn debug_shows_no_credential() {
        let mut found = Credentials::default();
        found.push("token", "swordfish");
        assert_eq!(format!("{found:?}"), "Credentials(1)");
    }
}
