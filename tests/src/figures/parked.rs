//! What a parked agent costs the broker: memory for as long as it is connected, CPU time once.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::child::Running;
use super::proc::{self, Memory, SocketMemory};
use super::report::{Goal, Report};
use super::server::{Data, Server};
use super::shipped::Shipped;
use super::{Setting, load, progress};

/// Descriptors that each process of this figure needs at most.
pub const DESCRIPTORS: u64 = 12_000;

const FIGURE: &str = "parked";
/// Agents of one load process.
const AGENTS_A_PROCESS: usize = 4_000;

/// Measures.
pub async fn measure(setting: &Setting, shipped: &Shipped) -> Result<Report> {
    let (from, to) = setting.pick((2_000, 10_000), (500, 2_000));
    let mut report = Report::new("parked: what a parked TLS agent costs the server");
    let server = Server::start(shipped, Data::init(shipped, setting).await?).await?;
    progress(FIGURE, &format!("importing {to} agents"));
    let agents = setting.tempdir()?;
    let path = agents.path().join("agents");
    load::write_agents(&path, &server.import(to).await?)?;

    let Server { data, address, process } = server;
    let with = With { data: &data, agents: &path, from, to };
    // Whoever comes second may find the machine otherwise than the first.
    let (ours, bare) = if setting.round % 2 == 1 {
        let ours = cost("wakemqd", process, address, &with).await?;
        (ours, cost_of_bare(&with).await?)
    } else {
        let bare = cost_of_bare(&with).await?;
        (cost("wakemqd", process, address, &with).await?, bare)
    };
    tell(&mut report, "wakemqd", &ours);
    tell(&mut report, "bare", &bare);
    let ratio = |of: fn(&Cost) -> f64| of(&ours) / of(&bare);
    report.add_with_goal(
        "resident memory, wakemqd / bare",
        ratio(|cost| cost.resident),
        "",
        Goal::AtMost(0.55),
    );
    report.add_with_goal("CPU to admit, wakemqd / bare", ratio(|cost| cost.cpu_us), "", Goal::AtMost(1.25));
    report.note(format!(
        "slopes between {from} and {to} agents; each did a full TLS 1.3 handshake, CONNECT with a secret and \
         SUBSCRIBE, and is silent since"
    ));
    report.note(
        "bare is tokio and tokio-rustls with the same certificate, TLS configuration, runtime and allocator: it \
         answers CONNECT and SUBSCRIBE with fixed bytes and parks in a read",
    );
    report.note(
        "kernel memory is of both ends of each connection, and is in no process's resident memory; its objects \
         are all that the kernel allocated meanwhile, for whatever",
    );
    Ok(report)
}

/// What both servers are measured with.
struct With<'a> {
    data: &'a Data,
    agents: &'a Path,
    from: usize,
    to: usize,
}

/// What one more agent costs.
struct Cost {
    resident: f64,
    own: f64,
    buffers: f64,
    slab: f64,
    cpu_us: f64,
    admitted_per_sec: f64,
    /// Resident memory with all agents.
    total: u64,
}

/// What is read with some agents connected.
struct Sample {
    memory: Memory,
    sockets: SocketMemory,
    cpu: Duration,
}

impl Sample {
    async fn take(pid: u32) -> Result<Self> {
        let memory = proc::settled_memory(pid).await?;
        Ok(Self { memory, sockets: proc::socket_memory()?, cpu: proc::cpu(pid)? })
    }
}

async fn cost_of_bare(with: &With<'_>) -> Result<Cost> {
    let (process, address) = start_bare(with.data).await?;
    cost("bare", process, address, with).await
}

async fn cost(name: &'static str, mut server: Running, address: SocketAddr, with: &With<'_>) -> Result<Cost> {
    let &With { from, to, .. } = with;
    progress(FIGURE, &format!("{name}: {from} agents"));
    let mut loads = vec![start_load(address, with, (0, from)).await?];
    let before = Sample::take(server.pid()).await?;
    progress(FIGURE, &format!("{name}: {to} agents"));
    let began = Instant::now();
    for first in (from..to).step_by(AGENTS_A_PROCESS) {
        let next = to.min(first + AGENTS_A_PROCESS);
        loads.push(start_load(address, with, (first, next)).await?);
    }
    let took = began.elapsed();
    let after = Sample::take(server.pid()).await?;
    server.check()?;
    for load in &mut loads {
        load.check()?;
    }
    for load in loads {
        load.end().await?;
    }
    server.end().await?;
    let more = (to - from) as f64;
    let slope = |of: fn(&Sample) -> u64| (of(&after) as f64 - of(&before) as f64) / more;
    Ok(Cost {
        resident: slope(|sample| sample.memory.resident),
        own: slope(|sample| sample.memory.own),
        buffers: slope(|sample| sample.sockets.buffers),
        slab: slope(|sample| sample.sockets.slab),
        cpu_us: (after.cpu - before.cpu).as_secs_f64() * 1e6 / more,
        admitted_per_sec: more / took.as_secs_f64(),
        total: after.memory.resident,
    })
}

fn tell(report: &mut Report, name: &str, cost: &Cost) {
    report.add(format!("{name}: resident memory an agent"), cost.resident, "bytes");
    report.add(format!("{name}: of which its own"), cost.own, "bytes");
    report.add(format!("{name}: resident with all agents"), cost.total as f64 / 1e6, "MB");
    report.add(format!("{name}: kernel's socket buffers an agent, both ends"), cost.buffers, "bytes");
    report.add(format!("{name}: kernel's objects an agent, both ends"), cost.slab, "bytes");
    report.add(format!("{name}: CPU to admit an agent"), cost.cpu_us, "us");
    report.add(format!("{name}: admitted, the load on the same machine"), cost.admitted_per_sec, "agents/s");
}

/// Starts the yardstick with the broker's certificate.
async fn start_bare(data: &Data) -> Result<(Running, SocketAddr)> {
    let [certificate, key] = data.certificate();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bare").arg("--certificate").arg(certificate).arg("--key").arg(key);
    let mut process = Running::start("the bare server", command)?;
    let address = process.line("listening ").await?.parse().context("no address")?;
    Ok((process, address))
}

/// Starts a load process, and waits until its agents are parked.
async fn start_load(address: SocketAddr, with: &With<'_>, (from, to): (usize, usize)) -> Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["load", "--address", &address.to_string()]).arg("--ca").arg(with.data.ca());
    command.arg("--agents").arg(with.agents);
    command.args(["--from", &from.to_string(), "--count", &(to - from).to_string()]);
    let mut process = Running::start("a load process", command)?;
    process.line("parked ").await?;
    Ok(process)
}
