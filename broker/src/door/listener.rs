//! Accepting connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::{Door, Serves, gate};
use crate::metrics::Refused;
use crate::transport::socket;

/// How long to wait after the system gave no connection, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long what was sent may stay unacknowledged by the peer's system.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Accepts connections until the door drains.
pub(crate) async fn listen(door: Arc<Door>, listener: TcpListener, serves: Serves) {
    let mut draining = door.draining.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(|draining| *draining) => return,
        };
        match accepted {
            Ok((stream, address)) => admit(&door, stream, socket::canonical(address), serves),
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted at the moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(door: &Arc<Door>, stream: TcpStream, address: SocketAddr, serves: Serves) {
    let Some(place) = door.places(serves).take() else {
        let why = Refused::TooManyConnections;
        if let Some(place) = door.gate.turn_away(why, address, door.metrics()) {
            door.tasks.spawn(gate::linger(stream, place, door.draining.subscribe()));
        }
        return;
    };
    if let Err(error) = socket::accepted(&stream, USER_TIMEOUT) {
        tracing::debug!(%address, %error, "the peer was gone at once");
        return;
    }
    let served = door.clone().serve_as(stream, address, serves);
    door.tasks.spawn(async move {
        served.await;
        drop(place);
    });
}

/// How many connections may be open at a time, and are.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    taken: AtomicUsize,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: AtomicUsize::new(0) })
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let one_more = |n| (n < self.max).then_some(n + 1);
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        taken.is_ok().then(|| Place(self.clone()))
    }
}

/// One of the places; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}
