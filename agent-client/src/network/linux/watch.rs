//! Waiting for links, addresses and default routes to change, without looking.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SocketFlags, bind, recv};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::netlink;

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV6_IFADDR`, `RTMGRP_IPV4_ROUTE` and `RTMGRP_IPV6_ROUTE`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100 | 0x40 | 0x400;

/// As much of a message as is looked at: `struct nlmsghdr`, and of `struct rtmsg` the family and the length of the
/// destination's prefix.
const LOOKED_AT: usize = 18;
/// `RTM_NEWROUTE` and `RTM_DELROUTE`.
const ROUTE: [u16; 2] = [24, 25];

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
            let mut message = [0; LOOKED_AT];
            match recv(ready.get_inner(), &mut message[..], RecvFlags::empty()) {
                Ok(_) if is_about_one_destination(&message) => {}
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

/// Tells whether a message is about a route that is not the default one: a router's table may change all day long, and
/// leads nowhere else for that.
fn is_about_one_destination(message: &[u8; LOOKED_AT]) -> bool {
    let kind = u16::from_ne_bytes([message[4], message[5]]);
    let prefix_len = message[17];
    ROUTE.contains(&kind) && prefix_len != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_routes_the_default_one_counts() {
        for (kind, prefix_len, expected) in
            [(24, 0, false), (24, 24, true), (25, 0, false), (25, 64, true), (20, 24, false), (16, 0, false)]
        {
            let mut message = [0; LOOKED_AT];
            message[4..6].copy_from_slice(&u16::to_ne_bytes(kind));
            message[17] = prefix_len;
            assert_eq!(is_about_one_destination(&message), expected, "{kind} {prefix_len}");
        }
    }
}
