//! Long poll, by a foreign client over HTTP/1.1 and HTTP/2.

pub(crate) mod client;
mod hostile;
mod own;
mod posts;
mod ways;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use client::{BOTH, Client, Version};
use serde_json::{Value, json};
use wakemq_protocol::{AgentId, CommandId, CommandState, Kind, Secret, SlotChoice, Submission};
use wakemq_publisher::{Publisher, Submitted, Verdict, Wanted};
use wakemq_tests::clock::SetClock;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::wait::{LIMIT, eventually};

/// What most of these tests begin with.
struct Scene {
    broker: InProcessBroker,
    clock: Arc<SetClock>,
    publisher: Publisher,
    secret: Secret,
}

impl Scene {
    /// Has the agent `pc-1`.
    async fn start() -> Result<Self> {
        let clock = SetClock::start();
        let injected = Injected { clock: clock.clock(), ..Injected::default() };
        let broker = InProcessBroker::start(injected).await?;
        let [(_, secret)] = &broker.import(&["pc-1"]).await?[..] else { anyhow::bail!("not one agent") };
        Ok(Self { publisher: broker.publisher().await?, secret: secret.clone(), broker, clock })
    }

    async fn client(&self, version: Version) -> Result<Client> {
        Client::dial(&self.broker, version, &self.secret).await
    }

    /// Submits a `wake` in a slot of its own.
    async fn wake(&self) -> Result<Submitted> {
        self.wake_within(3600).await
    }

    async fn wake_within(&self, ttl: u32) -> Result<Submitted> {
        let submission =
            Submission { ttl: Some(ttl), slot: SlotChoice::Never, ..Submission::new(Kind::Wake) };
        Ok(self.publisher.submit(&agent(), submission).await?)
    }

    /// Waits until a trial waits for its answer.
    async fn trial_waits(&self) -> Result<()> {
        let registry = self.broker.broker.engine().registry();
        eventually("the trial", async || Ok((registry.live().trials == 1).then_some(()))).await
    }

    /// Waits until the agent counts as connected, or does not.
    async fn connected(&self, connected: bool) -> Result<()> {
        let mut management = self.broker.management()?;
        eventually(&format!("connected to be {connected}"), async || {
            Ok((management.agent(&agent()).await?.connected == connected).then_some(()))
        })
        .await
    }

    async fn state(&self, id: CommandId) -> Result<CommandState> {
        let view = self.broker.management()?.command(id).await?;
        view.outcomes.first().map(|outcome| outcome.state).context("no outcome")
    }

    /// Waits until a command has a state.
    async fn becomes(&self, id: CommandId, state: CommandState) -> Result<()> {
        eventually(&format!("{id} to be {state:?}"), async || {
            Ok((self.state(id).await? == state).then_some(()))
        })
        .await
    }

    /// Sends a poll and waits until the broker has it: a trial changes no presence, and is asked for the agent that is
    /// connected by the poll.
    async fn parked(&self, client: Client, body: Value) -> Result<client::Polling> {
        let polling = client.polling(body);
        self.connected(true).await?;
        Ok(polling)
    }
}

fn agent() -> AgentId {
    "pc-1".parse().expect("a good id")
}

fn poll(acknowledged: &[&Value]) -> Value {
    json!({"heartbeat": 600, "instance": "i1", "acknowledged": acknowledged})
}

fn id_of(tracked: &Submitted) -> Value {
    json!(tracked.id().to_string())
}

#[tokio::test]
async fn an_agent_is_woken_at_once_and_the_next_poll_acknowledges() -> Result<()> {
    for version in BOTH {
        let scene = Scene::start().await?;
        // What waits already is the answer.
        let mut first = scene.wake().await?;
        let mut client = scene.client(version).await?;
        assert_eq!(client.commands(&[]).await?, [id_of(&first)], "{version:?}");
        scene.becomes(first.id(), CommandState::Sent).await?;
        // What comes while the poll waits ends it.
        let polling = client.polling(poll(&[&id_of(&first)]));
        assert_eq!(first.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
        assert!(!polling.is_answered());
        let mut second = scene.wake().await?;
        let (mut client, status, answer) = polling.answer().await?;
        assert_eq!((status, &answer["commands"][0]["id"]), (200, &id_of(&second)));
        assert_eq!(answer["commands"][0]["kind"], "wake");
        // What comes between two polls goes with the next one.
        let third = scene.wake().await?;
        scene.connected(true).await?;
        assert_eq!(scene.state(third.id()).await?, CommandState::Queued);
        assert_eq!(client.commands(&[&id_of(&second)]).await?, [id_of(&third)]);
        assert_eq!(second.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
    }
    Ok(())
}

#[tokio::test]
async fn a_poll_is_idle_after_its_heartbeat_and_the_agent_connected_for_half_a_minute_more() -> Result<()> {
    for version in BOTH {
        let scene = Scene::start().await?;
        let polling = scene.parked(scene.client(version).await?, poll(&[])).await?;
        scene.clock.pass(599_000);
        scene.connected(true).await?;
        assert!(!polling.is_answered());
        scene.clock.pass(2_000);
        let (_client, status, answer) = polling.answer().await?;
        assert_eq!((status, answer), (200, json!({"status": "idle"})));
        scene.connected(true).await?;
        scene.clock.pass(31_000);
        scene.connected(false).await?;
        eventually("nothing to be left of it", async || {
            let live = scene.broker.broker.engine().registry().live();
            Ok((live.agents == 0 && live.mailboxes == 1).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_acknowledged_is_withheld_for_a_minute_and_given_again() -> Result<()> {
    let scene = Scene::start().await?;
    let (mut lost, mut client) = (scene.wake().await?, scene.client(Version::Http1).await?);
    client.commands(&[]).await?;
    scene.clock.pass(5_000);
    let polling = client.polling(poll(&[]));
    scene.clock.pass(54_000);
    scene.connected(true).await?;
    assert!(!polling.is_answered());
    assert_eq!(scene.state(lost.id()).await?, CommandState::Sent);
    scene.clock.pass(2_000);
    let (client, _, answer) = polling.answer().await?;
    assert_eq!(answer["commands"][0]["id"], id_of(&lost));
    // Away meanwhile, and it is withheld still: a later poll acknowledges it.
    scene.clock.pass(31_000);
    scene.connected(false).await?;
    assert_eq!(scene.state(lost.id()).await?, CommandState::Sent);
    let polling = scene.parked(client, poll(&[&id_of(&lost)])).await?;
    assert_eq!(lost.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
    drop(polling);

    // Nobody comes back: after the minute it is queued again.
    scene.connected(false).await?;
    let (forgotten, mut client) = (scene.wake().await?, scene.client(Version::Http1).await?);
    client.commands(&[]).await?;
    scene.clock.pass(31_000);
    scene.connected(false).await?;
    assert_eq!(scene.state(forgotten.id()).await?, CommandState::Sent);
    scene.clock.pass(30_000);
    scene.becomes(forgotten.id(), CommandState::Queued).await?;
    assert_eq!(client.commands(&[]).await?, [id_of(&forgotten)]);
    Ok(())
}

#[tokio::test]
async fn an_acknowledgement_counts_for_a_process_that_was_not_given_the_command() -> Result<()> {
    let scene = Scene::start().await?;
    let (mut given, mut client) = (scene.wake().await?, scene.client(Version::Http1).await?);
    client.commands(&[]).await?;
    let restarted = json!({"heartbeat": 600, "instance": "i2", "acknowledged": [id_of(&given)]});
    let polling = client.polling(restarted);
    assert_eq!(given.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
    assert!(!polling.is_answered(), "it is not given again");
    Ok(())
}

#[tokio::test]
async fn a_command_that_is_only_for_who_is_connected_reaches_a_poll_that_waits() -> Result<()> {
    let scene = Scene::start().await?;
    let mut away = scene.wake_within(0).await?;
    assert_eq!(away.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Missed);
    let polling = scene.parked(scene.client(Version::Http1).await?, poll(&[])).await?;
    let mut live = scene.wake_within(0).await?;
    let (client, _, answer) = polling.answer().await?;
    assert_eq!(answer["commands"][0]["id"], id_of(&live));
    let polling = client.polling(poll(&[&id_of(&live)]));
    assert_eq!(live.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);

    // One that nobody acknowledges ends with the presence.
    let mut live = scene.wake_within(0).await?;
    polling.answer().await?;
    scene.clock.pass(31_000);
    assert_eq!(live.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Missed);
    Ok(())
}

#[tokio::test]
async fn a_heartbeat_out_of_bounds_is_told_the_nearest_one() -> Result<()> {
    let mut injected = Injected::default();
    injected.limits.poll_heartbeat_secs = (90, 900);
    let broker = InProcessBroker::start(injected).await?;
    let [(_, secret)] = &broker.import(&["pc-1"]).await?[..] else { anyhow::bail!("not one agent") };
    let mut client = Client::dial(&broker, Version::Http2, secret).await?;
    for (asked, trial, nearest) in [(89, false, 90), (901, false, 900), (0, true, 1), (901, true, 900)] {
        let (status, answer) = client.post("/v1/poll", &json!({"heartbeat": asked, "trial": trial})).await?;
        assert_eq!(
            (status, answer),
            (422, json!({"status": "heartbeat_out_of_range", "heartbeat": nearest}))
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_cannot_write_refuses_an_acknowledgement_and_takes_it_later() -> Result<()> {
    let injected = Injected::default();
    let full = injected.full.clone();
    let broker = InProcessBroker::start(injected).await?;
    let [(_, secret)] = &broker.import(&["pc-1"]).await?[..] else { anyhow::bail!("not one agent") };
    let publisher = broker.publisher().await?;
    let mut woken = publisher.submit(&agent(), Submission::new(Kind::Wake)).await?;
    let mut client = Client::dial(&broker, Version::Http1, secret).await?;
    client.commands(&[]).await?;
    full.set(true);
    let (status, problem) = client.post("/v1/poll", &poll(&[&id_of(&woken)])).await?;
    assert_eq!((status, &problem["type"]), (503, &json!("urn:wakemq:problem:unavailable")));
    full.set(false);
    let polling = client.polling(poll(&[&id_of(&woken)]));
    assert_eq!(woken.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
    assert!(!polling.is_answered(), "it is not given again");
    Ok(())
}
