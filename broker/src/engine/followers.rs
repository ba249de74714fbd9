//! Publishers that want to be told what becomes of their commands.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wakemq_core::Response;
use wakemq_protocol::{CommandId, Update, to_json};

use crate::registry::{Letter, Mailbox};

/// Most bindings in a process.
const BINDINGS_MAX: usize = 1_000_000;

/// Binds a command to the connection of its publisher.
#[derive(Debug, Clone)]
pub(super) struct Follower {
    /// The publisher's connection.
    pub(super) mailbox: Arc<Mailbox>,
    /// Where it wants to be told.
    pub(super) response: Arc<Response>,
}

/// Commands that are followed; a binding ends with the command or with the connection.
#[derive(Debug, Default)]
pub(super) struct Followers {
    bindings: Mutex<HashMap<CommandId, Vec<Follower>>>,
}

impl Followers {
    /// Binds a connection to a command; returns `false` if there are too many bindings.
    pub(super) fn bind(&self, id: CommandId, follower: Follower) -> bool {
        let mut bindings = self.bindings.lock();
        if bindings.len() >= BINDINGS_MAX {
            return false;
        }
        let followers = bindings.entry(id).or_default();
        // The same connection asks again: its newer wish counts.
        followers.retain(|known| known.mailbox.id() != follower.mailbox.id());
        followers.push(follower);
        true
    }

    /// Takes back the binding of one connection.
    pub(super) fn unbind(&self, id: CommandId, mailbox: &Mailbox) {
        let mut bindings = self.bindings.lock();
        if let Some(followers) = bindings.get_mut(&id) {
            followers.retain(|known| known.mailbox.id() != mailbox.id());
            if followers.is_empty() {
                bindings.remove(&id);
            }
        }
    }

    /// Takes back every binding of a connection that has ended.
    pub(super) fn unbind_all(&self, mailbox: &Mailbox) {
        self.bindings.lock().retain(|_, followers| {
            followers.retain(|known| known.mailbox.id() != mailbox.id());
            !followers.is_empty()
        });
    }

    /// Tells a change of state to those who follow the command.
    pub(super) fn tell(&self, update: &Update) {
        let followers = {
            let mut bindings = self.bindings.lock();
            if bindings.is_empty() {
                return;
            }
            if update.outcome.state.is_terminal() {
                bindings.remove(&update.id)
            } else {
                bindings.get(&update.id).cloned()
            }
        };
        for follower in followers.unwrap_or_default() {
            let payload = to_json(update);
            if !follower.mailbox.post(Letter::Response { response: follower.response, payload }) {
                tracing::trace!(command = %update.id, "the publisher has left before the command ended");
            }
        }
    }
}
