//! `larder get`: fetches, or answers from the cache.

use super::show::{body, headers};
use crate::{args::Get, config::Config, failure::Failure, output::Output, span::shown};
use larder::{Mode, ResponseStream};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

pub(crate) fn run(args: &Get, output: &mut Output) -> Result<(), Failure> {
    let mut builder = Config::load(&args.settings)?.builder(&args.settings)?;
    if args.offline {
        builder = builder.mode(Mode::Offline);
    }
    let session = builder.build()?;
    let data = args.data.as_deref().map(data).transpose()?;
    let method = match (&args.method, args.head, &data) {
        (Some(method), ..) => method.as_str(),
        (None, true, _) => "HEAD",
        (None, false, Some(_)) => "POST",
        (None, false, None) => "GET",
    };
    let mut request = session.request(method, &args.url);
    for header in &args.headers {
        let (name, value) = split(header, ':').ok_or_else(|| wrong("header", header, "Name: value"))?;
        request = request.header(name, value);
    }
    for pair in &args.query {
        let (name, value) = split(pair, '=').ok_or_else(|| wrong("query", pair, "name=value"))?;
        request = request.query(name, value);
    }
    if let Some(user) = &args.user {
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        request = request.basic_auth(user, password);
    }
    if let Some(data) = data {
        request = request.body(data);
    }
    if let Some(limit) = args.redirects {
        request = request.redirects(limit);
    }
    // What was said for this request goes before the patterns of the file.
    if let Some(expire) = args.settings.expire() {
        request = request.expire_after(expire);
    }
    if args.refresh {
        request = request.force_refresh();
    }
    if args.only_if_cached {
        request = request.only_if_cached();
    }
    if args.no_store {
        request = request.no_store();
    }
    let stream = request.send_stream()?;
    answer(args, stream, output)
}

fn answer(args: &Get, mut stream: ResponseStream, output: &mut Output) -> Result<(), Failure> {
    let status = stream.status().as_u16();
    let failed = args.fail && status >= 400;
    if args.verbose {
        tell(&stream);
    }
    if output.is_json() {
        let mut value = as_json(&stream);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map_err(read_failed)?;
        match &args.output {
            Some(path) if !failed => write_file(path, &mut &bytes[..])?,
            _ => drop(value.as_object_mut().map(|value| value.extend(body(&bytes)))),
        }
        output.json(&value)?;
    } else {
        if args.include || args.head {
            output.text(&format!("HTTP {status} {}", stream.reason()))?;
            for (name, value) in headers(stream.headers()) {
                output.text(&format!("{name}: {value}"))?;
            }
            output.text("")?;
        }
        match &args.output {
            // It is read to its end all the same, so that it is stored.
            _ if failed => drop(io::copy(&mut stream, &mut io::sink()).map_err(read_failed)?),
            Some(path) => write_file(path, &mut stream)?,
            None => copy(&mut stream, output)?,
        }
    }
    if failed { Err(Failure::Status(status)) } else { Ok(()) }
}

/// To a file beside, which takes the name once it is whole.
fn write_file(path: &Path, body: &mut impl Read) -> Result<(), Failure> {
    let mut part = path.to_owned().into_os_string();
    part.push(".part");
    let shown = path.display().to_string();
    let mut file = File::create(&part).map_err(Failure::io(format!("create {shown}.part")))?;
    let written = copy(body, &mut file);
    if written.is_err() {
        // What is half there is of no use to anybody.
        let _ = fs::remove_file(&part);
        return written;
    }
    fs::rename(&part, path).map_err(Failure::io(format!("write {shown}")))
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<(), Failure> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).map_err(read_failed)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).map_err(Failure::io("write the body"))?;
    }
}

/// An error of reading a body is one of the library, in the clothes of an error of the operating system.
fn read_failed(error: io::Error) -> Failure {
    error
        .downcast::<larder::Error>()
        .map_or_else(|error| Failure::Io("read the body".to_owned(), error), Failure::Library)
}

fn tell(response: &ResponseStream) {
    let from = if response.from_cache() { "from the cache" } else { "from the origin" };
    let mut line = format!("larder: {} {from}", response.status().as_u16());
    for hop in response.history() {
        // Writing to a String does not fail.
        let _ = write!(line, ", by {} of {}", hop.status().as_u16(), hop.request().url());
    }
    // There is nowhere else to tell it.
    let _ = writeln!(io::stderr(), "{line}");
}

fn as_json(response: &ResponseStream) -> Value {
    json!({
        "status": response.status().as_u16(),
        "reason": response.reason(),
        // As it is stored: without credentials.
        "url": response.request().url(),
        "headers": headers(response.headers()),
        "from_cache": response.from_cache(),
        "created_at": shown(response.created_at()),
        "expires_at": response.expires_at().map(shown),
        "cache_key": response.cache_key(),
        "elapsed_ms": u64::try_from(response.elapsed().as_millis()).unwrap_or(u64::MAX),
        "history": response.history().iter().map(|hop| json!({
            "status": hop.status().as_u16(),
            "url": hop.request().url(),
        })).collect::<Vec<_>>(),
    })
}

/// The data itself, or that of a file.
fn data(text: &str) -> Result<Vec<u8>, Failure> {
    match text.strip_prefix('@') {
        None => Ok(text.as_bytes().to_vec()),
        Some("-") => {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes).map_err(Failure::io("read the standard input"))?;
            Ok(bytes)
        }
        Some(path) => fs::read(path).map_err(Failure::io(format!("read {path}"))),
    }
}

fn split(text: &str, at: char) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(at)?;
    let value = if at == ':' { value.trim() } else { value };
    (!name.trim().is_empty()).then_some((name.trim(), value))
}

fn wrong(what: &str, text: &str, form: &str) -> Failure {
    // A value may be a credential.
    let name: String = text.split([':', '=']).next().unwrap_or_default().chars().take(40).collect();
    Failure::Usage(format!("--{what} `{name}`: write it as `{form}`"))
}
