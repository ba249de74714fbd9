//! Commands for groups: who is meant, who is not, and what a move changes.

use anyhow::{Context as _, Result, bail};
use wakemq_agent::Agent;
use wakemq_protocol::http::{ImportLine, ImportResult};
use wakemq_protocol::{AgentId, CommandId, CommandState, GroupPath, Kind, News, Secret, Submission};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::agents::Home;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::wait::{LIMIT, within};

fn wake() -> Submission {
    Submission::new(Kind::Wake)
}

/// Creates an agent in a group.
async fn create(broker: &InProcessBroker, name: &str, group: &str) -> Result<(AgentId, Secret)> {
    let mut management = broker.management()?;
    let line = ImportLine { agent: name.parse()?, group: group.parse()? };
    let mut results = management.import(&[line]).await?;
    match within("an import", results.next()).await?? {
        Some(ImportResult::Created { agent, secret }) => Ok((agent, secret)),
        other => bail!("{name} was not created: {other:?}"),
    }
}

/// Runs an agent, and waits until it can be woken.
async fn run(broker: &InProcessBroker, (id, secret): &(AgentId, Secret)) -> Result<(Home, Agent)> {
    let ca = std::fs::read_to_string(broker.ca_path())?;
    let home = Home::of(id, secret, vec![broker.address()?.to_string()], ca)?;
    let agent = home.connected().await?;
    Ok((home, agent))
}

/// Takes the next command, says that it is done, and returns its id.
async fn done(agent: &mut Agent) -> Result<CommandId> {
    let incoming = within("a command", agent.next_command()).await?.context("the agent has ended")?;
    let id = incoming.command().id;
    incoming.done(None);
    Ok(id)
}

#[tokio::test]
async fn a_group_is_woken_the_one_that_is_away_too_and_nobody_who_joins_later() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let (one, away, other) = (
        create(&broker, "one", "a/paris").await?,
        create(&broker, "away", "a").await?,
        create(&broker, "other", "a-b").await?,
    );
    let (_one_home, mut one) = run(&broker, &one).await?;
    let (_other_home, mut other) = run(&broker, &other).await?;
    let publisher = broker.publisher().await?;
    let group: GroupPath = "a".parse()?;
    let mut woken = within("a submission", publisher.submit(group, wake())).await??;
    assert_eq!(done(&mut one).await?, woken.id());

    // Who is not in the subtree, and who comes into it later, gets what is its own first.
    let (_late_home, mut late) = run(&broker, &create(&broker, "late", "a/paris").await?).await?;
    for (name, agent) in [("other", &mut other), ("late", &mut late)] {
        let own = within("a submission", publisher.submit(&name.parse::<AgentId>()?, wake())).await??;
        assert_eq!(done(agent).await?, own.id(), "{name}");
    }
    let mut management = broker.management()?;
    let waiting = management.waiting(woken.id(), None, 100).await?;
    let names: Vec<_> = waiting.agents.iter().map(|waiting| waiting.agent.as_str()).collect();
    assert_eq!((names, waiting.next), (vec!["away"], None));

    let (_away_home, mut away) = run(&broker, &away).await?;
    assert_eq!(done(&mut away).await?, woken.id());
    assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    let Some(News::Group(last)) = woken.news() else { bail!("not told of a group: {:?}", woken.news()) };
    assert_eq!((last.counts.done, last.counts.total()), (2, 2));
    let view = management.command(woken.id()).await?;
    let outcomes: Vec<_> = view.outcomes.iter().map(|of| (of.agent.as_str(), of.state)).collect();
    assert_eq!(outcomes, [("away", CommandState::Done), ("one", CommandState::Done)]);
    Ok(())
}

#[tokio::test]
async fn a_move_takes_an_agent_out_of_what_its_group_waits_for() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let moved = create(&broker, "moved", "a/paris").await?;
    create(&broker, "stays", "a/paris").await?;
    let mut management = broker.management()?;
    let [paris, all]: [GroupPath; 2] = ["a/paris".parse()?, "a".parse()?];
    let left =
        management.submit(paris, Submission { slot: wakemq_protocol::SlotChoice::Never, ..wake() }).await?;
    let kept = management.submit(all, wake()).await?;
    let own = management
        .submit(&moved.0, Submission { slot: wakemq_protocol::SlotChoice::Never, ..wake() })
        .await?;
    management.move_agent(&moved.0, "a/lyon".parse()?).await?;
    let (_home, mut agent) = run(&broker, &moved).await?;
    let mut got = [done(&mut agent).await?, done(&mut agent).await?];
    let mut meant = [kept.id, own.id];
    got.sort();
    meant.sort();
    assert_eq!(got, meant, "what is for a group that it is still in, and what is its own");
    let counts = management.command(left.id).await?.counts.context("a group's counts")?;
    assert_eq!((counts.cancelled, counts.queued, counts.total()), (1, 1, 2));
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_used_keeps_its_path() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let (agent, _) = create(&broker, "one", "a/paris").await?;
    let mut management = broker.management()?;
    let [a, b, paris]: [GroupPath; 3] = ["a".parse()?, "b".parse()?, "a/paris".parse()?];
    for refused in
        [management.rename_group(a.clone(), b.clone()).await, management.remove_group(paris.clone()).await]
    {
        let text = refused.expect_err("it is in use").to_string();
        assert!(text.contains("in use"), "{text}");
    }
    management.revoke_agent(&agent).await?;
    management.rename_group(a, b).await?;
    let groups = management.groups(None, 100).await?;
    let paths: Vec<_> = groups.groups.iter().map(|view| view.group.as_str()).collect();
    assert_eq!(paths, ["", "b", "b/paris"]);
    Ok(())
}
