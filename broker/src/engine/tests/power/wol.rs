//! Packets from the broker, and for machines without an agent.

use tokio::net::UdpSocket;
use wakemq_protocol::MagicPacket;
use wakemq_protocol::http::WolRequest;

use super::*;
use crate::metrics::PowerVerdict;

async fn network() -> (UdpSocket, Wol) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string().parse().unwrap();
    (socket, Wol { addresses: vec![address], ..Wol::default() })
}

async fn received(socket: &UdpSocket) -> MagicPacket {
    let mut bytes = [0; 200];
    let len = socket.recv(&mut bytes).await.unwrap();
    MagicPacket::parse(&bytes[..len]).unwrap()
}

fn request(via: Option<&str>) -> WolRequest {
    let mac = "00:16:3e:00:00:77".parse().unwrap();
    WolRequest { mac, via: via.map(agent), secureon: Some("1.2.3.4".parse().unwrap()) }
}

async fn trail(it: &Site) -> Vec<Value> {
    let page = it.bench.engine.audit(&caller("admin"), None, None, 400).await.unwrap();
    let entries = page.entries.into_iter().filter(|entry| entry.action == "wol.send");
    entries.map(|entry| serde_json::to_value(entry).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn without_a_relay_the_broker_sends_itself() {
    let (socket, wol) = network().await;
    let it = Site::sending(&["pc:a"], &wol).await;
    it.knows("pc", "a", &wired(7)).await;
    it.power(1, "pc").await;
    for _ in 0..3 {
        assert_eq!(received(&socket).await.mac.to_string(), "00:16:3e:00:00:07");
    }
    pass(10).await;
    assert_eq!(it.state(1).await, CommandState::Sent);
    assert_eq!(it.bench.engine.metrics.wol_packets.get(), 3);
    pass(9_000).await;
    it.comes("pc", "a", &up_since(wired(7), 3)).await;
    let (state, detail) = it.ended(1).await;
    assert_eq!(state, CommandState::Done, "{detail}");
    assert_eq!(it.steps(1).await, ["broker_sent", "heard", "verdict"]);
    assert_eq!(it.moved(PowerVerdict::Done), 1);
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_an_agent_is_sent_packets_through_one() {
    let it = Site::with(&["relay:a/paris", "away:a/paris", "lyon:a/lyon"]).await;
    let relay = it.comes("relay", "a/paris", &wired(8)).await;
    let _lyon = it.comes("lyon", "a/lyon", &wired(9)).await;
    let wol = async |who: &str, via: &str| it.bench.engine.wol(&caller(who), request(Some(via))).await;
    let answer = wol("paris", "relay").await.unwrap();
    let command = relay.command().await;
    assert_eq!((Some(command.id), &*command.by), (answer.command, "op:paris"));
    let job = serde_json::to_value(command.relay.as_ref().unwrap()).unwrap();
    let expected =
        serde_json::json!({"macs": ["00:16:3e:00:00:77"], "ports": [9, 7], "secureon": "01:02:03:04"});
    assert_eq!(job, expected);

    assert!(matches!(wol("paris", "away").await, Err(EngineError::NotConnected(_))));
    assert!(matches!(wol("paris", "lyon").await, Err(EngineError::UnknownAgent(_))));
    assert!(matches!(wol("viewer", "relay").await, Err(EngineError::NotAllowed(_))));
    // What was asked is in the trail; the password is nowhere.
    let trail = trail(&it).await;
    assert_eq!(trail.len(), 1, "{trail:#?}");
    let [by, target, group] = ["by", "target", "group"].map(|name| trail[0][name].as_str().unwrap());
    assert_eq!((by, target, group), ("op:paris", "00:16:3e:00:00:77", "a/paris"));
    assert_eq!(trail[0]["after"]["via"], "relay");
    let view = it.bench.engine.command(&caller("admin"), command.id, None, 0).await.unwrap();
    let kept = serde_json::to_string(&view).unwrap() + &trail[0].to_string();
    assert!(!kept.contains("01:02:03:04"), "{kept}");
}

#[tokio::test(start_paused = true)]
async fn from_the_broker_it_takes_an_operator_of_everything_and_an_address() {
    let (socket, wol) = network().await;
    let it = Site::sending(&[], &wol).await;
    let answer = it.bench.engine.wol(&caller("admin"), request(None)).await.unwrap();
    let packet = received(&socket).await;
    assert_eq!(packet.mac.to_string(), "00:16:3e:00:00:77");
    assert_eq!(packet.secureon, Some("1.2.3.4".parse().unwrap()));
    assert_eq!((answer.destinations, answer.command), (vec![socket.local_addr().unwrap().to_string()], None));
    assert!(matches!(
        it.bench.engine.wol(&caller("paris"), request(None)).await,
        Err(EngineError::NotAllowed(_))
    ));
    assert_eq!(trail(&it).await.len(), 1);

    let none = Site::with(&[]).await;
    let error = none.bench.engine.wol(&caller("admin"), request(None)).await.unwrap_err();
    assert!(matches!(&error, EngineError::Invalid(text) if text.contains("[wol]")), "{error}");
    let group = WolRequest { mac: "01:00:5e:00:00:01".parse().unwrap(), ..request(None) };
    assert!(matches!(it.bench.engine.wol(&caller("admin"), group).await, Err(EngineError::Invalid(_))));
}
