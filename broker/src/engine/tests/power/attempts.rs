//! Whom an attempt asks, and what it hears.

use super::*;
use crate::metrics::PowerVerdict;

#[tokio::test(start_paused = true)]
async fn a_sleeper_is_switched_on_by_its_neighbour_and_everybody_is_told() {
    let it = Site::with(&["pc:a/paris", "relay:a/paris"]).await;
    it.knows("pc", "a/paris", &wired(7)).await;
    let relay = it.comes("relay", "a/paris", &wired(8)).await;
    it.bench.told();
    let publisher = it.power(1, "pc").await;
    let job = relay.command().await;
    assert_eq!((&job.kind, job.ttl, &*job.by, job.slot.as_ref()), (&Kind::Relay, 0, "op:admin", None));
    let asked = serde_json::to_value(job.relay.as_ref().unwrap()).unwrap();
    let expected =
        serde_json::json!({"macs": ["00:16:3e:00:00:07"], "networks": ["192.0.2.0/24"], "ports": [9, 7]});
    assert_eq!(asked, expected);
    assert_eq!(it.state(1).await, CommandState::Queued, "nobody has the job yet");
    assert_eq!(it.bench.engine.power_attempts(), 1);

    relay.acknowledges(&it, &job).await;
    pass(10).await;
    assert_eq!(it.state(1).await, CommandState::Sent);
    relay.says(&it, &job, ReceiptState::Done, "sent on eth0").await;
    pass(9_990).await;
    let pc = it.comes("pc", "a/paris", &up_since(wired(7), 4)).await;
    let (state, detail) = it.ended(1).await;
    assert_eq!((state, &*detail), (CommandState::Done, "booted 7 s after the first packet"));
    assert_eq!(
        it.steps(1).await,
        ["relay_asked relay", "relay_acknowledged relay", "relay_said relay", "heard", "verdict"]
    );
    assert!(pc.commands().is_empty(), "the endpoint itself never sees the command");
    assert_eq!((it.moved(PowerVerdict::Done), it.bench.engine.power_attempts()), (1, 0));
    assert_eq!(it.bench.engine.metrics.relays_asked.get(), 1);

    // Its publisher was told of every state and every step, in order.
    let told = responses(&publisher);
    let said: Vec<_> = told
        .iter()
        .map(|update| {
            let step = update["evidence"]["step"].as_str().unwrap_or("-");
            format!("{} {step}", update["state"].as_str().unwrap())
        })
        .collect();
    let expected = [
        "queued -",
        "queued relay_asked",
        "queued relay_acknowledged",
        "sent -",
        "sent relay_said",
        "sent heard",
        "done verdict",
    ];
    assert_eq!(said, expected);
    // So was everybody who listens: each step is one event, each change of state one.
    let events = it.bench.told();
    let of_it = |kind: &str| {
        events
            .iter()
            .filter(|event| event["event"] == kind)
            .filter(|event| {
                event["command"] == id(1).to_string() || event["update"]["id"] == id(1).to_string()
            })
            .count()
    };
    assert_eq!((of_it("power"), of_it("command")), (5, 3), "{events:#?}");
    let power = events.iter().find(|event| event["event"] == "power").unwrap();
    assert_eq!((&power["group"], &power["by"]), (&"a/paris".into(), &"op:admin".into()));
    // A step is no change of state.
    let queued = &it.bench.engine.metrics.command_changes.of(CommandState::Queued);
    assert_eq!(queued.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_looks_connected_is_asked_itself_first() {
    let it = Site::with(&["pc:a/paris", "relay:a/paris"]).await;
    let relay = it.comes("relay", "a/paris", &wired(8)).await;
    let pc = it.comes("pc", "a/paris", &wired(7)).await;
    it.power(1, "pc").await;
    let wake = pc.command().await;
    assert_eq!((&wake.kind, wake.ttl, &*wake.by), (&Kind::Wake, 0, "op:admin"));
    pc.acknowledges(&it, &wake).await;
    let (state, detail) = it.ended(1).await;
    assert_eq!((state, &*detail), (CommandState::Done, "was already up: it acknowledged a wake"));
    assert_eq!(it.steps(1).await, ["probed", "verdict"]);
    assert!(relay.commands().is_empty());

    // The connection is only left over: the machine sleeps.
    it.power(2, "pc").await;
    pass(4_900).await;
    assert!(relay.commands().is_empty());
    let job = relay.command().await;
    relay.acknowledges(&it, &job).await;
    pass(5_000).await;
    let sleeping = pc;
    let resumed = Facts { since_resume: Some(2), ..up_since(wired(7), 90_000) };
    it.comes("pc", "a/paris", &resumed).await;
    let (state, detail) = it.ended(2).await;
    assert_eq!((state, &*detail), (CommandState::Done, "resumed 4 s after the first packet"));
    let steps = it.steps(2).await;
    assert_eq!(steps[..3], ["probed", "probe_unanswered", "relay_asked relay"]);
    it.goes(sleeping).await;
}

#[tokio::test(start_paused = true)]
async fn who_was_running_all_along_was_not_switched_on() {
    let it = Site::with(&["pc:a", "relay:a"]).await;
    it.knows("pc", "a", &wired(7)).await;
    let relay = it.comes("relay", "a", &wired(8)).await;
    it.power(1, "pc").await;
    relay.acknowledges(&it, &relay.command().await).await;
    pass(20_000).await;
    it.comes("pc", "a", &up_since(wired(7), 3_600)).await;
    let (state, detail) = it.ended(1).await;
    assert_eq!(state, CommandState::Failed);
    assert!(detail.starts_with("was running, unreachable"), "{detail}");
    assert_eq!(it.moved(PowerVerdict::WasRunning), 1);
}

#[tokio::test(start_paused = true)]
async fn who_never_comes_has_failed_with_the_names_of_those_who_sent() {
    let it = Site::with(&["pc:a", "r1:a", "r2:a", "r3:a", "r4:a"]).await;
    it.knows("pc", "a", &wired(7)).await;
    let radio = facts(8, "192.0.2", Medium::Wireless);
    let mut relays = vec![it.comes("r1", "a", &radio).await];
    for (name, number) in [("r2", 9), ("r3", 10), ("r4", 11)] {
        relays.push(it.comes(name, "a", &wired(number)).await);
    }
    it.power(1, "pc").await;
    pass(100).await;
    let names =
        |asked: Vec<(usize, Command)>| -> Vec<usize> { asked.into_iter().map(|(at, _)| at).collect() };
    let asked = || -> Vec<(usize, Command)> {
        let each = relays.iter().enumerate();
        each.flat_map(|(at, relay)| relay.commands().into_iter().map(move |command| (at, command))).collect()
    };
    let first = asked();
    for (at, command) in &first {
        relays[*at].acknowledges(&it, command).await;
    }
    assert_eq!(names(first), [1, 2], "by cable before by radio");
    pass(29_000).await;
    assert_eq!(names(asked()), [0; 0]);
    pass(1_000).await;
    // Fresh ones, which are silent; the third in the place of one of them.
    assert_eq!(names(asked()), [0, 3]);
    pass(3_100).await;
    assert_eq!(asked().len(), 1);
    let (state, detail) = it.ended(1).await;
    assert_eq!(state, CommandState::Failed);
    assert_eq!(detail, "sent by r2 and r3, did not come up within 120 s");
    assert_eq!(it.moved(PowerVerdict::NotUp), 1);
    let ended = it.view(1).await.outcomes[0].at.unix_ms();
    let began = it.view(1).await.evidence[0].at.unix_ms();
    assert!((120_000..121_000).contains(&(ended - began)), "{}", ended - began);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_goes_is_replaced() {
    let it = Site::with(&["pc:a", "r1:a", "r2:a", "r3:a"]).await;
    it.knows("pc", "a", &wired(7)).await;
    let r1 = it.comes("r1", "a", &wired(8)).await;
    let r2 = it.comes("r2", "a", &wired(9)).await;
    let r3 = it.comes("r3", "a", &wired(10)).await;
    it.power(1, "pc").await;
    pass(100).await;
    assert_eq!((r1.commands().len(), r2.commands().len(), r3.commands().len()), (1, 1, 0));
    it.goes(r1).await;
    pass(100).await;
    assert_eq!((r2.commands().len(), r3.commands().len()), (0, 1));
    let steps = it.steps(1).await;
    assert_eq!(steps, ["relay_asked r1", "relay_asked r2", "relay_left r1", "relay_asked r3"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_who_is_not_a_neighbour_within_the_operators_right() {
    let it = Site::with(&["pc:a/paris", "tenant:b", "lyon:a/lyon", "far:a/paris", "shy:a/paris"]).await;
    it.knows("pc", "a/paris", &wired(7)).await;
    let others = [
        it.comes("tenant", "b", &wired(8)).await,
        it.comes("lyon", "a/lyon", &wired(9)).await,
        it.comes("far", "a/paris", &facts(10, "192.0.3", Medium::Wired)).await,
        it.comes("shy", "a/paris", &Facts { relay: false, ..wired(11) }).await,
    ];
    let publisher = it.bench.publisher("paris");
    it.bench.submit("paris", &publisher, power(1, "pc")).await.unwrap();
    let (state, detail) = it.ended(1).await;
    assert_eq!(state, CommandState::Failed);
    let expected = "no awake relay on 192.0.2.0/24; the broker has no addresses to send to itself";
    assert_eq!(detail, expected);
    assert_eq!(it.steps(1).await, ["no_relay", "no_relay", "no_relay", "verdict"]);
    assert!(others.iter().all(|other| other.commands().is_empty()));
    assert_eq!(it.moved(PowerVerdict::NoRelay), 1);

    // An operator of the whole may use the neighbour in Lyon, and still not the other tenant's.
    it.power(2, "pc").await;
    pass(100).await;
    assert_eq!(others.iter().map(|other| other.commands().len()).collect::<Vec<_>>(), [0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_moved_to_another_tenant_is_none_any_more() {
    let it = Site::with(&["pc:a", "relay:a", "other:b"]).await;
    it.knows("pc", "a", &wired(7)).await;
    it.knows("other", "b", &wired(9)).await;
    let relay = it.comes("relay", "a", &wired(8)).await;
    it.bench.engine.move_agent(&caller("admin"), agent("relay"), group("b")).await.unwrap();
    it.power(1, "pc").await;
    it.power(2, "other").await;
    pass(100).await;
    let asked: Vec<_> = relay.commands().into_iter().filter_map(|command| command.relay).collect();
    assert_eq!(asked.iter().map(|job| job.macs[0].to_string()).collect::<Vec<_>>(), ["00:16:3e:00:00:09"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_wake_fails_at_once() {
    let it = Site::with(&["never:a", "random:a"]).await;
    it.power(1, "never").await;
    let (state, detail) = it.ended(1).await;
    assert_eq!(state, CommandState::Failed);
    assert!(detail.starts_with("no MAC known: the agent has never told"), "{detail}");
    assert_eq!((it.steps(1).await, it.moved(PowerVerdict::NoMac)), (vec!["verdict".to_owned()], 1));
}
