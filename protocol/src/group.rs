//! The one hierarchy of groups.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseIdError;
use crate::id::{Alphabet, check_word, text_newtype};
use crate::limits::{GROUP_DEPTH_MAX, GROUP_SEGMENT_MAX};

/// A node of the hierarchy, `customer-a/paris/floor-2`; the root is empty.
///
/// Up to 8 segments of 1 to 64 of `a-z 0-9 . _ -`, alphanumeric first. Paths are compared by whole segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupPath(Box<str>);

text_newtype!(GroupPath);

impl GroupPath {
    /// Returns the root, which contains every group.
    pub fn root() -> Self {
        Self("".into())
    }

    /// Tells whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the path as people are told of it: the root is `/`.
    pub fn label(&self) -> &str {
        if self.is_root() { "/" } else { &self.0 }
    }

    /// Iterates over the segments from the root down; the root has none.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// Iterates over this group and all its ancestors, the root first.
    pub fn levels(&self) -> impl Iterator<Item = GroupPath> + '_ {
        let ends =
            self.0.match_indices('/').map(|(at, _)| at).chain((!self.is_root()).then_some(self.0.len()));
        std::iter::once(0).chain(ends).map(|end| Self(self.0[..end].into()))
    }

    /// Tells whether `other` is this group or lies below it.
    ///
    /// ```
    /// # use wakemq_protocol::GroupPath;
    /// let paris: GroupPath = "a/paris".parse()?;
    /// assert!(paris.contains(&"a/paris/floor-2".parse()?));
    /// assert!(!paris.contains(&"a/paris-2".parse()?));
    /// # Ok::<(), wakemq_protocol::ParseIdError>(())
    /// ```
    pub fn contains(&self, other: &GroupPath) -> bool {
        self.contains_path(&other.0)
    }

    /// Does the same with the text of a path, for where paths come by the thousand.
    pub fn contains_path(&self, path: &str) -> bool {
        match path.strip_prefix(&*self.0) {
            Some(rest) => self.is_root() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl FromStr for GroupPath {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        if !text.is_empty() {
            for segment in text.split('/') {
                check_word(segment, "segment of a group", GROUP_SEGMENT_MAX, Alphabet::Lower)?;
            }
        }
        let path = Self(text.into());
        if path.segments().count() > GROUP_DEPTH_MAX {
            return Err(ParseIdError::new("group", "it has more than 8 segments"));
        }
        Ok(path)
    }
}
