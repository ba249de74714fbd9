//! `wakemq-agent doctor`.

use std::io::Write;

use anyhow::{Context, anyhow};
use wakemq_agent::doctor::{Doctor, Finding, Outcome, Report, StepReport, WayReport};
use wakemq_agent::{AgentError, CaSource, Passage};
use wakemq_link::Ladder;

use crate::cli::DoctorArgs;
use crate::exit::{Exit, Failure};
use crate::passage::read_ca;
use crate::run::explain_agent;

pub(crate) async fn doctor(args: DoctorArgs) -> Result<(), Failure> {
    let doctor = patient(&args)?;
    let mut out = std::io::stdout().lock();
    let mut written = Ok(());
    if !args.json {
        written = begin(&mut out, &doctor);
    }
    let report = doctor
        .examine(|finding| {
            if !args.json && written.is_ok() {
                written = tell(&mut out, &finding);
            }
        })
        .await;
    written
        .and_then(|()| if args.json { json(&mut out, &report) } else { end(&mut out, &report) })
        .and_then(|()| out.flush())
        .context("standard output")?;
    let why = || anyhow!("{}", report.verdict);
    match report.outcome {
        Outcome::Reached => Ok(()),
        Outcome::Unreachable => Err(Failure::told(Exit::Unreachable, why())),
        Outcome::NotAllowed => Err(Failure::told(Exit::NotAllowed, why())),
    }
}

fn patient(args: &DoctorArgs) -> Result<Doctor, Failure> {
    if let Some(state) = &args.state {
        return Doctor::of_state(state, |passage| args.passage.apply(passage).map_err(Stopped::Usage))
            .map_err(|stopped| match stopped {
                Stopped::Usage(failure) => failure,
                Stopped::Agent(error) => explain_agent(error),
            });
    }
    let mut passage = Passage::default();
    args.passage.apply(&mut passage)?;
    let ca = match &args.ca {
        Some(file) => CaSource::Pem(read_ca(file)?),
        None => CaSource::System,
    };
    let server = Ladder::new(args.server.clone()).context("neither --state nor --server")?;
    Doctor::of_server(server, &ca, passage).map_err(explain_agent)
}

/// Why there is nothing to examine.
enum Stopped {
    Usage(Failure),
    Agent(AgentError),
}

impl From<AgentError> for Stopped {
    fn from(error: AgentError) -> Self {
        Self::Agent(error)
    }
}

fn begin(out: &mut impl Write, doctor: &Doctor) -> std::io::Result<()> {
    match doctor.agent() {
        Some(agent) => {
            let state = if doctor.is_running() { "running; it is left alone" } else { "not running" };
            writeln!(out, "agent    {agent}, {state}")?;
        }
        None => writeln!(out, "agent    none is enrolled: the secret is not looked at")?,
    }
    match doctor.proxy() {
        Some(proxy) => {
            let with = if proxy.credentials { ", with credentials" } else { "" };
            writeln!(out, "proxy    {} by {}{with}; tried {}", proxy.url, proxy.from, proxy.order)?;
        }
        None => writeln!(out, "proxy    none")?,
    }
    out.flush()
}

/// Tells what is found as it is found: a way that says nothing takes its time.
fn tell(out: &mut impl Write, finding: &Finding<'_>) -> std::io::Result<()> {
    match finding {
        Finding::Portal(portal) => writeln!(out, "network  {portal}")?,
        Finding::Way(way) => writeln!(out, "\n{way}")?,
        Finding::Step(step) => {
            let StepReport { step, ok, ms, found } = StepReport::new(step);
            let word = if ok { "ok" } else { "FAILED" };
            writeln!(out, "  {step:<6} {word:<6} {ms:>5} ms  {found}")?;
        }
    }
    out.flush()
}

fn end(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    writeln!(out)?;
    for WayReport { way, last_used, heartbeat, .. } in &report.ways {
        if *last_used {
            writeln!(out, "last     {way}, in this network")?;
        }
        if let Some(learned) = heartbeat {
            let borne = if learned.proven { "borne" } else { "not yet borne" };
            let failed = if learned.raise_failed_ms.is_some() { "; a longer one failed" } else { "" };
            writeln!(
                out,
                "heartbeat of {way}: {} s, {borne} by this network{failed}",
                learned.interval_secs
            )?;
        }
    }
    writeln!(out, "verdict  {}", report.verdict)?;
    for advice in &report.advice {
        writeln!(out, "change   {advice}")?;
    }
    Ok(())
}

fn json(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}
