//! Forms with files: `multipart/form-data` (RFC 7578).
//!
//! What is in memory or in files can be sent again; files are read while they are sent, one at a time.

use std::{
    fmt,
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{Body, body::Opened, headers::header, request::invalid};
use crate::{
    ErrorKind, Result,
    policy::{key::digest, partition::random},
};

/// A form of several fields and files, for [`RequestBuilder::multipart`](super::RequestBuilder::multipart).
///
/// Needs the feature `multipart`; without it `send()` answers [`NotBuiltIn`](ErrorKind::NotBuiltIn).
///
/// Two forms with the same parts are the same to the cache: the boundary does not count, and neither does the order of
/// parts of different names. A part whose name is that of a credential counts as one, as in other forms.
///
/// ```
/// use larder::multipart::{Form, Part};
///
/// let form = Form::new()
///     .text("title", "A picture")
///     .file("picture", "picture.png")
///     .part("notes", Part::bytes("a,b\n1,2\n").file_name("notes.csv").content_type("text/csv"));
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a form does nothing until it is sent"]
pub struct Form {
    parts: Vec<(String, Part)>,
}

impl Form {
    /// A form without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text field; a name may be added more than once.
    pub fn text(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.part(name, Part::text(value))
    }

    /// Adds a file under its own name, with the content type that its extension stands for. It is opened when it is
    /// sent.
    pub fn file(self, name: impl Into<String>, path: impl AsRef<Path>) -> Self {
        self.part(name, Part::file(path))
    }

    /// Adds a part.
    pub fn part(mut self, name: impl Into<String>, part: Part) -> Self {
        self.parts.push((name.into(), part));
        self
    }
}

/// One part of a [`Form`].
#[derive(Debug, Clone)]
#[must_use = "a part does nothing until it is added to a form"]
pub struct Part {
    body: Body,
    file_name: Option<String>,
    content_type: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    error: Option<String>,
}

impl Part {
    /// A text, without a content type.
    pub fn text(text: impl Into<String>) -> Self {
        Self::body(text.into())
    }

    /// Bytes, without a content type unless [`content_type`](Self::content_type) gives one.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::body(bytes.into())
    }

    /// A file, with its name and the content type that its extension stands for (`application/octet-stream` if none).
    pub fn file(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self { file_name: name, content_type: Some(type_of(path)), ..Self::body(Body::file(path)) }
    }

    /// Whatever a [`Body`] can be made of, such as a reader.
    pub fn body(body: impl Into<Body>) -> Self {
        Self { body: body.into(), file_name: None, content_type: None, headers: Vec::new(), error: None }
    }

    /// The name of the file that it is said to be.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Its content type.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Adds a header of the part.
    pub fn header(mut self, name: impl TryInto<HeaderName>, value: impl TryInto<HeaderValue>) -> Self {
        match header(name, value) {
            Ok(pair) => self.headers.push(pair),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
        self
    }

    /// The lines before its content, without the boundary.
    fn head(&self, name: &str) -> Result<Vec<u8>> {
        let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name)).into_bytes();
        if let Some(file_name) = &self.file_name {
            head.extend_from_slice(format!("; filename=\"{}\"", quoted(file_name)).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        if let Some(content_type) = &self.content_type {
            let value = HeaderValue::try_from(content_type).map_err(|_| {
                invalid(format!("the content type of the part `{name}` holds a line break or the like"))
            })?;
            line(&mut head, "Content-Type", &value);
        }
        for (name, value) in &self.headers {
            line(&mut head, name.as_str(), value);
        }
        head.extend_from_slice(b"\r\n");
        Ok(head)
    }
}

fn line(head: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    for bytes in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        head.extend_from_slice(bytes);
    }
}

/// As the HTML standard has it: quotes and line ends are escaped, everything else stays.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(feature = "multipart")]
fn type_of(path: &Path) -> String {
    mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream").to_owned()
}

#[cfg(not(feature = "multipart"))]
fn type_of(_: &Path) -> String {
    "application/octet-stream".to_owned()
}

impl From<Form> for Body {
    fn from(form: Form) -> Self {
        if !cfg!(feature = "multipart") {
            let message = "multipart forms need the feature `multipart`, which is not compiled in";
            return Self::failed(ErrorKind::NotBuiltIn, message);
        }
        let encoded = || -> Result<(Encoded, HeaderValue)> {
            let boundary = boundary(&form)?;
            let content_type = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"))
                .map_err(|_| invalid("the boundary of the form is no header value"))?;
            Ok((Encoded::new(&form, &boundary)?, content_type))
        };
        match encoded() {
            Ok((encoded, content_type)) => Self::of_form(encoded, content_type),
            Err(error) => Self::failed(error.kind(), error.to_string()),
        }
    }
}

/// A text that is in no part. It is the digest of the parts where they are in memory, so that the same form is the same
/// bytes; else nobody may know it beforehand, as whoever wrote a file could end its part in the middle of it.
fn boundary(form: &Form) -> Result<String> {
    let mut known: Vec<Bytes> = Vec::new();
    for (name, part) in &form.parts {
        let Some(bytes) = part.body.as_bytes() else {
            return Ok(hex(&random::<16>()?));
        };
        known.push(part.head(name)?.into());
        known.push(bytes.clone());
    }
    let known: Vec<&[u8]> = known.iter().map(|bytes| &bytes[..]).collect();
    Ok(hex(digest(&known).first_chunk::<16>().unwrap_or(&[0; 16])))
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("larder-{:032x}", u128::from_be_bytes(*bytes))
}

/// A form as it is sent: what is written between the contents, and the contents.
pub(super) struct Encoded {
    pieces: Vec<Body>,
}

impl Encoded {
    fn new(form: &Form, boundary: &str) -> Result<Self> {
        let mut pieces = Vec::with_capacity(form.parts.len() * 2 + 1);
        let mut text = format!("--{boundary}\r\n").into_bytes();
        for (name, part) in &form.parts {
            if let Some(error) = &part.error {
                return Err(invalid(error.clone()));
            }
            text.append(&mut part.head(name)?);
            pieces.push(Body::from(std::mem::take(&mut text)));
            pieces.push(part.body.clone());
            text = format!("\r\n--{boundary}\r\n").into_bytes();
        }
        // The last line turns into the end.
        text.truncate(text.len() - 2);
        text.extend_from_slice(b"--\r\n");
        pieces.push(Body::from(text));
        Ok(Self { pieces })
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.pieces.iter().all(Body::is_repeatable)
    }

    /// A reader of all of it, and how long it is if that is known.
    pub(super) fn open(&self) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
        let mut len = Some(0_u64);
        let mut pieces = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces.iter().rev() {
            let next = Piece::new(piece)?;
            len = len.zip(next.len).and_then(|(len, more)| len.checked_add(more));
            pieces.push(next);
        }
        Ok((Box::new(Pieces { current: None, rest: pieces }), len))
    }
}

/// A piece that is opened when its turn comes: a form may have more files than a process may have open.
struct Piece {
    body: Body,
    /// What was opened already because it can be opened only once.
    opened: Option<Opened>,
    len: Option<u64>,
}

impl Piece {
    fn new(body: &Body) -> Result<Self> {
        let opened = body.open()?;
        let len = opened.len;
        let opened = (!body.is_repeatable()).then_some(opened);
        Ok(Self { body: body.clone(), opened, len })
    }

    fn open(self) -> Result<Box<dyn Read + Send>> {
        let again = match self.opened {
            Some(opened) => opened,
            None => self.body.open()?,
        };
        if again.len == self.len {
            return Ok(again.reader);
        }
        Err(invalid("a file of the form has changed while it was sent; send it again"))
    }
}

struct Pieces {
    current: Option<Box<dyn Read + Send>>,
    /// Last one first.
    rest: Vec<Piece>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(current) = &mut self.current {
                let n = current.read(buffer)?;
                if n > 0 {
                    return Ok(n);
                }
            }
            match self.rest.pop() {
                Some(next) => self.current = Some(next.open().map_err(io::Error::other)?),
                None => return Ok(0),
            }
        }
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded").field("pieces", &self.pieces.len()).finish()
    }
}

#[cfg(test)]
#[cfg(feature = "multipart")]
mod tests {
    use super::*;

    fn text(form: Form) -> (String, String) {
        let mut body = Body::from(form);
        let content_type = body.take_type().unwrap().to_str().unwrap().to_owned();
        (content_type, String::from_utf8(body.read(10_000).unwrap().to_vec()).unwrap())
    }

    #[test]
    fn a_form_is_written_as_rfc_7578_has_it() {
        let form = || {
            Form::new()
                .text("a\"b", "1")
                .part("f", Part::bytes("x\r\n").file_name("ü.txt").content_type("text/plain").header("X-A", "b"))
        };
        let (content_type, body) = text(form());
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        let want = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"a%22b\"\r\n\r\n1\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"f\"; filename=\"ü.txt\"\r\n\
             Content-Type: text/plain\r\nx-a: b\r\n\r\nx\r\n\r\n--{boundary}--\r\n"
        );
        assert_eq!(body, want);
        assert_eq!(text(form()), (content_type.clone(), body), "the same form is the same bytes");
        assert_ne!(text(form().text("c", "")).0, content_type);
        assert!(text(Form::new()).1.ends_with("--\r\n"));
    }

    #[test]
    fn files_are_streamed_with_their_type_and_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.json");
        std::fs::write(&path, "{}").unwrap();
        let mut body = Body::from(Form::new().file("f", &path));
        assert!(body.is_repeatable() && body.as_bytes().is_none());
        let (len, first) = (body.open().unwrap().len.unwrap(), body.read(1000).unwrap());
        assert_eq!(len, first.len() as u64);
        let shown = String::from_utf8_lossy(&first).into_owned();
        assert!(shown.contains("filename=\"data.json\"\r\nContent-Type: application/json\r\n\r\n{}\r\n"), "{shown}");
        let again = Body::from(Form::new().file("f", &path)).take_type();
        assert_ne!(body.take_type(), again, "nobody can foresee the boundary");
    }

    #[test]
    fn a_reader_makes_the_form_one_that_is_sent_once() {
        let form = Form::new().part("f", Part::body(Body::reader(io::Cursor::new("abc"))));
        let body = Body::from(form);
        assert!(!body.is_repeatable());
        assert_eq!(body.open().unwrap().len, None);
        assert!(body.read(1000).is_err());
    }

    #[test]
    fn what_no_header_can_hold_is_an_error() {
        for part in [Part::text("a").content_type("a\nb"), Part::text("a").header("a b", "c")] {
            assert!(Body::from(Form::new().part("f", part)).error().is_some());
        }
    }
}
