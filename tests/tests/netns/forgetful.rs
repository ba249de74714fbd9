//! A router that forgets quiet connections, and drops what belongs to none without a word.

use anyhow::Result;
use wakemq_tests::wait::eventually;

use crate::host::Booted;
use crate::network::Segment;
use crate::scene::Scene;

/// Makes a network whose router forgets connections that were quiet for so long.
async fn forgetting(secs: u32) -> Result<Scene> {
    let scene = Scene::with_both_ports(&Segment::Broker.address(2)).await?;
    scene.network.rules("forward", &["ct state invalid drop"])?;
    // A connection is known from its SYN on, or not at all.
    scene.network.set("netfilter/nf_conntrack_tcp_loose", "0")?;
    scene.network.set("netfilter/nf_conntrack_tcp_timeout_established", &secs.to_string())?;
    Ok(scene)
}

#[tokio::test]
async fn a_wake_that_the_network_swallows_is_delivered_all_the_same() -> Result<()> {
    let scene = forgetting(3).await?;
    // Neither pings nor the end of a keep-alive would tell the broker before 30 s.
    let quiet = ["--keep-alive", "20", "--heartbeat-step", "0"];
    let _running = scene.hosts[0].connected(Booted::LongAgo, &quiet).await?;
    scene.wake(0, "a flow that the router knows").await?;
    let forgotten = async || Ok((!scene.network.remembers_flow_to(8883)?).then_some(()));
    eventually("the router to forget", forgotten).await?;
    scene.wake(0, "a flow that the router has forgotten").await?;
    // The broker has given up the connection before the agent did.
    scene.broker.process().wait_log("it was sent a command, and nothing came for 20 s").await.map(drop)
}

#[tokio::test]
async fn the_heartbeat_settles_below_what_the_router_bears() -> Result<()> {
    let scene = forgetting(10).await?;
    let search =
        ["--keep-alive", "5", "--heartbeat-min", "5", "--heartbeat-max", "30", "--heartbeat-step", "3"];
    let running = scene.hosts[0].connected(Booted::LongAgo, &search).await?;
    // 5 s and 8 s are borne; 11 s are not, which takes 20 s more to find out.
    let reach = scene.reach(0, "the heartbeat to settle", |reach| reach.settled).await?;
    assert_eq!(reach.heartbeat, 8);
    scene.wake(0, "a heartbeat that has settled").await?;
    let kept = std::fs::read_to_string(scene.hosts[0].home.state().join("networks.json"))?;
    assert!(kept.contains("raise_failed_ms"), "{kept}");
    let lost = running.agent.lines().into_iter().find(|line| line.text.contains("no longer answers"));
    assert!(lost.is_none(), "the search has cost a connection: {lost:?}");
    Ok(())
}
