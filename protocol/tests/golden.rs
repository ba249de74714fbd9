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
    AgentPage, AgentView, CommandView, EnrolAnswer, EnrolRequest, ImportLine, ImportResult, Problem, Profile,
    TokenAnswer, TokenRequest,
};
use wakemq_protocol::{
    Command, CommandState, Facts, Kind, Outcome, Receipt, SlotChoice, Submission, Topic, Update,
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
    ("http/problem.json", json::<Problem>),
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
    for state in [
        CommandState::Queued,
        CommandState::Sent,
        CommandState::Acknowledged,
        CommandState::Done,
        CommandState::Failed,
        CommandState::Refused,
        CommandState::Superseded,
        CommandState::Expired,
        CommandState::Cancelled,
    ] {
        let update: Update = serde_json::from_str(&read(&format!("update/{state}.json"))).unwrap();
        assert_eq!(update.outcome.state, state);
        let outcome: Outcome = serde_json::from_str(&read(&format!("outcome/{state}.json"))).unwrap();
        assert_eq!(update.outcome, outcome);
    }
    assert_eq!(read("topic/all-commands.txt").trim_end(), {
        Topic::GroupCommands(wakemq_protocol::GroupPath::root()).to_string()
    });
}
