//! A connection against a scripted broker, over an in-memory stream and in virtual time.

use std::path::PathBuf;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    Packet, PingResp, PubAck, PubAckReason, Publish, SubAck, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{Error, QoS};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;
use wakemq_link::mqtt::{ConnectOptions, Connected, Session};
use wakemq_link::seeker::SeekerOptions;
use wakemq_link::{HeartbeatSettings, Ladder, Memory, ProxySettings, Trust, WayDialer};
use wakemq_protocol::limits::JOURNAL_MAX;
use wakemq_protocol::{CommandId, Receipt, ReceiptState, Secret, SecretKind};

use super::*;
use crate::clock;
use crate::facts::FactsOptions;
use crate::relay::Relays;

mod power;

const RETURN_SECS: u32 = 50;

/// An agent that is connected, and all that is at its ends.
struct Rig {
    driver: Driver,
    inbox: Inbox,
    session: Session<DuplexStream>,
    connected: Connected,
    owner: Owner,
    broker: Broker,
}

/// The agent's owner.
struct Owner {
    commands: mpsc::Receiver<Command>,
    results: mpsc::Sender<Receipt>,
    _progress: mpsc::Sender<Receipt>,
    shutdown: Option<oneshot::Sender<()>>,
    status: watch::Receiver<Status>,
    noticed: mpsc::Sender<Noticed>,
    dir: TempDir,
}

/// The other end of the connection.
struct Broker {
    stream: DuplexStream,
    read: BytesMut,
}

impl Rig {
    async fn new() -> Self {
        let ca = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let trust = Trust::from_pem(ca.cert.pem().as_bytes()).unwrap();
        let dialer = WayDialer::new(&trust, ProxySettings::none()).unwrap();
        let connect = ConnectOptions::new("a1", "a1", Secret::from_random(SecretKind::Agent, &[1; 32]));
        let (status_sender, status) = watch::channel(Status::default());
        let (results, results_given) = mpsc::channel(JOURNAL_MAX);
        let (progress, progress_given) = mpsc::channel(1);
        let (shutdown, shutdown_told) = oneshot::channel();
        let (command_sender, commands) = mpsc::channel(JOURNAL_MAX);
        let dir = tempfile::tempdir().unwrap();
        let (noticed, noticed_given) = mpsc::channel(1);
        let inputs = Inputs {
            results: results_given,
            progress: progress_given,
            shutdown: shutdown_told,
            noticed: noticed_given,
            relays: Relays::default(),
        };
        let owner =
            Owner { commands, results, _progress: progress, shutdown: Some(shutdown), status, noticed, dir };
        owner.declare("[]");
        let options =
            FactsOptions { relay: true, declared: Some(owner.declaration()), ..FactsOptions::default() };
        let mut facts = Source::new("i1".into(), options).unwrap();
        let journal = Journal::open(&owner.journal(), clock::now()).unwrap();
        let inbox = Inbox::start(journal, command_sender, watch::Sender::new(0), true).await;

        let (client, stream) = duplex(1 << 20);
        let mut broker = Broker { stream, read: BytesMut::new() };
        let (begun, ()) = tokio::join!(Session::connect(client, &connect), broker.welcome());
        let (session, connected) = begun.unwrap();
        let options = SeekerOptions {
            connect,
            heartbeat: HeartbeatSettings::default(),
            memory: Memory::default(),
            unix_ms: 1_800_000_000_000,
            probe_ms: None,
        };
        let driver = Driver {
            id: "a1".parse().unwrap(),
            resumes: facts.resumes(),
            facts,
            // Nobody listens there.
            seeker: Seeker::new(&Ladder::parse(&["127.0.0.1:1"]).unwrap(), dialer, options),
            state: StateDir::open(owner.dir.path()).unwrap(),
            status: status_sender,
            inputs,
            intercepted_by: None,
            _watch: Watch::none(),
        };
        Self { driver, inbox, session, connected, owner, broker }
    }

    /// Serves the connection to its end, while `script` plays the broker and the owner.
    async fn play<F: Future>(self, script: impl FnOnce(Broker, Owner) -> F) -> (End, F::Output) {
        let Self { mut driver, mut inbox, session, connected, owner, broker } = self;
        let mut place = Place::find().await;
        let way = driver.seeker.ways().get(driver.seeker.ways().ids().next().unwrap()).clone();
        let connection = Connection::Connected {
            way,
            address: ([127, 0, 0, 1], 8883).into(),
            proxy: None,
            intercepted_by: None,
        };
        let session = AnySession::Mqtt(Box::new(session));
        let serving = driver.serve(&mut inbox, &mut place, session, connected.return_secs, connection);
        tokio::join!(serving, script(broker, owner))
    }
}

impl Owner {
    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn declaration(&self) -> PathBuf {
        self.dir.path().join("facts.json")
    }

    /// Declares the interfaces of the endpoint.
    fn declare(&self, interfaces: &str) {
        std::fs::write(self.declaration(), format!(r#"{{"interfaces":{interfaces}}}"#)).unwrap();
    }

    fn unconfirmed(&self) -> Vec<Receipt> {
        Journal::open(&self.journal(), clock::now()).unwrap().book().unconfirmed()
    }
}

impl Broker {
    async fn receive(&mut self) -> Packet {
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(packet) => return packet,
                Err(Error::InsufficientBytes(_)) => {
                    assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "closed");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn welcome(&mut self) {
        assert!(matches!(self.receive().await, Packet::Connect(..)));
        let mut connack = vec![0x20, 0, 0, 0];
        connack.extend(return_property(RETURN_SECS));
        connack[1] = u8::try_from(connack.len() - 2).unwrap();
        self.stream.write_all(&connack).await.unwrap();
    }

    /// Takes SUBSCRIBE and the facts, and grants the subscription.
    async fn begin(&mut self) {
        let pkid = self.subscribe().await;
        let (facts, publish) = self.published().await;
        assert_eq!(publish.topic, "wake/v1/agents/a1/facts");
        assert_eq!(facts["instance"], "i1");
        let granted = SubscribeReasonCode::Success(QoS::AtLeastOnce);
        self.send(Packet::SubAck(SubAck { pkid, return_codes: vec![granted], properties: None })).await;
        self.send(Packet::PubAck(PubAck::new(publish.pkid, None))).await;
    }

    async fn subscribe(&mut self) -> u16 {
        let Packet::Subscribe(subscribe) = self.receive().await else { panic!("no SUBSCRIBE") };
        assert_eq!(subscribe.filters[0].path, "wake/v1/agents/a1/commands");
        subscribe.pkid
    }

    async fn published(&mut self) -> (serde_json::Value, Publish) {
        let packet = self.receive().await;
        let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
        (serde_json::from_slice(&publish.payload).unwrap(), publish)
    }

    async fn command(&mut self, pkid: u16) {
        self.command_of(pkid, id(), "wake").await;
    }

    async fn command_of(&mut self, pkid: u16, id: CommandId, kind: &str) {
        self.command_with(pkid, id, kind, serde_json::Value::Null).await;
    }

    async fn command_with(&mut self, pkid: u16, id: CommandId, kind: &str, relay: serde_json::Value) {
        let payload = serde_json::to_vec(&serde_json::json!({
            "id": id, "kind": kind, "slot": null, "ttl": 60, "priority": "normal",
            "reason": null, "issued": "2026-11-22T01:00:00Z", "by": "op:a", "relay": relay
        }));
        let mut publish =
            Publish::new("wake/v1/agents/a1/commands", QoS::AtLeastOnce, payload.unwrap(), None);
        publish.pkid = pkid;
        self.send(Packet::Publish(publish)).await;
    }

    async fn acknowledged(&mut self) -> u16 {
        let packet = self.receive().await;
        let Packet::PubAck(ack) = packet else { panic!("{packet:?}") };
        ack.pkid
    }

    async fn answer(&mut self, publish: &Publish, reason: PubAckReason) {
        let mut ack = PubAck::new(publish.pkid, None);
        ack.reason = reason;
        self.send(Packet::PubAck(ack)).await;
    }

    /// Takes a DISCONNECT without a reason, which the codec does not read.
    async fn goodbye(&mut self) {
        while self.read.len() < 2 {
            assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "closed");
        }
        assert_eq!(self.read[..], [0xE0, 0]);
    }
}

fn id() -> CommandId {
    CommandId::from_parts(1, &[1; 10])
}

fn done() -> Receipt {
    Receipt { id: id(), state: ReceiptState::Done, detail: None }
}

/// Properties with `wakemq-return` alone, their length first.
fn return_property(secs: u32) -> Vec<u8> {
    let (name, value) = ("wakemq-return", secs.to_string());
    let mut property = vec![0x26, 0, u8::try_from(name.len()).unwrap()];
    property.extend_from_slice(name.as_bytes());
    property.extend([0, u8::try_from(value.len()).unwrap()]);
    property.extend_from_slice(value.as_bytes());
    property.insert(0, u8::try_from(property.len()).unwrap());
    property
}

/// A DISCONNECT; the codec gives one with a reason a wrong length.
fn disconnect(code: u8, return_secs: u32) -> Vec<u8> {
    let mut packet = vec![0xE0, 0, code];
    packet.extend(return_property(return_secs));
    packet[1] = u8::try_from(packet.len() - 2).unwrap();
    packet
}

#[tokio::test(start_paused = true)]
async fn a_command_is_acknowledged_before_its_handler_and_its_receipt_is_sent_until_it_is_taken() {
    let (end, ()) = Rig::new()
        .await
        .play(async |mut broker, mut owner| {
            broker.begin().await;
            owner
                .status
                .wait_for(|now| matches!(now.connection, Connection::Connected { .. }))
                .await
                .unwrap();
            broker.command(7).await;
            assert_eq!(broker.acknowledged().await, 7);
            assert_eq!(owner.commands.recv().await.unwrap().id, id());
            owner.results.send(done()).await.unwrap();
            let (receipt, publish) = broker.published().await;
            assert_eq!(
                (&*publish.topic, &receipt["state"]),
                (&b"wake/v1/agents/a1/receipts"[..], &"done".into())
            );
            let refused = Instant::now();
            broker.answer(&publish, PubAckReason::ImplementationSpecificError).await;
            let (again, publish) = broker.published().await;
            assert_eq!(again, receipt);
            assert!(refused.elapsed() >= Duration::from_secs(30));
            assert_eq!(owner.unconfirmed(), [done()]);
            broker.answer(&publish, PubAckReason::Success).await;
            owner.shutdown.take().unwrap().send(()).unwrap();
            broker.goodbye().await;
            assert!(owner.unconfirmed().is_empty());
        })
        .await;
    assert!(matches!(end, End::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn a_refused_receipt_is_sent_once() {
    let (end, ()) = Rig::new()
        .await
        .play(async |mut broker, mut owner| {
            broker.begin().await;
            broker.command(7).await;
            broker.acknowledged().await;
            owner.results.send(done()).await.unwrap();
            let (_, publish) = broker.published().await;
            broker.answer(&publish, PubAckReason::PayloadFormatInvalid).await;
            // The heartbeat is the next that is heard.
            assert!(matches!(broker.receive().await, Packet::PingReq(_)));
            assert!(owner.unconfirmed().is_empty());
            owner.shutdown.take().unwrap().send(()).unwrap();
            broker.goodbye().await;
        })
        .await;
    assert!(matches!(end, End::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_is_taken_makes_room_for_what_waited() {
    let (end, ()) = Rig::new()
        .await
        .play(async |mut broker, mut owner| {
            broker.begin().await;
            let mut receipts = Vec::new();
            for n in 1..=257 {
                broker.command_of(n, CommandId::from_parts(n.into(), &[1; 10]), "power").await;
            }
            // Refused all at once, acknowledged in order, and told as far as there is room in flight.
            let mut acknowledged = 0;
            while acknowledged < 256 || receipts.len() < 16 {
                let packet = broker.receive().await;
                if let Packet::PubAck(ack) = packet {
                    acknowledged += 1;
                    assert_eq!(ack.pkid, acknowledged);
                } else if let Packet::Publish(publish) = packet {
                    receipts.push(publish);
                } else {
                    panic!("{packet:?}");
                }
            }
            // The heartbeat is the next that is heard: the last one is withheld.
            assert!(matches!(broker.receive().await, Packet::PingReq(_)));
            broker.send(Packet::PingResp(PingResp)).await;
            broker.answer(&receipts[0], PubAckReason::Success).await;
            let mut heard = [broker.receive().await, broker.receive().await];
            heard.sort_by_key(|packet| !matches!(packet, Packet::PubAck(_)));
            assert!(
                matches!(&heard, [Packet::PubAck(ack), Packet::Publish(_)] if ack.pkid == 257),
                "{heard:?}"
            );
            owner.shutdown.take().unwrap().send(()).unwrap();
            broker.goodbye().await;
        })
        .await;
    assert!(matches!(end, End::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_journals_and_sends_the_last_result_and_does_not_wait_for_ever() {
    let (end, took) = Rig::new()
        .await
        .play(async |mut broker, mut owner| {
            broker.begin().await;
            broker.command(7).await;
            broker.acknowledged().await;
            owner.results.send(done()).await.unwrap();
            owner.shutdown.take().unwrap().send(()).unwrap();
            let (receipt, _) = broker.published().await;
            assert_eq!(receipt["state"], "done");
            let begun = Instant::now();
            // Nobody answers.
            broker.goodbye().await;
            assert_eq!(owner.unconfirmed(), [done()]);
            begun.elapsed()
        })
        .await;
    assert!(matches!(end, End::Shutdown));
    assert!((FAREWELL_LIMIT..FAREWELL_LIMIT * 2).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_takeover_it_stays_away() {
    let (end, _) = Rig::new()
        .await
        .play(async |mut broker, owner| {
            broker.begin().await;
            broker.stream.write_all(&disconnect(0x8E, 1)).await.unwrap();
            (broker, owner)
        })
        .await;
    assert!(matches!(end, End::Lost(Problem::TakenOver, Lost::TakenOver)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn whom_the_broker_no_longer_allows_is_refused_for_good() {
    let (end, _) = Rig::new()
        .await
        .play(async |mut broker, owner| {
            broker.begin().await;
            broker.stream.write_all(&disconnect(0x87, 1)).await.unwrap();
            (broker, owner)
        })
        .await;
    assert!(matches!(&end, End::Refused(Problem::NotAllowed(text)) if text.contains("0x87")), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn it_returns_as_the_broker_advises() {
    let (end, _) = Rig::new()
        .await
        .play(async |mut broker, owner| {
            broker.begin().await;
            broker.stream.write_all(&disconnect(0x8B, 5000)).await.unwrap();
            (broker, owner)
        })
        .await;
    // What the goodbye says; without one what the welcome said.
    let End::Lost(Problem::Lost(text), lost) = end else { panic!("{end:?}") };
    assert!(text.contains("0x8B"), "{text}");
    assert_eq!(lost, Lost::Ended { return_secs: 5000 });
    let (end, _) = Rig::new()
        .await
        .play(async |mut broker, owner| {
            broker.begin().await;
            owner
        })
        .await;
    let End::Cut(Problem::Lost(_), quiet, return_secs) = end else { panic!("{end:?}") };
    assert_eq!((quiet.as_secs(), return_secs), (0, RETURN_SECS));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_silent_after_a_quiet_interval_is_not_any_lost_connection() {
    let (end, _) = Rig::new()
        .await
        .play(async |mut broker, owner| {
            broker.begin().await;
            assert!(matches!(broker.receive().await, Packet::PingReq(_)));
            (broker, owner)
        })
        .await;
    assert!(matches!(end, End::Silent(Problem::Lost(_), RETURN_SECS)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_subscription_it_is_not_connected() {
    let (end, status) = Rig::new()
        .await
        .play(async |mut broker, owner| {
            let pkid = broker.subscribe().await;
            broker.published().await;
            let return_codes = vec![SubscribeReasonCode::NotAuthorized];
            broker.send(Packet::SubAck(SubAck { pkid, return_codes, properties: None })).await;
            broker.goodbye().await;
            owner.status.borrow().connection.clone()
        })
        .await;
    assert_eq!(status, Connection::Connecting);
    assert!(matches!(end, End::Refused(Problem::SubscriptionRefused(_))), "{end:?}");

    let begun = Instant::now();
    let (end, _) = Rig::new()
        .await
        .play(async |mut broker, owner| {
            broker.subscribe().await;
            (broker, owner)
        })
        .await;
    assert!(matches!(&end, End::Lost(Problem::Lost(text), _) if text.contains("SUBSCRIBE")), "{end:?}");
    assert!(begun.elapsed() >= SUBSCRIBE_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn who_withholds_an_acknowledgement_shows_that_it_lives() {
    let numbered = |n: usize| CommandId::from_parts(n as u64, &[1; 10]);
    let (end, ()) = Rig::new()
        .await
        .play(async |mut broker, mut owner| {
            broker.begin().await;
            for n in 1..=JOURNAL_MAX + 1 {
                broker.command_of(u16::try_from(n).unwrap(), numbered(n), "wake").await;
            }
            for n in 1..=JOURNAL_MAX {
                assert_eq!(usize::from(broker.acknowledged().await), n);
            }
            // There is no room for the last one: within 20 s each time something is heard all the same.
            for _ in 0..5 {
                let began = Instant::now();
                let packet = broker.receive().await;
                assert!(matches!(packet, Packet::PingReq(_)), "{packet:?}");
                assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
                broker.send(Packet::PingResp(PingResp)).await;
            }
            let result = Receipt { id: numbered(1), state: ReceiptState::Done, detail: None };
            owner.results.send(result).await.unwrap();
            assert_eq!(usize::from(broker.acknowledged().await), JOURNAL_MAX + 1);
            let (_, receipt) = broker.published().await;
            broker.answer(&receipt, PubAckReason::Success).await;
            // Nothing is withheld any more: it is quiet for much longer.
            let quiet = tokio::time::timeout(Duration::from_secs(120), broker.receive()).await;
            assert!(quiet.is_err(), "{quiet:?}");
            owner.shutdown.take().unwrap().send(()).unwrap();
            broker.goodbye().await;
        })
        .await;
    assert!(matches!(end, End::Shutdown), "{end:?}");
}
