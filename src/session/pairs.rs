//! The pairs that a request is given headers and form fields in: by value and by reference.

use http::{HeaderName, HeaderValue};

use super::headers::header;

/// A header, as the iterators over a [`HeaderMap`](http::HeaderMap) and over pairs give it.
pub trait HeaderPair {
    /// Name and value. `last` is the name of the header before: a map that is taken apart names repeated ones once.
    fn header_pair(self, last: Option<&HeaderName>) -> Result<(HeaderName, HeaderValue), String>;
}

impl<N: NameOfHeader, V: TryInto<HeaderValue>> HeaderPair for (N, V) {
    fn header_pair(self, last: Option<&HeaderName>) -> Result<(HeaderName, HeaderValue), String> {
        let (name, value) = self;
        match name.or_last(last) {
            Some(name) => header(name, value),
            None => Err("a header has no name".to_owned()),
        }
    }
}

impl<N: NameOfHeader + Clone, V: TryInto<HeaderValue> + Clone> HeaderPair for &(N, V) {
    fn header_pair(self, last: Option<&HeaderName>) -> Result<(HeaderName, HeaderValue), String> {
        self.clone().header_pair(last)
    }
}

/// The name of a header, which may be left to the one before.
pub trait NameOfHeader {
    /// What becomes the name.
    type Name: TryInto<HeaderName>;

    /// The name, or else the one before.
    fn or_last(self, last: Option<&HeaderName>) -> Option<Self::Name>;
}

/// `Option<HeaderName>` may get a `TryInto<HeaderName>` of its own some day, so that a blanket implementation is out.
macro_rules! names {
    ($($name:ty),*) => {
        $(impl NameOfHeader for $name {
            type Name = Self;

            fn or_last(self, _last: Option<&HeaderName>) -> Option<Self> {
                Some(self)
            }
        })*
    };
}
names!(&str, String, &String, &[u8], HeaderName, &HeaderName);

impl NameOfHeader for Option<HeaderName> {
    type Name = HeaderName;

    fn or_last(self, last: Option<&HeaderName>) -> Option<HeaderName> {
        self.or_else(|| last.cloned())
    }
}

/// A field of a form.
pub trait TextPair {
    /// Name and value.
    fn text_pair(&self) -> (&str, &str);
}

impl<N: AsRef<str>, V: AsRef<str>> TextPair for (N, V) {
    fn text_pair(&self) -> (&str, &str) {
        (self.0.as_ref(), self.1.as_ref())
    }
}

impl<N: AsRef<str>, V: AsRef<str>> TextPair for &(N, V) {
    fn text_pair(&self) -> (&str, &str) {
        (self.0.as_ref(), self.1.as_ref())
    }
}
