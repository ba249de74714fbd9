//! A step of the evidence of a `power` command, in words.

use wakemq_protocol::PowerWhat;

/// Tells what happened in a step.
pub(crate) fn evidence(what: &PowerWhat) -> String {
    let because =
        |detail: &Option<String>| detail.as_deref().map_or_else(String::new, |text| format!(": {text}"));
    match what {
        PowerWhat::Probed { .. } => "it looked connected, and was asked".to_owned(),
        PowerWhat::ProbeUnanswered => "it did not answer, and counts as asleep".to_owned(),
        PowerWhat::RelayAsked { relay, round, .. } => format!("{relay} was asked to send (round {round})"),
        PowerWhat::RelayAcknowledged { relay } => format!("{relay} has it"),
        PowerWhat::RelaySaid { relay, state, detail } => format!("{relay} says {state}{}", because(detail)),
        PowerWhat::RelaySilent { relay } => format!("{relay} is silent"),
        PowerWhat::RelayLeft { relay } => format!("{relay} went away before it had it"),
        PowerWhat::NoRelay { detail } => format!("no relay: {detail}"),
        PowerWhat::BrokerSent { destinations, errors } => {
            let errors = errors.iter().map(|error| format!("; {error}")).collect::<String>();
            let to = if destinations.is_empty() { "nowhere".to_owned() } else { destinations.join(", ") };
            format!("the broker sent to {to}{errors}")
        }
        PowerWhat::Heard { since_boot, since_resume, after_ms } => {
            let secs = |what, secs: &Option<u64>| {
                secs.map_or_else(String::new, |secs| format!(", {what} {secs} s ago"))
            };
            let after = after_ms.map_or_else(
                || " before a packet was sent".to_owned(),
                |ms| format!(" {}.{} s after the first packet", ms / 1000, ms % 1000 / 100),
            );
            format!("it connected{after}{}{}", secs("booted", since_boot), secs("resumed", since_resume))
        }
        PowerWhat::LeftOut { steps } => format!("{steps} more steps, of which there is no record"),
        PowerWhat::Verdict { state, detail } => format!("{state}{}", because(detail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_a_phrase() {
        for (json, expected) in [
            (
                r#"{"step":"relay_asked","relay":"till-3","command":"0197c1b2-6d00-7c3a-9f01-0123456789ab","round":2}"#,
                "till-3 was asked to send (round 2)",
            ),
            (
                r#"{"step":"heard","since_boot":4,"after_ms":31250}"#,
                "it connected 31.2 s after the first packet, booted 4 s ago",
            ),
            (r#"{"step":"heard"}"#, "it connected before a packet was sent"),
            (
                r#"{"step":"broker_sent","destinations":[],"errors":["no route"]}"#,
                "the broker sent to nowhere; no route",
            ),
            (r#"{"step":"verdict","state":"failed","detail":"no MAC known"}"#, "failed: no MAC known"),
        ] {
            assert_eq!(evidence(&serde_json::from_str(json).unwrap()), expected);
        }
    }
}
