//! Publishers that want to be told what becomes of their commands.
//!
//! Of a command for an agent every change is told as it happens. Of one for a group the counts are told: at once
//! when it is accepted, from then on at most once a second, and only if something has changed; they are read from
//! the store by a task that runs only while there is something to tell.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wakemq_core::Response;
use wakemq_protocol::{CommandId, GroupUpdate, News, to_json};

use crate::clock::Clock;
use crate::registry::{Letter, Mailbox};
use crate::store::{Outcomes, Status, Store, StoreError};

/// Most bindings in a process.
const BINDINGS_MAX: usize = 1_000_000;
/// How long nothing more is told of a command for a group after something was.
const PACE: Duration = Duration::from_secs(1);

/// Binds a command to the connection of its publisher.
#[derive(Debug, Clone)]
pub(super) struct Follower {
    /// The publisher's connection.
    pub(super) mailbox: Arc<Mailbox>,
    /// Where it wants to be told.
    pub(super) response: Arc<Response>,
}

/// Who follows a command.
#[derive(Debug, Default)]
struct Binding {
    followers: Vec<Follower>,
    /// Set for a command for a group.
    pace: Option<Pace>,
}

/// When to tell of a command for a group.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Nothing more before that.
    next: Instant,
    /// Set while something is to be told: then, and under this key it is in `due`.
    due: Option<Instant>,
}

#[derive(Debug, Default)]
struct Bindings {
    by_command: HashMap<CommandId, Binding>,
    /// Commands for groups of which something is to be told.
    due: BTreeSet<(Instant, CommandId)>,
    /// The task that tells it, while there is something.
    ticker: Option<AbortOnDrop>,
}

/// Commands that are followed; a binding ends with the command or with the connection.
pub(super) struct Followers {
    shared: Arc<Shared>,
}

struct Shared {
    bindings: Mutex<Bindings>,
    store: Arc<dyn Store>,
    clock: Clock,
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Followers {
    pub(super) fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { shared: Arc::new(Shared { bindings: Mutex::default(), store, clock }) }
    }

    /// Binds a connection to a command, for a group or not; returns `false` if there are too many bindings.
    pub(super) fn bind(&self, id: CommandId, group: bool, follower: Follower) -> bool {
        let mut bindings = self.shared.bindings.lock();
        if bindings.by_command.len() >= BINDINGS_MAX {
            return false;
        }
        let binding = bindings.by_command.entry(id).or_default();
        if group && binding.pace.is_none() {
            binding.pace = Some(Pace { next: Instant::now(), due: None });
        }
        // The same connection asks again: its newer wish counts.
        binding.followers.retain(|known| known.mailbox.id() != follower.mailbox.id());
        binding.followers.push(follower);
        true
    }

    /// Takes back the binding of one connection.
    pub(super) fn unbind(&self, id: CommandId, mailbox: &Mailbox) {
        let mut bindings = self.shared.bindings.lock();
        if let Some(binding) = bindings.by_command.get_mut(&id) {
            binding.followers.retain(|known| known.mailbox.id() != mailbox.id());
            if binding.followers.is_empty() {
                bindings.remove(id);
            }
        }
    }

    /// Takes back every binding of a connection that has ended.
    pub(super) fn unbind_all(&self, mailbox: &Mailbox) {
        let mut bindings = self.shared.bindings.lock();
        let Bindings { by_command, due, .. } = &mut *bindings;
        by_command.retain(|id, binding| {
            binding.followers.retain(|known| known.mailbox.id() != mailbox.id());
            let stays = !binding.followers.is_empty();
            if let (false, Some(at)) = (stays, binding.pace.and_then(|pace| pace.due)) {
                due.remove(&(at, *id));
            }
            stays
        });
    }

    /// Tells what became of a submission, the counts of a group too.
    pub(super) fn tell_at_once(&self, news: &News) {
        match news {
            News::Agent(_) => self.tell(news),
            News::Group(update) => self.shared.tell_group(update),
        }
    }

    /// Tells a change of state: at once, or with the next counts of the group.
    pub(super) fn tell(&self, news: &News) {
        let followers = {
            let mut bindings = self.shared.bindings.lock();
            if bindings.by_command.is_empty() {
                return;
            }
            let Some(binding) = bindings.by_command.get(&news.id()) else { return };
            match news {
                News::Agent(update) if binding.pace.is_none() => {
                    if update.outcome.state.is_terminal() {
                        bindings.remove(update.id).unwrap_or_default()
                    } else {
                        binding.followers.clone()
                    }
                }
                News::Agent(_) | News::Group(_) => {
                    bindings.mark(news.id());
                    if bindings.ticker.is_none() {
                        let task = tokio::spawn(tick(self.shared.clone()));
                        bindings.ticker = Some(AbortOnDrop(task));
                    }
                    return;
                }
            }
        };
        post(followers, news);
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        // The task holds what is shared, and would hold it for as long as it has something to tell.
        self.shared.bindings.lock().ticker = None;
    }
}

impl Bindings {
    /// Notes that there is something to tell of a command for a group.
    fn mark(&mut self, id: CommandId) {
        let Some(pace) = self.by_command.get_mut(&id).and_then(|binding| binding.pace.as_mut()) else {
            return;
        };
        if pace.due.is_none() {
            pace.due = Some(pace.next);
            self.due.insert((pace.next, id));
        }
    }

    fn remove(&mut self, id: CommandId) -> Option<Vec<Follower>> {
        let binding = self.by_command.remove(&id)?;
        if let Some(at) = binding.pace.and_then(|pace| pace.due) {
            self.due.remove(&(at, id));
        }
        Some(binding.followers)
    }

    /// Takes a command of which something is to be told by now.
    fn take_due(&mut self, now: Instant) -> Option<CommandId> {
        let (_, id) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.pop_first();
        if let Some(pace) = self.by_command.get_mut(&id).and_then(|binding| binding.pace.as_mut()) {
            *pace = Pace { next: now + PACE, due: None };
        }
        Some(id)
    }
}

impl Shared {
    /// Tells the counts of a group; the last ones, when nothing is open any more, end the bindings.
    fn tell_group(&self, update: &GroupUpdate) {
        let followers = {
            let mut bindings = self.bindings.lock();
            if update.counts.open() == 0 {
                bindings.remove(update.id)
            } else {
                bindings.by_command.get_mut(&update.id).map(|binding| {
                    if let Some(pace) = &mut binding.pace {
                        pace.next = Instant::now() + PACE;
                    }
                    binding.followers.clone()
                })
            }
        };
        post(followers.unwrap_or_default(), &News::Group(update.clone()));
    }

    /// Counts, and tells it.
    async fn count(&self, id: CommandId) -> Result<(), StoreError> {
        let row = self.store.command(id, Outcomes::default()).await?;
        match row.map(|row| row.status) {
            Some(Status::Group { update, .. }) => {
                self.tell_group(&GroupUpdate { at: self.clock.now(), ..update });
            }
            // Forgotten: its last state was told a day ago.
            Some(Status::Agent(_)) | None => drop(self.bindings.lock().remove(id)),
        }
        Ok(())
    }
}

/// Tells what is due, until nothing is.
async fn tick(shared: Arc<Shared>) {
    let mut failing = false;
    loop {
        let next = {
            let mut bindings = shared.bindings.lock();
            match bindings.due.first() {
                Some((at, _)) => *at,
                None => {
                    // It ends by itself now; aborting it would be no harm.
                    bindings.ticker = None;
                    return;
                }
            }
        };
        tokio::time::sleep_until(next).await;
        let now = Instant::now();
        loop {
            let id = shared.bindings.lock().take_due(now);
            let Some(id) = id else { break };
            let counted = shared.count(id).await;
            if let Err(error) = &counted {
                if !failing {
                    tracing::warn!(command = %id, %error, "followers cannot be told of a group at the moment");
                }
                shared.bindings.lock().mark(id);
            }
            failing = counted.is_err();
        }
    }
}

fn post(followers: Vec<Follower>, news: &News) {
    if followers.is_empty() {
        return;
    }
    let payload = to_json(news);
    for follower in followers {
        let payload = payload.clone();
        if !follower.mailbox.post(Letter::Response { response: follower.response, payload }) {
            tracing::trace!(command = %news.id(), "the publisher has left before the command ended");
        }
    }
}
