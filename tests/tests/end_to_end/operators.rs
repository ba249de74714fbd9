//! The operator's command line: exit codes, JSON, agents, import.

use std::collections::HashSet;

use anyhow::Result;
use wakemq_tests::agents::Home;
use wakemq_tests::broker::{BrokerProcess, write_private};
use wakemq_tests::operator::Wakemq;

#[tokio::test]
async fn the_exit_codes_are_those_of_the_help() -> Result<()> {
    let mut broker = BrokerProcess::start().await?;
    let made = broker.import(&["pc-1", "away"]).await?;
    let home = Home::imported(&broker, &made[0].0, &made[0].1)?;
    let agent = home.run(Some("true"))?;
    agent.connected().await?;
    let wakemq = Wakemq::admin(&broker);
    let done = ["wake", "pc-1", "--wait", "done"];
    wakemq.call(&done).await?.expect_code(0)?;
    // Nobody is there, and the wait is over at once.
    let gone = wakemq.call(&["wake", "away", "--ttl", "0", "--json"]).await?.expect_code(1)?;
    assert_eq!(gone.field("state")?, "expired");
    for usage in [
        &["wake"][..],
        &["wake", "pc-1", "--wait", "ever"],
        &["wake", "p c"],
        &["show", "x"],
        &["frobnicate"],
    ] {
        let answer = wakemq.call(usage).await?.expect_code(2)?;
        assert!(answer.err.contains("error") && answer.err.contains("hint:"), "{usage:?}: {}", answer.err);
        assert_eq!(answer.out, "", "{usage:?}");
    }

    // A secret that is nobody's.
    let mut profile = broker.profile()?;
    profile.secret = wakemq_protocol::Secret::from_random(wakemq_protocol::SecretKind::Operator, &[7; 32]);
    let path = broker.data().join("stranger.toml");
    write_private(&path, &toml::to_string(&profile)?)?;
    let stranger = Wakemq::with_profile(&path);
    for words in [&done[..], &["agents", "list"], &["tokens", "create", "--group", "x"]] {
        let answer = stranger.call(words).await?.expect_code(4)?;
        assert!(answer.err.contains("hint:"), "{words:?}: {}", answer.err);
    }

    broker.kill().await?;
    for words in [&["wake", "pc-1", "--timeout", "3s"][..], &["agents", "show", "pc-1"]] {
        let answer = wakemq.call(words).await?.expect_code(3)?;
        assert!(answer.err.contains("hint:"), "{words:?}: {}", answer.err);
    }
    Ok(())
}

#[tokio::test]
async fn agents_are_shown_and_listed_as_they_are() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let made = broker.import(&["pc-1", "away"]).await?;
    let home = Home::imported(&broker, &made[0].0, &made[0].1)?;
    let agent = home.run(None)?;
    agent.connected().await?;
    let wakemq = Wakemq::admin(&broker);
    wakemq.call(&["wake", "away", "--wait", "none"]).await?.expect_code(0)?;
    let away = wakemq.call(&["agents", "show", "away", "--json"]).await?.expect_code(0)?.one()?;
    assert_eq!(
        (&away["connected"], &away["pending"], &away["group"]),
        (&false.into(), &1.into(), &"test".into())
    );
    // Its facts come behind its subscription.
    let here = wakemq_tests::wait::eventually("the agent's facts", async || {
        let here = wakemq.call(&["agents", "show", "pc-1", "--json"]).await?.expect_code(0)?.one()?;
        Ok(here["facts"]["version"].is_string().then_some(here))
    })
    .await?;
    assert_eq!((&here["connected"], &here["pending"]), (&true.into(), &0.into()));
    assert!(here["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{here}");
    let listed = wakemq.call(&["agents", "list", "--json"]).await?.expect_code(0)?.json()?;
    let names: Vec<_> = listed.iter().map(|agent| agent["agent"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["away", "pc-1"]);
    let table = wakemq.call(&["agents", "list"]).await?.expect_code(0)?;
    assert!(table.out.contains("pc-1") && table.out.contains("away"), "{}", table.out);
    wakemq.call(&["agents", "show", "nobody"]).await?.expect_code(1)?;
    Ok(())
}

#[tokio::test]
async fn a_thousand_agents_are_imported_and_their_secrets_are_good() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let wakemq = Wakemq::admin(&broker);
    let lines: String = (0..1000).map(|n| format!("{{\"agent\":\"pc-{n}\",\"group\":\"a/b\"}}\n")).collect();
    let answer = wakemq.call_with(&["agents", "import", "-"], &lines).await?.expect_code(0)?;
    let made = answer.json()?;
    let names: Vec<_> =
        made.iter().map(|line| line["agent"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(names, (0..1000).map(|n| format!("pc-{n}")).collect::<Vec<_>>(), "all, in order");
    let secrets: HashSet<_> = made.iter().map(|line| line["secret"].to_string()).collect();
    assert_eq!(secrets.len(), 1000);

    let secret: wakemq_protocol::Secret = made[999]["secret"].as_str().unwrap_or_default().parse()?;
    let home = Home::imported(&broker, &"pc-999".parse()?, &secret)?;
    let agent = home.run(None)?;
    agent.connected().await?;
    let listed = wakemq.call(&["agents", "list", "--json"]).await?.expect_code(0)?;
    assert_eq!(listed.out.lines().count(), 1000);

    // What exists is not made anew; the other lines are.
    let again = wakemq
        .call_with(
            &["agents", "import", "-"],
            "{\"agent\":\"PC-1\",\"group\":\"\"}\nx\n{\"agent\":\"new\",\"group\":\"\"}\n",
        )
        .await?;
    let again = again.expect_code(1)?;
    assert_eq!(again.field("agent")?, "new");
    assert!(again.err.contains("line 1: ") && again.err.contains("line 2: "), "{}", again.err);
    Ok(())
}
