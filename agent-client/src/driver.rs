//! The agent's one task: it connects, serves the connection, and waits before it connects again.

mod inputs;

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use wakemq_link::mqtt::{ConnectError, ConnectOptions, Connected, Event, ReasonCode, Session, SessionError};
use wakemq_link::{Backoff, DialError, Dialer, ProxyUrl};
use wakemq_protocol::{AgentId, Command, Topic};

use crate::facts::Source;
use crate::inbox::{Flushed, Inbox};
use crate::journal::Journal;
use crate::outbox::Outbox;
use crate::surroundings::{Noticed, Watch};
use crate::{Connection, Problem, Status};
use inputs::Input;
pub(crate) use inputs::Inputs;

/// Time limit of the answer to SUBSCRIBE.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(20);
/// How long a shutdown waits for the last receipts to be acknowledged.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// How long the system is given to find out a gateway's MAC address.
const GATEWAY_LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct Driver {
    pub(crate) id: AgentId,
    pub(crate) facts: Source,
    pub(crate) dialer: Dialer,
    pub(crate) connect: ConnectOptions,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) backoff: Backoff,
    pub(crate) inputs: Inputs,
    /// How many resumes there had been when the present connection, or the attempt at one, began.
    pub(crate) resumes: u64,
    /// Ends with the driver.
    pub(crate) _watch: Watch,
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
    /// The machine has resumed: whatever connection there was is dead, and what went wrong before is long ago.
    Resumed,
    Retry(Problem, Duration),
}

/// What ended a wait.
enum Waited<T> {
    Shutdown,
    Resumed,
    Over(T),
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
        let mut inbox = Inbox::start(journal, commands, journalled, self.facts.relays()).await;
        self.tell_journal_error(&inbox);
        loop {
            match self.attempt(&mut inbox).await {
                End::Shutdown => break,
                End::Resumed => self.begin_anew(&mut inbox),
                End::Retry(problem, retry_in) => {
                    tracing::warn!(%problem, retry_in_secs = retry_in.as_secs_f32(), "not connected");
                    inbox.disconnected();
                    self.set(Connection::Waiting { problem, retry_in });
                    match self.meanwhile(&mut inbox, sleep(retry_in)).await {
                        Waited::Shutdown => break,
                        Waited::Resumed => self.begin_anew(&mut inbox),
                        Waited::Over(()) => {}
                    }
                }
            }
        }
        self.take_results(&mut inbox).await;
        self.set(Connection::Closed);
        tracing::debug!(agent = %self.id, "agent ended");
    }

    /// Prepares to connect at once: nobody else has to share the broker with a machine that has just resumed.
    fn begin_anew(&mut self, inbox: &mut Inbox) {
        tracing::info!("the machine has resumed: connecting anew");
        inbox.disconnected();
        self.backoff = Backoff::default();
    }

    /// Tells whether the machine has resumed since the connection, or the attempt at one, began.
    fn has_resumed(&mut self) -> bool {
        self.facts.resumes() != self.resumes
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

    /// Awaits `future` while results are journalled.
    async fn meanwhile<F: Future>(&mut self, inbox: &mut Inbox, future: F) -> Waited<F::Output> {
        let mut future = pin!(future);
        loop {
            let input = tokio::select! {
                biased;
                input = self.inputs.next(inbox.retry_at()) => input,
                output = &mut future => return Waited::Over(output),
            };
            match input {
                Input::Shutdown => return Waited::Shutdown,
                Input::Noticed(Noticed::ClockSet) if self.has_resumed() => return Waited::Resumed,
                // Without a connection there is nobody to tell.
                Input::Progress(_) | Input::Noticed(Noticed::ClockSet | Noticed::NetworkChanged) => {}
                Input::Result(receipt) => {
                    inbox.ended(receipt);
                    self.flush(inbox).await;
                }
                Input::Relayed(receipt) => {
                    inbox.relayed(receipt);
                    self.flush(inbox).await;
                }
                Input::Retry => {
                    self.flush(inbox).await;
                }
            }
        }
    }

    /// Writes the journal, and starts the relay jobs that are in it now.
    async fn flush(&mut self, inbox: &mut Inbox) -> Flushed {
        let mut flushed = inbox.flush().await;
        self.tell_journal_error(inbox);
        if !flushed.relays.is_empty() {
            let adapters = self.facts.adapters();
            for command in flushed.relays.drain(..) {
                self.inputs.relays.start(command, adapters.clone());
            }
        }
        flushed
    }

    /// Journals the results that were given before a shutdown.
    async fn take_results(&mut self, inbox: &mut Inbox) -> Flushed {
        while let Ok(receipt) = self.inputs.results.try_recv() {
            inbox.ended(receipt);
        }
        for receipt in self.inputs.relays.finish().await {
            inbox.relayed(receipt);
        }
        self.flush(inbox).await
    }

    async fn attempt(&mut self, inbox: &mut Inbox) -> End {
        self.set(Connection::Connecting);
        self.resumes = self.facts.resumes();
        let (dialer, options) = (self.dialer.clone(), self.connect.clone());
        let connecting = async move {
            let dialed = dialer.dial().await.map_err(AttemptError::Dial)?;
            let (session, connected) =
                Session::connect(dialed.stream, &options).await.map_err(AttemptError::Connect)?;
            Ok((session, connected, Way { address: dialed.address, proxy: dialed.proxy }))
        };
        match self.meanwhile(inbox, Box::pin(connecting)).await {
            Waited::Shutdown => End::Shutdown,
            Waited::Resumed => End::Resumed,
            Waited::Over(Err(error)) => self.failed(&error),
            Waited::Over(Ok((session, connected, way))) => self.serve(inbox, session, connected, way).await,
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
        let mut outbox = Outbox::new(&self.id, inbox.unconfirmed());
        let mut gateways_at = self.find_out_gateways();
        loop {
            let unsendable = outbox.pump(&mut session, &mut self.facts);
            let made_room = !unsendable.is_empty() && inbox.is_waiting();
            for id in unsendable {
                inbox.confirmed(id).await;
            }
            if made_room && let Err(error) = self.settle(inbox, &mut session, &mut outbox).await {
                return lost(self, error.to_string(), None);
            }
            let due = [inbox.retry_at(), outbox.retry_at(), subscribe_limit, gateways_at];
            let retry_at = due.into_iter().flatten().min();
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
                        Input::Relayed(receipt) => inbox.relayed(receipt),
                        Input::Noticed(Noticed::ClockSet) => {
                            if self.has_resumed() {
                                return End::Resumed;
                            }
                            continue;
                        }
                        Input::Noticed(Noticed::NetworkChanged) => {
                            gateways_at = self.find_out_gateways();
                            self.tell_what_changed(&mut outbox);
                            continue;
                        }
                        Input::Retry => {
                            let now = Instant::now();
                            if gateways_at.is_some_and(|at| at <= now) {
                                gateways_at = None;
                                self.tell_what_changed(&mut outbox);
                            }
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
                Some(Ok(Event::Idle | Event::Alive)) => continue,
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

    /// Tells the facts again if they are others now.
    fn tell_what_changed(&mut self, outbox: &mut Outbox) {
        if self.facts.have_changed() {
            tracing::debug!("the facts have changed");
            outbox.facts();
        }
    }

    /// Has the MAC addresses of gateways found out that are not known; says when to look for them.
    fn find_out_gateways(&mut self) -> Option<Instant> {
        self.facts.find_out_gateways().then(|| Instant::now() + GATEWAY_LIMIT)
    }

    /// Writes the journal, acknowledges what is in it, and queues the receipts.
    async fn settle<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
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
            outbox.pump(&mut session, &mut self.facts);
            while !outbox.is_idle() {
                if let Event::Published { token, code, reason } = session.next_event().await?
                    && let Some(id) = outbox.published(token, code, reason.as_deref())
                {
                    inbox.confirmed(id).await;
                }
                outbox.pump(&mut session, &mut self.facts);
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
