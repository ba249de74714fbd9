//! The stream against frames that a library made and reads.

use std::io::ErrorKind;
use std::pin::pin;
use std::task::{Context, Waker};

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::websocket::WebSocketStream;

const BINARY: OpCode = OpCode::Data(Data::Binary);
const CONTINUE: OpCode = OpCode::Data(Data::Continue);
const PING: OpCode = OpCode::Control(Control::Ping);
const PONG: OpCode = OpCode::Control(Control::Pong);
const CLOSE: OpCode = OpCode::Control(Control::Close);

/// A frame of a server.
fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { is_final, opcode, ..FrameHeader::default() };
    let mut bytes = Vec::new();
    Frame::from_payload(header, payload.to_vec().into()).format(&mut bytes).unwrap();
    bytes
}

/// Takes apart what the client sent.
fn frames(mut bytes: &[u8]) -> Vec<(OpCode, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let mut cursor = std::io::Cursor::new(bytes);
        let (header, len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
        let mask = header.mask.expect("a client's frame has a mask");
        assert!(header.is_final);
        let (payload, rest) = bytes[cursor.position() as usize..].split_at(len as usize);
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        found.push((header.opcode, payload));
        bytes = rest;
    }
    found
}

fn pair(room: usize) -> (WebSocketStream<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(room);
    (WebSocketStream::new(near), far)
}

/// Reads all that a server says in pieces; returns it with what the client answered.
async fn read_all(bytes: &[u8], piece: usize) -> (std::io::Result<Vec<u8>>, Vec<(OpCode, Vec<u8>)>) {
    let (mut client, mut server) = pair(1 << 20);
    let saying = async {
        for piece in bytes.chunks(piece) {
            // A client that has heard enough takes no more.
            if server.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        server.shutdown().await.unwrap();
        let mut answers = Vec::new();
        server.read_to_end(&mut answers).await.unwrap();
        frames(&answers)
    };
    let reading = async move {
        let mut read = Vec::new();
        let ended = client.read_to_end(&mut read).await;
        ended.map(|_| read)
    };
    tokio::join!(reading, saying)
}

#[tokio::test]
async fn payloads_come_through_in_fragments_and_around_a_ping_in_any_pieces() {
    let long: Vec<u8> = (0..70_000_u32).map(|n| n as u8).collect();
    let bytes = [
        frame(BINARY, false, b"ab"),
        frame(PING, true, b"hello"),
        frame(CONTINUE, false, b""),
        frame(CONTINUE, true, b"cd"),
        frame(BINARY, true, &long),
        frame(PONG, true, b"unasked"),
        frame(PING, true, b""),
        frame(BINARY, true, b"e"),
    ]
    .concat();
    for piece in [1, 2, 3, 7, 100, bytes.len()] {
        let (read, answers) = read_all(&bytes, piece).await;
        assert!(read.unwrap() == [b"abcd", &*long, b"e"].concat(), "{piece}");
        assert_eq!(answers, [(PONG, b"hello".to_vec()), (PONG, vec![])]);
    }
}

#[tokio::test]
async fn a_close_is_answered_and_nothing_is_read_behind_it() {
    for (said, error) in [
        (&b"\x03\xe8"[..], None),
        (b"", None),
        (b"\x03\xe9", Some("the WebSocket was closed with 1001")),
        (b"\x03\xf0no \x1bgood", Some("the WebSocket was closed with 1008: no good")),
    ] {
        let bytes = [frame(BINARY, true, b"x"), frame(CLOSE, true, said), frame(BINARY, true, b"y")].concat();
        let (read, answers) = read_all(&bytes, 1).await;
        match error {
            None => assert_eq!(read.unwrap(), b"x"),
            Some(error) => assert_eq!(read.unwrap_err().to_string(), error),
        }
        assert!(answers.iter().all(|answer| *answer == (CLOSE, b"\x03\xe8".to_vec())), "{answers:?}");
    }
}

#[tokio::test]
async fn what_the_standard_forbids_ends_the_connection() {
    for (bytes, expected) in [
        (vec![0x82, 0x81, 1, 2, 3, 4, b'x'], "a frame with a mask"),
        (vec![0xC2, 0], "a reserved bit"),
        (vec![0x83, 0], "a reserved opcode"),
        (vec![0x82, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0], "highest bit"),
        (frame(OpCode::Data(Data::Text), true, b"x"), "a text frame"),
        (frame(PING, false, b""), "a control frame in fragments"),
        (frame(PING, true, &[0; 126]), "too long"),
        (frame(CONTINUE, true, b"x"), "a continuation of nothing"),
        ([frame(BINARY, false, b""), frame(BINARY, true, b"")].concat(), "a message inside another"),
    ] {
        let error = read_all(&bytes, bytes.len()).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains(expected), "{expected:?}: {error}");
    }
}

#[tokio::test]
async fn what_is_written_comes_out_in_masked_frames_and_the_end_closes() {
    let (mut client, mut server) = pair(1 << 20);
    let long = vec![7; 40_000];
    client.write_all(b"first").await.unwrap();
    client.write_all(&long).await.unwrap();
    client.flush().await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(client.write(b"late").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    drop(client);
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).await.unwrap();
    let mut found = frames(&bytes);
    assert_eq!(found.pop(), Some((CLOSE, vec![0x03, 0xE8])));
    assert!(found.iter().all(|(opcode, payload)| *opcode == BINARY && payload.len() <= 16 * 1024));
    assert_eq!(found.remove(0).1, b"first");
    assert!(found.into_iter().flat_map(|(_, payload)| payload).collect::<Vec<_>>() == long);
}

#[tokio::test]
async fn a_server_that_pings_and_does_not_read_is_not_answered_without_end() {
    let (mut client, mut server) = pair(64);
    let mut reading = pin!(async {
        let mut byte = [0];
        client.read(&mut byte).await
    });
    let ping = frame(PING, true, &[0; 125]);
    let mut pings = 0;
    // The server's bytes are taken for as long as the client reads.
    loop {
        let mut context = Context::from_waker(Waker::noop());
        assert!(reading.as_mut().poll(&mut context).is_pending());
        let mut writing = pin!(server.write_all(&ping));
        let mut is_taken = false;
        for _ in 0..100 {
            is_taken = writing.as_mut().poll(&mut context).is_ready();
            if is_taken {
                break;
            }
            assert!(reading.as_mut().poll(&mut context).is_pending());
        }
        if !is_taken {
            break;
        }
        pings += 1;
        assert!(pings < 100, "every ping is answered into memory");
    }
    assert!(pings > 10);
}

#[tokio::test]
async fn a_quiet_connection_holds_no_buffer() {
    let (mut client, mut server) = pair(1 << 20);
    client.write_all(&[0; 16 * 1024]).await.unwrap();
    client.flush().await.unwrap();
    server.write_all(&frame(PING, true, &[1; 100])).await.unwrap();
    server.write_all(&frame(BINARY, true, b"x")).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x');
    assert!(client.held() <= 256, "{}", client.held());
    assert!(size_of::<WebSocketStream<()>>() <= 120, "{}", size_of::<WebSocketStream<()>>());
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_end_alike(bytes in vec(any::<u8>(), 0..300), piece in 1_usize..20) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = |piece| {
            let (read, answers) = runtime.block_on(read_all(&bytes, piece));
            (read.map_err(|error| error.to_string()), answers)
        };
        prop_assert_eq!(read(piece), read(400));
    }
}
