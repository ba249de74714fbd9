//! Words and wire protocol v1 of WakeMQ.
//!
//! Everything that crosses the wire has its form here and nowhere else: ids, topics, commands, receipts,
//! facts, the bodies of the HTTP interface, and every limit. The crate is pure: it reads no clock, draws no
//! random number and does no IO, so that broker, agents and publishers share one meaning of each word.
//!
//! ```
//! use wakemq_protocol::{AgentId, Topic};
//! let agent: AgentId = "printer-7".parse()?;
//! let topic = Topic::AgentCommands(agent);
//! assert_eq!(topic.to_string(), "wake/v1/agents/printer-7/commands");
//! assert_eq!("wake/v1/agents/printer-7/commands".parse::<Topic>()?, topic);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod command;
mod event;
mod facts;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod group;
pub mod http;
mod id;
mod json;
pub mod limits;
mod mac;
mod magic;
mod power;
mod reach;
mod receipt;
mod report;
mod role;
mod secret;
mod state;
mod time;
mod topic;

pub use command::{Command, Kind, Priority, Slot, SlotChoice, Submission, SubmissionError, Target};
pub use event::{Event, EventBody, EventKind, EventNews, PresenceChange, SecurityWhat};
pub use facts::{Facts, FactsError, Interface, Medium};
pub use group::GroupPath;
pub use id::{AgentId, CommandId, OperatorName, ParseIdError};
pub use mac::MacAddr;
pub use magic::{MagicPacket, SecureOn, WOL_PORTS};
pub use power::{PowerNews, PowerStep, PowerWhat, RelayJob};
pub use reach::{BETTER_MAX, FailedWay, PROBLEM_MAX, ParseTransportError, Reach, Transport};
pub use receipt::{Receipt, ReceiptError, ReceiptState};
pub use report::{Report, ReportError};
pub use role::Role;
pub use secret::{Secret, SecretHash, SecretKind};
pub use state::{CommandState, Counts, GroupUpdate, News, Outcome, Update};
pub use time::Timestamp;
pub use topic::{Topic, TopicError, filter_matches};

/// Writes one of this crate's types as JSON.
pub fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value)
        .expect("the types of this crate have string keys and finite numbers, which is all JSON asks")
}
