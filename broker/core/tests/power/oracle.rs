//! Is the verdict true to what the machine did? Told from the world's own record, not from the code's arithmetic.

use wakemq_protocol::{CommandState, PowerWhat};

use crate::run::Record;
use crate::scenario::{START_MS, Scenario, Tells};

/// The number in front of ` s`, in milliseconds.
fn told_ms(text: &str) -> i64 {
    let before = text.split(" s ").next().unwrap();
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse::<i64>().unwrap() * 1000
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap()
}

/// Checks a run, and returns of what sort its verdict was.
pub(crate) fn judge(scenario: &Scenario, record: &Record) -> &'static str {
    let (end_ms, state, detail) = record.end.as_ref().expect("a verdict always comes");
    let text = detail.as_deref().unwrap_or_default();

    // Probe, looks, timeout; and each restart may give the machine its time to come back and look anew.
    let settings = &scenario.settings;
    let restarts = record.crashes * (settings.return_ms + 70_000) + record.downtime_ms;
    let latest_ms = START_MS + 5_000 + 60_000 + settings.timeout_ms + restarts + 1_000;
    assert!(*end_ms <= latest_ms, "{} ms late: {text}", end_ms - latest_ms);

    // When the first packet was sent, or might have been.
    let first = record.evidence.iter().find(|step| match &step.what {
        PowerWhat::RelayAsked { .. } => true,
        PowerWhat::BrokerSent { destinations, .. } => !destinations.is_empty(),
        _ => false,
    });
    let first_ms = first.map(|step| step.at.unix_ms()).or(record.broker_asked_ms.map(signed));
    // From the first packet to coming up.
    let after = || signed(record.up_ms.expect("it is up")) - first_ms.expect("a packet was sent");
    // How inexact the broker's knowledge is by nature: ages are whole seconds, told on the way.
    let vague_ms = 1_000 + record.heard_ms.map_or(0, |(connected_ms, at_ms)| signed(at_ms - connected_ms));

    match state {
        CommandState::Cancelled => {
            assert!(scenario.cancelled_ms.is_some());
            "cancelled"
        }
        CommandState::Done => {
            assert!(record.heard_ms.is_some() || record.probe_answered, "nobody has heard of it");
            let up_ms = record.up_ms.expect("done only if it is up");
            match text {
                "was already up: it acknowledged a wake" => "answered",
                "it acknowledged a wake late, on the connection that it had: it is up" => "answered late",
                "it came up before a packet was sent" => {
                    assert!(first_ms.is_none() && up_ms > START_MS);
                    "before a packet"
                }
                "was already up" => {
                    assert!(first_ms.is_none());
                    // A broker that was killed before anything was durable does not know when it began.
                    let known = scenario.machine.tells == Tells::Ages && record.crashes == 0;
                    assert!(!known || signed(up_ms) <= signed(START_MS) + vague_ms);
                    "already up"
                }
                "was already up: it connected before a packet was sent" => {
                    let (connected_ms, _) = record.heard_ms.unwrap();
                    assert!(signed(connected_ms) <= first_ms.unwrap() && after() <= 0);
                    "already connected"
                }
                _ if text.ends_with("after the first packet") => {
                    let after = after();
                    assert!(after > 0, "it came up {after} ms after the first packet: {text}");
                    if text.contains(" to ") {
                        // The time of its CONNECT went with the broker.
                        assert!(
                            record.crashes > 0 && (told_ms(text) - 12_000..told_ms(text)).contains(&after)
                        );
                    } else {
                        assert!((after - told_ms(text)).abs() <= vague_ms, "{after} ms: {text}");
                    }
                    assert_eq!(text.starts_with("resumed"), record.by_resume, "{text}");
                    "after the first packet"
                }
                _ if text.ends_with("perhaps by itself") => {
                    assert!(after().abs() <= told_ms(text), "{} ms: {text}", after());
                    "perhaps by itself"
                }
                _ if text.contains("has booted or resumed since it was last") => {
                    assert!(record.came_up_in_run && scenario.machine.tells == Tells::IdsAlone);
                    "new ids"
                }
                _ => panic!("{text}"),
            }
        }
        CommandState::Failed => {
            if text.starts_with("no MAC known") {
                assert!(!scenario.machine.has_mac);
                return "no MAC";
            }
            if text.starts_with("was running, unreachable: ") {
                assert!(after() <= -told_ms(text), "{} ms: {text}", after());
                return "was running";
            }
            if text.starts_with("was running, unreachable, as far as can be told") {
                // Who tells neither age nor ids cannot be judged, and the text admits it.
                let same = scenario.machine.tells == Tells::IdsAlone && !record.came_up_in_run;
                assert!(same || scenario.machine.tells == Tells::Nothing);
                return "was running, as far as can be told";
            }
            assert!(record.heard_ms.is_none() && !record.probe_answered, "it was heard of: {text}");
            if text.starts_with("no awake relay") {
                assert!(first_ms.is_none() && !record.had_candidates, "{text}");
                return "no relay";
            }
            let waited_ms = signed(*end_ms) - first_ms.expect("somebody was asked");
            assert!(waited_ms >= signed(settings.timeout_ms), "it had only {waited_ms} ms: {text}");
            let acknowledged =
                |agent: usize| record.asked.values().any(|asked| asked.agent == agent && asked.acknowledged);
            if let Some(names) = text.strip_prefix("sent by ") {
                let names = names.split(", did not").next().unwrap();
                for name in names.split(", ").flat_map(|names| names.split(" and ")) {
                    let is = |agent: &crate::scenario::Agent| agent.awake.place.agent.as_str() == name;
                    match scenario.agents.iter().position(is) {
                        Some(agent) => assert!(acknowledged(agent), "{name} has nothing: {text}"),
                        None => assert_eq!(name, "the broker"),
                    }
                }
                return "did not come up";
            }
            assert!(text.contains("asked to send, but none says that it did"), "{text}");
            "none says that it sent"
        }
        other => panic!("ended {other}"),
    }
}
