//! What is asked over HTTP: commands by id, agents, enrolment tokens.

use std::io::Cursor;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use wakemq_link::Alpn;
use wakemq_link::http::{HttpClient, JSON_LINES, Method, StatusCode, Streamed, Upload};
use wakemq_protocol::http::{
    AgentPage, AgentView, CommandView, ImportLine, ImportResult, Problem, Profile, TokenAnswer, TokenRequest,
};
use wakemq_protocol::{AgentId, CommandId};

use crate::profile::dialer;
use crate::{ApiError, SetupError};

/// Most lines that [`Management::import`] should be given at once: enough to share flushes, and few enough that
/// a lost connection leaves little in doubt.
pub const IMPORT_LINES_MAX: usize = 5_000;

/// Longest line of an import's answer, and longest problem document, in bytes.
const LINE_MAX: usize = 64 * 1024;

/// A client of the management interface, as the profile's operator.
///
/// It connects when it is first asked and keeps the connection between requests.
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

    /// Returns a command and what became of it.
    pub async fn command(&mut self, id: CommandId) -> Result<CommandView, ApiError> {
        self.json(Method::GET, &format!("/v1/commands/{id}"), None).await
    }

    /// Takes a command back, and returns it. One that is on its way ends `cancelled` only if its connection ends
    /// before the acknowledgement.
    pub async fn cancel(&mut self, id: CommandId) -> Result<CommandView, ApiError> {
        self.json(Method::POST, &format!("/v1/commands/{id}/cancel"), None).await
    }

    /// Returns at most `limit` agents in order of their ids, from behind `after`.
    pub async fn agents(&mut self, after: Option<&str>, limit: u32) -> Result<AgentPage, ApiError> {
        let path = match after {
            Some(after) => format!("/v1/agents?after={after}&limit={limit}"),
            None => format!("/v1/agents?limit={limit}"),
        };
        self.json(Method::GET, &path, None).await
    }

    /// Returns one agent.
    pub async fn agent(&mut self, agent: &AgentId) -> Result<AgentView, ApiError> {
        self.json(Method::GET, &format!("/v1/agents/{agent}"), None).await
    }

    /// Makes an enrolment token, which is shown this once.
    pub async fn create_token(&mut self, request: &TokenRequest) -> Result<TokenAnswer, ApiError> {
        let body = serde_json::to_vec(request)?;
        self.json(Method::POST, "/v1/tokens", Some(Upload::json(body))).await
    }

    /// Creates agents, at most [`IMPORT_LINES_MAX`] at once; the results stream back in the same order.
    ///
    /// An import is not the same when repeated: the secrets of agents that exist already are not told again.
    pub async fn import(&mut self, lines: &[ImportLine]) -> Result<Import<'_>, ApiError> {
        let mut body = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut body, line)?;
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
        Ok(Import { answer, lines: Lines::default(), missing: lines.len() })
    }

    async fn json<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        upload: Option<Upload>,
    ) -> Result<T, ApiError> {
        let (status, body) = self.client.request(method, path, upload).await?;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

/// Makes an error of an answer that is no success; not everything between here and the broker speaks problems.
fn refusal(status: StatusCode, body: &[u8]) -> ApiError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => ApiError::Problem(problem),
        Err(_) => ApiError::Status(status.as_u16()),
    }
}

/// The answer to an import, as it comes.
#[derive(Debug)]
pub struct Import<'a> {
    answer: Streamed<'a>,
    lines: Lines,
    missing: usize,
}

impl Import<'_> {
    /// Returns the next result; `None` after as many as there were lines. Line numbers begin with 1 at each
    /// import.
    ///
    /// # Errors
    /// After an error it is unknown which of the agents without a result exist.
    pub async fn next(&mut self) -> Result<Option<ImportResult>, ApiError> {
        loop {
            if let Some(line) = self.lines.take()? {
                self.missing =
                    self.missing.checked_sub(1).ok_or(ApiError::Incomplete("more results than lines"))?;
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            match self.answer.chunk().await? {
                Some(piece) => self.lines.feed(&piece),
                None if self.missing == 0 && self.lines.is_empty() => return Ok(None),
                None => return Err(ApiError::Incomplete("fewer results than lines")),
            }
        }
    }
}

/// Splits what comes in pieces into lines.
#[derive(Debug, Default)]
struct Lines {
    buffer: BytesMut,
    /// How much of the buffer has no end of line.
    searched: usize,
}

impl Lines {
    fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes the next whole line, without its end; empty ones are skipped.
    fn take(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
            let Some(at) = found else {
                self.searched = self.buffer.len();
                if self.searched > LINE_MAX {
                    return Err(ApiError::Incomplete("a line without an end"));
                }
                return Ok(None);
            };
            let line = self.buffer.split_to(self.searched + at + 1).freeze();
            self.searched = 0;
            let line = line.slice(..line.len() - 1);
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_they_are_cut() {
        let text = b"one\n\ntwo\r\n \nthree\n";
        for size in 1..text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.chunks(size) {
                lines.feed(piece);
                while let Some(line) = lines.take().unwrap() {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            assert_eq!(found, ["one", "two\r", "three"], "{size}");
            assert!(lines.is_empty());
        }
    }

    #[test]
    fn a_line_without_end_is_an_error_and_not_endless_memory() {
        let mut lines = Lines::default();
        lines.feed(&[b'x'; LINE_MAX]);
        assert!(lines.take().unwrap().is_none());
        lines.feed(b"x");
        assert!(lines.take().is_err());
    }

    #[test]
    fn a_refusal_is_told_in_the_brokers_words_if_it_has_any() {
        let problem =
            br#"{"type":"urn:wakemq:problem:forbidden","title":"Not allowed","status":403,"detail":"ask"}"#;
        let error = refusal(StatusCode::FORBIDDEN, problem);
        assert!(error.is_not_allowed());
        assert_eq!(error.to_string(), "Not allowed: ask");
        let error = refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(error.to_string(), "the broker answered with HTTP status 502");
        assert!(refusal(StatusCode::SERVICE_UNAVAILABLE, b"").is_unreachable());
        assert!(refusal(StatusCode::NOT_FOUND, b"").is_not_found());
    }
}
