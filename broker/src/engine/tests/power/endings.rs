//! How attempts end that do not come to their own end, and how they go on after a restart.

use wakemq_protocol::http::OperatorChange;

use super::*;
use crate::metrics::PowerVerdict;

/// A site on which a relay has the job of switching `pc` on.
async fn under_way() -> (Site, Present, Arc<Mailbox>) {
    let it = Site::with(&["pc:a/paris", "relay:a/paris"]).await;
    it.knows("pc", "a/paris", &wired(7)).await;
    let relay = it.comes("relay", "a/paris", &wired(8)).await;
    let publisher = it.power(1, "pc").await;
    relay.acknowledges(&it, &relay.command().await).await;
    pass(10).await;
    assert_eq!(it.state(1).await, CommandState::Sent);
    (it, relay, publisher)
}

#[tokio::test(start_paused = true)]
async fn cancelled_it_ends_at_once_and_the_next_begins() {
    let (it, relay, publisher) = under_way().await;
    it.power(2, "pc").await;
    pass(100).await;
    assert_eq!(it.state(2).await, CommandState::Queued);
    let view = it.bench.engine.cancel(&caller("admin"), id(1)).await.unwrap();
    assert!(view.outcomes[0].cancel_requested || view.outcomes[0].state == CommandState::Cancelled);
    pass(10).await;
    assert_eq!(it.state(1).await, CommandState::Cancelled);
    assert_eq!(it.steps(1).await.last().unwrap(), "verdict");
    let last = responses(&publisher).pop().unwrap();
    assert_eq!(last["state"], "cancelled");
    // The newer one of the slot had waited for it.
    pass(100).await;
    assert_eq!(it.steps(2).await, ["relay_asked relay"]);
    assert_eq!(relay.commands().len(), 1);
    assert_eq!((it.moved(PowerVerdict::Cancelled), it.bench.engine.power_attempts()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_is_cancelled_without_ado_and_ends_nothing_else() {
    let (it, _relay, _) = under_way().await;
    it.power(2, "pc").await;
    it.bench.engine.cancel(&caller("admin"), id(2)).await.unwrap();
    pass(100).await;
    assert_eq!((it.state(1).await, it.state(2).await), (CommandState::Sent, CommandState::Cancelled));
    assert_eq!(it.bench.engine.power_attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn revoking_the_endpoint_ends_it() {
    let (it, relay, _) = under_way().await;
    it.bench.engine.revoke_agent(&caller("admin"), agent("pc")).await.unwrap();
    pass(10).await;
    assert_eq!((it.state(1).await, it.bench.engine.power_attempts()), (CommandState::Cancelled, 0));
    pass(40_000).await;
    assert!(relay.commands().is_empty());
}

#[tokio::test(start_paused = true)]
async fn moved_out_of_its_publishers_right_it_is_cancelled() {
    let it = Site::with(&["pc:a/paris", "relay:a/paris"]).await;
    it.knows("pc", "a/paris", &wired(7)).await;
    let _relay = it.comes("relay", "a/paris", &wired(8)).await;
    let publisher = it.bench.publisher("paris");
    it.bench.submit("paris", &publisher, power(1, "pc")).await.unwrap();
    pass(100).await;
    it.bench.engine.move_agent(&caller("admin"), agent("pc"), group("b")).await.unwrap();
    pass(10).await;
    assert_eq!((it.state(1).await, it.bench.engine.power_attempts()), (CommandState::Cancelled, 0));
}

#[tokio::test(start_paused = true)]
async fn a_right_that_was_taken_away_is_seen_at_the_next_look() {
    let it = Site::with(&["pc:a/paris", "relay:a/paris"]).await;
    it.knows("pc", "a/paris", &wired(7)).await;
    let publisher = it.bench.publisher("paris");
    it.bench.submit("paris", &publisher, power(1, "pc")).await.unwrap();
    pass(100).await;
    // One comes that could send, and the right goes before the next look.
    let relay = it.comes("relay", "a/paris", &wired(8)).await;
    let change = OperatorChange { role: Some(Role::Viewer), group: None };
    it.bench.engine.change_operator(&caller("admin"), "paris".parse().unwrap(), change).await.unwrap();
    let (state, detail) = it.ended(1).await;
    assert_eq!(state, CommandState::Failed);
    assert_eq!(detail, "op:paris may not switch pc on any more: its right was taken away");
    assert!(relay.commands().is_empty());
    assert_eq!(it.moved(PowerVerdict::NotAllowed), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_it_goes_on_where_it_stood() {
    let (it, relay, _) = under_way().await;
    pass(5_000).await;
    let it = it.restart().await;
    drop(relay);
    pass(100).await;
    assert_eq!(it.state(1).await, CommandState::Sent, "somebody has the job");
    pass(10_000).await;
    it.comes("pc", "a/paris", &up_since(wired(7), 6)).await;
    let (state, detail) = it.ended(1).await;
    assert_eq!((state, &*detail), (CommandState::Done, "booted 10 s after the first packet"));
    let steps = it.steps(1).await;
    assert_eq!(steps, ["relay_asked relay", "relay_acknowledged relay", "heard", "verdict"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_relay_that_is_back_is_heard_and_the_next_round_asks_anew() {
    let it = Site::with(&["pc:a", "relay:a"]).await;
    it.knows("pc", "a", &wired(7)).await;
    let relay = it.comes("relay", "a", &wired(8)).await;
    it.power(1, "pc").await;
    let job = relay.command().await;
    let it = it.restart().await;
    let relay = it.comes("relay", "a", &wired(8)).await;
    // It had the job when the broker went.
    relay.says(&it, &job, ReceiptState::Done, "sent").await;
    pass(100).await;
    assert_eq!(it.state(1).await, CommandState::Sent);
    pass(31_000).await;
    assert_eq!(relay.commands().len(), 1);
    assert_eq!(it.ended(1).await.1, "sent by relay, did not come up within 120 s");
}

#[tokio::test(start_paused = true)]
async fn so_many_run_at_a_time_and_the_rest_waits_in_order() {
    let names: Vec<_> = (0..ATTEMPTS_MAX + 3).map(|number| format!("pc-{number}:a")).collect();
    let it = Site::with(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let publisher = it.bench.publisher("admin");
    for number in 0..ATTEMPTS_MAX + 3 {
        let name = format!("pc-{number}");
        if number < ATTEMPTS_MAX {
            it.knows(&name, "a", &wired(7)).await;
        }
        it.bench.submit("admin", &publisher, power(number as u64, &name)).await.unwrap();
    }
    pass(1_000).await;
    assert_eq!(it.bench.engine.power_attempts(), ATTEMPTS_MAX);
    for number in ATTEMPTS_MAX..ATTEMPTS_MAX + 3 {
        assert_eq!(it.state(number as u64).await, CommandState::Queued);
    }
    let it = it.restart().await;
    assert_eq!(it.bench.engine.power_attempts(), ATTEMPTS_MAX);
    // As one ends the next begins; these end at once, for want of a MAC.
    it.bench.engine.cancel(&caller("admin"), id(0)).await.unwrap();
    pass(1_000).await;
    for number in ATTEMPTS_MAX..ATTEMPTS_MAX + 3 {
        assert_eq!(it.state(number as u64).await, CommandState::Failed, "{number}");
    }
    assert_eq!(it.bench.engine.power_attempts(), ATTEMPTS_MAX - 1);
    assert_eq!(it.moved(PowerVerdict::NoMac), 3);
}
