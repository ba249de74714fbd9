//! One request over a kept connection, or over one that is dialled for it.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;
use wakemq_protocol::Secret;

use crate::http::{Answer, HttpError, Method, Open, StatusCode, Upload};
use crate::ladder::Way;
use crate::mqtt::SessionError;
use crate::{Alpn, WayDialer, WayError};

/// Largest answer: a page of commands.
const ANSWER_MAX: usize = 2 * 1024 * 1024;
/// A kept connection that fails so soon was closed by the broker before the request came; then it is sent again.
const STALE: Duration = Duration::from_secs(2);

/// Who asks, and by which way.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) dialer: WayDialer,
    pub(super) way: Way,
    pub(super) secret: Secret,
}

/// A request that is on its way: its answer, and the connection if it can be used again.
pub(super) type Asking = Pin<Box<dyn Future<Output = (Result<Answer, AskError>, Option<Open>)> + Send>>;

/// Says why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Way(#[from] WayError),
    #[error(transparent)]
    Http(#[from] HttpError),
}

impl From<AskError> for SessionError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Http(HttpError::Closed) => Self::Closed,
            AskError::Way(_) | AskError::Http(_) => Self::Io(std::io::Error::other(error)),
        }
    }
}

impl Asker {
    /// Posts a document, over `kept` if that still can be used.
    pub(super) fn post(&self, kept: Option<Open>, path: &'static str, document: Vec<u8>) -> Asking {
        let asker = self.clone();
        Box::pin(async move {
            let began = Instant::now();
            if let Some(mut open) = Open::reuse(kept).await {
                match asker.exchange(&mut open, path, document.clone()).await {
                    Ok(answer) => return (Ok(answer), Some(open)),
                    Err(error) if began.elapsed() > STALE => return (Err(error.into()), None),
                    Err(error) => tracing::debug!(%error, "a kept connection was closed; dialling anew"),
                }
            }
            let mut open = match asker.dial().await {
                Ok(open) => open,
                Err(error) => return (Err(error), None),
            };
            match asker.exchange(&mut open, path, document).await {
                Ok(answer) => (Ok(answer), Some(open)),
                Err(error) => (Err(error.into()), None),
            }
        })
    }

    async fn dial(&self) -> Result<Open, AskError> {
        let secured = self.dialer.secure(&self.way.rung, self.way.proxied, Alpn::Http1).await?;
        Ok(Open::over(secured.stream, &self.way.rung).await.map_err(HttpError::from)?)
    }

    async fn exchange(&self, open: &mut Open, path: &str, document: Vec<u8>) -> Result<Answer, HttpError> {
        let upload = Some(Upload::json(document));
        open.exchange(Method::POST, path, upload, Some(&self.secret), ANSWER_MAX).await
    }
}

/// Tells whether somebody between has ended a poll that waited, with its connection or by a proxy's answer.
pub(super) fn is_cut(answer: &Result<Answer, AskError>) -> bool {
    match answer {
        Ok(answer) => matches!(answer.status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT),
        Err(AskError::Http(HttpError::Closed | HttpError::Http(_))) => true,
        Err(
            AskError::Way(_)
            | AskError::Http(
                HttpError::Dial(_) | HttpError::Request(_) | HttpError::TimedOut(_) | HttpError::TooLarge(_),
            ),
        ) => false,
    }
}
