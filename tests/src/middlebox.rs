//! What may lie between an agent and its broker: a forwarder that lets through what it is told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Longest ClientHello that is looked at.
const HELLO_MAX: usize = 16 * 1024;

/// What is let through. A change ends all connections that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lets {
    /// Everything.
    All,
    /// TLS that asks for HTTP by ALPN; what asks for another protocol is closed.
    Http,
    /// Nothing: connections are accepted, and nothing more is heard of them.
    Silence,
    /// Nothing: connections are closed.
    Nothing,
}

/// A forwarder within the test; ends with all its connections when dropped.
#[derive(Debug)]
pub struct Middlebox {
    address: SocketAddr,
    lets: watch::Sender<Lets>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Middlebox {
    /// Starts a forwarder to a broker, on a free port.
    pub async fn start(to: SocketAddr, lets: Lets) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (lets, told) = watch::channel(lets);
        let accepted = Arc::<AtomicUsize>::default();
        let task = tokio::spawn(accept(listener, to, told, Arc::clone(&accepted)));
        Ok(Self { address, lets, accepted, task })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what is let through from now on.
    pub fn set(&self, lets: Lets) {
        self.lets.send_replace(lets);
    }

    /// Returns how many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Middlebox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    to: SocketAddr,
    told: watch::Receiver<Lets>,
    accepted: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::SeqCst);
        let mut told = told.clone();
        let lets = *told.borrow_and_update();
        connections.spawn(async move {
            tokio::select! {
                biased;
                _ = told.changed() => {}
                // What ends a connection is the business of its ends.
                _ = forward(client, to, lets) => {}
            }
        });
    }
}

async fn forward(mut client: TcpStream, to: SocketAddr, lets: Lets) -> Result<()> {
    match lets {
        Lets::All => {}
        Lets::Http if asks_for_http(&client).await? => {}
        Lets::Http | Lets::Nothing => {
            client.shutdown().await?;
            return Ok(());
        }
        Lets::Silence => std::future::pending().await,
    }
    let mut broker = TcpStream::connect(to).await?;
    broker.set_nodelay(true)?;
    client.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut broker).await?;
    Ok(())
}

/// Looks at the ClientHello, which remains to be read.
async fn asks_for_http(client: &TcpStream) -> Result<bool> {
    let mut hello = vec![0; HELLO_MAX];
    loop {
        let read = client.peek(&mut hello).await?;
        let head = &hello[..read];
        // A record of TLS says its length.
        let whole = match head {
            [_, _, _, high, low, ..] => 5 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => usize::MAX,
        };
        if read == 0 || read >= whole.min(HELLO_MAX) {
            return Ok(head.windows(9).any(|bytes| bytes == b"\x08http/1.1"));
        }
        client.readable().await?;
        tokio::task::yield_now().await;
    }
}
