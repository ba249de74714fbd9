//! Commands that a poll brought, by the packet ids under which the session gives them out.

use wakemq_protocol::CommandId;

/// Which command has which packet id, and which are to be acknowledged by the next poll.
#[derive(Debug, Default)]
pub(super) struct Given {
    open: Vec<(u16, CommandId)>,
    acknowledged: Vec<CommandId>,
    last: u16,
}

impl Given {
    /// Names a command; `None` for one that came again while the owner has it. It is bounded by what the broker gives
    /// out without an acknowledgement.
    pub(super) fn name(&mut self, id: CommandId) -> Option<u16> {
        if self.open.iter().any(|(_, open)| *open == id) {
            return None;
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if self.open.iter().all(|(pkid, _)| *pkid != self.last) {
                self.open.push((self.last, id));
                return Some(self.last);
            }
        }
    }

    /// The command of a packet id is in the journal.
    pub(super) fn acknowledge(&mut self, pkid: u16) {
        // Acknowledged twice, it is acknowledged once.
        if let Some(at) = self.open.iter().position(|(open, _)| *open == pkid) {
            self.acknowledged.push(self.open.remove(at).1);
        }
    }

    /// Returns what is to be acknowledged.
    pub(super) fn acknowledged(&self) -> &[CommandId] {
        &self.acknowledged
    }

    /// The first `count` are acknowledged: a poll that said so was answered.
    pub(super) fn settled(&mut self, ids: &[CommandId]) {
        self.acknowledged.retain(|id| !ids.contains(id));
    }

    /// Tells whether everything that was given out is acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }
}
