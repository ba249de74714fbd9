//! Connections that never say a word: each holds a place at the server's door until that closes it, and is then
//! opened anew.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use super::{Shared, source};
use crate::fleet::words::Event;

/// Numbers of mute connections' source addresses, apart from those of agents.
const FIRST: usize = 1_000_000;
/// How long a connection that was refused waits.
const AGAIN: Duration = Duration::from_millis(500);

/// Opens so many, and keeps as many open.
pub(super) fn hold(shared: &Arc<Shared>, count: usize) {
    let opened = Arc::new(AtomicUsize::new(0));
    for number in 0..count {
        let (shared, opened) = (shared.clone(), opened.clone());
        tokio::spawn(async move {
            let mut first = true;
            loop {
                match open(&shared, number).await {
                    Ok(mut tcp) => {
                        if first && opened.fetch_add(1, Ordering::AcqRel) + 1 == count {
                            shared.tell(Event::Muted).await;
                        }
                        first = false;
                        // Whatever the server says or does not say, it is not answered.
                        while tcp.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                        shared.tell(Event::Closed(1)).await;
                    }
                    Err(_) => sleep(AGAIN).await,
                }
            }
        });
    }
}

async fn open(shared: &Shared, number: usize) -> Result<TcpStream> {
    let _place = shared.dials.acquire().await?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((source(FIRST + number)?, 0)))?;
    Ok(socket.connect(shared.address).await?)
}
