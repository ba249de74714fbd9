//! Power, shown for real: two subnets and a router in network namespaces, packets read off the wire.
//!
//! `cargo test -p wakemq-tests --features interop --test netns` needs root and the Debian packages `iproute2`,
//! `util-linux` and `mount`. Nothing of the machine's own network is touched: each test has namespaces of its own, and
//! they are gone at its end. The endpoints' clocks since boot are those of time namespaces.
#![cfg(feature = "interop")]

mod capture;
mod facts;
mod host;
mod network;
mod power;
mod scene;
