//! What is asked over HTTP: commands by id, agents, groups, enrolment tokens, operators, the audit trail.

mod import;
mod path;

use std::io::Cursor;

use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wakemq_link::Alpn;
use wakemq_link::http::{HttpClient, JSON_LINES, Method, StatusCode, Upload};
use wakemq_protocol::http::{
    AgentPage, AgentView, AuditPage, CommandRequest, CommandView, GroupPage, GroupRename, GroupRequest,
    ImportLine, MoveRequest, OperatorAnswer, OperatorChange, OperatorPage, OperatorRequest, PowerView,
    Problem, Profile, TokenAnswer, TokenPage, TokenRequest, WaitingPage, WolAnswer, WolRequest,
};
use wakemq_protocol::{
    AgentId, CommandId, GroupPath, OperatorName, Submission, Target, Timestamp, Transport, to_json,
};

use crate::profile::dialer;
use crate::{ApiError, SetupError};
pub use import::Import;
use path::Path;

/// Most lines that [`Management::import`] should be given at once: enough to share flushes, and few enough that
/// a lost connection leaves little in doubt.
pub const IMPORT_LINES_MAX: usize = 5_000;

/// Longest line of an import's answer, and longest problem document, in bytes.
const LINE_MAX: usize = 64 * 1024;

/// Which agents [`Management::agents`] returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentFilter {
    /// Those in this group's subtree; without it all that the operator may see.
    pub group: Option<GroupPath>,
    /// Those that are connected and subscribed, or those that are not; without it both.
    pub connected: Option<bool>,
    /// Those that are connected by this transport; without it all.
    pub transport: Option<Transport>,
}

/// A client of the management interface, as the profile's operator.
///
/// It connects when it is first asked and keeps the connection between requests. Lists come in pages: each takes
/// the `next` of the page before as `after`, and how many are wanted at most.
#[derive(Debug)]
pub struct Management {
    client: HttpClient,
}

impl Management {
    /// Makes a client; nothing is dialled yet.
    pub fn new(profile: &Profile) -> Result<Self, SetupError> {
        let dialer = dialer(profile, Alpn::Http1)?;
        Ok(Self { client: HttpClient::new(dialer, Some(profile.secret.clone())) })
    }

    /// Submits a command; when this returns, the broker has it durably.
    ///
    /// For a program that follows commands, and for many, [`Publisher`](crate::Publisher) is the better way.
    pub async fn submit(
        &mut self,
        target: impl Into<Target>,
        submission: Submission,
    ) -> Result<CommandView, ApiError> {
        let (agent, group) = match target.into() {
            Target::Agent(agent) => (Some(agent), None),
            Target::Group(group) => (None, Some(group)),
        };
        let request = CommandRequest { agent, group, submission };
        self.ask(Method::POST, Path::new("/v1/commands"), Some(&request)).await
    }

    /// Returns a command and what became of it; for a group the first page of outcomes.
    pub async fn command(&mut self, id: CommandId) -> Result<CommandView, ApiError> {
        self.get(Path::new(&format!("/v1/commands/{id}"))).await
    }

    /// Returns a command for a group with a page of the agents' outcomes, in order of their ids.
    pub async fn command_outcomes(
        &mut self,
        id: CommandId,
        after: Option<&AgentId>,
        limit: u32,
    ) -> Result<CommandView, ApiError> {
        self.get(Path::page(&format!("/v1/commands/{id}"), after, limit)).await
    }

    /// Returns a page of the agents that a command for a group still waits for and of which nothing else is known.
    pub async fn waiting(
        &mut self,
        id: CommandId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<WaitingPage, ApiError> {
        self.get(Path::page(&format!("/v1/commands/{id}/waiting"), after, limit)).await
    }

    /// Takes a command back, and returns it. What is on its way ends `cancelled` only if its connection ends
    /// before the acknowledgement.
    pub async fn cancel(&mut self, id: CommandId) -> Result<CommandView, ApiError> {
        self.ask(Method::POST, Path::new(&format!("/v1/commands/{id}/cancel")), None::<&()>).await
    }

    /// Returns a page of agents, by group and then by id.
    pub async fn agents(
        &mut self,
        filter: &AgentFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<AgentPage, ApiError> {
        let state = filter.connected.map(|connected| if connected { "connected" } else { "away" });
        let path = Path::page("/v1/agents", after, limit);
        let path = path.with("group", filter.group.as_ref()).with("state", state);
        self.get(path.with("transport", filter.transport)).await
    }

    /// Tells whether an endpoint can be switched on now, how, and if not why.
    pub async fn power(&mut self, agent: &AgentId) -> Result<PowerView, ApiError> {
        self.get(Path::new(&format!("/v1/agents/{agent}/power"))).await
    }

    /// Sends magic packets for a machine without an agent.
    pub async fn wol(&mut self, request: &WolRequest) -> Result<WolAnswer, ApiError> {
        self.ask(Method::POST, Path::new("/v1/wol"), Some(request)).await
    }

    /// Returns one agent.
    pub async fn agent(&mut self, agent: &AgentId) -> Result<AgentView, ApiError> {
        self.get(Path::new(&format!("/v1/agents/{agent}"))).await
    }

    /// Takes an agent into another group. What it leaves, live commands for groups that it is no longer in, ends
    /// `cancelled` for it.
    pub async fn move_agent(&mut self, agent: &AgentId, group: GroupPath) -> Result<(), ApiError> {
        let path = Path::new(&format!("/v1/agents/{agent}/move"));
        self.tell(Method::POST, path, Some(&MoveRequest { group })).await
    }

    /// Removes an agent and its secret; its connection ends, and so do its pending commands, as `cancelled`.
    pub async fn revoke_agent(&mut self, agent: &AgentId) -> Result<(), ApiError> {
        self.tell(Method::DELETE, Path::new(&format!("/v1/agents/{agent}")), None::<&()>).await
    }

    /// Returns a page of groups, in order of their paths.
    pub async fn groups(&mut self, after: Option<&GroupPath>, limit: u32) -> Result<GroupPage, ApiError> {
        self.get(Path::page("/v1/groups", after, limit)).await
    }

    /// Creates a group, with those above it.
    pub async fn create_group(&mut self, group: GroupPath) -> Result<(), ApiError> {
        self.tell(Method::POST, Path::new("/v1/groups"), Some(&GroupRequest { group })).await
    }

    /// Gives a group, and what lies below it, another path; refused while it is in use.
    pub async fn rename_group(&mut self, group: GroupPath, to: GroupPath) -> Result<(), ApiError> {
        self.tell(Method::POST, Path::new("/v1/groups/rename"), Some(&GroupRename { group, to })).await
    }

    /// Removes a group and what lies below it; refused while it is in use.
    pub async fn remove_group(&mut self, group: GroupPath) -> Result<(), ApiError> {
        self.tell(Method::POST, Path::new("/v1/groups/remove"), Some(&GroupRequest { group })).await
    }

    /// Makes an enrolment token, which is shown this once.
    pub async fn create_token(&mut self, request: &TokenRequest) -> Result<TokenAnswer, ApiError> {
        self.ask(Method::POST, Path::new("/v1/tokens"), Some(request)).await
    }

    /// Returns a page of enrolment tokens, without what opens anything.
    pub async fn tokens(&mut self, after: Option<&str>, limit: u32) -> Result<TokenPage, ApiError> {
        self.get(Path::page("/v1/tokens", after, limit)).await
    }

    /// Removes an enrolment token by its id; agents that used it stay.
    pub async fn revoke_token(&mut self, id: &str) -> Result<(), ApiError> {
        self.tell(Method::DELETE, Path::new("/v1/tokens").below(id), None::<&()>).await
    }

    /// Creates an operator, whose secret is shown this once.
    pub async fn create_operator(&mut self, request: &OperatorRequest) -> Result<OperatorAnswer, ApiError> {
        self.ask(Method::POST, Path::new("/v1/operators"), Some(request)).await
    }

    /// Returns a page of operators, in order of their names.
    pub async fn operators(
        &mut self,
        after: Option<&OperatorName>,
        limit: u32,
    ) -> Result<OperatorPage, ApiError> {
        self.get(Path::page("/v1/operators", after, limit)).await
    }

    /// Changes what an operator may do, at once; its secret stays.
    pub async fn change_operator(
        &mut self,
        operator: &OperatorName,
        change: &OperatorChange,
    ) -> Result<(), ApiError> {
        self.tell(Method::PATCH, Path::new(&format!("/v1/operators/{operator}")), Some(change)).await
    }

    /// Removes an operator and its secret; its connections end, its commands stay.
    pub async fn revoke_operator(&mut self, operator: &OperatorName) -> Result<(), ApiError> {
        self.tell(Method::DELETE, Path::new(&format!("/v1/operators/{operator}")), None::<&()>).await
    }

    /// Returns a page of the audit trail, oldest first: what is not before `since`, from behind `after`.
    pub async fn audit(
        &mut self,
        since: Option<Timestamp>,
        after: Option<u64>,
        limit: u32,
    ) -> Result<AuditPage, ApiError> {
        self.get(Path::page("/v1/audit", after, limit).with("since", since)).await
    }

    /// Creates agents, at most [`IMPORT_LINES_MAX`] at once; the results stream back in the same order.
    ///
    /// An import is not the same when repeated: the secrets of agents that exist already are not told again.
    pub async fn import(&mut self, lines: &[ImportLine]) -> Result<Import<'_>, ApiError> {
        let mut body = Vec::new();
        for line in lines {
            body.extend_from_slice(&to_json(line));
            body.push(b'\n');
        }
        let upload = Upload::reader(JSON_LINES, Cursor::new(body));
        let mut answer = self.client.stream(Method::POST, "/v1/agents/import", Some(upload)).await?;
        if !answer.status().is_success() {
            let mut body = BytesMut::new();
            while let Some(piece) = answer.chunk().await? {
                if body.len() + piece.len() > LINE_MAX {
                    return Err(ApiError::Status(answer.status().as_u16()));
                }
                body.extend_from_slice(&piece);
            }
            return Err(refusal(answer.status(), &body));
        }
        Ok(Import::new(answer, lines.len()))
    }

    async fn get<T: DeserializeOwned>(&mut self, path: Path) -> Result<T, ApiError> {
        self.ask(Method::GET, path, None::<&()>).await
    }

    /// Asks for something, and reads the answer.
    async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: Path,
        body: Option<&impl Serialize>,
    ) -> Result<T, ApiError> {
        Ok(serde_json::from_slice(&self.send(method, path, body).await?)?)
    }

    /// Asks for something to be done, whose answer says no more than that it was.
    async fn tell(
        &mut self,
        method: Method,
        path: Path,
        body: Option<&impl Serialize>,
    ) -> Result<(), ApiError> {
        self.send(method, path, body).await.map(drop)
    }

    async fn send(
        &mut self,
        method: Method,
        path: Path,
        body: Option<&impl Serialize>,
    ) -> Result<bytes::Bytes, ApiError> {
        let upload = body.map(|body| Upload::json(to_json(body)));
        let (status, body) = self.client.request(method, &path.to_string(), upload).await?;
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }
}

/// Makes an error of an answer that is no success; not everything between here and the broker speaks problems.
fn refusal(status: StatusCode, body: &[u8]) -> ApiError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => ApiError::Problem(problem),
        Err(_) => ApiError::Status(status.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_brokers_words_if_it_has_any() {
        let problem =
            br#"{"type":"urn:wakemq:problem:forbidden","title":"Not allowed","status":403,"detail":"ask"}"#;
        let error = refusal(StatusCode::FORBIDDEN, problem);
        assert!(error.is_not_allowed());
        assert_eq!(error.to_string(), "ask");
        let error = refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(error.to_string(), "the broker answered with HTTP status 502");
        assert!(refusal(StatusCode::SERVICE_UNAVAILABLE, b"").is_unreachable());
        assert!(refusal(StatusCode::NOT_FOUND, b"").is_not_found());
    }
}
