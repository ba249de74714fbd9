//! The seeker against brokers on the loopback interface. What they say takes its real time; where nothing is on its
//! way, time is made to [`jump`].

mod broker;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use wakemq_protocol::{Secret, SecretKind};

use super::*;
use crate::ladder::Transport;
use crate::mqtt::{Event, SessionError};
use crate::{Learned, ProxySettings, Trust};
use broker::{Broker, Rules, Seen};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Lets time pass in which nothing is on its way.
async fn jump(secs: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(secs)).await;
    tokio::time::resume();
}

/// An agent's end: a seeker, and the session that it has found.
struct Agent {
    seeker: Seeker,
    session: Option<Box<Arrival>>,
}

/// What happened at it.
#[derive(Debug)]
enum Happened {
    Seeker(SeekerEvent),
    Connected,
    Session(Event),
    Silent,
}

fn home() -> NetworkKey {
    NetworkKey::new("00:16:3e:00:00:01".parse().ok(), "10.0.0.7/24".parse().ok())
}

fn elsewhere() -> NetworkKey {
    NetworkKey::new("00:16:3e:00:00:02".parse().ok(), "10.0.1.7/24".parse().ok())
}

impl Agent {
    fn new(brokers: &[&Broker], memory: Memory) -> Self {
        let secret = Secret::from_random(SecretKind::Agent, &[1; 32]);
        let options = SeekerOptions {
            connect: ConnectOptions::new("a1", "a1", secret),
            heartbeat: HeartbeatSettings {
                initial_secs: 300,
                minimum_secs: 120,
                maximum_secs: 840,
                step_secs: 240,
            },
            memory,
            unix_ms: 1_800_000_000_000,
            probe_ms: Some(60_000),
        };
        let endpoints: Vec<_> = brokers.iter().map(|broker| broker.address.to_string()).collect();
        let pem: String = brokers.iter().map(|broker| broker.pem.as_str()).collect();
        let trust = Trust::from_pem(pem.as_bytes()).unwrap();
        let dialer = WayDialer::new(&trust, ProxySettings::none()).unwrap();
        Self { seeker: Seeker::new(&Ladder::parse(&endpoints).unwrap(), dialer, options), session: None }
    }

    /// Serves what there is until something happens, and tells the seeker of it.
    async fn next(&mut self) -> Happened {
        let session = async {
            match &mut self.session {
                Some(arrival) => arrival.session.next_event().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = self.seeker.next() => {
                if matches!(event, SeekerEvent::GiveUp) {
                    self.session = None;
                }
                if let SeekerEvent::Connected(arrival) = event {
                    assert!(self.session.is_none(), "a second session");
                    self.session = Some(arrival);
                    return Happened::Connected;
                }
                Happened::Seeker(event)
            }
            event = session => match event {
                Ok(Event::Idle) => {
                    self.seeker.handle_idle();
                    Happened::Session(Event::Idle)
                }
                Ok(event) => Happened::Session(event),
                Err(SessionError::Silent(_)) => {
                    self.session = None;
                    self.seeker.handle_silence(0);
                    Happened::Silent
                }
                Err(error) => panic!("{error}"),
            },
        }
    }

    /// Goes on until something has happened.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Happened) -> bool) -> Happened {
        let going = async {
            loop {
                let happened = self.next().await;
                if wanted(&happened) {
                    return happened;
                }
            }
        };
        timeout(LIMIT, going).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    /// Goes on until the broker has seen something.
    async fn until_seen(&mut self, seen: &mut mpsc::UnboundedReceiver<Seen>, wanted: &Seen) {
        let going = async {
            loop {
                tokio::select! {
                    one = seen.recv() => {
                        if one.as_ref() == Some(wanted) {
                            return;
                        }
                    }
                    _ = self.next() => {}
                }
            }
        };
        timeout(LIMIT, going).await.unwrap_or_else(|_| panic!("no {wanted:?}"));
    }

    /// Lets time pass at whose end the session is pinged.
    async fn quiet(&mut self, secs: u64) {
        jump(secs).await;
        self.until("answer", |happened| matches!(happened, Happened::Session(Event::Idle))).await;
    }

    /// Tells whether nothing happens at the moment.
    async fn is_at_rest(&mut self) -> bool {
        let mut next = std::pin::pin!(self.next());
        poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await
    }

    async fn connected(&mut self) {
        self.until("connection", |happened| matches!(happened, Happened::Connected)).await;
    }

    fn interval_secs(&self) -> u32 {
        self.seeker.reach().unwrap().heartbeat
    }
}

async fn one_broker(rules: Rules) -> (Broker, mpsc::UnboundedReceiver<Seen>) {
    let (sender, seen) = mpsc::unbounded_channel();
    (Broker::start(rules, sender).await, seen)
}

#[tokio::test]
async fn the_way_that_worked_last_in_this_network_is_tried_first() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let first = Broker::start(Rules::default(), sender.clone()).await;
    let second = Broker::start(Rules::default(), sender).await;
    let way = format!("mqtt {}", second.address);
    let mut memory = Memory::default();
    memory.set_way(&home(), &way);
    memory.set_heartbeat(&home(), &way, Learned::proven(600));
    let mut agent = Agent::new(&[&first, &second], memory);
    agent.seeker.start(Some(home()));
    agent.connected().await;
    assert_eq!(seen.recv().await, Some(Seen::Connect { port: second.address.port(), keep_alive_secs: 600 }));
    let reach = agent.seeker.reach().unwrap();
    assert_eq!((reach.transport, reach.endpoint), (Transport::Mqtt, second.address.to_string()));
    assert_eq!(reach.better, [], "the first was not tried");
}

#[tokio::test]
async fn a_longer_heartbeat_is_found_beside_the_session_and_kept_for_the_next() {
    let (broker, mut seen) = one_broker(Rules { forgets_after_secs: Some(700), ..Rules::default() }).await;
    let mut agent = Agent::new(&[&broker], Memory::default());
    agent.seeker.start(Some(home()));
    agent.connected().await;
    let port = broker.address.port();
    assert_eq!(seen.recv().await, Some(Seen::Connect { port, keep_alive_secs: 300 }));
    agent.quiet(270).await;
    agent.until_seen(&mut seen, &Seen::Trial { secs: 540 }).await;
    // The session itself is as quiet as it was meanwhile.
    agent.quiet(271).await;
    agent.quiet(271).await;
    agent.until_seen(&mut seen, &Seen::Trial { secs: 780 }).await;
    assert_eq!((agent.interval_secs(), agent.seeker.reach().unwrap().settled), (540, false));
    assert!(!agent.seeker.has_outgrown_session());
    agent.quiet(271).await;
    agent.quiet(271).await;
    jump(240).await;
    // The broker is within reach: it was the interval. But a resume is told within two seconds, and might be told yet.
    agent.until("look", |_| true).await;
    let is_settled = |happened: &Happened| matches!(happened, Happened::Seeker(SeekerEvent::Settled));
    agent.until("settled heartbeat", is_settled).await;
    assert_eq!((agent.interval_secs(), agent.seeker.reach().unwrap().settled), (540, true));
    let way = format!("mqtt {}", broker.address);
    let learned = agent.seeker.memory().heartbeat(&home(), &way).unwrap();
    assert!(
        learned.interval_secs == 540 && learned.proven && learned.raise_failed_ms.is_some(),
        "{learned:?}"
    );

    assert!(agent.seeker.has_outgrown_session());
    agent.session.take().unwrap().session.leave().await.unwrap();
    agent.seeker.handle_lost(Lost::Ended { return_secs: 0 });
    agent.connected().await;
    agent.until_seen(&mut seen, &Seen::Connect { port, keep_alive_secs: 540 }).await;
    assert!(!agent.seeker.has_outgrown_session());
}

#[tokio::test]
async fn a_network_that_bears_less_than_asked_is_found_out_by_silence() {
    let (broker, mut seen) = one_broker(Rules { forgets_after_secs: Some(200), ..Rules::default() }).await;
    let mut agent = Agent::new(&[&broker], Memory::default());
    agent.seeker.start(Some(home()));
    agent.connected().await;
    jump(270).await;
    agent.until_seen(&mut seen, &Seen::Ping { answered: false }).await;
    jump(20).await;
    agent.until("silence", |happened| matches!(happened, Happened::Silent)).await;
    agent.connected().await;
    assert_eq!(agent.interval_secs(), 120);
    let port = broker.address.port();
    agent.until_seen(&mut seen, &Seen::Connect { port, keep_alive_secs: 120 }).await;
    agent.quiet(108).await;
}

#[tokio::test]
async fn a_network_that_cuts_quiet_connections_is_found_out_by_the_second_cut() {
    let (broker, _seen) = one_broker(Rules::default()).await;
    let mut agent = Agent::new(&[&broker], Memory::default());
    agent.seeker.start(Some(home()));
    for expected in [300, 300, 120] {
        agent.connected().await;
        assert_eq!(agent.interval_secs(), expected);
        agent.session = None;
        agent.seeker.handle_cut(Duration::from_secs(130), 0);
    }
}

#[tokio::test]
async fn where_the_network_is_back_the_session_has_to_show_that_it_lives() {
    let (broker, _seen) = one_broker(Rules::default()).await;
    let mut agent = Agent::new(&[&broker], Memory::default());
    agent.seeker.start(Some(home()));
    agent.connected().await;
    for lives in [true, false] {
        broker.rules.send_modify(|rules| rules.mute = !lives);
        agent.seeker.handle_network(None);
        agent.seeker.handle_network(Some(home()));
        let is_check = |happened: &Happened| matches!(happened, Happened::Seeker(SeekerEvent::Check));
        agent.until("check", is_check).await;
        agent.session.as_mut().unwrap().session.check().unwrap();
        if lives {
            agent.until("answer", |happened| matches!(happened, Happened::Session(Event::Alive))).await;
            agent.seeker.handle_alive();
            jump(2).await;
            assert!(agent.is_at_rest().await);
        } else {
            assert!(agent.is_at_rest().await);
            jump(1).await;
            let is_end = |happened: &Happened| matches!(happened, Happened::Seeker(SeekerEvent::GiveUp));
            agent.until("end", is_end).await;
            broker.rules.send_modify(|rules| rules.mute = false);
            agent.connected().await;
        }
    }
}

#[tokio::test]
async fn another_network_and_a_resume_end_what_there_is_at_once() {
    let (broker, _seen) = one_broker(Rules::default()).await;
    let mut agent = Agent::new(&[&broker], Memory::default());
    agent.seeker.start(Some(home()));
    agent.connected().await;
    for is_resume in [true, false] {
        // What is younger may have come after the resume.
        jump(3).await;
        assert!(agent.is_at_rest().await);
        if is_resume {
            agent.seeker.handle_resumed();
        } else {
            agent.seeker.handle_network(Some(elsewhere()));
        }
        let first = agent.next().await;
        assert!(matches!(first, Happened::Seeker(SeekerEvent::GiveUp)), "{first:?}");
        agent.connected().await;
    }
    assert_eq!(agent.seeker.memory().way(&elsewhere()), Some(&*format!("mqtt {}", broker.address)));
}

#[tokio::test]
async fn it_tells_why_there_is_no_session_and_how_long_it_rests() {
    let (broker, _seen) = one_broker(Rules { code: 0x87, ..Rules::default() }).await;
    let mut agent = Agent::new(&[&broker], Memory::default());
    agent.seeker.start(Some(home()));
    let is_waiting = |happened: &Happened| matches!(happened, Happened::Seeker(SeekerEvent::Waiting { .. }));
    let waiting = agent.until("wait", is_waiting).await;
    let Happened::Seeker(SeekerEvent::Waiting { setback: Some(Setback::Refused(error)), retry_in }) = waiting
    else {
        panic!("{waiting:?}")
    };
    assert!(error.is_not_allowed() && retry_in >= Duration::from_secs(150), "{error} {retry_in:?}");

    broker.rules.send_modify(|rules| rules.closed = true);
    assert!(agent.is_at_rest().await);
    jump(300).await;
    let waiting = agent.until("wait", is_waiting).await;
    let Happened::Seeker(SeekerEvent::Waiting { setback: Some(Setback::NoWay(no_way)), .. }) = waiting else {
        panic!("{waiting:?}")
    };
    let ways: Vec<_> = no_way.ways.iter().map(|(way, _)| way.transport).collect();
    assert_eq!(ways, Transport::ALL, "{no_way}");
    assert!(!no_way.certificate && no_way.to_string().starts_with("the broker cannot be reached: mqtt 127"));

    broker.rules.send_modify(|rules| *rules = Rules::default());
    jump(10).await;
    agent.connected().await;
    // The owner knows better why it ended.
    agent.session = None;
    agent.seeker.handle_refused(Refusal::ForGood);
    let waiting = agent.until("wait", is_waiting).await;
    let Happened::Seeker(SeekerEvent::Waiting { setback: None, retry_in }) = waiting else {
        panic!("{waiting:?}")
    };
    assert!(retry_in >= Duration::from_secs(150), "{retry_in:?}");
}

#[tokio::test]
async fn connect_goes_out_on_the_better_way_only_after_the_goodbye_on_the_other() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let first = Broker::start(Rules { closed: true, ..Rules::default() }, sender.clone()).await;
    let second = Broker::start(Rules::default(), sender).await;
    let mut agent = Agent::new(&[&first, &second], Memory::default());
    agent.seeker.start(Some(home()));
    agent.connected().await;
    let (port, better) = (second.address.port(), first.address.port());
    assert_eq!(seen.recv().await, Some(Seen::Connect { port, keep_alive_secs: 300 }));
    let [failed] = &agent.seeker.reach().unwrap().better[..] else { panic!() };
    assert_eq!(failed.way, format!("mqtt {}", first.address));
    first.rules.send_modify(|rules| rules.closed = false);
    assert!(agent.is_at_rest().await);
    jump(66).await;
    let is_move = |happened: &Happened| matches!(happened, Happened::Seeker(SeekerEvent::Move));
    agent.until("move", is_move).await;
    assert!(agent.is_at_rest().await && seen.try_recv().is_err());
    agent.session.take().unwrap().session.leave().await.unwrap();
    agent.seeker.moved();
    agent.connected().await;
    assert_eq!(seen.recv().await, Some(Seen::Goodbye));
    assert_eq!(seen.recv().await, Some(Seen::Connect { port: better, keep_alive_secs: 300 }));
    assert_eq!(agent.seeker.reach().unwrap().better, []);
}

#[tokio::test]
async fn who_answers_in_the_brokers_place_is_asked_for_and_told() {
    let (broker, _seen) = one_broker(Rules { portal: true, ..Rules::default() }).await;
    let mut agent = Agent::new(&[&broker], Memory::default());
    agent.seeker.start(Some(home()));
    let is_captive = |happened: &Happened| matches!(happened, Happened::Seeker(SeekerEvent::Captive(_)));
    let told = agent.until("portal", is_captive).await;
    let Happened::Seeker(SeekerEvent::Captive(captive)) = told else { panic!("{told:?}") };
    assert!(captive.to_string().contains("http://login/"), "{captive}");
    // It is known at the next setback; and forgotten in another network.
    for network in [None, Some(elsewhere())] {
        let expected = network.is_none().then(|| captive.clone());
        if network.is_some() {
            agent.seeker.handle_network(network);
        }
        jump(2).await;
        let is_no_way = |happened: &Happened| {
            matches!(happened, Happened::Seeker(SeekerEvent::Waiting { setback: Some(_), .. }))
        };
        let waiting = agent.until("wait", is_no_way).await;
        let Happened::Seeker(SeekerEvent::Waiting { setback: Some(Setback::NoWay(no_way)), .. }) = waiting
        else {
            panic!("{waiting:?}")
        };
        assert_eq!(no_way.captive, expected);
    }
}
