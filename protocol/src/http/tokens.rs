//! Enrolment tokens.

use serde::{Deserialize, Serialize};

use crate::{GroupPath, Secret, Timestamp};

/// `POST /v1/tokens`: asks for an enrolment token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRequest {
    /// The group that its agents join.
    pub group: GroupPath,
    /// How many agents may use it; 1 if not said.
    #[serde(default = "one")]
    pub uses: u32,
    /// How long it is valid, in seconds; a day if not said.
    #[serde(default = "a_day")]
    pub expires_in: u32,
}

fn one() -> u32 {
    1
}

fn a_day() -> u32 {
    86_400
}

/// The answer to [`TokenRequest`]; the token is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenAnswer {
    /// Names the token from now on; opens nothing.
    pub id: String,
    /// The token.
    pub token: Secret,
    /// The group that its agents join.
    pub group: GroupPath,
    /// How many agents may use it.
    pub uses: u32,
    /// Until when.
    pub expires: Timestamp,
}

/// An enrolment token, as `GET /v1/tokens` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// Names the token; opens nothing.
    pub id: String,
    /// The group that its agents join.
    pub group: GroupPath,
    /// How many agents may use it.
    pub uses: u32,
    /// How many of them still may.
    pub uses_left: u32,
    /// Until when.
    pub expires: Timestamp,
    /// Who created it.
    pub by: String,
}

/// `GET /v1/tokens?after=NEXT&limit=N`: a page of enrolment tokens in order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPage {
    /// The tokens.
    pub tokens: Vec<TokenView>,
    /// What to give as `after` for the next page; `null` at the end.
    pub next: Option<String>,
}
