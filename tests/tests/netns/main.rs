//! Power and hostile networks, shown for real: two subnets and a router in network namespaces, packets read off the
//! wire, and a router that drops, forgets and fragments.
//!
//! `cargo test -p wakemq-tests --features interop --test netns` needs root and the Debian packages `iproute2`,
//! `mount`, `nftables` and `util-linux`. Nothing of the machine's own network is touched: each test has namespaces of
//! its own, and they are gone at its end. The endpoints' clocks since boot are those of time namespaces. The tests wait
//! more than they work: with `-- --test-threads 8` they take a third of the time.
#![cfg(feature = "interop")]

mod capture;
mod facts;
mod forgetful;
mod host;
mod narrow;
mod network;
mod power;
mod roaming;
mod scene;
