//! Rights are those of the moment.

use wakemq_core::packet::ReasonCode;
use wakemq_protocol::http::{OperatorChange, OperatorRequest};

use super::*;

#[tokio::test]
async fn a_live_connection_has_the_rights_of_the_moment() {
    let it = Bench::with(&["one:a/paris", "two:b"]).await;
    let admin = caller("admin");
    let mailbox = it.publisher("paris");
    let one = || Target::Agent(agent("one"));
    assert!(it.submit("paris", &mailbox, wake(1, one())).await.is_ok());
    let change = |role, path: Option<&str>| OperatorChange { role, group: path.map(group) };
    let paris = || "paris".parse().unwrap();
    it.engine.change_operator(&admin, paris(), change(None, Some("b"))).await.unwrap();
    assert!(it.submit("paris", &mailbox, wake(2, one())).await.is_err());
    assert!(it.submit("paris", &mailbox, wake(3, Target::Agent(agent("two")))).await.is_ok());
    it.engine.change_operator(&admin, paris(), change(Some(Role::Viewer), Some(""))).await.unwrap();
    let refused = it.submit("paris", &mailbox, wake(4, one())).await.unwrap_err();
    assert_eq!(refused.reason, ReasonCode::NotAuthorized);
    it.engine.revoke_operator(&admin, paris()).await.unwrap();
    assert_eq!(it.engine.rights(&paris()), None);
    assert!(it.submit("paris", &mailbox, wake(5, one())).await.is_err());
    assert!(mail(&mailbox).rights_changed, "its connection looks at them anew");
}

#[tokio::test]
async fn a_revoked_operator_does_not_live_on_in_another_of_its_name() {
    let it = Bench::new().await;
    let (admin, mailbox) = (caller("admin"), it.publisher("paris"));
    it.engine.revoke_operator(&admin, "paris".parse().unwrap()).await.unwrap();
    let request =
        OperatorRequest { operator: "paris".parse().unwrap(), role: Role::Admin, group: GroupPath::root() };
    it.engine.create_operator(&admin, request).await.unwrap();
    assert_eq!(mail(&mailbox).evicted.map(|end| end.reason), Some(ReasonCode::NotAuthorized));
}

#[tokio::test]
async fn nobody_gives_more_than_it_has() {
    let it = Bench::new().await;
    let request = |name: &str, role, path: &str| OperatorRequest {
        operator: name.parse().unwrap(),
        role,
        group: group(path),
    };
    let admin = caller("admin");
    it.engine.create_operator(&admin, request("part", Role::Admin, "a")).await.unwrap();
    let part = caller("part");
    assert!(it.engine.create_operator(&part, request("x", Role::Viewer, "")).await.is_err());
    assert!(it.engine.create_operator(&part, request("x", Role::Admin, "a/b")).await.is_ok());
    let widen = OperatorChange { role: None, group: Some(GroupPath::root()) };
    assert!(it.engine.change_operator(&part, "x".parse().unwrap(), widen).await.is_err());
    // Those outside are as unknown as those that do not exist.
    let shrink = OperatorChange { role: Some(Role::Viewer), group: None };
    let unknown = it.engine.change_operator(&part, "viewer".parse().unwrap(), shrink).await;
    assert!(matches!(unknown, Err(EngineError::UnknownOperator(_))), "{unknown:?}");
    let unknown = it.engine.revoke_operator(&part, "admin".parse().unwrap()).await;
    assert!(matches!(unknown, Err(EngineError::UnknownOperator(_))), "{unknown:?}");
    let seen = it.engine.operators(&part, None, 100).await.unwrap().operators;
    let names: Vec<_> = seen.iter().map(|operator| operator.operator.as_str()).collect();
    assert_eq!(names, ["paris", "part", "x"]);
    let last = it.engine.revoke_operator(&admin, "admin".parse().unwrap()).await;
    assert!(matches!(last, Err(EngineError::LastAdmin(_))), "{last:?}");
}

#[tokio::test]
async fn rights_are_read_at_the_start() {
    let it = Bench::new().await;
    assert_eq!(it.operator("paris").scope, group("a/paris"));
    assert_eq!(it.operator("viewer").role, Role::Viewer);
    assert_eq!(it.engine.rights(&"nobody".parse().unwrap()), None);
}
