//! Very many enrolled agents of which few are connected: what it costs that they are there, and what is asked of a broker
//! that has them.

use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;
use wakemq_broker::config::Config;
use wakemq_broker::engine::{AgentFilter, Caller, Engine, PAGE_MAX};
use wakemq_broker::init::{ADMIN, STORE};
use wakemq_broker::server::Broker;
use wakemq_protocol::http::{AgentPage, CommandView};
use wakemq_protocol::{GroupPath, Kind, Submission, Target};

use super::{Plan, agent, connect, dialer, enrol, heap_settles, start};
use crate::figures::proc;

/// What is measured, in this order: the word before a value, and what it is.
pub const FIGURES: [(&str, &str, &str); 17] = [
    ("enrol", "agents enrolled in a second, written 5,000 at a time", "1/s"),
    ("size", "store on disk, for each agent", "bytes"),
    ("resident", "resident memory with all enrolled, none connected", "MB"),
    ("durable-away", "a wake of all, none connected: until it is durable", "ms"),
    ("away", "heap for each agent that is away and for which a wake waits", "bytes"),
    ("few", "page of those that are connected, when 50 are", "ms"),
    ("first", "first page of all", "ms"),
    ("middle", "a page in the middle", "ms"),
    ("last", "last page", "ms"),
    ("deep", "page of a group deep in the tree", "ms"),
    ("connected", "page of those that are connected", "ms"),
    ("not-connected", "page of those that are not", "ms"),
    ("one", "look-up of one", "ms"),
    ("durable", "a wake of all: until it is durable", "ms"),
    ("sent", "… until all that are connected were sent it", "ms"),
    ("outstanding", "heap for each connected agent that has not acknowledged", "bytes"),
    ("resident-connected", "resident memory then", "MB"),
];

/// How many are connected when few are.
const FEW: usize = 50;
/// How often a page is read; the one in the middle counts.
const READS: usize = 20;
/// How often it is looked whether all were sent what they are meant to get.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS_MAX: usize = 60_000;

/// Enrols `enrolled` agents of which `connected` connect, and prints `figure WORD VALUE` for each of [`FIGURES`].
pub async fn run(dir: &Path, enrolled: usize, connected: usize, heap: &dyn Fn() -> usize) -> Result<()> {
    ensure!(FEW < connected && connected < enrolled, "too few agents");
    let cache_bytes = Config::default().store.cache_mib << 20;
    let plan = Plan { cache_bytes, group: |number| group(number).parse().context("no group") };
    let (broker, store, clock) = start(dir, plan.cache_bytes).await?;
    let engine = broker.engine();
    let began = Instant::now();
    enrol(&*store, &clock, enrolled, plan).await?;
    tell("enrol", enrolled as f64 / began.elapsed().as_secs_f64())?;
    tell("size", std::fs::metadata(dir.join(STORE))?.len() as f64 / enrolled as f64)?;
    tell_resident("resident")?;

    let admin = Caller { name: ADMIN.parse()?, address: None };
    let before = heap_settles(enrolled, heap).await?;
    let (away, took) = wake_all(engine, &admin).await?;
    tell("durable-away", took)?;
    let after = heap_settles(enrolled, heap).await?;
    tell("away", (after as f64 - before as f64) / enrolled as f64)?;
    engine.cancel(&admin, away.id).await?;

    // Spread over all groups and the whole range of ids.
    let step = enrolled / connected;
    let numbers: Vec<_> = (0..connected).map(|nth| nth * step).collect();
    let dialer = dialer(dir)?;
    let (few, others) = numbers.split_at(FEW);
    connect(&broker, &dialer, few).await?;
    let all = AgentFilter { group: None, connected: None, transport: None, after: None, limit: PAGE_MAX };
    let there = AgentFilter { connected: Some(true), ..all.clone() };
    let page = tell_page("few", || engine.agents(&admin, there.clone())).await?;
    ensure!(page.agents.len() == FEW && page.next.is_none(), "{} are listed", page.agents.len());
    connect(&broker, &dialer, others).await?;

    pages(engine, &admin, enrolled, all).await?;
    let before = heap_settles(connected, heap).await?;
    let began = Instant::now();
    let (wake, took) = wake_all(engine, &admin).await?;
    tell("durable", took)?;
    all_sent(&broker, &admin, &wake, connected).await?;
    tell("sent", began.elapsed().as_secs_f64() * 1e3)?;
    let after = heap_settles(connected, heap).await?;
    tell("outstanding", (after as f64 - before as f64) / connected as f64)?;
    tell_resident("resident-connected")
}

/// Reads pages from here and there.
async fn pages(engine: &Engine, admin: &Caller, enrolled: usize, all: AgentFilter) -> Result<()> {
    let middle = enrolled / 2;
    let behind = |number: usize| Ok::<_, anyhow::Error>(Some((group(number).parse()?, agent(number)?.0)));
    let from_middle = AgentFilter { after: behind(middle)?, ..all.clone() };
    // Before the agents of the last group in the order of paths.
    let groups =
        (0..enrolled.min(LEAVES)).map(|number| group(number).split('/').map(str::to_owned).collect());
    let last = groups.max().unwrap_or_else(Vec::<String>::new).join("/");
    let from_last = AgentFilter { after: Some((last.parse()?, "0".parse()?)), ..all.clone() };
    let deep: GroupPath = group(middle).parse()?;
    let of_group = AgentFilter { group: Some(deep), ..all.clone() };
    let there = AgentFilter { connected: Some(true), ..from_middle.clone() };
    let gone = AgentFilter { connected: Some(false), ..from_middle.clone() };
    for (word, filter) in [
        ("first", all),
        ("middle", from_middle),
        ("last", from_last),
        ("deep", of_group),
        ("connected", there),
        ("not-connected", gone),
    ] {
        let page = tell_page(word, || engine.agents(admin, filter.clone())).await?;
        ensure!(!page.agents.is_empty(), "the page {word} is empty");
    }
    let mut took = Vec::with_capacity(READS);
    for _ in 0..READS {
        let (one, _) = agent(fastrand::usize(..enrolled))?;
        let began = Instant::now();
        engine.agent(admin, one).await?;
        took.push(began.elapsed());
    }
    tell("one", median_ms(took))
}

fn median_ms(mut took: Vec<Duration>) -> f64 {
    took.sort();
    took.get(took.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3
}

/// How many groups have agents of their own.
const LEAVES: usize = 5_000;

/// Returns the group of an agent: three levels, with 50, 500 and 5,000 groups.
fn group(number: usize) -> String {
    format!("c{}/s{}/f{}", number % 50, number % 500, number % LEAVES)
}

/// Wakes all agents, and returns the command and how many milliseconds it took until it was durable.
async fn wake_all(engine: &Engine, admin: &Caller) -> Result<(CommandView, f64)> {
    let began = Instant::now();
    let root = Target::Group(GroupPath::root());
    let wake = engine.submit_one(admin, root, Submission::new(Kind::Wake)).await?;
    Ok((wake, began.elapsed().as_secs_f64() * 1e3))
}

/// Waits until all that are connected were sent a command.
async fn all_sent(broker: &Broker, admin: &Caller, wake: &CommandView, connected: usize) -> Result<()> {
    for _ in 0..LOOKS_MAX {
        let view = broker.engine().command(admin, wake.id, None, 0).await?;
        if view.counts.context("no counts")?.sent >= connected as u64 {
            return Ok(());
        }
        sleep(LOOK).await;
    }
    anyhow::bail!("not all were sent the wake")
}

async fn tell_page<E: Into<anyhow::Error>, F: Future<Output = Result<AgentPage, E>>>(
    word: &str,
    read: impl Fn() -> F,
) -> Result<AgentPage> {
    let mut took = Vec::with_capacity(READS);
    for _ in 0..READS {
        let began = Instant::now();
        read().await.map_err(Into::into)?;
        took.push(began.elapsed());
    }
    tell(word, median_ms(took))?;
    read().await.map_err(Into::into)
}

fn tell_resident(word: &str) -> Result<()> {
    tell(word, proc::memory(std::process::id())?.resident as f64 / 1e6)
}

fn tell(word: &str, value: f64) -> Result<()> {
    writeln!(std::io::stdout(), "figure {word} {value}").context("standard output")
}
