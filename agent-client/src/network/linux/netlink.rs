//! The route socket: questions that the kernel answers at once.

use std::io;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use super::message::{Message, messages};

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// The kernel fills as much as this at once.
const BUFFER: usize = 32 * 1024;
/// The kernel answers while it is asked; this only keeps the agent from waiting for ever.
const LIMIT: Duration = Duration::from_secs(2);
/// How often an answer is asked for again that changed while it was given.
const ATTEMPTS: usize = 3;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    Links,
    Addresses,
    Routes,
    Neighbours,
}

impl Question {
    pub(super) const ALL: [Self; 4] = [Self::Links, Self::Addresses, Self::Routes, Self::Neighbours];

    /// Its message type, and the length of its head, which is of zeros: of every family.
    fn form(self) -> (u16, usize) {
        match self {
            Self::Links => (18, 16),
            Self::Addresses => (22, 8),
            Self::Routes => (26, 12),
            Self::Neighbours => (30, 12),
        }
    }
}

/// Opens a route socket.
pub(super) fn open(flags: SocketFlags) -> io::Result<OwnedFd> {
    // Without a protocol it is NETLINK_ROUTE, whose number is 0.
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags | SocketFlags::CLOEXEC, None)?)
}

/// Asks, and gives every message of the answer to `take`. An answer that contradicts itself is given again.
pub(super) fn ask(question: Question, mut take: impl FnMut(Message)) -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        if !once(question, &mut take)? {
            break;
        }
    }
    Ok(())
}

/// Tells whether the answer contradicts itself.
fn once(question: Question, take: &mut impl FnMut(Message)) -> io::Result<bool> {
    let socket = open(SocketFlags::empty())?;
    set_socket_timeout(&socket, Timeout::Recv, Some(LIMIT))?;
    let (kind, head) = question.form();
    let mut request = Vec::from(u32::try_from(16 + head).unwrap_or(u32::MAX).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.resize(16 + head, 0);
    send(&socket, &request, SendFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let received = match recv(&socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((received, _)) => received,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for message in messages(&buffer[..received]) {
            match message {
                Message::Done { interrupted } => return Ok(interrupted),
                Message::Refused(error) => return Err(io::Error::from_raw_os_error(error)),
                message @ (Message::Link(_)
                | Message::Address(_)
                | Message::Gateway(_)
                | Message::Neighbour(_)
                | Message::Other) => take(message),
            }
        }
    }
}
