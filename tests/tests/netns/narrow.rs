//! Networks that let little through: a port whose packets are dropped, IPv6 alone, small packets alone.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use wakemq_protocol::limits::{IN_FLIGHT_MAX, REASON_MAX};
use wakemq_protocol::{Kind, SlotChoice, Submission};
use wakemq_publisher::{Submitted, Verdict, Wanted};
use wakemq_tests::wait::{LIMIT, eventually, within};
use wakemq_tests::waking::tell;

use crate::host::{Booted, Running};
use crate::network::{Segment, ip};
use crate::scene::Scene;

/// What is a matter of seconds takes no longer than this, on a machine that is busy with other tests too.
const SECONDS: Duration = Duration::from_secs(20);
/// Interfaces, each with so many addresses, that make facts of several packets.
const INTERFACES: u8 = 16;
const ADDRESSES: u8 = 8;

/// Starts the agent, and waits until it is connected; says how long that took.
async fn connected(scene: &Scene, args: &[&str], story: &str) -> Result<(Running, Duration)> {
    let began = Instant::now();
    let running = scene.hosts[0].connected(Booted::LongAgo, args).await?;
    let took = began.elapsed();
    tell(began, &format!("{story}: connected"));
    Ok((running, took))
}

/// Submits as many commands as may be on their way at once, each nearly as large as a packet.
async fn submit_large(scene: &Scene) -> Result<Vec<Submitted>> {
    let publisher = scene.broker.publisher().await?;
    let mut all = Vec::new();
    for _ in 0..IN_FLIGHT_MAX {
        let reason = Some("x".repeat(REASON_MAX));
        let submission = Submission { slot: SlotChoice::Never, reason, ..Submission::new(Kind::Wake) };
        all.push(within("a submission", publisher.submit(scene.hosts[0].id(), submission)).await??);
    }
    Ok(all)
}

async fn done(all: Vec<Submitted>, began: Instant, story: &str) -> Result<()> {
    for mut one in all {
        assert_eq!(one.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    }
    tell(began, &format!("{story}: {IN_FLIGHT_MAX} large commands done"));
    Ok(())
}

#[tokio::test]
async fn where_packets_to_8883_are_dropped_it_comes_by_443_and_at_once_the_next_time() -> Result<()> {
    let scene = Scene::with_both_ports(&Segment::Broker.address(2)).await?;
    scene.network.rules("forward", &["tcp dport 8883 drop"])?;
    let story = "8883 dropped";
    let (running, first) = connected(&scene, &[], story).await?;
    assert!(first < SECONDS, "{first:?}");
    scene.wake(0, story).await?;
    let reach = scene.reach(0, "the way", |_| true).await?;
    assert_eq!(reach.endpoint, "10.77.0.2:443");
    assert!(reach.better.iter().any(|way| way.way == "mqtt 10.77.0.2:8883"), "{reach:?}");
    running.end().await?;

    let (_running, again) = connected(&scene, &[], "8883 dropped, the second time").await?;
    assert!(again < first, "it has forgotten what works: {again:?} after {first:?}");
    scene.wake(0, "8883 dropped, the second time").await
}

#[tokio::test]
async fn where_there_is_ipv6_alone_it_is_woken() -> Result<()> {
    let scene = Scene::with_both_ports(&Segment::Broker.address_v6(2)).await?;
    ip(&["-n", &scene.hosts[0].namespace, "-4", "address", "flush", "dev", "eth0"])?;
    let (_running, _) = connected(&scene, &[], "IPv6 alone").await?;
    scene.wake(0, "IPv6 alone").await?;
    let reach = scene.reach(0, "the way", |_| true).await?;
    assert_eq!(reach.endpoint, "[fd77::2]:8883");
    Ok(())
}

/// Sends more than one packet at once, both ways, and wakes the agent.
async fn large_both_ways(scene: &Scene, story: &str) -> Result<()> {
    let facts = scene.hosts[0].home.path("facts.json");
    std::fs::write(&facts, large_facts())?;
    let large = submit_large(scene).await?;
    let began = Instant::now();
    let (_running, _) = connected(scene, &["--declare", &facts.to_string_lossy()], story).await?;
    done(large, began, story).await?;
    let mut management = scene.management()?;
    eventually("the large facts", async || {
        let facts = management.agent(scene.hosts[0].id()).await?.facts;
        Ok(facts.filter(|facts| facts.interfaces.len() == usize::from(INTERFACES)).map(drop))
    })
    .await?;
    scene.wake(0, story).await
}

fn large_facts() -> String {
    let interfaces: Vec<_> = (0..INTERFACES)
        .map(|number| {
            let address = |last| format!("2001:db8::{number:x}:{last:x}/64");
            json!({
                "name": format!("interface-{number}"),
                "mac": format!("00:16:3e:00:00:{number:02x}"),
                "medium": "wired",
                "addresses": (0..ADDRESSES).map(address).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "interfaces": interfaces }).to_string()
}

#[tokio::test]
async fn what_is_larger_than_the_path_carries_comes_in_small_packets() -> Result<()> {
    let scene = Scene::with_both_ports(&Segment::Broker.address(2)).await?;
    // Less than what is sent unasked: the router tells.
    scene.network.mtu(1000)?;
    large_both_ways(&scene, "an MTU of 1000").await
}

#[tokio::test]
async fn where_nobody_says_that_packets_are_too_large_none_is() -> Result<()> {
    for host in [Segment::Broker.address(2), Segment::Broker.address_v6(2)] {
        let scene = Scene::with_both_ports(&host).await?;
        scene.network.mtu(1280)?;
        scene.network.rules(
            "output",
            &["icmp type destination-unreachable drop", "icmpv6 type packet-too-big drop"],
        )?;
        large_both_ways(&scene, &format!("an MTU of 1280 to {host}, of which nobody tells")).await?;
    }
    Ok(())
}
