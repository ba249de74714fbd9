//! How fast connections are let in, and what becomes of the others.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;

use super::fixture::Fixture;
use crate::door::{Limits, Serves};
use crate::metrics::{Refused, Waited};
use crate::store;

/// What may pass between a moment and its timer, in paused time.
const TICK: Duration = Duration::from_millis(2);

fn fixture(limits: Limits) -> Fixture {
    Fixture::new(limits, store::memory())
}

fn rate(admissions_per_sec: u32, admission_burst: u32) -> Limits {
    // All come from one address here.
    Limits { admissions_per_sec, admission_burst, source_share_percent: 100, ..Limits::default() }
}

/// Asserts that something took as long as it should.
fn took(elapsed: Duration, millis: u64) {
    let expected = Duration::from_millis(millis);
    assert!((expected..expected + TICK).contains(&elapsed), "{elapsed:?} and not {expected:?}");
}

/// Waits until the other end closes, and returns when that was.
async fn closed(mut io: DuplexStream) -> Instant {
    let mut rest = Vec::new();
    io.read_to_end(&mut rest).await.unwrap();
    Instant::now()
}

/// Lets everything happen that does not wait for time.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_passes_at_once_and_the_others_at_the_rate() {
    let fixture = fixture(rate(10, 3));
    let mut streams = Vec::new();
    let mut times = Vec::new();
    let shaking: Vec<_> = (0..8).map(|_| fixture.shake(fixture.dial())).collect();
    for shaken in futures_in_turn(shaking).await {
        let (stream, elapsed) = shaken.unwrap();
        streams.push(stream);
        times.push(elapsed);
    }
    for (elapsed, millis) in times.into_iter().zip([0, 0, 0, 100, 200, 300, 400, 500]) {
        took(elapsed, millis);
    }
    assert_eq!(fixture.waited(Waited::Rate), 5);
    assert_eq!(fixture.refused(Refused::OverRate), 0);
    // A second later as many pass at once as there is room for.
    sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        took(fixture.shake(fixture.dial()).await.unwrap().1, 0);
    }
    assert_eq!(fixture.waited(Waited::Rate), 5);
}

/// Polls all of them at once, each for the first time in the order given.
async fn futures_in_turn<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(done) = future.as_mut().poll(cx)
            {
                *output = Some(done);
            }
        }
        if outputs.iter().all(Option::is_some) {
            let outputs = std::mem::take(&mut outputs);
            return std::task::Poll::Ready(outputs.into_iter().flatten().collect());
        }
        std::task::Poll::Pending
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_is_closed_after_a_random_moment_and_counted_at_once() {
    // Half of the handshake's limit is for waiting: two seconds, and so two of them may wait.
    let fixture = fixture(Limits { handshake: Duration::from_secs(4), ..rate(1, 1) });
    took(fixture.shake(fixture.dial()).await.unwrap().1, 0);
    let began = Instant::now();
    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        let io = fixture.half_shake().await;
        waiting.spawn(closed(io));
    }
    settle().await;
    let mut away = JoinSet::new();
    for n in 1..=50 {
        let io = fixture.half_shake().await;
        settle().await;
        assert_eq!(fixture.refused(Refused::OverRate), n, "counted when it was turned away");
        let at = Instant::now();
        away.spawn(async move { closed(io).await - at });
    }
    let mut times = Vec::new();
    while let Some(elapsed) = away.join_next().await {
        times.push(elapsed.unwrap().as_millis());
    }
    assert!(times.iter().all(|ms| (99..=3002).contains(ms)), "{times:?}");
    times.sort_unstable();
    assert!(times[45] - times[5] > 500, "they are spread: {times:?}");
    assert_eq!(fixture.waited(Waited::Rate), 2, "no more than fit into the time");
    // Who was let in and said nothing more is closed by its own limit.
    while let Some(at) = waiting.join_next().await {
        took(at.unwrap() - began, 4000);
    }
    assert_eq!(fixture.refused(Refused::HandshakeTimeout), 2);
    took(fixture.shake(fixture.dial()).await.unwrap().1, 0);
}

#[tokio::test(start_paused = true)]
async fn too_many_handshakes_wait_in_order_and_then_are_turned_away() {
    let fixture = fixture(Limits { handshakes_in_progress: 1, ..Limits::default() });
    let stuck = fixture.half_shake().await;
    settle().await;
    let shaking: Vec<_> = (0..3).map(|_| fixture.shake(fixture.dial())).collect();
    for shaken in futures_in_turn(shaking).await {
        // Five seconds of waiting, and up to three until it is closed.
        let elapsed = shaken.unwrap_err();
        assert!((5099..=8002).contains(&elapsed.as_millis()), "{elapsed:?}");
    }
    assert_eq!(fixture.refused(Refused::TooManyHandshakes), 3);
    assert_eq!(fixture.waited(Waited::Handshakes), 3);
    closed(stuck).await;
    assert_eq!(fixture.refused(Refused::HandshakeTimeout), 1);

    // Who leaves makes room for those who wait.
    let stuck = fixture.half_shake().await;
    settle().await;
    let leaving = async {
        sleep(Duration::from_secs(2)).await;
        drop(stuck);
    };
    let shaking: Vec<_> = (0..3).map(|_| fixture.shake(fixture.dial())).collect();
    let (shaken, ()) = tokio::join!(futures_in_turn(shaking), leaving);
    for shaken in shaken {
        took(shaken.unwrap().1, 2000);
    }
}

#[tokio::test(start_paused = true)]
async fn mute_connections_take_no_turn() {
    let fixture = fixture(Limits { handshakes_in_progress: 1, ..rate(1, 1) });
    let mute: Vec<_> = (0..100).map(|_| fixture.dial()).collect();
    settle().await;
    took(fixture.shake(fixture.dial()).await.unwrap().1, 0);
    assert_eq!(fixture.refused(Refused::OverRate), 0);
    drop(mute);
}

#[tokio::test(start_paused = true)]
async fn administrators_wait_for_nobody() {
    let limits = Limits { handshakes_in_progress: 1, ..rate(1, 1) };
    let fixture = fixture(limits);
    let _stuck = fixture.half_shake().await;
    settle().await;
    for _ in 0..10 {
        took(fixture.shake(fixture.dial_as(Serves::Admin)).await.unwrap().1, 0);
    }
    assert_eq!(fixture.waited(Waited::Rate) + fixture.waited(Waited::Handshakes), 0);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_kept_open_that_are_turned_away() {
    let limits = Limits { max_connections: 32, handshake: Duration::from_millis(200), ..rate(1, 1) };
    let fixture = fixture(limits);
    took(fixture.shake(fixture.dial()).await.unwrap().1, 0);
    let mut away = JoinSet::new();
    for _ in 0..20 {
        away.spawn(closed(fixture.half_shake().await));
    }
    let began = Instant::now();
    settle().await;
    assert_eq!(fixture.refused(Refused::OverRate), 20);
    let mut lingered = 0;
    while let Some(at) = away.join_next().await {
        lingered += usize::from(at.unwrap() - began > Duration::from_millis(50));
    }
    assert_eq!(lingered, 4, "an eighth of all connections");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_broker_that_stops() {
    let fixture = fixture(Limits { handshake: Duration::from_secs(20), ..rate(1, 1) });
    took(fixture.shake(fixture.dial()).await.unwrap().1, 0);
    let mut waiting = JoinSet::new();
    for _ in 0..30 {
        waiting.spawn(closed(fixture.half_shake().await));
    }
    settle().await;
    assert_eq!((fixture.waited(Waited::Rate), fixture.refused(Refused::OverRate)), (10, 20));
    let began = Instant::now();
    fixture.door.close();
    while let Some(at) = waiting.join_next().await {
        assert!(at.unwrap() - began < TICK);
    }
    assert_eq!(fixture.refused(Refused::Draining), 10);
}

#[tokio::test(start_paused = true)]
async fn one_source_fills_half_of_the_queue_and_the_other_half_is_for_others() {
    // Half of the handshake's limit is for waiting: two seconds. Five at once are one source's share.
    let limits = Limits { handshake: Duration::from_secs(4), ..Limits::default() };
    let fixture = fixture(Limits { admissions_per_sec: 10, admission_burst: 10, ..limits });
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(fixture.half_shake().await);
    }
    settle().await;
    // Ten at once, for nobody else wanted to; then those who wait for at most a second.
    assert_eq!((fixture.waited(Waited::Rate), fixture.refused(Refused::OverShare)), (10, 20));
    let [v4, v6] = ["192.0.2.1", "2001:db8::1"].map(|address| address.parse().unwrap());
    let others = [v4, v6, v4, v6].map(|other| fixture.shake(fixture.dial_from(other, Serves::Clients)));
    for (shaken, tenths) in futures_in_turn(others.into()).await.into_iter().zip(11..) {
        let elapsed = shaken.unwrap().1.as_millis();
        assert!((tenths * 100 - 2..=tenths * 100 + 2).contains(&elapsed), "{elapsed} ms and not {tenths}00");
    }
    assert_eq!(fixture.refused(Refused::OverRate), 0);
    drop(flood);
}

#[tokio::test(start_paused = true)]
async fn who_has_not_said_who_it_is_has_a_share_of_the_places() {
    let fixture = fixture(Limits { max_connections: 10, ..Limits::default() });
    let (one, other) = ("2001:db8::1".parse().unwrap(), "2001:db8:0:1::1".parse().unwrap());
    let began = Instant::now();
    let mut silent = JoinSet::new();
    for _ in 0..5 {
        silent.spawn(closed(fixture.dial_from(one, Serves::Clients)));
    }
    settle().await;
    let neighbour = "2001:db8::2".parse().unwrap();
    let elapsed = closed(fixture.dial_from(neighbour, Serves::Clients)).await - began;
    assert!((99..=3004).contains(&elapsed.as_millis()), "{elapsed:?}");
    assert_eq!(fixture.refused(Refused::OverShare), 1);
    fixture.shake(fixture.dial_from(other, Serves::Clients)).await.unwrap();
    fixture.shake(fixture.dial_from(one, Serves::Admin)).await.unwrap();
    while let Some(at) = silent.join_next().await {
        took(at.unwrap() - began, 10_000);
    }
    fixture.shake(fixture.dial_from(one, Serves::Clients)).await.unwrap();

    // Who has said who it is takes none of them.
    let secret = fixture.create("pc").await;
    let mut known = Vec::new();
    for _ in 0..8 {
        known.push(fixture.enter("pc", &secret).await);
    }
    assert_eq!(fixture.refused(Refused::OverShare), 1);
}

/// Sends a request and returns the status of its answer.
async fn ask(http: &mut TlsStream<DuplexStream>, head: &str, body: &str) -> String {
    let request = format!("{head}\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    http.write_all(request.as_bytes()).await.unwrap();
    http.flush().await.unwrap();
    let mut answer = vec![0; 4096];
    let count = http.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..count]).split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_secret_do_not_say_who_it_is() {
    let fixture = fixture(Limits { max_connections: 10, ..Limits::default() });
    let secret = fixture.create("pc").await;
    let one = || fixture.dial_from("2001:db8::1".parse().unwrap(), Serves::Clients);
    let mut strangers = Vec::new();
    for _ in 0..5 {
        let mut http = fixture.shake_http(one()).await.unwrap();
        assert_eq!(ask(&mut http, "GET /generate_204 HTTP/1.1", "").await, "204");
        strangers.push(http);
    }
    fixture.shake_http(one()).await.unwrap_err();
    assert_eq!(fixture.refused(Refused::OverShare), 1);
    // With a secret that is wrong it is no other.
    let post = |secret: &str| {
        format!(
            "POST /v1/reports HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer {secret}"
        )
    };
    assert_eq!(ask(&mut strangers[0], &post("wma_wrong"), "{}").await, "401");
    fixture.shake_http(one()).await.unwrap_err();
    assert_eq!(ask(&mut strangers[0], &post(secret.expose()), "{}").await, "204");
    fixture.shake_http(one()).await.unwrap();
}
