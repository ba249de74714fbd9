//! The router of `rumqttd`: the only file that knows it, and what has to be known of it.
//!
//! It runs in a thread of its own, which nothing ends but a panic, and a panic is what some bytes cause: so it gets
//! none that the bus has not made. Links and sends block, so they are for threads, not for the runtime's workers. A
//! link that is dropped stays in the router until it is told to disconnect, and what the router keeps of a link's
//! name it keeps for ever: so names are used again.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::{io, thread};

use bytes::Bytes;
use rumqttd::local::{LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Broker, Config, Notification, RouterConfig};
use tokio::sync::oneshot;

use super::LINKS_MAX;

/// How many events the router gives a link at a time.
const FORWARDS_MAX: u64 = 200;
/// How much the router keeps of each filter's events for links that are behind.
const SEGMENT_BYTES: usize = 64 * 1024;
const SEGMENTS_KEPT: usize = 4;
/// A topic that no filter matches.
const NOWHERE: &str = "~nowhere";

/// Says why the router cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouterError {
    #[error("the router's thread cannot be started: {0}")]
    Start(String),
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] io::Error),
    #[error("the router has died: {0}")]
    Died(String),
}

impl From<LinkError> for RouterError {
    /// Keeps the words alone: the error holds what could not be sent.
    fn from(error: LinkError) -> Self {
        Self::Died(error.to_string())
    }
}

/// The one link that publishes.
pub(super) struct Publisher(LinkTx);

/// Makes links; its thread ends when it and all links are dropped, or when the router has died.
#[derive(Debug, Clone)]
pub(super) struct Linker(mpsc::Sender<Request>);

/// Starts a router, with a link to publish by and a thread that makes links.
pub(super) fn start() -> Result<(Publisher, Linker), RouterError> {
    let router = RouterConfig {
        // One for the publisher, and some room for links that are not gone yet when others come.
        max_connections: LINKS_MAX + 16,
        max_outgoing_packet_count: FORWARDS_MAX,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: SEGMENTS_KEPT,
        ..RouterConfig::default()
    };
    let config = Config { router, ..Config::default() };
    // Without threads left, rumqttd panics.
    let broker = catch_unwind(AssertUnwindSafe(|| Broker::new(config)))
        .map_err(|panic| RouterError::Start(text_of(&*panic)))?;
    let (publisher, _) = broker.link("publisher")?;
    let (requests, inbox) = mpsc::channel();
    thread::Builder::new().name("bus-links".to_owned()).spawn(move || make_links(&broker, &inbox))?;
    Ok((Publisher(publisher), Linker(requests)))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}

impl Publisher {
    /// Gives an event to the router; waits while the router has a lot to do.
    pub(super) fn publish(&mut self, topic: Bytes, event: Bytes) -> Result<(), RouterError> {
        self.0.publish(topic, event)?;
        Ok(())
    }

    /// Looks whether the router lives. It also has the router look at links that it may have forgotten to serve: it
    /// falls asleep over a link that has just left, even if others wait behind it.
    pub(super) fn nudge(&mut self) -> Result<(), RouterError> {
        self.publish(NOWHERE.into(), Bytes::new())
    }

    /// Detaches from a router that is not needed any more.
    pub(super) fn leave(mut self) {
        disconnect(&mut self.0);
    }
}

/// What the thread that makes links is asked for. Each operator's connection asks for one thing at a time.
#[derive(Debug)]
enum Request {
    Open { reply: oneshot::Sender<Link>, linker: Linker },
    Change { link: u32, remove: Vec<String>, add: Vec<String> },
    Close(u32),
}

/// One operator's link, which gives it events; dropped, it is taken out of the router.
#[derive(Debug)]
pub(super) struct Link {
    name: u32,
    rx: LinkRx,
    linker: Linker,
}

/// What came over a link.
#[derive(Debug)]
pub(super) enum Received {
    /// An event of a stream.
    Event {
        /// The topic on the bus.
        stream: Bytes,
        /// The bytes of a [`Frame`](super::Frame).
        event: Bytes,
    },
    /// One more filter is in force: all that is published from now on comes.
    Subscribed,
}

impl Linker {
    /// Makes a link without filters; `None` if the router has died.
    pub(super) async fn open(&self) -> Option<Link> {
        let (reply, link) = oneshot::channel();
        self.0.send(Request::Open { reply, linker: self.clone() }).ok()?;
        link.await.ok()
    }
}

impl Link {
    /// Asks for other filters; each one that is added is answered by [`Received::Subscribed`].
    pub(super) fn change(&self, remove: Vec<String>, add: Vec<String>) {
        // Without the thread the router has died, which the link tells at its next use.
        self.linker.0.send(Request::Change { link: self.name, remove, add }).ok();
    }

    /// Waits for what comes next; `None` if the router has died. It may be dropped before it is done.
    pub(super) async fn next(&mut self) -> Option<Received> {
        loop {
            match self.rx.next().await.ok()? {
                Some(Notification::Forward(forward)) => {
                    let (stream, event) = (forward.publish.topic, forward.publish.payload);
                    return Some(Received::Event { stream, event });
                }
                Some(ack @ Notification::DeviceAck(_)) => {
                    if let Some(Packet::SubAck(..)) = Option::<Packet>::from(ack) {
                        return Some(Received::Subscribed);
                    }
                }
                // The router waits until it hears that there is room again.
                Some(Notification::Unschedule) => self.rx.wake().await.ok()?,
                Some(Notification::Disconnect(..)) => return None,
                Some(
                    Notification::ReplicaData { .. }
                    | Notification::ReplicaAcks { .. }
                    | Notification::Shadow(_),
                )
                | None => {}
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Without the thread there is no router that it would have to leave.
        self.linker.0.send(Request::Close(self.name)).ok();
    }
}

/// Serves requests until nobody can ask any more, or the router has died.
fn make_links(broker: &Broker, inbox: &mpsc::Receiver<Request>) {
    let mut links = Links::default();
    while let Ok(request) = inbox.recv() {
        if let Err(error) = links.serve(broker, request) {
            tracing::debug!(%error, "no more links");
            return;
        }
    }
}

/// The sending halves of all links, by their names.
#[derive(Default)]
struct Links {
    senders: HashMap<u32, LinkTx>,
    /// Names that were used, and may be again.
    free: BTreeSet<u32>,
}

impl Links {
    fn serve(&mut self, broker: &Broker, request: Request) -> Result<(), RouterError> {
        match request {
            Request::Open { reply, linker } => {
                let unused = u32::try_from(self.senders.len()).unwrap_or(u32::MAX);
                let name = self.free.pop_first().unwrap_or(unused);
                let (tx, rx) = broker.link(&format!("operator-{name}"))?;
                self.senders.insert(name, tx);
                // One that nobody waits for any more leaves by its own drop.
                reply.send(Link { name, rx, linker }).ok();
            }
            Request::Change { link, remove, add } => {
                if let Some(tx) = self.senders.get_mut(&link) {
                    for filter in remove {
                        tx.unsubscribe(filter)?;
                    }
                    for filter in add {
                        tx.subscribe(filter)?;
                    }
                }
            }
            Request::Close(link) => {
                if let Some(mut tx) = self.senders.remove(&link) {
                    disconnect(&mut tx);
                    self.free.insert(link);
                }
            }
        }
        Ok(())
    }
}

fn disconnect(link: &mut LinkTx) {
    let reason_code = DisconnectReasonCode::NormalDisconnection;
    let mut sending = pin!(link.send(Packet::Disconnect(Disconnect { reason_code }, None)));
    // It has nothing to wait for but the router's queue, and blocks for that.
    match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(_)) => {}
        Poll::Ready(Err(error)) => tracing::debug!(%error, "a link left a router that has died"),
        Poll::Pending => tracing::warn!("a link could not leave the router; this is a defect"),
    }
}
