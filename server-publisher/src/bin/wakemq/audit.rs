//! `wakemq audit`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use wakemq_protocol::Timestamp;
use wakemq_protocol::http::{AuditEntry, Profile};
use wakemq_publisher::Management;

use crate::args::Since;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::listing::{Listing, PAGE, follow};
use crate::output::Out;
use crate::text::plain;

/// Prints the audit trail, oldest first.
pub(crate) async fn run(
    since: Option<Since>,
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let since = since.map(|since| match since {
        Since::At(at) => at,
        Since::Ago(secs) => Timestamp::from_unix_ms(now().unix_ms() - i64::from(secs) * 1_000),
    });
    let mut management = Management::new(profile)?;
    let mut listing = Listing::new(["TIME", "BY", "FROM", "ACTION", "TARGET", "CHANGE"], json);
    let mut after: Option<u64> = None;
    while !out.is_closed() {
        let page = management.audit(since, after, PAGE).await?;
        listing.page(&page.entries, row, out)?;
        after = match follow(after.as_ref(), page.next) {
            Some(next) => Some(next),
            None => break,
        };
    }
    Ok(ExitCode::AllAsWanted)
}

#[expect(clippy::disallowed_methods, reason = "so long ago is counted from the time of the wall clock")]
fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

fn row(entry: &AuditEntry) -> [String; 6] {
    [
        entry.at.whole_secs().to_string(),
        plain(&entry.by).into_owned(),
        entry.address.as_deref().map_or_else(|| "-".to_owned(), |address| plain(address).into_owned()),
        plain(&entry.action).into_owned(),
        if entry.target.is_empty() { "/".to_owned() } else { plain(&entry.target).into_owned() },
        plain(&change(entry.before.as_ref(), entry.after.as_ref())).into_owned(),
    ]
}

/// Says what changed: of objects the fields that differ, of everything else both.
fn change(before: Option<&Value>, after: Option<&Value>) -> String {
    let empty = Map::new();
    let (before, after) = match (before, after) {
        (None, None) => return String::new(),
        (Some(Value::Object(before)), Some(Value::Object(after))) => (before, after),
        (None, Some(Value::Object(after))) => (&empty, after),
        (Some(Value::Object(before)), None) => (before, &empty),
        (Some(before), None) => return format!("{} →", word(before)),
        (None, Some(after)) => return word(after),
        (Some(before), Some(after)) => return format!("{} → {}", word(before), word(after)),
    };
    let mut changes = Vec::new();
    for (name, old) in before {
        match after.get(name) {
            Some(new) if new == old => {}
            Some(new) => changes.push(format!("{name}: {} → {}", word(old), word(new))),
            None => changes.push(format!("{name}: {} →", word(old))),
        }
    }
    let new = after.iter().filter(|(name, _)| !before.contains_key(*name));
    changes.extend(new.map(|(name, new)| format!("{name}: {}", word(new))));
    changes.join(", ")
}

/// Prints a value: texts without quotes, nothing as such.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "/".to_owned(),
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_told_by_what_differs() {
        let told = |before: Value, after: Value| {
            let given = |value: Value| (!value.is_null()).then_some(value);
            change(given(before).as_ref(), given(after).as_ref())
        };
        assert_eq!(
            told(json!({"group": "a", "role": "admin"}), json!({"group": "b", "role": "admin"})),
            "group: a → b"
        );
        assert_eq!(told(Value::Null, json!({"group": "", "role": "admin"})), "group: /, role: admin");
        assert_eq!(told(json!({"group": "a"}), Value::Null), "group: a →");
        assert_eq!(told(json!("queued"), json!("cancelled")), "queued → cancelled");
        assert_eq!(told(json!({"uses": 1}), json!({"uses": 2, "by": null})), "uses: 1 → 2, by: -");
        assert_eq!(told(Value::Null, Value::Null), "");
    }
}
