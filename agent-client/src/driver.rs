//! The agent's one task: it connects, serves the connection, and waits before it connects again.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wakemq_link::mqtt::{ConnectError, ConnectOptions, Connected, Event, ReasonCode, Session, SessionError};
use wakemq_link::{Backoff, DialError, Dialer, ProxyUrl};
use wakemq_protocol::{AgentId, Command, Receipt, Topic};

use crate::inbox::{Flushed, Inbox};
use crate::journal::Journal;
use crate::outbox::Outbox;
use crate::{Connection, Problem, Status, facts};

/// Time limit of the answer to SUBSCRIBE.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(20);
/// How long a shutdown waits for the last receipts to be acknowledged.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

pub(crate) struct Driver {
    pub(crate) id: AgentId,
    pub(crate) instance: String,
    pub(crate) dialer: Dialer,
    pub(crate) connect: ConnectOptions,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) backoff: Backoff,
    pub(crate) inputs: Inputs,
}

/// What the agent's owner tells the task.
pub(crate) struct Inputs {
    pub(crate) results: mpsc::Receiver<Receipt>,
    pub(crate) progress: mpsc::Receiver<Receipt>,
    pub(crate) shutdown: oneshot::Receiver<()>,
}

enum Input {
    Result(Receipt),
    Progress(Receipt),
    /// It is time to try again what failed.
    Retry,
    Shutdown,
}

impl Inputs {
    /// Waits for the next input; may be dropped and called again, but not after `Shutdown`.
    async fn next(&mut self, retry_at: Option<Instant>) -> Input {
        let retry = async {
            match retry_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(receipt) = self.results.recv() => Input::Result(receipt),
            Some(receipt) = self.progress.recv() => Input::Progress(receipt),
            _ = &mut self.shutdown => Input::Shutdown,
            () = retry => Input::Retry,
        }
    }
}

/// Over which way the broker was reached.
struct Way {
    address: SocketAddr,
    proxy: Option<ProxyUrl>,
}

/// How a connection, or the attempt to get one, ended.
#[derive(Debug)]
enum End {
    Shutdown,
    Retry(Problem, Duration),
}

enum AttemptError {
    Dial(DialError),
    Connect(ConnectError),
}

impl Driver {
    pub(crate) async fn run(
        mut self,
        journal: Journal,
        commands: mpsc::Sender<Command>,
        journalled: watch::Sender<u64>,
    ) {
        let mut inbox = Inbox::start(journal, commands, journalled).await;
        self.tell_journal_error(&inbox);
        loop {
            match self.attempt(&mut inbox).await {
                End::Shutdown => break,
                End::Retry(problem, retry_in) => {
                    tracing::warn!(%problem, retry_in_secs = retry_in.as_secs_f32(), "not connected");
                    inbox.disconnected();
                    self.set(Connection::Waiting { problem, retry_in });
                    if self.meanwhile(&mut inbox, sleep(retry_in)).await.is_none() {
                        break;
                    }
                }
            }
        }
        self.take_results(&mut inbox).await;
        self.set(Connection::Closed);
        tracing::debug!(agent = %self.id, "agent ended");
    }

    fn set(&self, connection: Connection) {
        self.status.send_modify(|status| status.connection = connection);
    }

    fn tell_journal_error(&self, inbox: &Inbox) {
        let error = inbox.error();
        self.status.send_if_modified(|status| {
            let changed = status.journal_error != error;
            status.journal_error = error;
            changed
        });
    }

    /// Awaits `future` while results are journalled; `None` at a shutdown.
    async fn meanwhile<F: Future>(&mut self, inbox: &mut Inbox, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            let input = tokio::select! {
                biased;
                input = self.inputs.next(inbox.retry_at()) => input,
                output = &mut future => return Some(output),
            };
            match input {
                Input::Shutdown => return None,
                // Without a connection there is nobody to tell.
                Input::Progress(_) => {}
                Input::Result(receipt) => {
                    inbox.ended(receipt);
                    self.flush(inbox).await;
                }
                Input::Retry => {
                    self.flush(inbox).await;
                }
            }
        }
    }

    async fn flush(&self, inbox: &mut Inbox) -> Flushed {
        let flushed = inbox.flush().await;
        self.tell_journal_error(inbox);
        flushed
    }

    /// Journals the results that were given before a shutdown.
    async fn take_results(&mut self, inbox: &mut Inbox) -> Flushed {
        while let Ok(receipt) = self.inputs.results.try_recv() {
            inbox.ended(receipt);
        }
        self.flush(inbox).await
    }

    async fn attempt(&mut self, inbox: &mut Inbox) -> End {
        self.set(Connection::Connecting);
        let (dialer, options) = (self.dialer.clone(), self.connect.clone());
        let connecting = async move {
            let dialed = dialer.dial().await.map_err(AttemptError::Dial)?;
            let (session, connected) =
                Session::connect(dialed.stream, &options).await.map_err(AttemptError::Connect)?;
            Ok((session, connected, Way { address: dialed.address, proxy: dialed.proxy }))
        };
        match self.meanwhile(inbox, Box::pin(connecting)).await {
            None => End::Shutdown,
            Some(Err(error)) => self.failed(&error),
            Some(Ok((session, connected, way))) => self.serve(inbox, session, connected, way).await,
        }
    }

    fn failed(&mut self, error: &AttemptError) -> End {
        let random = fastrand::f64();
        match error {
            AttemptError::Dial(error) => {
                let problem =
                    if error.is_certificate() { Problem::Certificate } else { Problem::Unreachable };
                End::Retry(problem(error.to_string()), self.backoff.after_failure(random))
            }
            AttemptError::Connect(error) => {
                let text = error.to_string();
                let problem = match error {
                    _ if error.is_not_allowed() => Problem::NotAllowed(text),
                    ConnectError::Refused { .. } => Problem::Refused(text),
                    ConnectError::TimedOut(_) | ConnectError::Session(_) => Problem::Unreachable(text),
                };
                let wait = match error {
                    _ if !error.is_retryable() => self.backoff.after_refusal(random),
                    ConnectError::Refused { return_secs: Some(secs), .. } => {
                        self.backoff.after_lost_connection(*secs, Duration::ZERO, random)
                    }
                    ConnectError::Refused { .. } | ConnectError::TimedOut(_) | ConnectError::Session(_) => {
                        self.backoff.after_failure(random)
                    }
                };
                End::Retry(problem, wait)
            }
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        inbox: &mut Inbox,
        mut session: Session<S>,
        connected: Connected,
        way: Way,
    ) -> End {
        let began = Instant::now();
        let mut subscribe_limit = Some(began + SUBSCRIBE_LIMIT);
        let lost = |driver: &mut Self, text: String, return_secs: Option<u32>| {
            let return_secs = return_secs.unwrap_or(connected.return_secs);
            let wait = driver.backoff.after_lost_connection(return_secs, began.elapsed(), fastrand::f64());
            End::Retry(Problem::Lost(text), wait)
        };
        if let Err(error) = session.subscribe(&Topic::AgentCommands(self.id.clone()).to_string()) {
            return lost(self, error.to_string(), None);
        }
        let mut outbox = Outbox::new(&self.id, facts::read(&self.instance), inbox.unconfirmed());
        loop {
            let unsendable = outbox.pump(&mut session);
            let made_room = !unsendable.is_empty() && inbox.is_waiting();
            for id in unsendable {
                inbox.confirmed(id).await;
            }
            if made_room && let Err(error) = self.settle(inbox, &mut session, &mut outbox).await {
                return lost(self, error.to_string(), None);
            }
            let retry_at = [inbox.retry_at(), outbox.retry_at(), subscribe_limit].into_iter().flatten().min();
            let event = tokio::select! {
                biased;
                input = self.inputs.next(retry_at) => {
                    match input {
                        Input::Shutdown => {
                            self.farewell(inbox, session, outbox).await;
                            return End::Shutdown;
                        }
                        Input::Progress(receipt) => {
                            outbox.progress(receipt);
                            continue;
                        }
                        Input::Result(receipt) => inbox.ended(receipt),
                        Input::Retry => {
                            let now = Instant::now();
                            if subscribe_limit.is_some_and(|at| at <= now) {
                                return lost(self, "the broker does not answer SUBSCRIBE".into(), None);
                            }
                            if outbox.retry_at().is_some_and(|at| at <= now) {
                                outbox.retry();
                            }
                        }
                    }
                    None
                }
                event = session.next_event() => Some(event),
            };
            match event {
                None => {}
                Some(Ok(Event::Publish(message))) => match message.pkid {
                    Some(pkid) => inbox.arrived(pkid, &message.payload),
                    None => tracing::warn!("a command came at QoS 0, for which nobody asked"),
                },
                Some(Ok(Event::Published { token, code, reason })) => {
                    if let Some(id) = outbox.published(token, code, reason.as_deref()) {
                        inbox.confirmed(id).await;
                    }
                    if !inbox.is_waiting() {
                        continue;
                    }
                }
                Some(Ok(Event::Subscribed { codes, reason })) => {
                    if codes[..] == [ReasonCode::GRANTED_QOS_1] {
                        let Way { address, proxy } = &way;
                        let through = proxy.as_ref().map_or_else(|| "none".into(), ToString::to_string);
                        tracing::info!(%address, proxy = %through, agent = %self.id, "connected");
                        subscribe_limit = None;
                        self.set(Connection::Connected { address: *address, proxy: proxy.clone() });
                        continue;
                    }
                    let text = reason.unwrap_or_else(|| format!("{codes:?}"));
                    goodbye(session).await;
                    let wait = self.backoff.after_refusal(fastrand::f64());
                    return End::Retry(Problem::SubscriptionRefused(text), wait);
                }
                Some(Ok(Event::ServerDisconnect { code: ReasonCode::TAKEN_OVER, .. })) => {
                    return End::Retry(Problem::TakenOver, self.backoff.after_takeover(fastrand::f64()));
                }
                Some(Ok(Event::ServerDisconnect { code, reason, return_secs })) => {
                    let words = reason.map(|words| format!(": {words}")).unwrap_or_default();
                    return lost(
                        self,
                        format!("the broker ended the connection: {code}{words}"),
                        return_secs,
                    );
                }
                Some(Err(error)) => return lost(self, error.to_string(), None),
            }
            if let Err(error) = self.settle(inbox, &mut session, &mut outbox).await {
                return lost(self, error.to_string(), None);
            }
        }
    }

    /// Writes the journal, acknowledges what is in it, and queues the receipts.
    async fn settle<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        inbox: &mut Inbox,
        session: &mut Session<S>,
        outbox: &mut Outbox,
    ) -> Result<(), SessionError> {
        let flushed = self.flush(inbox).await;
        outbox.receipts(flushed.receipts);
        flushed.acks.into_iter().try_for_each(|pkid| session.ack(pkid))
    }

    /// Journals and sends the last results, then says goodbye.
    async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        inbox: &mut Inbox,
        mut session: Session<S>,
        mut outbox: Outbox,
    ) {
        let flushed = self.take_results(inbox).await;
        let last_acks = flushed.acks.into_iter().try_for_each(|pkid| session.ack(pkid));
        outbox.receipts(flushed.receipts);
        let sending = async {
            last_acks?;
            outbox.pump(&mut session);
            while !outbox.is_idle() {
                if let Event::Published { token, code, reason } = session.next_event().await?
                    && let Some(id) = outbox.published(token, code, reason.as_deref())
                {
                    inbox.confirmed(id).await;
                }
                outbox.pump(&mut session);
            }
            Ok::<_, SessionError>(())
        };
        match timeout(FAREWELL_LIMIT, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the last receipts are sent at the next start"),
            Err(_) => tracing::debug!("the last receipts were not acknowledged in time; they are sent again"),
        }
        goodbye(session).await;
    }
}

/// Ends a session; it is over even if the broker does not hear of it.
async fn goodbye<S: AsyncRead + AsyncWrite + Unpin>(session: Session<S>) {
    if let Err(error) = session.disconnect().await {
        tracing::debug!(%error, "no goodbye");
    }
}

#[cfg(test)]
mod tests;
