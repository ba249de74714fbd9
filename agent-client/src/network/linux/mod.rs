//! Linux: what the kernel's route socket tells, and `/sys` for what it does not.
//!
//! A crate that reads all of it would be as large again as the rest of what the agent adds to its link: the four
//! kinds of message and the dozen attributes that matter here are read by hand.

mod collect;
mod message;
mod netlink;
mod watch;

use std::io;
use std::path::Path;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::{Adapter, Present};
use collect::{Tables, collect};
pub(crate) use watch::ChangeWatch;

/// Magic packets can be sent through a chosen interface.
pub(crate) const CAN_SEND: bool = true;
const SYS: &str = "/sys/class/net";

pub(super) fn read(named: &[String]) -> io::Result<Vec<Adapter>> {
    Ok(collect(&tables()?, Path::new(SYS), named))
}

pub(super) fn present() -> io::Result<Option<Present>> {
    Ok(collect::present(&tables()?))
}

fn tables() -> io::Result<Tables> {
    let mut tables = Tables::default();
    for question in netlink::Question::ALL {
        netlink::ask(question, |message| tables.take(message))?;
    }
    Ok(tables)
}

/// Returns the index of a device, which is the scope of link-local addresses on it.
pub(crate) fn index_of(device: &str) -> io::Result<u32> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(name_to_index(socket, device)?)
}

/// Lets a socket send through one device alone. Kernels before 5.7 allow it to root only.
pub(crate) fn bind_to_device(socket: &socket2::Socket, device: &str) -> io::Result<()> {
    socket.bind_device(Some(device.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        // Loopback is everywhere, and is no Ethernet; so look at what the tables say of it.
        let tables = tables().unwrap();
        let loopback = tables.link("lo").unwrap();
        assert_eq!(index_of("lo").unwrap(), loopback.index);
        let addresses = tables.addresses_of(loopback.index);
        assert!(addresses.iter().any(|address| address.to_string() == "127.0.0.1/8"), "{addresses:?}");
        assert!(read(&["lo".to_owned()]).unwrap().iter().all(|adapter| adapter.device != "lo"));
        assert!(index_of("nowhere").is_err());
    }
}
