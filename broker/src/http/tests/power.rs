//! Switching on, and packets for machines without an agent.

use wakemq_protocol::{Facts, Transport};

use super::management::post;
use super::*;
use crate::engine::PowerQueue;
use crate::registry::Mailbox;

const POWER: &str = "0197c1b2-0000-7000-8000-000000000011";

impl Fixture {
    /// Connects an agent, which tells of one wired interface.
    async fn connect(&self, name: &str, group: &str, last: u8) -> Arc<Mailbox> {
        let facts = json!({"instance": "i", "relay": true, "interfaces": [{
            "name": "eth0", "mac": format!("00:16:3e:00:00:{last:02x}"), "medium": "wired",
            "addresses": [format!("192.0.2.{last}/24")], "gateway_mac": "00:16:3e:00:00:fe"}]});
        let facts = Facts::from_json(facts.to_string().as_bytes()).unwrap();
        let agent: AgentId = name.parse().unwrap();
        let mailbox = self.engine.registry().open(([192, 0, 2, last], 1000).into(), Transport::Mqtt);
        self.engine.arrive(&agent, &group.parse().unwrap(), &mailbox, None);
        self.engine.claim(&agent, &mailbox).await.unwrap();
        self.engine.facts(&agent, &mailbox, facts).await.unwrap();
        mailbox
    }
}

#[tokio::test]
async fn golden_power() {
    let it = Fixture::new().await.with_agents().await;
    let submit = |secret, body| post("/v1/commands", secret, body);
    let body = json!({"id": POWER, "agent": "printer-7", "kind": "power", "ttl": 600});
    it.golden("power-submit", submit(&it.paris, body)).await;
    it.golden("power-group", submit(&it.admin, json!({"group": "a", "kind": "power"}))).await;
    let now = json!({"agent": "printer-7", "kind": "power", "ttl": 0});
    it.golden("power-only-if-connected", submit(&it.admin, now)).await;
    it.golden("power-explain-unknown", get("/v1/agents/till-1/power", &it.paris)).await;
    it.golden("power-explain-no-mac", get("/v1/agents/printer-7/power", &it.paris)).await;

    // Nothing is known of it that could wake it: that is its end, at once.
    let queue = PowerQueue::start(it.engine.clone()).await.unwrap();
    let running = tokio::spawn(queue.run());
    let path = format!("/v1/commands/{POWER}");
    while it.send(get(&path, &it.paris)).await.1["outcomes"][0]["state"] != "failed" {
        tokio::task::yield_now().await;
    }
    running.abort();
    it.golden("power-command", get(&path, &it.paris)).await;

    let printer = it.connect("printer-7", "a/paris", 7).await;
    it.connect("till-1", "b", 8).await;
    it.golden("power-explain-connected", get("/v1/agents/printer-7/power", &it.viewer)).await;
    it.engine.depart(&"printer-7".parse().unwrap(), &printer, None, "it left").await.unwrap();
    it.time.0.fetch_add(7_200_000, Ordering::Relaxed);
    it.golden("power-explain-no-relay", get("/v1/agents/printer-7/power", &it.viewer)).await;
    it.post("/v1/agents/till-1/move", Some(&it.admin), &json!({"group": "a/lyon"})).await;
    it.golden("power-explain", get("/v1/agents/printer-7/power", &it.viewer)).await;
}

#[tokio::test]
async fn golden_wol() {
    let it = Fixture::new().await.with_agents().await;
    let _till = it.connect("till-1", "b", 8).await;
    let wol = |secret, body| post("/v1/wol", secret, body);
    let via = |agent: &str| json!({"mac": "00-16-3E-00-00-77", "via": agent, "secureon": "01:02:03:04"});
    let here = || json!({"mac": "00:16:3e:00:00:77"});
    it.golden("wol-not-connected", wol(&it.admin, via("printer-7"))).await;
    it.golden("wol-unknown", wol(&it.paris, via("till-1"))).await;
    it.golden("wol-not-allowed", wol(&it.viewer, via("till-1"))).await;
    it.golden("wol-bad-mac", wol(&it.admin, json!({"mac": "77"}))).await;
    it.golden("wol-group-mac", wol(&it.admin, json!({"mac": "01:00:5e:00:00:01"}))).await;
    it.golden("wol-no-addresses", wol(&it.admin, here())).await;
    it.golden("wol-of-a-part", wol(&it.paris, here())).await;
    // The id is random, and so no golden file has it.
    let (status, headers, body) = it.send_whole(wol(&it.admin, via("till-1"))).await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let id = answer["command"].as_str().unwrap();
    assert_eq!((status, headers["location"].to_str().unwrap()), (202, &*format!("/v1/commands/{id}")));
    assert_eq!(answer, json!({ "command": id }));
    let (_, command) = it.send(get(&format!("/v1/commands/{id}"), &it.admin)).await;
    assert_eq!((&command["kind"], &command["outcomes"][0]["state"]), (&"relay".into(), &"sent".into()));

    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let wol_config = Wol { addresses: vec![address.parse().unwrap()], ..Wol::default() };
    let it = Fixture::sending(&wol_config).await;
    let (status, answer) = it.send(wol(&it.admin, here())).await;
    assert_eq!((status, answer), (200, json!({"destinations": [address]})));
}
