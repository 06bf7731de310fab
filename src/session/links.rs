//! The Link header (RFC 8288).

use http::{HeaderMap, header::LINK};
use url::Url;

use super::text::{parameters, split_quoted};

/// One link of a `Link` header, such as the next page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    url: String,
    parameters: Vec<(String, String)>,
}

impl Link {
    /// Where it leads, made absolute with the URL of the response.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The relation, such as `next`; several are separated by spaces.
    #[must_use]
    pub fn rel(&self) -> Option<&str> {
        self.parameter("rel")
    }

    /// A parameter by its name in lower case; the first one counts.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// The links of all `Link` headers in their order; what is malformed is left out.
pub(super) fn links(headers: &HeaderMap, base: &str) -> Vec<Link> {
    let base = Url::parse(base).ok();
    let mut links = Vec::new();
    for value in headers.get_all(LINK) {
        let value = String::from_utf8_lossy(value.as_bytes());
        links.extend(split_quoted(&value, ',').into_iter().filter_map(|link| {
            let (target, _) = link.trim_start().strip_prefix('<')?.split_once('>')?;
            let url = match &base {
                Some(base) => base.join(target).map_or_else(|_| target.to_owned(), String::from),
                None => target.to_owned(),
            };
            Some(Link { url, parameters: parameters(link).collect() })
        }));
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Vec<Link> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, value.parse().unwrap());
        }
        links(&headers, "http://example.org/items?page=1")
    }

    #[test]
    fn links_of_all_lines_are_read_and_made_absolute() {
        let links = read(&[
            "<?page=2>; rel=\"next\", <http://other.example/a,b;c>; rel=last; title=\"x, \\\"y\\\"\"",
            "</up>;REL=up",
        ]);
        let read: Vec<_> = links.iter().map(|link| (link.url(), link.rel().unwrap())).collect();
        assert_eq!(
            read,
            [
                ("http://example.org/items?page=2", "next"),
                ("http://other.example/a,b;c", "last"),
                ("http://example.org/up", "up")
            ]
        );
        assert_eq!(links[1].parameter("title"), Some("x, \"y\""));
    }

    #[test]
    fn what_is_no_link_is_left_out() {
        assert_eq!(read(&["", "next", "<http://unclosed; rel=next", "x <http://a/>"]), []);
    }
}
