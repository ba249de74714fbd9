//! Groups, and who is in them.
//!
//! In keys each segment of a path is followed by 1, which is less than any character of a segment: the subtree of a
//! group is one range of keys, and `a-b` does not lie within that of `a`.

use wakemq_protocol::{GroupPath, Timestamp};

use crate::store::StoreError;
use crate::store::kv::{ReadKv, Table, WriteKv};

/// A group as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Node {
    pub(in crate::store) created: Timestamp,
    /// How many agents are in its subtree.
    pub(in crate::store) agents: u64,
}

/// Makes the key of a group.
pub(in crate::store) fn node_key(group: &GroupPath) -> Vec<u8> {
    group.segments().flat_map(|segment| segment.bytes().chain([1])).collect()
}

/// Returns where the keys of a subtree begin, and where they end.
pub(in crate::store) fn subtree(group: &GroupPath) -> (Vec<u8>, Vec<u8>) {
    let from = node_key(group);
    let to = [&*from, &[0xff]].concat();
    (from, to)
}

/// Makes the key of an agent in a group: 0 before it, so that a group's own agents come before those below it.
pub(in crate::store) fn member_key(group: &GroupPath, agent_key: &str) -> Vec<u8> {
    [&*node_key(group), &[0], agent_key.as_bytes()].concat()
}

/// Reads the group out of the key of a group, or of an agent in it.
pub(in crate::store) fn node_of_key(key: &[u8]) -> Result<GroupPath, StoreError> {
    let node = key.split(|&byte| byte == 0).next().unwrap_or_default();
    let segments: Vec<_> = node.split(|&byte| byte == 1).filter(|segment| !segment.is_empty()).collect();
    std::str::from_utf8(&segments.join(&b'/'))
        .ok()
        .and_then(|path| path.parse().ok())
        .ok_or_else(|| StoreError::Damaged("a key names no group".into()))
}

/// Reads a group.
pub(in crate::store) fn node(kv: &dyn ReadKv, group: &GroupPath) -> Result<Option<Node>, StoreError> {
    let Some(value) = kv.get(Table::Groups, &node_key(group))? else { return Ok(None) };
    Node::parse(&value).map(Some)
}

/// Writes a group.
pub(in crate::store) fn put_node(
    kv: &mut dyn WriteKv,
    group: &GroupPath,
    node: &Node,
) -> Result<(), StoreError> {
    let created = u64::try_from(node.created.unix_ms()).unwrap_or(0);
    kv.put(Table::Groups, &node_key(group), &[created.to_be_bytes(), node.agents.to_be_bytes()].concat())
}

impl Node {
    /// The time in milliseconds, the number.
    pub(in crate::store) fn parse(value: &[u8]) -> Result<Self, StoreError> {
        let (created, agents) = value
            .split_first_chunk::<8>()
            .and_then(|(created, agents)| Some((*created, <[u8; 8]>::try_from(agents).ok()?)))
            .ok_or_else(|| StoreError::Damaged("a row of groups cannot be read".into()))?;
        let created = i64::try_from(u64::from_be_bytes(created)).unwrap_or(i64::MAX);
        Ok(Self { created: Timestamp::from_unix_ms(created), agents: u64::from_be_bytes(agents) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_one_range() {
        let path = |path: &str| path.parse::<GroupPath>().unwrap();
        let (from, to) = subtree(&path("a"));
        for inside in ["a", "a/b", "a/b/c", "a/0"] {
            let key = member_key(&path(inside), "x");
            assert!(from <= key && key < to, "{inside}");
            assert_eq!(node_of_key(&key).unwrap(), path(inside));
        }
        for outside in ["", "a-b", "a.b", "a0", "b", "aa/b"] {
            let key = member_key(&path(outside), "x");
            assert!(key < from || key >= to, "{outside}");
        }
        let (from, to) = subtree(&GroupPath::root());
        assert!(from.is_empty() && to > member_key(&path("zz/z"), "z"));
    }
}
