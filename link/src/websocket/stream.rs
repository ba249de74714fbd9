//! The stream of bytes in a WebSocket.
//!
//! MQTT takes the payloads of binary frames for one stream, wherever messages end (MQTT 5 §6.0). A payload is read
//! straight into the reader's buffer and a header byte by byte as it is needed, so that nothing is held but what a
//! slow connection has not taken yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{CONTROL_MAX, Closing, FrameError, HEAD_MAX, Header, Opcode, Read, write};

/// Most payload of one frame that is sent.
const PAYLOAD_MAX: usize = 16 * 1024;
/// Above this many bytes of answers that are not written, nothing more is read that would want another.
const ANSWERS_MAX: usize = 4 * 1024;
/// A quiet connection keeps no buffer larger than this.
const BUFFER_KEPT: usize = 256;

/// A stream of bytes in a WebSocket, after its upgrade.
#[derive(Debug)]
pub struct WebSocketStream<S> {
    inner: S,
    head: [u8; HEAD_MAX],
    head_len: usize,
    /// A message was begun, and not ended.
    in_message: bool,
    open: Open,
    /// Whole frames that are not written yet.
    out: Vec<u8>,
    /// How much of them is written.
    written: usize,
    close_sent: bool,
    random: SystemRandom,
}

/// What is being read.
#[derive(Debug)]
enum Open {
    Header,
    Data {
        left: u64,
    },
    Control {
        opcode: Opcode,
        payload: Vec<u8>,
        len: usize,
    },
    /// The broker has closed.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Takes over a stream after its upgrade.
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            head: [0; HEAD_MAX],
            head_len: 0,
            in_message: false,
            open: Open::Header,
            out: Vec::new(),
            written: 0,
            close_sent: false,
            random: SystemRandom::new(),
        }
    }

    fn queue(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut mask = [0; 4];
        self.random.fill(&mut mask).map_err(|_| io::Error::other("no random numbers"))?;
        write(opcode, mask, payload, &mut self.out);
        Ok(())
    }

    /// Writes what is queued.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.out[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.written = 0;
        self.out.clear();
        if self.out.capacity() > BUFFER_KEPT {
            self.out = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads more of the header; ready with whether there was more.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match Header::read(&self.head[..self.head_len], self.in_message).map_err(protocol)? {
            Read::Wants(len) => {
                let mut room = ReadBuf::new(&mut self.head[self.head_len..len]);
                ready!(Pin::new(&mut self.inner).poll_read(cx, &mut room))?;
                let count = room.filled().len();
                self.head_len += count;
                Poll::Ready(Ok(count > 0))
            }
            Read::Whole(header) => {
                self.head_len = 0;
                self.open = match header.opcode {
                    Opcode::Binary | Opcode::Continuation => {
                        self.in_message = !header.is_final;
                        Open::Data { left: header.len }
                    }
                    opcode @ (Opcode::Close | Opcode::Ping | Opcode::Pong) => {
                        Open::Control { opcode, payload: Vec::new(), len: header.len as usize }
                    }
                };
                Poll::Ready(Ok(true))
            }
        }
    }

    /// Answers a control frame that has come in full.
    fn answer(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        match opcode {
            Opcode::Ping => self.queue(Opcode::Pong, payload),
            Opcode::Close => {
                self.open = Open::Closed;
                self.queue_close()?;
                let closing = Closing::parse(payload);
                if closing.is_normal() { Ok(()) } else { Err(io::Error::other(closing.to_string())) }
            }
            Opcode::Pong | Opcode::Binary | Opcode::Continuation => Ok(()),
        }
    }

    fn queue_close(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.close_sent, true) {
            return Ok(());
        }
        self.queue(Opcode::Close, &Closing::normal())
    }
}

fn protocol(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            // Answers go out even where the reader has nothing to write.
            if !this.out.is_empty() {
                match this.poll_drain(cx)? {
                    Poll::Ready(()) => _ = Pin::new(&mut this.inner).poll_flush(cx)?,
                    Poll::Pending if this.out.len() - this.written > ANSWERS_MAX => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            match &mut this.open {
                Open::Header => {
                    if !ready!(this.poll_header(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Open::Data { left: 0 } => this.open = Open::Header,
                Open::Data { left } => {
                    let limit = usize::try_from(*left).unwrap_or(usize::MAX).min(room.remaining());
                    let mut part = ReadBuf::new(room.initialize_unfilled_to(limit));
                    ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
                    let count = part.filled().len();
                    *left -= count as u64;
                    room.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Open::Control { opcode, payload, len } => {
                    if payload.len() < *len {
                        let mut bytes = [0; CONTROL_MAX];
                        let mut part = ReadBuf::new(&mut bytes[..*len - payload.len()]);
                        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
                        if part.filled().is_empty() {
                            return Poll::Ready(Ok(()));
                        }
                        payload.extend_from_slice(part.filled());
                        continue;
                    }
                    let (opcode, payload) = (*opcode, std::mem::take(payload));
                    this.open = Open::Header;
                    this.answer(opcode, &payload)?;
                }
                Open::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.close_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // One frame at a time waits, so that a slow connection holds no more.
        ready!(this.poll_drain(cx))?;
        let count = bytes.len().min(PAYLOAD_MAX);
        this.queue(Opcode::Binary, &bytes[..count])?;
        match this.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What is left goes out with the next write, read or flush.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.queue_close()?;
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
impl<S> WebSocketStream<S> {
    /// Returns how many bytes of memory its buffers hold.
    pub(super) fn held(&self) -> usize {
        self.out.capacity()
    }
}
