//! Enrolment: how an agent gets its identity.

use std::time::Duration;

use wakemq_link::http::{HttpClient, HttpError, Method, StatusCode, Upload};
use wakemq_link::{Alpn, Dialer, Ladder, ParseEndpointError, TrustError};
use wakemq_protocol::http::{EnrolAnswer, EnrolRequest, Problem};
use wakemq_protocol::{AgentId, Secret};

use crate::{CaSource, Identity, Passage, PassageError, StateDir, StateError, facts, random};

/// Time limit of the request, a proxy that says nothing and the direct way after it included.
const LIMIT: Duration = Duration::from_secs(60);
/// Largest answer; a CA in PEM is the bulk of it.
const ANSWER_MAX: usize = 256 * 1024;

/// What an enrolment needs.
#[derive(Debug, Clone)]
pub struct EnrolOptions {
    /// Where the broker is.
    pub server: Ladder,
    /// By what to know it. The answer may name another authority for later.
    pub ca: CaSource,
    /// The enrolment token.
    pub token: Secret,
    /// The id that the agent wishes; without it the broker gives one.
    pub agent: Option<AgentId>,
    /// How the broker is reached, now and by the enrolled agent.
    pub passage: Passage,
}

/// Says why an enrolment failed.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificate authority.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The passage.
    #[error(transparent)]
    Passage(#[from] PassageError),
    /// There are no random numbers.
    #[error(transparent)]
    Random(#[from] std::io::Error),
    /// The broker cannot be reached.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The broker refused it.
    #[error("the broker refused the enrolment ({status}): {why}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The broker's words.
        why: String,
    },
    /// The broker's answer cannot be understood.
    #[error("the broker's answer is not that to an enrolment: {0}")]
    Answer(#[from] serde_json::Error),
    /// The broker named an endpoint that is none.
    #[error("the broker's answer: {0}")]
    Endpoint(#[from] ParseEndpointError),
}

impl EnrolError {
    /// Tells whether the broker did not accept the token.
    pub fn is_not_allowed(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 403, .. })
    }

    /// Tells whether the broker could not be reached.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Http(_))
    }
}

/// Enrols an agent and writes its identity to the state directory.
///
/// The agent's secret is made and durable before anything is sent, so that an enrolment whose answer was lost
/// can be asked again: with the same token it is the same use.
pub async fn enrol(state: &StateDir, options: EnrolOptions) -> Result<Identity, EnrolError> {
    state.check_not_enrolled()?;
    let passage = options.passage;
    let dialer = Dialer::new(options.server, &passage.trust(&options.ca)?, Alpn::Http1)?
        .with_proxy_settings(passage.proxies()?);
    let secret = state.enrolment_secret()?;
    let request = EnrolRequest {
        token: options.token,
        agent: options.agent,
        secret_sha256: random::hash(&secret),
        facts: facts::once(random::instance()?),
    };
    let mut client = HttpClient::new(dialer, None).with_limit(LIMIT).with_response_max(ANSWER_MAX);
    let upload = Upload::json(serde_json::to_vec(&request)?);
    let (status, body) = client.request(Method::POST, "/v1/enrol", Some(upload)).await?;
    if !status.is_success() {
        return Err(refusal(status, &body));
    }
    let answer: EnrolAnswer = serde_json::from_slice(&body)?;
    Ladder::parse(&answer.endpoints)?;
    // Where the broker names no authority, the one by which it was just known is still good.
    let ca = answer.ca.map_or(options.ca, CaSource::Pem);
    ca.trust()?;
    let mut identity = Identity::new(answer.agent, secret, answer.group, answer.endpoints, ca);
    identity.passage = passage;
    state.save_identity(&identity)?;
    state.forget_enrolment()?;
    Ok(identity)
}

fn refusal(status: StatusCode, body: &[u8]) -> EnrolError {
    let why = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.to_string(),
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned(),
    };
    EnrolError::Refused { status: status.as_u16(), why }
}
