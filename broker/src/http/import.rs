//! `POST /v1/agents/import`: JSON lines in, JSON lines out.
//!
//! Agents are created a batch at a time, each batch in one flush, and each answer leaves as soon as its batch is
//! durable. Reading never waits for the client to read: many clients send everything before they read anything,
//! and both sides would wait for ever. What is not yet read is bounded by [`LINES_MAX`] instead, and only one
//! import runs at a time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use wakemq_protocol::http::{ImportLine, ImportResult};

use super::Shared;
use super::extract::{Asking, check_content};
use super::problem::{Kind, Refusal};
use crate::engine::{Caller, Engine};

/// Content types of JSON lines; the first is what the answer has.
const JSON_LINES: [&str; 2] = ["application/jsonl", "application/x-ndjson"];
/// Largest body of an import, in bytes.
const IMPORT_MAX: usize = 128 * 1024 * 1024;
/// Most lines of an import.
const LINES_MAX: u64 = 1_000_000;
/// Longest line, in bytes; ids and groups fit in well below half of it.
const LINE_MAX: usize = 4096;
/// Lines that are created in one flush.
const BATCH: usize = 1000;
/// Most batches: the queue of answers holds all of them, so that it is never waited for.
const BATCHES_MAX: usize = (LINES_MAX as usize).div_ceil(BATCH) + 1;
/// How long the client may pause.
const PAUSE_LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn import(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    request: Request,
) -> Result<Response, Refusal> {
    shared.engine.may_import(&caller)?;
    check_content(request.headers(), &JSON_LINES, IMPORT_MAX)?;
    let permit =
        shared.imports.clone().try_acquire_owned().map_err(|_| {
            Refusal::new(Kind::Busy, "one import runs at a time; try again when it has ended")
        })?;
    let (answers, receiver) = mpsc::channel(BATCHES_MAX);
    let run = Run { engine: shared.engine, caller, answers, input: Lines::default(), _permit: permit };
    let task = tokio::spawn(run.run(request.into_body()));
    let mut response = Response::new(Body::new(Answers { receiver, _task: AbortOnDrop(task) }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON_LINES[0]));
    Ok(response)
}

/// The answer's body. Dropping it, when the client is gone, ends the import.
struct Answers {
    receiver: mpsc::Receiver<Bytes>,
    _task: AbortOnDrop,
}

impl hyper::body::Body for Answers {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.receiver.poll_recv(cx).map(|answer| answer.map(|bytes| Ok(Frame::data(bytes))))
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One import.
struct Run {
    engine: Arc<Engine>,
    caller: Caller,
    /// Before `answers`, because fields are dropped in order: who sees the end of an answer may import again.
    _permit: OwnedSemaphorePermit,
    answers: mpsc::Sender<Bytes>,
    input: Lines,
}

impl Run {
    async fn run(mut self, mut body: Body) {
        let broken = loop {
            match tokio::time::timeout(PAUSE_LIMIT, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if let Err(why) = self.input.feed(&data) {
                        break Some(why);
                    }
                }
                Ok(None) => {
                    self.input.end();
                    break None;
                }
                Ok(Some(Err(_))) => break Some("the body broke off".to_owned()),
                Err(_) => break Some(format!("nothing came for {} s", PAUSE_LIMIT.as_secs())),
            }
            while self.input.ready.len() >= BATCH {
                self.batch().await;
            }
        };
        while !self.input.ready.is_empty() {
            self.batch().await;
        }
        if let Some(why) = broken {
            let line = self.input.number + 1;
            self.answer(&[ImportResult::Failed {
                line,
                error: format!("{why}; from here on nothing was done"),
            }])
            .await;
        }
    }

    /// Carries out the next batch. A store that fails does not end the import: it may work for the next batch.
    async fn batch(&mut self) {
        let count = self.input.ready.len().min(BATCH);
        let mut good = Vec::with_capacity(count);
        let mut order = Vec::with_capacity(count);
        for (line, parsed) in self.input.ready.drain(..count) {
            match parsed {
                Ok(import) => {
                    good.push((line, import));
                    order.push((line, None));
                }
                Err(error) => order.push((line, Some(ImportResult::Failed { line, error }))),
            }
        }
        let mut done = match self.engine.import(&self.caller, good).await {
            Ok(results) => Ok(results.into_iter()),
            Err(error) => {
                tracing::error!(%error, "a batch of an import could not be carried out");
                Err("the broker cannot do this now; import the line again".to_owned())
            }
        };
        let results: Vec<_> = order
            .into_iter()
            .filter_map(|(line, refused)| match (refused, &mut done) {
                (Some(refused), _) => Some(refused),
                (None, Ok(results)) => results.next(),
                (None, Err(error)) => Some(ImportResult::Failed { line, error: error.clone() }),
            })
            .collect();
        self.answer(&results).await;
    }

    async fn answer(&self, results: &[ImportResult]) {
        let mut text = Vec::with_capacity(results.len() * 96);
        for result in results {
            if let Err(error) = serde_json::to_writer(&mut text, result) {
                tracing::error!(%error, "a line of an import cannot be answered");
            }
            text.push(b'\n');
        }
        // An error means that the client is gone; this task is then about to be aborted.
        self.answers.send(text.into()).await.ok();
    }
}

/// Cuts a body into lines and parses them.
#[derive(Default)]
struct Lines {
    /// What came of a line that has not ended.
    open: BytesMut,
    /// The open line is too long: the rest of it is skipped.
    skipping: bool,
    /// How many lines have ended.
    number: u64,
    /// How many bytes came.
    bytes: usize,
    /// What is to be done, in order.
    ready: VecDeque<(u64, Result<ImportLine, String>)>,
}

impl Lines {
    /// Takes a piece of the body; an error ends the import.
    fn feed(&mut self, mut data: &[u8]) -> Result<(), String> {
        self.bytes += data.len();
        if self.bytes > IMPORT_MAX {
            return Err(format!("the body is larger than {IMPORT_MAX} bytes"));
        }
        while let Some(end) = data.iter().position(|&byte| byte == b'\n') {
            if self.number == LINES_MAX {
                return Err(format!("there are more than {LINES_MAX} lines"));
            }
            self.take(&data[..end]);
            self.end_line();
            data = &data[end + 1..];
        }
        self.take(data);
        Ok(())
    }

    /// Takes the end of the body; the last line need not end in a line feed.
    fn end(&mut self) {
        if !self.open.is_empty() || self.skipping {
            self.end_line();
        }
    }

    fn take(&mut self, part: &[u8]) {
        if self.skipping || self.open.len() + part.len() > LINE_MAX {
            self.skipping = true;
            self.open.clear();
        } else {
            self.open.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) {
        self.number += 1;
        let text = self.open.split();
        let parsed = if std::mem::take(&mut self.skipping) {
            Err(format!("the line is longer than {LINE_MAX} bytes"))
        } else if text.trim_ascii().is_empty() {
            return;
        } else {
            serde_json::from_slice(&text).map_err(|error| {
                // The reader counts lines for itself; the one that counts is told beside it.
                let (text, column) = (error.to_string(), error.column());
                let why = text.split(" at line ").next().unwrap_or_default();
                format!("{why} at column {column}")
            })
        };
        self.ready.push_back((self.number, parsed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str]) -> Vec<(u64, Result<String, String>)> {
        let mut lines = Lines::default();
        for piece in pieces {
            lines.feed(piece.as_bytes()).unwrap();
        }
        lines.end();
        lines.ready.into_iter().map(|(n, line)| (n, line.map(|line| line.agent.to_string()))).collect()
    }

    #[test]
    fn lines_may_be_cut_anywhere() {
        let text = "{\"agent\":\"a\",\"group\":\"g\"}\r\n\n{\"agent\":\"b\",\"group\":\"\"}";
        let expected = vec![(1, Ok("a".into())), (3, Ok("b".into()))];
        for cut in 0..text.len() {
            assert_eq!(lines(&[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_bad_or_endless_line_is_told_and_the_next_one_counts() {
        let long = "x".repeat(LINE_MAX + 1);
        let found = lines(&[&long, &long, "\nnot json\n{\"agent\":\"a\",\"group\":\"g\"}\n"]);
        assert_eq!(found.len(), 3);
        assert!(found[0].1.as_ref().unwrap_err().contains("longer than"));
        assert!(found[1].1.is_err());
        assert_eq!(found[2], (3, Ok("a".into())));
    }

    #[test]
    fn more_lines_than_allowed_end_the_import() {
        let mut lines = Lines::default();
        let blank = "\n".repeat(LINES_MAX as usize);
        lines.feed(blank.as_bytes()).unwrap();
        assert!(lines.feed(b"\n").unwrap_err().contains("more than"));
    }
}
