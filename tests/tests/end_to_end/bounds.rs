//! Over real sockets: who does not read, or asks for more than it may, is limited and counted, and nobody else notices.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::net::TcpSocket;
use wakemq_broker::engine::Events as _;
use wakemq_protocol::{AgentId, Event, EventBody, EventNews, Kind, SecurityWhat, Submission, Timestamp};
use wakemq_publisher::{Publisher, Verdict, Wanted};
use wakemq_tests::clock::SetClock;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Client, Login, Packet, Version, frame};
use wakemq_tests::wait::{LIMIT, eventually, within};

/// What the system holds of what a slow client does not read.
const RECEIVE_BYTES: u32 = 8 * 1024;

/// Dials a broker with little room for what it says.
async fn narrow(broker: &InProcessBroker) -> Result<Client> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    let address: SocketAddr = broker.address()?;
    Client::over(within("a connection", socket.connect(address)).await??, &broker.ca_path()).await
}

/// Wakes an agent and waits for its word.
async fn wake(publisher: &Publisher, agent: &mut wakemq_agent::Agent) -> Result<()> {
    let target: AgentId = agent.id().clone();
    let mut woken = within("a submission", publisher.submit(&target, Submission::new(Kind::Wake))).await??;
    within("the command", agent.next_command()).await?.expect("the agent runs").done(None);
    assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    Ok(())
}

#[tokio::test]
async fn who_asks_and_reads_no_answer_is_not_read_from_and_then_ended() -> Result<()> {
    /// More than this is not taken from somebody who reads nothing: what the systems at both ends hold, and a little.
    const TAKEN_MAX: usize = 32 * 1024 * 1024;
    let time = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: time.clock(), ..Injected::default() }).await?;
    let made = broker.import(&["deaf"]).await?;
    let (_home, mut agent) = broker.agent("pc-1").await?;
    let publisher = broker.publisher().await?;
    let overrun = || broker.scrape()?.of("wakemq_disconnections_total{reason=\"overrun\"}");
    let secret = broker.profile()?.secret;
    let pings = frame(0xC0, &[]).repeat(4096);
    let mut deaf = Vec::new();
    for login in [
        Login::new(Version::V5, "deaf", made[0].1.expose()),
        Login::new(Version::V5, "op:admin", secret.expose()),
    ] {
        let mut client = narrow(&broker).await?;
        client.enter(&login).await?;
        let mut taken = 0;
        // Until it is not read from any more.
        while let Ok(sent) = tokio::time::timeout(Duration::from_secs(2), client.send(&pings)).await {
            sent?;
            taken += pings.len();
            ensure!(taken < TAKEN_MAX, "the broker takes in without end what it cannot answer");
        }
        deaf.push(client);
        wake(&publisher, &mut agent).await?;
    }
    assert_eq!(overrun()?, 0.0);
    // None of them was heard for long, and it is said why.
    time.pass(3_600_000);
    eventually("both to be ended", async || Ok((overrun()? == 2.0).then_some(()))).await
}

fn news(detail: &str) -> EventNews {
    EventNews {
        at: Timestamp::from_unix_ms(0),
        group: "bounds".parse().expect("a good group"),
        body: EventBody::Security {
            what: SecurityWhat::WrongSecrets,
            who: None,
            addresses: Vec::new(),
            detail: detail.to_owned(),
        },
    }
}

/// The next event of the test's own, as its number and its text.
async fn event(client: &mut Client) -> Result<(u64, String)> {
    loop {
        match client.next().await? {
            Some(Packet::Publish { payload, .. }) => {
                let event: Event = serde_json::from_slice(&payload)?;
                if let EventBody::Security { detail, .. } = event.news.body {
                    return Ok((event.seq, detail));
                }
            }
            other => bail!("no event: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_operator_that_follows_everything_and_reads_slowly_loses_events_and_nobody_else_does() -> Result<()>
{
    const EVENTS_MAX: u64 = 2_000;
    let broker = InProcessBroker::start(Injected::default()).await?;
    let (_home, mut agent) = broker.agent("pc-1").await?;
    let publisher = broker.publisher().await?;
    let login = Login::new(Version::V5, "op:admin", broker.profile()?.secret.expose());
    let (mut slow, mut quick) = (narrow(&broker).await?, broker.dial().await?);
    for client in [&mut slow, &mut quick] {
        client.enter(&login).await?;
        assert_eq!(client.subscribe("wake/v1/events/#", 0).await?, 0);
    }
    let lost = || broker.scrape()?.of("wakemq_operator_events_lost_total");
    let long = "x".repeat(30_000);
    let mut published = 0;
    while lost()? == 0.0 {
        published += 1;
        ensure!(published < EVENTS_MAX, "the broker keeps without end what is not read");
        broker.broker.bus().publish(news(&long));
        assert_eq!(event(&mut quick).await?.0, published, "nobody else loses any");
    }
    wake(&publisher, &mut agent).await?;

    // It goes on where it stands as soon as it reads, and the numbers tell what is missing.
    let mut read = 0;
    let mut after = false;
    let last = loop {
        let (seq, text) = event(&mut slow).await?;
        if text == "after" {
            break seq;
        }
        read += 1;
        if !after {
            after = true;
            // There is room again when the answer to a ping has come.
            slow.send(&frame(0xC0, &[])).await?;
            read += drain_to_ping(&mut slow).await?;
            broker.broker.bus().publish(news("after"));
        }
    };
    assert!(read < published, "{read} of {published}");
    // All have their numbers, those of the wake too: the slow one sees that the rest is missing.
    assert_eq!(event(&mut quick).await?, (last, "after".to_owned()));
    assert!(last > published, "{last} of {published}");
    Ok(())
}

/// Reads up to the answer to a ping, and counts the test's own events before it.
async fn drain_to_ping(client: &mut Client) -> Result<u64> {
    let mut events = 0;
    loop {
        match client.next().await? {
            Some(Packet::PingResp) => return Ok(events),
            Some(Packet::Publish { topic, .. }) => events += u64::from(topic.contains("/security/")),
            other => bail!("neither event nor answer: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_agent_that_floods_the_broker_is_read_from_ten_times_a_second() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["loud"]).await?;
    let (_home, mut agent) = broker.agent("pc-1").await?;
    let publisher = broker.publisher().await?;
    let mut loud = broker.dial().await?;
    loud.enter(&Login::new(Version::V5, "loud", made[0].1.expose())).await?;
    let pauses = || broker.scrape()?.of("wakemq_agent_pauses_total");
    let began = tokio::time::Instant::now();
    // Receipts for what was never sent, facts, and subscriptions, twenty of each.
    for n in 0..20 {
        let receipt = format!(r#"{{"id":"0197c1b2-0000-7000-8000-{n:012x}","state":"done"}}"#);
        loud.publish("wake/v1/agents/loud/receipts", receipt.as_bytes(), &[]).await?;
        loud.publish("wake/v1/agents/loud/facts", br#"{"instance":"x"}"#, &[]).await?;
        let filter = "wake/v1/agents/loud/commands";
        loud.send(&wakemq_tests::raw::subscribe(Version::V5, 1000 + n, filter, 1)).await?;
    }
    let mut answered = 0;
    while answered < 60 {
        match loud.next().await? {
            Some(Packet::PubAck { .. } | Packet::SubAck { .. }) => answered += 1,
            other => bail!("no answer: {other:?}"),
        }
        if answered == 11 {
            wake(&publisher, &mut agent).await?;
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(4950), "{:?}", began.elapsed());
    assert!((1.0..=6.0).contains(&pauses()?), "{}", pauses()?);
    Ok(())
}
