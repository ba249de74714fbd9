//! The operator's command line on groups, operators, events and the audit trail.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::process::Command;
use wakemq_protocol::{AgentId, Secret};
use wakemq_tests::agents::Home;
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::operator::{Answer, Wakemq};
use wakemq_tests::process::{Process, Stream};
use wakemq_tests::programs::Programs;
use wakemq_tests::wait::eventually;

/// Creates agents in their groups by `wakemq agents import`.
async fn import(wakemq: &Wakemq, agents: &[(&str, &str)]) -> Result<Vec<(AgentId, Secret)>> {
    let lines: String = agents
        .iter()
        .map(|(agent, group)| format!("{{\"agent\":\"{agent}\",\"group\":\"{group}\"}}\n"))
        .collect();
    let made = wakemq.call_with(&["agents", "import", "-"], &lines).await?.expect_code(0)?;
    let part = |object: &Value, name: &str| object[name].as_str().map(str::to_owned).context("no field");
    made.json()?
        .iter()
        .map(|made| Ok((part(made, "agent")?.parse()?, part(made, "secret")?.parse()?)))
        .collect()
}

/// The values of a field, line by line.
fn column(answer: &Answer, name: &str) -> Result<Vec<String>> {
    Ok(answer.json()?.iter().map(|line| line[name].as_str().unwrap_or_default().to_owned()).collect())
}

/// Starts a command that goes on until it is interrupted.
fn start(broker: &BrokerProcess, words: &[&str]) -> Result<Process> {
    let mut command = Command::new(&Programs::get()?.wakemq);
    command.args(words).env("WAKEMQ_PROFILE", broker.profile_path());
    Process::start(format!("wakemq {}", words.join(" ")), command)
}

#[tokio::test]
async fn a_group_is_woken_and_who_is_away_gets_it_later() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let wakemq = Wakemq::admin(&broker);
    let made =
        import(&wakemq, &[("pc-1", "paris/floor-1"), ("pc-2", "paris/floor-2"), ("pc-3", "lyon")]).await?;
    let homes: Vec<_> =
        made.iter().map(|(id, secret)| Home::imported(&broker, id, secret)).collect::<Result<_>>()?;
    let mut first = homes[0].run(None)?;
    first.connected().await?;

    let wake =
        wakemq.call(&["wake", "--group", "paris", "--wait", "none", "--json"]).await?.expect_code(0)?;
    let object = wake.one()?;
    assert_eq!(object["group"], "paris");
    let id = wake.field("id")?;
    first.wait_line(&id).await?;
    // The agent has it a moment before the broker knows.
    eventually("the broker to wait for one agent alone", async || {
        let waiting = wakemq.call(&["show", &id, "--waiting", "--json"]).await?.expect_code(0)?;
        let of = (column(&waiting, "agent")?, column(&waiting, "group")?);
        Ok((of == (vec!["pc-2".to_owned()], vec!["paris/floor-2".to_owned()])).then_some(()))
    })
    .await?;

    // The other way: somebody waits until all have it.
    let mut waits =
        start(&broker, &["wake", "--group", "paris", "--wait", "done", "--timeout", "1h", "--json"])?;
    let newer = first
        .process()
        .wait_line("a newer command", |line| {
            let command: Value = serde_json::from_str(&line.text).ok()?;
            command["id"].as_str().filter(|newer| *newer != id).map(str::to_owned)
        })
        .await?;
    let second = homes[1].run(None)?;
    assert!(waits.wait_exit().await?.success(), "{}", waits.explain(anyhow::anyhow!("not as wanted")));
    let object: Value = waits.wait_line("one object", |line| serde_json::from_str(&line.text).ok()).await?;
    assert_eq!(object["as_wanted"], true);
    assert_eq!((&object["counts"]["done"], &object["counts"]["queued"]), (&2.into(), &0.into()));
    assert_eq!(object["id"], newer.as_str());
    second.wait_line(&newer).await?;

    let shown = wakemq.call(&["show", &newer, "--outcomes", "--json"]).await?.expect_code(0)?;
    assert_eq!(column(&shown, "agent")?, ["pc-1", "pc-2"]);
    // What is over cannot be taken back.
    wakemq.call(&["cancel", &newer]).await?.expect_code(1)?;
    // Nobody is in a group that nobody joined.
    wakemq.call(&["groups", "create", "nice"]).await?.expect_code(0)?;
    let empty = wakemq.call(&["wake", "--group", "nice"]).await?.expect_code(0)?;
    assert!(empty.out.starts_with("nice: accepted, and there is no agent "), "{}", empty.out);
    Ok(())
}

#[tokio::test]
async fn agents_are_moved_and_revoked_and_groups_in_use_stay() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let wakemq = Wakemq::admin(&broker);
    let made = import(&wakemq, &[("pc-1", "paris"), ("pc-2", "paris"), ("pc-3", "lyon")]).await?;
    let home = Home::imported(&broker, &made[0].0, &made[0].1)?;
    let agent = home.run(None)?;
    agent.connected().await?;

    let list = async |words: &[&str]| {
        let words: Vec<_> = ["agents", "list", "--json"].iter().chain(words).copied().collect();
        column(&wakemq.call(&words).await?.expect_code(0)?, "agent")
    };
    assert_eq!(list(&["--group", "paris", "--state", "connected"]).await?, ["pc-1"]);
    assert_eq!(list(&["--state", "away"]).await?, ["pc-3", "pc-2"], "by group");
    wakemq.call(&["agents", "move", "pc-2", "pc-3", "--to", "nice/old-town"]).await?.expect_code(0)?;
    assert_eq!(list(&["--group", "nice"]).await?, ["pc-2", "pc-3"]);

    let groups = wakemq.call(&["groups", "list", "--json"]).await?.expect_code(0)?;
    let counts: Vec<_> = groups
        .json()?
        .iter()
        .map(|line| format!("{} {} {}", line["group"], line["agents"], line["connected"]))
        .collect();
    assert_eq!(
        counts,
        [r#""" 3 1"#, r#""lyon" 0 0"#, r#""nice" 2 0"#, r#""nice/old-town" 2 0"#, r#""paris" 1 1"#]
    );
    let used = wakemq.call(&["groups", "rename", "nice", "cannes"]).await?.expect_code(1)?;
    assert!(used.err.contains("\nhint: "), "{}", used.err);
    wakemq.call(&["groups", "rename", "lyon", "grenoble"]).await?.expect_code(0)?;
    wakemq.call(&["groups", "remove", "grenoble"]).await?.expect_code(0)?;
    wakemq.call(&["groups", "remove", "grenoble"]).await?.expect_code(1)?;

    wakemq.call(&["agents", "revoke", "pc-2"]).await?.expect_code(2)?;
    let revoked =
        wakemq.call_with(&["agents", "revoke", "-", "--yes"], "pc-2\npc-9\n").await?.expect_code(1)?;
    assert!(
        revoked.err.contains("error: pc-9: ") && revoked.err.contains("1 agent revoked"),
        "{}",
        revoked.err
    );
    assert_eq!(list(&["--group", "nice"]).await?, ["pc-3"]);

    let token = wakemq.call(&["tokens", "create", "--group", "nice", "--uses", "2"]).await?.expect_code(0)?;
    let listed = wakemq.call(&["tokens", "list", "--json"]).await?.expect_code(0)?;
    assert!(!listed.out.contains(token.out.trim()), "a list shows no secret");
    let id = listed.field("id")?;
    wakemq.call(&["tokens", "revoke", &id]).await?.expect_code(0)?;
    let answer = wakemq.call(&["tokens", "list", "--json"]).await?.expect_code(0)?;
    assert_eq!(answer.json()?.len(), 0);

    let audit = wakemq.call(&["audit", "--since", "1h", "--json"]).await?.expect_code(0)?;
    let trail: Vec<_> = column(&audit, "action")?.into_iter().zip(column(&audit, "target")?).collect();
    for (action, target) in
        [("agent.move", "pc-2"), ("agent.move", "pc-3"), ("group.rename", "lyon"), ("agent.revoke", "pc-2")]
    {
        assert!(trail.iter().any(|(a, t)| a == action && t == target), "{action} {target}: {trail:?}");
    }
    let moved = audit.json()?.into_iter().find(|line| line["target"] == "pc-3").context("no line")?;
    assert_eq!(
        (&moved["before"]["group"], &moved["after"]["group"]),
        (&"lyon".into(), &"nice/old-town".into())
    );
    assert_eq!(moved["by"], "op:admin");
    assert!(moved["address"].as_str().is_some_and(|from| from.starts_with("127.0.0.1:")), "{moved}");
    let plain = wakemq.call(&["audit"]).await?.expect_code(0)?;
    assert!(plain.out.contains("group: lyon → nice/old-town"), "{}", plain.out);
    Ok(())
}

#[tokio::test]
async fn an_operator_sees_and_does_what_its_rights_are_now() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let admin = Wakemq::admin(&broker);
    import(&admin, &[("pc-1", "paris"), ("pc-3", "lyon")]).await?;
    let dir = tempfile::tempdir()?;
    let profile = dir.path().join("helpdesk.toml");
    let path = profile.to_str().context("a path that is no text")?;
    let words = ["operators", "create", "helpdesk", "--role", "operator", "--group", "paris", "--out", path];
    let created = admin.call(&words).await?.expect_code(0)?;
    assert_eq!(created.out.trim(), path);
    let text = std::fs::read_to_string(&profile)?;
    let endpoint = format!("endpoints = [\"{}\"]", broker.address());
    let text: Vec<_> =
        text.lines().map(|line| if line.starts_with("endpoints") { &endpoint } else { line }).collect();
    std::fs::write(&profile, text.join("\n"))?;
    let helpdesk = Wakemq::with_profile(&profile);
    let other = dir.path().join("other.toml");
    let other = other.to_str().context("a path that is no text")?;

    let seen = helpdesk.call(&["agents", "list", "--json"]).await?.expect_code(0)?;
    assert_eq!(column(&seen, "agent")?, ["pc-1"]);
    helpdesk.call(&["wake", "--group", "paris", "--wait", "none"]).await?.expect_code(0)?;
    for words in [
        &["wake", "--group", "lyon", "--wait", "none"][..],
        &["wake", "--all", "--wait", "none"],
        &["agents", "move", "pc-1", "--to", "paris/x"],
        &["operators", "create", "other", "--role", "viewer", "--group", "paris", "--out", other],
    ] {
        let answer = helpdesk.call(words).await?;
        assert_eq!(answer.code, 4, "{words:?}: {}", answer.err);
    }
    assert!(!std::fs::exists(other)?, "a profile without an operator is left");

    admin.call(&["operators", "set", "helpdesk", "--role", "viewer"]).await?.expect_code(0)?;
    helpdesk.call(&["wake", "pc-1", "--wait", "none"]).await?.expect_code(4)?;
    admin
        .call(&["operators", "set", "helpdesk", "--role", "admin", "--group", "lyon"])
        .await?
        .expect_code(0)?;
    let seen = helpdesk.call(&["agents", "list", "--json"]).await?.expect_code(0)?;
    assert_eq!(column(&seen, "agent")?, ["pc-3"]);
    helpdesk.call(&["agents", "move", "pc-3", "--to", "lyon/x"]).await?.expect_code(0)?;
    helpdesk.call(&["agents", "move", "pc-3", "--to", "paris"]).await?.expect_code(4)?;

    let listed = admin.call(&["operators", "list", "--json"]).await?.expect_code(0)?;
    assert_eq!(column(&listed, "operator")?, ["admin", "helpdesk"]);
    // Nobody is left who could make another.
    let last = admin.call(&["operators", "revoke", "admin", "--yes"]).await?.expect_code(1)?;
    assert!(last.err.contains("\nhint: "), "{}", last.err);
    admin.call(&["operators", "revoke", "helpdesk", "--yes"]).await?.expect_code(0)?;
    helpdesk.call(&["agents", "list"]).await?.expect_code(4)?;
    Ok(())
}
#[tokio::test]
async fn what_happens_is_watched_until_ctrl_c() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let wakemq = Wakemq::admin(&broker);
    let made = import(&wakemq, &[("pc-1", "paris"), ("pc-3", "lyon")]).await?;
    let mut all = start(&broker, &["watch", "--json"])?;
    let mut some = start(&broker, &["watch", "--group", "paris", "--kind", "command"])?;
    all.wait_log("watching /").await?;
    some.wait_log("watching paris").await?;

    let home = Home::imported(&broker, &made[0].0, &made[0].1)?;
    let agent = home.run(None)?;
    agent.connected().await?;
    let lyon = wakemq.call(&["wake", "--group", "lyon", "--wait", "none", "--json"]).await?.expect_code(0)?;
    let paris =
        wakemq.call(&["wake", "--group", "paris", "--wait", "done", "--json"]).await?.expect_code(0)?;
    let (lyon, paris) = (lyon.field("id")?, paris.field("id")?);

    let event = async |what: &str, find: &dyn Fn(&Value) -> bool| {
        all.wait_line(what, |line| serde_json::from_str(&line.text).ok().filter(|event| find(event))).await
    };
    event("the agent", &|event: &Value| event["change"] == "connected" && event["agent"] == "pc-1").await?;
    event("lyon's wake", &|event: &Value| event["update"]["id"] == lyon.as_str() && event["group"] == "lyon")
        .await?;
    let done: Value = event("the end", &|event: &Value| {
        event["update"]["id"] == paris.as_str() && event["update"]["state"] == "done"
    })
    .await?;
    assert_eq!(
        (&done["event"], &done["by"], &done["kind"]),
        (&"command".into(), &"op:admin".into(), &"wake".into())
    );
    some.wait_line("the end in words", |line| line.text.contains("wake of pc-1 done").then_some(())).await?;

    for watch in [&mut all, &mut some] {
        watch.interrupt()?;
        assert_eq!(watch.wait_exit().await?.code(), Some(130));
    }
    let numbers: Vec<_> = all
        .lines()
        .iter()
        .filter(|line| line.stream == Stream::Out)
        .map(|line| serde_json::from_str::<Value>(&line.text).map(|event| event["seq"].as_u64()))
        .collect::<Result<_, _>>()?;
    assert!(numbers.iter().zip(1..).all(|(seq, expected)| *seq == Some(expected)), "{numbers:?}");
    let said: Vec<_> = some.lines().into_iter().filter(|line| line.stream == Stream::Out).collect();
    assert!(said.iter().all(|line| line.text.contains("  command   paris: ")), "{said:?}");
    Ok(())
}
