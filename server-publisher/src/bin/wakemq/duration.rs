//! Durations as people write them.

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Parses `30s`, `5m`, `1h`, `7d`, `1h30m`, or a bare number of seconds.
pub(crate) fn parse_secs(text: &str) -> Result<u32, String> {
    const FORM: &str = "expected a number with s, m, h or d, such as 30s, 1h30m or 7d";
    if text.is_empty() {
        return Err(FORM.to_owned());
    }
    let too_long = || "that is longer than can be said in seconds".to_owned();
    let mut rest = text;
    let mut total = 0_u64;
    let mut units = &UNITS[..];
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = &rest[..digits];
        if number.is_empty() {
            return Err(FORM.to_owned());
        }
        let number: u64 = number.parse().map_err(|_| too_long())?;
        rest = &rest[digits..];
        let factor = match rest.chars().next() {
            None if number_stands_alone(text) => 1,
            None => return Err(FORM.to_owned()),
            Some(unit) => {
                // Each unit once, the longer first, so that a slip like `30s1h` is not taken for something.
                let at = units.iter().position(|(name, _)| *name == unit).ok_or(FORM)?;
                let factor = units[at].1;
                units = &units[at + 1..];
                rest = &rest[unit.len_utf8()..];
                factor
            }
        };
        total = number.checked_mul(factor).and_then(|secs| total.checked_add(secs)).ok_or_else(too_long)?;
    }
    u32::try_from(total).map_err(|_| too_long())
}

fn number_stands_alone(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Prints a duration in its two longest units.
pub(crate) fn print_secs(secs: u64) -> String {
    let mut parts = Vec::new();
    let mut rest = secs;
    for (unit, factor) in UNITS {
        if rest >= factor {
            parts.push(format!("{}{unit}", rest / factor));
            rest %= factor;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join("") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, secs) in [
            ("0", 0),
            ("45", 45),
            ("30s", 30),
            ("5m", 300),
            ("1h", 3_600),
            ("7d", 604_800),
            ("1h30m", 5_400),
            ("1d12h", 129_600),
            ("4294967295", u32::MAX),
        ] {
            assert_eq!(parse_secs(text), Ok(secs), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "h",
            "-1",
            "1.5h",
            "1w",
            "1 h",
            "1h30",
            "30s1h",
            "1h1h",
            "1H",
            "4294967296",
            "50000d",
            "é",
            "99999999999999999999s",
        ] {
            assert!(parse_secs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed() {
        for (secs, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_725, "1h2m"),
            (86_400, "1d"),
            (90_061, "1d1h"),
            (86_401, "1d"),
        ] {
            assert_eq!(print_secs(secs), text);
        }
    }
}
