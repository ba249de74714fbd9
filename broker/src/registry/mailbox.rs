//! What is left for a connection's task until it looks: flags, and letters, of which there is a bound.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use wakemq_core::{End, Response, packet::ReasonCode};
use wakemq_protocol::{Command, CommandId, Transport};

use crate::bus::Frame;
use crate::store::Epoch;

/// Most letters that wait in one mailbox; one more ends the connection.
const LETTERS_MAX: usize = 10_000;
/// Most events that wait in one mailbox; more are dropped with a count.
const EVENTS_MAX: usize = 1_000;
/// Most bytes of events that wait in one mailbox.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Numbers the connections of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub NonZeroU64);

/// Something for one connection that cannot wait in the store.
#[derive(Debug)]
pub enum Letter {
    /// A command with time to live 0, for an agent.
    Live {
        /// The claim that carries it: it has ended with any other.
        epoch: Epoch,
        /// The command.
        command: Command,
    },
    /// A receipt of the agent's has come another way.
    Settled {
        /// For which command.
        id: CommandId,
    },
    /// A change of state, for an operator.
    Response {
        /// Where it wants to be told.
        response: Arc<Response>,
        /// What it is told.
        payload: Vec<u8>,
    },
    /// Something that happened, for an operator that follows it.
    Event {
        /// What.
        event: Frame,
        /// How many the operator may have missed before it.
        lost: u64,
    },
}

/// What was in a mailbox.
#[derive(Debug, Default)]
pub struct Mail {
    /// The agent's inbox may hold something new.
    pub inbox_changed: bool,
    /// The connection's timer has fired.
    pub timer: bool,
    /// The operator may not do what it might before, or more.
    pub rights_changed: bool,
    /// The connection is to end.
    pub evicted: Option<End>,
    /// Letters in the order in which they came.
    pub letters: Vec<Letter>,
}

#[derive(Debug)]
struct Inside {
    waker: Option<Waker>,
    letters: Vec<Letter>,
    evicted: Option<Box<End>>,
    inbox_changed: bool,
    timer: bool,
    rights_changed: bool,
    closed: bool,
    /// Never changes. It is in here because beside the flags it takes no room.
    transport: Transport,
    /// Only an operator has one.
    events: Option<Box<EventsInside>>,
}

impl Inside {
    fn new(transport: Transport) -> Self {
        Self {
            waker: None,
            letters: Vec::new(),
            evicted: None,
            inbox_changed: false,
            timer: false,
            rights_changed: false,
            closed: false,
            transport,
            events: None,
        }
    }
}

/// What is known of the events among the letters.
#[derive(Debug, Default)]
struct EventsInside {
    count: usize,
    bytes: usize,
    /// How many were dropped since the last that found room.
    lost: u64,
}

/// Where the rest of the broker leaves what a connection's task is to see.
#[derive(Debug)]
pub struct Mailbox {
    id: ConnectionId,
    /// Of one that polls, each poll comes from another.
    address: Mutex<SocketAddr>,
    inside: Mutex<Inside>,
}

impl Mailbox {
    /// Makes an empty one.
    pub(super) fn new(id: ConnectionId, address: SocketAddr, transport: Transport) -> Self {
        Self { id, address: Mutex::new(address), inside: Mutex::new(Inside::new(transport)) }
    }

    /// Returns the connection's number.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Returns the peer's address.
    pub fn address(&self) -> SocketAddr {
        *self.address.lock()
    }

    /// Notes from where the peer asks now.
    pub fn set_address(&self, address: SocketAddr) {
        *self.address.lock() = address;
    }

    /// Returns how the peer speaks.
    pub fn transport(&self) -> Transport {
        self.inside.lock().transport
    }

    /// Says that the agent's inbox may hold something new.
    pub fn inbox_changed(&self) {
        self.leave(|inside| inside.inbox_changed = true);
    }

    /// Says that the connection's timer has fired.
    pub fn timer_fired(&self) {
        self.leave(|inside| inside.timer = true);
    }

    /// Says that the operator's rights are not what they were.
    pub fn rights_changed(&self) {
        self.leave(|inside| inside.rights_changed = true);
    }

    /// Asks the connection to end; of several reasons the first counts.
    pub fn evict(&self, end: End) {
        self.leave(|inside| {
            inside.evicted.get_or_insert_with(|| Box::new(end));
        });
    }

    /// Leaves a letter. Returns `false` if the connection has ended. One letter too many ends it.
    pub fn post(&self, letter: Letter) -> bool {
        self.leave(|inside| {
            let events = inside.events.as_ref().map_or(0, |events| events.count);
            if inside.letters.len() - events < LETTERS_MAX {
                inside.letters.push(letter);
            } else {
                let text = "more is waiting for this connection than it reads";
                inside.evicted.get_or_insert_with(|| Box::new(End::new(ReasonCode::QuotaExceeded, text)));
            }
        })
    }

    /// Leaves an event, before which `lost` are missing. Returns `false` if the connection has ended. One that finds
    /// no room is dropped and counts as missing before the next.
    pub fn post_event(&self, event: Frame, lost: u64) -> bool {
        self.leave(|inside| {
            let waiting = inside.events.get_or_insert_default();
            let lost = waiting.lost.saturating_add(lost);
            if waiting.count >= EVENTS_MAX || waiting.bytes + event.size() > EVENT_BYTES_MAX {
                waiting.lost = lost.saturating_add(1);
                return;
            }
            waiting.lost = 0;
            waiting.count += 1;
            waiting.bytes += event.size();
            inside.letters.push(Letter::Event { event, lost });
        })
    }

    /// Takes everything out, or waits for something to come; one task at a time.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Mail> {
        let mut inside = self.inside.lock();
        let nothing = !inside.inbox_changed && !inside.timer && !inside.rights_changed;
        if nothing && inside.evicted.is_none() && inside.letters.is_empty() {
            if !inside.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                inside.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        if let Some(events) = &mut inside.events {
            (events.count, events.bytes) = (0, 0);
        }
        Poll::Ready(Mail {
            inbox_changed: std::mem::take(&mut inside.inbox_changed),
            timer: std::mem::take(&mut inside.timer),
            rights_changed: std::mem::take(&mut inside.rights_changed),
            evicted: inside.evicted.take().map(|end| *end),
            letters: std::mem::take(&mut inside.letters),
        })
    }

    /// Puts something in and wakes the connection's task. Returns `false` if the connection has ended.
    fn leave(&self, put: impl FnOnce(&mut Inside)) -> bool {
        let waker = {
            let mut inside = self.inside.lock();
            if inside.closed {
                return false;
            }
            put(&mut inside);
            inside.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Closes it: nothing gets in any more, and nothing comes out.
    pub(super) fn close(&self) {
        let mut inside = self.inside.lock();
        *inside = Inside { closed: true, ..Inside::new(inside.transport) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_tells_everything_once_and_ends_a_connection_that_does_not_read() {
        let mailbox = Mailbox::new(
            ConnectionId(NonZeroU64::MIN),
            SocketAddr::from(([127, 0, 0, 1], 1)),
            Transport::WebSocket,
        );
        let mut cx = Context::from_waker(Waker::noop());
        assert!(mailbox.poll(&mut cx).is_pending());
        mailbox.inbox_changed();
        let response = Arc::new(Response { topic: "t".into(), correlation_data: None });
        for _ in 0..=LETTERS_MAX {
            assert!(mailbox.post(Letter::Response { response: response.clone(), payload: Vec::new() }));
        }
        let Poll::Ready(mail) = mailbox.poll(&mut cx) else { panic!("nothing there") };
        assert!(mail.inbox_changed && !mail.timer);
        assert_eq!(mail.letters.len(), LETTERS_MAX);
        assert_eq!(mail.evicted.map(|end| end.reason), Some(ReasonCode::QuotaExceeded));
        assert!(mailbox.poll(&mut cx).is_pending());
        mailbox.close();
        assert!(!mailbox.post(Letter::Response { response, payload: Vec::new() }), "it is closed");
        assert_eq!(mailbox.transport(), Transport::WebSocket, "of which its end is told");
    }
}
