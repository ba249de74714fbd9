//! Answers that come later than everything else that a request needs is done with.

use std::pin::Pin;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use super::no_store;

type Waiting = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Stands for an answer until somebody waits for it: outside of the router, whose futures are gone then.
#[derive(Clone)]
pub(super) struct Later(Arc<Mutex<Option<Waiting>>>);

impl Later {
    /// Makes one of a future that gives the answer; dropped, nothing of it happens.
    pub(super) fn new(answer: impl Future<Output = Response> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(answer)))))
    }

    /// Waits for the answer if a response only stands for it.
    pub(super) async fn wait(mut response: Response) -> Response {
        let Some(Self(waiting)) = response.extensions_mut().remove() else { return response };
        drop(response);
        let taken = waiting.lock().take();
        drop(waiting);
        match taken {
            Some(answer) => no_store(answer.await).await,
            // There is one response that has it, and it was taken out of that.
            None => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

impl IntoResponse for Later {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}
