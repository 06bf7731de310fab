//! Digest authentication (RFC 7616): the challenges of servers, and the answers to them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use digest_auth::{AlgorithmType, AuthContext, HttpMethod, Qop, WwwAuthenticateHeader};
use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use url::Url;

use crate::session::delivery::secret_value;

/// Servers whose challenges a session remembers.
const SERVERS_MAX: usize = 64;

/// The latest challenge of each server and user, so that the nonce is used again.
#[derive(Default)]
pub(crate) struct Challenges {
    known: Mutex<HashMap<(String, String), WwwAuthenticateHeader>>,
}

/// Whose answer it is to be.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) url: &'a Url,
}

impl Challenges {
    /// The `Authorization` header for a request to a server whose challenge is known.
    pub(crate) fn answer(&self, who: Who<'_>, request: &http::Request<Bytes>) -> Option<HeaderValue> {
        // The count of the nonce goes up under the lock, so that no two answers have the same.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let challenge = known.get_mut(&server(who))?;
        let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let method = HttpMethod::from(request.method().as_str());
        // A proof of the body is given only to those who insist.
        let insists = challenge.qop.as_ref().is_some_and(|qop| !qop.contains(&Qop::AUTH));
        let body = insists.then(|| request.body().to_vec());
        let context = AuthContext::new_with_method(who.user, who.password, target, body, method);
        let answer = challenge.respond(&context).ok()?;
        secret_value(answer.to_header_string()).ok()
    }

    /// Takes the best of the challenges of a 401. `false` if there is none, or it says no to an answer that was given
    /// to the very same one.
    pub(crate) fn learn(&self, who: Who<'_>, headers: &HeaderMap, answered: bool) -> bool {
        let Some(new) = best(headers) else { return false };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let server = server(who);
        // A server that has taken a nonce once and does not any more says so, or sends another.
        let refused = answered && !new.stale && known.get(&server).is_some_and(|old| old.nc <= 1);
        if known.len() >= SERVERS_MAX && !known.contains_key(&server) {
            known.clear();
        }
        known.insert(server, new);
        !refused
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenges").finish_non_exhaustive()
    }
}

fn server(who: Who<'_>) -> (String, String) {
    (who.url.origin().ascii_serialization(), who.user.to_owned())
}

/// Of several challenges that with the strongest digest (RFC 7616, 3.7).
fn best(headers: &HeaderMap) -> Option<WwwAuthenticateHeader> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(challenges).filter_map(|text| digest_auth::parse(&text).ok()).max_by_key(
        |challenge| match challenge.algorithm.algo {
            AlgorithmType::MD5 => 0,
            AlgorithmType::SHA2_256 => 1,
            AlgorithmType::SHA2_512_256 => 2,
        },
    )
}

/// The digest challenges of one header, which may hold several challenges of several schemes.
fn challenges(header: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut in_digest = false;
    for piece in pieces(header) {
        let piece = piece.trim();
        // A piece that begins with a word and a blank before any `=` begins a challenge.
        let begins = piece.split_once(' ').filter(|(scheme, _)| !scheme.contains(['=', '"']));
        match begins {
            Some((scheme, rest)) => {
                in_digest = scheme.eq_ignore_ascii_case("digest");
                if in_digest {
                    found.push(format!("Digest {}", rest.trim_start()));
                }
            }
            None if in_digest && piece.contains('=') => {
                if let Some(last) = found.last_mut() {
                    last.push_str(", ");
                    last.push_str(piece);
                }
            }
            None => in_digest &= piece.is_empty(),
        }
    }
    found
}

/// What stands between the commas that are in no quotes.
fn pieces(header: &str) -> Vec<&str> {
    let (mut quoted, mut escaped, mut from) = (false, false, 0);
    let mut pieces = Vec::new();
    for (at, c) in header.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                pieces.push(&header[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&header[from..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (WWW_AUTHENTICATE, HeaderValue::from_static(value))).collect()
    }

    fn ask(challenges: &Challenges, method: &str) -> Option<String> {
        let url = Url::parse("http://www.example.org/dir/index.html?a=b").unwrap();
        let who = Who { user: "Mufasa", password: "Circle of Life", url: &url };
        let request = http::Request::builder().method(method).uri(url.as_str()).body(Bytes::new()).unwrap();
        challenges.answer(who, &request).map(|value| value.to_str().unwrap().to_owned())
    }

    fn learn(challenges: &Challenges, values: &[&'static str], answered: bool) -> bool {
        let url = Url::parse("http://www.example.org/other").unwrap();
        challenges.learn(Who { user: "Mufasa", password: "x", url: &url }, &headers(values), answered)
    }

    #[test]
    fn the_strongest_of_several_challenges_is_answered() {
        let challenges = Challenges::default();
        assert_eq!(ask(&challenges, "GET"), None);
        let md5 = r#"Basic realm="x, y", Digest realm="a", nonce="n1", qop="auth, auth-int", algorithm=MD5"#;
        let sha = r#"digest realm="a \"b\"", nonce="n2", qop="auth", algorithm=SHA-256, Bearer realm="z""#;
        let unknown = r#"Digest realm="a", nonce="n3", algorithm=SHA-1024"#;
        assert!(learn(&challenges, &[md5, sha, unknown], false));
        let answer = ask(&challenges, "GET").unwrap();
        for part in ["username=\"Mufasa\"", "nonce=\"n2\"", "uri=\"/dir/index.html?a=b\"", "nc=00000001", "qop=auth"] {
            assert!(answer.contains(part), "{answer}");
        }
        assert!(ask(&challenges, "PUT").unwrap().contains("nc=00000002"));
        assert!(!learn(&challenges, &["Basic realm=\"x\"", "Negotiate"], false));
    }

    #[test]
    fn a_refused_answer_is_not_given_twice() {
        let challenges = Challenges::default();
        let challenge = r#"Digest realm="a", nonce="n""#;
        assert!(learn(&challenges, &[challenge], false));
        assert!(!ask(&challenges, "GET").unwrap().contains("qop"));
        assert!(!learn(&challenges, &[challenge], true), "wrong password");
        ask(&challenges, "GET");
        assert!(learn(&challenges, &[r#"Digest realm="a", nonce="m", stale=true"#], true), "an old nonce");
        ask(&challenges, "GET");
        ask(&challenges, "GET");
        assert!(learn(&challenges, &[r#"Digest realm="a", nonce="o""#], true), "a nonce that has worked before");
    }
}
