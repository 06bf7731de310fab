//! Cases as scripts: what is asked, what the origin answers, and what comes of it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use larder::{Backend, CachedSession, CachedSessionBuilder, Response};

use crate::support::{Origin, Reply};

/// One request of a case.
pub(crate) struct Step {
    method: String,
    target: &'static str,
    sends: String,
    gives: Option<(u16, String)>,
    wants: Vec<Want>,
}

enum Want {
    Asked,
    FromCache,
    Revalidated,
    Status(u16),
    Body(&'static str),
    Has(&'static str),
    Lacks(&'static str),
    Sent(String),
    NotSent(&'static str),
}

/// A GET with these headers, as in `a: b | c: d`.
pub(crate) fn get(sends: impl Into<String>) -> Step {
    ask("GET", sends)
}

pub(crate) fn ask(method: impl Into<String>, sends: impl Into<String>) -> Step {
    Step { method: method.into(), target: "", sends: sends.into(), gives: None, wants: Vec::new() }
}

impl Step {
    /// Of another path, below that of the case.
    pub(crate) fn at(self, target: &'static str) -> Self {
        Self { target, ..self }
    }

    /// The origin is asked, and answers with this status and these headers; the answer comes out.
    pub(crate) fn gives(mut self, status: u16, headers: impl Into<String>) -> Self {
        self.gives = Some((status, headers.into()));
        self.wants(Want::Asked)
    }

    /// What is stored comes out, and the origin is not asked.
    pub(crate) fn hits(self) -> Self {
        self.wants(Want::FromCache)
    }

    /// The origin is asked whether what is stored still holds, and confirms it with these headers.
    pub(crate) fn confirmed(mut self, headers: impl Into<String>) -> Self {
        self.gives = Some((304, headers.into()));
        self.wants(Want::Revalidated)
    }

    /// The origin is asked and gives this, and what is stored comes out.
    pub(crate) fn fails(mut self, status: u16) -> Self {
        self.gives = Some((status, String::new()));
        self.wants(Want::FromCache)
    }

    pub(crate) fn status(self, status: u16) -> Self {
        self.wants(Want::Status(status))
    }

    pub(crate) fn body(self, body: &'static str) -> Self {
        self.wants(Want::Body(body))
    }

    pub(crate) fn has(self, line: &'static str) -> Self {
        self.wants(Want::Has(line))
    }

    pub(crate) fn lacks(self, name: &'static str) -> Self {
        self.wants(Want::Lacks(name))
    }

    pub(crate) fn sent(self, line: impl Into<String>) -> Self {
        self.wants(Want::Sent(line.into()))
    }

    pub(crate) fn not_sent(self, name: &'static str) -> Self {
        self.wants(Want::NotSent(name))
    }

    fn wants(mut self, want: Want) -> Self {
        self.wants.push(want);
        self
    }
}

/// Runs each case in a session that is set to nothing but RFC 9111, in memory and in a file.
pub(crate) fn run(cases: &[(String, Vec<Step>)]) {
    run_with(cases, |builder| builder);
}

pub(crate) fn run_with(cases: &[(String, Vec<Step>)], set: impl Fn(CachedSessionBuilder) -> CachedSessionBuilder) {
    let origin = Origin::start();
    let mut failures = Vec::new();
    for backend in [Backend::Memory, Backend::Log] {
        let folder = tempfile::tempdir().unwrap();
        let builder = CachedSession::builder("cache").backend(backend.clone()).location(folder.path()).fast_save(true);
        let session = set(builder.cache_control(true).redirects(0).decode(false)).build().unwrap();
        for (n, (name, steps)) in cases.iter().enumerate() {
            let path = format!("/{backend:?}/{n}");
            for (step, failure) in steps
                .iter()
                .enumerate()
                .filter_map(|(at, step)| perform(&session, &origin, &path, at, step).map(|failure| (at, failure)))
            {
                failures.push(format!("{name}, step {step} ({backend:?}): {failure}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

fn perform(session: &CachedSession, origin: &Origin, path: &str, at: usize, step: &Step) -> Option<String> {
    let path = format!("{path}{}", step.target);
    let bare = path.split('?').next().unwrap().to_owned();
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (status, headers) = step.gives.clone().unwrap_or((500, String::new()));
    let mut reply = Reply::new(status).body(format!("body {at}"));
    for (name, value) in lines(&headers, origin, &path) {
        reply = reply.header(&name, value);
    }
    origin.handle(&bare, {
        let (asked, seen) = (Arc::clone(&asked), Arc::clone(&seen));
        move |request| {
            asked.fetch_add(1, Ordering::SeqCst);
            seen.lock().unwrap().clone_from(&request.headers);
            reply.clone()
        }
    });
    let mut request = http::Request::builder().method(step.method.as_str()).uri(origin.url(&path));
    for (name, value) in lines(&step.sends, origin, &path) {
        request = request.header(name, value);
    }
    let response = match session.send(request.body(()).unwrap()) {
        Ok(response) => response,
        Err(error) => return Some(format!("error: {error}")),
    };
    let (asked, seen) = (asked.load(Ordering::SeqCst), seen.lock().unwrap().clone());
    step.wants.iter().find_map(|want| check(want, &response, asked, &seen, status, at))
}

fn check(
    want: &Want,
    response: &Response,
    asked: usize,
    seen: &[(String, String)],
    gave: u16,
    at: usize,
) -> Option<String> {
    let shown = || format!("{} {:?} {:?}", response.status(), response.cache_status(), response.headers());
    let text = String::from_utf8_lossy(response.bytes()).into_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        response.headers().get_all(name).iter().any(|own| own.as_bytes() == value.as_bytes())
    };
    let sent = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        seen.iter().any(|(own, is)| own == name && is == value)
    };
    let fine = match want {
        Want::Asked => {
            let whole = matches!(gave, 100..=199 | 204 | 304)
                || response.request().method() == "HEAD"
                || text == format!("body {at}");
            asked == 1 && response.status().as_u16() == gave && whole && !response.from_cache()
        }
        Want::FromCache => response.from_cache() && (asked == 0 || gave >= 500 && asked == 1),
        Want::Revalidated => response.revalidated() && response.from_cache() && asked == 1,
        Want::Status(status) => response.status().as_u16() == *status,
        Want::Body(body) => text == *body,
        Want::Has(line) => header(line),
        Want::Lacks(name) => !response.headers().contains_key(*name),
        Want::Sent(line) => sent(line),
        Want::NotSent(name) => !seen.iter().any(|(own, _)| own == name),
    };
    let wanted = match want {
        Want::Asked => "the origin's answer".to_owned(),
        Want::FromCache => "an answer from the cache".to_owned(),
        Want::Revalidated => "a confirmed answer".to_owned(),
        Want::Status(status) => format!("status {status}"),
        Want::Body(body) => format!("body {body:?}"),
        Want::Has(line) => format!("header {line}"),
        Want::Lacks(name) => format!("no header {name}"),
        Want::Sent(line) => format!("sending {line}, not {seen:?}"),
        Want::NotSent(name) => format!("not sending {name}"),
    };
    (!fine).then(|| format!("wants {wanted}; asked {asked} times, {} {text:?}", shown()))
}

/// The headers of `a: b | c: d`, with `{now+5}` and the like made dates, `{base}` the URL of the case.
fn lines(text: &str, origin: &Origin, path: &str) -> Vec<(String, String)> {
    let own = text.split(" | ").filter(|line| !line.is_empty());
    own.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_owned(), dated(value.trim()).replace("{base}", &origin.url(path)))
    })
    .collect()
}

/// Replaces `{now}`, `{now+5}` and `{now-5}` by dates.
pub(crate) fn dated(text: &str) -> String {
    let mut out = text.to_owned();
    while let Some(start) = out.find("{now") {
        let end = start + out[start..].find('}').unwrap();
        let offset: i64 = out[start + 4..end].parse().unwrap_or(0);
        let span = Duration::from_secs(offset.unsigned_abs());
        let now = SystemTime::now();
        let date = if offset < 0 { now - span } else { now + span };
        out.replace_range(start..=end, &httpdate::fmt_http_date(date));
    }
    out
}
