//! Bytes of the heap for a poll that waits, beside those of a bare server's request that waits.

use std::convert::Infallible;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use http_body_util::{BodyExt as _, Empty};
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use wakemq_broker::init::{self, CA, CERTIFICATE, KEY};
use wakemq_broker::transport::server_config::server_config;
use wakemq_protocol::{Secret, SecretKind, Timestamp};
use wakemq_tests::fleet::million::crowd::{Crowd, Kept, poll_request};
use wakemq_tests::fleet::million::heap_settles;
use wakemq_tests::fleet::million::stream::stream;
use wakemq_tests::raw::handshake;

use crate::{alone, heap, on_one_thread};

/// Most that a parked poll may cost, in terms of a request that a bare server has been asked and has not answered; 1.25
/// is the goal. Of both, 16 KiB are what hyper keeps to read into and to write from.
const OF_BARE_MAX: f64 = 1.05;
const FIRST: usize = 200;
const STEP: usize = 400;

/// hyper over tokio-rustls and nothing else: every request is read to its end and never answered.
async fn bare(dir: &Path) -> Result<f64> {
    let plan = init::Plan { data: dir.to_owned(), hosts: vec!["127.0.0.1".parse()?], ports: vec![8883] };
    init::initialise(&plan, Timestamp::from_unix_ms(1_795_309_200_000)).await?;
    let acceptor = TlsAcceptor::from(server_config(&dir.join(CERTIFICATE), &dir.join(KEY))?);
    let waiting = Arc::new(Semaphore::new(0));
    let request = poll_request(&Secret::from_random(SecretKind::Agent, &[7; 32]));
    let mut bytes = Vec::new();
    let mut kept = 0;
    for size in [FIRST, FIRST + STEP] {
        for _ in kept..size {
            let (socket, client) = stream();
            let (acceptor, counted) = (acceptor.clone(), waiting.clone());
            tokio::spawn(async move {
                let Ok(tls) = Box::pin(acceptor.accept(socket)).await else { return };
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let counted = counted.clone();
                    async move {
                        drop(request.into_body().collect().await);
                        counted.add_permits(1);
                        pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
                    }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(tls), service);
                connection.await.unwrap_or_default();
            });
            let mut tls = handshake(client, &dir.join(CA), "http/1.1").await?;
            tls.write_all(request.as_bytes()).await?;
            tls.flush().await?;
            waiting.acquire().await?.forget();
        }
        kept = size;
        bytes.push(heap_settles(size, &heap).await? as f64);
    }
    Ok((bytes[1] - bytes[0]) / STEP as f64)
}

async fn ours(dir: &Path) -> Result<f64> {
    let mut crowd = Crowd::start(dir, Kept::InMemory, FIRST + STEP).await?;
    let mut bytes = Vec::new();
    for size in [FIRST, FIRST + STEP] {
        crowd.poll(size).await?;
        bytes.push(heap_settles(size, &heap).await? as f64);
    }
    Ok((bytes[1] - bytes[0]) / STEP as f64)
}

#[test]
fn a_parked_poll_costs_little_more_than_a_bare_request_that_waits() -> Result<()> {
    let _alone = alone();
    on_one_thread(async {
        let (dir, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let bare = bare(dir.path()).await?;
        let ours = ours(other.path()).await?;
        println!(
            "a parked poll: {ours:.0} bytes; a bare request that waits: {bare:.0}; {:.2} of it",
            ours / bare
        );
        assert!(ours <= OF_BARE_MAX * bare, "{ours:.0} bytes for a parked poll, a bare request {bare:.0}");
        Ok(())
    })
}
