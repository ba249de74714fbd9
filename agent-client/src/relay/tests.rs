//! Jobs that really send, on loopback alone.

use std::net::{Ipv4Addr, UdpSocket};

use wakemq_protocol::{Interface, MacAddr, Medium};

use super::*;

const MAC: MacAddr = MacAddr::new([0, 0x16, 0x3e, 0, 0, 2]);

fn loopback(name: &str, address: &str) -> Adapter {
    let interface = Interface {
        name: name.to_owned(),
        mac: MacAddr::new([0, 0x16, 0x3e, 0, 0, 1]),
        medium: Medium::Wired,
        addresses: vec![address.parse().unwrap()],
        gateway_mac: None,
    };
    Adapter { device: name.to_owned(), interface, unresolved: None }
}

fn command(job: RelayJob) -> Command {
    let mut command: Command = serde_json::from_str(
        r#"{"id":"0197c1b2-0000-7000-8000-000000000001","kind":"relay","slot":null,"ttl":0,
            "priority":"high","reason":null,"issued":"2026-11-22T01:00:00Z","by":"op:a"}"#,
    )
    .unwrap();
    command.relay = Some(Box::new(job));
    command
}

fn job(ports: Vec<u16>) -> RelayJob {
    RelayJob {
        macs: vec![MAC],
        networks: vec!["127.0.0.0/8".parse().unwrap()],
        ports,
        secureon: Some("1.2.3.4".parse().unwrap()),
    }
}

#[tokio::test(start_paused = true)]
async fn each_port_gets_each_packet_three_times_from_both_broadcasts() {
    let listeners = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    let ports: Vec<_> = listeners.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
    let mut relays = Relays::default();
    let began = Instant::now();
    relays.start(command(job(ports)), vec![loopback("lo", "127.0.0.1/8")]);
    let receipt = relays.next().await;
    assert_eq!(began.elapsed(), Duration::from_millis(500));
    assert_eq!(
        (receipt.state, receipt.detail.as_deref()),
        (ReceiptState::Done, Some("sent 12 packets on lo"))
    );
    let expected = MagicPacket { mac: MAC, secureon: Some("1.2.3.4".parse().unwrap()) };
    for listener in listeners {
        listener.set_nonblocking(true).unwrap();
        let mut buffer = [0; 200];
        let mut received = 0;
        while let Ok((length, from)) = listener.recv_from(&mut buffer) {
            assert_eq!(MagicPacket::parse(&buffer[..length]).as_ref(), Some(&expected));
            assert_eq!(from.ip(), Ipv4Addr::LOCALHOST);
            received += 1;
        }
        assert_eq!(received, 6);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_has_failed_with_the_reason() {
    for (adapters, words) in [
        (vec![], "no network interface has an address in 127.0.0.0/8"),
        (vec![loopback("nowhere0", "127.0.0.1/8")], "127.0.0.1 on nowhere0: No such device"),
    ] {
        let mut relays = Relays::default();
        relays.start(command(job(vec![4000])), adapters);
        let receipt = relays.next().await;
        assert_eq!(receipt.state, ReceiptState::Failed);
        assert!(receipt.detail.as_deref().unwrap().contains(words), "{receipt:?}");
    }
}

#[test]
fn jobs_that_make_no_sense_are_not_taken() {
    check(&job(vec![9, 7])).unwrap();
    for wrong in [
        job(vec![]),
        job(vec![9, 0]),
        job(vec![1, 2, 3, 4, 5]),
        RelayJob { macs: vec![], ..job(vec![9]) },
        RelayJob { macs: vec![MAC; 17], ..job(vec![9]) },
        RelayJob { macs: vec![MacAddr::new([0xff; 6])], ..job(vec![9]) },
    ] {
        check(&wrong).unwrap_err();
    }
}
