//! Systems whose interfaces this version cannot read, and so cannot send from either.

use std::io;

use super::{Adapter, Present};

/// Magic packets can be sent through a chosen interface.
pub(crate) const CAN_SEND: bool = false;

/// Knows of none.
#[expect(clippy::unnecessary_wraps, reason = "the form is that of the systems that can be read")]
pub(super) fn read(_named: &[String]) -> io::Result<Vec<Adapter>> {
    Ok(Vec::new())
}

/// There is always one, which cannot be told from others.
#[expect(clippy::unnecessary_wraps, reason = "the form is that of the systems that can be read")]
pub(super) fn present() -> io::Result<Option<Present>> {
    Ok(Some(Present::default()))
}

/// Is not known.
pub(crate) fn index_of(_device: &str) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Is not known.
pub(crate) fn bind_to_device(_socket: &socket2::Socket, _device: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
