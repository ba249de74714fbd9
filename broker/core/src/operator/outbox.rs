//! What waits for an operator at QoS 1, and what is in flight to it.

use std::collections::VecDeque;

use crate::InFlight;
use crate::packet::ServerPublish;

/// Most publications in flight; a smaller Receive Maximum counts.
const IN_FLIGHT_MAX: u16 = 256;
/// Most responses that wait for a slow operator; one more ends the connection.
const RESPONSES_MAX: usize = 10_000;
/// Most events that wait for a slow operator; more are dropped with a count.
const EVENTS_MAX: usize = 1_000;
/// Most bytes of events that wait for a slow operator.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a publication is; the bounds differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Response,
    Event,
}

/// Publications at QoS 1 in the order in which they came: some in flight, the others waiting.
#[derive(Debug)]
pub(super) struct Outbox {
    in_flight: InFlight<()>,
    waiting: VecDeque<(What, ServerPublish)>,
    events: usize,
    event_bytes: usize,
}

impl Outbox {
    /// Makes an empty one for a client that takes `receive_maximum` at a time.
    pub(super) fn new(receive_maximum: u16) -> Self {
        let in_flight = InFlight::new(receive_maximum.min(IN_FLIGHT_MAX));
        Self { in_flight, waiting: VecDeque::new(), events: 0, event_bytes: 0 }
    }

    /// Takes one that is to go out; returns `false`, and takes nothing, if too many of its sort are waiting.
    pub(super) fn push(&mut self, what: What, publish: ServerPublish) -> bool {
        let size = publish.payload.len();
        let room = match what {
            What::Response => self.waiting.len() - self.events < RESPONSES_MAX,
            What::Event => self.events < EVENTS_MAX && self.event_bytes + size <= EVENT_BYTES_MAX,
        };
        if room {
            if what == What::Event {
                self.events += 1;
                self.event_bytes += size;
            }
            self.waiting.push_back((what, publish));
        }
        room
    }

    /// Takes the next one that may be sent, with its packet id.
    pub(super) fn next(&mut self) -> Option<ServerPublish> {
        if self.waiting.is_empty() {
            return None;
        }
        let packet_id = self.in_flight.insert(())?;
        let (what, publish) = self.waiting.pop_front()?;
        if what == What::Event {
            self.events -= 1;
            self.event_bytes -= publish.payload.len();
        }
        Some(ServerPublish { packet_id: Some(packet_id), ..publish })
    }

    /// Takes a PUBACK; returns `false` if nothing is in flight under that packet id.
    pub(super) fn acknowledged(&mut self, packet_id: u16) -> bool {
        self.in_flight.remove(packet_id).is_some()
    }
}
