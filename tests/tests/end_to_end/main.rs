//! Brokers, agents and operators together: as real processes over real TLS, and within the test where something
//! must be injected.

mod balancers;
mod bounds;
mod cli;
mod commands;
mod doctor;
mod enrolment;
mod events;
mod faults;
mod groups;
mod herd;
mod identities;
mod ladder;
mod long_poll;
mod metrics;
mod operators;
mod power;
mod proxies;
mod restarts;
mod rights;
mod silence;
mod store;
mod throttle;
mod wakes;
mod ways;
mod websocket;
