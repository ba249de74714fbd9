//! Switching on, and how that ends.

use anyhow::Result;
use serde_json::json;
use tokio::net::UdpSocket;
use wakemq_broker::config::Wol;
use wakemq_link::http::{HttpClient, Method, Upload};
use wakemq_protocol::CommandId;
use wakemq_protocol::http::OperatorAnswer;
use wakemq_publisher::new_command_id;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Client, Login, Version};

use super::{Moved, Watched};

fn verdict(verdict: &str) -> String {
    format!("wakemq_power_verdicts_total{{verdict=\"{verdict}\"}}")
}

/// A machine on the loopback network, by a client that can misbehave.
struct Machine {
    name: String,
    login: Login,
}

impl Machine {
    async fn new(watched: &Watched, name: &str) -> Result<Self> {
        let made = watched.broker.import(&[name]).await?;
        Ok(Self { name: name.to_owned(), login: Login::new(Version::V5, name, made[0].1.expose()) })
    }

    /// Connects and subscribes it, and has it tell of itself.
    async fn comes(&self, watched: &Watched, since_boot: u64) -> Result<Client> {
        let mut client = watched.enter(&self.login).await?;
        assert_eq!(client.subscribe(&format!("wake/v1/agents/{}/commands", self.name), 1).await?, 1);
        let facts = json!({"instance": "i", "relay": true, "since_boot": since_boot, "interfaces": [{
            "name": "lo", "mac": "00:16:3e:00:00:01", "medium": "wired", "addresses": ["127.0.0.1/8"]}]});
        let topic = format!("wake/v1/agents/{}/facts", self.name);
        assert_eq!(client.published(&topic, facts.to_string().as_bytes()).await?.0, 0);
        Ok(client)
    }

    /// The same for one that goes again.
    async fn known(&self, watched: &Watched) -> Result<()> {
        let mut client = self.comes(watched, 0).await?;
        client.finish().await?;
        while client.next().await?.is_some() {}
        Ok(())
    }
}

/// Asks for a machine to be switched on.
async fn power(http: &mut HttpClient, name: &str) -> Result<CommandId> {
    let id = new_command_id().expect("random numbers");
    let body = json!({"id": id, "agent": name, "kind": "power"}).to_string();
    let (status, _) = http.request(Method::POST, "/v1/commands", Some(Upload::json(body))).await?;
    assert_eq!(status.as_u16(), 202);
    Ok(id)
}

async fn broker(timeout_secs: u32) -> Result<(Watched, HttpClient)> {
    let wol = Wol { timeout_secs, ..Wol::default() };
    let broker = InProcessBroker::start(Injected { wol, ..Injected::default() }).await?;
    let http = broker.http(Some(broker.profile()?.secret))?;
    Ok((Watched::new(broker)?, http))
}

pub(super) async fn move_all(moved: &mut Moved) -> Result<()> {
    verdicts(moved).await?;
    taken_back(moved).await?;
    packets(moved).await
}

async fn verdicts(moved: &mut Moved) -> Result<()> {
    let (mut watched, mut http) = broker(1).await?;
    let pc = Machine::new(&watched, "pc").await?;
    power(&mut http, "pc").await?;
    watched.rises(moved, &verdict("no_mac")).await?;
    pc.known(&watched).await?;
    power(&mut http, "pc").await?;
    watched.rises(moved, &verdict("no_relay")).await?;

    let relay = Machine::new(&watched, "relay").await?;
    let mut awake = relay.comes(&watched, 0).await?;
    power(&mut http, "pc").await?;
    assert_eq!(awake.command().await?.1["kind"], "relay");
    watched.rises(moved, "wakemq_relays_asked_total").await?;
    watched.rises(moved, &verdict("did_not_come_up")).await?;
    power(&mut http, "pc").await?;
    awake.command().await?;
    let mut up = pc.comes(&watched, 9_999).await?;
    watched.rises(moved, &verdict("was_running")).await?;

    watched.again()?;
    power(&mut http, "pc").await?;
    let (packet_id, wake) = up.command().await?;
    assert_eq!(wake["kind"], "wake");
    up.acknowledge(packet_id).await?;
    watched.rises(moved, &verdict("done")).await
}

async fn taken_back(moved: &mut Moved) -> Result<()> {
    let (watched, mut http) = broker(120).await?;
    let (pc, relay) = (Machine::new(&watched, "pc").await?, Machine::new(&watched, "relay").await?);
    pc.known(&watched).await?;
    let mut awake = relay.comes(&watched, 0).await?;
    let request = br#"{"operator":"erika","role":"operator","group":"test"}"#;
    let (_, body) = http.request(Method::POST, "/v1/operators", Some(Upload::json(&request[..]))).await?;
    let erika: OperatorAnswer = serde_json::from_slice(&body)?;
    let first = power(&mut http, "pc").await?;
    awake.command().await?;
    watched.becomes(moved, "wakemq_power_attempts", 1.0).await?;
    // Hers waits for its turn; when that comes she has no right any more.
    power(&mut watched.broker.http(Some(erika.secret))?, "pc").await?;
    http.request(Method::DELETE, "/v1/operators/erika", None).await?;
    let cancel = format!("/v1/commands/{first}/cancel");
    http.request(Method::POST, &cancel, Some(Upload::json(&b"{}"[..]))).await?;
    watched.rises(moved, &verdict("cancelled")).await?;
    watched.rises(moved, &verdict("not_allowed")).await?;
    watched.becomes(moved, "wakemq_power_attempts", 0.0).await
}

async fn packets(moved: &mut Moved) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let addresses = vec![socket.local_addr()?.to_string().parse()?];
    let injected = Injected { wol: Wol { addresses, ..Wol::default() }, ..Injected::default() };
    let broker = InProcessBroker::start(injected).await?;
    let mut http = broker.http(Some(broker.profile()?.secret))?;
    let watched = Watched::new(broker)?;
    let body = br#"{"mac":"00:16:3e:00:00:01"}"#;
    http.request(Method::POST, "/v1/wol", Some(Upload::json(&body[..]))).await?;
    watched.rises(moved, "wakemq_wol_packets_total").await
}
