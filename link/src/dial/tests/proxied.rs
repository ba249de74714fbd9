//! Through a scripted proxy, over real sockets.

use std::cell::RefCell;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::{
    Alpn, DialError, Dialed, Dialer, Duration, ProxyError, SocketAddr, TestServer, WayError, refusing,
};
use crate::{Endpoint, Ladder};

/// Time limits of the tests that must wait for one.
const SHORT: Duration = Duration::from_millis(200);

/// What a proxy does with one connection.
#[derive(Clone)]
enum Script {
    /// Answers in these pieces, then connects the tunnel to a server.
    Tunnel(&'static [&'static str], SocketAddr),
    /// Answers this, and closes.
    Say(Vec<u8>),
    /// Answers this, and then no more; not even the end.
    Hang(&'static str),
}

struct Proxy {
    listener: TcpListener,
    address: SocketAddr,
    asked: RefCell<Vec<String>>,
    heads: RefCell<Vec<String>>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address, asked: RefCell::default(), heads: RefCell::default() }
    }

    /// Plays the script, one connection after another, until it is dropped.
    async fn play(&self, script: &[Script]) {
        let mut kept = Vec::new();
        for script in script {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let request = request(&mut stream).await;
            self.heads.borrow_mut().push(request.clone());
            self.asked.borrow_mut().push(request.lines().next().unwrap_or_default().to_owned());
            match script {
                Script::Tunnel(answer, to) => {
                    for piece in *answer {
                        stream.write_all(piece.as_bytes()).await.unwrap();
                        // Each piece is on its way before the next, and is met by the client alone.
                        tokio::task::yield_now().await;
                    }
                    let mut server = TcpStream::connect(to).await.unwrap();
                    kept.push(tokio::spawn(async move {
                        copy_bidirectional(&mut stream, &mut server).await.ok();
                    }));
                }
                Script::Say(answer) => {
                    stream.write_all(answer).await.unwrap();
                    stream.shutdown().await.unwrap();
                }
                Script::Hang(answer) => {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    kept.push(tokio::spawn(async move {
                        std::future::pending::<()>().await;
                        drop(stream);
                    }));
                }
            }
        }
        std::future::pending().await
    }

    fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }
}

/// Reads a request's head, and nothing behind it.
async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn ladder(ports: &[u16]) -> Ladder {
    Ladder::new(ports.iter().map(|port| format!("localhost:{port}").parse::<Endpoint>().unwrap())).unwrap()
}

/// Dials through the proxy while it plays its script.
async fn dial(
    server: &TestServer,
    proxy: &Proxy,
    ladder: Ladder,
    script: &[Script],
) -> Result<Dialed, DialError> {
    let url = format!("http://{}", proxy.address).parse().unwrap();
    let dialer = Dialer::new(ladder, &server.trust, Alpn::Mqtt)
        .unwrap()
        .with_attempt_limit(SHORT * 5)
        .with_proxy(Some(url))
        .with_proxy_limits(SHORT * 5, SHORT);
    let accepting = async { while server.accept().await.is_some() {} };
    tokio::select! {
        dialed = dialer.dial() => dialed,
        () = proxy.play(script) => unreachable!("it plays for ever"),
        () = async { accepting.await; std::future::pending().await } => unreachable!(),
    }
}

/// Dials one rung, where nobody listens, through a proxy with one answer; returns what became of it.
async fn failure(script: Script) -> (ProxyError, String) {
    let (server, proxy) = (TestServer::start("mqtt").await, Proxy::start().await);
    let ladder = ladder(&[refusing().await.port()]);
    let mut error = dial(&server, &proxy, ladder, &[script]).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("through the proxy http://{}: ", proxy.address)), "{text}");
    assert!(matches!(error.rungs[1].1, WayError::Addresses(_)), "the direct way was tried too: {text}");
    let WayError::Proxy { error, .. } = error.rungs.remove(0).1 else { panic!("{text}") };
    (error, text)
}

#[tokio::test]
async fn the_connection_goes_through_the_proxy_and_tls_names_the_broker() {
    let (server, proxy) = (TestServer::start("mqtt").await, Proxy::start().await);
    let answers: [&'static [&'static str]; 5] = [
        &["HTTP/1.1 200 OK\r\n\r\n"],
        &["HTTP/1.0 200 Connection established\r\nVia: x\r\nContent-Length: 5\r\n\r\n"],
        &["H", "TTP/1.1 20", "4 \r", "\n\r", "\n"],
        &["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"],
        &["HTTP/1.1 200\n\n"],
    ];
    for answer in answers {
        // Nobody listens where the rung says: without the proxy there would be no connection.
        let nobody = refusing().await.port();
        let script = [Script::Tunnel(answer, server.address)];
        let dialed = dial(&server, &proxy, ladder(&[nobody]), &script).await.unwrap();
        assert_eq!(dialed.proxy.unwrap().to_string(), format!("http://{}", proxy.address));
        assert_eq!((dialed.address, dialed.rung.port), (proxy.address, nobody));
        assert_eq!(proxy.asked().last().unwrap(), &format!("CONNECT localhost:{nobody} HTTP/1.1"));
    }
}

#[tokio::test]
async fn what_the_proxy_sends_behind_its_answer_belongs_to_the_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let rung = crate::Rung { host: "::1".into(), port: 443 };
    let opening =
        crate::tunnel::open(&proxy, &rung, || unreachable!(), crate::tunnel::ProxyLimits::default());
    let (opened, request) = tokio::join!(opening, async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = request(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\nglued", "x".repeat(8000));
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });
    assert!(request.starts_with("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n"), "{request}");
    let mut rest = String::new();
    opened.unwrap().1.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "glued");
}

#[tokio::test]
async fn a_port_that_is_not_allowed_leads_to_the_next_through_the_same_proxy() {
    let (server, proxy) = (TestServer::start("mqtt").await, Proxy::start().await);
    let script = [
        Script::Say(b"HTTP/1.1 403 Filtered\r\nContent-Length: 2\r\n\r\nno".to_vec()),
        Script::Tunnel(&["HTTP/1.1 200 OK\r\n\r\n"], server.address),
    ];
    let dialed = dial(&server, &proxy, Ladder::parse(&["localhost"]).unwrap(), &script).await.unwrap();
    assert_eq!(dialed.rung.port, 8883);
    assert!(dialed.proxy.is_some());
    assert_eq!(proxy.asked(), ["CONNECT localhost:443 HTTP/1.1", "CONNECT localhost:8883 HTTP/1.1"]);
}

#[tokio::test]
async fn every_way_in_which_a_proxy_fails_has_its_own_words() {
    let say = |text: &str| Script::Say(text.as_bytes().to_vec());
    let too_large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(8192));
    for (script, expected) in [
        (say("HTTP/1.1 403 Forbidden\r\n\r\n"), "does not allow that host or port (403)"),
        (
            say("HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n"),
            "it wants a user name and password, and has none",
        ),
        (say("HTTP/1.1 502 Bad Gateway\r\n\r\n<html>"), "it answered 502 Bad Gateway"),
        (say("<html><body>Log in</body></html>"), "no HTTP, and begins with \"<html><body>Log in"),
        (say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Log in</html>"), "is no TLS"),
        (say(&too_large), "larger than 8 KiB"),
        (say("HTTP/1.1 200 OK\r\nX: y\r\n"), "closed the connection before it answered"),
        (say(""), "closed the connection before it answered"),
        (say("HTTP/1.1 200 OK\r\n\r\n"), "TLS: tls handshake eof"),
        (Script::Hang(""), "gives no answer within 0.2 s"),
        (Script::Hang("HTTP/1.1 200 OK\r\nX: "), "gives no answer within 0.2 s"),
        (Script::Hang("HTTP/1.1 200 OK\r\n\r\n"), "no TLS handshake within 1 s"),
    ] {
        let (error, text) = failure(script).await;
        assert!(error.to_string().contains(expected), "{expected:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn a_user_name_is_sent_as_basic_and_a_refusal_of_it_told_as_one() {
    let (server, proxy) = (TestServer::start("mqtt").await, Proxy::start().await);
    let url = format!("http://me:s3cret@{}", proxy.address).parse().unwrap();
    let dialer = Dialer::new(ladder(&[refusing().await.port()]), &server.trust, Alpn::Mqtt)
        .unwrap()
        .with_proxy(Some(url));
    for (answer, expected) in [
        (
            "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=x\r\n\r\n",
            "did not accept the user name and password",
        ),
        ("HTTP/1.1 407 x\r\n\r\n", "did not accept the user name and password"),
        ("HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\n\r\n", "it wants to know who asks by NTLM (407)"),
    ] {
        let script = [Script::Say(answer.as_bytes().to_vec())];
        let error = tokio::select! {
            dialed = dialer.dial() => dialed.unwrap_err(),
            () = proxy.play(&script) => unreachable!(),
        };
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains("s3cret"), "{text}");
        // RFC 7617 §2: Base64 of `me:s3cret`.
        let authorization = "Proxy-Authorization: Basic bWU6czNjcmV0";
        assert!(proxy.heads.borrow().last().unwrap().lines().any(|line| line == authorization));
    }
}

#[tokio::test]
async fn without_a_proxy_that_works_the_connection_is_direct() {
    let server = TestServer::start("mqtt").await;
    let (alive, dead) = (Proxy::start().await, refusing().await);
    let ports = [refusing().await.port(), server.address.port()];
    let foreign = TestServer::start("mqtt").await;
    let tunnel = |to| Script::Tunnel(&["HTTP/1.1 200 OK\r\n\r\n"], to);
    let say = |text: &str| Script::Say(text.as_bytes().to_vec());
    for (script, asked) in [
        (vec![say("HTTP/1.1 403 x\r\n\r\n"); 2], 2),
        (vec![say("HTTP/1.1 407 x\r\n\r\n"); 2], 1),
        (vec![say("<html>"); 2], 1),
        (vec![Script::Hang(""); 2], 2),
        (vec![say("HTTP/1.1 503 x\r\n\r\n"), say("")], 2),
        // Somebody between who reads along has another certificate.
        (vec![tunnel(foreign.address); 2], 2),
    ] {
        alive.asked.borrow_mut().clear();
        let meanwhile = async { while foreign.accept().await.is_none() {} };
        let dialed = tokio::select! {
            dialed = dial(&server, &alive, ladder(&ports), &script) => dialed.unwrap(),
            () = meanwhile => panic!("the foreign certificate was accepted"),
        };
        assert_eq!((dialed.proxy, dialed.rung.port), (None, ports[1]));
        assert_eq!(alive.asked().len(), asked);
    }
    let dialer = server.dialer(Alpn::Mqtt).with_proxy(Some(format!("http://{dead}").parse().unwrap()));
    let (dialed, _) = tokio::join!(dialer.dial(), server.accept());
    assert_eq!(dialed.unwrap().proxy, None);
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_not_asked_for_every_rung() {
    let (server, proxy) = (TestServer::start("mqtt").await, Proxy::start().await);
    let mut ports = Vec::new();
    for _ in 0..4 {
        ports.push(refusing().await.port());
    }
    ports.push(server.address.port());
    let dialed = dial(&server, &proxy, ladder(&ports), &vec![Script::Hang(""); 4]).await.unwrap();
    assert_eq!((dialed.proxy, dialed.rung.port), (None, server.address.port()));
    assert_eq!(proxy.asked().len(), 2);
}

#[tokio::test]
async fn a_proxys_name_that_does_not_exist_and_a_certificate_behind_it_are_told() {
    let (server, foreign, proxy) =
        (TestServer::start("mqtt").await, TestServer::start("mqtt").await, Proxy::start().await);
    let nowhere = ladder(&[refusing().await.port()]);
    let dialer = Dialer::new(nowhere.clone(), &server.trust, Alpn::Mqtt)
        .unwrap()
        .with_proxy(Some("http://no-such-host.invalid:3128".parse().unwrap()));
    let error = dialer.dial().await.unwrap_err();
    assert!(
        matches!(
            error.rungs[0].1,
            WayError::Proxy { error: ProxyError::Resolve(_) | ProxyError::NoAddress(_), .. }
        ),
        "{error}"
    );
    assert!(!error.is_certificate());

    let script = [Script::Tunnel(&["HTTP/1.1 200 OK\r\n\r\n"], foreign.address)];
    let (dialed, _) = tokio::join!(dial(&server, &proxy, nowhere, &script), foreign.accept());
    assert!(dialed.unwrap_err().is_certificate());
}
