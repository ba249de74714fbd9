//! The forms of topic names and filters (MQTT 5 §4.7, shared subscriptions §4.8.2).

/// Tells whether a string may be published to: not empty, no wildcard.
pub(super) fn is_name(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#'])
}

/// Tells whether a string may be subscribed to.
pub(super) fn is_filter(filter: &str) -> bool {
    match shared(filter) {
        None => is_plain_filter(filter),
        Some(rest) => {
            rest.split_once('/').is_some_and(|(name, inner)| is_name(name) && is_plain_filter(inner))
        }
    }
}

/// Returns what follows `$share/`.
pub(super) fn shared(filter: &str) -> Option<&str> {
    filter.strip_prefix("$share/")
}

/// `+` fills a whole level; `#` too, and is the last.
fn is_plain_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    let mut good = !filter.is_empty();
    while let Some(level) = levels.next() {
        good &= match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            _ => !level.contains(['+', '#']),
        };
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for good in
            ["#", "+", "/", "a", "a/#", "+/+", "a/+/b", "/+", "a//b", "$share/g/#", "$share/g//", "$share"]
        {
            assert!(is_filter(good), "{good}");
        }
        for bad in
            ["", "a#", "a/#/b", "##", "+a", "a+", "a/b+", "$share/", "$share/g", "$share/g/", "$share//a"]
        {
            assert!(!is_filter(bad), "{bad}");
        }
        assert!(!is_filter("$share/+/a") && !is_filter("$share/g/a#"));
    }

    #[test]
    fn names() {
        assert!(is_name("a") && is_name("/") && is_name("$x/y") && is_name("é ü"));
        assert!(!is_name("") && !is_name("a/+") && !is_name("#") && !is_name("a#b"));
    }
}
