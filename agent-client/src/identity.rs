//! Who the agent is: what enrolment gave it.

use serde::{Deserialize, Serialize};
use wakemq_link::{Ladder, ParseEndpointError, Trust, TrustError, WayDialer};
use wakemq_protocol::{AgentId, GroupPath, Secret};

use crate::{Passage, PassageError};

/// Version of the form of the identity file.
const VERSION: u32 = 1;

/// Whom the agent believes to be its broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaSource {
    /// The certificate authorities that the operating system trusts.
    System,
    /// A certificate authority in PEM.
    Pem(String),
}

impl CaSource {
    /// Makes the trust that the source stands for.
    pub fn trust(&self) -> Result<Trust, TrustError> {
        match self {
            Self::System => Trust::system(),
            Self::Pem(pem) => Trust::from_pem(pem.as_bytes()),
        }
    }
}

/// Who an agent is, where its broker is, and by what it knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    version: u32,
    /// The agent's id.
    pub agent: AgentId,
    /// Its secret.
    pub secret: Secret,
    /// Its group when it was enrolled; the broker alone knows the present one.
    pub group: GroupPath,
    /// Where its broker is, `HOST[:PORT]`, in order of preference.
    pub endpoints: Vec<String>,
    /// By what it knows its broker.
    pub ca: CaSource,
    /// How it gets out of its network.
    #[serde(flatten)]
    pub passage: Passage,
}

impl Identity {
    /// Makes an identity with the passage that is usual: the environment's proxy, if it names one.
    pub fn new(
        agent: AgentId,
        secret: Secret,
        group: GroupPath,
        endpoints: Vec<String>,
        ca: CaSource,
    ) -> Self {
        Self { version: VERSION, agent, secret, group, endpoints, ca, passage: Passage::default() }
    }

    /// Tells whether this version of the program reads the form of the file.
    pub(crate) fn version_known(&self) -> bool {
        self.version == VERSION
    }

    /// Returns the endpoints as a ladder.
    pub fn ladder(&self) -> Result<Ladder, ParseEndpointError> {
        Ladder::parse(&self.endpoints)
    }

    /// Makes the dialer of the agent's connections.
    pub fn dialer(&self) -> Result<WayDialer, PassageError> {
        self.passage.dialer(&self.ca)
    }
}
