//! A stream of bytes inside the WebSocket of a foreign client.

use anyhow::{Context as _, Result, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::Io;
use crate::wait::within;

/// How much may be under way in either direction.
const ROOM: usize = 64 * 1024;

/// Upgrades a connection; what is written to the stream goes out in binary messages of at most `message` bytes.
pub(super) async fn open(io: impl Io + 'static, message: usize) -> Result<DuplexStream> {
    let mut request = "wss://localhost/mqtt".into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    let (mut socket, _) = within("an upgrade", client_async(request, io)).await?.context("no upgrade")?;
    socket.send(Message::Ping("are you there".into())).await?;
    match within("a pong", socket.next()).await? {
        Some(Ok(Message::Pong(said))) => ensure!(said == "are you there", "the pong says {said:?}"),
        other => anyhow::bail!("no pong: {other:?}"),
    }
    let (near, mut far) = duplex(ROOM);
    tokio::spawn(async move {
        let mut bytes = vec![0; message];
        loop {
            tokio::select! {
                read = far.read(&mut bytes) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(n) => if socket.send(Message::binary(bytes[..n].to_vec())).await.is_err() { break },
                },
                said = socket.next() => match said {
                    Some(Ok(Message::Binary(bytes))) => if far.write_all(&bytes).await.is_err() { break },
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                },
            }
        }
        // The end of either side is the end of both; a broken one has nothing to say.
        socket.close(None).await.ok();
    });
    Ok(near)
}
