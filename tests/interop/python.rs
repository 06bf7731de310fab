//! A session of requests-cache in a process of its own.

use crate::cases::Case;
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// What Python is to do.
pub(crate) struct Python(Value);

/// What came of it.
pub(crate) struct Report {
    pub(crate) results: Vec<Result>,
    pub(crate) urls: Vec<String>,
    pub(crate) keys: Vec<String>,
}

pub(crate) struct Result {
    pub(crate) from_cache: bool,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) history: Vec<u16>,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Python {
    /// Requests in the place of a cache.
    pub(crate) fn new<'a>(place: &Value, requests: impl IntoIterator<Item = (&'a Case, String)>) -> Self {
        let mut order = place.clone();
        let requests = requests.into_iter().map(|(case, url)| {
            let headers: serde_json::Map<_, _> =
                case.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            json!({ "method": case.method, "url": url, "headers": headers, "body": case.body })
        });
        order["requests"] = requests.collect();
        Self(order)
    }

    pub(crate) fn run(&self) -> Report {
        let mut child = Command::new(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/session.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(self.0.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "Python fails; see above");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let texts = |name: &str| -> Vec<String> { serde_json::from_value(report[name].clone()).unwrap() };
        Report {
            results: report["results"].as_array().unwrap().iter().map(Result::of).collect(),
            urls: texts("urls"),
            keys: texts("keys"),
        }
    }
}

impl Result {
    fn of(value: &Value) -> Self {
        let headers = value["headers"].as_object().unwrap();
        Self {
            from_cache: value["from_cache"].as_bool().unwrap(),
            status: value["status"].as_u64().unwrap().try_into().unwrap(),
            body: unhex(value["body"].as_str().unwrap()),
            history: serde_json::from_value(value["history"].clone()).unwrap(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap().to_owned()))
                .collect(),
        }
    }
}

/// The Python that has requests-cache.
fn python() -> String {
    std::env::var("LARDER_REQUESTS_CACHE")
        .expect("LARDER_REQUESTS_CACHE names a python that has requests-cache; ./test sets it")
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
