//! MQTT 3.1.1 and 5 on the wire, in both directions, without any state.
//!
//! What a client sends goes through four steps: [`frame()`] cuts the stream and refuses what is too large from its
//! header alone; a strict check of our own refuses all that the standard forbids and names the reason code that
//! it asks for; `rmqtt-codec` decodes; the result becomes a packet of `wakemq-core`. The check comes first because
//! every codec that was measured lets bad packets through, and because no two programs agree on reason codes
//! unless one of them follows the standard.
//!
//! A connection keeps no codec, only a [`Peer`] of 8 bytes.

mod check;
mod decode;
mod encode;
mod error;
mod frame;
mod properties;
mod read;
mod topic;

#[cfg(test)]
mod tests;

pub use decode::{connect_level, decode, decode_connect};
pub use encode::{EncodeError, Peer, encode};
pub use error::DecodeError;
pub use frame::{Frame, frame};
