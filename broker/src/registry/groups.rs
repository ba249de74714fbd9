//! The groups of the agents that are connected: each path once, with its agents in order and the number of those that
//! are subscribed.
//!
//! An agent's entry holds its group as one pointer, and a group knows its parent, so that counting on every level
//! needs no look-up. A subtree is one range of groups, so that nobody goes through the agents of others to find those
//! of one. Everything happens under the registry's lock.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use wakemq_protocol::{AgentId, GroupPath};

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

    /// Counts an agent as subscribed.
    pub(super) fn subscribe(&self) {
        for level in self.levels() {
            level.subscribed.fetch_add(1, Atomic::Relaxed);
        }
    }

    /// Counts a subscribed agent as such no more.
    pub(super) fn unsubscribe(&self) {
        for level in self.levels() {
            level.subscribed.fetch_sub(1, Atomic::Relaxed);
        }
    }

    /// Iterates over this group and its ancestors, the root last.
    fn levels(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(Some(self), |node| node.parent.as_deref())
    }
}

/// A path in the order in which the store lists groups: by segments, so that a subtree is one range.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BySegments(GroupPath);

impl Ord for BySegments {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.segments().cmp(other.0.segments())
    }
}

impl PartialOrd for BySegments {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A group and its own agents.
#[derive(Debug)]
struct Inhabited {
    node: Arc<Node>,
    agents: BTreeSet<AgentId>,
}

/// Every group in or below which agents are connected.
#[derive(Debug, Default)]
pub(super) struct Groups {
    nodes: BTreeMap<BySegments, Inhabited>,
}

impl Groups {
    /// Takes an agent in, and returns its group.
    pub(super) fn enter(&mut self, path: &GroupPath, agent: &AgentId) -> Arc<Node> {
        let node = self.node(path);
        if let Some(inhabited) = self.nodes.get_mut(&BySegments(path.clone())) {
            inhabited.agents.insert(agent.clone());
        }
        node
    }

    fn node(&mut self, path: &GroupPath) -> Arc<Node> {
        let key = BySegments(path.clone());
        if let Some(inhabited) = self.nodes.get(&key) {
            return inhabited.node.clone();
        }
        let mut ancestors: Vec<GroupPath> = path.levels().collect();
        ancestors.pop();
        let parent = ancestors.pop().map(|parent| self.node(&parent));
        let node = Arc::new(Node { path: path.clone(), parent, subscribed: AtomicU64::new(0) });
        self.nodes.insert(key, Inhabited { node: node.clone(), agents: BTreeSet::new() });
        node
    }

    /// Lets an agent go, and gives its group back, which is forgotten when no agent and no other group holds it, and
    /// so are its ancestors.
    pub(super) fn leave(&mut self, node: Arc<Node>, agent: &AgentId) {
        if let Some(inhabited) = self.nodes.get_mut(&BySegments(node.path.clone())) {
            inhabited.agents.remove(agent);
        }
        let mut last = Some(node);
        while let Some(node) = last {
            // This one and the map's.
            if Arc::strong_count(&node) > 2 {
                return;
            }
            self.nodes.remove(&BySegments(node.path.clone()));
            last = Arc::into_inner(node).and_then(|node| node.parent);
        }
    }

    /// Iterates over the agents of a subtree by group and then by id, those behind `after`.
    pub(super) fn agents_in<'a>(
        &'a self,
        scope: &'a GroupPath,
        after: Option<&'a (GroupPath, AgentId)>,
    ) -> impl Iterator<Item = (&'a GroupPath, &'a AgentId)> {
        let begins = BySegments(scope.clone());
        let first = match after {
            Some((group, _)) => begins.max(BySegments(group.clone())),
            None => begins,
        };
        let groups = self.nodes.range(first..).take_while(|(group, _)| scope.contains(&group.0));
        groups.flat_map(move |(BySegments(group), inhabited)| {
            let last = after.filter(|(of, _)| of == group).map(|(_, agent)| agent);
            let from = last.map_or(Bound::Unbounded, Bound::Excluded);
            inhabited.agents.range((from, Bound::Unbounded)).map(move |agent| (group, agent))
        })
    }

    /// Returns how many agents of a subtree are subscribed.
    pub(super) fn subscribed_in(&self, path: &GroupPath) -> u64 {
        let inhabited = self.nodes.get(&BySegments(path.clone()));
        inhabited.map_or(0, |inhabited| inhabited.node.subscribed.load(Atomic::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> GroupPath {
        text.parse().unwrap()
    }

    fn agent(text: &str) -> AgentId {
        text.parse().unwrap()
    }

    #[test]
    fn a_group_lives_as_long_as_something_is_in_it() {
        let mut groups = Groups::default();
        let (first, second) = (agent("1"), agent("2"));
        let (one, two) = (groups.enter(&path("a/b"), &first), groups.enter(&path("a/b"), &second));
        one.subscribe();
        assert_eq!(groups.subscribed_in(&GroupPath::root()), 1);
        assert_eq!(groups.nodes.len(), 3, "the root and a too");
        one.unsubscribe();
        groups.leave(one, &first);
        assert_eq!(groups.nodes.len(), 3);
        groups.leave(two, &second);
        assert!(groups.nodes.is_empty());
    }

    #[test]
    fn agents_come_in_the_order_of_the_store_and_from_anywhere_on() {
        let mut groups = Groups::default();
        // As texts, `a-b` and `a.b` would come between `a` and what lies below it.
        let places = [("a", "Y"), ("a", "z"), ("a/b", "x"), ("a/c/d", "w"), ("a-b", "v"), ("a.b", "u")];
        let mut kept = Vec::new();
        for (group, name) in places.iter().rev() {
            kept.push(groups.enter(&path(group), &agent(name)));
        }
        let all = |scope: &str, after: Option<(&str, &str)>| {
            let after = after.map(|(group, name)| (path(group), agent(name)));
            let scope = path(scope);
            let found = groups.agents_in(&scope, after.as_ref());
            found.map(|(group, agent)| format!("{group}:{agent}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(all("", None), "a:Y a:z a/b:x a/c/d:w a-b:v a.b:u");
        assert_eq!(all("a", None), "a:Y a:z a/b:x a/c/d:w");
        assert_eq!(all("a", Some(("a", "y"))), "a:z a/b:x a/c/d:w", "whatever the spelling");
        assert_eq!(all("", Some(("a/bb", "q"))), "a/c/d:w a-b:v a.b:u", "of a group that is not there");
        assert_eq!(all("a/c", Some(("a", "z"))), "a/c/d:w");
        assert_eq!(all("a/c", Some(("b", "z"))), "");
    }
}
