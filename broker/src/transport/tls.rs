//! The only file that touches rustls' unbuffered API.
//!
//! A parked connection is paid for in memory, and what a TLS stream costs beyond its keys is buffers. Here a
//! connection owns none while it is quiet: bytes are read into, decrypted into and sealed into a [`Scratch`] that
//! belongs to the worker thread, and only the bytes of an incomplete record stay with the connection.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};

/// The longest TLS record on the wire: header, 16 KiB, and the expansion that TLS 1.2 allows (RFC 5246 §6.2.3).
pub const RECORD_MAX: usize = 5 + 16 * 1024 + 2048;

/// What sealing may add to one record: the header and the longest nonce, type and tag of our cipher suites.
const SEAL_OVERHEAD_MAX: usize = 32;
/// How much plaintext rustls puts into one record.
const RECORD_PLAIN_MAX: usize = 16 * 1024;
/// A close_notify alert, sealed.
const CLOSE_NOTIFY_MAX: usize = 64;
/// A buffer of a worker that grew beyond this (one large answer) is given back.
const SCRATCH_KEEP_MAX: usize = 256 * 1024;

/// Buffers for one step of work on any connection; they belong to the worker, never to a connection.
pub struct Scratch {
    /// Where the socket is read into; as long as the longest record.
    pub input: Box<[u8]>,
    /// What [`Tls::feed`] decrypted.
    pub plain: Vec<u8>,
    /// What is to be sent to the peer.
    pub output: Vec<u8>,
    /// The bytes of an incomplete record with the new ones behind them.
    joined: Vec<u8>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch")
            .field("input_len", &self.input.len())
            .field("plain_len", &self.plain.len())
            .field("output_len", &self.output.len())
            .finish_non_exhaustive()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            input: vec![0; RECORD_MAX].into_boxed_slice(),
            plain: Vec::new(),
            output: Vec::new(),
            joined: Vec::new(),
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

impl Scratch {
    /// Lends the thread's buffers for one synchronous step.
    ///
    /// `plain` and `output` are empty at the beginning, so that no connection ever sees what another left, and
    /// what the step leaves in them is gone afterwards. A nested call gets buffers of its own.
    pub fn with<R>(step: impl FnOnce(&mut Self) -> R) -> R {
        SCRATCH.with(|cell| match cell.try_borrow_mut() {
            Ok(mut scratch) => {
                scratch.clear();
                let result = step(&mut scratch);
                scratch.clear();
                result
            }
            Err(_) => step(&mut Self::default()),
        })
    }

    fn clear(&mut self) {
        for buffer in [&mut self.plain, &mut self.output, &mut self.joined] {
            buffer.clear();
            if buffer.capacity() > SCRATCH_KEEP_MAX {
                *buffer = Vec::new();
            }
        }
    }
}

/// Why a TLS connection ended.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer broke the protocol, or no common ground was found.
    #[error("TLS: {0}")]
    Protocol(#[from] rustls::Error),
    /// The peer sent a handshake message that is larger than any that is needed.
    #[error("TLS: a message is longer than {RECORD_MAX} bytes")]
    TooLong,
    /// Data was to be sent before the handshake ended.
    #[error("TLS: the handshake has not ended")]
    Handshaking,
    /// Data was to be sent after our close_notify, or the connection failed before.
    #[error("TLS: the connection is closed")]
    Closed,
    /// A TLS 1.2 connection used up its keys; it must be made anew.
    #[error("TLS: the keys are used up")]
    Exhausted,
}

/// The server's side of one TLS connection, without socket and without buffers.
///
/// Order of calls: [`feed`](Self::feed) whatever the socket gave, send `scratch.output`, use `scratch.plain`;
/// [`seal`](Self::seal) once [`is_handshaking`](Self::is_handshaking) is false; [`close`](Self::close) last. After
/// an error from `feed` the output holds the alert, if there is one to send; then only dropping is left.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// Bytes of an incomplete record, exactly as many as there are; mostly none, and then nothing is allocated.
    rest: Box<[u8]>,
    peer_closed: bool,
    ended: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("version", &self.version())
            .field("handshaking", &self.is_handshaking())
            .field("rest_len", &self.rest.len())
            .field("peer_closed", &self.peer_closed)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Begins a connection.
    ///
    /// # Errors
    /// [`TlsError::Protocol`] if the configuration is of no use to a server.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            rest: Box::default(),
            peer_closed: false,
            ended: false,
        })
    }

    /// Takes in `scratch.input[..n]`: replaces `scratch.plain` by what was decrypted and appends to
    /// `scratch.output` what must be sent (handshake, tickets).
    ///
    /// After the peer's close_notify everything is ignored.
    ///
    /// # Errors
    /// [`TlsError::Protocol`] and [`TlsError::TooLong`] end the connection; `scratch.output` then holds the alert
    /// that tells the peer, and `scratch.plain` what came before the fault.
    pub fn feed(&mut self, n: usize, scratch: &mut Scratch) -> Result<(), TlsError> {
        let Scratch { input, plain, output, joined } = scratch;
        plain.clear();
        if self.ended {
            return Err(TlsError::Closed);
        }
        if self.peer_closed {
            return Ok(());
        }
        let n = n.min(input.len());
        let records: &mut [u8] = if self.rest.is_empty() {
            &mut input[..n]
        } else {
            joined.clear();
            joined.extend_from_slice(&self.rest);
            joined.extend_from_slice(&input[..n]);
            self.rest = Box::default();
            joined
        };
        let used = match process(&mut self.connection, records, plain, output) {
            Ok(digested) => {
                self.peer_closed |= digested.peer_closed;
                digested.used
            }
            Err(error) => {
                self.ended = true;
                return Err(error);
            }
        };
        if self.peer_closed {
            return Ok(());
        }
        let rest = &records[used..];
        if rest.len() > RECORD_MAX {
            self.ended = true;
            return Err(TlsError::TooLong);
        }
        if !rest.is_empty() {
            self.rest = rest.into();
        }
        Ok(())
    }

    /// Encrypts `plaintext` to the end of `out`, in records of at most 16 KiB.
    ///
    /// Whatever is due before it (an answer to the peer's key update, a new key after many records) goes in front.
    ///
    /// # Errors
    /// [`TlsError::Handshaking`] and [`TlsError::Closed`], with `out` unchanged; [`TlsError::Exhausted`] ends the
    /// connection, with our close_notify in `out` and nothing of `plaintext`.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let records = plaintext.len().div_ceil(RECORD_PLAIN_MAX);
        let expected = plaintext.len() + records * SEAL_OVERHEAD_MAX;
        self.write(out, expected, |traffic, room| traffic.encrypt(plaintext, room))
    }

    /// Encrypts our close_notify to the end of `out`; nothing may be sealed afterwards.
    ///
    /// Before the end of the handshake, after a failure and the second time it adds nothing: there is nothing to
    /// say, and the socket may just be closed.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        let said = self.write(out, CLOSE_NOTIFY_MAX, |traffic, room| traffic.queue_close_notify(room));
        if let Err(reason) = said {
            tracing::trace!(%reason, "no close_notify");
        }
        self.ended = true;
    }

    /// Tells whether the handshake is still under way.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Tells whether the peer has sent its close_notify: all that it wanted to say has been fed.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Returns the protocol that ALPN settled on, if the client offered any.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// Returns the version of TLS, once it is settled.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.connection.protocol_version()
    }

    /// Tells whether the handshake resumed an earlier connection by its ticket.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Writes through the one state in which rustls lets one write.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        expected: usize,
        mut put: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Sealed,
    ) -> Result<(), TlsError> {
        if self.ended {
            return Err(TlsError::Closed);
        }
        if self.connection.is_handshaking() {
            return Err(TlsError::Handshaking);
        }
        let begin = out.len();
        let mut size = expected;
        // Whatever was received is digested already, so the loop ends at the first or, if a message of rustls'
        // own waits to be encoded, at one of the next turns.
        loop {
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut self.rest);
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let from = out.len();
                    out.resize(from + size, 0);
                    match put(&mut traffic, &mut out[from..]) {
                        Ok(written) => {
                            out.truncate(from + written);
                            return Ok(());
                        }
                        Err(EncryptError::InsufficientSize(more)) if more.required_size > size => {
                            out.truncate(from);
                            size = more.required_size;
                        }
                        Err(EncryptError::InsufficientSize(_) | EncryptError::EncryptExhausted) => {
                            out.truncate(begin);
                            alert(&mut self.connection, &mut self.rest, out);
                            self.ended = true;
                            return Err(TlsError::Exhausted);
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out),
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                // What is left: states of reading, which feeding has digested, and `Closed`.
                Ok(_) => {
                    out.truncate(begin);
                    return Err(TlsError::Closed);
                }
                Err(error) => {
                    out.truncate(begin);
                    self.ended = true;
                    return Err(error.into());
                }
            }
        }
    }
}

type Sealed = Result<usize, EncryptError>;

struct Digested {
    used: usize,
    peer_closed: bool,
}

/// Lets rustls work until it needs more bytes; appends to `plain` and `output`.
fn process(
    connection: &mut UnbufferedServerConnection,
    mut records: &mut [u8],
    plain: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<Digested, TlsError> {
    let mut digested = Digested { used: 0, peer_closed: false };
    loop {
        let UnbufferedStatus { discard, state } = connection.process_tls_records(records);
        let mut blocked = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    plain.extend_from_slice(record?.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, output),
            Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
            Ok(ConnectionState::PeerClosed) => digested.peer_closed = true,
            Ok(ConnectionState::ReadEarlyData(_)) => {
                // Never offered by our configuration: a replay could wake a machine a second time.
                return Err(rustls::Error::General("early data".into()).into());
            }
            Ok(_) => blocked = true,
            Err(error) => {
                alert(connection, records, output);
                return Err(error.into());
            }
        }
        digested.used += discard;
        records = &mut records[discard..];
        if blocked {
            return Ok(digested);
        }
    }
}

/// Fetches the alert that rustls queued with its error.
///
/// It must be asked for no more than that: behind the alert it would look at the faulty bytes once again.
fn alert(connection: &mut UnbufferedServerConnection, records: &mut [u8], output: &mut Vec<u8>) {
    while connection.wants_write() {
        match connection.process_tls_records(records).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, output),
            Ok(_) | Err(_) => return,
        }
    }
}

fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) {
    // rustls tells the size only by refusing a room that is too small.
    let mut size = 0;
    loop {
        let from = out.len();
        out.resize(from + size, 0);
        match data.encode(&mut out[from..]) {
            Ok(written) => {
                out.truncate(from + written);
                return;
            }
            Err(EncodeError::InsufficientSize(more)) if more.required_size > size => {
                out.truncate(from);
                size = more.required_size;
            }
            Err(EncodeError::InsufficientSize(_) | EncodeError::AlreadyEncoded) => {
                out.truncate(from);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
