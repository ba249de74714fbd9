//! Commands, agents, groups, tokens, operators and the audit trail.

use super::*;

const GROUP_COMMAND: &str = "0197c1b2-0000-7000-8000-000000000002";

fn ask(method: Method, path: &str, secret: &Secret, body: Value) -> Request<Body> {
    request(method, path, Some(secret), Some(&body))
}

pub(super) fn post(path: &str, secret: &Secret, body: Value) -> Request<Body> {
    ask(Method::POST, path, secret, body)
}

fn delete(path: &str, secret: &Secret) -> Request<Body> {
    request(Method::DELETE, path, Some(secret), None)
}

#[tokio::test]
async fn golden_commands() {
    let it = Fixture::new().await.with_agents().await;
    let path = format!("/v1/commands/{COMMAND}");
    it.golden("command-agent", get(&path, &it.paris)).await;
    it.golden("command-unknown", get(&path.replace("0001", "0002"), &it.admin)).await;
    it.golden("command-no-id", get("/v1/commands/7", &it.admin)).await;
    let cancel = format!("{path}/cancel");
    it.golden("cancel-not-allowed", request(Method::POST, &cancel, Some(&it.viewer), None)).await;
    it.golden("cancel-agent", request(Method::POST, &cancel, Some(&it.paris), None)).await;
    it.golden("cancel-agent", request(Method::POST, &cancel, Some(&it.paris), None)).await;
}

#[tokio::test]
async fn golden_submissions() {
    let it = Fixture::new().await.with_agents().await;
    let submit = |secret, body| post("/v1/commands", secret, body);
    let id = COMMAND.replace("0001", "0003");
    let body =
        json!({"id": id, "agent": "printer-7", "kind": "wake", "slot": null, "priority": "high", "ttl": 60});
    it.golden("submit", submit(&it.paris, body.clone())).await;
    // The answer was lost and it is sent again: the same command.
    it.golden("submit", submit(&it.paris, body)).await;
    it.golden("submit-id-conflict", submit(&it.admin, json!({"id": id, "agent": "till-1", "kind": "wake"})))
        .await;
    it.golden("submit-no-target", submit(&it.admin, json!({"kind": "wake"}))).await;
    let two = json!({"kind": "wake", "agent": "till-1", "group": "b"});
    it.golden("submit-two-targets", submit(&it.admin, two)).await;
    it.golden("submit-unknown", submit(&it.admin, json!({"agent": "nobody", "kind": "wake"}))).await;
    it.golden("submit-outside", submit(&it.paris, json!({"agent": "till-1", "kind": "wake"}))).await;
    let (_, there) = it.send(submit(&it.paris, json!({"agent": "till-1", "kind": "wake"}))).await;
    let (_, nowhere) = it.send(submit(&it.paris, json!({"agent": "till-9", "kind": "wake"}))).await;
    assert_eq!(
        there.to_string(),
        nowhere.to_string().replace("till-9", "till-1"),
        "it does not learn what exists"
    );
    it.golden("submit-not-allowed", submit(&it.viewer, json!({"agent": "till-1", "kind": "wake"}))).await;
    it.golden("submit-ttl", submit(&it.admin, json!({"agent": "till-1", "kind": "wake", "ttl": 2_592_001})))
        .await;
    it.golden("submit-kind", submit(&it.admin, json!({"agent": "till-1", "kind": "defragment"}))).await;
    let brief = json!({"agent": "till-1", "kind": "power", "ttl": 0});
    it.golden("submit-power-without-time", submit(&it.admin, brief)).await;
    it.golden("submit-relay", submit(&it.admin, json!({"agent": "till-1", "kind": "relay"}))).await;
    let offline = json!({"id": id.replace("0003", "0004"), "agent": "till-1", "kind": "wake", "ttl": 0});
    it.golden("submit-only-if-connected", submit(&it.admin, offline)).await;
    for _ in 0..wakemq_protocol::limits::PENDING_MAX {
        let (status, _) =
            it.send(submit(&it.admin, json!({"agent": "till-1", "kind": "wake", "slot": null}))).await;
        assert_eq!(status, 202);
    }
    let one_more = json!({"agent": "till-1", "kind": "wake", "slot": null});
    it.golden("submit-quota", submit(&it.admin, one_more)).await;
}

#[tokio::test]
async fn golden_commands_for_groups() {
    let it = Fixture::new().await.with_agents().await;
    let submit = |secret, body| post("/v1/commands", secret, body);
    let body = json!({"id": GROUP_COMMAND, "group": "a", "kind": "wake"});
    it.golden("submit-group", submit(&it.admin, body.clone())).await;
    it.golden("submit-group", submit(&it.admin, body)).await;
    it.golden("submit-group-outside", submit(&it.paris, json!({"group": "a", "kind": "wake"}))).await;
    it.golden("submit-group-unknown", submit(&it.admin, json!({"group": "c", "kind": "wake"}))).await;
    let path = format!("/v1/commands/{GROUP_COMMAND}");
    it.golden("command-group", get(&path, &it.viewer)).await;
    it.golden("waiting", get(&format!("{path}/waiting?limit=1"), &it.viewer)).await;
    it.golden("waiting-bad-place", get(&format!("{path}/waiting?after=x"), &it.viewer)).await;
    // What is not wholly within an operator's part is not its to see, nor to cancel.
    let cancel = format!("{path}/cancel");
    for request in [
        get(&path, &it.paris),
        get(&format!("{path}/waiting"), &it.paris),
        request(Method::POST, &cancel, Some(&it.paris), None),
    ] {
        assert_eq!(it.send(request).await.0, 404);
    }
    it.golden("cancel-group", request(Method::POST, &cancel, Some(&it.admin), None)).await;
}

#[tokio::test]
async fn golden_agents() {
    let it = Fixture::new().await.with_agents().await;
    it.golden("agents", get("/v1/agents?limit=1", &it.viewer)).await;
    it.golden("agents-last-page", get("/v1/agents?after=a/paris:Printer-7", &it.viewer)).await;
    it.golden("agents-group", get("/v1/agents?group=b&state=away", &it.viewer)).await;
    it.golden("agents-connected", get("/v1/agents?state=connected", &it.viewer)).await;
    it.golden("agents-transport", get("/v1/agents?transport=poll", &it.viewer)).await;
    it.golden("agents-bad-transport", get("/v1/agents?transport=pigeon", &it.viewer)).await;
    it.golden("agents-away-transport", get("/v1/agents?state=away&transport=poll", &it.viewer)).await;
    it.golden("agents-bad-option", get("/v1/agents?limit=many", &it.viewer)).await;
    it.golden("agents-bad-state", get("/v1/agents?state=asleep", &it.viewer)).await;
    it.golden("agents-bad-place", get("/v1/agents?after=Printer-7", &it.viewer)).await;
    it.golden("agents-outside", get("/v1/agents?group=b", &it.paris)).await;
    it.golden("agent", get("/v1/agents/printer-7", &it.paris)).await;
    // One that is elsewhere is as unknown as one that does not exist.
    it.golden("agent-unknown", get("/v1/agents/till-1", &it.paris)).await;
    it.golden("revoke-not-allowed", delete("/v1/agents/till-1", &it.viewer)).await;
    it.golden("revoke", delete("/v1/agents/till-1", &it.admin)).await;
    it.golden("revoke-unknown", delete("/v1/agents/till-1", &it.admin)).await;
}

#[tokio::test]
async fn golden_moves() {
    let it = Fixture::new().await.with_agents().await;
    let relocate = |agent: &str, secret, to: &str| {
        post(&format!("/v1/agents/{agent}/move"), secret, json!({"group": to}))
    };
    it.golden("move-not-allowed", relocate("printer-7", &it.viewer, "b")).await;
    it.golden("move-outside", relocate("printer-7", &it.paris, "b")).await;
    it.golden("move-unknown", relocate("till-1", &it.paris, "a/paris")).await;
    it.golden("move", relocate("printer-7", &it.admin, "b/new")).await;
    let (_, command) = it.send(get(&format!("/v1/commands/{COMMAND}"), &it.admin)).await;
    assert_eq!(command["outcomes"][0]["state"], "queued", "its publisher may command there too");
}

#[tokio::test]
async fn golden_groups() {
    let it = Fixture::new().await.with_agents().await;
    it.golden("groups", get("/v1/groups?limit=2", &it.viewer)).await;
    it.golden("groups-last-page", get("/v1/groups?after=a", &it.viewer)).await;
    let create = |secret, group: &str| post("/v1/groups", secret, json!({"group": group}));
    it.golden("group-create", create(&it.paris, "a/paris/floor-1")).await;
    it.golden("group-create-exists", create(&it.paris, "a/paris/floor-1")).await;
    it.golden("group-create-outside", create(&it.paris, "a/lyon")).await;
    it.golden("group-create-not-allowed", create(&it.viewer, "c")).await;
    let rename =
        |secret, group: &str, to: &str| post("/v1/groups/rename", secret, json!({"group": group, "to": to}));
    it.golden("group-rename", rename(&it.paris, "a/paris/floor-1", "a/paris/floor-2")).await;
    it.golden("group-rename-unknown", rename(&it.paris, "a/paris/floor-1", "a/paris/floor-3")).await;
    it.golden("group-rename-exists", rename(&it.admin, "a/paris/floor-2", "b")).await;
    it.golden("group-rename-in-use", rename(&it.admin, "b", "c")).await;
    it.golden("group-rename-inside", rename(&it.admin, "b", "b/c")).await;
    let remove = |secret, group: &str| post("/v1/groups/remove", secret, json!({"group": group}));
    it.golden("group-remove", remove(&it.paris, "a/paris/floor-2")).await;
    it.golden("group-remove-unknown", remove(&it.paris, "a/paris/floor-2")).await;
    it.golden("group-remove-in-use", remove(&it.admin, "b")).await;
    it.golden("group-remove-outside", remove(&it.paris, "b")).await;
}

#[tokio::test]
async fn golden_tokens() {
    let it = Fixture::new().await;
    let ask = |secret, body: Value| post("/v1/tokens", secret, body);
    it.golden(
        "token-create",
        ask(&it.paris, json!({"group": "a/paris/floor-2", "uses": 3, "expires_in": 60})),
    )
    .await;
    it.golden("token-outside", ask(&it.paris, json!({"group": "a"}))).await;
    it.golden("token-not-allowed", ask(&it.viewer, json!({"group": "a"}))).await;
    it.golden("token-invalid", ask(&it.admin, json!({"group": "a", "uses": 0}))).await;
    it.golden("token-bad-group", ask(&it.admin, json!({"group": "A b"}))).await;
    it.golden("tokens", get("/v1/tokens", &it.paris)).await;
    let (_, elsewhere) = it.send(ask(&it.admin, json!({"group": "b"}))).await;
    let elsewhere = format!("/v1/tokens/{}", elsewhere["id"].as_str().unwrap());
    assert_eq!(it.send(delete(&elsewhere, &it.paris)).await.0, 404, "it is not its own");
    let (_, own) = it.send(get("/v1/tokens", &it.paris)).await;
    assert_eq!(own["tokens"].as_array().unwrap().len(), 1);
    let path = format!("/v1/tokens/{}", own["tokens"][0]["id"].as_str().unwrap());
    assert_eq!(it.send(delete(&path, &it.viewer)).await.0, 403);
    assert_eq!(it.send(delete(&path, &it.paris)).await.0, 204);
    it.golden("token-unknown", delete("/v1/tokens/0123456789abcdee", &it.paris)).await;
    assert_eq!(it.send(delete(&path, &it.paris)).await.0, 404);
}

#[tokio::test]
async fn golden_operators() {
    let it = Fixture::new().await;
    let ask_for =
        |name: &str, role: &str, group: &str| json!({"operator": name, "role": role, "group": group});
    let create = |secret, body| post("/v1/operators", secret, body);
    it.golden("operator-create", create(&it.paris, ask_for("erika", "operator", "a/paris/x"))).await;
    it.golden("operator-create-exists", create(&it.admin, ask_for("erika", "viewer", ""))).await;
    it.golden("operator-create-outside", create(&it.paris, ask_for("hans", "viewer", "a"))).await;
    it.golden("operator-create-not-allowed", create(&it.viewer, ask_for("hans", "viewer", ""))).await;
    it.golden("operator-create-bad-role", create(&it.admin, ask_for("hans", "king", ""))).await;
    it.golden("operators", get("/v1/operators?limit=2", &it.admin)).await;
    it.golden("operators-of-a-part", get("/v1/operators", &it.paris)).await;
    let change =
        |secret, name: &str, body| ask(Method::PATCH, &format!("/v1/operators/{name}"), secret, body);
    it.golden("operator-change", change(&it.paris, "erika", json!({"role": "viewer"}))).await;
    it.golden("operator-change-nothing", change(&it.paris, "erika", json!({}))).await;
    it.golden("operator-change-outside", change(&it.paris, "erika", json!({"group": ""}))).await;
    it.golden("operator-change-unknown", change(&it.paris, "viewer", json!({"group": "a/paris"}))).await;
    it.golden("operator-last-admin", change(&it.admin, "admin", json!({"role": "viewer"}))).await;
    it.golden("operator-revoke-last-admin", delete("/v1/operators/admin", &it.admin)).await;
    it.golden("operator-revoke", delete("/v1/operators/erika", &it.paris)).await;
    it.golden("operator-revoke-unknown", delete("/v1/operators/viewer", &it.paris)).await;
}

#[tokio::test]
async fn golden_audit() {
    let it = Fixture::new().await;
    let (_, made) = it.send(post("/v1/tokens", &it.paris, json!({"group": "a/paris"}))).await;
    let token = made["token"].as_str().unwrap().to_owned();
    it.post("/v1/enrol", None, &enrol(&token, Some("printer-7"), HASH)).await;
    it.send(post("/v1/groups", &it.admin, json!({"group": "b"}))).await;
    it.send(post("/v1/agents/printer-7/move", &it.admin, json!({"group": "a/lyon"}))).await;
    it.send(lines(
        &it.paris,
        "{\"agent\":\"x\",\"group\":\"a/paris/x\"}\n{\"agent\":\"y\",\"group\":\"a/paris/y\"}",
    ))
    .await;
    it.golden("audit", get("/v1/audit", &it.admin)).await;
    it.golden("audit-of-a-part", get("/v1/audit?limit=100", &it.paris)).await;
    it.golden("audit-not-allowed", get("/v1/audit", &it.viewer)).await;
    it.golden("audit-bad-time", get("/v1/audit?since=yesterday", &it.admin)).await;
    let (_, page) = it.send(get("/v1/audit?since=2026-11-22T02:00:00Z", &it.admin)).await;
    assert_eq!(page["entries"], json!([]));
}

#[tokio::test]
async fn a_right_that_was_taken_away_is_gone_at_once() {
    let it = Fixture::new().await.with_agents().await;
    let wake = || post("/v1/commands", &it.paris, json!({"agent": "printer-7", "kind": "wake"}));
    assert_eq!(it.send(wake()).await.0, 202);
    let change = |body| ask(Method::PATCH, "/v1/operators/paris", &it.admin, body);
    assert_eq!(it.send(change(json!({"group": "b"}))).await.0, 200);
    assert_eq!(it.send(wake()).await.0, 403);
    assert_eq!(it.send(get("/v1/agents/printer-7", &it.paris)).await.0, 404);
    assert_eq!(it.send(get("/v1/agents/till-1", &it.paris)).await.0, 200);
    assert_eq!(it.send(change(json!({"group": "a/paris", "role": "viewer"}))).await.0, 200);
    assert_eq!(it.send(wake()).await.0, 403);
    assert_eq!(it.send(delete("/v1/operators/paris", &it.admin)).await.0, 204);
    assert_eq!(it.send(get("/v1/agents/printer-7", &it.paris)).await.0, 401);
}

#[tokio::test]
async fn pages_are_walked_to_their_end() {
    let it = Fixture::new().await;
    let body: String =
        (0..25).map(|n| format!("{{\"agent\":\"a-{n}\",\"group\":\"g/{}\"}}\n", n % 3)).collect();
    it.send_whole(lines(&it.admin, body)).await;
    for (list, key, first) in [
        ("/v1/agents?limit=7", "agents", "agent"),
        ("/v1/agents?limit=7&state=away", "agents", "agent"),
        ("/v1/groups?limit=2", "groups", "group"),
        ("/v1/audit?limit=1", "entries", "seq"),
        ("/v1/operators?limit=1", "operators", "operator"),
    ] {
        let (mut seen, mut path) = (Vec::new(), list.to_owned());
        loop {
            let (status, page) = it.send(get(&path, &it.admin)).await;
            assert_eq!(status, 200, "{path}");
            seen.extend(page[key].as_array().unwrap().iter().map(|row| row[first].to_string()));
            let next = page["next"].clone();
            if next.is_null() {
                break;
            }
            let next = next.as_str().map_or_else(|| next.to_string(), str::to_owned);
            path = format!("{list}&after={next}");
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all, "{list} shows each once");
        let expected = match key {
            "agents" => 25,
            "groups" => 5 + 2,
            "entries" => 4,
            _ => 3,
        };
        assert_eq!(all, expected, "{list}");
    }
}
