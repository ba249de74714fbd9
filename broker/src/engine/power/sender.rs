//! Sends magic packets from the broker itself, to the addresses that it is configured with.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use wakemq_protocol::MagicPacket;

use crate::config::{Wol, WolAddress};

/// When each packet is sent, from the beginning.
const REPEATS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(200), Duration::from_millis(500)];

/// What was sent to where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sent {
    /// To where, `ADDRESS:PORT`.
    pub(super) destinations: Vec<String>,
    /// What went wrong, a line for each destination.
    pub(super) errors: Vec<String>,
    /// How many packets left.
    pub(super) packets: u64,
}

/// Where the broker sends.
#[derive(Debug)]
pub(super) struct Sender {
    addresses: Vec<WolAddress>,
    multicast_ttl: u8,
}

/// One address with one port.
struct Destination {
    text: String,
    /// Where that is, or the first thing that went wrong with it.
    at: Result<SocketAddr, String>,
    error: Option<String>,
    packets: u64,
}

impl Sender {
    pub(super) fn new(wol: &Wol) -> Self {
        Self { addresses: wol.addresses.clone(), multicast_ttl: wol.multicast_ttl }
    }

    /// Returns where it sends, as it is configured.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.addresses.iter().map(ToString::to_string).collect()
    }

    /// Tells whether there is anywhere to send to.
    pub(super) fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Sends packets three times everywhere, which takes half a second; `ports` are for addresses that name none.
    pub(super) async fn send(&self, packets: &[MagicPacket], ports: &[u16]) -> Sent {
        let mut destinations = Vec::new();
        for address in &self.addresses {
            let ports = address.port.as_ref().map_or(ports, std::slice::from_ref);
            for &port in ports {
                destinations.push(Destination::find(address, port).await);
            }
        }
        let (v4, v6) = (self.open(Ipv4Addr::UNSPECIFIED.into()), self.open(Ipv6Addr::UNSPECIFIED.into()));
        let packets: Vec<_> = packets.iter().map(MagicPacket::to_bytes).collect();
        let began = tokio::time::Instant::now();
        for after in REPEATS {
            tokio::time::sleep_until(began + after).await;
            for packet in &packets {
                for destination in &mut destinations {
                    destination.send(packet, (&v4, &v6)).await;
                }
            }
        }
        let mut sent = Sent::default();
        for Destination { text, at, error, packets } in destinations {
            sent.packets += packets;
            if let Some(error) = error.or(at.err()) {
                sent.errors.push(format!("{text}: {error}"));
            }
            if packets > 0 {
                sent.destinations.push(text);
            }
        }
        sent
    }

    fn open(&self, own: IpAddr) -> io::Result<UdpSocket> {
        let own = SocketAddr::new(own, 0);
        let socket = Socket::new(Domain::for_address(own), Type::DGRAM, Some(Protocol::UDP))?;
        if own.is_ipv4() {
            socket.set_broadcast(true)?;
            socket.set_multicast_ttl_v4(self.multicast_ttl.into())?;
        } else {
            socket.set_only_v6(true)?;
            socket.set_multicast_hops_v6(self.multicast_ttl.into())?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&own.into())?;
        UdpSocket::from_std(socket.into())
    }
}

impl Destination {
    /// Finds out where an address is: the number of its interface may be another one each time.
    async fn find(address: &WolAddress, port: u16) -> Self {
        let text = WolAddress { port: Some(port), ..address.clone() }.to_string();
        let at = match &address.zone {
            None => Ok(SocketAddr::new(address.ip, port)),
            Some(zone) => match tokio::net::lookup_host((format!("{}%{zone}", address.ip), port)).await {
                Ok(mut found) => found.next().ok_or_else(|| format!("there is no interface {zone}")),
                Err(error) => {
                    tracing::debug!(%error, zone, "looking for an interface");
                    Err(format!("there is no interface {zone}"))
                }
            },
        };
        Self { text, at, error: None, packets: 0 }
    }

    async fn send(&mut self, packet: &[u8], (v4, v6): (&io::Result<UdpSocket>, &io::Result<UdpSocket>)) {
        let Ok(at) = self.at else { return };
        let sent = match if at.is_ipv4() { v4 } else { v6 } {
            Ok(socket) => socket.send_to(packet, at).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match sent {
            Ok(_) => self.packets += 1,
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn listener() -> (UdpSocket, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        (socket, address)
    }

    fn sender(addresses: &[&str]) -> Sender {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Sender::new(&Wol { addresses, ..Wol::default() })
    }

    #[tokio::test]
    async fn every_packet_goes_everywhere_three_times() {
        let (listener, address) = listener().await;
        let packets = ["00:16:3e:00:00:01", "00:16:3e:00:00:02"]
            .map(|mac| MagicPacket { mac: mac.parse().unwrap(), secureon: None });
        let sent = sender(&[&address]).send(&packets, &[9]).await;
        assert_eq!(sent, Sent { destinations: vec![address], errors: Vec::new(), packets: 6 });
        let mut bytes = [0; 200];
        for _ in 0..3 {
            for packet in &packets {
                let len = listener.recv(&mut bytes).await.unwrap();
                assert_eq!(MagicPacket::parse(&bytes[..len]).as_ref(), Some(packet));
            }
        }
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said_and_stops_nothing_else() {
        let (_listener, address) = listener().await;
        let packet = MagicPacket { mac: "00:16:3e:00:00:01".parse().unwrap(), secureon: None };
        let sent = sender(&["ff02::1%no-such-if", &address]).send(&[packet], &[9, 7]).await;
        assert_eq!(sent.destinations, [address]);
        assert_eq!(
            sent.errors,
            [
                "[ff02::1%no-such-if]:9: there is no interface no-such-if",
                "[ff02::1%no-such-if]:7: there is no interface no-such-if"
            ]
        );
    }
}
