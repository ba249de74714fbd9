//! The same TLS driver as a byte stream, for HTTP servers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tls::{Scratch, Tls, TlsError};

/// How much plaintext one `poll_write` takes, so that what waits for a slow peer stays bounded: one record.
const WRITE_MAX: usize = 16 * 1024;

/// Writes `unsent` from `written` on; once nothing is left, gives the buffer's memory back.
pub(crate) fn poll_unsent<IO: AsyncWrite + Unpin>(
    io: &mut IO,
    cx: &mut Context<'_>,
    unsent: &mut Vec<u8>,
    written: &mut usize,
) -> Poll<io::Result<()>> {
    while *written < unsent.len() {
        let n = ready!(Pin::new(&mut *io).poll_write(cx, &unsent[*written..]))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        *written += n;
    }
    *unsent = Vec::new();
    *written = 0;
    Poll::Ready(Ok(()))
}

/// A TLS connection over `IO` that reads and writes plaintext.
///
/// Shutting it down sends close_notify. An end of `IO` without the peer's close_notify is
/// [`io::ErrorKind::UnexpectedEof`].
#[derive(Debug)]
pub struct TlsStream<IO> {
    io: IO,
    tls: Tls,
    /// Decrypted and not read yet, from `read` on.
    plain: Vec<u8>,
    read: usize,
    /// Sealed and not written yet, from `written` on.
    unsent: Vec<u8>,
    written: usize,
    closing: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> TlsStream<IO> {
    /// Goes on with a connection; `plain` is what was decrypted already and is read first.
    pub fn new(io: IO, tls: Tls, plain: Vec<u8>) -> Self {
        Self { io, tls, plain, read: 0, unsent: Vec::new(), written: 0, closing: false }
    }

    /// Takes it apart: socket, TLS, what was decrypted and not read, and what was sealed and not written.
    pub fn into_parts(mut self) -> (IO, Tls, Vec<u8>, Vec<u8>) {
        self.plain.drain(..self.read);
        self.unsent.drain(..self.written);
        (self.io, self.tls, self.plain, self.unsent)
    }

    /// Returns what is underneath.
    pub fn get_ref(&self) -> (&IO, &Tls) {
        (&self.io, &self.tls)
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_unsent(&mut self.io, cx, &mut self.unsent, &mut self.written)
    }

    /// Reads from the socket once; `Ready` means that there is plaintext, or that the peer is done, or neither.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Scratch::with(|scratch| {
            let mut input = ReadBuf::new(&mut scratch.input);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut input))?;
            let n = input.filled().len();
            if n == 0 {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the peer closed the connection without close_notify",
                )));
            }
            let fed = self.tls.feed(n, scratch);
            self.unsent.extend_from_slice(&scratch.output);
            self.plain.extend_from_slice(&scratch.plain);
            if let Err(error) = fed {
                // The alert is an attempt: whether it fits into the socket's buffer changes nothing.
                let alerted = self.poll_unsent(cx);
                tracing::debug!(%error, alerted = alerted.is_ready(), "TLS failed");
                return Poll::Ready(Err(invalid(error)));
            }
            Poll::Ready(Ok(()))
        })
    }
}

fn invalid(error: TlsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let plain = &this.plain[this.read..];
            if !plain.is_empty() {
                let n = plain.len().min(buf.remaining());
                buf.put_slice(&plain[..n]);
                this.read += n;
                if this.read == this.plain.len() {
                    this.plain = Vec::new();
                    this.read = 0;
                }
                return Poll::Ready(Ok(()));
            }
            if this.tls.peer_closed() || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // What TLS itself has to say goes out even if the user only ever reads. Not now is no reason not to
            // read: the writer is woken when there is room.
            if let Poll::Ready(Err(error)) = this.poll_unsent(cx) {
                return Poll::Ready(Err(error));
            }
            ready!(this.poll_fill(cx))?;
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        let taken = &buf[..buf.len().min(WRITE_MAX)];
        if taken.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.tls.seal(taken, &mut this.unsent).map_err(|error| match error {
            TlsError::Closed => io::Error::new(io::ErrorKind::BrokenPipe, error),
            TlsError::Protocol(_) | TlsError::TooLong | TlsError::Handshaking | TlsError::Exhausted => {
                invalid(error)
            }
        })?;
        // The bytes are taken; an error of the socket is told by the next call.
        match this.poll_unsent(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing {
            this.closing = true;
            this.tls.close(&mut this.unsent);
        }
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream as ClientStream;

    use super::super::server_config::tests::localhost;
    use super::*;

    fn connector(ca: CertificateDer<'static>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    /// Does as a door does: drives the handshake, then makes a stream with what came behind it.
    async fn accept(mut io: DuplexStream, mut tls: Tls) -> TlsStream<DuplexStream> {
        let mut plain = Vec::new();
        while tls.is_handshaking() {
            let mut scratch = Scratch::default();
            let n = io.read(&mut scratch.input).await.unwrap();
            tls.feed(n, &mut scratch).unwrap();
            plain.extend_from_slice(&scratch.plain);
            io.write_all(&scratch.output).await.unwrap();
        }
        TlsStream::new(io, tls, plain)
    }

    /// Both ends over a pipe of `room` bytes.
    async fn pair(room: usize) -> (ClientStream<DuplexStream>, TlsStream<DuplexStream>) {
        let (config, ca) = localhost();
        let (near, far) = duplex(room);
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = connector(ca);
        let connect = connecting.connect(name, near);
        let (client, server) = tokio::join!(connect, accept(far, Tls::new(config).unwrap()));
        (client.unwrap(), server)
    }

    #[tokio::test]
    async fn large_bodies_through_a_narrow_pipe() {
        let (mut client, mut server) = pair(700).await;
        let body: Vec<u8> = (0..200_000_u32).map(|at| (at % 253) as u8).collect();
        let there = async {
            client.write_all(&body).await.unwrap();
            client.shutdown().await.unwrap();
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            got
        };
        let back = async {
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            server.write_all(&got).await.unwrap();
            server.shutdown().await.unwrap();
            got
        };
        let (answer, got) = tokio::join!(there, back);
        assert!(got == body && answer == body);
    }

    #[tokio::test]
    async fn what_was_decrypted_before_is_read_first() {
        let (config, _) = localhost();
        let (_near, far) = duplex(100);
        let mut stream = TlsStream::new(far, Tls::new(config).unwrap(), b"GET / ".to_vec());
        let mut two = [0; 2];
        for expected in [b"GE", b"T ", b"/ "] {
            stream.read_exact(&mut two).await.unwrap();
            assert_eq!(&two, expected);
        }
    }

    #[tokio::test]
    async fn an_end_without_goodbye_is_an_error() {
        let (mut client, mut server) = pair(10_000).await;
        client.write_all(b"half a requ").await.unwrap();
        let (io, _) = client.into_inner();
        drop(io);
        let mut got = Vec::new();
        let error = server.read_to_end(&mut got).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(got, b"half a requ");
    }

    #[tokio::test]
    async fn a_broken_record_is_an_error_and_an_alert() {
        let (client, mut server) = pair(10_000).await;
        let (mut io, _) = client.into_inner();
        io.write_all(&[23, 3, 3, 0, 30]).await.unwrap();
        io.write_all(&[0; 30]).await.unwrap();
        let error = server.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(server);
        let mut sent = Vec::new();
        io.read_to_end(&mut sent).await.unwrap();
        assert!(!sent.is_empty(), "the alert");
    }

    #[tokio::test]
    async fn writing_after_shutdown_is_refused() {
        let (mut client, mut server) = pair(10_000).await;
        server.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0, "close_notify");
        let error = server.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_quiet_stream_owns_no_buffers() {
        let (mut client, mut server) = pair(100_000).await;
        client.write_all(&[7; 50_000]).await.unwrap();
        server.read_exact(&mut vec![0; 50_000]).await.unwrap();
        server.write_all(&[7; 50_000]).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(server.plain.capacity() + server.unsent.capacity(), 0);
    }
}
