//! `openssl s_client`, whose standard input and output are what is inside of TLS, among its own words.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use wakemq_tests::wait::within;

/// A running client; killed when dropped.
pub(crate) struct SClient {
    child: Child,
    input: Option<ChildStdin>,
    said: watch::Receiver<Vec<u8>>,
    complained: watch::Receiver<Vec<u8>>,
    /// How much of what it said was waited for already.
    seen: usize,
}

impl SClient {
    /// Dials; more options than these are given.
    pub(crate) fn dial(address: SocketAddr, ca: &Path, options: &[&str]) -> Result<Self> {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &address.to_string(), "-verify_return_error", "-CAfile"])
            .arg(ca)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child =
            command.spawn().context("openssl cannot be run; on Debian: apt-get install openssl")?;
        let (said, said_here) = watch::channel(Vec::new());
        let (complained, complained_here) = watch::channel(Vec::new());
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            tokio::spawn(keep(out, said));
            tokio::spawn(keep(err, complained));
        }
        let input = child.stdin.take();
        Ok(Self { child, input, said: said_here, complained: complained_here, seen: 0 })
    }

    /// Sends bytes inside of TLS. The client reads each call's bytes by themselves if something is waited for between
    /// two calls.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let input = self.input.as_mut().context("its standard input was closed")?;
        input.write_all(bytes).await?;
        Ok(input.flush().await?)
    }

    /// Gives it one of its own commands, as `K` for a key update, and waits until it says that it has understood.
    pub(crate) async fn command(&mut self, letter: &str, answer: &str) -> Result<()> {
        let before = self.complained.borrow().len();
        self.send(format!("{letter}\n").as_bytes()).await?;
        let mut complained = self.complained.clone();
        let found =
            within(answer, complained.wait_for(|said| find(&said[before..], answer.as_bytes()).is_some()));
        found.await?.map(drop).with_context(|| format!("it ended before {answer}: {}", self.all()))
    }

    /// Waits until it has said something, behind what was waited for before.
    pub(crate) async fn hears(&mut self, what: &[u8]) -> Result<()> {
        let mut said = self.said.clone();
        let seen = self.seen;
        let text = String::from_utf8_lossy(what).into_owned();
        let found = within(&text, async {
            let said = said.wait_for(|said| find(&said[seen..], what).is_some()).await.ok()?;
            find(&said[seen..], what)
        });
        match found.await {
            Ok(Some(at)) => self.seen = seen + at + what.len(),
            Ok(None) => bail!("it ended before {text:?}: {}", self.all()),
            Err(error) => return Err(error.context(self.all())),
        }
        Ok(())
    }

    /// Returns what it said after the last that was waited for.
    pub(crate) fn rest(&self) -> Vec<u8> {
        self.said.borrow()[self.seen..].to_vec()
    }

    /// Closes its standard input, at which it says goodbye.
    pub(crate) fn finish(&mut self) {
        self.input = None;
    }

    /// Waits for its end; returns how it ended, and all that it said and complained of.
    pub(crate) async fn ended(mut self) -> Result<(ExitStatus, String)> {
        let status = within("the end of openssl", self.child.wait()).await.with_context(|| self.all())??;
        // Its pipes end with it.
        for pipe in [&mut self.said, &mut self.complained] {
            while within("the end of its output", pipe.changed()).await?.is_ok() {}
        }
        Ok((status, self.all()))
    }

    fn all(&self) -> String {
        let (said, complained) = (self.said.borrow(), self.complained.borrow());
        format!("{}\n{}", String::from_utf8_lossy(&said), String::from_utf8_lossy(&complained))
    }
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}

async fn keep(mut from: impl AsyncRead + Unpin, to: watch::Sender<Vec<u8>>) {
    let mut bytes = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        to.send_modify(|all| all.extend_from_slice(&bytes[..n]));
    }
}
