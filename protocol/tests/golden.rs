//! The golden files: every topic and payload of wire protocol v1, byte for byte.
//!
//! Each file is read into its type and printed back; what is printed has to be the file again. So a field that is
//! renamed, dropped, or written in another form fails here before it fails at a customer's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use wakemq_protocol::http::{
    AgentPage, AgentView, AuditEntry, AuditPage, CommandRequest, CommandView, EnrolAnswer, EnrolRequest,
    GroupPage, GroupRename, GroupRequest, GroupView, ImportLine, ImportResult, MoveRequest, OperatorAnswer,
    OperatorChange, OperatorPage, OperatorRequest, OperatorView, PollAnswer, PollRequest, PowerView, Problem,
    Profile, TokenAnswer, TokenPage, TokenRequest, TokenView, WaitingPage, WolAnswer, WolRequest,
};
use wakemq_protocol::{
    Command, CommandState, Event, EventBody, EventKind, Facts, GroupPath, Kind, News, Outcome, PowerStep,
    Receipt, SlotChoice, Submission, Topic, Update,
};

type Reprint = fn(&str) -> Result<String, String>;

fn pretty<T: Serialize>(value: &T) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| error.to_string())
}

fn json<T: Serialize + DeserializeOwned>(text: &str) -> Result<String, String> {
    pretty(&serde_json::from_str::<T>(text).map_err(|error| error.to_string())?)
}

fn submission(text: &str) -> Result<String, String> {
    pretty(&Submission::from_json(text.as_bytes()).map_err(|error| error.to_string())?)
}

fn receipt(text: &str) -> Result<String, String> {
    pretty(&Receipt::from_json(text.as_bytes()).map_err(|error| error.to_string())?)
}

fn facts(text: &str) -> Result<String, String> {
    pretty(&Facts::from_json(text.as_bytes()).map_err(|error| error.to_string())?)
}

fn topic(text: &str) -> Result<String, String> {
    let topic: Topic =
        text.trim_end().parse().map_err(|error: wakemq_protocol::TopicError| error.to_string())?;
    Ok(format!("{topic}\n"))
}

fn profile(text: &str) -> Result<String, String> {
    let profile: Profile = toml::from_str(text).map_err(|error| error.to_string())?;
    toml::to_string(&profile).map_err(|error| error.to_string())
}

/// Every golden file with what reads and prints it.
const GOLDEN: &[(&str, Reprint)] = &[
    ("topic/agent-commands.txt", topic),
    ("topic/agent-receipts.txt", topic),
    ("topic/agent-facts.txt", topic),
    ("topic/agent-reports.txt", topic),
    ("topic/group-commands.txt", topic),
    ("topic/all-commands.txt", topic),
    ("topic/response.txt", topic),
    ("topic/event-presence.txt", topic),
    ("topic/event-command.txt", topic),
    ("topic/event-power.txt", topic),
    ("topic/event-report.txt", topic),
    ("topic/event-security.txt", topic),
    ("topic/event-root.txt", topic),
    ("topic/event-group-named-like-a-kind.txt", topic),
    ("submission/minimal.json", submission),
    ("submission/full.json", submission),
    ("submission/never-coalesced.json", submission),
    ("submission/only-if-connected.json", submission),
    ("submission/longest.json", submission),
    ("submission/power.json", submission),
    ("submission/relay.json", submission),
    ("submission/unknown-kind.json", submission),
    ("command/full.json", json::<Command>),
    ("command/bare.json", json::<Command>),
    ("command/unknown-kind.json", json::<Command>),
    ("receipt/progress.json", receipt),
    ("receipt/done.json", receipt),
    ("receipt/failed.json", receipt),
    ("receipt/refused.json", receipt),
    ("facts/minimal.json", facts),
    ("facts/full.json", facts),
    ("facts/reach.json", facts),
    ("facts/reach-proxied.json", facts),
    ("update/queued.json", json::<Update>),
    ("update/sent.json", json::<Update>),
    ("update/acknowledged.json", json::<Update>),
    ("update/done.json", json::<Update>),
    ("update/failed.json", json::<Update>),
    ("update/refused.json", json::<Update>),
    ("update/superseded.json", json::<Update>),
    ("update/expired.json", json::<Update>),
    ("update/cancelled.json", json::<Update>),
    ("update/cancel-requested.json", json::<Update>),
    ("update/late.json", json::<Update>),
    ("outcome/queued.json", json::<Outcome>),
    ("outcome/sent.json", json::<Outcome>),
    ("outcome/acknowledged.json", json::<Outcome>),
    ("outcome/done.json", json::<Outcome>),
    ("outcome/failed.json", json::<Outcome>),
    ("outcome/refused.json", json::<Outcome>),
    ("outcome/superseded.json", json::<Outcome>),
    ("outcome/expired.json", json::<Outcome>),
    ("outcome/cancelled.json", json::<Outcome>),
    ("outcome/cancel-requested.json", json::<Outcome>),
    ("outcome/late.json", json::<Outcome>),
    ("group-update/queued.json", json::<News>),
    ("group-update/expired.json", json::<News>),
    ("group-update/cancelled.json", json::<News>),
    ("group-update/superseded.json", json::<News>),
    ("group-update/refused.json", json::<News>),
    ("group-update/all.json", json::<News>),
    ("event/presence-connected.json", json::<Event>),
    ("event/presence-disconnected.json", json::<Event>),
    ("event/presence-facts.json", json::<Event>),
    ("event/presence-bare.json", json::<Event>),
    ("event/command-agent.json", json::<Event>),
    ("event/command-late.json", json::<Event>),
    ("event/command-group.json", json::<Event>),
    ("event/command-all-refused.json", json::<Event>),
    ("event/report.json", json::<Event>),
    ("event/report-empty.json", json::<Event>),
    ("event/security-cloned-identity.json", json::<Event>),
    ("event/security-wrong-secrets.json", json::<Event>),
    ("event/security-connection-flood.json", json::<Event>),
    ("event/security-foreign-receipt.json", json::<Event>),
    ("http/enrol-request.json", json::<EnrolRequest>),
    ("http/enrol-request-minimal.json", json::<EnrolRequest>),
    ("http/enrol-answer.json", json::<EnrolAnswer>),
    ("http/enrol-answer-system-roots.json", json::<EnrolAnswer>),
    ("http/command-view.json", json::<CommandView>),
    ("http/command-view-bare.json", json::<CommandView>),
    ("http/agent-view.json", json::<AgentView>),
    ("http/agent-view-never-seen.json", json::<AgentView>),
    ("http/agent-page.json", json::<AgentPage>),
    ("http/agent-page-last.json", json::<AgentPage>),
    ("http/import-line.json", json::<ImportLine>),
    ("http/import-result-created.json", json::<ImportResult>),
    ("http/import-result-failed.json", json::<ImportResult>),
    ("http/token-request.json", json::<TokenRequest>),
    ("http/token-answer.json", json::<TokenAnswer>),
    ("http/command-request-agent.json", json::<CommandRequest>),
    ("http/command-request-group.json", json::<CommandRequest>),
    ("http/command-request-all.json", json::<CommandRequest>),
    ("http/command-view-group.json", json::<CommandView>),
    ("http/command-view-group-last.json", json::<CommandView>),
    ("http/waiting-page.json", json::<WaitingPage>),
    ("http/waiting-page-last.json", json::<WaitingPage>),
    ("http/move-request.json", json::<MoveRequest>),
    ("http/group-view.json", json::<GroupView>),
    ("http/group-page.json", json::<GroupPage>),
    ("http/group-page-last.json", json::<GroupPage>),
    ("http/group-request.json", json::<GroupRequest>),
    ("http/group-rename.json", json::<GroupRename>),
    ("http/token-view.json", json::<TokenView>),
    ("http/token-page.json", json::<TokenPage>),
    ("http/token-page-last.json", json::<TokenPage>),
    ("http/operator-request.json", json::<OperatorRequest>),
    ("http/operator-answer.json", json::<OperatorAnswer>),
    ("http/operator-answer-system-roots.json", json::<OperatorAnswer>),
    ("http/operator-change.json", json::<OperatorChange>),
    ("http/operator-change-role.json", json::<OperatorChange>),
    ("http/operator-change-group.json", json::<OperatorChange>),
    ("http/operator-view.json", json::<OperatorView>),
    ("http/operator-page.json", json::<OperatorPage>),
    ("http/operator-page-last.json", json::<OperatorPage>),
    ("http/audit-entry.json", json::<AuditEntry>),
    ("http/audit-entry-system.json", json::<AuditEntry>),
    ("http/audit-page.json", json::<AuditPage>),
    ("http/audit-page-last.json", json::<AuditPage>),
    ("http/problem.json", json::<Problem>),
    ("command/relay.json", json::<Command>),
    ("command/relay-everywhere.json", json::<Command>),
    ("update/evidence.json", json::<Update>),
    ("power-step/probed.json", json::<PowerStep>),
    ("power-step/probe-unanswered.json", json::<PowerStep>),
    ("power-step/relay-asked.json", json::<PowerStep>),
    ("power-step/relay-acknowledged.json", json::<PowerStep>),
    ("power-step/relay-said.json", json::<PowerStep>),
    ("power-step/relay-silent.json", json::<PowerStep>),
    ("power-step/relay-left.json", json::<PowerStep>),
    ("power-step/no-relay.json", json::<PowerStep>),
    ("power-step/broker-sent.json", json::<PowerStep>),
    ("power-step/heard.json", json::<PowerStep>),
    ("power-step/left-out.json", json::<PowerStep>),
    ("power-step/verdict.json", json::<PowerStep>),
    ("power-step/heard-bare.json", json::<PowerStep>),
    ("event/power-step.json", json::<Event>),
    ("event/power-last-relay.json", json::<Event>),
    ("event/power-no-relay-left.json", json::<Event>),
    ("http/command-view-power.json", json::<CommandView>),
    ("http/power-view.json", json::<PowerView>),
    ("http/wol-request-via.json", json::<WolRequest>),
    ("http/wol-request-broker.json", json::<WolRequest>),
    ("http/wol-answer-via.json", json::<WolAnswer>),
    ("http/wol-answer-broker.json", json::<WolAnswer>),
    ("http/poll-request.json", json::<PollRequest>),
    ("http/poll-request-acknowledging.json", json::<PollRequest>),
    ("http/poll-request-trial.json", json::<PollRequest>),
    ("http/poll-answer-commands.json", json::<PollAnswer>),
    ("http/poll-answer-idle.json", json::<PollAnswer>),
    ("http/poll-answer-superseded.json", json::<PollAnswer>),
    ("http/poll-answer-retry.json", json::<PollAnswer>),
    ("http/poll-answer-out-of-range.json", json::<PollAnswer>),
    ("profile/full.toml", profile),
    ("profile/system-roots.toml", profile),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn read(name: &str) -> String {
    fs::read_to_string(directory().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_golden_file_is_read_and_printed_alike() {
    for (name, reprint) in GOLDEN {
        let text = read(name);
        assert_eq!(reprint(&text).as_deref(), Ok(&*text), "{name}");
    }
}

#[test]
fn every_golden_file_has_its_test() {
    let mut files = BTreeSet::new();
    for directory in fs::read_dir(directory()).unwrap() {
        let directory = directory.unwrap().path();
        for file in fs::read_dir(&directory).unwrap() {
            let file = file.unwrap().path();
            let name = Path::new(directory.file_name().unwrap()).join(file.file_name().unwrap());
            files.insert(name.to_str().unwrap().to_owned());
        }
    }
    let tested: BTreeSet<_> = GOLDEN.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, tested);
}

#[test]
fn unknown_fields_are_ignored_everywhere() {
    for (name, reprint) in GOLDEN.iter().filter(|(name, _)| name.ends_with(".json")) {
        let text = read(name);
        let mut with_unknown: serde_json::Value = serde_json::from_str(&text).unwrap();
        let fields = with_unknown.as_object_mut().unwrap();
        fields.insert("colour".into(), serde_json::json!({ "nested": [1, "two", null] }));
        assert_eq!(reprint(&with_unknown.to_string()).as_deref(), Ok(&*text), "{name}");
    }
}

#[test]
fn a_profile_with_an_unknown_key_is_refused_because_a_person_wrote_it() {
    let text = read("profile/full.toml") + "endpoint = \"elsewhere\"\n";
    let error = profile(&text).unwrap_err();
    assert!(error.contains("unknown field `endpoint`"), "{error}");
}

#[test]
fn the_files_mean_what_their_names_say() {
    let submission = |name: &str| Submission::from_json(read(name).as_bytes()).unwrap();
    assert_eq!(submission("submission/minimal.json"), Submission::new(Kind::Wake));
    assert_eq!(submission("submission/never-coalesced.json").slot, SlotChoice::Never);
    assert_eq!(submission("submission/only-if-connected.json").ttl_secs(None), 0);
    assert_eq!(submission("submission/power.json").kind, Kind::Power);
    assert_eq!(submission("submission/relay.json").kind, Kind::Relay);
    for state in CommandState::ALL {
        let update: Update = serde_json::from_str(&read(&format!("update/{state}.json"))).unwrap();
        assert_eq!(update.outcome.state, state);
        let outcome: Outcome = serde_json::from_str(&read(&format!("outcome/{state}.json"))).unwrap();
        assert_eq!(update.outcome, outcome);
    }
    for (name, kind) in [
        ("presence-facts", EventKind::Presence),
        ("command-agent", EventKind::Command),
        ("command-group", EventKind::Command),
        ("power-step", EventKind::Power),
        ("power-last-relay", EventKind::Power),
        ("report", EventKind::Report),
        ("security-cloned-identity", EventKind::Security),
    ] {
        let event: Event = serde_json::from_str(&read(&format!("event/{name}.json"))).unwrap();
        assert_eq!(event.news.body.kind(), kind, "{name}");
    }
    let news = |name: &str| {
        let event: Event = serde_json::from_str(&read(name)).unwrap();
        let EventBody::Command { news, .. } = event.news.body else { panic!("{name} is of no command") };
        news
    };
    // What a Response Topic gets and what an event shows is one form.
    assert!(matches!(news("event/command-agent.json"), News::Agent(_)));
    let group: News = serde_json::from_str(&read("group-update/queued.json")).unwrap();
    assert_eq!(news("event/command-group.json"), group);
    assert!(
        matches!(group, News::Group(update) if update.counts.total() == 441 && update.counts.open() == 435)
    );
    let request = |name: &str| serde_json::from_str::<CommandRequest>(&read(name)).unwrap();
    assert_eq!(request("http/command-request-agent.json").submission, Submission::new(Kind::Wake));
    assert_eq!(request("http/command-request-all.json").submission.slot, SlotChoice::Never);
    assert_eq!(read("topic/event-root.txt").trim_end(), {
        Topic::Event { kind: EventKind::Security, group: GroupPath::root() }.to_string()
    });
    assert_eq!(read("topic/all-commands.txt").trim_end(), {
        Topic::GroupCommands(GroupPath::root()).to_string()
    });
}
