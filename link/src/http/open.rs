//! A connection that speaks HTTP/1.1.

use std::pin::{Pin, pin};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use wakemq_protocol::Secret;

use super::{HttpError, Method, StatusCode, Upload};
use crate::{Dialer, Rung, TlsStream};

pub(super) type RequestBody = UnsyncBoxBody<Bytes, std::io::Error>;
type Moving = Pin<Box<Connection<TokioIo<TlsStream>, RequestBody>>>;

/// An answer that was read as a whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A connection; it moves only while a request or a response is awaited.
pub(crate) struct Open {
    sender: SendRequest<RequestBody>,
    /// `None` once it has ended.
    connection: Option<Moving>,
    host: String,
}

impl Open {
    pub(super) async fn dial(dialer: &Dialer) -> Result<Self, HttpError> {
        let dialed = dialer.dial().await?;
        Ok(Self::over(dialed.stream, &dialed.rung).await?)
    }

    /// Begins to speak HTTP on a stream.
    pub(crate) async fn over(stream: TlsStream, rung: &Rung) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: Some(Box::pin(connection)), host: rung.to_string() })
    }

    /// Makes a request.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&'static str>,
        bearer: Option<&Secret>,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(USER_AGENT, concat!("wakemq/", env!("CARGO_PKG_VERSION")));
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(bearer) = bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {}", bearer.expose()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(body)
    }

    /// Sends a request and reads the whole answer, of at most `max` bytes.
    pub(crate) async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        upload: Option<Upload>,
        bearer: Option<&Secret>,
        max: usize,
    ) -> Result<Answer, HttpError> {
        let (content_type, body) = Upload::parts(upload);
        let mut response = self.send(self.request(method, path, content_type, bearer, body)?).await?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        while let Some(frame) = self.next_frame(response.body_mut()).await {
            if let Ok(data) = frame?.into_data() {
                if body.len() + data.len() > max {
                    return Err(HttpError::TooLarge(max));
                }
                body.extend_from_slice(&data);
            }
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }

    /// Awaits a body's next frame while the connection moves.
    pub(super) async fn next_frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        tokio::select! {
            biased;
            frame = body.frame() => return frame,
            // What it had read is still in the body.
            _ = drive(&mut self.connection) => {}
        }
        body.frame().await
    }

    /// Returns a kept connection if it still takes requests, after it could notice what happened meanwhile.
    pub(crate) async fn reuse(kept: Option<Self>) -> Option<Self> {
        let mut open = kept?;
        let usable = tokio::select! {
            biased;
            _ = drive(&mut open.connection) => false,
            ready = open.sender.ready() => ready.is_ok(),
            () = std::future::ready(()) => false,
        };
        usable.then_some(open)
    }

    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, HttpError> {
        let mut response = pin!(self.sender.send_request(request));
        tokio::select! {
            biased;
            response = &mut response => Ok(response?),
            // A connection that ends well may still have delivered the response.
            result = drive(&mut self.connection) => match (result, timeout_at(Instant::now(), response).await) {
                (_, Ok(Ok(response))) => Ok(response),
                (Err(error), _) | (_, Ok(Err(error))) => Err(error.into()),
                (Ok(()), Err(_)) => Err(HttpError::Closed),
            },
        }
    }
}

/// Moves a connection until it ends; one that has ended stays so.
pub(super) async fn drive(connection: &mut Option<Moving>) -> Result<(), hyper::Error> {
    match connection {
        Some(moving) => {
            let result = moving.await;
            *connection = None;
            result
        }
        None => std::future::pending().await,
    }
}
