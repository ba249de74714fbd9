//! What may lie between a client and the broker: bytes that come one by one, and records that come together.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wakemq_tests::wait::within;

/// How bytes are forwarded.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Each byte by itself, both ways.
    Dribble,
    /// To the broker, in one piece each, so many whole records together; afterwards as they come. To the client as
    /// they come.
    Gather(VecDeque<usize>),
}

/// A forwarder for one connection; ends when dropped.
pub(crate) struct Forwarder {
    pub(crate) address: SocketAddr,
    /// How many bytes have come from the client.
    came: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl Forwarder {
    pub(crate) async fn start(to: SocketAddr, manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        let (coming, came) = watch::channel(0);
        tasks.spawn(async move {
            if let Err(error) = forward(&listener, to, manner, coming).await {
                // The client notices, and the test fails by what that says.
                eprintln!("forwarder: {error:#}");
            }
        });
        Ok(Self { address, came, _tasks: tasks })
    }

    /// Does something at which the client sends something, and waits until that has come here.
    pub(crate) async fn brings(&self, sending: impl Future<Output = Result<()>>) -> Result<()> {
        let mut came = self.came.clone();
        let before = *came.borrow_and_update();
        sending.await?;
        within("bytes to be forwarded", came.wait_for(|bytes| *bytes > before)).await??;
        Ok(())
    }
}

async fn forward(
    listener: &TcpListener,
    to: SocketAddr,
    manner: Manner,
    coming: watch::Sender<usize>,
) -> Result<()> {
    let (client, _) = listener.accept().await?;
    let broker = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (from_client, mut to_client) = client.into_split();
    let (mut from_broker, to_broker) = broker.into_split();
    match manner {
        Manner::Dribble => {
            tokio::try_join!(dribble(from_client, to_broker), dribble(from_broker, to_client))?;
        }
        Manner::Gather(together) => {
            let back = async {
                tokio::io::copy(&mut from_broker, &mut to_client).await?;
                Ok(to_client.shutdown().await?)
            };
            tokio::try_join!(gather(from_client, to_broker, together, coming), back)?;
        }
    }
    Ok(())
}

async fn dribble(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let n = from.read(&mut bytes).await?;
        if n == 0 {
            return Ok(to.shutdown().await?);
        }
        for byte in &bytes[..n] {
            to.write_all(&[*byte]).await?;
            // Lets the other end take it before the next comes.
            tokio::task::yield_now().await;
        }
    }
}

async fn gather(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut together: VecDeque<usize>,
    coming: watch::Sender<usize>,
) -> Result<()> {
    let mut held = Vec::new();
    loop {
        let n = from.read_buf(&mut held).await?;
        if n == 0 {
            break;
        }
        coming.send_modify(|bytes| *bytes += n);
        while let Some(len) = records(&held, together.front().copied().unwrap_or_default()) {
            to.write_all(&held[..len]).await?;
            held.drain(..len);
            if together.pop_front().is_none() {
                break;
            }
        }
    }
    to.write_all(&held).await?;
    Ok(to.shutdown().await?)
}

/// Returns the length of the first `count` records, if they are whole; of all bytes if none are wanted together.
fn records(bytes: &[u8], count: usize) -> Option<usize> {
    if count == 0 {
        return Some(bytes.len());
    }
    (0..count).try_fold(0, |at, _| {
        let header = bytes.get(at..at + 5)?;
        let end = at + 5 + usize::from(u16::from_be_bytes([header[3], header[4]]));
        (end <= bytes.len()).then_some(end)
    })
}
