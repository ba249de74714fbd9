use super::*;
use crate::Alpn;
use crate::test_server::TestServer;
use tokio::io::{AsyncWriteExt, BufReader};

/// Reads one request: its head, and its body as it is framed.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    use tokio::io::AsyncBufReadExt;
    let mut reader = BufReader::with_capacity(1, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).await.unwrap() == 0 {
            return None;
        }
    }
    let mut body = Vec::new();
    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        body.resize(length.parse().unwrap(), 0);
        reader.read_exact(&mut body).await.unwrap();
    } else if head.contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).await.unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).await.unwrap();
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    }
    Some((head, body))
}

fn client(server: &TestServer) -> HttpClient {
    let secret = Secret::from_random(wakemq_protocol::SecretKind::Operator, &[7; 32]);
    HttpClient::new(server.dialer(Alpn::Http1), Some(secret))
}

#[tokio::test]
async fn requests_share_a_connection_until_it_is_closed() {
    let server = TestServer::start("http/1.1").await;
    let mut client = client(&server);
    let serving = async {
        for requests in [2, 1] {
            let mut stream = server.accept().await.unwrap();
            for _ in 0..requests {
                let (head, body) = read_request(&mut stream).await.unwrap();
                assert!(head.starts_with("POST /v1/x HTTP/1.1\r\n"), "{head}");
                assert!(head.contains(&format!("host: localhost:{}\r\n", server.address.port())), "{head}");
                assert!(head.contains("authorization: Bearer wmo_"), "{head}");
                assert!(head.contains("content-type: application/json"), "{head}");
                assert_eq!(body, b"{}");
                stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
            stream.shutdown().await.unwrap();
        }
    };
    let asking = async {
        for _ in 0..3 {
            let answer = client.request(Method::POST, "/v1/x", Some(Upload::json("{}"))).await.unwrap();
            assert_eq!(answer, (StatusCode::CREATED, Bytes::from("ok")));
        }
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn a_large_upload_and_its_answer_stream_at_the_same_time() {
    let server = TestServer::start("http/1.1").await;
    let mut client = client(&server);
    let lines = "x".repeat(99).into_bytes();
    let upload: Vec<u8> = (0..100_000).flat_map(|_| lines.iter().copied().chain([b'\n'])).collect();
    let size = upload.len();
    let serving = async {
        let mut stream = server.accept().await.unwrap();
        // The answer begins before the request has ended.
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n").await.unwrap();
        let (_, body) = read_request(&mut stream).await.unwrap();
        stream.write_all(b"2\r\ncd\r\n0\r\n\r\n").await.unwrap();
        body.len()
    };
    let asking = async {
        let upload = Upload::reader(JSON_LINES, std::io::Cursor::new(upload));
        let mut response = client.stream(Method::POST, "/v1/import", Some(upload)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut all = Vec::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            all.extend_from_slice(&chunk);
        }
        all
    };
    let (received, answer) = tokio::join!(serving, asking);
    assert_eq!(received, size);
    assert_eq!(answer, b"abcd");
}

#[tokio::test]
async fn what_is_too_large_too_late_or_cut_off_is_an_error() {
    let server = TestServer::start("http/1.1").await;
    let mut client = client(&server).with_response_max(10).with_limit(Duration::from_millis(300));
    let serving = async {
        let mut stream = server.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n0123456789a").await.unwrap();
        // The client gives up the connection of a response that it did not read to its end.
        let mut stream = server.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        let mut silent = server.accept().await.unwrap();
        drop(stream);
        read_request(&mut silent).await.unwrap();
        silent.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n01").await.unwrap();
        silent.shutdown().await.unwrap();
    };
    let asking = async {
        let large = client.request(Method::GET, "/", None).await;
        assert!(matches!(large, Err(HttpError::TooLarge(10))), "{large:?}");
        let late = client.request(Method::GET, "/", None).await;
        assert!(matches!(late, Err(HttpError::TimedOut(_))), "{late:?}");
        let cut = client.request(Method::GET, "/", None).await;
        assert!(matches!(cut, Err(HttpError::Http(_))), "{cut:?}");
    };
    tokio::join!(serving, asking);
}
