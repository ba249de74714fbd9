//! The session: polls one after another, and events that come of their answers.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until, timeout};
use wakemq_protocol::http::PollRequest;
use wakemq_protocol::limits::{IN_FLIGHT_MAX, PAYLOAD_MAX, POLL_HEARTBEAT_SECS, RETURN_DEFAULT_SECS};
use wakemq_protocol::{AgentId, CommandId, Topic, to_json};

use super::answer::{Polled, is_whole};
use super::ask::{Asker, Asking, is_cut};
use super::given::Given;
use super::posts::Posts;
use crate::http::Open;
use crate::ladder::Way;
use crate::mqtt::{
    ConnectError, ConnectOptions, Connected, Event, Incoming, Outgoing, PublishError, ReasonCode,
    SessionError, Token,
};
use crate::timer::{LATE_MS, Time, Timer};
use crate::{Line, LineStream, WayDialer};

/// A refusal of the first poll comes at once; without one it counts as accepted after so long.
const ACCEPTED: Duration = Duration::from_secs(2);
/// How much later than the heartbeat an idle answer may come.
const LATE: Duration = Duration::from_secs(20);
/// How long the next poll waits for more acknowledgements, once there is one.
const MORE_ACKNOWLEDGED: Duration = Duration::from_secs(1);
/// How long the next poll waits for an acknowledgement: well below the time after which the broker takes an agent
/// for gone that does not poll.
const ACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Pause after an answer that came too soon to be asked for again at once.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a farewell may take.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// The user property of CONNECT that names the agent's process.
const INSTANCE: &str = "instance";

/// Long poll, with the calls of an [`mqtt::Session`](crate::mqtt::Session).
///
/// Commands come as [`Event::Publish`], and [`ack`](Self::ack) goes with the next poll. What is published goes to the
/// endpoint for it, and the HTTP status becomes the reason code that means the same. As with MQTT,
/// [`next_event`](Self::next_event) is awaited all the time, for nothing moves without it; it may be dropped and
/// called again.
pub struct PollSession {
    asker: Asker,
    topic: String,
    instance: Option<String>,
    heartbeat_secs: u32,
    /// The poll that waits, and one that a newer has replaced and that has no answer yet.
    current: Option<Running>,
    older: Option<Running>,
    /// The older was answered, but not as one that was replaced: the broker may have taken it for the newer.
    crossed: bool,
    /// The connection of the last poll, between two.
    kept: Option<Open>,
    /// When the next poll goes out at the latest.
    due: Option<Pin<Box<Sleep>>>,
    /// The owner wants to know whether the older poll's connection lives.
    checking: bool,
    given: Given,
    posts: Posts,
    events: VecDeque<Event>,
    time: Time,
    silence: Timer,
    ended: bool,
    /// For how long a poll had waited when it was cut.
    cut_after: Option<Duration>,
}

/// A poll without an answer.
struct Running {
    asking: Asking,
    began: Instant,
    heartbeat_secs: u32,
    acknowledged: Vec<CommandId>,
}

impl Running {
    /// Until when it is to have an answer.
    fn limit(&self) -> Instant {
        self.began + Duration::from_secs(self.heartbeat_secs.into()) + LATE
    }
}

impl PollSession {
    /// Sends the first poll on a line; it proves who the agent is.
    pub(crate) async fn connect(
        line: Line,
        dialer: &WayDialer,
        way: &Way,
        options: &ConnectOptions,
    ) -> Result<(Self, Connected), ConnectError> {
        let LineStream::Tls(stream) = line.stream else {
            return Err(SessionError::Protocol("long poll in a WebSocket".to_owned()).into());
        };
        let agent: AgentId = options.user_name.parse().map_err(|error| {
            ConnectError::Session(SessionError::Protocol(format!("not an agent's name: {error}")))
        })?;
        let open = Open::over(*stream, &way.rung).await.map_err(std::io::Error::other);
        let time = Time::start(options.clock);
        let (min, max) = POLL_HEARTBEAT_SECS;
        let heartbeat_secs = u32::from(options.keep_alive_secs).clamp(min, max);
        let instance = options.user_properties.iter().find(|(name, _)| name == INSTANCE);
        let mut session = Self {
            asker: Asker { dialer: dialer.clone(), way: way.clone(), secret: options.password.clone() },
            topic: Topic::AgentCommands(agent).to_string(),
            instance: instance.map(|(_, value)| value.clone()),
            heartbeat_secs,
            current: None,
            older: None,
            crossed: false,
            kept: Some(open.map_err(SessionError::Io)?),
            due: None,
            checking: false,
            given: Given::default(),
            posts: Posts::default(),
            events: VecDeque::new(),
            silence: time.timer(time.now()).map_err(SessionError::Io)?,
            time,
            ended: false,
            cut_after: None,
        };
        session.start()?;
        if let Ok(accepted) = timeout(ACCEPTED, session.accepted()).await {
            accepted?;
        }
        let connected = Connected {
            keep_alive_secs: u16::try_from(session.heartbeat_secs).unwrap_or(u16::MAX),
            maximum_packet_size: PAYLOAD_MAX as u32,
            receive_maximum: IN_FLIGHT_MAX,
            return_secs: RETURN_DEFAULT_SECS,
            assigned_client_id: None,
        };
        Ok((session, connected))
    }

    /// Waits for the answer to the first poll.
    async fn accepted(&mut self) -> Result<(), ConnectError> {
        loop {
            match poll_fn(|cx| self.poll_current(cx)).await? {
                Polled::Refused(refused) => return Err(refused.into()),
                Polled::Retry { after } => {
                    return Err(ConnectError::Refused {
                        code: ReasonCode::SHUTTING_DOWN,
                        reason: None,
                        return_secs: Some(after),
                    });
                }
                polled @ Polled::OutOfRange { .. } => {
                    self.take(polled)?;
                    self.start()?;
                }
                polled @ (Polled::Commands(_) | Polled::Idle | Polled::Superseded) => {
                    return Ok(self.take(polled)?);
                }
            }
        }
    }

    /// Sets after how many seconds an idle answer is wanted, from the next poll on.
    pub fn set_heartbeat(&mut self, secs: u32) {
        self.heartbeat_secs = secs.clamp(POLL_HEARTBEAT_SECS.0, POLL_HEARTBEAT_SECS.1);
    }

    /// Returns after how many seconds an idle answer is wanted; the broker may have said otherwise than was set.
    pub fn heartbeat_secs(&self) -> u32 {
        self.heartbeat_secs
    }

    /// Nothing is sent: a poll asks for the agent's commands and for nothing else.
    pub(crate) fn subscribe(&mut self) -> Result<(), SessionError> {
        self.events.push_back(Event::Subscribed { codes: vec![ReasonCode::GRANTED_QOS_1], reason: None });
        Ok(())
    }

    /// Returns how many more documents may be published before one is answered.
    pub fn capacity(&self) -> u16 {
        self.posts.capacity()
    }

    /// Publishes a receipt, facts or a report; the answer is an [`Event::Published`] with the returned token.
    pub fn publish(&mut self, message: Outgoing) -> Result<Token, PublishError> {
        self.posts.push(message)
    }

    /// Acknowledges a command, with the next poll.
    pub fn ack(&mut self, pkid: u16) -> Result<(), SessionError> {
        self.given.acknowledge(pkid);
        Ok(())
    }

    /// Finds out whether the connection lives: the answer is an [`Event::Alive`].
    ///
    /// A newer poll goes out on another connection, and the broker answers the older on its own, if that lives.
    pub fn check(&mut self) -> Result<(), SessionError> {
        self.checking = true;
        Ok(())
    }

    /// Waits for what happens next. May be dropped and called again; after an error, or
    /// [`Event::ServerDisconnect`], the session is over.
    pub async fn next_event(&mut self) -> Result<Event, SessionError> {
        if self.ended {
            return Err(SessionError::Closed);
        }
        let result = poll_fn(|cx| self.poll_event(cx)).await;
        self.ended = match &result {
            Err(_) | Ok(Event::ServerDisconnect { .. }) => true,
            Ok(
                Event::Publish(_)
                | Event::Published { .. }
                | Event::Subscribed { .. }
                | Event::Idle
                | Event::Alive,
            ) => false,
        };
        result
    }

    /// Returns for how long a poll had waited when somebody between ended it, once that has ended the session.
    pub fn cut_after(&self) -> Option<Duration> {
        self.cut_after
    }

    /// Sends the last acknowledgements, within two seconds, and ends.
    pub async fn disconnect(mut self) -> Result<(), SessionError> {
        if self.ended || !self.has_new_acknowledgements() {
            return Ok(());
        }
        // They count before the poll waits for anything, and the poll ends with its connection.
        self.replace()?;
        let answered = async {
            loop {
                match poll_fn(|cx| self.poll_current(cx)).await? {
                    bound @ Polled::OutOfRange { .. } => {
                        self.take(bound)?;
                        self.start()?;
                    }
                    Polled::Commands(_)
                    | Polled::Idle
                    | Polled::Superseded
                    | Polled::Retry { .. }
                    | Polled::Refused(_) => return Ok(()),
                }
            }
        };
        // Without an answer it waits: the broker has read it.
        timeout(FAREWELL_LIMIT, answered).await.unwrap_or(Ok(()))
    }

    fn has_new_acknowledgements(&self) -> bool {
        let sent = self.current.iter().chain(&self.older).flat_map(|poll| &poll.acknowledged);
        let sent: Vec<_> = sent.collect();
        self.given.acknowledged().iter().any(|id| !sent.contains(&id))
    }

    /// Starts a poll, on the connection of the last one if there is one.
    fn start(&mut self) -> Result<(), SessionError> {
        let kept = self.kept.take();
        self.start_on(kept)
    }

    fn start_on(&mut self, kept: Option<Open>) -> Result<(), SessionError> {
        let request = PollRequest {
            heartbeat: self.heartbeat_secs,
            acknowledged: self.given.acknowledged().to_vec(),
            instance: self.instance.clone(),
            trial: false,
        };
        let running = Running {
            asking: self.asker.post(kept, "/v1/poll", to_json(&request)),
            began: self.time.now(),
            heartbeat_secs: request.heartbeat,
            acknowledged: request.acknowledged,
        };
        self.silence.arm(running.limit())?;
        self.current = Some(running);
        self.crossed = false;
        self.due = None;
        Ok(())
    }

    /// Replaces the poll that waits, if there is one, by a newer on the other connection.
    fn replace(&mut self) -> Result<(), SessionError> {
        match self.current.take() {
            None => self.start(),
            Some(current) => {
                // One that was replaced before and is still without an answer is given up with its connection.
                self.older = Some(current);
                let other = self.posts.take_connection();
                self.start_on(other)
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, SessionError>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(Ok(event));
            }
            if self.is_to_start(cx) {
                self.replace()?;
            }
            if let Poll::Ready(event) = self.posts.poll(&self.asker, cx) {
                self.events.push_back(event?);
                continue;
            }
            if let Poll::Ready(polled) = self.poll_current(cx) {
                let polled = polled?;
                self.take(polled)?;
                continue;
            }
            if self.poll_older(cx)?.is_ready() {
                continue;
            }
            return self.poll_silence(cx).map(Err);
        }
    }

    /// Tells whether a poll is to go out now.
    fn is_to_start(&mut self, cx: &mut Context<'_>) -> bool {
        if self.current.is_some() {
            return self.has_new_acknowledgements() || (self.checking && self.older.is_none());
        }
        // Everything was given out, or there would be an event.
        match &mut self.due {
            None => true,
            Some(_) if self.given.is_settled() => true,
            Some(due) => {
                if !self.given.acknowledged().is_empty() {
                    let soon = Instant::now() + MORE_ACKNOWLEDGED;
                    if due.deadline() > soon {
                        due.as_mut().reset(soon);
                    }
                }
                due.as_mut().poll(cx).is_ready()
            }
        }
    }

    /// Ready with the answer to the poll that waits.
    fn poll_current(&mut self, cx: &mut Context<'_>) -> Poll<Result<Polled, SessionError>> {
        let Some(running) = &mut self.current else { return Poll::Pending };
        let (answer, open) = ready!(running.asking.as_mut().poll(cx));
        if is_cut(&answer) {
            self.cut_after = Some(self.time.now() - running.began);
        }
        let (answer, acknowledged) = (answer?, std::mem::take(&mut running.acknowledged));
        let polled = Polled::read(&answer)?;
        let is_early = matches!(polled, Polled::Idle)
            && !is_whole(self.time.now() - running.began, running.heartbeat_secs);
        self.current = None;
        self.kept = open;
        self.settle(&polled, &acknowledged);
        if is_early {
            // It proves nothing, and a pause follows.
            return Poll::Ready(Ok(Polled::Commands(Vec::new())));
        }
        Poll::Ready(Ok(polled))
    }

    /// The broker has taken what a poll acknowledged if it answered it as a poll. With another answer it may not have
    /// read so far, and hears it again.
    fn settle(&mut self, polled: &Polled, acknowledged: &[CommandId]) {
        match polled {
            Polled::Commands(_) | Polled::Idle => self.given.settled(acknowledged),
            Polled::Superseded | Polled::Retry { .. } | Polled::OutOfRange { .. } | Polled::Refused(_) => {}
        }
    }

    /// Takes what an answer brought.
    fn take(&mut self, polled: Polled) -> Result<(), SessionError> {
        match polled {
            Polled::Commands(commands) => {
                let count = self.give_out(commands);
                let pause = if count == 0 { PAUSE } else { ACKNOWLEDGED };
                self.due = Some(Box::pin(sleep_until(Instant::now() + pause)));
            }
            Polled::Idle => self.events.push_back(Event::Idle),
            Polled::Superseded => match self.older.take() {
                // The two crossed on their way, and the broker takes the older for the newer.
                Some(older) => {
                    self.silence.arm(older.limit())?;
                    self.current = Some(older);
                }
                None if self.crossed => {}
                None => self.end(ReasonCode::TAKEN_OVER, None, None),
            },
            Polled::Retry { after } => self.end(ReasonCode::SHUTTING_DOWN, None, Some(after)),
            Polled::OutOfRange { heartbeat } if heartbeat == self.heartbeat_secs => {
                let why =
                    format!("a heartbeat of {heartbeat} s is out of range, and the nearest that is not");
                return Err(SessionError::Protocol(why));
            }
            Polled::OutOfRange { heartbeat } => {
                tracing::debug!(asked = self.heartbeat_secs, heartbeat, "the broker bounds the heartbeat");
                self.heartbeat_secs = heartbeat;
            }
            Polled::Refused(refused) => {
                let (code, reason, return_secs) = refused.into_end()?;
                self.end(code, Some(reason), return_secs);
            }
        }
        Ok(())
    }

    fn end(&mut self, code: ReasonCode, reason: Option<String>, return_secs: Option<u32>) {
        self.events.push_back(Event::ServerDisconnect { code, reason, return_secs });
    }

    /// Queues commands for the owner, but for those that it has already; returns how many came.
    fn give_out(&mut self, commands: Vec<serde_json::Value>) -> usize {
        let mut count = 0;
        for command in commands {
            let Some(id) = command["id"].as_str().and_then(|id| id.parse().ok()) else {
                tracing::warn!("a command without an id, which nobody can acknowledge");
                continue;
            };
            count += 1;
            // The owner has it already, and cannot take it yet: what it keeps of it must not grow with every poll.
            let Some(pkid) = self.given.name(id) else { continue };
            self.events.push_back(Event::Publish(Incoming {
                topic: self.topic.clone(),
                payload: to_json(&command).into(),
                pkid: Some(pkid),
                correlation_data: None,
                dup: false,
            }));
        }
        count
    }

    /// Ready when the poll that was replaced is over.
    fn poll_older(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let Some(older) = &mut self.older else { return Poll::Pending };
        let (answer, open) = ready!(older.asking.as_mut().poll(cx));
        let acknowledged = std::mem::take(&mut older.acknowledged);
        self.older = None;
        let Ok(answer) = answer else {
            // Its connection is dead; the newer has another.
            return Poll::Ready(Ok(()));
        };
        if let Some(open) = open {
            self.posts.keep_connection(open);
        }
        if std::mem::take(&mut self.checking) {
            self.events.push_back(Event::Alive);
        }
        let polled = Polled::read(&answer)?;
        self.settle(&polled, &acknowledged);
        self.crossed = !matches!(polled, Polled::Superseded);
        if let Polled::Commands(commands) = polled {
            self.give_out(commands);
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when a poll has no answer though it must have one.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<SessionError> {
        loop {
            if let Err(error) = ready!(self.silence.poll(cx)) {
                return Poll::Ready(error.into());
            }
            let now = self.time.now();
            let due = match &self.current {
                // Noticed so late, it is the machine that slept, which says nothing of the network.
                Some(running) if running.limit() + Duration::from_millis(LATE_MS) < now => {
                    return Poll::Ready(SessionError::PingTimeout);
                }
                Some(running) if running.limit() <= now => {
                    return Poll::Ready(SessionError::Silent(now - running.began));
                }
                Some(running) => running.limit(),
                // The next poll sets another.
                None => now + LATE,
            };
            if let Err(error) = self.silence.arm(due) {
                return Poll::Ready(error.into());
            }
        }
    }
}

impl std::fmt::Debug for PollSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollSession")
            .field("way", &self.asker.way)
            .field("heartbeat_secs", &self.heartbeat_secs)
            .finish_non_exhaustive()
    }
}
