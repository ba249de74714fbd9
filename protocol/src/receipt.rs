//! Receipts: what an agent says became of a command.

use serde::{Deserialize, Serialize};

use crate::json::Brief;
use crate::limits::{DETAIL_MAX, PAYLOAD_MAX};
use crate::{CommandId, CommandState};

/// What a receipt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptState {
    /// Still at work; changes no state.
    Progress,
    /// Handled.
    Done,
    /// Could not be handled.
    Failed,
    /// Would not be handled.
    Refused,
}

impl ReceiptState {
    /// Returns the state in which the command ends; `None` for progress.
    pub fn command_state(self) -> Option<CommandState> {
        match self {
            Self::Progress => None,
            Self::Done => Some(CommandState::Done),
            Self::Failed => Some(CommandState::Failed),
            Self::Refused => Some(CommandState::Refused),
        }
    }
}

/// What an agent says became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The command.
    pub id: CommandId,
    /// What became of it.
    pub state: ReceiptState,
    /// In words, in at most 4,096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Says why a payload is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Larger than 60 KiB.
    #[error("the payload has {0} bytes; at most {PAYLOAD_MAX} are allowed")]
    TooLarge(usize),
    /// Not JSON, or not of the form of a receipt.
    #[error("the payload is not a receipt: {}", Brief(.0))]
    Json(#[from] serde_json::Error),
    /// Longer than 4,096 bytes.
    #[error("the detail has {0} bytes; at most {DETAIL_MAX} are allowed")]
    Detail(usize),
}

impl Receipt {
    /// Parses a payload and checks its limits.
    pub fn from_json(payload: &[u8]) -> Result<Self, ReceiptError> {
        if payload.len() > PAYLOAD_MAX {
            return Err(ReceiptError::TooLarge(payload.len()));
        }
        let receipt: Self = serde_json::from_slice(payload)?;
        if let Some(detail) = receipt.detail.as_ref().filter(|detail| detail.len() > DETAIL_MAX) {
            return Err(ReceiptError::Detail(detail.len()));
        }
        Ok(receipt)
    }
}
