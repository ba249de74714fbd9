//! What people read when a word or a payload is wrong.

use wakemq_protocol::http::Problem;
use wakemq_protocol::{
    AgentId, CommandId, Facts, GroupPath, Kind, OperatorName, Receipt, Secret, SecretHash, Slot, Submission,
    Timestamp, Topic,
};

fn text<T: std::str::FromStr<Err: std::fmt::Display>>(word: &str) -> String {
    match word.parse::<T>() {
        Ok(_) => "fine".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_bad_word_is_named_and_the_reason_told() {
    let long = "a".repeat(65);
    for (told, expected) in [
        (text::<AgentId>(""), "not a valid agent id: it is empty"),
        (text::<AgentId>(&long), "not a valid agent id: it is longer than 64 characters"),
        (text::<AgentId>("-a"), "not a valid agent id: it must begin with a letter or digit"),
        (text::<AgentId>("a b"), "not a valid agent id: only A-Z a-z 0-9 . _ - are allowed"),
        (
            text::<OperatorName>("Ann"),
            "not a valid operator name: it must begin with a lower-case letter or digit",
        ),
        (text::<OperatorName>("ann@x"), "not a valid operator name: only a-z 0-9 . _ - are allowed"),
        (text::<Slot>("a b"), "not a valid slot: only a-z 0-9 . _ - are allowed"),
        (text::<Kind>(""), "not a valid kind: it is empty"),
        (text::<GroupPath>("a//b"), "not a valid segment of a group: it is empty"),
        (text::<GroupPath>("1/2/3/4/5/6/7/8/9"), "not a valid group: it has more than 8 segments"),
        (text::<CommandId>("7"), "not a valid command id: it is not a UUID of the form 8-4-4-4-12"),
        (
            text::<CommandId>("0197c1b2-6d00-4c3a-9f01-0123456789ab"),
            "not a valid command id: it is not a UUID of version 7",
        ),
        (text::<Secret>("hunter2"), "not a valid secret: it does not begin with wma_, wmo_ or wme_"),
        (text::<Secret>("wma_AAEC"), "not a valid secret: it is not 256 bits in base64url; was it cut off?"),
        (text::<SecretHash>("00"), "not a valid SHA-256: it is not 64 lower-case hexadecimal digits"),
        (text::<Timestamp>("now"), "not a valid time: it is not of the form 2026-11-22T01:00:00Z (RFC 3339)"),
        (text::<Timestamp>("1969-01-01T00:00:00Z"), "not a valid time: it is not between 1970 and 9999"),
        (text::<Topic>("home/lamp"), "no such topic in wire protocol v1"),
        (
            text::<Topic>("wake/v1/agents/-/commands"),
            "not a valid agent id: it must begin with a letter or digit",
        ),
    ] {
        assert_eq!(told, expected);
    }
}

#[test]
fn a_bad_payload_is_told_with_its_place() {
    let submission = |json: &str| Submission::from_json(json.as_bytes()).unwrap_err().to_string();
    assert_eq!(submission("{}"), "the payload is not a command: missing field `kind` at line 1 column 2");
    assert_eq!(
        submission(r#"{"kind":"Wake"}"#),
        "the payload is not a command: not a valid kind: it must begin with a lower-case letter or digit \
         at line 1 column 15"
    );
    assert_eq!(
        submission(r#"{"kind":"wake","ttl":2592001}"#),
        "ttl 2592001 is longer than 2592000 seconds (30 days)"
    );
    assert_eq!(
        submission(r#"{"kind":"wake","priority":"urgent"}"#),
        "the payload is not a command: unknown variant `urgent`, expected one of `low`, `normal`, `high` \
         at line 1 column 34"
    );
    assert_eq!(
        Facts::from_json(b"{}").unwrap_err().to_string(),
        "the payload is not a facts document: missing field `instance` at line 1 column 2"
    );
    assert_eq!(
        Receipt::from_json(b"done").unwrap_err().to_string(),
        "the payload is not a receipt: expected value at line 1 column 1"
    );
}

#[test]
fn a_complaint_is_bounded_however_long_what_it_quotes() {
    let quoted = "\u{1}ä".repeat(7_000);
    for json in [
        serde_json::json!({ "kind": "wake", "priority": quoted }),
        serde_json::json!({ "kind": "wake", "ttl": quoted }),
    ] {
        let error = Submission::from_json(json.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.chars().count() < 300, "{}", error.len());
        assert!(error.starts_with("the payload is not a command: "), "{error}");
        assert!(error.contains(" at line 1 column "), "{error}");
    }
}

#[test]
fn secrets_are_not_in_debug_and_not_in_errors() {
    let secret = Secret::from_random(wakemq_protocol::SecretKind::Agent, &[7; 32]);
    assert_eq!(format!("{secret:?}"), "wma_…");
    assert_eq!(secret.expose().len(), 4 + 43);
    let hash = SecretHash([0xab; 32]);
    assert_eq!(format!("{hash:?}"), "SecretHash(abab…)");
    assert!(!text::<Secret>("wma_hunter2").contains("hunter2"));
}

#[test]
fn a_problem_reads_as_one_sentence() {
    let problem = Problem {
        kind: "urn:wakemq:problem:exists".into(),
        title: "It exists already".into(),
        status: 409,
        detail: "the agent Printer-7 is in another group".into(),
    };
    assert_eq!(problem.to_string(), "It exists already: the agent Printer-7 is in another group");
}
