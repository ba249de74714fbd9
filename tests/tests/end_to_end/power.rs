//! Endpoints are switched on, on the loopback network, with machines that declare what they are.

use anyhow::{Context as _, Result};
use tokio::net::UdpSocket;
use wakemq_broker::config::Wol;
use wakemq_protocol::http::OperatorRequest;
use wakemq_protocol::{CommandId, CommandState, MagicPacket, PowerWhat, Role};
use wakemq_publisher::{Management, Publisher, Submitted, Verdict, Wanted};
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::machine::{At, Machine};
use wakemq_tests::wait::{LIMIT, eventually, within};

/// A broker, and sockets that see what is sent on the loopback network.
struct Site {
    broker: InProcessBroker,
    management: Management,
    publisher: Publisher,
    /// Gets what relays send.
    network: UdpSocket,
}

impl Site {
    async fn new(wol: Wol) -> Result<Self> {
        let network = UdpSocket::bind("0.0.0.0:0").await?;
        let wol = Wol { ports: vec![network.local_addr()?.port()], ..wol };
        let broker = InProcessBroker::start(Injected { wol, ..Injected::default() }).await?;
        let (management, publisher) = (broker.management()?, broker.publisher().await?);
        Ok(Self { broker, management, publisher, network })
    }

    async fn machine(&mut self, name: &str, group: &str, number: u8) -> Result<Machine> {
        let (ca, address) = (self.broker.ca_path(), self.broker.address()?);
        Machine::new(At { management: &mut self.management, ca: &ca, address }, name, group, number).await
    }

    /// Makes a machine that is known and sleeps.
    async fn sleeper(&mut self) -> Result<Machine> {
        let sleeper = self.machine("pc", "paris", 7).await?;
        sleeper.known(&mut self.management).await?;
        Ok(sleeper)
    }

    /// Returns the steps of a command's evidence as the broker keeps it, with the relays.
    async fn steps(&mut self, id: CommandId) -> Result<Vec<String>> {
        steps(&mut self.management, id).await
    }
}

async fn steps(management: &mut Management, id: CommandId) -> Result<Vec<String>> {
    let evidence = management.command(id).await?.evidence;
    evidence
        .iter()
        .map(|step| {
            let step = serde_json::to_value(step)?;
            let word = step["step"].as_str().context("a step has a name")?;
            Ok(step["relay"].as_str().map_or_else(|| word.to_owned(), |relay| format!("{word} {relay}")))
        })
        .collect()
}

/// Waits for a magic packet and returns whom it is for.
async fn packet(socket: &UdpSocket) -> Result<String> {
    let mut bytes = [0; 200];
    let len = within("a magic packet", socket.recv(&mut bytes)).await??;
    let packet = MagicPacket::parse(&bytes[..len]).context("no magic packet")?;
    Ok(packet.mac.to_string())
}

/// Waits for a command's end: how, and why.
async fn end(submitted: &mut Submitted) -> Result<(CommandState, String)> {
    submitted.wait(Wanted::Done, LIMIT).await?;
    let outcome = submitted.outcome().context("nothing is known")?;
    Ok((outcome.state, outcome.detail.unwrap_or_default()))
}

#[tokio::test]
async fn who_is_up_is_not_switched_on() -> Result<()> {
    let mut site = Site::new(Wol::default()).await?;
    let pc = site.machine("pc", "paris", 7).await?;
    let _agent = pc.up(100).await?;
    let mut submitted = pc.power(&site.publisher).await?;
    let (state, detail) = end(&mut submitted).await?;
    assert_eq!(state, CommandState::Done);
    assert!(detail.starts_with("was already up"), "{detail}");
    assert_eq!(site.steps(submitted.id()).await?[0], "probed");
    Ok(())
}

#[tokio::test]
async fn a_sleeper_comes_up_by_the_packet_of_its_neighbour() -> Result<()> {
    let mut site = Site::new(Wol::default()).await?;
    let pc = site.sleeper().await?;
    let relay = site.machine("relay", "paris/floor-2", 8).await?;
    let _relaying = relay.up(100).await?;
    relay.relays_for(&mut site.management, &pc).await?;
    let mut submitted = pc.power(&site.publisher).await?;
    assert_eq!(submitted.wait(Wanted::Sent, LIMIT).await?, Verdict::Reached);
    assert_eq!(packet(&site.network).await?, pc.mac().to_string());
    let _up = pc.up(0).await?;
    let (state, detail) = end(&mut submitted).await?;
    assert_eq!(state, CommandState::Done, "{detail}");
    assert!(detail.starts_with("booted 0 s") || detail.starts_with("booted 1 s"), "{detail}");
    let steps = site.steps(submitted.id()).await?;
    assert_eq!(steps[..2], ["relay_asked relay", "relay_acknowledged relay"]);
    assert_eq!(steps[steps.len() - 2..], ["heard", "verdict"]);
    // The publisher was told of each step as it happened.
    let told = submitted.steps();
    assert!(matches!(told[0].what, PowerWhat::RelayAsked { .. }), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn one_that_was_running_all_along_was_not_switched_on() -> Result<()> {
    let mut site = Site::new(Wol::default()).await?;
    let pc = site.sleeper().await?;
    let relay = site.machine("relay", "paris", 8).await?;
    let _relaying = relay.up(100).await?;
    relay.relays_for(&mut site.management, &pc).await?;
    let mut submitted = pc.power(&site.publisher).await?;
    packet(&site.network).await?;
    let _back = pc.up(9_999).await?;
    let (state, detail) = end(&mut submitted).await?;
    assert_eq!(state, CommandState::Failed);
    assert!(detail.starts_with("was running, unreachable"), "{detail}");
    Ok(())
}

#[tokio::test]
async fn one_that_never_comes_has_failed_and_who_sent_is_named() -> Result<()> {
    let mut site = Site::new(Wol { timeout_secs: 1, ..Wol::default() }).await?;
    let pc = site.sleeper().await?;
    let mut relaying = Vec::new();
    for (name, number) in [("r1", 8), ("r2", 9)] {
        let relay = site.machine(name, "paris", number).await?;
        relaying.push(relay.up(100).await?);
        relay.relays_for(&mut site.management, &pc).await?;
    }
    let mut submitted = pc.power(&site.publisher).await?;
    let (state, detail) = end(&mut submitted).await?;
    assert_eq!((state, &*detail), (CommandState::Failed, "sent by r1 and r2, did not come up within 1 s"));
    Ok(())
}

#[tokio::test]
async fn without_a_mac_it_fails_at_once() -> Result<()> {
    let mut site = Site::new(Wol::default()).await?;
    let pc = site.machine("pc", "paris", 7).await?;
    let mut submitted = pc.power(&site.publisher).await?;
    let (state, detail) = end(&mut submitted).await?;
    assert_eq!(state, CommandState::Failed);
    assert!(detail.starts_with("no MAC known"), "{detail}");
    Ok(())
}

#[tokio::test]
async fn without_a_relay_the_broker_sends_to_its_own_addresses() -> Result<()> {
    let subnet = UdpSocket::bind("127.0.0.1:0").await?;
    let addresses = vec![subnet.local_addr()?.to_string().parse()?];
    let mut site = Site::new(Wol { addresses, ..Wol::default() }).await?;
    let pc = site.sleeper().await?;
    let mut submitted = pc.power(&site.publisher).await?;
    assert_eq!(packet(&subnet).await?, pc.mac().to_string());
    let _up = pc.up(0).await?;
    let (state, detail) = end(&mut submitted).await?;
    assert_eq!(state, CommandState::Done, "{detail}");
    assert_eq!(site.steps(submitted.id()).await?, ["broker_sent", "heard", "verdict"]);
    Ok(())
}

#[tokio::test]
async fn another_tenants_relay_is_never_asked() -> Result<()> {
    let mut site = Site::new(Wol { timeout_secs: 1, ..Wol::default() }).await?;
    let pc = site.sleeper().await?;
    let (theirs, neighbour) =
        (site.machine("theirs", "lyon", 8).await?, site.machine("neighbour", "lyon", 9).await?);
    neighbour.known(&mut site.management).await?;
    let _relaying = theirs.up(100).await?;
    theirs.relays_for(&mut site.management, &neighbour).await?;
    let mut submitted = pc.power(&site.publisher).await?;
    let (state, detail) = end(&mut submitted).await?;
    assert_eq!(state, CommandState::Failed);
    assert!(detail.starts_with("no awake relay on 127.0.0.0/8"), "{detail}");
    assert_eq!(site.steps(submitted.id()).await?, ["no_relay", "verdict"]);
    assert_eq!(site.broker.scrape()?.of("wakemq_relays_asked_total")?, 0.0);
    Ok(())
}

#[tokio::test]
async fn what_is_cancelled_ends_and_what_waited_behind_it_is_not_for_who_lost_the_right() -> Result<()> {
    let mut site = Site::new(Wol::default()).await?;
    let pc = site.sleeper().await?;
    let relay = site.machine("relay", "paris", 8).await?;
    let _relaying = relay.up(100).await?;
    relay.relays_for(&mut site.management, &pc).await?;
    let request =
        OperatorRequest { operator: "erika".parse()?, role: Role::Operator, group: "paris".parse()? };
    let erika = site.management.create_operator(&request).await?;
    let profile = wakemq_protocol::http::Profile {
        operator: erika.operator.clone(),
        secret: erika.secret,
        ..site.broker.profile()?
    };
    let hers = Publisher::connect(&profile).await?;

    let mut first = pc.power(&site.publisher).await?;
    assert_eq!(first.wait(Wanted::Sent, LIMIT).await?, Verdict::Reached);
    let second = pc.power(&hers).await?;
    site.management.revoke_operator(&erika.operator).await?;
    site.management.cancel(first.id()).await?;
    assert_eq!(end(&mut first).await?.0, CommandState::Cancelled);
    // Who published it is not connected any more.
    let outcome = eventually("the second one to end", async || {
        let outcome = site.management.command(second.id()).await?.outcomes.remove(0);
        Ok(outcome.state.is_terminal().then_some(outcome))
    })
    .await?;
    assert_eq!(outcome.state, CommandState::Failed);
    let detail = outcome.detail.unwrap_or_default();
    assert_eq!(detail, "op:erika may not switch pc on any more: its right was taken away");
    assert_eq!(site.broker.scrape()?.of("wakemq_relays_asked_total")?, 1.0);
    Ok(())
}

#[tokio::test]
async fn a_broker_that_is_killed_in_the_middle_goes_on_and_tells_the_truth() -> Result<()> {
    let mut broker = BrokerProcess::start().await?;
    let mut management = broker.management()?;
    let (ca, address) = (broker.ca_path(), broker.address());
    let mut at = async |name: &str, number| {
        Machine::new(At { management: &mut management, ca: &ca, address }, name, "paris", number).await
    };
    let (pc, relay) = (at("pc", 7).await?, at("relay", 8).await?);
    pc.known(&mut management).await?;
    let relaying = relay.up(100).await?;
    relay.relays_for(&mut management, &pc).await?;
    let publisher = broker.publisher().await?;
    let mut submitted = pc.power(&publisher).await?;
    assert_eq!(submitted.wait(Wanted::Sent, LIMIT).await?, Verdict::Reached);
    broker.kill().await?;

    broker.restart().await?;
    wakemq_tests::agents::connected(&relaying).await?;
    let _up = pc.up(0).await?;
    let outcome = eventually("the verdict", async || {
        let outcome = management.command(submitted.id()).await?.outcomes.remove(0);
        Ok(outcome.state.is_terminal().then_some(outcome))
    })
    .await?;
    let detail = outcome.detail.unwrap_or_default();
    assert_eq!(outcome.state, CommandState::Done, "{detail}");
    assert!(detail.starts_with("booted"), "{detail}");
    let steps = steps(&mut management, submitted.id()).await?;
    assert_eq!(steps[..2], ["relay_asked relay", "relay_acknowledged relay"]);
    assert_eq!(steps.iter().filter(|step| step.starts_with("relay_asked")).count(), 1, "{steps:?}");
    Ok(())
}
