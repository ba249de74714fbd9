//! Endpoints that are switched on: what is on the wire, and the verdict.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use wakemq_protocol::http::CommandView;
use wakemq_protocol::{
    AgentId, CommandId, CommandState, Event, EventBody, Kind, PowerNews, PowerWhat, Submission,
};
use wakemq_tests::raw::{Client, Login, Packet, Version};
use wakemq_tests::wait::{eventually, within};

use crate::capture::{Capture, Datagram};
use crate::host::{Booted, Running};
use crate::network::{Segment, mac_text};
use crate::scene::Scene;

/// A sleeper, and three that may send for it.
const THREE_RELAYS: [(&str, Segment); 4] =
    [("sleeper", Segment::A), ("relay-1", Segment::A), ("relay-2", Segment::A), ("relay-3", Segment::A)];
/// A sleeper, two that may send for it, and one on another subnet.
const TWO_RELAYS_AND_ONE_ELSEWHERE: [(&str, Segment); 4] =
    [("sleeper", Segment::A), ("relay-1", Segment::A), ("relay-2", Segment::A), ("relay-b", Segment::B)];
/// Short, for endpoints that never come.
const TIMEOUT: &str = "[wol]\ntimeout_secs = 10\n";
/// The sleeper is the first host.
const SLEEPER: usize = 0;
/// Three times, to two ports: at the subnet's broadcast address, at 255.255.255.255, and at ff02::1.
const PACKETS_OF_A_RELAY: usize = 3 * 2 * 3;
const EVERYBODY: [u8; 6] = [0xff; 6];
const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

impl Scene {
    /// Lets the sleeper tell its facts, and then fall asleep; its adapter stays awake. It never counts as a relay.
    async fn asleep(&self) -> Result<()> {
        let sleeper = self.hosts[SLEEPER].connected(Booted::Before(1000), &["--no-relay"]).await?;
        let mut management = self.management()?;
        let mut seen = async |connected, what: &str| {
            eventually(what, async || {
                let agent = management.agent(self.hosts[SLEEPER].id()).await?;
                let told = agent.facts.as_ref().is_some_and(|facts| {
                    facts.interfaces.iter().any(|interface| interface.gateway_mac.is_some())
                });
                Ok((told && agent.connected == connected).then_some(()))
            })
            .await
        };
        seen(true, "the sleeper's facts").await?;
        sleeper.end().await?;
        seen(false, "the sleeper to be away").await
    }

    /// Starts the agents of all hosts but the sleeper, and waits until the broker knows where they are.
    async fn neighbours(&self) -> Result<Vec<Running>> {
        let mut running = Vec::new();
        let mut management = self.management()?;
        for host in &self.hosts[1..] {
            running.push(host.connected(Booted::LongAgo, &[]).await?);
            eventually("a neighbour's facts", async || {
                let facts = management.agent(host.id()).await?.facts;
                let interfaces = facts.map(|facts| facts.interfaces).unwrap_or_default();
                Ok(interfaces.iter().any(|interface| interface.gateway_mac.is_some()).then_some(()))
            })
            .await?;
        }
        Ok(running)
    }

    async fn switch_on(&self) -> Result<CommandId> {
        let mut management = self.management()?;
        let submitted = management.submit(self.hosts[SLEEPER].id(), Submission::new(Kind::Power));
        Ok(within("a power command", submitted).await??.id)
    }

    /// Waits until something is in the evidence.
    async fn evidence(&self, id: CommandId, what: &str, found: impl Fn(&PowerWhat) -> bool) -> Result<()> {
        let mut management = self.management()?;
        let mut last = None;
        let waited = eventually(what, async || {
            let view = management.command(id).await?;
            let there = view.evidence.iter().any(|step| found(&step.what));
            last = Some(view);
            Ok(there.then_some(()))
        })
        .await;
        waited.with_context(|| format!("so far: {last:?}"))
    }

    /// Waits for the end.
    async fn ended(&self, id: CommandId) -> Result<(CommandState, String, CommandView)> {
        let mut management = self.management()?;
        let view = eventually("the verdict", async || {
            let view = management.command(id).await?;
            Ok(view.outcomes[0].state.is_terminal().then_some(view))
        })
        .await?;
        let outcome = &view.outcomes[0];
        Ok((outcome.state, outcome.detail.clone().unwrap_or_default(), view))
    }
}

fn relay(number: u8) -> [u8; 6] {
    Segment::A.mac(number)
}

fn asked(view: &CommandView) -> Vec<&AgentId> {
    let mut asked = Vec::new();
    for step in &view.evidence {
        if let PowerWhat::RelayAsked { relay, .. } = &step.what {
            asked.push(relay);
        }
    }
    asked
}

/// Returns what wakes the sleeper, written out here so that nothing but the wire is trusted.
fn magic_packet(secureon: &[u8]) -> Vec<u8> {
    let mut payload = vec![0xff; 6];
    (0..16).for_each(|_| payload.extend([0x00, 0x16, 0x3e, 0x77, 1, 10]));
    payload.extend(secureon);
    payload
}

/// Checks every byte of what was heard on the sleeper's segment, and that it is all that these relays send.
fn check(heard: &[Datagram], payload: &[u8], relays: &[u8]) {
    let subnet: IpAddr = [10, 77, 1, 255].into();
    let everywhere: IpAddr = [255; 4].into();
    let all_nodes: IpAddr = [0xff02, 0, 0, 0, 0, 0, 0, 1].into();
    let mut counts = HashMap::new();
    for datagram in heard {
        assert_eq!(datagram.payload, payload, "{datagram:?}");
        let from = relays.iter().find(|&&number| datagram.mac_from == relay(number));
        let from = *from.unwrap_or_else(|| panic!("not one of {relays:?}: {datagram:?}"));
        if datagram.to == all_nodes {
            assert_eq!(datagram.mac_to, ALL_NODES);
            assert!(
                matches!(datagram.from, IpAddr::V6(from) if from.is_unicast_link_local()),
                "{datagram:?}"
            );
        } else {
            assert_eq!(datagram.mac_to, EVERYBODY);
            assert_eq!(datagram.from.to_string(), Segment::A.address(from));
        }
        *counts.entry((from, datagram.to, datagram.port)).or_insert(0) += 1;
    }
    for &from in relays {
        for to in [subnet, everywhere, all_nodes] {
            for port in [9, 7] {
                assert_eq!(counts.remove(&(from, to, port)), Some(3), "from {from} to {to}, port {port}");
            }
        }
    }
    assert!(counts.is_empty(), "{counts:?}");
}

#[tokio::test]
async fn a_sleeper_is_switched_on_by_packets_on_its_own_wire_alone() -> Result<()> {
    let scene = Scene::new(TIMEOUT, &TWO_RELAYS_AND_ONE_ELSEWHERE).await?;
    scene.asleep().await?;
    let _neighbours = scene.neighbours().await?;
    let wire = Capture::start(&scene.hosts[SLEEPER].namespace)?;
    let other = Capture::start(&scene.hosts[3].namespace)?;

    let wakemq = scene.wakemq();
    let booting = async {
        // The adapter hears the packet, and the machine begins to boot.
        wire.wait(1).await?;
        let woken = scene.hosts[SLEEPER].start(Booted::After(3), &[])?;
        check(&wire.wait(2 * PACKETS_OF_A_RELAY).await?, &magic_packet(&[]), &[11, 12]);
        anyhow::Ok(woken)
    };
    let (told, woken) = tokio::join!(wakemq.call(&["wol", "sleeper"]), booting);
    let (told, _woken) = (told?.expect_code(0)?, woken?);
    let chain = format!("{}{}", told.out, told.err);
    for words in ["relay-1 was asked", "relay-2 says done: sent 18 packets on eth0", "it connected", "booted"]
    {
        assert!(chain.contains(words), "no {words:?} in:\n{chain}");
    }
    assert!(!chain.contains("relay-b") && !chain.contains("by itself"), "{chain}");
    assert_eq!((wire.magic().len(), other.magic().len()), (2 * PACKETS_OF_A_RELAY, 0));
    Ok(())
}

#[tokio::test]
async fn a_relay_that_dies_is_replaced() -> Result<()> {
    let scene = Scene::new(TIMEOUT, &THREE_RELAYS).await?;
    scene.asleep().await?;
    let mut neighbours = scene.neighbours().await?;
    let wire = Capture::start(&scene.hosts[SLEEPER].namespace)?;
    // It gets its job, and dies before it can do anything.
    neighbours[0].signal(Signal::STOP)?;
    let id = scene.switch_on().await?;
    let first = scene.hosts[1].id();
    scene
        .evidence(
            id,
            "the first relay to be asked",
            |what| matches!(what, PowerWhat::RelayAsked { relay, .. } if relay == first),
        )
        .await?;
    neighbours[0].signal(Signal::KILL)?;
    check(&wire.wait(2 * PACKETS_OF_A_RELAY).await?, &magic_packet(&[]), &[12, 13]);
    scene.evidence(id, "that it left", |what| *what == PowerWhat::RelayLeft { relay: first.clone() }).await?;
    let view = scene.management()?.command(id).await?;
    assert_eq!(asked(&view).iter().collect::<HashSet<_>>().len(), 3, "{view:?}");
    Ok(())
}

#[tokio::test]
async fn a_sleeper_that_never_comes_has_failed_and_a_silent_relay_is_replaced() -> Result<()> {
    let scene = Scene::new(TIMEOUT, &THREE_RELAYS).await?;
    scene.asleep().await?;
    let mut neighbours = scene.neighbours().await?;
    let wire = Capture::start(&scene.hosts[SLEEPER].namespace)?;
    neighbours[0].signal(Signal::STOP)?;
    let id = scene.switch_on().await?;
    let (state, detail, view) = scene.ended(id).await?;
    assert_eq!(state, CommandState::Failed, "{view:?}");
    assert!(detail.contains("did not come up"), "{detail}");
    assert!(["relay-2", "relay-3"].iter().all(|relay| detail.contains(relay)), "{detail}");
    let silent = PowerWhat::RelaySilent { relay: scene.hosts[1].id().clone() };
    assert!(view.evidence.iter().any(|step| step.what == silent), "{view:?}");
    check(&wire.magic(), &magic_packet(&[]), &[12, 13]);
    neighbours[0].signal(Signal::CONT)?;
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_was_running_and_cut_off_was_not_switched_on() -> Result<()> {
    let scene =
        Scene::new("[wol]\ntimeout_secs = 60\n", &[("sleeper", Segment::A), ("relay-1", Segment::A)]).await?;
    scene.asleep().await?;
    let _neighbours = scene.neighbours().await?;
    // It runs, and nobody reaches it.
    let host = &scene.hosts[SLEEPER];
    scene.network.cable(host.segment, host.number, false)?;
    let cut_off = host.start(Booted::Before(1000), &[])?;
    cut_off.agent.wait_line("not connected").await?;
    let id = scene.switch_on().await?;
    scene.evidence(id, "a relay to have sent", |what| matches!(what, PowerWhat::RelaySaid { .. })).await?;
    scene.network.cable(host.segment, host.number, true)?;
    let (state, detail, view) = scene.ended(id).await?;
    assert_eq!(state, CommandState::Failed, "{view:?}");
    assert!(detail.contains("was running, unreachable"), "{detail}");
    Ok(())
}

#[tokio::test]
async fn operators_are_warned_before_the_last_relay_goes() -> Result<()> {
    let scene = Scene::new(TIMEOUT, &TWO_RELAYS_AND_ONE_ELSEWHERE).await?;
    scene.asleep().await?;
    let mut neighbours = scene.neighbours().await?.into_iter();
    let mut follower = Client::dial(scene.broker.address(), &scene.broker.ca_path()).await?;
    let secret = scene.broker.profile()?.secret;
    follower.enter(&Login::new(Version::V5, "op:admin", secret.expose())).await?;
    follower.subscribe("wake/v1/events/power/#", 0).await?;

    let explained = scene.wakemq().call(&["explain", "sleeper"]).await?.expect_code(0)?.out;
    assert!(explained.contains("can be switched on now") && explained.contains("relay-1"), "{explained}");
    neighbours.next().context("no relay")?.end().await?;
    let PowerNews::LastRelay { agent, detail, .. } = warning(&mut follower).await? else {
        bail!("not the last")
    };
    assert_eq!(&agent, scene.hosts[2].id(), "{detail}");
    neighbours.next().context("no relay")?.end().await?;
    let PowerNews::NoRelayLeft { agent, detail, .. } = warning(&mut follower).await? else {
        bail!("not gone")
    };
    assert_eq!(&agent, scene.hosts[2].id(), "{detail}");

    let explained = scene.wakemq().call(&["explain", "sleeper"]).await?.expect_code(0)?.out;
    assert!(explained.contains("cannot be switched on now"), "{explained}");

    // The one on the other subnet is of no use, and is not asked.
    let other = Capture::start(&scene.hosts[3].namespace)?;
    let id = scene.switch_on().await?;
    scene.evidence(id, "that there is no relay", |what| matches!(what, PowerWhat::NoRelay { .. })).await?;
    let view = scene.management()?.cancel(id).await?;
    assert!(asked(&view).is_empty() && other.magic().is_empty(), "{view:?}");
    Ok(())
}

#[tokio::test]
async fn a_machine_without_an_agent_is_sent_packets_with_its_password() -> Result<()> {
    // Its subnet's broadcast address, which the router lets through.
    let config = "[wol]\naddresses = [\"10.77.1.255\"]\n";
    let hosts = [("sleeper", Segment::A), ("relay-1", Segment::A), ("relay-b", Segment::B)];
    let scene = Scene::new(config, &hosts).await?;
    let _neighbours = scene.neighbours().await?;
    let wire = Capture::start(&scene.hosts[SLEEPER].namespace)?;
    let other = Capture::start(&scene.hosts[2].namespace)?;
    let wakemq = scene.wakemq();
    let mac = mac_text(Segment::A.mac(10));
    let wol = ["wol", "--mac", &mac, "--secureon-file", "-"];

    let told = wakemq.call_with(&[&wol[..], &["--via", "relay-1"]].concat(), "1:2:3:4:5:6\n").await?;
    told.expect_code(2)?;
    let told = wakemq.call_with(&[&wol[..], &["--via", "relay-1"]].concat(), "01:02:03:04:05:ff\n").await?;
    let said = told.expect_code(0)?.out;
    assert!(said.contains("sent 18 packets on eth0"), "{said}");
    check(&wire.wait(PACKETS_OF_A_RELAY).await?, &magic_packet(&[1, 2, 3, 4, 5, 255]), &[11]);

    let told = wakemq.call_with(&[&wol[..], &["--from-broker"]].concat(), "1.2.3.4").await?;
    let said = told.expect_code(0)?.out;
    assert!(said.contains("10.77.1.255:9") && said.contains("10.77.1.255:7"), "{said}");
    let heard = wire.wait(PACKETS_OF_A_RELAY + 6).await?;
    for (number, datagram) in heard[PACKETS_OF_A_RELAY..].iter().enumerate() {
        let expected = Datagram {
            mac_to: EVERYBODY,
            mac_from: relay(1),
            from: Segment::Broker.address(2).parse()?,
            to: [10, 77, 1, 255].into(),
            port: [9, 7][number % 2],
            payload: magic_packet(&[1, 2, 3, 4]),
        };
        assert_eq!(datagram, &expected);
    }
    assert_eq!(other.magic(), []);
    Ok(())
}

/// Waits for a warning about a subnet of IPv4.
async fn warning(follower: &mut Client) -> Result<PowerNews> {
    loop {
        let Some(Packet::Publish { payload, .. }) = within("a warning", follower.next()).await?? else {
            bail!("no event")
        };
        let event: Event = serde_json::from_slice(&payload)?;
        if let EventBody::Power { news } = event.news.body
            && matches!(&news, PowerNews::LastRelay { subnet, .. } | PowerNews::NoRelayLeft { subnet, .. }
                if subnet.to_string() == "10.77.1.0/24")
        {
            return Ok(news);
        }
    }
}
