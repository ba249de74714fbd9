//! The groups of the agents that are connected: each path once, with the number of those that are subscribed.
//!
//! An agent's entry holds its group as one pointer, and a group knows its parent, so that counting on every level
//! and telling whether an agent is inside a subtree need no look-up. Everything happens under the registry's lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wakemq_protocol::GroupPath;

/// A group in or below which agents are connected.
#[derive(Debug)]
pub(super) struct Node {
    path: GroupPath,
    parent: Option<Arc<Node>>,
    /// How many agents in it or below it are subscribed; an atomic only because it is shared.
    subscribed: AtomicU64,
}

impl Node {
    /// Returns the group.
    pub(super) fn path(&self) -> &GroupPath {
        &self.path
    }

    /// Tells whether this is `other` or lies below it.
    pub(super) fn is_within(&self, other: &Arc<Node>) -> bool {
        let target: *const Node = Arc::as_ptr(other);
        self.levels().any(|level| std::ptr::eq(level, target))
    }

    /// Counts an agent as subscribed.
    pub(super) fn subscribe(&self) {
        for level in self.levels() {
            level.subscribed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a subscribed agent as such no more.
    pub(super) fn unsubscribe(&self) {
        for level in self.levels() {
            level.subscribed.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Iterates over this group and its ancestors, the root last.
    fn levels(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(Some(self), |node| node.parent.as_deref())
    }
}

/// Every group in or below which agents are connected.
#[derive(Debug, Default)]
pub(super) struct Groups {
    nodes: HashMap<GroupPath, Arc<Node>>,
}

impl Groups {
    /// Returns a group for one more agent.
    pub(super) fn enter(&mut self, path: &GroupPath) -> Arc<Node> {
        if let Some(node) = self.nodes.get(path) {
            return node.clone();
        }
        let mut ancestors: Vec<GroupPath> = path.levels().collect();
        ancestors.pop();
        let parent = ancestors.pop().map(|parent| self.enter(&parent));
        let node = Arc::new(Node { path: path.clone(), parent, subscribed: AtomicU64::new(0) });
        self.nodes.insert(path.clone(), node.clone());
        node
    }

    /// Gives a group back; it is forgotten when no agent and no other group holds it, and so are its ancestors.
    pub(super) fn leave(&mut self, node: Arc<Node>) {
        let mut last = Some(node);
        while let Some(node) = last {
            // This one and the map's.
            if Arc::strong_count(&node) > 2 {
                return;
            }
            self.nodes.remove(&node.path);
            last = Arc::into_inner(node).and_then(|node| node.parent);
        }
    }

    /// Finds a group; one that is not found has no connected agents.
    pub(super) fn find(&self, path: &GroupPath) -> Option<&Arc<Node>> {
        self.nodes.get(path)
    }

    /// Returns how many agents of a subtree are subscribed.
    pub(super) fn subscribed_in(&self, path: &GroupPath) -> u64 {
        self.find(path).map_or(0, |node| node.subscribed.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lives_as_long_as_something_is_in_it() {
        let mut groups = Groups::default();
        let path: GroupPath = "a/b".parse().unwrap();
        let (one, two) = (groups.enter(&path), groups.enter(&path));
        one.subscribe();
        assert_eq!(groups.subscribed_in(&GroupPath::root()), 1);
        assert_eq!(groups.nodes.len(), 3, "the root and a too");
        let a = groups.find(&"a".parse().unwrap()).unwrap().clone();
        assert!(one.is_within(&a) && !a.is_within(&one));
        drop(a);
        one.unsubscribe();
        groups.leave(one);
        assert_eq!(groups.nodes.len(), 3);
        groups.leave(two);
        assert!(groups.nodes.is_empty());
    }
}
