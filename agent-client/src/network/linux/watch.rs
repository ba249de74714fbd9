//! Waiting for links and addresses to change, without looking.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SocketFlags, bind, recv};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::netlink;

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`. Routes are not among them: a router's table may
/// change all day long, and the default route of an endpoint comes with an address.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Is told by the kernel what happens to links and addresses.
#[derive(Debug)]
pub(crate) struct ChangeWatch {
    socket: AsyncFd<OwnedFd>,
}

impl ChangeWatch {
    pub(crate) fn start() -> io::Result<Self> {
        let socket = netlink::open(SocketFlags::NONBLOCK)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        #[expect(deprecated, reason = "what replaces it is unsafe, for types whose descriptor may change")]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { socket })
    }

    /// Takes what has come so far, so that the next [`changed`](Self::changed) is about what comes after.
    pub(crate) fn drain(&self) -> io::Result<()> {
        loop {
            match recv(self.socket.get_ref(), &mut [0; 64][..], RecvFlags::empty()) {
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until something changed. May be dropped and called again.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            // What it was is read from the tables; a message that is cut off says as much as a whole one.
            match recv(ready.get_inner(), &mut [0; 64][..], RecvFlags::empty()) {
                Ok(_) => return Ok(()),
                // So much has changed that it was not kept.
                Err(Errno::NOBUFS) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
