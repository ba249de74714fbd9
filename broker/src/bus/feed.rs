//! What one operator's connection gets from the bus.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use wakemq_core::Following;

use super::frame::Frame;
use super::gaps::Gaps;
use super::queue::{Router, Shared};
use super::router::{Link, Linker, Received};
use crate::registry::Mailbox;

/// How many events a feed takes before others get their turn.
const TURN: usize = 64;

/// What a connection wants to follow, and the how manieth wish that is.
#[derive(Debug, Clone)]
struct Wish {
    number: u64,
    following: Following,
}

/// Fills an operator's mailbox with the events that it follows; dropped, it ends.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
    wishes: watch::Sender<Wish>,
    fulfilled: watch::Receiver<u64>,
    task: AbortHandle,
}

impl Feed {
    /// Starts one, which is counted as a follower already.
    pub(super) fn start(shared: Arc<Shared>, mailbox: Arc<Mailbox>, following: Following) -> Self {
        let (wishes, wished) = watch::channel(Wish { number: 1, following });
        let (fulfil, fulfilled) = watch::channel(0);
        let reader =
            Reader { shared: shared.clone(), mailbox, wished, fulfil, gaps: Gaps::default(), lost: 0 };
        let task = tokio::spawn(reader.run()).abort_handle();
        Self { shared, wishes, fulfilled, task }
    }

    /// Follows something else from now on. What it followed before and after is not interrupted.
    pub fn follow(&mut self, following: Following) {
        self.wishes.send_modify(|wish| *wish = Wish { number: wish.number + 1, following });
    }

    /// Waits until all that is published comes, or until it is known that the router cannot be built at the moment:
    /// then it comes as soon as it can.
    pub async fn settled(&mut self) {
        let number = self.wishes.borrow().number;
        // A feed whose task has ended has a connection that is about to end.
        self.fulfilled.wait_for(|fulfilled| *fulfilled >= number).await.ok();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.remove_follower();
    }
}

struct Reader {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    wished: watch::Receiver<Wish>,
    fulfil: watch::Sender<u64>,
    gaps: Gaps,
    /// How many are missing since the last event that was for this operator.
    lost: u64,
}

impl Reader {
    /// Follows the bus from router to router.
    async fn run(mut self) {
        let mut routers = self.shared.router.subscribe();
        loop {
            let router = routers.borrow_and_update().clone();
            match router {
                Router::Up(linker) => tokio::select! {
                    () = self.read(&linker) => self.shared.suspect(),
                    changed = routers.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                },
                Router::Starting => {}
                Router::Down => {
                    // Nobody knows for how long: what is wished for now comes with the next one.
                    let number = self.wished.borrow().number;
                    self.fulfil.send_replace(number);
                }
            }
            if routers.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reads from one router until it dies.
    async fn read(&mut self, linker: &Linker) {
        let Some(mut link) = linker.open().await else { return };
        let mut filters = BTreeSet::new();
        let mut wish = self.wished.borrow_and_update().clone();
        let mut unanswered = self.wish(&wish, &mut filters, &link);
        let mut turn = 0;
        loop {
            if unanswered == 0 && *self.fulfil.borrow() < wish.number {
                self.gaps.count(&filters, |filter| self.shared.numbers(filter));
                self.fulfil.send_replace(wish.number);
            }
            tokio::select! {
                biased;
                changed = self.wished.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    wish = self.wished.borrow_and_update().clone();
                    unanswered += self.wish(&wish, &mut filters, &link);
                }
                received = link.next() => match received {
                    Some(Received::Event { stream, event }) => self.deliver(&wish.following, &stream, event),
                    Some(Received::Subscribed) => unanswered -= 1,
                    None => return,
                },
            }
            turn += 1;
            if turn % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Asks the router for what a wish needs; returns how many answers will come.
    fn wish(&mut self, wish: &Wish, filters: &mut BTreeSet<String>, link: &Link) -> usize {
        let wanted = self.shared.filters(&wish.following.interests());
        let remove: Vec<_> = filters.difference(&wanted).cloned().collect();
        let add: Vec<_> = wanted.difference(filters).cloned().collect();
        let answers = add.len();
        self.gaps.keep(&wanted);
        *filters = wanted;
        link.change(remove, add);
        answers
    }

    fn deliver(&mut self, following: &Following, stream: &bytes::Bytes, event: bytes::Bytes) {
        let Some(frame) = Frame::from_bytes(event) else {
            tracing::warn!("an event on the bus cannot be read; this is a defect");
            return;
        };
        self.lost = self.lost.saturating_add(self.gaps.take(stream, frame.number()));
        // What is not for this operator takes no room in its mailbox.
        if following.wants(frame.topic()) {
            self.mailbox.post_event(frame, std::mem::take(&mut self.lost));
        }
    }
}
