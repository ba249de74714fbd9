//! One way at a time, without an agent around it: what a session over each is like, through the proxies that there are.

use anyhow::{Context as _, Result, ensure};
use wakemq_link::ladder::{ProxyUse, Way};
use wakemq_link::mqtt::{ConnectOptions, Event, Incoming, Outgoing, ReasonCode};
use wakemq_link::{
    AnySession, Clock, Endpoint, ProxySettings, Rung, Transport, Trial, Trust, WayDialer, try_heartbeat,
};
use wakemq_protocol::{AgentId, Facts, Kind, Receipt, ReceiptState, Secret, Submission, to_json};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::proxy::ConnectProxy;
use wakemq_tests::wait::{LIMIT, within};

const COMMANDS: &str = "wake/v1/agents/pc-1/commands";

/// A broker with one agent, and what dials to it.
struct Setting {
    broker: InProcessBroker,
    agent: AgentId,
    secret: Secret,
    dialer: WayDialer,
}

impl Setting {
    async fn new(proxy: ProxySettings) -> Result<Self> {
        let broker = InProcessBroker::start(Injected::default()).await?;
        let (agent, secret) = broker.import(&["pc-1"]).await?.remove(0);
        let dialer = WayDialer::new(&Trust::from_file(&broker.ca_path())?, proxy)?;
        Ok(Self { broker, agent, secret, dialer })
    }

    fn way(&self, transport: Transport) -> Result<Way> {
        let endpoint: Endpoint = self.broker.address()?.to_string().parse()?;
        let rung = Rung { host: endpoint.host().into(), port: endpoint.port().context("no port")? };
        Ok(Way { transport, rung, proxied: self.dialer.proxy().url().is_some() })
    }

    async fn session(&self, transport: Transport) -> Result<AnySession> {
        let way = self.way(transport)?;
        let mut options = ConnectOptions::new(self.agent.as_str(), self.agent.as_str(), self.secret.clone());
        options.user_properties = vec![("instance".to_owned(), "i1".to_owned())];
        let line = within("a line", self.dialer.dial(&way)).await??;
        let connecting = AnySession::connect(line, &self.dialer, &way, &options);
        let (mut session, _) = within("a session", connecting).await??;
        session.subscribe(COMMANDS)?;
        loop {
            if let Event::Subscribed { codes, .. } = event(&mut session).await? {
                ensure!(codes[..] == [ReasonCode::GRANTED_QOS_1], "{codes:?}");
                return Ok(session);
            }
        }
    }

    /// Wakes the agent over a session that acknowledges and answers.
    async fn wake(&self, session: &mut AnySession) -> Result<()> {
        let publisher = self.broker.publisher().await?;
        let submitting = publisher.submit(&self.agent, Submission::new(Kind::Wake));
        let mut woken = within("a submission", submitting).await??;
        let command = command(session).await?;
        let id = serde_json::from_slice::<serde_json::Value>(&command.payload)?["id"].clone();
        assert_eq!((&*command.topic, id.as_str()), (COMMANDS, Some(&*woken.id().to_string())));
        session.ack(command.pkid.context("it is at QoS 1")?)?;
        let receipt = Receipt { id: woken.id(), state: ReceiptState::Done, detail: None };
        publish(session, "receipts", to_json(&receipt)).await?;
        assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
        Ok(())
    }
}

async fn event(session: &mut AnySession) -> Result<Event> {
    Ok(within("an event", session.next_event()).await??)
}

async fn command(session: &mut AnySession) -> Result<Incoming> {
    let event = event(session).await?;
    let Event::Publish(incoming) = event else { anyhow::bail!("no command, but {event:?}") };
    Ok(incoming)
}

/// Publishes and waits for the answer, which is to be a good one.
async fn publish(session: &mut AnySession, name: &str, payload: Vec<u8>) -> Result<()> {
    let topic = format!("wake/v1/agents/pc-1/{name}");
    let token = session.publish(Outgoing { topic, payload: payload.into(), ..Outgoing::default() })?;
    let event = event(session).await?;
    let is_taken =
        matches!(event, Event::Published { token: of, code: ReasonCode::SUCCESS, .. } if of == token);
    ensure!(is_taken, "{name}: {event:?}");
    Ok(())
}

#[tokio::test]
async fn a_session_is_the_same_over_every_transport() -> Result<()> {
    let setting = Setting::new(ProxySettings::none()).await?;
    for transport in Transport::ALL {
        let mut session = setting.session(transport).await.with_context(|| transport.to_string())?;
        let facts =
            Facts { instance: "i1".into(), host_name: Some(transport.to_string()), ..Facts::default() };
        publish(&mut session, "facts", to_json(&facts)).await?;
        for _ in 0..3 {
            setting.wake(&mut session).await.with_context(|| transport.to_string())?;
        }
        session.check()?;
        assert_eq!(event(&mut session).await?, Event::Alive, "{transport}");
        setting.wake(&mut session).await?;
        let view = setting.broker.management()?.agent(&setting.agent).await?;
        assert_eq!(view.transport, Some(transport));
        assert_eq!(view.facts.context("no facts")?.host_name, Some(transport.to_string()));
        session.disconnect().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_transport_goes_through_a_proxy() -> Result<()> {
    let proxy = ConnectProxy::start().await?;
    let settings = ProxySettings::new(proxy.url().parse()?, ProxyUse::Only);
    let setting = Setting::new(settings).await?;
    for transport in Transport::ALL {
        let mut session = setting.session(transport).await?;
        setting.wake(&mut session).await?;
    }
    let target = setting.broker.address()?.to_string();
    assert!(proxy.asked().len() >= 3 && proxy.asked().iter().all(|asked| *asked == target));
    Ok(())
}

#[tokio::test]
async fn a_trial_proves_the_secret_and_takes_nothing_over() -> Result<()> {
    let setting = Setting::new(ProxySettings::none()).await?;
    let mut session = setting.session(Transport::Mqtt).await?;
    let way = setting.way(Transport::Mqtt)?;
    let trying = |secret| {
        let (dialer, way) = (setting.dialer.clone(), way.clone());
        async move { within("a trial", try_heartbeat(&dialer, &way, &secret, 1, Clock::System)).await }
    };
    assert_eq!(trying(setting.secret.clone()).await??, Trial::Borne);
    let foreign = setting.broker.profile()?.secret;
    let refused = trying(foreign).await?.expect_err("an operator's secret is no agent's").to_string();
    assert!(refused.contains("403"), "{refused}");
    setting.wake(&mut session).await?;
    Ok(())
}
