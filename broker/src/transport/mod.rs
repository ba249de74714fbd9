//! What lies between a socket and a protocol: listening, TLS, telling protocols apart, timers.
//!
//! Nothing here knows MQTT, HTTP handlers, stores or sessions. A connection goes through these in order:
//! [`socket`] makes the listener and sets what the kernel is to do; [`proxy_header`] tells for whom a balancer
//! speaks; [`client_hello`] tells when a handshake may
//! begin; [`tls`] drives it; [`sniff`] tells what is spoken inside; then it is either parked (the caller keeps
//! [`tls::Tls`]) or handed to an HTTP server as a [`stream::TlsStream`], from which an upgraded connection is taken
//! back and parked with a [`websocket::WebSocket`]. One [`timers::Wheel`] serves them all.

pub mod client_hello;
pub mod proxy_header;
pub mod server_config;
pub mod sniff;
pub mod socket;
pub mod stream;
pub mod timers;
pub mod tls;
pub mod websocket;
