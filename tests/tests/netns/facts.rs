//! What an agent tells of its network, and when.

use anyhow::{Context as _, Result};
use wakemq_protocol::{Facts, Medium};
use wakemq_tests::wait::eventually;

use crate::host::Booted;
use crate::network::{Segment, ip, mac_text};
use crate::scene::Scene;

/// Waits until the facts that the broker has are as they should be.
async fn facts(scene: &Scene, host: usize, what: &str, good: impl Fn(&Facts) -> bool) -> Result<Facts> {
    let mut management = scene.management()?;
    let mut last = None;
    let found = eventually(what, async || {
        last = management.agent(scene.hosts[host].id()).await?.facts;
        Ok(last.clone().filter(|facts| good(facts)))
    })
    .await;
    found.with_context(|| format!("the facts are {last:?}"))
}

fn addresses(facts: &Facts) -> Vec<String> {
    facts.interfaces.iter().flat_map(|interface| &interface.addresses).map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_agent_tells_its_adapters_and_tells_again_when_they_change() -> Result<()> {
    let scene = Scene::new("", &[("pc-1", Segment::A), ("pc-2", Segment::A)]).await?;
    let _first = scene.hosts[0].connected(Booted::Before(30), &[]).await?;
    let told = facts(&scene, 0, "facts with a gateway", |facts| {
        facts.interfaces.iter().any(|interface| interface.gateway_mac.is_some())
    })
    .await?;
    let [interface] = &told.interfaces[..] else { panic!("{:?}", told.interfaces) };
    assert_eq!((interface.name.as_str(), interface.medium), ("eth0", Medium::Wired));
    assert_eq!(interface.mac.bytes(), Segment::A.mac(10));
    assert_eq!(interface.gateway_mac.context("no gateway")?.bytes(), Segment::A.mac(1));
    assert_eq!(addresses(&told)[..2], ["10.77.1.10/24", "fd77:1::10/64"]);
    assert!(told.relay);
    // The clock since boot is that of its time namespace, and counts from before the agent.
    let since_boot = told.since_boot.context("no age")?;
    assert!((30..90).contains(&since_boot), "{since_boot} s");
    assert_eq!(told.since_resume, None);

    let namespace = &scene.hosts[0].namespace;
    ip(&["-n", namespace, "address", "add", "10.77.1.200/24", "dev", "eth0"])?;
    let more =
        facts(&scene, 0, "the new address", |facts| addresses(facts).contains(&"10.77.1.200/24".to_owned()))
            .await?;
    assert_eq!(more.instance, told.instance);
    assert!(more.since_boot >= told.since_boot);
    let mac = mac_text([0x00, 0x16, 0x3e, 1, 2, 3]);
    ip(&["-n", namespace, "link", "set", "eth0", "address", &mac])?;
    facts(&scene, 0, "the new MAC address", |facts| facts.interfaces[0].mac.to_string() == mac).await?;

    // One that will not relay does not say that it does; and boot ids differ.
    let _second = scene.hosts[1].connected(Booted::Before(5), &["--no-relay"]).await?;
    let other = facts(&scene, 1, "its facts", |_| true).await?;
    assert!(!other.relay);
    assert_ne!(other.boot_id, told.boot_id);
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_nothing_was_sent_through_is_found_out() -> Result<()> {
    // The broker is on this agent's own network, so that it never needs its gateway.
    let scene = Scene::new("", &[("pc-1", Segment::Broker)]).await?;
    let _agent = scene.hosts[0].connected(Booted::LongAgo, &[]).await?;
    let told = facts(&scene, 0, "facts with a gateway", |facts| {
        facts.interfaces.iter().any(|interface| interface.gateway_mac.is_some())
    })
    .await?;
    assert_eq!(told.interfaces[0].gateway_mac.context("no gateway")?.bytes(), Segment::Broker.mac(1));
    Ok(())
}

#[tokio::test]
async fn another_default_route_is_noticed_though_no_address_has_changed() -> Result<()> {
    let scene = Scene::new("", &[("pc-1", Segment::Broker)]).await?;
    let _agent = scene.hosts[0].connected(Booted::LongAgo, &[]).await?;
    let is_by = |facts: &Facts, host| {
        facts.interfaces[0].gateway_mac.is_some_and(|mac| mac.bytes() == Segment::Broker.mac(host))
    };
    facts(&scene, 0, "the router as the gateway", |facts| is_by(facts, 1)).await?;
    let other = Segment::Broker.address(2);
    ip(&["-n", &scene.hosts[0].namespace, "route", "replace", "default", "via", &other])?;
    facts(&scene, 0, "the other gateway", |facts| is_by(facts, 2)).await?;
    Ok(())
}
