//! Relaying: magic packets for neighbours, sent on this endpoint's own networks.

mod plan;
mod send;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use wakemq_protocol::{Command, MagicPacket, Receipt, ReceiptState, RelayJob};

use crate::incoming::receipt;
use crate::network::{Adapter, INTERFACES_MAX};
use plan::plan;
use send::Senders;

/// At most as many jobs run at once; a further one has failed.
pub(crate) const JOBS_MAX: usize = 16;
/// More ports are not sent to.
const PORTS_MAX: usize = 4;
/// When each packet is sent, from the beginning.
const REPEATS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(200), Duration::from_millis(500)];
/// How long a shutdown waits for the jobs that run.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

/// The jobs that run; they end when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    jobs: JoinSet<Receipt>,
}

impl Relays {
    /// Starts the job of a command that was accepted.
    pub(crate) fn start(&mut self, command: Command, adapters: Vec<Adapter>) {
        tracing::info!(id = %command.id, by = command.by, "asked to send magic packets");
        self.jobs.spawn(run(command, adapters));
    }

    /// Waits for the end of a job; never if none runs. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Receipt {
        loop {
            match self.jobs.join_next().await {
                Some(Ok(receipt)) => return receipt,
                // Its command has no result now, and gets one at the next start.
                Some(Err(error)) => tracing::error!(%error, "a relay job did not end well"),
                None => std::future::pending().await,
            }
        }
    }

    /// Waits for all jobs, which is not long. What does not end in time gets its result at the next start.
    pub(crate) async fn finish(&mut self) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        let finishing = async {
            while !self.jobs.is_empty() {
                receipts.push(self.next().await);
            }
        };
        if tokio::time::timeout(FINISH_LIMIT, finishing).await.is_err() {
            tracing::debug!("relay jobs are left");
        }
        receipts
    }
}

/// Says why a job is not taken.
pub(crate) fn check(job: &RelayJob) -> Result<(), String> {
    if job.macs.is_empty() || job.macs.len() > INTERFACES_MAX {
        return Err(format!("a relay job has 1 to {INTERFACES_MAX} MAC addresses"));
    }
    if let Some(mac) = job.macs.iter().find(|mac| !mac.is_unicast()) {
        return Err(format!("{mac} is no adapter's MAC address"));
    }
    if job.ports.is_empty() || job.ports.len() > PORTS_MAX || job.ports.contains(&0) {
        return Err(format!("a relay job has 1 to {PORTS_MAX} ports, none of them 0"));
    }
    Ok(())
}

async fn run(command: Command, adapters: Vec<Adapter>) -> Receipt {
    let Some(job) = command.relay.as_deref() else {
        return receipt(&command, ReceiptState::Failed, Some("there is nothing to send".to_owned()));
    };
    let lines = plan(job, &adapters);
    if lines.is_empty() {
        let why = format!("no network interface has an address in {}", networks(job));
        return receipt(&command, ReceiptState::Failed, Some(why));
    }
    let packet = |&mac| MagicPacket { mac, secureon: job.secureon.clone() }.to_bytes();
    let packets: Vec<_> = job.macs.iter().map(packet).collect();
    let mut senders = Senders::open(lines);
    let began = Instant::now();
    for after in REPEATS {
        sleep_until(began + after).await;
        for packet in &packets {
            senders.send(packet, &job.ports);
        }
    }
    let (state, words) = senders.outcome();
    tracing::info!(id = %command.id, ?state, words, "relayed");
    receipt(&command, state, Some(words))
}

fn networks(job: &RelayJob) -> String {
    if job.networks.is_empty() {
        return "any network".to_owned();
    }
    job.networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests;
