//! What an operator asks for, and why that is refused.

use wakemq_protocol::{Kind, Submission, Target};

use crate::packet::ReasonCode;

/// A publication that asks for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitRequest {
    /// For whom.
    pub target: Target,
    /// What is asked, or why that is to be recorded as refused.
    pub submission: Result<Submission, Refusal>,
    /// MQTT 5 message expiry, in seconds.
    pub message_expiry_secs: Option<u32>,
    /// Where changes of state are to be told, and what to tell along.
    pub response: Option<Response>,
    /// What the PUBACK repeats; none for QoS 0.
    pub packet_id: Option<u16>,
    /// A refusal is to be recorded, because 3.1.1 has no PUBACK that tells the publisher of it.
    pub record_refusal: bool,
}

/// Where an operator wants to be told of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The topic, one of the operator's own responses.
    pub topic: String,
    /// Correlation Data.
    pub correlation_data: Option<Vec<u8>>,
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What MQTT 5 says; `NotAuthorized` is for a target that is not the operator's to command.
    pub reason: ReasonCode,
    /// The same for people.
    pub text: String,
    /// What was submitted, as far as it could be read: 3.1.1 has it recorded as `refused`.
    pub submission: Option<Box<Submission>>,
}

impl Refusal {
    /// Makes a refusal of something that could not be read.
    pub fn new(reason: ReasonCode, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), submission: None }
    }
}

/// Reads a submission and refuses what this version does not carry out.
pub(super) fn read_submission(
    target: &Target,
    payload: &[u8],
    message_expiry_secs: Option<u32>,
) -> Result<Submission, Refusal> {
    let submission = Submission::from_json(payload)
        .map_err(|error| Refusal::new(ReasonCode::PayloadFormatInvalid, error.to_string()))?;
    match check_kind(target, &submission, message_expiry_secs) {
        Ok(()) => Ok(submission),
        Err(refusal) => Err(Refusal { submission: Some(Box::new(submission)), ..refusal }),
    }
}

/// Refuses a kind of command that this version does not carry out, or not for this target or in this time.
pub fn check_kind(
    target: &Target,
    submission: &Submission,
    message_expiry_secs: Option<u32>,
) -> Result<(), Refusal> {
    let refused = |text: &str| Err(Refusal::new(ReasonCode::ImplementationSpecificError, text));
    match (&submission.kind, target) {
        (Kind::Wake, _) => Ok(()),
        (Kind::Power, Target::Group(_)) => refused(
            "power is for one agent: publish one to each agent of the group, as `wakemq wol --group` does",
        ),
        (Kind::Power, Target::Agent(_)) if submission.ttl_secs(message_expiry_secs) == 0 => {
            refused("a power command needs a time to live: an endpoint takes a while to come up")
        }
        (Kind::Power, Target::Agent(_)) => Ok(()),
        (Kind::Relay, _) => {
            let text = "relay commands are issued by the engine alone";
            Err(Refusal::new(ReasonCode::NotAuthorized, text))
        }
        (Kind::Other(kind), _) => refused(&format!("this version of the broker does not carry out {kind}")),
    }
}
