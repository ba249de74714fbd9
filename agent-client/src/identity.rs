//! Who the agent is: what enrolment gave it.

use serde::{Deserialize, Serialize};
use wakemq_link::ladder::ProxyUse;
use wakemq_link::{Ladder, ParseEndpointError, ProxySettings, ProxyUrl, Trust, TrustError, WayDialer};
use wakemq_protocol::{AgentId, GroupPath, Secret};

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
    /// Through which proxy its broker is tried first.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "proxy_text")]
    pub proxy: Option<ProxyUrl>,
}

impl Identity {
    /// Makes an identity, without a proxy.
    pub fn new(
        agent: AgentId,
        secret: Secret,
        group: GroupPath,
        endpoints: Vec<String>,
        ca: CaSource,
    ) -> Self {
        Self { version: VERSION, agent, secret, group, endpoints, ca, proxy: None }
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
    pub(crate) fn way_dialer(&self) -> Result<WayDialer, crate::AgentError> {
        let proxy = self.proxy.clone();
        let proxy = proxy.map_or_else(ProxySettings::none, |url| ProxySettings::new(url, ProxyUse::First));
        Ok(WayDialer::new(&self.ca.trust()?, proxy)?)
    }
}

/// A proxy in the identity file: its URL, or nothing at all.
mod proxy_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use wakemq_link::ProxyUrl;

    pub(super) fn serialize<S: Serializer>(
        proxy: &Option<ProxyUrl>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        proxy.as_ref().map(ToString::to_string).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ProxyUrl>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse()).transpose().map_err(D::Error::custom)
    }
}
