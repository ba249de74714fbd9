//! Paths of requests, with their queries.

use std::fmt::{self, Display, Write as _};

/// A path with its query.
pub(super) struct Path {
    text: String,
    /// Whether there is a query already.
    queried: bool,
}

impl Path {
    /// Makes a path of what needs no escaping: words of this crate and ids.
    pub(super) fn new(path: &str) -> Self {
        Self { text: path.to_owned(), queried: false }
    }

    /// Makes the path of a page.
    pub(super) fn page(path: &str, after: Option<impl Display>, limit: u32) -> Self {
        Self::new(path).with("after", after).with("limit", Some(limit))
    }

    /// Adds a last segment, whatever it is.
    pub(super) fn below(mut self, segment: &str) -> Self {
        self.text.push('/');
        self.escape(segment, "");
        self
    }

    /// Adds a value to the query, if there is one.
    pub(super) fn with(mut self, name: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            self.text.push(if self.queried { '&' } else { '?' });
            self.queried = true;
            self.text.push_str(name);
            self.text.push('=');
            // These mean nothing within a query (RFC 3986 §3.4).
            self.escape(&value.to_string(), "/:");
        }
        self
    }

    /// Writes all but the unreserved characters (RFC 3986 §2.3), and those `besides`, by their bytes.
    fn escape(&mut self, text: &str, besides: &str) {
        for c in text.chars() {
            if c.is_ascii_alphanumeric() || "-._~".contains(c) || besides.contains(c) {
                self.text.push(c);
            } else {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // A string takes all that is written to it.
                    _ = write!(self.text, "%{byte:02X}");
                }
            }
        }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_escaped() {
        let page = Path::page("/v1/agents", Some("a/b c&d=é"), 10).with("group", Some("paris/floor-2"));
        assert_eq!(page.to_string(), "/v1/agents?after=a/b%20c%26d%3D%C3%A9&limit=10&group=paris/floor-2");
        assert_eq!(Path::page("/v1/groups", None::<&str>, 5).to_string(), "/v1/groups?limit=5");
        assert_eq!(Path::new("/v1/tokens").below("a/../b?c").to_string(), "/v1/tokens/a%2F..%2Fb%3Fc");
    }
}
