//! Groups.

use serde::{Deserialize, Serialize};

use crate::GroupPath;

/// A group, as `GET /v1/groups` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Its path; the root is empty.
    pub group: GroupPath,
    /// How many agents are in it or below it.
    pub agents: u64,
    /// How many of those are connected and subscribed.
    pub connected: u64,
}

/// `GET /v1/groups?after=PATH&limit=N`: a page of groups in order of their paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPage {
    /// The groups.
    pub groups: Vec<GroupView>,
    /// What to give as `after` for the next page; `null` at the end.
    pub next: Option<GroupPath>,
}

/// `POST /v1/groups` and `POST /v1/groups/remove`: the group to create, or to remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRequest {
    /// Its path.
    pub group: GroupPath,
}

/// `POST /v1/groups/rename`: gives a group that is not in use, and what lies below it, another path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRename {
    /// Its path.
    pub group: GroupPath,
    /// Its new path.
    pub to: GroupPath,
}
