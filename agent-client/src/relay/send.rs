//! The sockets of a job, and what came of sending.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};
use wakemq_protocol::ReceiptState;

use super::plan::Line;
use crate::network;

/// So many different errors are told.
const ERRORS_TOLD: usize = 8;

/// Sends through chosen devices, and counts.
#[derive(Debug)]
pub(super) struct Senders {
    senders: Vec<Sender>,
    sent: usize,
    /// Devices on which something was sent.
    devices: Vec<String>,
    errors: Vec<String>,
}

#[derive(Debug)]
struct Sender {
    line: Line,
    socket: Socket,
    /// The scope of link-local addresses.
    scope: u32,
}

impl Senders {
    /// Opens a socket for each line; what cannot be opened is an error that is told.
    pub(super) fn open(lines: Vec<Line>) -> Self {
        let mut all = Self { senders: Vec::new(), sent: 0, devices: Vec::new(), errors: Vec::new() };
        for line in lines {
            let name = format!("{} on {}", line.from, line.device);
            match Sender::open(line) {
                Ok(sender) => all.senders.push(sender),
                Err(error) => all.failed(&name, &error),
            }
        }
        all
    }

    /// Sends a packet to each destination and port.
    pub(super) fn send(&mut self, packet: &[u8], ports: &[u16]) {
        for sender in std::mem::take(&mut self.senders) {
            for &port in ports {
                for &to in &sender.line.to {
                    match sender.send(packet, to, port) {
                        Ok(()) => self.sent(&sender.line.device),
                        Err(error) => self.failed(&format!("{to} on {}", sender.line.device), &error),
                    }
                }
            }
            self.senders.push(sender);
        }
    }

    fn sent(&mut self, device: &str) {
        self.sent += 1;
        if !self.devices.iter().any(|known| known == device) {
            self.devices.push(device.to_owned());
        }
    }

    fn failed(&mut self, what: &str, error: &io::Error) {
        let text = format!("{what}: {error}");
        if self.errors.len() < ERRORS_TOLD && !self.errors.contains(&text) {
            self.errors.push(text);
        }
    }

    /// Says what came of it: done if anything was sent.
    pub(super) fn outcome(&self) -> (ReceiptState, String) {
        let errors = self.errors.join("; ");
        if self.sent == 0 {
            return (ReceiptState::Failed, format!("nothing could be sent: {errors}"));
        }
        let mut words = format!("sent {} packets on {}", self.sent, self.devices.join(", "));
        if !errors.is_empty() {
            words = format!("{words}; but {errors}");
        }
        (ReceiptState::Done, words)
    }
}

impl Sender {
    fn open(line: Line) -> io::Result<Self> {
        let domain = if line.from.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // Before it has an address, or it takes root. Where it is refused nevertheless, the source address chooses
        // the device for 255.255.255.255, and the routes do for the subnet's own broadcast address.
        if let Err(error) = network::bind_to_device(&socket, &line.device)
            && error.kind() != io::ErrorKind::PermissionDenied
        {
            return Err(error);
        }
        let mut scope = 0;
        if line.from.is_ipv4() {
            socket.set_broadcast(true)?;
        } else {
            scope = network::index_of(&line.device)?;
            socket.set_multicast_if_v6(scope)?;
        }
        socket.bind(&SocketAddr::new(line.from, 0).into())?;
        Ok(Self { line, socket, scope })
    }

    fn send(&self, packet: &[u8], to: IpAddr, port: u16) -> io::Result<()> {
        let to = match to {
            IpAddr::V4(to) => SocketAddr::from((to, port)),
            IpAddr::V6(to) => SocketAddr::V6(SocketAddrV6::new(to, port, 0, self.scope)),
        };
        // A datagram goes as a whole or not at all.
        self.socket.send_to(packet, &to.into()).map(drop)
    }
}
