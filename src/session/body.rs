//! The body of a request.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use url::form_urlencoded;

use super::{multipart::Encoded, pairs::TextPair, request::invalid};
use crate::{Error, ErrorKind, Result};

/// What is set aside for a body before its first byte has come, whatever its announced length.
const RESERVED: u64 = 1 << 20;

/// The body of a request: bytes in memory, or something that is read while it is sent.
///
/// Made from `()`, `Vec<u8>`, `&[u8]`, `String`, `&str`, [`Bytes`], references to the owned ones, a [`File`], a
/// multipart [`Form`](crate::multipart::Form), or by one of the functions here.
///
/// A body in memory and one from a file can be sent again, as a redirect with 307 or 308, a retry or digest
/// authentication may ask for; one from a [`reader`](Self::reader) cannot, and then the request fails with
/// [`InvalidInput`](ErrorKind::InvalidInput). What is not in memory is sent without being held there, unless the
/// request takes part in the cache (its method is an [allowed](super::CachedSessionBuilder::allowable_methods) one):
/// then the body is part of the key, so it is read first, once, up to
/// [`max_body`](super::CachedSessionBuilder::max_body).
///
/// Clones share what they are read from.
///
/// ```
/// use larder::{Backend, Body, CachedSession};
///
/// # fn main() -> larder::Result<()> {
/// # let session = CachedSession::builder("cache").backend(Backend::Memory)
/// #     .transport(|r: &http::Request<bytes::Bytes>| Ok(http::Response::new(r.body().to_vec()))).build()?;
/// let body = Body::reader(std::io::Cursor::new("from anywhere"));
/// assert_eq!(session.post("http://example.org/").body(body).send()?.text()?, "from anywhere");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Body {
    content: Content,
    /// What kind of body it is, where it was made to be of one.
    content_type: Option<HeaderValue>,
}

#[derive(Clone)]
enum Content {
    Bytes(Bytes),
    Reader(Arc<Reader>),
    /// A regular file from an offset on. It is read by position, so that it can be read again.
    File(Arc<File>, u64),
    /// A file that is opened when it is sent.
    Path(Arc<Path>),
    Form(Arc<Encoded>),
    /// It could not be made: the error is for `send()`.
    Failed(ErrorKind, String),
}

impl Default for Content {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

/// What can be read once.
struct Reader {
    reader: Mutex<Option<Box<dyn Read + Send>>>,
    len: Option<u64>,
}

/// A body that is about to be read.
pub(super) struct Opened {
    pub(super) reader: Box<dyn Read + Send>,
    /// How many bytes it gives; an error of the reader if it does not.
    pub(super) len: Option<u64>,
}

impl Body {
    /// A body that is read to its end while it is sent, in chunks (`Transfer-Encoding: chunked`), as its length is not
    /// known.
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        Self::of_reader(Box::new(reader), None)
    }

    /// A body of `len` bytes that are read while they are sent. Fewer are an error of `send()`; more are not read.
    pub fn sized_reader(reader: impl Read + Send + 'static, len: u64) -> Self {
        Self::of_reader(Box::new(reader), Some(len))
    }

    /// The content of a file. It is opened when it is sent; what is wrong with it then is an error of `send()`.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Content::Path(path.as_ref().into()).into()
    }

    /// A value as JSON, with `Content-Type: application/json`.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the value cannot be written as JSON, such as a map whose keys are
    /// no texts.
    pub fn json(value: impl Serialize) -> Result<Self> {
        let json = serde_json::to_vec(&value)
            .map_err(|error| invalid(format!("the body cannot be written as JSON: {error}")))?;
        Ok(Self::from(json).of_type(HeaderValue::from_static("application/json")))
    }

    /// An HTML form: pairs of name and value in their order, with `Content-Type: application/x-www-form-urlencoded`.
    pub fn form<P: TextPair>(fields: impl IntoIterator<Item = P>) -> Self {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for field in fields {
            let (name, value) = field.text_pair();
            form.append_pair(name, value);
        }
        Self::from(form.finish()).of_type(HeaderValue::from_static("application/x-www-form-urlencoded"))
    }

    /// Its bytes, if it is in memory.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn of_form(form: Encoded, content_type: HeaderValue) -> Self {
        Self::from(Content::Form(Arc::new(form))).of_type(content_type)
    }

    pub(super) fn failed(kind: ErrorKind, message: impl Into<String>) -> Self {
        Content::Failed(kind, message.into()).into()
    }

    pub(super) fn of_type(mut self, content_type: HeaderValue) -> Self {
        self.content_type = Some(content_type);
        self
    }

    pub(super) fn take_type(&mut self) -> Option<HeaderValue> {
        self.content_type.take()
    }

    /// What was wrong when it was made.
    pub(super) fn error(&self) -> Option<Error> {
        match &self.content {
            Content::Failed(kind, message) => Some(Error::new(*kind, message.clone())),
            _ => None,
        }
    }

    /// Whether it can be opened more than once.
    pub(super) fn is_repeatable(&self) -> bool {
        match &self.content {
            Content::Bytes(_) | Content::File(..) | Content::Path(_) | Content::Failed(..) => true,
            Content::Reader(_) => false,
            Content::Form(form) => form.is_repeatable(),
        }
    }

    /// Begins to read it.
    pub(super) fn open(&self) -> Result<Opened> {
        let (reader, len): (Box<dyn Read + Send>, Option<u64>) = match &self.content {
            Content::Bytes(bytes) => (Box::new(io::Cursor::new(bytes.clone())), Some(bytes.len() as u64)),
            Content::Reader(reader) => {
                let taken = reader.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
                (taken.ok_or_else(read_already)?, reader.len)
            }
            Content::File(file, from) => {
                let len = file.metadata().map_err(|error| unreadable(&error))?.len();
                (Box::new(At { file: Arc::clone(file), at: *from }), Some(len.saturating_sub(*from)))
            }
            Content::Path(path) => {
                let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
                let (file, metadata) = opened.map_err(|error| unreadable(&error).with_path(path))?;
                (Box::new(file), metadata.is_file().then_some(metadata.len()))
            }
            Content::Form(form) => form.open()?,
            Content::Failed(kind, message) => return Err(Error::new(*kind, message.clone())),
        };
        Ok(match len {
            Some(len) => Opened { reader: Box::new(Exact { reader, left: len, len }), len: Some(len) },
            None => Opened { reader, len: None },
        })
    }

    /// Reads all of it into memory.
    pub(super) fn read(&self, max: u64) -> Result<Bytes> {
        if let Some(bytes) = self.as_bytes() {
            return Ok(bytes.clone());
        }
        let Opened { reader, len } = self.open()?;
        let too_large = || {
            let message = format!(
                "the body has more than {max} bytes, which is too much to be part of a key; raise max_body(..), or \
                 leave the cache out with no_store()"
            );
            Error::new(ErrorKind::TooLarge, message)
        };
        if len.is_some_and(|len| len > max) {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(len.unwrap_or(0).min(RESERVED)).unwrap_or(0));
        reader.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if bytes.len() as u64 > max { Err(too_large()) } else { Ok(bytes.into()) }
    }

    fn of_reader(reader: Box<dyn Read + Send>, len: Option<u64>) -> Self {
        Content::Reader(Arc::new(Reader { reader: Mutex::new(Some(reader)), len })).into()
    }
}

fn read_already() -> Error {
    invalid(
        "the body came from a reader and was read already, so it cannot be sent again; give it as bytes or as a file",
    )
}

pub(super) fn unreadable(error: &io::Error) -> Error {
    invalid(format!("the body cannot be read ({error})"))
}

/// Reads a file by position, which leaves the position of the file itself alone.
struct At {
    file: Arc<File>,
    at: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Gives exactly the announced bytes: fewer would leave the server waiting for ever.
struct Exact<R> {
    reader: R,
    left: u64,
    len: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.reader.read(buffer.get_mut(..most).unwrap_or_default())?;
        if n == 0 && most > 0 {
            let message = format!("it has {} bytes and not the {} that it should", self.len - self.left, self.len);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A body may hold a password; its length is what a log needs.
        match &self.content {
            Content::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Content::Reader(_) => f.write_str("Body(a reader)"),
            Content::File(..) | Content::Path(_) => f.write_str("Body(a file)"),
            Content::Form(_) => f.write_str("Body(a form)"),
            Content::Failed(..) => f.write_str("Body(an error)"),
        }
    }
}

impl From<Content> for Body {
    fn from(content: Content) -> Self {
        Self { content, content_type: None }
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Content::Bytes(bytes).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        Bytes::copy_from_slice(bytes).into()
    }
}

impl<const N: usize> From<&[u8; N]> for Body {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl From<&Vec<u8>> for Body {
    fn from(bytes: &Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl From<&String> for Body {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

/// From where the file stands to its end; a pipe or the like is read once.
impl From<File> for Body {
    fn from(mut file: File) -> Self {
        let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
        match file.stream_position() {
            Ok(at) if regular => Content::File(Arc::new(file), at).into(),
            _ => Self::reader(file),
        }
    }
}

/// A file that is opened when it is sent, as [`Body::file`].
impl From<PathBuf> for Body {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_read_once_and_a_file_as_often_as_one_likes() {
        let reader = Body::reader(io::Cursor::new("abc"));
        assert!(!reader.is_repeatable());
        assert_eq!(reader.clone().read(3).unwrap(), "abc");
        assert_eq!(reader.read(3).unwrap_err().kind(), ErrorKind::InvalidInput);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        let mut open = File::open(&path).unwrap();
        open.seek(io::SeekFrom::Start(4)).unwrap();
        for (body, want) in [(Body::file(&path), "0123456789"), (Body::from(open), "456789")] {
            for _ in 0..2 {
                assert!(body.is_repeatable());
                assert_eq!(body.open().unwrap().len, Some(want.len() as u64));
                assert_eq!(body.read(100).unwrap(), want);
            }
        }
        let missing = Body::file(folder.path().join("missing")).read(1).unwrap_err();
        assert_eq!((missing.kind(), missing.path().is_some()), (ErrorKind::InvalidInput, true));
    }

    #[test]
    fn an_announced_length_is_kept_to() {
        assert_eq!(Body::sized_reader(io::Cursor::new("abcdef"), 3).read(9).unwrap(), "abc");
        let error = Body::sized_reader(io::Cursor::new("abc"), 4).read(9).unwrap_err();
        assert!(error.to_string().contains("3 bytes and not the 4"), "{error}");
    }

    #[test]
    fn what_is_larger_than_the_limit_is_an_error() {
        for body in [Body::sized_reader(io::repeat(0), 5), Body::reader(io::repeat(0))] {
            assert_eq!(body.read(4).unwrap_err().kind(), ErrorKind::TooLarge);
        }
        assert_eq!(Body::sized_reader(io::repeat(0), 4).read(4).unwrap().len(), 4);
    }
}
