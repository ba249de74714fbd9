//! HTTP/1.1 over the same dialer, for enrolment and management.

mod open;

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};
use wakemq_protocol::Secret;

use crate::{DialError, Dialer};

use open::RequestBody;
pub(crate) use open::{Answer, Open};

pub use hyper::{Method, StatusCode};

/// Content type of JSON.
pub const JSON: &str = "application/json";
/// Content type of JSON lines.
pub const JSON_LINES: &str = "application/jsonl";

/// Largest response that is read as a whole, unless said otherwise.
const RESPONSE_MAX: usize = 4 * 1024 * 1024;
/// Time limit of one request, unless said otherwise.
const LIMIT: Duration = Duration::from_secs(30);
/// Piece by which a reader is sent.
const CHUNK: usize = 16 * 1024;

/// Says why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection failed, or what came is no HTTP.
    #[error("the request failed: {0}")]
    Http(#[from] hyper::Error),
    /// The request cannot be put into words: a path or a header is malformed.
    #[error("not a valid request: {0}")]
    Request(#[from] hyper::http::Error),
    /// The broker closed the connection before it answered.
    #[error("the broker closed the connection before it answered")]
    Closed,
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The response is larger than allowed.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
}

/// A body to send.
pub struct Upload {
    content_type: &'static str,
    body: RequestBody,
}

impl Upload {
    /// Sends a JSON document.
    pub fn json(document: impl Into<Bytes>) -> Self {
        Self {
            content_type: JSON,
            body: Full::new(document.into()).map_err(|never| match never {}).boxed_unsync(),
        }
    }

    /// Returns what goes into a request.
    fn parts(upload: Option<Self>) -> (Option<&'static str>, RequestBody) {
        match upload {
            Some(upload) => (Some(upload.content_type), upload.body),
            None => (None, Full::default().map_err(|never| match never {}).boxed_unsync()),
        }
    }

    /// Sends what a reader gives, piece by piece, as it is taken.
    pub fn reader(content_type: &'static str, reader: impl AsyncRead + Send + 'static) -> Self {
        Self {
            content_type,
            body: ReaderBody { reader: Box::pin(reader), chunk: BytesMut::new() }.boxed_unsync(),
        }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// A reader as a body.
struct ReaderBody {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    chunk: BytesMut,
}

impl Body for ReaderBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        this.chunk.reserve(CHUNK);
        let read = pin!(this.reader.read_buf(&mut this.chunk)).poll(cx);
        read.map(|result| match result {
            Ok(0) => None,
            Ok(_) => Some(Ok(Frame::data(this.chunk.split().freeze()))),
            Err(error) => Some(Err(error)),
        })
    }
}

/// Sends requests to a broker, one at a time; the connection is kept between them.
pub struct HttpClient {
    dialer: Dialer,
    bearer: Option<Secret>,
    limit: Duration,
    response_max: usize,
    open: Option<Open>,
}

impl HttpClient {
    /// Makes a client; the dialer is to ask for [`Alpn::Http1`](crate::Alpn::Http1).
    pub fn new(dialer: Dialer, bearer: Option<Secret>) -> Self {
        Self { dialer, bearer, limit: LIMIT, response_max: RESPONSE_MAX, open: None }
    }

    /// Sets the time limit: of the whole of a [`request`](Self::request); with
    /// [`stream`](Self::stream) of the wait for the response, then for each piece of it.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the largest response that [`request`](Self::request) reads, in bytes.
    #[must_use]
    pub fn with_response_max(mut self, bytes: usize) -> Self {
        self.response_max = bytes;
        self
    }

    /// Sends a request and reads the whole response.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        upload: Option<Upload>,
    ) -> Result<(StatusCode, Bytes), HttpError> {
        let (deadline, max) = (Instant::now() + self.limit, self.response_max);
        let mut response = self.send(method, path, upload, deadline).await?;
        let status = response.status();
        let body = response.collect(max, deadline).await?;
        Ok((status, body))
    }

    /// Sends a request and returns the response as it comes, even while the request is still being sent.
    pub async fn stream(
        &mut self,
        method: Method,
        path: &str,
        upload: Option<Upload>,
    ) -> Result<Streamed<'_>, HttpError> {
        let deadline = Instant::now() + self.limit;
        self.send(method, path, upload, deadline).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        upload: Option<Upload>,
        deadline: Instant,
    ) -> Result<Streamed<'_>, HttpError> {
        let limit = self.limit;
        let response = timeout_at(deadline, async {
            let mut open = match Open::reuse(self.open.take()).await {
                Some(open) => open,
                None => Open::dial(&self.dialer).await?,
            };
            let (content_type, body) = Upload::parts(upload);
            let request = open.request(method, path, content_type, self.bearer.as_ref(), body)?;
            let response = open.send(request).await?;
            self.open = Some(open);
            Ok::<_, HttpError>(response)
        })
        .await
        .map_err(|_| HttpError::TimedOut(limit))??;
        Ok(Streamed { client: self, response, whole: false })
    }
}

/// A response whose body is read piece by piece.
#[derive(Debug)]
pub struct Streamed<'a> {
    client: &'a mut HttpClient,
    response: hyper::Response<Incoming>,
    whole: bool,
}

impl Streamed<'_> {
    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the next piece; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let deadline = Instant::now() + self.client.limit;
        self.chunk_until(deadline).await
    }

    async fn chunk_until(&mut self, deadline: Instant) -> Result<Option<Bytes>, HttpError> {
        let limit = self.client.limit;
        loop {
            let next =
                timeout_at(deadline, self.next_frame()).await.map_err(|_| HttpError::TimedOut(limit))?;
            match next {
                None => {
                    self.whole = true;
                    return Ok(None);
                }
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Awaits the body's next frame while the connection moves.
    async fn next_frame(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        match &mut self.client.open {
            Some(open) => open.next_frame(self.response.body_mut()).await,
            None => self.response.body_mut().frame().await,
        }
    }

    async fn collect(&mut self, max: usize, deadline: Instant) -> Result<Bytes, HttpError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk_until(deadline).await? {
            if body.len() + chunk.len() > max {
                return Err(HttpError::TooLarge(max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

impl Drop for Streamed<'_> {
    fn drop(&mut self) {
        // The next request could not be told from the rest of this response.
        if !self.whole {
            self.client.open = None;
        }
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("open", &self.open.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
