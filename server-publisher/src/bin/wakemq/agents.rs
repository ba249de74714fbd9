//! `wakemq agents list`, `show`, `move` and `revoke`.

use wakemq_protocol::http::{AgentView, Profile};
use wakemq_protocol::{AgentId, GroupPath, Reach, Transport};
use wakemq_publisher::{AgentFilter, ApiError, Management};

use crate::confirm::confirm;
use crate::duration::print_secs;
use crate::exit::ExitCode;
use crate::failure::{Failure, with_advice};
use crate::listing::{Listing, PAGE, follow};
use crate::names::agents;
use crate::output::{Out, complain, hint, say};
use crate::progress::Progress;
use crate::text::plain;

/// Agents that a question names.
const NAMED_MAX: usize = 5;

/// Prints agents, page by page, until nobody reads any more.
pub(crate) async fn list(
    filter: &AgentFilter,
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let mut management = Management::new(profile)?;
    let mut listing = Listing::new(["AGENT", "GROUP", "STATE", "TRANSPORT", "PENDING", "LAST SEEN"], json);
    let mut after: Option<String> = None;
    while !out.is_closed() {
        let page = management.agents(filter, after.as_deref(), PAGE).await.map_err(|error| {
            let advice = "`wakemq groups list` shows all groups";
            with_advice(error, advice, advice)
        })?;
        listing.page(&page.agents, row, out)?;
        after = match follow(after.as_ref(), page.next) {
            Some(next) => Some(next),
            None => break,
        };
    }
    Ok(ExitCode::AllAsWanted)
}

fn unknown(error: ApiError) -> Failure {
    with_advice(error, "see the spelling; `wakemq agents list` shows all agents", "see what the broker says")
}

fn row(agent: &AgentView) -> [String; 6] {
    [
        agent.agent.to_string(),
        agent.group.label().to_owned(),
        state(agent).to_owned(),
        agent.transport.map_or("-", Transport::as_str).to_owned(),
        agent.pending.to_string(),
        last_seen(agent),
    ]
}

fn state(agent: &AgentView) -> &'static str {
    if agent.connected { "connected" } else { "away" }
}

fn last_seen(agent: &AgentView) -> String {
    agent.last_seen.map_or_else(|| "never".to_owned(), |at| at.whole_secs().to_string())
}

/// Prints one agent.
pub(crate) async fn show(
    agent: &AgentId,
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let view = Management::new(profile)?.agent(agent).await.map_err(unknown)?;
    if json {
        out.json(&view)?;
    } else {
        for line in describe(&view) {
            out.line(&line)?;
        }
    }
    Ok(ExitCode::AllAsWanted)
}

fn describe(view: &AgentView) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |name: &str, value: &str| lines.push(format!("{:<12}{}", format!("{name}:"), plain(value)));
    add("agent", view.agent.as_str());
    add("group", view.group.label());
    add("state", state(view));
    add("pending", &view.pending.to_string());
    add("created", &view.created.to_string());
    add("last seen", &last_seen(view));
    if let Some(address) = &view.address {
        add("address", address);
    }
    if let Some(transport) = view.transport {
        add("transport", transport.as_str());
    }
    if let Some(facts) = &view.facts {
        let texts = [("host name", &facts.host_name), ("os", &facts.os), ("version", &facts.version)];
        for (name, value) in texts {
            if let Some(value) = value {
                add(name, value);
            }
        }
        // As of the connection at which the agent told it.
        for (name, secs) in [("up for", facts.since_boot), ("resumed", facts.since_resume)] {
            if let Some(secs) = secs {
                add(name, &format!("{} when it connected", print_secs(secs)));
            }
        }
        if let Some(reach) = &facts.reach {
            describe_reach(reach, &mut add);
        }
    }
    lines
}

/// Tells by which way the agent came when it told of itself, and why not by a better one.
fn describe_reach(reach: &Reach, add: &mut impl FnMut(&str, &str)) {
    let Reach { transport, endpoint, proxy, intercepted_by, heartbeat, settled, better } = reach;
    let through = proxy.as_ref().map_or_else(String::new, |proxy| format!(" through {proxy}"));
    add("came by", &format!("{transport} {endpoint}{through}"));
    if let Some(issuer) = intercepted_by {
        add("TLS", &format!("opened on the way, by {issuer}"));
    }
    let longer = if *settled { "the longest that its network bears" } else { "longer ones are tried" };
    add("heartbeat", &format!("{}, {longer}", print_secs((*heartbeat).into())));
    for failed in better {
        add("not by", &format!("{}: {}", failed.way, failed.problem));
    }
}

/// Takes agents into another group, one by one.
pub(crate) async fn move_to(
    words: &[String],
    to: &GroupPath,
    profile: &Profile,
) -> Result<ExitCode, Failure> {
    let agents = agents(words)?;
    let mut management = Management::new(profile)?;
    let mut tally = Tally::of(agents.len());
    for agent in &agents {
        tally.take(agent, management.move_agent(agent, to.clone()).await)?;
    }
    Ok(tally.end(&format!("moved to {}", to.label())))
}

/// Removes agents, one by one, after a question.
pub(crate) async fn revoke(words: &[String], yes: bool, profile: &Profile) -> Result<ExitCode, Failure> {
    let agents = agents(words)?;
    if !confirm(&question(&agents), yes)? {
        say("nothing was revoked");
        return Ok(ExitCode::SomeNot);
    }
    let mut management = Management::new(profile)?;
    let mut tally = Tally::of(agents.len());
    for agent in &agents {
        tally.take(agent, management.revoke_agent(agent).await)?;
    }
    Ok(tally.end("revoked"))
}

fn question(agents: &[AgentId]) -> String {
    let named: Vec<_> = agents.iter().take(NAMED_MAX).map(AgentId::as_str).collect();
    let more = match agents.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("revoke {}{more}? They can come back only if they are enrolled anew.", named.join(", "))
}

/// What became of many agents.
struct Tally {
    all: usize,
    done: usize,
    progress: Progress,
    codes: Vec<ExitCode>,
    hints: Vec<String>,
}

impl Tally {
    fn of(all: usize) -> Self {
        Self { all, done: 0, progress: Progress::new(), codes: Vec::new(), hints: Vec::new() }
    }

    /// Counts what became of one. An error that all others would meet too ends it all.
    fn take(&mut self, agent: &AgentId, result: Result<(), ApiError>) -> Result<(), Failure> {
        let Err(error) = result else {
            self.done += 1;
            self.progress.show(|| format!("{} of {}", self.done, self.all));
            return Ok(());
        };
        self.progress.clear();
        let for_all = error.status().is_none() || error.status() == Some(401) || error.is_unreachable();
        let mut failure = unknown(error);
        if for_all {
            failure.error =
                failure.error.context(format!("stopped at {agent}; {} done before it", self.done));
            return Err(failure);
        }
        complain(&format!("{agent}: {}", plain(&failure.error.to_string())));
        self.codes.push(failure.code);
        if !self.hints.contains(&failure.hint) {
            self.hints.push(failure.hint);
        }
        Ok(())
    }

    fn end(mut self, what: &str) -> ExitCode {
        self.progress.clear();
        say(&format!("{} {what}", count(self.done)));
        if !self.hints.is_empty() {
            hint(&self.hints.join("; "));
        }
        ExitCode::of_all(self.codes)
    }
}

fn count(agents: usize) -> String {
    if agents == 1 { "1 agent".to_owned() } else { format!("{agents} agents") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakemq_protocol::{Facts, FailedWay, Timestamp};

    #[test]
    fn a_question_names_a_few() {
        let agents: Vec<AgentId> = (1..=7).map(|n| format!("pc-{n}").parse().unwrap()).collect();
        assert!(question(&agents[..1]).starts_with("revoke pc-1? "));
        assert!(question(&agents).starts_with("revoke pc-1, pc-2, pc-3, pc-4, pc-5 and 2 more? "));
    }

    #[test]
    fn an_agent_is_described() {
        let view = AgentView {
            agent: "pc-1".parse().unwrap(),
            group: "paris".parse().unwrap(),
            connected: false,
            created: Timestamp::from_unix_ms(0),
            last_seen: None,
            address: None,
            transport: None,
            facts: Some(Facts {
                host_name: Some("pc\u{1b}1".into()),
                since_boot: Some(90_000),
                ..Facts::default()
            }),
            pending: 2,
        };
        assert_eq!(
            describe(&view).join("\n"),
            "agent:      pc-1\n\
             group:      paris\n\
             state:      away\n\
             pending:    2\n\
             created:    1970-01-01T00:00:00Z\n\
             last seen:  never\n\
             host name:  pc\\u{1b}1\n\
             up for:     1d1h when it connected"
        );
        assert_eq!(row(&view), ["pc-1", "paris", "away", "-", "2", "never"]);
    }

    #[test]
    fn it_is_told_by_which_way_an_agent_came() {
        let failed = |way: &str, problem: &str| FailedWay { way: way.into(), problem: problem.into() };
        let reach = Reach {
            transport: Transport::Poll,
            endpoint: "broker.example:443".into(),
            proxy: Some("http://proxy.example:3128".into()),
            intercepted_by: Some("CN=Example Inspection".into()),
            heartbeat: 720,
            settled: true,
            better: vec![
                failed("mqtt broker.example:8883 proxied", "the proxy answered 403"),
                failed("websocket broker.example:443", "no answer\nin 5 s"),
            ],
        };
        let mut view = AgentView {
            agent: "pc-1".parse().unwrap(),
            group: GroupPath::root(),
            connected: true,
            created: Timestamp::from_unix_ms(0),
            last_seen: None,
            address: Some("192.0.2.7:4711".into()),
            transport: Some(Transport::Poll),
            facts: Some(Facts { reach: Some(reach.clone()), ..Facts::default() }),
            pending: 0,
        };
        assert_eq!(
            describe(&view)[6..].join("\n"),
            "address:    192.0.2.7:4711\n\
             transport:  poll\n\
             came by:    poll broker.example:443 through http://proxy.example:3128\n\
             TLS:        opened on the way, by CN=Example Inspection\n\
             heartbeat:  12m, the longest that its network bears\n\
             not by:     mqtt broker.example:8883 proxied: the proxy answered 403\n\
             not by:     websocket broker.example:443: no answer in 5 s"
        );
        assert_eq!(row(&view)[3], "poll");

        let direct = Reach { proxy: None, intercepted_by: None, settled: false, better: Vec::new(), ..reach };
        view.facts = Some(Facts { reach: Some(direct), ..Facts::default() });
        assert_eq!(
            describe(&view)[8..].join("\n"),
            "came by:    poll broker.example:443\n\
             heartbeat:  12m, longer ones are tried"
        );
    }
}
