//! An MQTT 5 session over a connected stream.

mod connect;
mod event;
mod frame;
mod reason;
mod session;
mod wire;

pub use connect::{ConnectError, ConnectOptions, Connected};
pub use event::{Event, Incoming, Outgoing, PublishError, SessionError, Token};
pub use reason::ReasonCode;
pub use session::Session;
