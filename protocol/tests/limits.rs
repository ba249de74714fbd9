//! Every limit at its edge: the last that is taken, and the first that is not.

use wakemq_protocol::{
    AgentId, CommandId, Facts, FactsError, GroupPath, Kind, OperatorName, Receipt, ReceiptError, Slot,
    SlotChoice, Submission, SubmissionError, Timestamp, Topic,
};

#[test]
fn words_have_at_most_64_characters() {
    let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
    assert!(longest.parse::<AgentId>().is_ok() && too_long.parse::<AgentId>().is_err());
    assert!(longest.parse::<OperatorName>().is_ok() && too_long.parse::<OperatorName>().is_err());
    assert!(longest.parse::<Slot>().is_ok() && too_long.parse::<Slot>().is_err());
    assert!(longest.parse::<Kind>().is_ok() && too_long.parse::<Kind>().is_err());
    assert!(longest.parse::<GroupPath>().is_ok() && too_long.parse::<GroupPath>().is_err());
    assert!(format!("a/{longest}").parse::<GroupPath>().is_ok());
    assert!(format!("a/{too_long}").parse::<GroupPath>().is_err());
}

#[test]
fn words_begin_with_a_letter_or_digit() {
    for word in ["", ".a", "_a", "-a", "a b", "a/b", "a+", "#", "ä", "a\0", "op:a"] {
        assert!(word.parse::<AgentId>().is_err(), "{word:?}");
        assert!(word.parse::<Slot>().is_err(), "{word:?}");
        assert!(word.parse::<Kind>().is_err(), "{word:?}");
        assert!(word.parse::<OperatorName>().is_err(), "{word:?}");
    }
    for word in ["a", "7", "a.b_c-d", "0..9"] {
        assert!(word.parse::<AgentId>().is_ok() && word.parse::<Slot>().is_ok(), "{word:?}");
    }
    assert!("PC-7".parse::<AgentId>().is_ok(), "agents are spelled in either case");
    assert!("PC-7".parse::<Slot>().is_err() && "PC-7".parse::<OperatorName>().is_err());
    assert!("Paris".parse::<GroupPath>().is_err());
}

#[test]
fn groups_have_at_most_8_segments() {
    let path = |depth: usize| vec!["a"; depth].join("/");
    assert_eq!(path(8).parse::<GroupPath>().unwrap().segments().count(), 8);
    assert!(path(9).parse::<GroupPath>().is_err());
    assert_eq!("".parse::<GroupPath>().unwrap(), GroupPath::root());
    for path in ["/", "/a", "a/", "a//b"] {
        assert!(path.parse::<GroupPath>().is_err(), "{path}");
    }
}

#[test]
fn command_ids_are_version_7_in_one_form() {
    for (text, good) in [
        ("0197c1b2-6d00-7c3a-9f01-0123456789ab", true),
        ("0197C1B2-6D00-7C3A-9F01-0123456789AB", true),
        ("0197c1b26d007c3a9f010123456789ab", false),
        ("{0197c1b2-6d00-7c3a-9f01-0123456789ab}", false),
        ("urn:uuid:0197c1b2-6d00-7c3a-9f01-0123456789ab", false),
        ("0197c1b2-6d00-4c3a-9f01-0123456789ab", false),
        ("0197c1b2-6d00-7c3a-cf01-0123456789ab", false),
        ("00000000-0000-0000-0000-000000000000", false),
        ("", false),
    ] {
        assert_eq!(text.parse::<CommandId>().is_ok(), good, "{text}");
    }
    let id: CommandId = "0197C1B2-6D00-7C3A-9F01-0123456789AB".parse().unwrap();
    assert_eq!(id.to_string(), "0197c1b2-6d00-7c3a-9f01-0123456789ab", "one id has one text");
}

#[test]
fn a_time_to_live_is_at_most_30_days() {
    let ttl = |ttl: i64| Submission::from_json(format!(r#"{{"kind":"wake","ttl":{ttl}}}"#).as_bytes());
    assert_eq!(ttl(0).unwrap().ttl_secs(None), 0);
    assert_eq!(ttl(2_592_000).unwrap().ttl_secs(None), 2_592_000);
    assert!(matches!(ttl(2_592_001), Err(SubmissionError::Ttl(2_592_001))));
    assert!(matches!(ttl(-1), Err(SubmissionError::Json(_))));
    assert!(matches!(ttl(1 << 32), Err(SubmissionError::Json(_))));
}

#[test]
fn of_ttl_and_message_expiry_the_shorter_counts() {
    let mut submission = Submission::new(Kind::Wake);
    assert_eq!(submission.ttl_secs(None), 86_400, "a day if nobody says");
    assert_eq!(submission.ttl_secs(Some(5)), 5);
    assert_eq!(submission.ttl_secs(Some(u32::MAX)), 86_400);
    submission.ttl = Some(10);
    assert_eq!(submission.ttl_secs(Some(11)), 10);
    assert_eq!(submission.ttl_secs(Some(9)), 9);
}

#[test]
fn reason_detail_and_documents_are_bounded() {
    let submission = |len: usize| {
        let json = serde_json::json!({ "kind": "wake", "reason": "r".repeat(len) });
        Submission::from_json(json.to_string().as_bytes())
    };
    assert!(submission(1024).is_ok());
    assert!(matches!(submission(1025), Err(SubmissionError::Reason(1025))));

    let receipt = |len: usize| {
        let id = "0197c1b2-6d00-7c3a-9f01-0123456789ab";
        let json = serde_json::json!({ "id": id, "state": "done", "detail": "d".repeat(len) });
        Receipt::from_json(json.to_string().as_bytes())
    };
    assert!(receipt(4096).is_ok());
    assert!(matches!(receipt(4097), Err(ReceiptError::Detail(4097))));

    let facts = |len: usize| Facts::from_json(padded(r#"{"instance":"i"}"#, len).as_bytes());
    assert!(facts(8 * 1024).is_ok());
    assert!(matches!(facts(8 * 1024 + 1), Err(FactsError::TooLarge(8193))));
}

#[test]
fn payloads_have_at_most_60_kib() {
    let submission = |len: usize| Submission::from_json(padded(r#"{"kind":"wake"}"#, len).as_bytes());
    assert!(submission(60 * 1024).is_ok());
    assert!(matches!(submission(60 * 1024 + 1), Err(SubmissionError::TooLarge(61_441))));
    let receipt = r#"{"id":"0197c1b2-6d00-7c3a-9f01-0123456789ab","state":"done"}"#;
    assert!(Receipt::from_json(padded(receipt, 60 * 1024).as_bytes()).is_ok());
    let too_large = Receipt::from_json(padded(receipt, 60 * 1024 + 1).as_bytes());
    assert!(matches!(too_large, Err(ReceiptError::TooLarge(61_441))));
}

#[test]
fn response_names_have_1_to_256_bytes() {
    let topic = |name: &str| format!("wake/v1/operators/console/responses/{name}").parse::<Topic>();
    assert!(topic("").is_err());
    assert!(topic(&"n".repeat(256)).is_ok());
    assert!(topic(&"n".repeat(257)).is_err());
    assert!(topic("a/+/b").is_err() && topic("a/#").is_err());
    assert!(topic("a/b//c").is_ok());
}

#[test]
fn slots_are_named_like_the_kind_or_said_or_none() {
    let slot = |json: &str| {
        let submission = Submission::from_json(json.as_bytes()).unwrap();
        (submission.slot.clone(), submission.effective_slot().map(|slot| slot.to_string()))
    };
    assert_eq!(slot(r#"{"kind":"wake"}"#), (SlotChoice::Default, Some("wake".into())));
    assert_eq!(slot(r#"{"kind":"tidy"}"#), (SlotChoice::Default, Some("tidy".into())));
    assert_eq!(slot(r#"{"kind":"wake","slot":null}"#), (SlotChoice::Never, None));
    let (choice, effective) = slot(r#"{"kind":"wake","slot":"s"}"#);
    assert_eq!((choice, effective.as_deref()), (SlotChoice::Named("s".parse().unwrap()), Some("s")));
}

#[test]
fn times_are_between_1970_and_9999() {
    for (text, ms) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("1969-12-31T23:59:59.9999Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("1970-01-01T00:00:00+00:01", None),
        ("2026-11-22T02:00:00+01:00", Some(1_795_309_200_000)),
        ("2026-11-22T01:00:00.1239Z", Some(1_795_309_200_123)),
        ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
        ("9999-12-31T23:59:59-00:01", None),
        ("2026-11-22", None),
        ("2026-11-22T01:00:00", None),
    ] {
        let time = text.parse::<Timestamp>().ok();
        assert_eq!(time.map(Timestamp::unix_ms), ms, "{text}");
    }
    assert_eq!(Timestamp::from_unix_ms(-1).to_string(), "1970-01-01T00:00:00Z");
    assert_eq!(Timestamp::from_unix_ms(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    assert_eq!(Timestamp::from_unix_ms(1_999).whole_secs().unix_ms(), 1_000);
}

/// Fills a document up with the blanks that JSON allows behind it.
fn padded(json: &str, len: usize) -> String {
    format!("{json:<len$}")
}
