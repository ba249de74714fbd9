//! An event in one line.

use wakemq_protocol::{
    CommandState, Event, EventBody, Facts, Kind, News, PowerNews, PresenceChange, SecurityWhat,
};
use wakemq_publisher::Watched;

use crate::commands::{counts, note};
use crate::evidence::evidence;
use crate::text::plain;

/// Room for a time of whole seconds.
const TIME: usize = 20;
/// Room for the longest kind.
const KIND: usize = 8;

/// Returns a line, without what could move the cursor.
pub(super) fn line(watched: &Watched) -> String {
    match watched {
        Watched::Event(event) => of_event(event),
        Watched::Gap(missing) => aside(&format!("up to {missing} events were lost here")),
        Watched::Lost(why) => aside(&format!("the connection was lost: {why}")),
        Watched::Back => aside("connected again; what happened meanwhile is not shown"),
    }
}

/// Returns a line that tells of no event.
fn aside(text: &str) -> String {
    format!("{:<TIME$}  {:<KIND$}  {}", "--", "--", plain(text))
}

fn of_event(event: &Event) -> String {
    let news = &event.news;
    let (at, kind) = (news.at.whole_secs().to_string(), news.body.kind());
    format!("{at:<TIME$}  {kind:<KIND$}  {}: {}", news.group.label(), plain(&text(&news.body)))
}

fn text(body: &EventBody) -> String {
    match body {
        EventBody::Presence { agent, change, address, transport, detail, facts } => {
            let from = address.as_deref().map_or_else(String::new, |address| format!(" from {address}"));
            let over = transport.map_or_else(String::new, |transport| format!(" over {transport}"));
            let why = detail.as_deref().map_or_else(String::new, |detail| format!(", {detail}"));
            match change {
                PresenceChange::Connected => format!("{agent} connected{from}{over}{why}"),
                PresenceChange::Disconnected => format!("{agent} went away{why}"),
                PresenceChange::Facts => {
                    format!("{agent} told of itself{}", facts.as_deref().map_or_else(String::new, of_facts))
                }
            }
        }
        EventBody::Command { kind, by, news } => of_command(kind, by, news),
        EventBody::Power { news } => of_power(news),
        EventBody::Report { agent, report } => {
            format!("{agent} reports {}", serde_json::Value::Object(report.clone()))
        }
        EventBody::Security { what, who, addresses, detail } => {
            let what = match what {
                SecurityWhat::ClonedIdentity => "cloned identity",
                SecurityWhat::WrongSecrets => "wrong secrets",
                SecurityWhat::ConnectionFlood => "connection flood",
                SecurityWhat::ForeignReceipt => "foreign receipt",
            };
            let who = who.as_deref().map_or_else(String::new, |who| format!(" of {who}"));
            let from =
                if addresses.is_empty() { String::new() } else { format!(" from {}", addresses.join(", ")) };
            format!("{what}{who}{from}: {detail}")
        }
    }
}

fn of_facts(facts: &Facts) -> String {
    let known: Vec<_> =
        [&facts.host_name, &facts.os, &facts.version].into_iter().flatten().map(String::as_str).collect();
    if known.is_empty() { String::new() } else { format!(": {}", known.join(", ")) }
}

fn of_power(news: &PowerNews) -> String {
    match news {
        PowerNews::Step { agent, command, by, step } => {
            format!("power of {agent}: {} ({command} by {by})", evidence(&step.what))
        }
        PowerNews::LastRelay { detail, .. } | PowerNews::NoRelayLeft { detail, .. } => detail.clone(),
    }
}

fn of_command(kind: &Kind, by: &str, news: &News) -> String {
    let (id, state) = (news.id(), news.state());
    match news {
        News::Agent(update) => {
            let outcome = &update.outcome;
            let note = note(outcome).map_or_else(String::new, |note| format!(", {note}"));
            format!("{kind} of {} {state}{note} ({id} by {by})", outcome.agent)
        }
        News::Group(update) => {
            let detail = update.detail.as_deref().map_or_else(String::new, |detail| format!(", {detail}"));
            // While it is live, the counts alone tell where it stands.
            let state = if state == CommandState::Queued { String::new() } else { format!(" {state}") };
            format!("{kind} of the group{state}: {}{detail} ({id} by {by})", counts(update.counts))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        line(&Watched::Event(Box::new(serde_json::from_str(json).unwrap())))
    }

    #[test]
    fn each_event_is_one_line() {
        let id = "0197c1b2-6d00-7c3a-9f01-0123456789ab";
        let head = r#""seq":1,"at":"2026-11-22T01:00:00.5Z","group":"paris""#;
        for (event, expected) in [
            (
                format!(
                    r#"{{{head},"event":"presence","agent":"pc-1","change":"connected","address":"192.0.2.7:5","transport":"poll"}}"#
                ),
                "presence  paris: pc-1 connected from 192.0.2.7:5 over poll".to_owned(),
            ),
            (
                format!(
                    r#"{{{head},"event":"presence","agent":"pc-1","change":"disconnected","detail":"silent"}}"#
                ),
                "presence  paris: pc-1 went away, silent".to_owned(),
            ),
            (
                format!(
                    r#"{{{head},"event":"presence","agent":"pc-1","change":"facts","facts":{{"instance":"x","os":"Debian"}}}}"#
                ),
                "presence  paris: pc-1 told of itself: Debian".to_owned(),
            ),
            (
                format!(
                    r#"{{{head},"event":"command","kind":"wake","by":"op:console","update":{{"id":"{id}","agent":"pc-1","state":"failed","at":"2026-11-22T01:00:00Z","detail":"no\ndisk"}}}}"#
                ),
                format!("command   paris: wake of pc-1 failed, no disk ({id} by op:console)"),
            ),
            (
                format!(
                    r#"{{{head},"event":"command","kind":"wake","by":"op:console","update":{{"id":"{id}","group":"paris","state":"queued","at":"2026-11-22T01:00:00Z","counts":{{"queued":2,"sent":0,"acknowledged":1,"done":0,"failed":0,"refused":0,"superseded":0,"expired":0,"cancelled":0}}}}}}"#
                ),
                format!("command   paris: wake of the group: 2 queued, 1 acknowledged ({id} by op:console)"),
            ),
            (
                format!(r#"{{{head},"event":"report","agent":"pc-1","report":{{"battery":7}}}}"#),
                r#"report    paris: pc-1 reports {"battery":7}"#.to_owned(),
            ),
            (
                format!(
                    r#"{{{head},"event":"security","what":"wrong_secrets","addresses":["192.0.2.7"],"detail":"ten \u001b[2J"}}"#
                ),
                "security  paris: wrong secrets from 192.0.2.7: ten \\u{1b}[2J".to_owned(),
            ),
        ] {
            assert_eq!(shown(&event), format!("2026-11-22T01:00:00Z  {expected}"));
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(line(&Watched::Gap(12)), "--                    --        up to 12 events were lost here");
        assert!(line(&Watched::Lost("gone".into())).ends_with("the connection was lost: gone"));
    }
}
