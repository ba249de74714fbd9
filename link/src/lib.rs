//! How a WakeMQ client reaches a broker.
//!
//! A [`Ladder`] of endpoints is dialled by a [`Dialer`], through a proxy ([`ProxySettings`]) or directly; it
//! trusts what its [`Trust`] names. Over the connection runs an MQTT 5 [`mqtt::Session`] or an
//! [`http::HttpClient`], and a [`Backoff`] says when to come back. Agents and publishers share all of it. Nothing
//! here spawns a task.
//!
//! An agent finds out by itself what its network bears: a [`seeker::Seeker`] reaches the broker by the best of all ways
//! that leads there, and looks for a better one and for the longest quiet time meanwhile. It drives machines without IO,
//! each for itself of use to others: a [`ladder::Climber`] chooses among the ways, a [`Heartbeat`] looks for the quiet
//! time, and a [`Memory`] keeps what was found out for each network. They are tested against a simulated world, in
//! `tests/ladder`.
//!
//! ```no_run
//! use wakemq_link::mqtt::{ConnectOptions, Event, Outgoing, Session};
//! use wakemq_link::{Alpn, Dialer, Ladder, Trust};
//! # async fn example(secret: wakemq_protocol::Secret) -> Result<(), Box<dyn std::error::Error>> {
//! let trust = Trust::from_file("ca.pem".as_ref())?;
//! let dialer = Dialer::new(Ladder::parse(&["broker.example"])?, &trust, Alpn::Mqtt)?;
//! let stream = dialer.dial().await?.stream;
//! let options = ConnectOptions::new("", "op:console", secret);
//! let (mut session, connected) = Session::connect(stream, &options).await?;
//! let token = session.publish(Outgoing {
//!     topic: "wake/v1/agents/printer-7/commands".into(),
//!     payload: r#"{"kind":"wake"}"#.into(),
//!     ..Outgoing::default()
//! })?;
//! while let Ok(event) = session.next_event().await {
//!     if matches!(event, Event::Published { token: which, .. } if which == token) {
//!         break;
//!     }
//! }
//! session.disconnect().await?;
//! # Ok(())
//! # }
//! ```

mod backoff;
mod dial;
mod endpoint;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod heartbeat;
pub mod http;
pub mod ladder;
mod memory;
pub mod mqtt;
mod poll;
mod portal;
mod proxy;
mod race;
pub mod seeker;
mod session;
#[cfg(test)]
mod test_server;
mod timer;
mod trust;
mod tunnel;
mod websocket;

pub use backoff::Backoff;
pub use dial::{
    AttemptError, DialError, Dialed, Dialer, Examined, Fault, Line, LineStream, Stage, Step, TlsInfo,
    TlsStream, WayDialer, WayError,
};
pub use endpoint::{DEFAULT_PORTS, Endpoint, Ladder, ParseEndpointError, Rung};
pub use heartbeat::{Heartbeat, HeartbeatAction, HeartbeatSettings, Learned, SpareNews};
pub use memory::{Memory, NetworkKey};
pub use poll::{PollSession, Trial, TrialError, try_heartbeat};
pub use portal::{Captive, Portal, probe_portal};
pub use proxy::{
    Credentials, EnvironmentError, NoProxy, ParseCredentialsError, ParseNoProxyError, ParseProxyError,
    ProxyScheme, ProxySettings, ProxySource, ProxyUrl, proxy_from_environment,
};
pub use session::AnySession;
pub use timer::Clock;
pub use trust::{Alpn, Trust, TrustError};
pub use tunnel::{ProxyError, Reply as SocksReply, Tunnel};
pub use wakemq_protocol::Transport;
pub use websocket::{Rewound, UpgradeError, WebSocketStream};
