//! Accepting connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::Door;
use crate::transport::socket;

/// How long to wait after the system gave no connection, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long what was sent may stay unacknowledged by the peer's system.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Accepts connections until the door drains.
pub(crate) async fn listen(door: Arc<Door>, listener: TcpListener) {
    let mut draining = door.draining.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(|draining| *draining) => return,
        };
        match accepted {
            Ok((stream, address)) => admit(&door, stream, address),
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted at the moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(door: &Arc<Door>, stream: TcpStream, address: std::net::SocketAddr) {
    let place = Place::take(door.clone());
    let Some(place) = place else {
        tracing::warn!(%address, max = door.limits.max_connections, "refused: too many connections");
        return;
    };
    if let Err(error) = socket::accepted(&stream, USER_TIMEOUT) {
        tracing::debug!(%address, %error, "the peer was gone at once");
        return;
    }
    let served = door.clone().serve(stream, address);
    door.tasks.spawn(async move {
        served.await;
        drop(place);
    });
}

/// One of the places that `max_connections` allows; given back when dropped.
struct Place(Arc<Door>);

impl Place {
    fn take(door: Arc<Door>) -> Option<Self> {
        let max = door.limits.max_connections;
        let taken = door
            .connections
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n + 1));
        taken.is_ok().then(|| Self(door))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}
