//! Enrolment, imports, refusals and health.

use super::*;

#[tokio::test]
async fn golden_enrolment() {
    let it = Fixture::new().await;
    let token = it.token("a/paris", 1).await;
    let ask = |token: &str, agent, hash: &str| {
        request(Method::POST, "/v1/enrol", None, Some(&enrol(token, agent, hash)))
    };
    let other = HASH.replace("aa", "cc");
    it.golden("enrol", ask(&token, Some("Printer-7"), HASH)).await;
    // The answer was lost and it is asked again: the same use, the same agent, in its first spelling.
    it.golden("enrol", ask(&token, Some("printer-7"), HASH)).await;
    it.golden("enrol-token-used-up", ask(&token, Some("second"), &other)).await;
    let token = it.token("b", 5).await;
    it.golden("enrol-exists", ask(&token, Some("PRINTER-7"), &other)).await;
    it.golden("enrol-without-id", ask(&token, None, &other)).await;
    let unknown = format!("wme_{}", "A".repeat(43));
    it.golden("enrol-token-unknown", ask(&unknown, None, HASH)).await;
    it.golden("enrol-token-unknown", ask(it.admin.expose(), None, HASH)).await;
    it.time.0.fetch_add(3_600_000, Ordering::Relaxed);
    it.golden("enrol-token-expired", ask(&token, None, &HASH.replace("aa", "dd"))).await;
    let token = it.token("b", 5).await;
    let mut large = enrol(&token, None, HASH);
    large["facts"]["os"] = "x".repeat(9000).into();
    it.golden("enrol-facts-too-large", request(Method::POST, "/v1/enrol", None, Some(&large))).await;
}

#[tokio::test]
async fn golden_import() {
    let it = Fixture::new().await.with_agents().await;
    let text = "{\"agent\":\"new-1\",\"group\":\"a/paris/x\"}\n\nnot json\n{\"agent\":\"new-2\",\"group\":\"b\"}\n\
                {\"agent\":\"PRINTER-7\",\"group\":\"a/paris\"}\n{\"agent\":\"new-1\",\"group\":\"a/paris\"}\n\
                {\"agent\":\"new-3\",\"group\":\"a/paris\"}";
    it.golden("import", lines(&it.paris, text)).await;
    it.golden("import-not-allowed", lines(&it.viewer, text)).await;
    let json = request(Method::POST, "/v1/agents/import", Some(&it.admin), Some(&json!({})));
    it.golden("import-media-type", json).await;
}

#[tokio::test]
async fn golden_refusals_and_health() {
    let it = Fixture::new().await;
    it.golden("healthz", get("/healthz", &it.admin)).await;
    it.golden("readyz", get("/readyz", &it.admin)).await;
    it.golden("not-found", get("/v2/agents", &it.admin)).await;
    it.golden("method-not-allowed", request(Method::PUT, "/v1/tokens", Some(&it.admin), None)).await;
    it.golden("unauthenticated", request(Method::GET, "/v1/agents", None, None)).await;
    let wrong: Secret = format!("wmo_{}", "A".repeat(43)).parse().unwrap();
    it.golden("wrong-secret", get("/v1/agents", &wrong)).await;
    let raw = |kind: &str, body: &'static str| {
        Request::post("/v1/enrol").header(CONTENT_TYPE, kind).body(Body::from(body)).unwrap()
    };
    it.golden("malformed", raw("application/json", "{\"token\":")).await;
    it.golden("invalid", raw("application/json; charset=utf-8", "{\"token\":7}")).await;
    it.golden("media-type", raw("text/plain", "{}")).await;
    let large = "x".repeat(wakemq_protocol::limits::PAYLOAD_MAX + 1);
    let large = Request::post("/v1/enrol").header(CONTENT_TYPE, "application/json").body(Body::from(large));
    it.golden("too-large", large.unwrap()).await;
    it.draining.send_replace(true);
    it.golden("readyz-draining", get("/readyz", &it.admin)).await;
}

#[tokio::test]
async fn golden_store_that_fails() {
    let mut it = Fixture::new().await;
    let advertise = Advertise { endpoints: Vec::new(), ca: None };
    let (clock, events) = (Clock::start(), Arc::new(NoEvents));
    it.engine = Arc::new(Engine::new(Arc::new(Broken), clock, advertise, Arc::default(), events));
    it.http = interface(&it.engine, &it.draining);
    let token = format!("wme_{}", "A".repeat(43));
    let body = enrol(&token, None, HASH);
    it.golden("unavailable", request(Method::POST, "/v1/enrol", None, Some(&body))).await;
    it.golden("readyz-unavailable", get("/readyz", &it.admin)).await;
    let agent: Secret = format!("wma_{}", "A".repeat(43)).parse().unwrap();
    let poll = json!({"heartbeat": 60});
    assert_eq!(
        it.post("/v1/poll", Some(&agent), &poll).await.0,
        503,
        "the agent is not told that it is unknown"
    );
    assert_eq!(it.send(get("/v1/agents", &it.admin)).await.0, 503, "who it is cannot be told");
    assert_eq!(it.send(get("/healthz", &it.admin)).await.0, 200, "the process lives");
}
