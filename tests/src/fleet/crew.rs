//! The load processes of a run: this program again, as many as the agents need.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::clock::Moment;
use super::way::Way;
use super::words::{Event, Order};
use crate::figures::proc;
use crate::figures::times::Times;

/// Agents of one load process.
pub const AGENTS_A_PROCESS: usize = 6_000;
/// Agents of one load process that dial at a time.
const DIALS: usize = 32;
/// Events that wait to be looked at; the load processes wait with one more.
const EVENTS: usize = 65_536;
/// How long nothing at all may happen while something is waited for.
const STALL: Duration = Duration::from_secs(120);

/// What load processes are told at their start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// The CA to trust.
    pub ca: PathBuf,
    /// Lines of an agent and its secret.
    pub agents: PathBuf,
    /// By which transport agents come.
    pub way: Way,
    /// A topic to which each agent subscribes beside its own.
    pub also: Option<String>,
    /// Whether agents come back when their connection is lost.
    pub returns: bool,
}

/// Running load processes; ended when dropped.
#[derive(Debug)]
pub struct Crew {
    plan: Plan,
    members: Vec<Member>,
    connected: usize,
    return_secs: u64,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
}

#[derive(Debug)]
struct Member {
    pid: u32,
    child: Child,
    orders: ChildStdin,
}

/// How agents came.
pub struct Coming {
    /// From the order until the last was there.
    pub took: Duration,
    /// How long each took from dialling to the SUBACK.
    pub each: Times,
}

impl Crew {
    /// Makes a crew without a process: each is started when it is needed.
    pub fn new(plan: Plan) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        Self { plan, members: Vec::new(), connected: 0, return_secs: 0, sender, events }
    }

    /// Returns how many agents are connected.
    pub fn connected(&self) -> usize {
        self.connected
    }

    /// Returns the longest time in seconds within which an agent was told to come back, among those that were waited
    /// for; 0 if none was told any.
    pub fn return_secs(&self) -> u64 {
        self.return_secs
    }

    /// Connects more agents, up to a number of them in all, and waits until the last is there.
    pub async fn connect(&mut self, up_to: usize) -> Result<Coming> {
        while self.members.len() * AGENTS_A_PROCESS < up_to {
            self.hire()?;
        }
        let began = Moment::now();
        let (mut next, before) = (self.connected, self.connected);
        while next < up_to {
            let member = next / AGENTS_A_PROCESS;
            let end = up_to.min((member + 1) * AGENTS_A_PROCESS);
            self.order(member, Order::Connect(next, end - next)).await?;
            next = end;
        }
        let coming = self.come(up_to - before, began).await?;
        self.connected = up_to;
        Ok(coming)
    }

    /// Resets every connection, and waits until all agents are back.
    pub async fn reset(&mut self) -> Result<Coming> {
        let began = Moment::now();
        self.order_all(Order::Reset).await?;
        self.come(self.connected, began).await
    }

    /// Waits until so many agents have come.
    async fn come(&mut self, count: usize, began: Moment) -> Result<Coming> {
        let mut each = Times::new()?;
        let mut last = began;
        for _ in 0..count {
            let arrival = loop {
                if let Event::Up(arrival) = self.next().await? {
                    break arrival;
                }
            };
            each.record(Duration::from_micros(arrival.took_us))?;
            last = last.max(arrival.at);
            self.return_secs = self.return_secs.max(arrival.return_secs);
        }
        Ok(Coming { took: last.since(began), each })
    }

    /// Starts one more load process, and returns its number.
    pub fn hire(&mut self) -> Result<usize> {
        let Plan { address, ca, agents, way, also, returns } = &self.plan;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["load", "--address", &address.to_string(), "--dials", &DIALS.to_string()]);
        command.arg("--ca").arg(ca).arg("--agents").arg(agents).args(["--way", way.name()]);
        if let Some(topic) = also {
            command.args(["--also", topic]);
        }
        if *returns {
            command.arg("--returns");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start a load process")?;
        let pid = child.id().context("a load process ended at once")?;
        let orders = child.stdin.take().context("no standard input")?;
        let told = child.stdout.take().context("no standard output")?;
        tokio::spawn(listen(told, self.sender.clone()));
        self.members.push(Member { pid, child, orders });
        Ok(self.members.len() - 1)
    }

    /// Tells one load process what to do.
    pub async fn order(&mut self, member: usize, order: Order) -> Result<()> {
        let member = self.members.get_mut(member).context("there is no such load process")?;
        member.orders.write_all(format!("{order}\n").as_bytes()).await.context("a load process is gone")
    }

    /// Tells all of them.
    pub async fn order_all(&mut self, order: Order) -> Result<()> {
        for member in 0..self.members.len() {
            self.order(member, order).await?;
        }
        Ok(())
    }

    /// Waits for the next event of any of them; the end of one is an error.
    pub async fn next(&mut self) -> Result<Event> {
        let event = timeout(STALL, self.events.recv()).await;
        let event = event.with_context(|| format!("nothing happened for {} s", STALL.as_secs()))?;
        unfailed(event.context("there is no load process")?)
    }

    /// Takes all events that have come already.
    pub fn drain(&mut self) -> Result<Vec<Event>> {
        let mut all = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            all.push(unfailed(event)?);
        }
        Ok(all)
    }

    /// Returns the CPU time that the load processes have used so far.
    pub fn cpu(&self) -> Result<Duration> {
        self.members.iter().map(|member| proc::cpu(member.pid)).sum()
    }

    /// Returns the resident memory of the load processes, in bytes.
    pub fn resident(&self) -> Result<u64> {
        self.members.iter().map(|member| Ok(proc::memory(member.pid)?.resident)).sum()
    }

    /// Ends all load processes.
    pub async fn end(mut self) -> Result<()> {
        for member in &mut self.members {
            member.child.kill().await.context("cannot end a load process")?;
        }
        Ok(())
    }
}

fn unfailed(event: Event) -> Result<Event> {
    if let Event::Failed(why) = event {
        bail!("the load failed: {why}");
    }
    Ok(event)
}

/// Hands on what a load process tells, and its end as a failure.
async fn listen(told: ChildStdout, events: mpsc::Sender<Event>) {
    let mut lines = BufReader::new(told).lines();
    let ended = loop {
        let event = match lines.next_line().await {
            Ok(Some(line)) => {
                line.parse().unwrap_or_else(|error| Event::Failed(format!("{line}: {error:#}")))
            }
            Ok(None) => break Event::Failed("a load process ended".to_owned()),
            Err(error) => break Event::Failed(format!("a load process is not heard: {error}")),
        };
        if events.send(event).await.is_err() {
            return;
        }
    };
    // The crew itself is gone if nobody takes it.
    events.send(ended).await.ok();
}
