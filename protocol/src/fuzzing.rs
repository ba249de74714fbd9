//! Entry points of the fuzz targets in `tests/fuzz`: each takes any bytes, and must neither panic nor break what it
//! asserts. Only there for them, and for the test that replays their corpus.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::*;
use crate::{
    AgentId, Command, CommandId, Event, Facts, GroupPath, GroupUpdate, Kind, News, OperatorName, Outcome,
    Receipt, Role, Secret, SecretHash, Slot, Submission, Timestamp, Topic, Update, filter_matches, to_json,
};

/// Reads a payload of MQTT or a body of HTTP; the first byte says which.
///
/// What can be read is written again as something that reads as the same.
pub fn payloads(data: &[u8]) {
    let [which, payload @ ..] = data else { return };
    match which {
        0 => same(Submission::from_json(payload).ok(), |json| Submission::from_json(json).ok()),
        1 => same(Receipt::from_json(payload).ok(), |json| Receipt::from_json(json).ok()),
        2 => same(Facts::from_json(payload).ok(), |json| Facts::from_json(json).ok()),
        3 => body::<Command>(payload),
        4 => body::<Event>(payload),
        5 => body::<Update>(payload),
        6 => body::<GroupUpdate>(payload),
        7 => body::<News>(payload),
        8 => body::<Outcome>(payload),
        9 => body::<ImportLine>(payload),
        10 => body::<ImportResult>(payload),
        11 => body::<EnrolRequest>(payload),
        12 => body::<EnrolAnswer>(payload),
        13 => body::<TokenRequest>(payload),
        14 => body::<CommandRequest>(payload),
        15 => body::<MoveRequest>(payload),
        16 => body::<GroupRequest>(payload),
        17 => body::<OperatorRequest>(payload),
        18 => body::<OperatorChange>(payload),
        19 => body::<AgentPage>(payload),
        20 => body::<CommandView>(payload),
        21 => body::<AuditPage>(payload),
        22 => body::<TokenPage>(payload),
        23 => body::<OperatorPage>(payload),
        24 => body::<GroupPage>(payload),
        25 => body::<WaitingPage>(payload),
        26 => body::<GroupRename>(payload),
        _ => body::<Problem>(payload),
    }
}

fn body<T: Serialize + DeserializeOwned + PartialEq + Debug>(payload: &[u8]) {
    same(serde_json::from_slice::<T>(payload).ok(), |json| serde_json::from_slice(json).ok());
}

fn same<T: Serialize + PartialEq + Debug>(read: Option<T>, read_again: impl Fn(&[u8]) -> Option<T>) {
    if let Some(value) = read {
        let json = to_json(&value);
        assert_eq!(read_again(&json), Some(value), "{}", String::from_utf8_lossy(&json));
    }
}

/// Reads the first line as a topic, a filter, an id and so on, and the second as a topic that it may match.
pub fn topics(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    word::<Topic>(first);
    word::<AgentId>(first);
    word::<OperatorName>(first);
    word::<GroupPath>(first);
    word::<Slot>(first);
    word::<Kind>(first);
    word::<Role>(first);
    word::<CommandId>(first);
    word::<SecretHash>(first);
    word::<Timestamp>(first);
    if let Ok(secret) = first.parse::<Secret>() {
        assert_eq!(secret.expose(), first);
        assert!(!format!("{secret:?}").contains(first), "a secret is shown");
    }
    if let Ok(operator) = second.parse::<OperatorName>() {
        let own = Topic::is_responses_filter(first, &operator);
        // Whatever it matches is the operator's own.
        if own && let Ok(Topic::Response { operator: of, .. }) = first.replace(['+', '#'], "x").parse() {
            assert_eq!(of, operator);
        }
    }
    let _ = Topic::events_rest(first);
    assert_eq!(filter_matches(first, second), matches(first, second), "{first:?} {second:?}");
}

/// What can be read is written as something that reads as the same.
fn word<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert_eq!(written.parse::<T>().ok().as_ref(), Some(&value), "{written:?}");
    }
}

/// MQTT 5 §4.7, level by level.
fn matches(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#", ..], _) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([word, filter @ ..], [name, topic @ ..]) => word == name && levels(filter, topic),
            ([], []) => true,
            ([], [_, ..]) | ([_, ..], []) => false,
        }
    }
    let wild_first = filter.starts_with(['+', '#']);
    let [filter, topic] = [filter, topic].map(|text| text.split('/').collect::<Vec<_>>());
    !(wild_first && topic[0].starts_with('$')) && levels(&filter, &topic)
}

#[cfg(test)]
#[path = "../../tests/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn payloads_replay() {
        replay("payloads", super::payloads);
    }

    #[test]
    fn topics_replay() {
        replay("topics", super::topics);
    }
}
