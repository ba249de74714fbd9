//! Which events an operator's connection follows: its filters, and where it may look.

use std::collections::BTreeSet;

use wakemq_protocol::{EventKind, GroupPath, Topic, filter_matches};

/// The filters of events of one connection, and the subtree that its operator may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    /// Valid MQTT filters below `wake/v1/events/`.
    pub filters: Vec<String>,
    /// The operator's scope.
    pub scope: GroupPath,
}

/// One stream of events, or all of a kind: what the event bus tells apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interest {
    /// Of which kind.
    pub kind: EventKind,
    /// From where.
    pub place: Place,
}

/// Where events happen, as coarsely as the event bus tells it apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Anywhere.
    Everywhere,
    /// In the root itself.
    Root,
    /// In the subtree of this first segment.
    Segment(Box<str>),
}

impl Following {
    /// Tells whether an event under this topic is for the connection: a filter matches, and its group is in scope.
    pub fn wants(&self, topic: &str) -> bool {
        may_see(&self.scope, topic) && self.filters.iter().any(|filter| filter_matches(filter, topic))
    }

    /// Returns the streams that hold all events which the filters may match; none of them twice.
    pub fn interests(&self) -> BTreeSet<Interest> {
        let own = self.scope.segments().next();
        let mut interests = BTreeSet::new();
        for rest in self.filters.iter().filter_map(|filter| Topic::events_rest(filter)) {
            let (kind_level, group) = match rest.split_once('/') {
                Some((kind, group)) => (kind, Some(group)),
                None => (rest, None),
            };
            let kinds = EventKind::ALL
                .into_iter()
                .filter(|kind| matches!(kind_level, "+" | "#") || kind.as_str() == kind_level);
            let group = if kind_level == "#" { Some("#") } else { group };
            let Some(place) = place(group, own) else { continue };
            interests.extend(kinds.map(|kind| Interest { kind, place: place.clone() }));
        }
        let everywhere: Vec<_> =
            interests.iter().filter(|one| one.place == Place::Everywhere).map(|one| one.kind).collect();
        interests.retain(|one| one.place == Place::Everywhere || !everywhere.contains(&one.kind));
        interests
    }
}

/// Tells whether an operator limited to `scope` may see events under this topic.
pub(crate) fn may_see(scope: &GroupPath, topic: &str) -> bool {
    Topic::events_rest(topic).is_some_and(|rest| {
        let group = rest.split_once('/').map_or("", |(_, group)| group);
        scope.contains_path(group)
    })
}

/// Returns where a filter looks whose levels behind the kind are `group`, for one who sees nothing but the subtree of
/// the segment `own`; `None` if it can match nothing.
fn place(group: Option<&str>, own: Option<&str>) -> Option<Place> {
    let first = group.map(|group| group.split('/').next().unwrap_or(group));
    match (first, own) {
        (None, None) => Some(Place::Root),
        (None, Some(_)) => None,
        (Some("+" | "#"), None) => Some(Place::Everywhere),
        (Some("+" | "#"), Some(own)) => Some(Place::Segment(own.into())),
        (Some(word), own) if own.is_none_or(|own| own == word) => {
            // What is no segment of a group matches nothing.
            let real = !word.is_empty() && word.parse::<GroupPath>().is_ok();
            real.then(|| Place::Segment(word.into()))
        }
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following(filters: &[&str], scope: &str) -> Following {
        Following {
            filters: filters.iter().map(|filter| format!("wake/v1/events/{filter}")).collect(),
            scope: scope.parse().unwrap(),
        }
    }

    /// The interests as `kind place`, `*` for everywhere and `.` for the root; all five kinds as `+`.
    fn interests(filters: &[&str], scope: &str) -> Vec<String> {
        let found = following(filters, scope).interests();
        let text = |place: &Place| match place {
            Place::Everywhere => "*".to_owned(),
            Place::Root => ".".to_owned(),
            Place::Segment(segment) => segment.to_string(),
        };
        if found.len() == EventKind::ALL.len()
            && found.iter().all(|one| one.place == found.first().unwrap().place)
        {
            return vec![format!("+ {}", text(&found.first().unwrap().place))];
        }
        found.iter().map(|one| format!("{} {}", one.kind.as_str(), text(&one.place))).collect()
    }

    #[test]
    fn filters_need_the_streams_of_their_kind_and_first_segment() {
        for (filter, scope, expected) in [
            ("#", "", "+ *"),
            ("+/#", "", "+ *"),
            ("+", "", "+ ."),
            ("+/+", "", "+ *"),
            ("+/a/#", "", "+ a"),
            ("+/+/paris", "", "+ *"),
            ("command/#", "", "command *"),
            ("command", "", "command ."),
            ("command/a", "", "command a"),
            ("command/a/b/#", "", "command a"),
            ("#", "a/paris", "+ a"),
            ("+/+/#", "a/paris", "+ a"),
            ("command/a/#", "a", "command a"),
        ] {
            assert_eq!(interests(&[filter], scope), [expected], "{filter} in {scope:?}");
        }
    }

    #[test]
    fn what_can_match_nothing_needs_no_stream() {
        for (filter, scope) in [
            ("weather/#", ""),
            ("command/A", ""),
            ("command//a", ""),
            ("command", "a"),
            ("+/b/#", "a"),
            ("+/a-2", "a"),
        ] {
            assert_eq!(interests(&[filter], scope), [""; 0], "{filter} in {scope:?}");
        }
    }

    #[test]
    fn no_stream_is_needed_twice() {
        assert_eq!(interests(&["command/a", "command/a/b", "command/#"], ""), ["command *"]);
        assert_eq!(interests(&["command/a", "command"], ""), ["command .", "command a"]);
        assert_eq!(interests(&["command/#", "report/a"], ""), ["command *", "report a"]);
    }

    #[test]
    fn an_event_is_wanted_if_a_filter_matches_and_the_group_is_in_scope() {
        for (filters, scope, topic, wanted) in [
            (&["#"][..], "", "command", true),
            (&["#"], "", "command/a/b", true),
            (&["+/a/#"], "", "presence/a", true),
            (&["+/a/#"], "", "presence/a-2", false),
            (&["#"], "a", "command/a/b", true),
            (&["#"], "a", "command/a-2", false),
            (&["#"], "a", "command", false),
            (&["report/#", "command/+"], "", "command/a", true),
            (&["report/#", "command/+"], "", "command/a/b", false),
        ] {
            let topic = format!("wake/v1/events/{topic}");
            assert_eq!(following(filters, scope).wants(&topic), wanted, "{filters:?} in {scope:?}: {topic}");
        }
    }
}
