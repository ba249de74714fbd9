//! Counting open connections, at no cost for a parked one.

use std::ops::Deref;
use std::sync::Arc;

use super::Door;
use crate::metrics::{Admitted, Connection, Label as _};

/// A share of the door that counts as one open connection for as long as it lives.
pub(super) struct Counted<const KIND: usize>(Arc<Door>);

/// An agent's share.
pub(super) type AgentDoor = Counted<{ Connection::Agent as usize }>;
/// An operator's share.
pub(super) type OperatorDoor = Counted<{ Connection::Operator as usize }>;
/// The share of a connection that speaks HTTP.
pub(super) type HttpDoor = Counted<{ Connection::Http as usize }>;
/// The share of a connection that was not let in yet.
pub(super) type HandshakingDoor = Counted<{ Connection::Handshaking as usize }>;

impl<const KIND: usize> Counted<KIND> {
    pub(super) fn new(door: Arc<Door>) -> Self {
        let metrics = door.metrics();
        metrics.connections.of(Connection::ALL[KIND]).inc();
        match Connection::ALL[KIND] {
            Connection::Agent => metrics.admissions.of(Admitted::Agent).inc(),
            Connection::Operator => metrics.admissions.of(Admitted::Operator).inc(),
            Connection::Http => metrics.admissions.of(Admitted::Http).inc(),
            Connection::Handshaking => 0,
        };
        Self(door)
    }
}

impl<const KIND: usize> Drop for Counted<KIND> {
    fn drop(&mut self) {
        self.0.metrics().connections.of(Connection::ALL[KIND]).dec();
    }
}

impl<const KIND: usize> Deref for Counted<KIND> {
    type Target = Arc<Door>;
    fn deref(&self) -> &Arc<Door> {
        &self.0
    }
}
