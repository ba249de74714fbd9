//! A small HTTP proxy that lets CONNECT through, as an agent meets it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A proxy within the test. When it is dropped, nobody listens any more, and all its tunnels are closed.
#[derive(Debug)]
pub struct ConnectProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ConnectProxy {
    /// Starts a proxy on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, asked) = (listener.local_addr()?, Arc::<Mutex<Vec<String>>>::default());
        let task = tokio::spawn(accept(listener, Arc::clone(&asked)));
        Ok(Self { address, asked, task })
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns where clients wanted to be connected to, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    /// Ends the proxy and waits until nothing of it is left.
    pub async fn stop(mut self) {
        self.task.abort();
        // It was aborted: that is the error.
        (&mut self.task).await.ok();
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, asked: Arc<Mutex<Vec<String>>>) {
    let mut tunnels = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let asked = Arc::clone(&asked);
        tunnels.spawn(async move {
            // A tunnel ends when one of its ends fails, which is for the programs under test to notice.
            tunnel(client, &asked).await.ok();
        });
    }
}

async fn tunnel(client: TcpStream, asked: &Mutex<Vec<String>>) -> Result<()> {
    let mut client = BufReader::new(client);
    let mut line = String::new();
    client.read_line(&mut line).await?;
    let target = line.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(" HTTP/1.1\r\n"));
    let target = target.with_context(|| format!("not CONNECT: {line:?}"))?.to_owned();
    loop {
        let mut header = String::new();
        match client.read_line(&mut header).await? {
            0 => bail!("the request has no end"),
            _ if header == "\r\n" => break,
            _ => {}
        }
    }
    asked.lock().push(target.clone());
    let mut server = match TcpStream::connect(&target).await {
        Ok(server) => server,
        Err(error) => {
            client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n").await?;
            return Err(error.into());
        }
    };
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
