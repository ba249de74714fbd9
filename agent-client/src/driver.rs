//! The agent's one task: it reaches the broker, serves the session, and journals meanwhile.

mod inputs;
mod place;
mod seeking;
mod withheld;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use wakemq_link::AnySession;
use wakemq_link::ladder::Lost;
use wakemq_link::mqtt::{Event, ReasonCode, SessionError};
use wakemq_link::seeker::{Arrival, Seeker, SeekerEvent};
use wakemq_protocol::{AgentId, Command, Topic};

use crate::facts::Source;
use crate::inbox::{Flushed, Inbox};
use crate::journal::Journal;
use crate::outbox::Outbox;
use crate::surroundings::{Noticed, Watch};
use crate::{Connection, Problem, StateDir, Status};
use inputs::Input;
pub(crate) use inputs::Inputs;
use place::Place;
use seeking::Next;
use withheld::Withheld;

/// Time limit of the answer to SUBSCRIBE.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(20);
/// How long a shutdown waits for the last receipts to be acknowledged.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// How long the system is given to find out a gateway's MAC address.
const GATEWAY_LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct Driver {
    pub(crate) id: AgentId,
    pub(crate) facts: Source,
    pub(crate) seeker: Seeker,
    /// Where it is kept what the seeker learns.
    pub(crate) state: StateDir,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) inputs: Inputs,
    /// How many resumes of the machine were told to the seeker.
    pub(crate) resumes: u64,
    /// Who opened the TLS of the last connection.
    pub(crate) intercepted_by: Option<String>,
    /// Ends with the driver.
    pub(crate) _watch: Watch,
}

/// How a session ended.
#[derive(Debug)]
enum End {
    Shutdown,
    /// The seeker has told that it is dead.
    GivenUp,
    /// The seeker has told of a better way, and goodbye was said.
    Moved,
    /// A new session may be quiet for longer; goodbye was said.
    Outgrown,
    Lost(Problem, Lost),
    /// It was quiet for the whole interval, and then not answered.
    Silent(Problem, u32),
    /// It was quiet for so long, and was then cut without a word.
    Cut(Problem, Duration, u32),
    Refused(Problem),
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
        let mut place = Place::find().await;
        self.seeker.start(place.key());
        let mut problem = None;
        while let Next::Serve(arrival) = self.seek(&mut inbox, &mut place, problem.take()).await {
            let Arrival { session, connected, way, address, proxy, tls } = *arrival;
            let intercepted_by = tls.intercepted_by();
            self.tell_interception(intercepted_by.as_deref());
            let connection = Connection::Connected { way, address, proxy, intercepted_by };
            tracing::debug!(version = tls.version, alpn = tls.alpn, issuer = tls.issuer, "TLS");
            let end = self.serve(&mut inbox, &mut place, session, connected.return_secs, connection).await;
            if matches!(end, End::Shutdown) {
                break;
            }
            inbox.disconnected();
            problem = self.after(end);
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

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        inbox: &mut Inbox,
        place: &mut Place,
        mut session: AnySession<S>,
        return_secs: u32,
        connection: Connection,
    ) -> End {
        let mut subscribe_limit = Some(Instant::now() + SUBSCRIBE_LIMIT);
        let lost = |text: String| End::Lost(Problem::Lost(text), Lost::Ended { return_secs });
        if let Err(error) = session.subscribe(&Topic::AgentCommands(self.id.clone()).to_string()) {
            return lost(error.to_string());
        }
        let mut outbox = Outbox::new(&self.id, inbox.unconfirmed());
        let mut gateways_at = self.find_out_gateways();
        let mut withheld = Withheld::default();
        loop {
            if outbox.has_facts() {
                self.facts.set_reach(self.seeker.reach());
            }
            let unsendable = outbox.pump(&mut session, &mut self.facts);
            let made_room = !unsendable.is_empty() && inbox.is_waiting();
            for id in unsendable {
                inbox.confirmed(id).await;
            }
            if made_room && let Err(error) = self.settle(inbox, &mut session, &mut outbox).await {
                return lost(error.to_string());
            }
            withheld.look(inbox.is_waiting(), &session);
            let due = [
                inbox.retry_at(),
                outbox.retry_at(),
                subscribe_limit,
                gateways_at,
                place.due(),
                withheld.due(),
            ];
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
                            self.look_for_resume();
                            continue;
                        }
                        Input::Noticed(Noticed::NetworkChanged) => {
                            self.network_changed(place);
                            gateways_at = self.find_out_gateways();
                            self.tell_what_changed(&mut outbox);
                            continue;
                        }
                        Input::Retry => {
                            let now = Instant::now();
                            self.look_around(place);
                            if gateways_at.is_some_and(|at| at <= now) {
                                gateways_at = None;
                                self.tell_what_changed(&mut outbox);
                            }
                            if subscribe_limit.is_some_and(|at| at <= now) {
                                return lost("the broker does not answer SUBSCRIBE".to_owned());
                            }
                            if outbox.retry_at().is_some_and(|at| at <= now) {
                                outbox.retry();
                            }
                            if withheld.take_due(now)
                                && let Err(error) = session.check()
                            {
                                return lost(error.to_string());
                            }
                        }
                    }
                    None
                }
                news = self.seeker.next() => {
                    match news {
                        SeekerEvent::Check => {
                            if let Err(error) = session.check() {
                                return lost(error.to_string());
                            }
                        }
                        SeekerEvent::GiveUp => return End::GivenUp,
                        SeekerEvent::Move => {
                            tracing::info!("a better way leads to the broker");
                            leave(session).await;
                            return End::Moved;
                        }
                        SeekerEvent::Interval(secs) => session.set_interval(secs),
                        SeekerEvent::Settled => outbox.facts(),
                        SeekerEvent::Learned => self.remember().await,
                        // While there is a session, no other is looked for.
                        SeekerEvent::Seeking
                        | SeekerEvent::Waiting { .. }
                        | SeekerEvent::Captive(_)
                        | SeekerEvent::Connected(_) => {}
                    }
                    continue;
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
                Some(Ok(Event::Idle)) => {
                    self.seeker.handle_idle();
                    if let Some(secs) = session.interval_secs() {
                        self.seeker.handle_interval(secs);
                    }
                    if self.seeker.has_outgrown_session() && outbox.is_idle() && !inbox.is_waiting() {
                        leave(session).await;
                        return End::Outgrown;
                    }
                    continue;
                }
                Some(Ok(Event::Alive)) => {
                    self.seeker.handle_alive();
                    continue;
                }
                Some(Ok(Event::Subscribed { codes, reason })) => {
                    if codes[..] == [ReasonCode::GRANTED_QOS_1] {
                        self.tell_connected(&connection);
                        subscribe_limit = None;
                        self.set(connection.clone());
                        continue;
                    }
                    let text = reason.unwrap_or_else(|| format!("{codes:?}"));
                    goodbye(session).await;
                    return End::Refused(Problem::SubscriptionRefused(text));
                }
                Some(Ok(Event::ServerDisconnect { code: ReasonCode::TAKEN_OVER, .. })) => {
                    return End::Lost(Problem::TakenOver, Lost::TakenOver);
                }
                // Over long poll it is the answer 401 or 403 to a later poll, or to a first one that came late: a secret
                // that is not taken now is not taken at once after either.
                Some(Ok(Event::ServerDisconnect {
                    code: code @ (ReasonCode::BAD_CREDENTIALS | ReasonCode::NOT_AUTHORIZED),
                    reason,
                    ..
                })) => {
                    let words = reason.map(|words| format!(": {words}")).unwrap_or_default();
                    return End::Refused(Problem::NotAllowed(format!("{code}{words}")));
                }
                Some(Ok(Event::ServerDisconnect { code, reason, return_secs: advice })) => {
                    let words = reason.map(|words| format!(": {words}")).unwrap_or_default();
                    let problem = Problem::Lost(format!("the broker ended the connection: {code}{words}"));
                    return End::Lost(problem, Lost::Ended { return_secs: advice.unwrap_or(return_secs) });
                }
                Some(Err(error @ SessionError::Silent(_))) => {
                    return End::Silent(Problem::Lost(error.to_string()), return_secs);
                }
                Some(Err(error)) => {
                    return match session.cut_after() {
                        Some(quiet) => End::Cut(Problem::Lost(error.to_string()), quiet, return_secs),
                        None => lost(error.to_string()),
                    };
                }
            }
            if let Err(error) = self.settle(inbox, &mut session, &mut outbox).await {
                return lost(error.to_string());
            }
        }
    }

    /// Logs by which way the agent can be woken from now on.
    fn tell_connected(&self, connection: &Connection) {
        let Connection::Connected { way, address, proxy, .. } = connection else { return };
        let through = proxy.as_ref().map_or_else(|| "none".into(), ToString::to_string);
        let agent = &self.id;
        tracing::info!(%address, proxy = %through, %agent, transport = %way.transport, endpoint = %way.rung, "connected");
    }

    /// Warns of somebody who opens TLS, once until that changes.
    fn tell_interception(&mut self, by: Option<&str>) {
        if let Some(issuer) = by.filter(|_| self.intercepted_by.as_deref() != by) {
            tracing::warn!(
                issuer,
                "somebody between opens TLS, and is trusted because of the extra CA alone"
            );
        }
        self.intercepted_by = by.map(str::to_owned);
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
        session: &mut AnySession<S>,
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
        mut session: AnySession<S>,
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
async fn goodbye<S: AsyncRead + AsyncWrite + Unpin>(session: AnySession<S>) {
    if let Err(error) = session.disconnect().await {
        tracing::debug!(%error, "no goodbye");
    }
}

/// Ends a session so that the broker knows of its end before the next one comes.
async fn leave<S: AsyncRead + AsyncWrite + Unpin>(session: AnySession<S>) {
    if let Err(error) = session.leave().await {
        tracing::debug!(%error, "no goodbye");
    }
}

#[cfg(test)]
mod tests;
