//! Operators, enrolment tokens, and the audit trail.

use serde_json::{Value, json};
use wakemq_protocol::http::AuditEntry;
use wakemq_protocol::{Facts, GroupPath, Role};

use super::fixture::*;
use crate::store::{
    Actor, Admin, AdminOp, AdminOutcome, Durability, OperatorRow, Principal, Query, Rows, TokenRow, Verdict,
};

super::for_each_backend!(
    an_operators_rights_change,
    somebody_administers_the_root,
    operators_are_listed_by_pages,
    tokens_are_listed_and_revoked,
    who_used_a_token_may_ask_again,
    everything_leaves_a_line,
    what_changed_nothing_leaves_no_line,
    the_audit_trail_is_read_by_pages,
    the_audit_trail_is_kept_for_a_while,
);

fn operator(name: &str, role: Role, path: &str, number: u8) -> AdminOp {
    AdminOp::CreateOperator { name: name.parse().unwrap(), secret: secret(number), role, group: group(path) }
}

fn change(name: &str, role: Option<Role>, path: Option<&str>, scope: &str) -> AdminOp {
    let (name, group_) = (name.parse().unwrap(), path.map(group));
    AdminOp::ChangeOperator { name, role, group: group_, scope: group(scope) }
}

fn revoke(name: &str, scope: &str) -> AdminOp {
    AdminOp::RevokeOperator { name: name.parse().unwrap(), scope: group(scope) }
}

fn token(number: u8, path: &str, secs: i64) -> AdminOp {
    let by = "op:test".to_owned();
    AdminOp::CreateToken { token: secret(number), group: group(path), uses: 2, expires: at(secs), by }
}

fn enrol(number: u8, name: &str, own: u8) -> AdminOp {
    AdminOp::Enrol { token: secret(number), agent: agent(name), secret: secret(own), facts: Facts::default() }
}

async fn audited(bench: &Bench, op: AdminOp, secs: i64) -> AdminOutcome {
    let address = Some("192.0.2.1:7".parse().unwrap());
    let actor = Some(Actor { by: "op:erika".into(), address });
    bench.store.write(vec![Admin { op, actor }], Durability::Flushed, at(secs)).await.unwrap().remove(0)
}

async fn trail(bench: &Bench, query: Query) -> (Vec<AuditEntry>, Option<u64>) {
    let found = bench.store.read(query).await.unwrap();
    let Rows::Audit { entries, next } = found else { panic!("not what was asked: {found:?}") };
    (entries, next)
}

fn all() -> Query {
    Query::Audit { since: None, after: None, scope: GroupPath::root(), max: 1000 }
}

async fn operators(bench: &Bench, after: Option<&str>, scope: &str, max: usize) -> Vec<OperatorRow> {
    let query = Query::Operators { after: after.map(|name| name.parse().unwrap()), scope: group(scope), max };
    let found = bench.store.read(query).await.unwrap();
    let Rows::Operators(rows) = found else { panic!("not what was asked: {found:?}") };
    rows
}

async fn tokens(bench: &Bench, after: Option<&str>, scope: &str, max: usize) -> Vec<TokenRow> {
    let query = Query::Tokens { after: after.map(str::to_owned), scope: group(scope), max };
    let found = bench.store.read(query).await.unwrap();
    let Rows::Tokens(rows) = found else { panic!("not what was asked: {found:?}") };
    rows
}

async fn an_operators_rights_change(bench: &Bench) {
    bench.admin(operator("o", Role::Viewer, "g", 9), 0).await;
    assert_eq!(bench.admin(change("o", Some(Role::Admin), None, "x"), 1).await, AdminOutcome::Unknown);
    assert_eq!(bench.admin(change("p", Some(Role::Admin), None, ""), 1).await, AdminOutcome::Unknown);
    let changed = AdminOutcome::Changed { role: Role::Operator, group: group("g") };
    assert_eq!(bench.admin(change("o", Some(Role::Operator), None, "g"), 1).await, changed);
    let changed = AdminOutcome::Changed { role: Role::Operator, group: group("g/new") };
    assert_eq!(bench.admin(change("o", None, Some("g/new"), "g"), 2).await, changed);
    let (name, scope) = ("o".parse().unwrap(), group("g/new"));
    let principal = Principal::Operator { name, role: Role::Operator, scope };
    assert_eq!(bench.store.authenticate(&secret(9)).await.unwrap(), Some(principal));
    assert_eq!(bench.admin(revoke("o", "x"), 3).await, AdminOutcome::Unknown);
    assert_eq!(bench.admin(revoke("o", "g"), 3).await, AdminOutcome::Done);
    assert_eq!(bench.store.authenticate(&secret(9)).await.unwrap(), None);
    assert_eq!(bench.admin(operator("o", Role::Viewer, "g", 9), 4).await, AdminOutcome::Done);
}

async fn somebody_administers_the_root(bench: &Bench) {
    bench.admin(operator("o", Role::Admin, "", 9), 0).await;
    bench.admin(operator("p", Role::Admin, "g", 10), 0).await;
    bench.admin(operator("q", Role::Operator, "", 11), 0).await;
    for op in [change("o", Some(Role::Operator), None, ""), change("o", None, Some("g"), ""), revoke("o", "")]
    {
        assert_eq!(bench.admin(op, 1).await, AdminOutcome::LastAdmin);
    }
    assert_eq!(bench.admin(revoke("p", ""), 1).await, AdminOutcome::Done);
    bench.admin(change("q", Some(Role::Admin), None, ""), 2).await;
    assert_eq!(bench.admin(revoke("o", ""), 3).await, AdminOutcome::Done);
    assert_eq!(bench.admin(revoke("q", ""), 3).await, AdminOutcome::LastAdmin);
}

async fn operators_are_listed_by_pages(bench: &Bench) {
    for (number, (name, path)) in (20..).zip([("d", "g/h"), ("b", ""), ("a", "g"), ("c", "g-h")]) {
        bench.admin(operator(name, Role::Viewer, path, number), 5).await;
    }
    let names = |rows: Vec<OperatorRow>| rows.iter().map(|row| row.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(operators(bench, None, "", 3).await), ["a", "b", "c"]);
    assert_eq!(names(operators(bench, Some("c"), "", 3).await), ["d"]);
    let rows = operators(bench, None, "g", 9).await;
    assert_eq!((rows[0].role, &rows[0].group, rows[0].created), (Role::Viewer, &group("g"), at(5)));
    assert_eq!(names(rows), ["a", "d"]);
}

async fn tokens_are_listed_and_revoked(bench: &Bench) {
    for (number, path) in [(11, "g/h"), (9, "g"), (10, "x")] {
        assert_eq!(bench.admin(token(number, path, 100), 0).await, AdminOutcome::Done);
    }
    bench.admin(enrol(9, "n", 30), 1).await;
    let rows = tokens(bench, None, "g", 9).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].id, "0909090909090909");
    assert_eq!((rows[0].uses, rows[0].uses_left, rows[0].expires), (2, 1, at(100)));
    let ids = |rows: Vec<TokenRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(tokens(bench, Some("0909090909090909"), "", 1).await), ["0a0a0a0a0a0a0a0a"]);
    assert!(tokens(bench, Some("no id"), "", 9).await.is_empty());
    let revoke = |id: &str, scope| AdminOp::RevokeToken { id: id.to_owned(), scope: group(scope) };
    assert_eq!(bench.admin(revoke("0a0a0a0a0a0a0a0a", "g"), 2).await, AdminOutcome::Unknown);
    assert_eq!(bench.admin(revoke("+a0a0a0a0a0a0a0a", ""), 2).await, AdminOutcome::Unknown);
    assert_eq!(bench.admin(revoke("0a0a0a0a0a0a0a0a", ""), 2).await, AdminOutcome::Done);
    assert_eq!(bench.admin(revoke("0a0a0a0a0a0a0a0a", ""), 2).await, AdminOutcome::Unknown);
    assert_eq!(bench.admin(enrol(10, "m", 31), 3).await, AdminOutcome::Unknown);
}

async fn who_used_a_token_may_ask_again(bench: &Bench) {
    bench.admin(token(9, "t", 100), 0).await;
    let enrolled = AdminOutcome::Enrolled { agent: agent("n"), group: group("t") };
    assert_eq!(bench.admin(enrol(9, "n", 30), 1).await, enrolled);
    bench.admin(enrol(9, "m", 31), 1).await;
    let id = "0909090909090909".to_owned();
    bench.admin(AdminOp::RevokeToken { id, scope: GroupPath::root() }, 2).await;
    assert_eq!(bench.admin(enrol(9, "n", 30), 3).await, enrolled, "the token is gone");
    bench.sweep(9, 100 + 86_399).await;
    assert_eq!(bench.admin(enrol(9, "n", 30), 100 + 86_399).await, enrolled);
    assert_eq!(bench.sweep(1, 100 + 86_400).await.verdict, Verdict::More);
    while bench.sweep(1, 100 + 86_400).await.verdict == Verdict::More {}
    assert_eq!(bench.admin(enrol(9, "n", 30), 100 + 86_400).await, AdminOutcome::Unknown);
    bench.admin(token(10, "t", 100), 0).await;
    bench.sweep(9, 100 + 86_400).await;
    assert!(tokens(bench, None, "", 9).await.is_empty(), "an expired token is forgotten");
}

/// What is done; the action, target and group of its line; how it was before and is after.
type Deed<'a> = (AdminOp, &'a str, &'a str, &'a str, Option<Value>, Option<Value>);

async fn everything_leaves_a_line(bench: &Bench) {
    let id = "1414141414141414";
    let by_group = |path: &str| Some(json!({ "group": path }));
    let rights = |role: &str, path: &str| Some(json!({ "role": role, "group": path }));
    let note = AdminOp::Note {
        action: "agent.import",
        target: "2 agents".into(),
        group: group("g"),
        after: json!({ "created": 2 }),
    };
    let deeds: Vec<Deed<'_>> = vec![
        (create("c", "g", 10), "agent.create", "c", "g", None, by_group("g")),
        (move_to("c", "h/i"), "agent.move", "c", "g", by_group("g"), by_group("h/i")),
        (
            AdminOp::RevokeAgent { agent: agent("c"), scope: GroupPath::root() },
            "agent.revoke",
            "c",
            "h/i",
            by_group("h/i"),
            None,
        ),
        (AdminOp::CreateGroup { group: group("n") }, "group.create", "n", "n", None, by_group("n")),
        (
            AdminOp::RenameGroup { group: group("n"), to: group("m") },
            "group.rename",
            "n",
            "n",
            by_group("n"),
            by_group("m"),
        ),
        (AdminOp::RemoveGroup { group: group("m") }, "group.remove", "m", "m", by_group("m"), None),
        (operator("o", Role::Viewer, "g", 11), "operator.create", "o", "g", None, rights("viewer", "g")),
        (
            change("o", Some(Role::Admin), Some("h"), ""),
            "operator.change",
            "o",
            "g",
            rights("viewer", "g"),
            rights("admin", "h"),
        ),
        (revoke("o", ""), "operator.revoke", "o", "h", rights("admin", "h"), None),
        (
            token(20, "g", 100),
            "token.create",
            id,
            "g",
            None,
            Some(json!({ "group": "g", "uses": 2, "uses_left": 2, "expires": at(100) })),
        ),
        (enrol(20, "e", 21), "agent.enrol", "e", "g", None, Some(json!({ "group": "g", "token": id }))),
        (
            AdminOp::RevokeToken { id: id.into(), scope: GroupPath::root() },
            "token.revoke",
            id,
            "g",
            Some(json!({ "group": "g", "uses": 2, "uses_left": 1, "expires": at(100) })),
            None,
        ),
        (note, "agent.import", "2 agents", "g", None, Some(json!({ "created": 2 }))),
    ];
    for (seq, (op, action, target, path, before, after)) in (1..).zip(deeds) {
        audited(bench, op, 7).await;
        let (entries, _) = trail(bench, all()).await;
        let expected = AuditEntry {
            seq,
            at: at(7),
            by: "op:erika".into(),
            address: Some("192.0.2.1:7".into()),
            action: action.into(),
            target: target.into(),
            group: group(path),
            before,
            after,
        };
        assert_eq!(entries.last(), Some(&expected));
    }
    bench.accept_for_group(to_group(1, "g/h"), 8).await;
    bench.cancel(1, 9).await;
    bench.accept(new(2), 9).await;
    bench.cancel(2, 10).await;
    let (entries, _) = trail(bench, all()).await;
    let [.., accepted, of_group, of_agent] = &entries[..] else { panic!("too few lines") };
    assert_eq!((&*accepted.action, &*accepted.target, &*accepted.by), ("command.group", "g/h", "op:test"));
    assert_eq!(accepted.after, Some(json!({ "id": super::fixture::id(1), "kind": "wake", "total": 2 })));
    assert_eq!((&*of_group.action, &of_group.group), ("command.cancel", &group("g/h")));
    assert_eq!((&*of_agent.action, &of_agent.group), ("command.cancel", &group("g/h")));
}

async fn what_changed_nothing_leaves_no_line(bench: &Bench) {
    bench.admin(token(20, "g", 100), 0).await;
    bench.admin(operator("o", Role::Viewer, "g", 9), 0).await;
    bench.admin(enrol(20, "e", 21), 0).await;
    let ops = vec![
        create("a", "g", 10),
        move_to("a", "g/h"),
        move_to("x", "g/h"),
        enrol(20, "e", 21),
        AdminOp::RemoveGroup { group: group("g") },
        change("o", None, None, ""),
        AdminOp::Seen { agent: agent("a"), facts: None, source: None },
    ];
    for op in ops {
        audited(bench, op, 1).await;
    }
    bench.cancel(7, 1).await;
    assert_eq!(trail(bench, all()).await, (Vec::new(), None));
}

async fn the_audit_trail_is_read_by_pages(bench: &Bench) {
    for number in 0..10 {
        let path = if number % 2 == 0 { "x" } else { "y" };
        audited(bench, create(&format!("n{number}"), path, 20 + number), i64::from(number)).await;
    }
    let page = async |since: Option<i64>, after, scope: &str, max| {
        let query = Query::Audit { since: since.map(at), after, scope: group(scope), max };
        let (entries, next) = trail(bench, query).await;
        (entries.into_iter().map(|entry| entry.seq).collect::<Vec<_>>(), next)
    };
    assert_eq!(page(None, None, "", 4).await, (vec![1, 2, 3, 4], Some(4)));
    assert_eq!(page(None, Some(4), "", 100).await, (vec![5, 6, 7, 8, 9, 10], None));
    assert_eq!(page(None, Some(4), "x", 2).await.0, [5, 7]);
    assert_eq!(page(Some(7), None, "", 100).await.0, [8, 9, 10]);
    assert_eq!(page(Some(7), Some(9), "", 100).await.0, [10]);
    assert_eq!(page(Some(99), None, "", 100).await, (Vec::new(), None));
}

async fn the_audit_trail_is_kept_for_a_while(bench: &Bench) {
    const DAYS_400: i64 = 400 * 86_400;
    for number in 0..4 {
        audited(bench, create(&format!("n{number}"), "x", 20 + number), i64::from(number)).await;
    }
    bench.sweep(10, DAYS_400 - 1).await;
    assert_eq!(trail(bench, all()).await.0.len(), 4);
    assert_eq!(bench.sweep(1, DAYS_400 + 1).await.verdict, Verdict::More);
    while bench.sweep(1, DAYS_400 + 1).await.verdict == Verdict::More {}
    let (entries, _) = trail(bench, all()).await;
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [3, 4]);
    audited(bench, create("later", "x", 40), DAYS_400 + 2).await;
    assert_eq!(trail(bench, all()).await.0[2].seq, 5, "numbers go on");
}
