//! The entry point of a fuzz target in `tests/fuzz`: it takes any bytes, and must neither panic nor break what it
//! asserts. Only there for it, and for the test that replays its corpus.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wakemq_protocol::{Secret, SecretKind};

use crate::mqtt::{ConnectOptions, Event, Outgoing, Session};

/// More than a session says to any input.
const WRITTEN_MAX: usize = 1 << 20;

/// A broker that sends given bytes in pieces, takes everything, and then closes.
struct Broker<'a> {
    pieces: std::slice::Chunks<'a, u8>,
    piece: &'a [u8],
    written: usize,
}

impl AsyncRead for Broker<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.piece.is_empty() {
            self.piece = self.pieces.next().unwrap_or_default();
        }
        let n = self.piece.len().min(room.remaining());
        let (now, later) = self.piece.split_at(n);
        room.put_slice(now);
        self.piece = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Broker<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.written += bytes.len();
        assert!(self.written <= WRITTEN_MAX, "a client that talks without end");
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Takes what a broker sends; the first byte says in which pieces, the second whether a good CONNACK is put first.
pub fn client_packets(data: &[u8]) {
    let [len, welcome, data @ ..] = data else { return };
    let connack: &[u8] = if welcome & 1 == 0 { &[0x20, 3, 0, 0, 0] } else { &[] };
    let bytes = [connack, data].concat();
    let len = if *len == 0 { bytes.len().max(1) } else { usize::from(*len) };
    let broker = Broker { pieces: bytes.chunks(len), piece: &[], written: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    // Bytes are always ready, and so is their end: a client that waits for more is one that hangs.
    let mut talking = Box::pin(talk(broker, welcome >> 1));
    let talked = talking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(talked.is_ready(), "the client waits though the stream has ended");
}

async fn talk(broker: Broker<'_>, acknowledges: u8) {
    let secret = Secret::from_random(SecretKind::Agent, &[0; 32]);
    let options = ConnectOptions::new("a", "a", secret);
    let Ok((mut session, _)) = Session::connect(broker, &options).await else { return };
    let message = Outgoing { topic: "t".into(), payload: "x".into(), ..Outgoing::default() };
    let said = (session.subscribe("f"), session.publish(message.clone()), session.publish(message.clone()));
    assert!(said.0.is_ok());
    let mut published = 0;
    while let Ok(event) = session.next_event().await {
        match event {
            Event::Publish(incoming) => {
                if let Some(pkid) = incoming.pkid.filter(|_| acknowledges & 1 == 0)
                    && session.ack(pkid).is_err()
                {
                    return;
                }
            }
            Event::Published { .. } => {
                published += 1;
                assert!(session.publish(message.clone()).is_ok() || session.capacity() == 0);
            }
            Event::Subscribed { codes, .. } => assert!(!codes.is_empty(), "a SUBACK without a code"),
            Event::Idle | Event::Alive => {}
            Event::ServerDisconnect { .. } => break,
        }
    }
    assert!(published <= WRITTEN_MAX);
    // Whether the farewell is taken is the stream's affair.
    let _ = session.disconnect().await;
}

#[cfg(test)]
#[path = "../../tests/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn client_packets() {
        super::replay::replay("client_packets", super::client_packets);
    }
}
