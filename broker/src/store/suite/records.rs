//! Commands for groups.

use wakemq_protocol::limits::LIVE_RECORDS_MAX;
use wakemq_protocol::{AgentId, CommandState, Counts, GroupPath, Priority, ReceiptState};

use super::fixture::*;
use crate::store::{
    Actor, AdminOp, Delivery, Lane, NewCommand, Outcomes, Query, Rows, Status, Submitted, Target, Transition,
    Verdict,
};

super::for_each_backend!(
    it_reaches_who_was_inside_when_it_was_accepted,
    who_may_command_which_group,
    a_repetition_is_the_same_command,
    own_and_groups_commands_come_in_one_order,
    it_is_acknowledged_and_done_by_each_agent,
    one_list_may_speak_of_several,
    the_newest_of_a_slot_goes_out_and_ends_the_others_when_it_arrives,
    own_commands_and_groups_share_slots,
    one_that_would_not_outlive_a_newer_one_ends_at_once,
    a_hundred_are_live_at_most,
    it_is_cancelled_as_a_whole,
    what_is_on_its_way_may_still_arrive,
    it_expires_as_a_whole_and_is_forgotten,
    a_live_one_is_for_those_who_are_there,
    what_the_broker_cannot_send_fails,
    receipts_are_taken_from_those_it_was_meant_for,
    a_result_after_the_end_is_late,
    outcomes_come_by_pages,
    who_is_waited_for,
    a_refusal_is_seen_by_its_publisher,
);

async fn it_reaches_who_was_inside_when_it_was_accepted(bench: &Bench) {
    bench.admin(create("c", "g-h", 9), 0).await;
    let Submitted::Accepted { news, changes, .. } = bench.submit(to_group(1, "g"), 1).await else {
        panic!("not accepted")
    };
    assert!(changes.is_empty());
    let update = group_update(&news);
    assert_eq!((update.state, update.at, &update.group), (CommandState::Queued, at(1), &group("g")));
    assert_eq!(update.counts, Counts { queued: 2, ..Counts::default() });
    bench.admin(create("d", "g/h", 10), 2).await;
    for (name, expected) in [("a", vec![id(1)]), ("b", vec![id(1)]), ("c", Vec::new()), ("d", Vec::new())] {
        let epoch = bench.claim_of(name, 3).await;
        assert_eq!(bench.inbox_of(name, epoch, 3).await, expected, "{name}");
    }
    assert_eq!(bench.counts(1).await, Counts { sent: 2, ..Counts::default() });
    assert_eq!(bench.pending().await, 1);
    bench.accept_for_group(to_group(2, ""), 4).await;
    assert_eq!(bench.counts(2).await.queued, 4, "the root is a group");
}

async fn who_may_command_which_group(bench: &Bench) {
    assert_eq!(bench.submit(to_group(1, "x"), 0).await, Submitted::Unknown);
    let narrow = |number, path| NewCommand { scope: group("g/h"), ..to_group(number, path) };
    assert_eq!(bench.submit(narrow(1, "g"), 0).await, Submitted::Forbidden);
    assert_eq!(
        bench.submit(narrow(1, "x"), 0).await,
        Submitted::Forbidden,
        "nothing is learnt of other groups"
    );
    bench.accept_for_group(narrow(1, "g/h"), 0).await;
    bench.accept_for_group(to_group(2, "g"), 0).await;
    let foreign = Transition::Cancel { id: id(2), scope: group("g/h"), actor: actor() };
    assert_eq!(
        bench.record(foreign, 1).await.verdict,
        Verdict::Unknown,
        "the right must cover the whole target"
    );
}

async fn a_repetition_is_the_same_command(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g"), 0).await;
    let Submitted::Duplicate(news) = bench.submit(to_group(1, "g"), 1).await else {
        panic!("not a duplicate")
    };
    assert_eq!(group_update(&news).counts.queued, 2);
    bench.accept(new(2), 0).await;
    let others = [
        to_group(1, "g/h"),
        new(1),
        to_group(2, "g"),
        NewCommand { submission: submission(None, Priority::High), ..to_group(1, "g") },
        NewCommand { actor: Actor { by: "op:other".into(), address: None }, ..to_group(1, "g") },
    ];
    for other in others {
        assert_eq!(bench.submit(other, 1).await, Submitted::Conflict);
    }
}

async fn own_and_groups_commands_come_in_one_order(bench: &Bench) {
    let with =
        |command: NewCommand, priority| NewCommand { submission: submission(None, priority), ..command };
    bench.accept_for_group(with(to_group(1, ""), Priority::Low), 0).await;
    bench.accept(with(new(2), Priority::Normal), 0).await;
    bench.accept_for_group(with(to_group(3, "g/h"), Priority::Normal), 0).await;
    bench.accept(with(new(4), Priority::High), 0).await;
    bench.accept_for_group(with(to_group(5, "g"), Priority::High), 0).await;
    let epoch = bench.claim(1).await;
    assert_eq!(bench.inbox(epoch, 1).await, [4, 5, 2, 3, 1].map(id));
    assert!(bench.inbox(epoch, 1).await.is_empty(), "all are on their way");
    assert_eq!(bench.pending().await, 5);
}

async fn it_is_acknowledged_and_done_by_each_agent(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g"), 0).await;
    let old = bench.claim(1).await;
    bench.inbox(old, 1).await;
    let claim = bench.store.claim(&agent("a"), Lane::Agent, "node", at(2)).await.unwrap();
    assert_eq!(told(&claim.changes), [(id(1), CommandState::Queued)]);
    assert_eq!(bench.acknowledge(1, claim.epoch, 2).await, Verdict::Stale, "it is not carried");
    assert_eq!(bench.inbox(claim.epoch, 2).await, [id(1)]);
    assert_eq!(bench.acknowledge(1, old, 2).await, Verdict::Stale);
    assert_eq!(bench.acknowledge(1, claim.epoch, 3).await, Verdict::Applied);
    assert_eq!(bench.acknowledge(1, claim.epoch, 3).await, Verdict::Applied, "said again");
    assert_eq!(bench.counts(1).await, Counts { queued: 1, acknowledged: 1, ..Counts::default() });
    assert!(bench.release(claim.epoch, 4).await.changes.is_empty());
    assert!(bench.inbox(bench.claim(5).await, 5).await.is_empty());
    let recorded = bench.receive(1, ReceiptState::Done, 6).await;
    assert_eq!(told(&recorded.changes), [(id(1), CommandState::Done)]);
    assert_eq!(recorded.changes[0].group, group("g/h"), "the agent's group");
    let (update, outcomes) = bench.of_group(1).await;
    assert_eq!(update.counts, Counts { queued: 1, done: 1, ..Counts::default() });
    let [outcome] = &outcomes[..] else { panic!("not one outcome: {outcomes:?}") };
    assert_eq!((&outcome.agent, outcome.state, outcome.at), (&agent("a"), CommandState::Done, at(6)));
    assert_eq!(bench.pending().await, 0);
}

async fn one_list_may_speak_of_several(bench: &Bench) {
    bench.accept_for_group(to_group_in_slot(1, "g", "s"), 0).await;
    bench.accept_for_group(to_group_in_slot(2, "g", "t"), 0).await;
    let mut said = Vec::new();
    for name in ["a", "b"] {
        let epoch = bench.claim_of(name, 1).await;
        assert_eq!(bench.inbox_of(name, epoch, 1).await, [id(1), id(2)]);
        let acknowledged = |number| Transition::Acknowledged { agent: agent(name), id: id(number), epoch };
        said.extend([acknowledged(1), acknowledged(2)]);
    }
    said.pop();
    // What was said before in the list counts already.
    said.push(cancel(2));
    let recorded = bench.store.record(said, at(2)).await.unwrap();
    assert!(recorded.iter().all(|recorded| recorded.verdict == Verdict::Applied));
    let last = group_update(&recorded[3].changes[0].news);
    assert_eq!(last.counts, Counts { acknowledged: 1, sent: 1, ..Counts::default() });
    assert_eq!(bench.counts(1).await, Counts { acknowledged: 2, ..Counts::default() });
    assert_eq!(bench.counts(2).await, last.counts);
}

async fn the_newest_of_a_slot_goes_out_and_ends_the_others_when_it_arrives(bench: &Bench) {
    let longer = |number, path, secs| NewCommand { expires: at(secs), ..to_group_in_slot(number, path, "s") };
    bench.accept_for_group(longer(1, "g", 9000), 0).await;
    assert!(bench.accept_for_group(longer(2, "g", 100), 0).await.is_empty(), "it may outlive the newer one");
    assert!(bench.accept_for_group(longer(3, "", 50), 0).await.is_empty(), "another node");
    let epoch = bench.claim(1).await;
    assert_eq!(bench.inbox(epoch, 1).await, [id(3)]);
    bench.accept_for_group(longer(4, "g/h", 10), 2).await;
    assert!(bench.inbox(epoch, 2).await.is_empty(), "one is on its way");
    bench.release(epoch, 3).await;
    let epoch = bench.claim(20).await;
    assert_eq!(bench.inbox(epoch, 20).await, [id(3)], "the newest has expired");
    let acknowledged = Transition::Acknowledged { agent: agent("a"), id: id(3), epoch };
    let recorded = bench.record(acknowledged, 21).await;
    let superseded = CommandState::Superseded;
    assert_eq!(
        told(&recorded.changes),
        [(id(3), CommandState::Acknowledged), (id(1), superseded), (id(2), superseded)]
    );
    assert_eq!(update(&recorded.changes[1].news).outcome.superseded_by, Some(id(3)));
    assert!(bench.inbox(epoch, 21).await.is_empty());
    assert_eq!(bench.counts(1).await, Counts { queued: 1, superseded: 1, ..Counts::default() });
    let other = bench.claim_of("b", 60).await;
    assert_eq!(bench.inbox_of("b", other, 60).await, [id(2)], "for another agent they wait on");
}

async fn own_commands_and_groups_share_slots(bench: &Bench) {
    bench.accept(in_slot(1, "s"), 0).await;
    let record = NewCommand { expires: at(9000), ..to_group_in_slot(2, "g", "s") };
    bench.accept_for_group(record, 0).await;
    assert_eq!(bench.state(1).await, CommandState::Queued, "nothing is inherited, nothing ends");
    let epoch = bench.claim(1).await;
    assert_eq!(bench.inbox(epoch, 1).await, [id(2)]);
    bench.accept(in_slot(3, "s"), 2).await;
    assert_eq!(bench.state(1).await, CommandState::Superseded);
    bench.acknowledge(2, epoch, 3).await;
    assert_eq!(bench.inbox(epoch, 3).await, [id(3)]);
    bench.accept_for_group(to_group_in_slot(4, "", "s"), 4).await;
    assert!(bench.inbox(epoch, 4).await.is_empty());
    bench.acknowledge(3, epoch, 5).await;
    assert_eq!(bench.inbox(epoch, 5).await, [id(4)], "a newer one stays");
    bench.release(epoch, 6).await;
    bench.accept(in_slot(5, "s"), 7).await;
    let epoch = bench.claim(8).await;
    assert_eq!(bench.inbox(epoch, 8).await, [id(5)]);
    bench.acknowledge(5, epoch, 9).await;
    assert_eq!(bench.of_group(4).await.1[0].superseded_by, Some(id(5)));
    assert!(bench.inbox(epoch, 9).await.is_empty());
}

async fn one_that_would_not_outlive_a_newer_one_ends_at_once(bench: &Bench) {
    bench.accept_for_group(to_group_in_slot(1, "g", "s"), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    let changes = bench.accept_for_group(to_group_in_slot(2, "g", "s"), 1).await;
    let update = group_update(&changes[0].news);
    assert_eq!((update.id, update.state), (id(1), CommandState::Superseded));
    assert_eq!(update.counts, Counts { sent: 1, superseded: 1, ..Counts::default() });
    assert!(bench.inbox(epoch, 1).await.is_empty(), "the older one is on its way to this agent");
    let other = bench.claim_of("b", 1).await;
    assert_eq!(bench.inbox_of("b", other, 1).await, [id(2)]);
    assert_eq!(bench.acknowledge(1, epoch, 2).await, Verdict::Applied);
    assert_eq!(bench.inbox(epoch, 2).await, [id(2)]);
    assert_eq!(bench.counts(1).await, Counts { acknowledged: 1, superseded: 1, ..Counts::default() });
}

async fn a_hundred_are_live_at_most(bench: &Bench) {
    let most = LIVE_RECORDS_MAX as u64;
    for number in 1..=most {
        bench.accept_for_group(to_group(number, "g"), 0).await;
    }
    assert_eq!(bench.submit(to_group(1000, "g"), 0).await, Submitted::Full);
    assert!(matches!(bench.submit(to_group(1, "g"), 0).await, Submitted::Duplicate(_)));
    bench.accept_for_group(to_group(1001, "g/h"), 0).await;
    bench.accept(new(1002), 0).await;
    bench.cancel(1, 1).await;
    bench.accept_for_group(to_group(1000, "g"), 1).await;
    let late = NewCommand { expires: at(9000), ..to_group(1003, "g") };
    assert_eq!(
        bench.accept_for_group(late, 3600).await.len(),
        LIVE_RECORDS_MAX,
        "what has expired makes room"
    );
}

async fn it_is_cancelled_as_a_whole(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g"), 0).await;
    let recorded = bench.cancel(1, 1).await;
    assert_eq!(recorded.verdict, Verdict::Applied);
    let update = group_update(&recorded.changes[0].news);
    assert_eq!(
        (update.state, update.counts),
        (CommandState::Cancelled, Counts { cancelled: 2, ..Counts::default() })
    );
    assert_eq!(bench.cancel(1, 2).await.verdict, Verdict::Late);
    assert!(bench.inbox(bench.claim(2).await, 2).await.is_empty());
    assert_eq!(bench.pending().await, 0);
}

async fn what_is_on_its_way_may_still_arrive(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g"), 0).await;
    let (one, other) = (bench.claim(0).await, bench.claim_of("b", 0).await);
    bench.inbox(one, 0).await;
    bench.inbox_of("b", other, 0).await;
    bench.cancel(1, 1).await;
    assert_eq!(bench.counts(1).await, Counts { sent: 2, ..Counts::default() });
    assert_eq!(bench.acknowledge(1, one, 2).await, Verdict::Applied);
    let release = Transition::Release { agent: agent("b"), epoch: other };
    assert_eq!(told(&bench.record(release, 3).await.changes), [(id(1), CommandState::Cancelled)]);
    assert_eq!(bench.counts(1).await, Counts { acknowledged: 1, cancelled: 1, ..Counts::default() });
    assert!(bench.inbox_of("b", bench.claim_of("b", 4).await, 4).await.is_empty());
}

async fn it_expires_as_a_whole_and_is_forgotten(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g"), 0).await;
    let epoch = bench.claim(1).await;
    bench.inbox(epoch, 1).await;
    bench.acknowledge(1, epoch, 2).await;
    assert!(bench.sweep(10, 3599).await.changes.is_empty());
    let swept = bench.sweep(10, 3600).await;
    let update = group_update(&swept.changes[0].news);
    assert_eq!(update.counts, Counts { acknowledged: 1, expired: 1, ..Counts::default() });
    bench.sweep(10, 3600 + 86_399).await;
    assert!(bench.is_known(1).await);
    // The outcome takes the first place, the command itself the second.
    assert_eq!(bench.sweep(1, 3600 + 86_400).await.verdict, Verdict::More);
    assert!(bench.is_known(1).await);
    while bench.sweep(1, 3600 + 86_400).await.verdict == Verdict::More {}
    assert!(!bench.is_known(1).await);
    assert_eq!(bench.receive(1, ReceiptState::Done, 90_001).await.verdict, Verdict::Unknown);
    bench.accept_for_group(NewCommand { expires: at(99_999), ..to_group(1, "g") }, 90_001).await;
    assert_eq!(
        bench.counts(1).await,
        Counts { queued: 2, ..Counts::default() },
        "nothing is left of the former"
    );
}

async fn a_live_one_is_for_those_who_are_there(bench: &Bench) {
    bench.admin(create("c", "elsewhere", 9), 0).await;
    let (old, foreign) = (bench.claim_of("b", 0).await, bench.claim_of("c", 0).await);
    let (one, _) = (bench.claim(0).await, bench.claim_of("b", 0).await);
    let listed = vec![(agent("a"), one), (agent("b"), old), (agent("c"), foreign), (agent("x"), one)];
    let live = NewCommand { delivery: Delivery::Live(listed), expires: at(0), ..to_group(1, "g") };
    let Submitted::Accepted { news, .. } = bench.submit(live, 0).await else { panic!("not accepted") };
    let update = group_update(&news);
    assert_eq!(
        (update.state, update.counts),
        (CommandState::Expired, Counts { sent: 1, expired: 1, ..Counts::default() })
    );
    assert!(bench.inbox(one, 0).await.is_empty(), "it is in no inbox");
    assert!(bench.sweep(10, 1).await.changes.is_empty());
    assert_eq!(bench.acknowledge(1, one, 1).await, Verdict::Applied);
    assert_eq!(bench.counts(1).await, Counts { acknowledged: 1, expired: 1, ..Counts::default() });
    let again = NewCommand { delivery: live_for(&[("a", one)]), expires: at(2), ..to_group(2, "g") };
    bench.accept_for_group(again, 2).await;
    assert_eq!(told(&bench.release(one, 3).await.changes), [(id(2), CommandState::Expired)]);
    assert_eq!(bench.counts(2).await, Counts { expired: 2, ..Counts::default() });
}

fn live_for(agents: &[(&str, crate::store::Epoch)]) -> Delivery {
    Delivery::Live(agents.iter().map(|&(name, epoch)| (agent(name), epoch)).collect())
}

async fn what_the_broker_cannot_send_fails(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g"), 0).await;
    let epoch = bench.claim(0).await;
    let failed = || Transition::Failed { agent: agent("a"), id: id(1), epoch, detail: "too large".into() };
    assert_eq!(bench.record(failed(), 0).await.verdict, Verdict::Stale, "it is not carried");
    bench.inbox(epoch, 0).await;
    assert_eq!(told(&bench.record(failed(), 1).await.changes), [(id(1), CommandState::Failed)]);
    assert_eq!(bench.of_group(1).await.1[0].detail.as_deref(), Some("too large"));
    assert_eq!(bench.record(failed(), 1).await.verdict, Verdict::Late);
}

async fn receipts_are_taken_from_those_it_was_meant_for(bench: &Bench) {
    bench.accept_for_group(to_group_in_slot(1, "g", "s"), 0).await;
    bench.accept(in_slot(2, "t"), 0).await;
    bench.admin(create("c", "g", 9), 1).await;
    let by = |name: &str| Transition::Receipt { agent: agent(name), receipt: receipt(1, ReceiptState::Done) };
    assert_eq!(bench.record(by("c"), 1).await.verdict, Verdict::Unknown);
    assert_eq!(bench.record(by("x"), 1).await.verdict, Verdict::Unknown);
    assert_eq!(bench.receive(1, ReceiptState::Progress, 1).await.verdict, Verdict::Applied);
    assert_eq!(bench.counts(1).await.queued, 2);
    assert_eq!(
        bench.receive(1, ReceiptState::Done, 2).await.verdict,
        Verdict::Applied,
        "it implies the acknowledgement"
    );
    assert!(bench.receive(1, ReceiptState::Done, 3).await.changes.is_empty());
    assert_eq!(bench.receive(1, ReceiptState::Failed, 4).await.verdict, Verdict::Late);
    assert_eq!(bench.counts(1).await, Counts { queued: 1, done: 1, ..Counts::default() });
}

async fn a_result_after_the_end_is_late(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g"), 0).await;
    bench.cancel(1, 1).await;
    let recorded = bench.receive(1, ReceiptState::Done, 2).await;
    assert_eq!(recorded.verdict, Verdict::Late);
    assert_eq!(update(&recorded.changes[0].news).outcome.late, Some(receipt(1, ReceiptState::Done)));
    assert!(bench.receive(1, ReceiptState::Done, 3).await.changes.is_empty());
    assert_eq!(bench.counts(1).await, Counts { cancelled: 2, ..Counts::default() });
    let of_b = || Transition::Receipt { agent: agent("b"), receipt: receipt(1, ReceiptState::Done) };
    assert_eq!(bench.record(of_b(), 1 + 86_400).await.verdict, Verdict::Unknown, "it is over for a day");
}

async fn outcomes_come_by_pages(bench: &Bench) {
    for (number, name) in (20..).zip(["C", "d", "e"]) {
        bench.admin(create(name, "g", number), 0).await;
    }
    bench.accept_for_group(to_group(1, "g"), 0).await;
    for name in ["a", "C", "e"] {
        let receipt = receipt(1, ReceiptState::Done);
        bench.record(Transition::Receipt { agent: agent(name), receipt }, 1).await;
    }
    let page = async |after: Option<AgentId>, max| {
        let row = bench.store.command(id(1), Outcomes { after, max }).await.unwrap().unwrap();
        assert_eq!((row.target, row.group), (Target::Group(group("g")), group("g")));
        let Status::Group { update, outcomes, next } = row.status else { panic!("not for a group") };
        assert_eq!(update.counts, Counts { queued: 2, done: 3, ..Counts::default() });
        (outcomes.iter().map(|outcome| outcome.agent.to_string()).collect::<Vec<_>>(), next)
    };
    assert_eq!(page(None, 0).await, (Vec::new(), None));
    assert_eq!(page(None, 2).await, (vec!["a".into(), "C".into()], Some(agent("c"))));
    assert_eq!(page(Some(agent("c")), 2).await, (vec!["e".into()], None));
    assert_eq!(page(None, 3).await.1, None);
}

async fn who_is_waited_for(bench: &Bench) {
    for (number, (name, path)) in (20..).zip([("c", "g"), ("d", "g/h"), ("e", "other")]) {
        bench.admin(create(name, path, number), 0).await;
    }
    bench.accept_for_group(to_group(1, "g"), 0).await;
    bench.admin(create("f", "g/h", 30), 1).await;
    bench.receive(1, ReceiptState::Done, 1).await;
    let epoch = bench.claim_of("b", 1).await;
    bench.inbox_of("b", epoch, 1).await;
    let page = async |after: Option<(&str, &str)>, max| {
        let after = after.map(|(path, name)| (group(path), agent(name)));
        let found = bench.store.read(Query::Waiting { id: id(1), after, max }).await.unwrap();
        let Rows::Waiting { agents, next } = found else { panic!("not what was asked: {found:?}") };
        (agents.iter().map(|(_, agent)| agent.to_string()).collect::<Vec<_>>(), next)
    };
    assert_eq!(page(None, 2).await, (vec!["c".into(), "b".into()], Some((group("g/h"), agent("b")))));
    assert_eq!(page(Some(("g/h", "b")), 2).await, (vec!["d".into()], None));
    bench.cancel(1, 2).await;
    assert_eq!(page(None, 9).await, (Vec::new(), None), "it waits for nobody");
}

async fn a_refusal_is_seen_by_its_publisher(bench: &Bench) {
    let refused = |number, path, scope| NewCommand {
        delivery: Delivery::Refused("no such kind".into()),
        scope: group(scope),
        ..to_group(number, path)
    };
    bench.accept_for_group(refused(1, "nowhere", "g/h"), 0).await;
    let row = bench.row(1).await.unwrap();
    assert_eq!((row.target, row.group), (Target::Group(group("nowhere")), group("g/h")));
    let Status::Group { update, .. } = row.status else { panic!("not for a group") };
    assert_eq!((update.state, update.counts), (CommandState::Refused, Counts::default()));
    assert_eq!(update.detail.as_deref(), Some("no such kind"));
    bench.accept_for_group(refused(2, "g", ""), 0).await;
    assert!(bench.inbox(bench.claim(1).await, 1).await.is_empty());
    assert_eq!(bench.receive(2, ReceiptState::Done, 1).await.verdict, Verdict::Unknown);
    let revoke = AdminOp::RevokeAgent { agent: agent("a"), scope: GroupPath::root() };
    bench.admin(revoke, 2).await;
    assert_eq!(bench.counts(2).await, Counts::default());
}
