use super::*;
use crate::{
    dict::MemoryDict,
    entry::{StoredResponse, decode_response, foreign_digest},
    log::{SystemClock, Times},
    policy::requests_cache::KeyRules,
    session::cache::{Cache, Whose, With},
};
use http::{HeaderMap, StatusCode};

/// A row of Python: two redirects and what they led to.
const ROW: &str = r#"{
  "_content": "aGVsbG8=",
  "created_at": "2026-11-26T00:04:07.351922+00:00",
  "history": [
    {"_content": null, "headers": {"Location": "/b"}, "status_code": 302, "url": "http://x.org/a",
     "request": {"method": "GET", "url": "http://x.org/a"}},
    {"_content": null, "headers": {"Location": "/c"}, "status_code": 301, "url": "http://x.org/b",
     "request": {"method": "GET", "url": "http://x.org/b"}}
  ],
  "request": {"method": "GET", "url": "http://x.org/c"},
  "status_code": 200,
  "url": "http://x.org/c"
}"#;

struct Dicts {
    responses: Arc<MemoryDict>,
    redirects: Arc<MemoryDict>,
    lists: Arc<MemoryDict>,
}

impl Dicts {
    fn new() -> Self {
        let dict = || Arc::new(MemoryDict::new());
        Self { responses: dict(), redirects: dict(), lists: dict() }
    }

    fn store(&self) -> SharedStore {
        let keys_of: KeysOf = Arc::new(|request, _| key_of(&request.url).into_iter().collect());
        let (responses, redirects, lists) = (self.responses.clone(), self.redirects.clone(), self.lists.clone());
        SharedStore::new(responses, redirects, lists, Lapse::AtExpiry, keys_of)
    }

    fn cache(&self) -> Cache {
        let cache = Cache::new(Arc::new(self.store()), Arc::new(SystemClock)).unwrap();
        cache.with_foreign_keys(Some(KeyRules::default()))
    }

    /// As Python leaves it when the first URL was asked: the end has a row of its own.
    fn of_python() -> Self {
        let dicts = Self::new();
        let alone = {
            let mut row: serde_json::Value = serde_json::from_str(ROW).unwrap();
            row.as_object_mut().unwrap().remove("history");
            row.to_string()
        };
        dicts.responses.insert(hex("/a").as_bytes(), ROW.as_bytes(), None).unwrap();
        dicts.responses.insert(hex("/c").as_bytes(), alone.as_bytes(), None).unwrap();
        for hop in ["/a", "/b"] {
            dicts.redirects.insert(hex(hop).as_bytes(), hex("/a").as_bytes(), None).unwrap();
        }
        dicts
    }

    fn history(&self, path: &str) -> Option<Vec<u16>> {
        let key = Key::from_digest(foreign_digest(&hex(path)).unwrap());
        let mut identity = crate::policy::key::Asked::new("GET", &url(path), &HeaderMap::new(), b"").unwrap().identity;
        identity.name = Some(key.into());
        let found = self.cache().look_up(&identity, &HeaderMap::new(), usize::MAX, (Whose::Own, With::Body), |_| None);
        let chain = found.unwrap().found()?;
        assert_eq!(&chain.response.body[..], b"hello");
        Some(chain.hops.iter().map(|hop| hop.status.as_u16()).collect())
    }
}

fn url(path: &str) -> String {
    format!("http://x.org{path}")
}

fn key_of(url: &str) -> Option<[u8; 8]> {
    let headers = HeaderMap::new();
    KeyRules::default().key(&crate::policy::requests_cache::Keyed {
        method: "GET",
        url,
        headers: &headers,
        body: b"",
        verify: true,
    })
}

fn hex(path: &str) -> String {
    read::hex(key_of(&url(path)).unwrap())
}

fn response(path: &str, status: u16, body: &'static str) -> StoredResponse {
    let mut request = StoredRequest::new("GET", &url(path), &HeaderMap::new(), b"").unwrap();
    request.name = foreign_digest(&hex(path));
    request.body = Some(Bytes::new());
    StoredResponse::new(request, StatusCode::from_u16(status).unwrap(), HeaderMap::new(), body, std::time::UNIX_EPOCH)
}

#[test]
fn a_row_with_redirects_is_read_from_each_of_its_urls() {
    let dicts = Dicts::of_python();
    assert_eq!(dicts.history("/a"), Some(vec![302, 301]));
    assert_eq!(dicts.history("/b"), Some(vec![301]));
    assert_eq!(dicts.history("/c"), Some(vec![]));
    assert_eq!(dicts.history("/d"), None);
    assert_eq!(dicts.cache().len().unwrap(), 1, "the row with redirects is a copy");
    assert_eq!(dicts.cache().urls().unwrap(), [url("/c")]);
    // The row of the end may be gone.
    dicts.responses.remove(hex("/c").as_bytes()).unwrap();
    assert_eq!(dicts.history("/a"), Some(vec![302, 301]));
    assert_eq!(dicts.history("/b"), Some(vec![301]));
    assert_eq!(dicts.cache().len().unwrap(), 1);
}

#[test]
fn a_chain_is_written_as_python_writes_it() {
    let dicts = Dicts::new();
    let hops = [response("/a", 302, ""), response("/b", 301, "")];
    dicts.cache().save_chain(&hops, &response("/c", 200, "hello")).unwrap();
    let mut keys: Vec<_> = dicts.responses.keys().unwrap().iter().map(|key| key.to_vec()).collect();
    let mut want = [hex("/a").into_bytes(), hex("/c").into_bytes()];
    keys.sort();
    want.sort();
    assert_eq!(keys, want);
    for hop in ["/a", "/b"] {
        assert_eq!(dicts.redirects.get(hex(hop).as_bytes()).unwrap().as_deref(), Some(hex("/a").as_bytes()));
    }
    assert_eq!(dicts.history("/a"), Some(vec![302, 301]));
    assert_eq!(dicts.history("/b"), Some(vec![301]));
    assert_eq!(dicts.history("/c"), Some(vec![]));
}

#[test]
fn deleting_the_end_takes_the_redirects_along() {
    let dicts = Dicts::new();
    let hops = [response("/a", 302, ""), response("/b", 301, "")];
    dicts.cache().save_chain(&hops, &response("/c", 200, "hello")).unwrap();
    assert!(dicts.cache().delete(url("/c")).unwrap());
    assert!(dicts.responses.is_empty().unwrap() && dicts.redirects.is_empty().unwrap());
    let dicts = Dicts::of_python();
    assert!(dicts.cache().delete(url("/a")).unwrap());
    assert_eq!(dicts.history("/a"), None);
    assert_eq!(dicts.history("/c"), None);
}

#[test]
fn expiry_is_reset_in_rows_with_redirects_too() {
    let dicts = Dicts::of_python();
    dicts.responses.remove(hex("/c").as_bytes()).unwrap();
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    assert_eq!(dicts.cache().reset_expiration(soon).unwrap(), 1);
    let row: serde_json::Value =
        serde_json::from_slice(&dicts.responses.get(hex("/a").as_bytes()).unwrap().unwrap()).unwrap();
    assert!(row["expires"].is_string());
    assert_eq!(row["history"].as_array().unwrap().len(), 2);
    assert_eq!(dicts.history("/a"), Some(vec![302, 301]));
}

#[test]
fn a_write_that_expects_something_else_is_a_conflict() {
    let dicts = Dicts::of_python();
    let store = dicts.store();
    let key = Key::from_digest(foreign_digest(&hex("/c")).unwrap()).to_bytes();
    let version = store.entry(&key).unwrap().unwrap().version;
    let expect = |version| Write::Expect { key: key.clone(), version };
    dicts.responses.insert(hex("/c").as_bytes(), ROW.replace("aGVsbG8=", "aGV5").as_bytes(), None).unwrap();
    let error = store.commit(vec![expect(Some(version)), Write::Delete { key: key.clone() }]).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Conflict);
    let version = store.entry(&key).unwrap().unwrap().version;
    store.commit(vec![expect(Some(version)), Write::Delete { key: key.clone() }]).unwrap();
    assert!(store.entry(&key).unwrap().is_none());
}

#[test]
fn damage_is_a_miss_and_counted_and_lists_stand_apart() {
    let dicts = Dicts::of_python();
    for len in [0, 10, 200, ROW.len() - 1] {
        dicts.responses.insert(hex("/a").as_bytes(), &ROW.as_bytes()[..len], None).unwrap();
        assert_eq!(dicts.history("/a"), None);
    }
    let store = dicts.store();
    let key = Bytes::from_static(b"u-list");
    let put =
        Write::Put { key: key.clone(), head: "head".into(), body: Bytes::new(), times: Times::kept(0), aux: true };
    store.commit(vec![put]).unwrap();
    assert_eq!(&store.entry(&key).unwrap().unwrap().head[..], b"head");
    assert_eq!(dicts.responses.len().unwrap(), 2, "Python sees nothing of it");
    assert!(store.entry(&Key::from_digest(foreign_digest(&hex("/a")).unwrap()).to_bytes()).unwrap().is_none());
    assert!(store.unsound_reads() > 0);
}

#[test]
fn a_pickle_that_would_run_code_is_an_error_that_names_its_entry() {
    let dicts = Dicts::new();
    dicts.responses.insert(hex("/a").as_bytes(), b"\x80\x04cos\nsystem\n.", None).unwrap();
    let error = dicts.cache().get(url("/a")).unwrap_err();
    assert!(error.to_string().contains(&hex("/a")) && error.to_string().contains("GLOBAL"), "{error}");
    assert_eq!(dicts.cache().keys().unwrap().len(), 1);
    let pickled = include_bytes!("../../../fuzz/seeds/pickle_decode/plain.bin");
    dicts.responses.insert(hex("/a").as_bytes(), pickled, None).unwrap();
    let (response, _) = dicts.cache().get(url("/a")).unwrap().unwrap();
    assert_eq!(response.status, StatusCode::OK);
    assert!(decode_response(&encode_response(&response).unwrap(), Bytes::new()).is_some());
}
