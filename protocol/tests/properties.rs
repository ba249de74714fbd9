//! What holds for every word and payload, not only for those that somebody thought of.

use std::cmp::Ordering;
use std::fmt::{Debug, Display};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::str::FromStr;

use proptest::option;
use proptest::prelude::*;
use wakemq_protocol::http::{CommandRequest, EnrolRequest, ImportLine, Profile, TokenRequest};
use wakemq_protocol::{
    AgentId, Command, CommandId, CommandState, Counts, Event, EventBody, EventKind, EventNews, Facts,
    GroupPath, GroupUpdate, Kind, News, OperatorName, Outcome, PresenceChange, Priority, Receipt,
    ReceiptState, Secret, SecretHash, SecretKind, SecurityWhat, Slot, SlotChoice, Submission, Timestamp,
    Topic, Transport, Update, filter_matches, to_json,
};

const MIXED: &str = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}";
const LOWER: &str = "[a-z0-9][a-z0-9._-]{0,63}";

fn parsed<T: FromStr<Err: Debug> + Debug>(pattern: &'static str) -> impl Strategy<Value = T> {
    pattern.prop_map(|text| text.parse().expect("the pattern is that of the type"))
}

fn agent() -> impl Strategy<Value = AgentId> {
    parsed(MIXED)
}

fn group() -> impl Strategy<Value = GroupPath> {
    prop::collection::vec("[a-z0-9][a-z0-9._-]{0,8}", 0..=8)
        .prop_map(|segments| segments.join("/").parse().expect("at most 8 good segments"))
}

fn command_id() -> impl Strategy<Value = CommandId> {
    (any::<u64>(), any::<[u8; 10]>()).prop_map(|(ms, random)| CommandId::from_parts(ms, &random))
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Wake), Just(Kind::Power), Just(Kind::Relay), parsed::<Kind>(LOWER)]
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(|ms| Timestamp::from_unix_ms(ms.rem_euclid(253_402_300_800_000)))
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)]
}

fn secret() -> impl Strategy<Value = Secret> {
    let kinds = prop_oneof![Just(SecretKind::Agent), Just(SecretKind::Operator), Just(SecretKind::Enrolment)];
    (kinds, any::<[u8; 32]>()).prop_map(|(kind, random)| Secret::from_random(kind, &random))
}

fn slot_choice() -> impl Strategy<Value = SlotChoice> {
    let named = parsed::<Slot>(LOWER).prop_map(SlotChoice::Named);
    prop_oneof![Just(SlotChoice::Default), Just(SlotChoice::Never), named]
}

fn topic() -> impl Strategy<Value = Topic> {
    prop_oneof![
        agent().prop_map(Topic::AgentCommands),
        agent().prop_map(Topic::AgentReceipts),
        agent().prop_map(Topic::AgentFacts),
        agent().prop_map(Topic::AgentReports),
        group().prop_map(Topic::GroupCommands),
        (prop::sample::select(&EventKind::ALL[..]), group())
            .prop_map(|(kind, group)| Topic::Event { kind, group }),
        (parsed::<OperatorName>(LOWER), "[^+#\0]{1,64}")
            .prop_map(|(operator, name)| Topic::Response { operator, name: name.into() }),
    ]
}

fn submission() -> impl Strategy<Value = Submission> {
    let ttl = option::of(0..=2_592_000_u32);
    (option::of(command_id()), kind(), slot_choice(), ttl, priority(), option::of(".{0,100}")).prop_map(
        |(id, kind, slot, ttl, priority, reason)| Submission { id, kind, slot, ttl, priority, reason },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let head = (command_id(), kind(), option::of(parsed::<Slot>(LOWER)), any::<u32>());
    (head, priority(), option::of(".{0,100}"), timestamp(), ".{0,70}").prop_map(
        |((id, kind, slot, ttl), priority, reason, issued, by)| Command {
            id,
            kind,
            slot,
            ttl,
            priority,
            reason,
            issued,
            by,
            relay: None,
        },
    )
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let state = prop_oneof![
        Just(ReceiptState::Progress),
        Just(ReceiptState::Done),
        Just(ReceiptState::Failed),
        Just(ReceiptState::Refused),
    ];
    (command_id(), state, option::of(".{0,100}")).prop_map(|(id, state, detail)| Receipt {
        id,
        state,
        detail,
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    let text = || option::of(".{0,40}");
    let ages = (option::of(any::<u64>()), option::of(any::<u64>()));
    (".{0,40}", text(), text(), ages, text(), text(), text()).prop_map(
        |(instance, boot_id, resume_id, (since_boot, since_resume), host_name, os, version)| Facts {
            instance,
            boot_id,
            resume_id,
            since_boot,
            since_resume,
            host_name,
            os,
            version,
            interfaces: Vec::new(),
            relay: false,
            reach: None,
        },
    )
}

fn state() -> impl Strategy<Value = CommandState> {
    prop::sample::select(&CommandState::ALL[..])
}

fn news() -> impl Strategy<Value = News> {
    let rest = (option::of(".{0,100}"), option::of(command_id()), any::<bool>(), option::of(receipt()));
    let update =
        (command_id(), agent(), state(), timestamp(), rest).prop_map(|(id, agent, state, at, rest)| {
            let (detail, superseded_by, cancel_requested, late) = rest;
            let outcome = Outcome { agent, state, at, detail, superseded_by, cancel_requested, late };
            News::Agent(Update::new(id, outcome))
        });
    let counts = prop::collection::vec(any::<u64>(), CommandState::ALL.len()).prop_map(|numbers| {
        let mut counts = Counts::default();
        for (state, number) in CommandState::ALL.into_iter().zip(numbers) {
            *counts.of(state) = number;
        }
        counts
    });
    let group_update = (command_id(), group(), state(), timestamp(), counts, option::of(".{0,100}"))
        .prop_map(|(id, group, state, at, counts, detail)| {
            News::Group(GroupUpdate { id, group, state, at, counts, detail })
        });
    prop_oneof![update, group_update]
}

fn event_body() -> impl Strategy<Value = EventBody> {
    use {EventBody as Body, PresenceChange as Change, SecurityWhat as What};
    let change = prop::sample::select(&[Change::Connected, Change::Disconnected, Change::Facts][..]);
    let texts = (option::of(".{0,40}"), option::of(".{0,40}"), option::of(facts().prop_map(Box::new)));
    let transport = option::of(prop::sample::select(&Transport::ALL[..]));
    let presence = (agent(), change, transport, texts).prop_map(
        |(agent, change, transport, (address, detail, facts))| Body::Presence {
            agent,
            change,
            address,
            transport,
            detail,
            facts,
        },
    );
    let command = (kind(), ".{0,70}", news()).prop_map(|(kind, by, news)| Body::Command { kind, by, news });
    // Names that the forms around it have too.
    let fields = prop::collection::btree_map("at|group|seq|event|agent|.{0,4}", any::<i64>(), 0..4);
    let report = (agent(), fields).prop_map(|(agent, fields)| Body::Report {
        agent,
        report: fields.into_iter().map(|(name, number)| (name, number.into())).collect(),
    });
    let what = prop::sample::select(
        &[What::ClonedIdentity, What::WrongSecrets, What::ConnectionFlood, What::ForeignReceipt][..],
    );
    let security = (what, option::of(".{0,40}"), prop::collection::vec(".{0,40}", 0..3), ".{0,100}")
        .prop_map(|(what, who, addresses, detail)| Body::Security { what, who, addresses, detail });
    prop_oneof![presence, command, report, security]
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), timestamp(), group(), event_body())
        .prop_map(|(seq, at, group, body)| Event { seq, news: EventNews { at, group, body } })
}

fn command_request() -> impl Strategy<Value = CommandRequest> {
    (option::of(agent()), option::of(group()), submission())
        .prop_map(|(agent, group, submission)| CommandRequest { agent, group, submission })
}

/// Prints, parses, and expects the same again; both ways, because `Eq` may be laxer than the text.
fn assert_text_inverse<T: Display + FromStr<Err: Debug> + Debug + PartialEq>(value: &T) {
    let text = value.to_string();
    let again: T = text.parse().expect("what was printed can be parsed");
    assert_eq!(again, *value);
    assert_eq!(again.to_string(), text);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::WithSource("regressions"),
        )),
        ..ProptestConfig::default()
    })]

    #[test]
    fn words_are_parsed_as_they_are_printed(
        agent in agent(), operator in parsed::<OperatorName>(LOWER), group in group(),
        slot in parsed::<Slot>(LOWER), kind in kind(), id in command_id(), hash in any::<[u8; 32]>(),
        time in timestamp(), topic in topic(),
    ) {
        assert_text_inverse(&agent);
        assert_text_inverse(&operator);
        assert_text_inverse(&group);
        assert_text_inverse(&slot);
        assert_text_inverse(&kind);
        assert_text_inverse(&id);
        assert_text_inverse(&SecretHash(hash));
        assert_text_inverse(&time);
        assert_text_inverse(&topic);
        prop_assert_eq!(CommandId::from_bytes(*id.as_bytes()), Ok(id));
    }

    #[test]
    fn secrets_are_parsed_as_they_are_exposed(secret in secret()) {
        let again: Secret = secret.expose().parse().unwrap();
        prop_assert_eq!(again.kind(), secret.kind());
        prop_assert_eq!(again.expose(), secret.expose());
        let shown = format!("{:?}", secret);
        prop_assert!(!shown.contains(&secret.expose()[4..]));
    }

    #[test]
    fn payloads_are_parsed_as_they_are_printed(
        submission in submission(), command in command(), receipt in receipt(), facts in facts(),
    ) {
        prop_assert_eq!(Submission::from_json(&to_json(&submission)).unwrap(), submission);
        prop_assert_eq!(serde_json::from_slice::<Command>(&to_json(&command)).unwrap(), command);
        prop_assert_eq!(Receipt::from_json(&to_json(&receipt)).unwrap(), receipt);
        prop_assert_eq!(Facts::from_json(&to_json(&facts)).unwrap(), facts);
    }

    #[test]
    fn news_and_events_are_parsed_as_they_are_printed(
        news in news(), event in event(), request in command_request(),
    ) {
        prop_assert_eq!(serde_json::from_slice::<News>(&to_json(&news)).unwrap(), news);
        let printed = to_json(&event);
        prop_assert_eq!(&serde_json::from_slice::<Event>(&printed).unwrap(), &event);
        // No name comes twice, which readers in other languages would take for the last of both.
        let fields: serde_json::Value = serde_json::from_slice(&printed).unwrap();
        prop_assert_eq!(fields.to_string().len(), std::str::from_utf8(&printed).unwrap().len());
        prop_assert_eq!(serde_json::from_slice::<CommandRequest>(&to_json(&request)).unwrap(), request);
    }

    #[test]
    fn agents_that_differ_only_in_case_are_one(agent in agent(), other in agent(), flips in any::<u64>()) {
        let respelled: String = agent
            .as_str()
            .char_indices()
            .map(|(at, c)| match flips >> at & 1 {
                1 if c.is_ascii_uppercase() => c.to_ascii_lowercase(),
                1 => c.to_ascii_uppercase(),
                _ => c,
            })
            .collect();
        let twin: AgentId = respelled.parse().unwrap();
        prop_assert_eq!(&twin, &agent);
        prop_assert_eq!(twin.key(), agent.key());
        prop_assert_eq!(twin.cmp(&agent), Ordering::Equal);
        let hash = |id: &AgentId| BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        prop_assert_eq!(hash(&twin), hash(&agent));
        // With any other id, equality, order and key agree in either spelling.
        prop_assert_eq!(agent == other, agent.key() == other.key());
        prop_assert_eq!(agent.cmp(&other), agent.key().cmp(&other.key()));
        prop_assert_eq!(twin.cmp(&other), agent.cmp(&other));
        prop_assert_eq!(agent.cmp(&other).reverse(), other.cmp(&agent));
        prop_assert_eq!(agent.partial_cmp(&other), Some(agent.cmp(&other)));
    }

    #[test]
    fn a_group_contains_what_begins_with_its_segments(
        segments in prop::collection::vec("[ab][.-]?[ab]?", 0..=8), other in prop::collection::vec("[ab][.-]?[ab]?", 0..=8),
        cut in 0_usize..=8,
    ) {
        let path = |segments: &[String]| segments.join("/").parse::<GroupPath>().unwrap();
        let (whole, ancestor, other_path) =
            (path(&segments), path(&segments[..cut.min(segments.len())]), path(&other));
        prop_assert!(ancestor.contains(&whole));
        prop_assert_eq!(whole.contains(&other_path), other.starts_with(&segments));
        prop_assert_eq!(other_path.contains(&whole), segments.starts_with(&other));
        prop_assert!(GroupPath::root().contains(&whole) && whole.contains(&whole));
        prop_assert_eq!(whole.segments().collect::<Vec<_>>(), segments);
    }

    #[test]
    fn levels_are_all_ancestors_from_the_root_down(segments in prop::collection::vec("[a-z0-9]{1,3}", 0..=8)) {
        let group: GroupPath = segments.join("/").parse().unwrap();
        let levels: Vec<_> = group.levels().collect();
        let expected: Vec<GroupPath> =
            (0..=segments.len()).map(|depth| segments[..depth].join("/").parse().unwrap()).collect();
        prop_assert_eq!(levels, expected);
    }

    #[test]
    fn filters_match_as_the_standard_says(
        filter in prop::collection::vec("[ab$]{0,2}|[+]", 0..=4), multi in any::<bool>(),
        topic in prop::collection::vec("[ab$]{0,2}", 1..=5),
    ) {
        let mut filter = filter;
        if multi || filter.is_empty() {
            filter.push("#".into());
        }
        let (filter, topic) = (filter.join("/"), topic.join("/"));
        prop_assert_eq!(filter_matches(&filter, &topic), reference_matches(&filter, &topic), "{} {}", filter, topic);
    }

    #[test]
    fn a_filter_of_events_matches_those_of_its_kind_and_subtree(
        filter_kind in option::of(prop::sample::select(&EventKind::ALL[..])),
        kind in prop::sample::select(&EventKind::ALL[..]),
        inside in prop::collection::vec("[ab]", 0..=4), group in prop::collection::vec("[ab]", 0..=4),
    ) {
        let path = |segments: &[String]| segments.join("/").parse::<GroupPath>().unwrap();
        let (inside, group) = (path(&inside), path(&group));
        let filter = Topic::events_filter(filter_kind, &inside);
        let topic = Topic::Event { kind, group: group.clone() }.to_string();
        let meant = filter_kind.is_none_or(|wanted| wanted == kind) && inside.contains(&group);
        prop_assert!(Topic::events_rest(&filter).is_some());
        prop_assert_eq!(filter_matches(&filter, &topic), meant, "{} {}", filter, topic);
    }

    #[test]
    fn anything_may_come_and_nothing_panics(text in ".*", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (text.parse::<AgentId>(), text.parse::<OperatorName>(), text.parse::<GroupPath>());
        let _ = (text.parse::<Slot>(), text.parse::<Kind>(), text.parse::<CommandId>());
        let _ = (text.parse::<Secret>(), text.parse::<SecretHash>(), text.parse::<Timestamp>());
        let _ = (text.parse::<Topic>(), format!("wake/v1/{text}").parse::<Topic>());
        let _ = format!("wake/v1/events/{text}").parse::<Topic>();
        let _ = (format!("wma_{text}").parse::<Secret>(), format!("wake/v1/operators/{text}").parse::<Topic>());
        for bytes in [&bytes, text.as_bytes()] {
            let _ = (Submission::from_json(bytes), Receipt::from_json(bytes), Facts::from_json(bytes));
            let _ = (serde_json::from_slice::<Command>(bytes), serde_json::from_slice::<Update>(bytes));
            let _ = (serde_json::from_slice::<EnrolRequest>(bytes), serde_json::from_slice::<ImportLine>(bytes));
            let _ = (serde_json::from_slice::<TokenRequest>(bytes), serde_json::from_slice::<Event>(bytes));
            let _ = (serde_json::from_slice::<News>(bytes), serde_json::from_slice::<CommandRequest>(bytes));
        }
        let _ = toml::from_str::<Profile>(&text);
        let _ = filter_matches(&text, &text);
    }

    #[test]
    fn almost_a_payload_is_an_error_or_a_payload(at in 0_usize..130, byte in any::<u8>()) {
        let mut json = br#"{"id":"0197c1b2-6d00-7c3a-9f01-0123456789ab","kind":"wake","slot":null,"ttl":0,"state":"done","instance":"i","priority":"low"}"#.to_vec();
        let len = json.len();
        json[at % len] = byte;
        // Whatever is taken can be printed and taken again.
        if let Ok(submission) = Submission::from_json(&json) {
            prop_assert_eq!(Submission::from_json(&to_json(&submission)).unwrap(), submission);
        }
        if let Ok(receipt) = Receipt::from_json(&json) {
            prop_assert_eq!(Receipt::from_json(&to_json(&receipt)).unwrap(), receipt);
        }
        if let Ok(facts) = Facts::from_json(&json) {
            prop_assert_eq!(Facts::from_json(&to_json(&facts)).unwrap(), facts);
        }
    }
}

/// MQTT 5 §4.7 word for word, by recursion on the levels.
fn reference_matches(filter: &str, topic: &str) -> bool {
    fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            ([], []) => true,
            (["#"], _) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels_match(filter, topic),
            ([word, filter @ ..], [name, topic @ ..]) => word == name && levels_match(filter, topic),
            ([], [_, ..]) | ([_, ..], []) => false,
        }
    }
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    let hidden = topic[0].starts_with('$') && matches!(filter[0], "+" | "#");
    !hidden && levels_match(&filter, &topic)
}
