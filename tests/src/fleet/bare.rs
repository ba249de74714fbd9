//! The yardstick: a server of tokio and tokio-rustls with nothing behind it, or hyper alone.

mod http;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use wakemq_broker::transport::server_config::server_config;
use wakemq_broker::transport::socket::{accepted, listen};

use super::DESCRIPTORS;
use crate::descriptors;

/// CONNACK and SUBACK, so that the same load can be put on it.
const ANSWERS: [&[u8]; 2] = [&[0x20, 3, 0, 0, 0], &[0x90, 4, 0, 1, 0, 1]];
/// Room for what is answered; given back before the connection is parked.
const REQUEST_MAX: usize = 1024;
/// As the broker sets it.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves for ever, MQTT or, if `http`, requests that wait; prints `listening ADDRESS`.
pub async fn run(address: SocketAddr, certificate: &Path, key: &Path, http: bool) -> Result<()> {
    descriptors::raise(DESCRIPTORS)?;
    let acceptor = TlsAcceptor::from(server_config(certificate, key)?);
    let listener = listen(address)?;
    writeln!(std::io::stdout(), "listening {}", listener.local_addr()?).context("standard output")?;
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        // Each in a task of its own, which is no larger than what it is for.
        if http {
            tokio::spawn(async move {
                if let Err(error) = serve_http(stream, acceptor).await {
                    tell(&error);
                }
            });
        } else {
            tokio::spawn(async move {
                if let Err(error) = serve(stream, acceptor).await {
                    tell(&error.into());
                }
            });
        }
    }
}

fn tell(error: &anyhow::Error) {
    eprintln!("fleet: bare: a connection failed: {error:#}");
}

async fn serve_http(stream: TcpStream, acceptor: TlsAcceptor) -> Result<()> {
    accepted(&stream, USER_TIMEOUT)?;
    // Boxed, so that what a handshake needs is no part of a parked connection's task.
    let tls = Box::pin(acceptor.accept(stream)).await?;
    // That a parked connection ends is no failure, in whatever way it does.
    http::serve(tls).await.ok();
    Ok(())
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    accepted(&stream, USER_TIMEOUT)?;
    let mut tls = acceptor.accept(stream).await?;
    for answer in ANSWERS {
        let mut request = Vec::with_capacity(REQUEST_MAX);
        tls.read_buf(&mut request).await?;
        drop(request);
        tls.write_all(answer).await?;
        tls.flush().await?;
    }
    // Here the connection is parked. That it ends is no failure, in whatever way it does.
    while tls.read(&mut [0]).await.is_ok_and(|read| read > 0) {}
    Ok(())
}
