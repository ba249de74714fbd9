//! Sources that hammer wrong secrets.

use std::time::Instant;

use anyhow::Result;
use wakemq_link::http::Method;
use wakemq_protocol::{Secret, SecretKind};
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Client, Login, Packet, Version};
use wakemq_tests::wait::{eventually, within};

/// How often wrong secrets are given at a time: more than are delayed at a time, the first of which are answered
/// soon.
const KNOCKS: usize = 40;
/// How many refusals of one source are delayed at a time.
const DELAYED_MAX: f64 = 16.0;

/// Sends a CONNECT with a wrong secret and waits for nothing.
async fn knock(broker: &InProcessBroker) -> Result<Client> {
    let wrong = Secret::from_random(SecretKind::Agent, &[3; 32]);
    let mut client = broker.dial().await?;
    client.send(&wakemq_tests::raw::connect(&Login::new(Version::V5, "pc-1", wrong.expose()))).await?;
    Ok(client)
}

fn wrong_secrets(broker: &InProcessBroker, answered: &str) -> Result<f64> {
    broker.scrape()?.of(&format!("wakemq_wrong_secrets_total{{answered=\"{answered}\"}}"))
}

#[tokio::test]
async fn who_hammers_wrong_secrets_waits_and_its_neighbours_with_right_ones_do_not() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    for _ in 0..3 {
        let refused = knock(&broker).await?.next().await?;
        assert!(matches!(refused, Some(Packet::ConnAck { code: 0x86, .. })), "{refused:?}");
    }
    let mut knocking = Vec::new();
    for _ in 0..KNOCKS {
        knocking.push(knock(&broker).await?);
    }
    eventually("all to be judged", async || {
        let judged = wrong_secrets(&broker, "delayed")? + wrong_secrets(&broker, "never")?;
        Ok((judged == KNOCKS as f64).then_some(()))
    })
    .await?;
    assert!(wrong_secrets(&broker, "delayed")? >= DELAYED_MAX);
    assert_eq!(broker.scrape()?.of("wakemq_throttled_sources")?, 1.0);
    let mut http = broker.http(Some(Secret::from_random(SecretKind::Operator, &[4; 32])))?;
    let (status, body) = within("an answer", http.request(Method::GET, "/v1/agents", None)).await??;
    assert_eq!(status.as_u16(), 429);
    assert!(String::from_utf8_lossy(&body).contains("urn:wakemq:problem:throttled"));

    // The right secrets of the same address are taken at once.
    let began = Instant::now();
    let mut agent = broker.dial().await?;
    agent.enter(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?;
    broker.management()?.agent(&"pc-1".parse()?).await?;
    assert!(began.elapsed().as_secs() < 20, "it waited like the others: {:?}", began.elapsed());

    // A broker that stops does not keep those waiting that are to be answered.
    let withheld = wrong_secrets(&broker, "never")? - 1.0;
    assert_eq!(broker.shutdown().await, 0);
    let mut unanswered = 0;
    for mut client in knocking {
        match client.next().await? {
            Some(Packet::ConnAck { code: 0x86, .. }) => {}
            None => unanswered += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(unanswered >= 1, "too many are closed at once");
    assert_eq!(f64::from(unanswered), withheld);
    Ok(())
}
