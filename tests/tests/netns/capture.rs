//! What a host's adapter hears, byte by byte.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, anyhow};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, eth, recv, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wakemq_tests::wait::within;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const UDP: u8 = 17;

/// A UDP datagram with the frame that brought it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Datagram {
    pub(crate) mac_to: [u8; 6],
    pub(crate) mac_from: [u8; 6],
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) port: u16,
    pub(crate) payload: Vec<u8>,
}

impl Datagram {
    /// Reads an Ethernet frame; `None` if it carries something else.
    fn parse(frame: &[u8]) -> Option<Self> {
        let (head, packet) = frame.split_at_checked(14)?;
        let ethertype: [u8; 2] = head[12..].try_into().ok()?;
        let (from, to, datagram): (IpAddr, IpAddr, _) = if ethertype == IPV4 && *packet.get(9)? == UDP {
            let length = usize::from(packet[0] & 0x0f) * 4;
            let address = |at: usize| Some(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?.into());
            (address(12)?, address(16)?, packet.get(length..)?)
        } else if ethertype == IPV6 && *packet.get(6)? == UDP {
            let address = |at: usize| Some(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?.into());
            (address(8)?, address(24)?, packet.get(40..)?)
        } else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([*datagram.get(4)?, *datagram.get(5)?]));
        Some(Self {
            mac_to: head[..6].try_into().ok()?,
            mac_from: head[6..12].try_into().ok()?,
            from,
            to,
            port: u16::from_be_bytes([datagram[2], datagram[3]]),
            payload: datagram.get(8..length)?.to_vec(),
        })
    }

    /// Tells whether it begins as a magic packet does, whatever follows.
    fn is_magic(&self) -> bool {
        self.payload.starts_with(&[0xff; 6])
    }
}

/// Listens on all adapters of a namespace until it is dropped.
#[derive(Debug)]
pub(crate) struct Capture {
    heard: watch::Receiver<Vec<Datagram>>,
    task: JoinHandle<()>,
}

impl Capture {
    /// Begins to listen.
    pub(crate) fn start(namespace: &str) -> Result<Self> {
        #[expect(deprecated, reason = "what replaces it is unsafe, for types whose descriptor may change")]
        let socket = AsyncFd::with_interest(socket_in(namespace)?, Interest::READABLE)?;
        let (sender, heard) = watch::channel(Vec::new());
        let task = tokio::spawn(async move {
            if let Err(error) = listen(&socket, &sender).await {
                eprintln!("the capture has ended: {error}");
            }
        });
        Ok(Self { heard, task })
    }

    /// Returns the magic packets so far.
    pub(crate) fn magic(&self) -> Vec<Datagram> {
        self.heard.borrow().clone()
    }

    /// Waits until so many magic packets were heard.
    pub(crate) async fn wait(&self, count: usize) -> Result<Vec<Datagram>> {
        let mut heard = self.heard.clone();
        let what = format!("{count} magic packets");
        let waited = within(&what, heard.wait_for(|heard| heard.len() >= count)).await;
        let result = waited.map(|waited| waited.map(|heard| heard.clone()));
        result
            .with_context(|| format!("heard {} so far", self.magic().len()))?
            .context("the capture has ended")
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes a socket of another namespace, through a thread that goes there.
fn socket_in(namespace: &str) -> Result<OwnedFd> {
    let namespace = File::open(format!("/run/netns/{namespace}"))?;
    let opening = std::thread::spawn(move || -> Result<OwnedFd> {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(eth::ALL))?)
    });
    opening.join().map_err(|_| anyhow!("the thread has panicked"))?
}

async fn listen(socket: &AsyncFd<OwnedFd>, to: &watch::Sender<Vec<Datagram>>) -> std::io::Result<()> {
    let mut frame = [0; 2048];
    loop {
        let mut ready = socket.readable().await?;
        match recv(ready.get_inner(), &mut frame[..], RecvFlags::empty()) {
            Ok((length, _)) => {
                if let Some(datagram) = Datagram::parse(&frame[..length])
                    && datagram.is_magic()
                {
                    to.send_modify(|heard| heard.push(datagram));
                }
            }
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
