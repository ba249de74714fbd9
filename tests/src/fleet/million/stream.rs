//! A stream in memory whose client's end can vanish: what is left of it is what the server has of a socket.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wakemq_broker::door::Io;

/// Both directions.
#[derive(Debug, Default)]
struct Between {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    server: Option<Waker>,
    client: Option<Waker>,
    vanished: bool,
}

/// The server's end.
#[derive(Debug)]
pub struct Socket(Arc<Mutex<Between>>);

/// The client's end. Dropped, it leaves a peer that is silent for ever, not one that has closed.
#[derive(Debug)]
pub struct Client(Arc<Mutex<Between>>);

/// Makes a stream.
pub fn stream() -> (Socket, Client) {
    let between = Arc::default();
    (Socket(Arc::clone(&between)), Client(between))
}

impl Client {
    /// Waits until there is something to read, and reads nothing.
    pub async fn arrived(&self) {
        poll_fn(|cx| {
            let mut between = self.0.lock();
            if between.to_client.is_empty() {
                between.client = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut between = self.0.lock();
        let server = between.server.take();
        // Nothing of the client stays behind: not even the room for what it was sent.
        *between = Between { server, vanished: true, ..Between::default() };
    }
}

/// Takes what there is, and gives the room for it back; else leaves word.
fn read(
    from: &mut Vec<u8>,
    waker: &mut Option<Waker>,
    cx: &Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if from.is_empty() {
        *waker = Some(cx.waker().clone());
        return Poll::Pending;
    }
    let taken = from.len().min(buf.remaining());
    buf.put_slice(&from[..taken]);
    from.drain(..taken);
    if from.is_empty() {
        *from = Vec::new();
    }
    Poll::Ready(Ok(()))
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Between { to_server, server, .. } = &mut *self.0.lock();
        read(to_server, server, cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut between = self.0.lock();
        if !between.vanished {
            between.to_client.extend_from_slice(bytes);
            wake(&mut between.client);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Io for Socket {
    fn probe_after(&self, _idle: Duration) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Client {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Between { to_client, client, .. } = &mut *self.0.lock();
        read(to_client, client, cx, buf)
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut between = self.0.lock();
        between.to_server.extend_from_slice(bytes);
        wake(&mut between.server);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_and_a_vanished_client_is_silent() {
        let (mut socket, mut client) = stream();
        client.write_all(b"hello").await.unwrap();
        let mut five = [0; 5];
        socket.read_exact(&mut five).await.unwrap();
        assert_eq!(&five, b"hello");
        socket.write_all(b"you").await.unwrap();
        let mut three = [0; 3];
        client.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"you");
        drop(client);
        socket.write_all(b"still there?").await.unwrap();
        assert!(socket.0.lock().to_client.is_empty());
        let mut byte = [0];
        tokio::select! {
            biased;
            read = socket.read(&mut byte) => panic!("{read:?}"),
            () = std::future::ready(()) => {}
        }
    }
}
