//! The error of a request that cannot be answered without the network.

use super::nearest::nearest;
use crate::{Error, ErrorKind, policy::key::Identity};

/// Recorded URLs, or requests of one URL, that the error names at most.
const NAMED_MAX: usize = 3;

/// A request that is recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// As it may be shown.
    pub(crate) url: String,
    pub(crate) identity: Identity,
}

/// Says which request missed and why. All URLs are redacted ones.
pub(crate) fn miss(method: &str, url: &str, why: &str) -> Error {
    Error::new(ErrorKind::OfflineMiss, format!("no answer to {method}: {why}")).with_url(url)
}

/// Says why a recording does not answer: what is recorded of the URL, or else which recorded URLs come closest to it.
/// `decode` is whether the request wants its body decoded.
pub(crate) fn not_recorded(asked: &Identity, url: &str, decode: bool, recorded: &[Recorded]) -> String {
    let there = there(asked, decode, recorded);
    let hint = if recorded.is_empty() {
        "nothing is recorded yet".to_owned()
    } else if !there.is_empty() {
        format!("recorded of this URL: {}", there.join(", "))
    } else {
        let mut urls: Vec<String> = recorded.iter().map(|recorded| recorded.url.clone()).collect();
        urls.dedup();
        match nearest(url, &urls, NAMED_MAX) {
            near if near.is_empty() => format!("none of the {} recorded URLs is like it", urls.len()),
            near => format!("recorded and alike: {}", near.join(", ")),
        }
    };
    let how = match asked.method.as_str() {
        "GET" => String::new(),
        method => format!(" and {method} among its allowable_methods"),
    };
    format!("it is not recorded, and the session is offline; {hint}; run once with Mode::Cache{how} to record it")
}

/// How the recorded requests of the same URL differ from what is asked.
fn there(asked: &Identity, decode: bool, recorded: &[Recorded]) -> Vec<String> {
    let mut there = Vec::new();
    for Recorded { identity, .. } in recorded.iter().filter(|recorded| recorded.identity.url == asked.url) {
        let method = &identity.method;
        let one = match identity.body_digest {
            _ if *method != asked.method => method.clone(),
            body if body == asked.body_digest && !decode => format!("{method} with its body decoded"),
            body if body == asked.body_digest => format!("{method}, which this session does not serve"),
            Some(_) if asked.body_digest.is_some() => format!("{method} with another body"),
            Some(_) => format!("{method} with a body"),
            None => format!("{method} without a body"),
        };
        if !there.contains(&one) && there.len() < NAMED_MAX {
            there.push(one);
        }
    }
    there
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::key::Asked;

    fn asked(method: &str, url: &str, body: &str) -> Asked {
        Asked::new(method, url, &http::HeaderMap::new(), body.as_bytes()).unwrap()
    }

    fn recorded(requests: &[(&str, &str, &str)]) -> Vec<Recorded> {
        let recorded = |(method, url, body): &(&str, &str, &str)| {
            let asked = asked(method, url, body);
            Recorded { url: asked.url, identity: asked.identity }
        };
        requests.iter().map(recorded).collect()
    }

    #[test]
    fn what_is_recorded_of_the_same_url_is_told_apart_from_what_is_asked() {
        let url = "http://a.example/p";
        let all =
            recorded(&[("GET", url, ""), ("POST", url, "1"), ("POST", url, "2"), ("GET", "http://a.example/q", "")]);
        for (method, body, decode, want) in [
            ("POST", "3", true, "recorded of this URL: GET, POST with another body; run once"),
            ("POST", "", true, "recorded of this URL: GET, POST with a body; run once"),
            ("GET", "1", true, "recorded of this URL: GET without a body, POST; run once"),
            ("GET", "", false, "recorded of this URL: GET with its body decoded, POST; run once"),
            ("GET", "", true, "recorded of this URL: GET, which this session does not serve, POST; run once"),
        ] {
            let text = not_recorded(&asked(method, url, body).identity, url, decode, &all);
            assert!(text.contains(want), "{text}");
        }
    }

    #[test]
    fn the_error_ends_with_what_to_do() {
        let url = "http://a.example/p";
        for (method, end) in [
            ("GET", "nothing is recorded yet; run once with Mode::Cache to record it"),
            ("POST", "; run once with Mode::Cache and POST among its allowable_methods to record it"),
        ] {
            let text = not_recorded(&asked(method, url, "").identity, url, true, &[]);
            assert!(text.ends_with(end), "{text}");
        }
    }
}
