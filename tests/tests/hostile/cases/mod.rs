//! The generator: the same cases in the same order at each run.

pub(crate) mod connect;
pub(crate) mod headers;
pub(crate) mod packets;
pub(crate) mod properties;
pub(crate) mod streams;
pub(crate) mod strings;

use crate::case::Case;

/// All cases; names are unique.
pub(crate) fn all() -> Vec<Case> {
    let mut all = headers::cases();
    all.extend(connect::cases());
    all.extend(packets::cases());
    all.extend(properties::cases());
    all.extend(strings::cases());
    all.extend(streams::cases());
    all
}
