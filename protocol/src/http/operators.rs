//! Operators.

use serde::{Deserialize, Serialize};

use crate::{GroupPath, OperatorName, Role, Secret, Timestamp};

/// `POST /v1/operators`: asks for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRequest {
    /// Its name.
    pub operator: OperatorName,
    /// What it may do.
    pub role: Role,
    /// Where: this group and everything below it.
    pub group: GroupPath,
}

/// The answer to [`OperatorRequest`]; the secret is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAnswer {
    /// Its name.
    pub operator: OperatorName,
    /// What it may do.
    pub role: Role,
    /// Where.
    pub group: GroupPath,
    /// Its secret.
    pub secret: Secret,
    /// Where to connect, `HOST:PORT`, in order of preference.
    pub endpoints: Vec<String>,
    /// The broker's CA in PEM; `null` where the system's roots are to be used.
    pub ca: Option<String>,
}

/// `PATCH /v1/operators/{operator}`: changes what an operator may do; what is not said stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorChange {
    /// What it may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupPath>,
}

/// An operator, as `GET /v1/operators` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorView {
    /// Its name.
    pub operator: OperatorName,
    /// What it may do.
    pub role: Role,
    /// Where.
    pub group: GroupPath,
    /// When it was created.
    pub created: Timestamp,
    /// How many MQTT connections it has now.
    pub connections: u32,
}

/// `GET /v1/operators?after=NAME&limit=N`: a page of operators in order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorPage {
    /// The operators.
    pub operators: Vec<OperatorView>,
    /// What to give as `after` for the next page; `null` at the end.
    pub next: Option<OperatorName>,
}
