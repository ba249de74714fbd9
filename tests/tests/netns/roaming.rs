//! Networks that change under a live connection, and that are lost and come back.

use std::time::{Duration, Instant};

use anyhow::Result;
use wakemq_protocol::{Kind, Submission};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::wait::{LIMIT, eventually, within};
use wakemq_tests::waking::tell;

use crate::host::{Booted, Running};
use crate::network::{Segment, ip};
use crate::scene::Scene;

/// The number of the agent's host.
const HOST: u8 = 10;
/// What is a matter of seconds takes no longer than this, on a machine that is busy with other tests too.
const SECONDS: Duration = Duration::from_secs(15);

async fn start(args: &[&str]) -> Result<(Scene, Running)> {
    let scene = Scene::with_both_ports(&Segment::Broker.address(2)).await?;
    let running = scene.hosts[0].connected(Booted::LongAgo, args).await?;
    scene.wake(0, "before the change").await?;
    Ok((scene, running))
}

/// Gives the agent's host a new address and gateway, as DHCP does in another network.
fn renumber(scene: &Scene, segment: Segment, host: u8) -> Result<()> {
    let namespace = &scene.hosts[0].namespace;
    ip(&["-n", namespace, "address", "flush", "dev", "eth0"])?;
    ip(&["-n", namespace, "address", "add", &format!("{}/24", segment.address(host)), "dev", "eth0"])?;
    ip(&["-n", namespace, "route", "add", "default", "via", &segment.address(1)])
}

/// Waits until the agent is back, from an address of the broker's view.
async fn back(scene: &Scene, address: &str, began: Instant, story: &str) -> Result<()> {
    let mut management = scene.management()?;
    eventually(&format!("{story}: the agent from {address}"), async || {
        let view = management.agent(scene.hosts[0].id()).await?;
        let here = view.address.is_some_and(|from| from.starts_with(&format!("{address}:")));
        Ok((view.connected && here).then_some(()))
    })
    .await?;
    let took = began.elapsed();
    tell(began, &format!("{story}: back"));
    assert!(took < SECONDS, "{story}: {took:?}");
    scene.wake(0, story).await
}

#[tokio::test]
async fn an_address_that_is_taken_away_is_left_within_seconds() -> Result<()> {
    let (scene, _running) = start(&[]).await?;
    let began = Instant::now();
    renumber(&scene, Segment::A, 77)?;
    back(&scene, &Segment::A.address(77), began, "another address").await
}

#[tokio::test]
async fn in_another_network_it_is_back_within_seconds() -> Result<()> {
    let (scene, _running) = start(&[]).await?;
    let began = Instant::now();
    scene.network.plug(Segment::A, HOST, Segment::B)?;
    renumber(&scene, Segment::B, 78)?;
    back(&scene, &Segment::B.address(78), began, "another network").await
}

#[tokio::test]
async fn what_came_while_the_cable_was_out_is_delivered_when_it_is_back() -> Result<()> {
    let (scene, running) = start(&[]).await?;
    let publisher = scene.broker.publisher().await?;
    scene.network.cable(Segment::A, HOST, false)?;
    running.agent.wait_line("the network has changed").await?;
    let mut woken =
        within("a submission", publisher.submit(scene.hosts[0].id(), Submission::new(Kind::Wake))).await??;
    let began = Instant::now();
    scene.network.cable(Segment::A, HOST, true)?;
    assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    let took = began.elapsed();
    tell(began, "the cable back: woken");
    assert!(took < SECONDS, "{took:?}");
    scene.wake(0, "the cable back").await
}
