//! Query parameters: those of the URL, of the session and of the request.

use url::Url;

use super::{CachedSessionBuilder, RequestBuilder, pairs::TextPair, request::Rare};

/// Adds the session's parameters of which there is none of the name, then those of the request.
pub(super) fn add_to(url: &mut Url, own: Vec<(String, String)>, session: &[(String, String)], rare: Option<&Rare>) {
    let removed = rare.map_or(&[][..], |rare| &rare.removed_query);
    let defaults: Vec<_> = session
        .iter()
        .filter(|(name, _)| !removed.contains(name) && !own.iter().any(|(own, _)| own == name))
        .filter(|(name, _)| !url.query_pairs().any(|(own, _)| own == *name))
        .cloned()
        .collect();
    if !(defaults.is_empty() && own.is_empty()) {
        url.query_pairs_mut().extend_pairs(defaults).extend_pairs(own);
    }
    let raw = rare.map_or(&[][..], |rare| &rare.raw_query).iter().map(|text| text.trim_start_matches(['?', '&']));
    for text in raw.filter(|text| !text.is_empty()) {
        let query = match url.query().filter(|query| !query.is_empty()) {
            Some(query) => format!("{query}&{text}"),
            None => text.to_owned(),
        };
        url.set_query(Some(&query));
    }
}

impl RequestBuilder {
    /// Adds a query parameter behind those of the URL; a name may be added more than once.
    ///
    /// The value is a text, a number or whatever else can be written as text; it may be blank.
    #[expect(clippy::needless_pass_by_value, reason = "callers write 2, not &2")]
    pub fn query(mut self, name: impl AsRef<str>, value: impl ToString) -> Self {
        self.query.push((name.as_ref().to_owned(), value.to_string()));
        self
    }

    /// Adds query parameters, as pairs of name and value, in their order.
    pub fn params<P: TextPair>(mut self, params: impl IntoIterator<Item = P>) -> Self {
        for param in params {
            let (name, value) = param.text_pair();
            self.query.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Adds a query parameter for each value of a list; none for an empty list.
    pub fn query_list<V: ToString>(mut self, name: impl AsRef<str>, values: impl IntoIterator<Item = V>) -> Self {
        let name = name.as_ref();
        self.query.extend(values.into_iter().map(|value| (name.to_owned(), value.to_string())));
        self
    }

    /// Adds a query as it is to be sent, such as `a=1&b`; only what no URL can hold is escaped.
    pub fn query_raw(mut self, query: impl Into<String>) -> Self {
        self.rare().raw_query.push(query.into());
        self
    }

    /// Leaves the session's query parameters of this name out.
    pub fn remove_query(mut self, name: impl Into<String>) -> Self {
        self.rare().removed_query.push(name.into());
        self
    }
}

impl CachedSessionBuilder {
    /// Adds a query parameter to every request that has none of its name, neither by its URL nor by
    /// [`query`](RequestBuilder::query). A name may be added more than once.
    #[expect(clippy::needless_pass_by_value, reason = "callers write 2, not &2")]
    pub fn query(mut self, name: impl AsRef<str>, value: impl ToString) -> Self {
        self.settings.query.push((name.as_ref().to_owned(), value.to_string()));
        self
    }

    /// The same for several, as pairs of name and value.
    pub fn params<P: TextPair>(mut self, params: impl IntoIterator<Item = P>) -> Self {
        for param in params {
            let (name, value) = param.text_pair();
            self.settings.query.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}
