//! Reads the pickles of requests-cache (`serializer='pickle'`, its default for SQLite and Redis).
//!
//! A pickle is a program. Here only what builds plain values is carried out; whatever would import, call or make an
//! object is refused, so that reading somebody else's cache runs nothing of theirs.

mod machine;
mod opcode;
mod values;

use super::document::{Beside, Content, Document, Documented, Pairs, Request};
use machine::Machine;
use values::{Node, Values};

/// Redirects of one response that are read.
const HISTORY_MAX: usize = 64;

/// Bytes of one text, and of all headers together. A pickle can name one long text many times.
const TEXT_MAX: usize = 1 << 20;

/// Why a pickle is not read. The text ends a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Where in the pickle.
    pub(crate) offset: usize,
    pub(crate) why: String,
}

/// Whether bytes begin as pickles of protocol 2 or later do.
pub(crate) fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

/// The response of a pickle, if it is the plain dict that requests-cache 1 writes.
pub(crate) fn decode_pickle(bytes: &[u8]) -> Result<Documented, Refused> {
    let values = Machine::run(bytes)?;
    let refused = |why: &str| Refused { offset: 0, why: why.to_owned() };
    let mut document = document(&values, values.root, true).ok_or_else(|| refused("it is not a response"))?;
    if let Some(Node::List(items)) = values.member(values.root, "history").map(|at| values.node(at)) {
        if items.len() > HISTORY_MAX {
            return Err(refused("its history is longer than any chain of redirects"));
        }
        let hops = items.iter().map(|item| self::document(&values, *item, false));
        document.history = hops.collect::<Option<_>>().ok_or_else(|| refused("its history is not one"))?;
    }
    document.read().ok_or_else(|| refused("it is not a response"))
}

/// One response without its history.
fn document(values: &Values<'_>, at: usize, with_body: bool) -> Option<Document> {
    let Node::Dict(_) = values.node(at) else { return None };
    let text = |at: usize, name: &str| match values.member(at, name).map(|at| values.node(at)) {
        None | Some(Node::None) => Some(None),
        Some(Node::Text(text)) if text.len() <= TEXT_MAX => Some(Some((*text).to_owned())),
        Some(_) => None,
    };
    let request = match values.member(at, "request") {
        Some(at) => Some(Request {
            body: bytes(values, at, "body")?,
            headers: pairs(values, at, "headers")?,
            method: text(at, "method")?,
            url: text(at, "url")?,
        }),
        None => None,
    };
    let decoded_content = match values.member(at, "_decoded_content") {
        Some(at) if with_body => Some(values.to_json(at)?),
        _ => None,
    };
    Some(Document {
        content: if with_body { bytes(values, at, "_content")? } else { None },
        decoded_content,
        cookies: Pairs::default(),
        created_at: text(at, "created_at")?,
        elapsed: match values.member(at, "elapsed").map(|at| values.node(at)) {
            None | Some(Node::None) => None,
            Some(Node::Float(seconds)) => Some(*seconds),
            #[expect(clippy::cast_precision_loss, reason = "seconds")]
            Some(Node::Int(seconds)) => Some(*seconds as f64),
            Some(_) => return None,
        },
        encoding: None,
        expires: text(at, "expires")?,
        headers: pairs(values, at, "headers")?,
        history: Vec::new(),
        reason: text(at, "reason")?,
        request,
        status_code: match values.member(at, "status_code").map(|at| values.node(at)) {
            Some(Node::Int(status)) => u16::try_from(*status).ok()?,
            _ => return None,
        },
        url: text(at, "url")?,
        larder: None::<Beside>,
    })
}

#[expect(clippy::option_option, reason = "no bytes, and something else than bytes, are two things")]
fn bytes(values: &Values<'_>, at: usize, name: &str) -> Option<Option<Content>> {
    match values.member(at, name).map(|at| values.node(at)) {
        None | Some(Node::None) => Some(None),
        Some(Node::Bytes(bytes)) => Some(Some(Content((*bytes).to_vec()))),
        Some(_) => None,
    }
}

fn pairs(values: &Values<'_>, at: usize, name: &str) -> Option<Pairs> {
    let Some(Node::Dict(items)) = values.member(at, name).map(|at| values.node(at)) else {
        return Some(Pairs::default());
    };
    let mut left = TEXT_MAX;
    let mut text = |at: usize| match values.node(at) {
        Node::Text(text) => {
            left = left.checked_sub(text.len())?;
            Some((*text).to_owned())
        }
        _ => None,
    };
    items.iter().map(|(name, value)| Some((text(*name)?, text(*value)?))).collect::<Option<_>>().map(Pairs)
}

/// The body of the fuzz target: any bytes give a response or a refusal, the same each time.
///
/// # Panics
/// If they do not.
#[cfg(any(test, fuzzing))]
pub fn fuzz(data: &[u8]) {
    let read = decode_pickle(data);
    assert_eq!(read, decode_pickle(data));
    match read {
        Ok(read) => assert!(read.hops.len() <= HISTORY_MAX && read.hops.iter().all(|hop| hop.body.is_empty())),
        Err(refused) => assert!(refused.offset <= data.len()),
    }
}

#[cfg(test)]
mod tests;
