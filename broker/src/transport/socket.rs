//! Listening sockets, and what the kernel is to do for accepted ones.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// How many accepted connections may wait for us: a fleet that comes back all at once must not meet refusals.
pub const BACKLOG: i32 = 4096;
/// The largest segments of accepted connections, both ways: they fit into packets of 1,280 bytes, which every path with
/// IPv6 carries and nearly every one with IPv4. Where a path carries no more and nobody says so (its ICMP is dropped),
/// larger ones would never arrive, and nor would the commands of an agent that has more than one pending.
#[cfg(target_os = "linux")]
const SEGMENT_MAX: u32 = 1220;
/// How often the kernel asks again when a quiet peer does not answer its keep-alive probe, and how many times.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Why a door could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl ListenError {
    /// Tells whether another program holds the address.
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }

    /// Tells whether the right is missing (a port below 1024, mostly).
    pub fn is_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }
}

/// Opens a listening socket with [`BACKLOG`]; must be called within a tokio runtime.
///
/// `[::]` takes IPv4 as well. A warning is logged if the kernel cuts the backlog.
///
/// # Errors
/// [`ListenError`] names the address.
pub fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listener = match open(address) {
        // A machine without IPv6 has no `[::]`, but what it stands for includes every IPv4 address.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && has_no_ipv6(&error) => {
            tracing::warn!(%address, %error, "this machine has no IPv6: listening on IPv4 alone");
            open((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        listener => listener,
    }
    .map_err(|source| ListenError { address, source })?;
    if let Some(limit) = backlog_limit()
        && limit < BACKLOG
    {
        tracing::warn!(
            %address, wanted = BACKLOG, limit,
            "the kernel cuts the queue of waiting connections; raise net.core.somaxconn"
        );
    }
    Ok(listener)
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // On Windows this would let another program take the port as well.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Before it listens, since the kernel tells the peer when it accepts.
    #[cfg(target_os = "linux")]
    socket.set_tcp_mss(SEGMENT_MAX)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(target_os = "linux")]
fn backlog_limit() -> Option<i32> {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn backlog_limit() -> Option<i32> {
    None
}

/// Sets what every accepted connection needs: no delay, and an end after `user_timeout` (on Linux) in which the
/// peer acknowledged nothing of what was sent.
///
/// # Errors
/// The system's, most likely because the peer is gone already.
pub fn accepted(stream: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(user_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = user_timeout;
    Ok(())
}

/// Returns a peer's address without its IPv4 in an IPv6 one, as a socket for both gives it.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Lets the kernel probe a peer that was silent for `idle`, and end the connection if it does not answer.
///
/// Called again with another time when CONNECT has told the keep-alive; see [`keepalive_idle`].
///
/// # Errors
/// The system's, most likely because the peer is gone already.
pub fn set_keepalive(stream: &TcpStream, idle: Duration) -> io::Result<()> {
    let params = TcpKeepalive::new().with_time(idle).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    SockRef::from(stream).set_tcp_keepalive(&params)
}

/// Returns how long a peer must be silent before the kernel probes: one and a half keep-alives, so that a probe
/// never wakes a machine's radio which the protocol would have left asleep; `without` if there is no keep-alive.
pub fn keepalive_idle(keep_alive_secs: u16, without: Duration) -> Duration {
    if keep_alive_secs == 0 { without } else { Duration::from_millis(u64::from(keep_alive_secs) * 1500) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_shown_as_one_whatever_the_socket() {
        let shown = |text: &str| canonical(text.parse().unwrap()).to_string();
        assert_eq!(shown("[::ffff:192.0.2.7]:49152"), "192.0.2.7:49152");
        assert_eq!(shown("192.0.2.7:49152"), "192.0.2.7:49152");
        assert_eq!(shown("[2001:db8::7]:49152"), "[2001:db8::7]:49152");
    }

    #[tokio::test]
    async fn options_reach_the_kernel() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        #[cfg(target_os = "linux")]
        for end in [&stream, &client] {
            let segment = SockRef::from(end).tcp_mss().unwrap();
            assert!((1..=SEGMENT_MAX).contains(&segment), "{segment}");
        }
        accepted(&stream, Duration::from_secs(40)).unwrap();
        assert!(stream.nodelay().unwrap());

        let socket = SockRef::from(&stream);
        assert!(!socket.keepalive().unwrap());
        set_keepalive(&stream, Duration::from_secs(90)).unwrap();
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(90));
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(40)));
        }
        set_keepalive(&stream, keepalive_idle(600, Duration::from_secs(1))).unwrap();
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(900));
    }

    #[tokio::test]
    async fn errors_name_the_address() {
        let first = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address).unwrap_err();
        assert!(error.is_in_use() && !error.is_denied());
        assert!(error.to_string().contains(&address.to_string()));
    }

    #[test]
    fn probes_never_come_before_one_and_a_half_keep_alives() {
        let without = Duration::from_secs(7200);
        assert_eq!(keepalive_idle(60, without), Duration::from_secs(90));
        assert_eq!(keepalive_idle(u16::MAX, without), Duration::from_millis(98_302_500));
        assert_eq!(keepalive_idle(0, without), without);
    }
}
