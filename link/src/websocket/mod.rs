//! MQTT in WebSocket (RFC 6455, MQTT 5 §6.0), as its client: the upgrade, and the stream of bytes behind it.
//!
//! Frames are taken apart here and not by a library: a client's part of them is small, the libraries for it bring
//! their own buffers and sources of random numbers, and the broker's reader is built on one of those. So both ends
//! share no code, and no mistake.

mod frame;
mod stream;
mod upgrade;

pub use stream::WebSocketStream;
pub(crate) use upgrade::upgrade;
pub use upgrade::{Rewound, UpgradeError};

#[cfg(test)]
mod tests;
