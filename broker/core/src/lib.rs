//! The state machines of the WakeMQ broker, without IO.
//!
//! Nothing here awaits, opens a socket, reads a clock or draws a random number: packets, the engine's replies and
//! the time come in, actions come out. So every order of events can be tested, and the same machines serve TLS
//! over TCP, WebSocket and in-memory streams. An agent that asks by long poll has a machine of its own, [`PollSession`].
//!
//! The order of calls for a connection:
//! 1. [`login::read`] the CONNECT; authenticate the secret that it gives; [`login::Login::admit`].
//! 2. Make an [`AgentSession`] or an [`OperatorSession`] and send its CONNACK.
//! 3. For each packet `handle_packet`, for each reply of the engine `handle_*`, at `deadline_ms` `handle_timeout`;
//!    after each of them `poll_action` until it gives `None`, and of an agent's session `poll_rearm`. Actions that ask the engine are carried out in their
//!    order; a broker that answers each before it hands in the next packet keeps acknowledgements in the order of
//!    what they acknowledge (MQTT 5 §4.6).
//! 4. When the connection has ended `handle_closed`, which gives the will if one is due.

pub mod admission;
mod agent;
mod clones;
mod end;
mod following;
mod heartbeat;
mod in_flight;
mod log_text;
pub mod login;
mod operator;
pub mod packet;
mod poll;
pub mod power;
mod publish_rate;
mod shares;
mod source;
mod throttle;

pub use agent::{AgentAction, AgentSession};
pub use clones::{CloneVerdict, Clones, Instance};
pub use end::End;
pub use following::{Following, Interest, Place};
pub use heartbeat::Heartbeat;
pub use in_flight::InFlight;
pub use operator::{OperatorAction, OperatorSession, Refusal, Response, Rights, SubmitRequest, check_kind};
pub use poll::{PollAction, PollSession};
pub use publish_rate::{PublishRate, Turns};
pub use shares::Shares;
pub use source::Source;
pub use throttle::{Judged, Penalty, Throttle};
