//! Agents, tokens, operators.

use wakemq_protocol::{AgentId, CommandState, Facts, GroupPath, Timestamp};

use super::fixture::*;
use crate::store::{
    AdminOp, AdminOutcome, AgentRow, Durability, NewCommand, Principal, Query, Role, Rows, Submitted,
};

super::for_each_backend!(
    names_and_secrets_are_taken_once,
    a_secret_finds_its_owner,
    enrolment_gives_an_agent,
    the_same_use_of_a_token_gives_the_same_agent,
    of_two_that_race_for_the_last_use_one_wins,
    an_enrolment_that_fails_uses_nothing,
    revoking_ends_everything,
    an_agent_is_inside_since_its_creation,
    when_an_agent_was_seen,
    agents_are_listed_by_pages,
    the_store_tells_its_health,
);

fn token(number: u8, uses: u32, expires: Timestamp) -> AdminOp {
    AdminOp::CreateToken { token: secret(number), group: group("t"), uses, expires, by: "op:test".into() }
}

fn enrol(number: u8, name: &str, own: u8) -> AdminOp {
    AdminOp::Enrol { token: secret(number), agent: agent(name), secret: secret(own), facts: Facts::default() }
}

fn enrolled(name: &str) -> AdminOutcome {
    AdminOutcome::Enrolled { agent: agent(name), group: group("t") }
}

async fn rows(bench: &Bench, query: Query) -> Vec<AgentRow> {
    let found = bench.store.read(query).await.unwrap();
    let Rows::Agents(rows) = found else { panic!("not what was asked: {found:?}") };
    rows
}

async fn row(bench: &Bench, name: &str) -> AgentRow {
    rows(bench, Query::Agent(agent(name))).await.remove(0)
}

async fn names_and_secrets_are_taken_once(bench: &Bench) {
    assert_eq!(bench.admin(create("A", "", 9), 0).await, AdminOutcome::Exists);
    assert_eq!(bench.admin(create("c", "", 1), 0).await, AdminOutcome::Exists);
    let operator = |name: &str, number| AdminOp::CreateOperator {
        name: name.parse().unwrap(),
        secret: secret(number),
        role: Role::Admin,
        group: GroupPath::root(),
    };
    assert_eq!(bench.admin(operator("o", 10), 0).await, AdminOutcome::Done);
    assert_eq!(bench.admin(operator("o", 11), 0).await, AdminOutcome::Exists);
    assert_eq!(bench.admin(operator("p", 10), 0).await, AdminOutcome::Exists);
    assert_eq!(bench.admin(operator("p", 1), 0).await, AdminOutcome::Exists);
    assert_eq!(bench.admin(token(12, 1, at(9)), 0).await, AdminOutcome::Done);
    assert_eq!(bench.admin(token(12, 1, at(9)), 0).await, AdminOutcome::Exists);
}

async fn a_secret_finds_its_owner(bench: &Bench) {
    bench.admin(create("MiXed", "", 9), 0).await;
    let Some(Principal::Agent { agent: found, .. }) = bench.store.authenticate(&secret(9)).await.unwrap()
    else {
        panic!("no agent")
    };
    assert_eq!(found.as_str(), "MiXed", "in its own spelling");
    let (name, role, scope) = ("o".parse().unwrap(), Role::Viewer, group("g"));
    let operator = Principal::Operator { name, role, scope };
    let Principal::Operator { name, role, scope } = operator.clone() else { panic!("no operator") };
    bench.admin(AdminOp::CreateOperator { name, secret: secret(10), role, group: scope }, 0).await;
    assert_eq!(bench.store.authenticate(&secret(10)).await.unwrap(), Some(operator));
    bench.admin(token(11, 1, at(9)), 0).await;
    assert_eq!(bench.store.authenticate(&secret(11)).await.unwrap(), None, "a token is nobody");
}

async fn enrolment_gives_an_agent(bench: &Bench) {
    bench.admin(token(9, 1, at(100)), 0).await;
    assert_eq!(bench.admin(enrol(9, "New", 10), 1).await, enrolled("new"));
    assert_eq!(
        bench.store.authenticate(&secret(10)).await.unwrap(),
        Some(Principal::Agent { agent: agent("new"), group: group("t") })
    );
    let row = row(bench, "new").await;
    assert_eq!((row.agent.as_str(), row.group, row.created), ("New", group("t"), at(1)));
    assert_eq!(row.facts, Some(Facts::default()));
    assert_eq!(bench.admin(enrol(8, "other", 11), 1).await, AdminOutcome::Unknown);
}

async fn the_same_use_of_a_token_gives_the_same_agent(bench: &Bench) {
    bench.admin(token(9, 1, at(100)), 0).await;
    bench.admin(enrol(9, "new", 10), 1).await;
    // An engine that makes the id makes another one when it is asked again.
    assert_eq!(bench.admin(enrol(9, "made-up", 10), 2).await, enrolled("new"));
    assert_eq!(bench.admin(enrol(9, "new", 10), 100).await, enrolled("new"), "expired meanwhile");
    assert_eq!(bench.admin(enrol(9, "newer", 11), 2).await, AdminOutcome::UsedUp);
    assert_eq!(bench.admin(enrol(9, "newer", 11), 100).await, AdminOutcome::Expired);
    bench.admin(AdminOp::RevokeAgent { agent: agent("new"), scope: GroupPath::root() }, 3).await;
    assert_eq!(bench.admin(enrol(9, "new", 10), 4).await, AdminOutcome::Unknown, "it was revoked");
}

async fn of_two_that_race_for_the_last_use_one_wins(bench: &Bench) {
    bench.admin(token(9, 1, at(100)), 0).await;
    let one = bench.store.write(vec![quietly(enrol(9, "one", 10))], Durability::Flushed, at(1));
    let two = bench.store.write(vec![quietly(enrol(9, "two", 11))], Durability::Flushed, at(1));
    let (one, two) = tokio::join!(one, two);
    let mut outcomes = [one.unwrap().remove(0), two.unwrap().remove(0)];
    outcomes.sort_by_key(|outcome| *outcome == AdminOutcome::UsedUp);
    assert!(matches!(outcomes, [AdminOutcome::Enrolled { .. }, AdminOutcome::UsedUp]), "{outcomes:?}");
}

async fn an_enrolment_that_fails_uses_nothing(bench: &Bench) {
    bench.admin(token(9, 1, at(100)), 0).await;
    assert_eq!(bench.admin(enrol(9, "A", 10), 1).await, AdminOutcome::Exists);
    assert_eq!(bench.admin(enrol(9, "new", 10), 1).await, enrolled("new"));
}

async fn revoking_ends_everything(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    bench.accept(new(2), 0).await;
    bench.accept(NewCommand { delivery: live(epoch), ..new(3) }, 0).await;
    let foreign = AdminOp::RevokeAgent { agent: agent("a"), scope: group("x") };
    assert_eq!(bench.admin(foreign, 1).await, AdminOutcome::Unknown);
    let op = AdminOp::RevokeAgent { agent: agent("A"), scope: group("g") };
    let AdminOutcome::Revoked { changes } = bench.admin(op.clone(), 1).await else { panic!("not revoked") };
    assert_eq!(told(&changes), [1, 2, 3].map(|number| (id(number), CommandState::Cancelled)));
    assert_eq!(bench.store.authenticate(&secret(1)).await.unwrap(), None);
    assert!(bench.store.inbox(&agent("a"), epoch, 16, at(1)).await.unwrap().stale);
    assert_eq!(bench.admin(op, 1).await, AdminOutcome::Unknown);
    assert_eq!(bench.submit(new(4), 1).await, Submitted::Unknown);
    assert_eq!(bench.state(1).await, CommandState::Cancelled);
    assert_eq!(
        bench.admin(create("a", "", 1), 2).await,
        AdminOutcome::Done,
        "the id and the secret are free"
    );
    assert_eq!(bench.pending().await, 0);
}

async fn an_agent_is_inside_since_its_creation(bench: &Bench) {
    assert_eq!(row(bench, "a").await.inside_since, [0, 0, 0]);
    bench.accept(new(1), 0).await;
    bench.accept(new(2), 0).await;
    bench.admin(create("c", "", 9), 0).await;
    bench.admin(create("d", "x", 10), 0).await;
    assert_eq!(row(bench, "c").await.inside_since, [2]);
    assert_eq!(row(bench, "d").await.inside_since, [2, 2]);
}

async fn when_an_agent_was_seen(bench: &Bench) {
    let facts = Facts { instance: "i".into(), ..Facts::default() };
    let source = std::net::IpAddr::from([192, 0, 2, 1]);
    bench
        .admin(AdminOp::Seen { agent: agent("a"), facts: Some(facts.clone()), source: Some(source) }, 5)
        .await;
    bench.admin(AdminOp::Seen { agent: agent("a"), facts: None, source: None }, 7).await;
    let seen = row(bench, "a").await;
    assert_eq!((seen.last_seen, seen.facts, seen.source), (Some(at(7)), Some(facts), Some(source)));
    let lazily = [agent("a"), agent("x")]
        .map(|agent| quietly(AdminOp::Seen { agent, facts: None, source: None }))
        .to_vec();
    let outcomes = bench.store.write(lazily, Durability::Lazy, at(9)).await.unwrap();
    assert_eq!(outcomes, [AdminOutcome::Done, AdminOutcome::Unknown]);
    // The next flush takes it along.
    bench.accept(new(1), 10).await;
    assert_eq!(row(bench, "a").await.last_seen, Some(at(9)));
}

async fn agents_are_listed_by_pages(bench: &Bench) {
    for (number, name) in (20..).zip(["C", "d", "a1", "e"]) {
        bench.admin(create(name, if name == "d" { "other" } else { "g" }, number), 0).await;
    }
    let page = async |after: Option<(GroupPath, AgentId)>| {
        let query = Query::Agents { after, scope: group("g"), max: 2 };
        rows(bench, query).await.into_iter().map(|row| row.agent.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, ["a1", "C"]);
    assert_eq!(page(Some((group("g"), agent("c")))).await, ["e", "a"]);
    assert_eq!(page(Some((group("g/h"), agent("A")))).await, ["b"]);
    assert!(rows(bench, Query::Agent(agent("x"))).await.is_empty());
}

async fn the_store_tells_its_health(bench: &Bench) {
    assert_eq!(bench.store.read(Query::Health).await.unwrap(), Rows::Healthy);
}
