//! The glue over in-memory streams, in paused time.

mod admission;
mod fixture;
mod gate;

use std::net::SocketAddr;
use std::sync::Arc;

use super::Door;

/// A task of a parked connection is little more than its box; see [`Door::serve`].
#[test]
fn the_task_of_a_connection_is_small() {
    fn size<F: Future>(_: impl FnOnce(Arc<Door>, tokio::net::TcpStream, SocketAddr) -> F) -> usize {
        size_of::<F>()
    }
    let size = size(|door, io, address| door.serve(io, address));
    assert!(size <= 320, "{size} bytes");
}
