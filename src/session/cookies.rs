//! Cookies (RFC 6265): a jar, and the one header that a request carries of it.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cookie_store::{CookieDomain, CookieStore, RawCookie};
use http::{HeaderMap, header::SET_COOKIE};
use url::Url;

use super::{CachedSession, request::parse_url};
use crate::{Error, ErrorKind, Result};

/// Cookies that a jar keeps; further ones are not taken.
const COOKIES_MAX: usize = 10_000;
/// The longest name and value together, as browsers have it.
const COOKIE_LEN_MAX: usize = 4096;

/// The cookies of a session: [`CachedSessionBuilder::cookie_jar`](super::CachedSessionBuilder::cookie_jar).
///
/// Clones are the same jar, so that several sessions may share one. It follows RFC 6265: a cookie is sent to the hosts,
/// paths and schemes that it was set for, until it expires; one for a public suffix such as `co.uk` is refused. At most
/// 10,000 cookies of 4 KiB each are kept.
///
/// ```
/// use larder::{Backend, CachedSession, CookieJar};
///
/// # fn main() -> larder::Result<()> {
/// let jar = CookieJar::new();
/// jar.set("https://example.org/", "theme=dark; Max-Age=3600")?;
/// let session = CachedSession::builder("cache").backend(Backend::Memory).cookie_jar(jar.clone()).build()?;
/// assert_eq!(jar.get("https://example.org/page", "theme")?.as_deref(), Some("dark"));
/// # let file = tempfile::NamedTempFile::new().unwrap();
/// # let path = file.path();
/// jar.save(path)?; // and in the next run:
/// assert_eq!(CookieJar::load(path)?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct CookieJar {
    store: Arc<Mutex<CookieStore>>,
}

impl CookieJar {
    /// An empty jar.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The jar that [`save`](Self::save) wrote, without what has expired since.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) or [`ReadOnly`](ErrorKind::ReadOnly) if the file cannot be read, and
    /// [`Decode`](ErrorKind::Decode) if it is no saved jar.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = fs::File::open(path).map_err(|error| Error::io("read the cookies", path, error))?;
        let store = cookie_store::serde::json::load(BufReader::new(file)).map_err(|error| {
            // Its text may repeat a cookie.
            drop(error);
            Error::new(ErrorKind::Decode, "the file is no cookie jar; delete it to begin anew").with_path(path)
        })?;
        Ok(Self { store: Arc::new(Mutex::new(store)) })
    }

    /// Writes all cookies to a file (mode 0600), those too that go with the session. The file is replaced whole, or not
    /// at all.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io), [`Full`](ErrorKind::Full) or [`ReadOnly`](ErrorKind::ReadOnly) if it cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut text = Vec::new();
        cookie_store::serde::json::save_incl_expired_and_nonpersistent(&self.store(), &mut text)
            .map_err(|_| Error::new(ErrorKind::Store, "the cookies cannot be written as JSON").with_path(path))?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.new", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&temporary);
            Error::io("write the cookies", path, error)
        })
    }

    /// Sets a cookie as an answer from this URL would, with a text as `Set-Cookie` holds it: `name=value; Path=/`.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what is no URL, or a cookie that may not be set from there.
    pub fn set(&self, url: impl AsRef<str>, cookie: impl AsRef<str>) -> Result<()> {
        let url = parse_url(url.as_ref())?;
        if insert(&mut self.store(), &url, cookie.as_ref()) {
            return Ok(());
        }
        let message = "the cookie is malformed, too large, expired, or not one that this URL may set";
        Err(Error::new(ErrorKind::InvalidInput, message).with_url(url.origin().ascii_serialization()))
    }

    /// The value of a cookie that a request for this URL would carry.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what is no URL.
    pub fn get(&self, url: impl AsRef<str>, name: impl AsRef<str>) -> Result<Option<String>> {
        let url = parse_url(url.as_ref())?;
        Ok(self.pairs(&url).into_iter().find(|(own, _)| own == name.as_ref()).map(|(_, value)| value))
    }

    /// Names and values of the cookies that a request for this URL would carry, in their order.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what is no URL.
    pub fn matching(&self, url: impl AsRef<str>) -> Result<Vec<(String, String)>> {
        Ok(self.pairs(&parse_url(url.as_ref())?))
    }

    /// Takes a cookie away that a request for this URL would carry. Returns whether there was one.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what is no URL.
    pub fn remove(&self, url: impl AsRef<str>, name: impl AsRef<str>) -> Result<bool> {
        let url = parse_url(url.as_ref())?;
        let mut store = self.store();
        let found: Vec<(String, String)> = store
            .matches(&url)
            .into_iter()
            .filter(|cookie| cookie.name() == name.as_ref())
            .filter_map(|cookie| Some((cookie.domain.as_cow()?.into_owned(), String::from(&cookie.path))))
            .collect();
        let any = !found.is_empty();
        for (domain, path) in found {
            store.remove(&domain, &path, name.as_ref());
        }
        Ok(any)
    }

    /// How many cookies it holds that have not expired.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store().iter_unexpired().count()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all away.
    pub fn clear(&self) {
        self.store().clear();
    }

    /// Takes what an answer sets.
    pub(super) fn take(&self, url: &Url, headers: &HeaderMap) {
        let mut values = headers.get_all(SET_COOKIE).iter().peekable();
        if values.peek().is_none() {
            return;
        }
        let mut store = self.store();
        for value in values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()) {
            insert(&mut store, url, value);
        }
    }

    /// The cookies for a URL: those of longer paths first (RFC 6265, 5.4), then by name, as the jar does not know
    /// which is older.
    pub(super) fn pairs(&self, url: &Url) -> Vec<(String, String)> {
        let store = self.store();
        let mut cookies = store.matches(url);
        cookies.sort_by_key(|cookie| (usize::MAX - cookie.path.len(), cookie.name().to_owned()));
        cookies.iter().map(|cookie| (cookie.name().to_owned(), cookie.value().to_owned())).collect()
    }

    fn store(&self) -> MutexGuard<'_, CookieStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CachedSession {
    /// The jar of this session, if it keeps cookies: to look at, to change and to save.
    #[must_use]
    pub fn cookie_jar(&self) -> Option<&CookieJar> {
        self.settings().jar.as_ref()
    }
}

/// Whether it was taken, or took away the one that was there.
fn insert(store: &mut CookieStore, url: &Url, text: &str) -> bool {
    let Ok(mut cookie) = RawCookie::parse(text.to_owned()) else { return false };
    let len = cookie.name().len() + cookie.value().len();
    // A semicolon or a control character in it would end it, or the header.
    let broken = cookie.value().chars().any(char::is_control) || cookie.name().chars().any(char::is_control);
    if cookie.name().is_empty() || len > COOKIE_LEN_MAX || broken {
        return false;
    }
    if let Some(domain) = cookie.domain().map(|domain| domain.trim_start_matches('.').to_ascii_lowercase())
        && is_public_suffix(&domain)
    {
        if url.host_str() != Some(&*domain) {
            return false;
        }
        // For the host itself it is a cookie like any without a domain (RFC 6265, 5.3, step 5).
        cookie.unset_domain();
    }
    let Ok(cookie) = cookie_store::Cookie::try_from_raw_cookie(&cookie, url) else { return false };
    let domain = match &cookie.domain {
        CookieDomain::HostOnly(domain) | CookieDomain::Suffix(domain) => domain.clone(),
        _ => return false,
    };
    let is_new = !store.contains_any(&domain, &cookie.path, cookie.name());
    if is_new && store.iter_any().count() >= COOKIES_MAX {
        return false;
    }
    store.insert(cookie.into_owned(), url).is_ok()
}

fn is_public_suffix(domain: &str) -> bool {
    !domain.is_empty() && domain.parse::<std::net::IpAddr>().is_err() && psl::suffix_str(domain) == Some(domain)
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Cookies are credentials.
        f.debug_struct("CookieJar").field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(jar: &CookieJar, url: &str) -> String {
        let pairs: Vec<_> = jar.matching(url).unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(" ")
    }

    #[test]
    fn cookies_go_where_they_were_set_for() {
        let jar = CookieJar::new();
        for cookie in
            ["host=1", "all=2; Domain=example.org; Path=/", "deep=3; Path=/a/b", "safe=4; Secure", "old=5; Max-Age=0"]
        {
            assert_eq!(jar.set("https://www.example.org/a/x", cookie).is_ok(), !cookie.starts_with("old"), "{cookie}");
        }
        for (url, want) in [
            ("https://www.example.org/a/b/c", "deep=3 host=1 safe=4 all=2"),
            ("http://www.example.org/a/", "host=1 all=2"),
            ("http://example.org/", "all=2"),
            ("http://other.example.org/a/", "all=2"),
            ("http://notexample.org/", ""),
        ] {
            assert_eq!(pairs(&jar, url), want, "{url}");
        }
        assert!(jar.remove("http://example.org/", "all").unwrap());
        assert!(!jar.remove("http://example.org/", "all").unwrap());
        assert_eq!(jar.len(), 3);
        jar.clear();
        assert!(jar.is_empty());
    }

    #[test]
    fn public_suffixes_strangers_and_monsters_are_refused() {
        let jar = CookieJar::new();
        let long = format!("a={}", "x".repeat(COOKIE_LEN_MAX));
        for (url, cookie) in [
            ("http://a.co.uk/", "x=1; Domain=co.uk"),
            ("http://a.co.uk/", "x=1; Domain=.uk"),
            ("http://a.github.io/", "x=1; Domain=github.io"),
            ("http://a.example.org/", "x=1; Domain=b.example.org"),
            ("http://1.2.3.4/", "x=1; Domain=2.3.4"),
            ("http://a.example.org/", "no pair"),
            ("http://a.example.org/", "=x"),
            ("http://a.example.org/", &long),
        ] {
            assert_eq!(jar.set(url, cookie).unwrap_err().kind(), ErrorKind::InvalidInput, "{cookie}");
        }
        jar.set("http://github.io/", "own=1; Domain=github.io").unwrap();
        assert_eq!(
            (pairs(&jar, "http://github.io/").as_str(), pairs(&jar, "http://a.github.io/").as_str()),
            ("own=1", "")
        );
        jar.set("http://127.0.0.1/", "ip=1; Domain=127.0.0.1").unwrap();
        assert!(jar.set("no url", "x=1").is_err());
        assert!(!format!("{jar:?}").contains("own"));
    }

    #[test]
    fn a_jar_is_saved_and_loaded_whole() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jar.json");
        let jar = CookieJar::new();
        jar.set("https://a.example/", "session=1").unwrap();
        jar.set("https://a.example/", "kept=2; Max-Age=1000; HttpOnly").unwrap();
        jar.save(&path).unwrap();
        jar.save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let loaded = CookieJar::load(&path).unwrap();
        assert_eq!(pairs(&loaded, "https://a.example/"), "kept=2 session=1");
        fs::write(&path, "[{\"swordfish\"").unwrap();
        let error = CookieJar::load(&path).unwrap_err();
        assert!(error.kind() == ErrorKind::Decode && !format!("{error:?}").contains("swordfish"));
        assert!(CookieJar::load(folder.path().join("none")).is_err());
        assert!(jar.save(folder.path().join("no/folder")).is_err());
    }
}
