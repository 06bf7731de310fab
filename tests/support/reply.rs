//! What the origin answers.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

/// One answer, with the ways in which a server can go wrong.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    reason: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    framing: Framing,
    delay: Duration,
    body_delay: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    /// The body ends with the connection.
    Close,
    /// Nothing comes at all.
    Nothing,
    /// Content-Length promises this many bytes more than come.
    Short(usize),
    /// The last chunk never comes.
    ChunkedShort,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            reason: "Whatever".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            framing: Framing::Length,
            delay: Duration::ZERO,
            body_delay: Duration::ZERO,
        }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new(200) }
    }

    pub(crate) fn redirect(status: u16, location: impl AsRef<str>) -> Self {
        Self::new(status).header("Location", location.as_ref())
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn chunked(self) -> Self {
        Self { framing: Framing::Chunked, ..self }
    }

    pub(crate) fn close_delimited(self) -> Self {
        Self { framing: Framing::Close, ..self }
    }

    pub(crate) fn short_by(self, bytes: usize) -> Self {
        Self { framing: Framing::Short(bytes), ..self }
    }

    /// The connection ends instead of an answer.
    pub(crate) fn hang_up() -> Self {
        Self { framing: Framing::Nothing, ..Self::new(200) }
    }

    pub(crate) fn without_last_chunk(self) -> Self {
        Self { framing: Framing::ChunkedShort, ..self }
    }

    /// Waits before the status line.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Waits between the headers and the body.
    pub(crate) fn body_after(self, body_delay: Duration) -> Self {
        Self { body_delay, ..self }
    }

    /// Writes the answer; says whether the connection is still good.
    pub(super) fn write(&self, out: &mut impl Write, head_only: bool) -> io::Result<bool> {
        thread::sleep(self.delay);
        if self.framing == Framing::Nothing {
            return Ok(false);
        }
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        let bodiless = matches!(self.status, 100..=199 | 204 | 304);
        head.extend_from_slice(
            match self.framing {
                _ if bodiless => String::new(),
                Framing::Length => format!("Content-Length: {}\r\n", self.body.len()),
                Framing::Short(bytes) => format!("Content-Length: {}\r\n", self.body.len() + bytes),
                Framing::Chunked | Framing::ChunkedShort => "Transfer-Encoding: chunked\r\n".to_owned(),
                Framing::Close | Framing::Nothing => "Connection: close\r\n".to_owned(),
            }
            .as_bytes(),
        );
        head.extend_from_slice(b"\r\n");
        out.write_all(&head)?;
        out.flush()?;
        thread::sleep(self.body_delay);
        if head_only || bodiless {
            return Ok(true);
        }
        if matches!(self.framing, Framing::Chunked | Framing::ChunkedShort) {
            for chunk in self.body.chunks(1000) {
                write!(out, "{:x}\r\n", chunk.len())?;
                out.write_all(chunk)?;
                out.write_all(b"\r\n")?;
            }
            if self.framing == Framing::Chunked {
                out.write_all(b"0\r\n\r\n")?;
            }
        } else {
            out.write_all(&self.body)?;
        }
        out.flush()?;
        Ok(matches!(self.framing, Framing::Length | Framing::Chunked))
    }
}
