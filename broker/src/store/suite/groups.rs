//! The hierarchy of groups.

use wakemq_protocol::{GroupPath, Role};

use super::fixture::*;
use crate::store::{AdminOp, AdminOutcome, Query, Rows};

super::for_each_backend!(
    agents_are_counted_in_every_level,
    groups_come_with_what_is_in_them,
    groups_are_listed_by_pages,
    what_is_in_use_is_neither_removed_nor_renamed,
    a_group_is_removed_with_what_lies_below,
    a_renamed_group_takes_along_what_lies_below,
);

fn pairs(groups: &[(&str, u64)]) -> Vec<(String, u64)> {
    groups.iter().map(|&(group, agents)| (group.to_owned(), agents)).collect()
}

fn remove(path: &str) -> AdminOp {
    AdminOp::RemoveGroup { group: group(path) }
}

fn rename(path: &str, to: &str) -> AdminOp {
    AdminOp::RenameGroup { group: group(path), to: group(to) }
}

fn in_use(outcome: AdminOutcome, what: &str) {
    let AdminOutcome::InUse(why) = outcome else { panic!("not in use: {outcome:?}") };
    assert!(why.contains(what), "{why}");
}

async fn agents_are_counted_in_every_level(bench: &Bench) {
    bench.admin(create("c", "g-h/x", 9), 0).await;
    let expected = [("", 3), ("g", 2), ("g/h", 2), ("g-h", 1), ("g-h/x", 1)];
    assert_eq!(bench.groups("").await, pairs(&expected));
    bench.admin(move_to("a", "g/i"), 1).await;
    assert_eq!(bench.groups("g").await, pairs(&[("g", 2), ("g/h", 1), ("g/i", 1)]));
    bench.admin(move_to("a", ""), 2).await;
    assert_eq!(bench.groups("g").await, pairs(&[("g", 1), ("g/h", 1), ("g/i", 0)]));
    let revoke = AdminOp::RevokeAgent { agent: agent("b"), scope: GroupPath::root() };
    bench.admin(revoke, 3).await;
    let expected = [("", 2), ("g", 0), ("g/h", 0), ("g/i", 0), ("g-h", 1), ("g-h/x", 1)];
    assert_eq!(bench.groups("").await, pairs(&expected));
    assert_eq!(bench.admin(create("c", "g", 10), 4).await, AdminOutcome::Exists);
    assert_eq!(bench.groups("g").await[0].1, 0, "what was not created is not counted");
}

async fn groups_come_with_what_is_in_them(bench: &Bench) {
    assert_eq!(bench.admin(AdminOp::CreateGroup { group: group("x/y") }, 0).await, AdminOutcome::Done);
    assert_eq!(bench.admin(AdminOp::CreateGroup { group: group("x") }, 0).await, AdminOutcome::Exists);
    assert_eq!(bench.admin(AdminOp::CreateGroup { group: GroupPath::root() }, 0).await, AdminOutcome::Exists);
    let (role, name) = (Role::Viewer, "o".parse().unwrap());
    let operator = AdminOp::CreateOperator { name, secret: secret(9), role, group: group("o/p") };
    bench.admin(operator, 0).await;
    let (token, by) = (secret(10), "op:test".to_owned());
    bench.admin(AdminOp::CreateToken { token, group: group("t/u"), uses: 1, expires: at(9), by }, 0).await;
    for path in ["x", "x/y", "o", "o/p", "t", "t/u"] {
        assert_eq!(bench.groups(path).await[0], (path.to_owned(), 0));
    }
}

async fn groups_are_listed_by_pages(bench: &Bench) {
    for path in ["a-b", "a/b", "a.c"] {
        bench.admin(AdminOp::CreateGroup { group: group(path) }, 0).await;
    }
    let page = async |after: Option<&str>, scope: &str| {
        let query = Query::Groups { after: after.map(group), scope: group(scope), max: 2 };
        let found = bench.store.read(query).await.unwrap();
        let Rows::Groups(rows) = found else { panic!("not what was asked: {found:?}") };
        rows.into_iter().map(|row| row.group.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, "").await, ["", "a"]);
    assert_eq!(page(Some("a"), "").await, ["a/b", "a-b"]);
    assert_eq!(page(Some("a-b"), "").await, ["a.c", "g"]);
    assert_eq!(page(None, "a").await, ["a", "a/b"]);
    assert!(page(Some("a/b"), "a").await.is_empty());
    assert!(page(None, "nowhere").await.is_empty());
}

async fn what_is_in_use_is_neither_removed_nor_renamed(bench: &Bench) {
    assert_eq!(bench.admin(remove("x"), 0).await, AdminOutcome::Unknown);
    assert_eq!(bench.admin(rename("x", "y"), 0).await, AdminOutcome::Unknown);
    in_use(bench.admin(remove(""), 0).await, "root");
    in_use(bench.admin(remove("g"), 0).await, "2 agents");
    in_use(bench.admin(rename("g", "y"), 0).await, "2 agents");
    let (role, name) = (Role::Viewer, "olga".parse().unwrap());
    let operator = AdminOp::CreateOperator { name, secret: secret(9), role, group: group("o/p") };
    bench.admin(operator, 0).await;
    in_use(bench.admin(remove("o"), 0).await, "olga");
    let (token, by) = (secret(10), "op:test".to_owned());
    bench.admin(AdminOp::CreateToken { token, group: group("t/u"), uses: 1, expires: at(9), by }, 0).await;
    in_use(bench.admin(remove("t"), 8).await, "0a0a0a0a0a0a0a0a");
    assert_eq!(bench.admin(remove("t"), 9).await, AdminOutcome::Done, "the token has expired");
    bench.admin(AdminOp::CreateGroup { group: group("l/m") }, 0).await;
    bench.accept_for_group(to_group(1, "l/m"), 1).await;
    in_use(bench.admin(remove("l"), 2).await, "live");
    bench.cancel(1, 3).await;
    assert_eq!(bench.admin(remove("l"), 4).await, AdminOutcome::Done);
}

async fn a_group_is_removed_with_what_lies_below(bench: &Bench) {
    bench.admin(AdminOp::CreateGroup { group: group("x/y/z") }, 0).await;
    bench.admin(AdminOp::CreateGroup { group: group("x-y") }, 0).await;
    assert_eq!(bench.admin(remove("x/y"), 0).await, AdminOutcome::Done);
    assert_eq!(bench.groups("x").await, pairs(&[("x", 0)]));
    assert_eq!(bench.groups("x-y").await, pairs(&[("x-y", 0)]));
    assert_eq!(bench.submit(to_group(1, "x/y"), 1).await, crate::store::Submitted::Unknown);
}

async fn a_renamed_group_takes_along_what_lies_below(bench: &Bench) {
    bench.admin(AdminOp::CreateGroup { group: group("x/y/z") }, 0).await;
    assert_eq!(bench.admin(rename("x", "g"), 0).await, AdminOutcome::Exists);
    in_use(bench.admin(rename("x", "x/w"), 0).await, "within");
    in_use(bench.admin(rename("x", "1/2/3/4/5/6/7"), 0).await, "segments");
    assert_eq!(bench.admin(rename("x", "n/m"), 0).await, AdminOutcome::Done);
    assert!(bench.groups("x").await.is_empty());
    assert_eq!(bench.groups("n").await, pairs(&[("n", 0), ("n/m", 0), ("n/m/y", 0), ("n/m/y/z", 0)]));
}
