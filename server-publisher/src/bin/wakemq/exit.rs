//! Exit codes: the one place where they are defined, and where the help gets them from.

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// Everything is as wanted.
    AllAsWanted = 0,
    /// Something is not.
    SomeNot = 1,
    /// The command line or the profile cannot be used.
    Usage = 2,
    /// The broker cannot be reached.
    Unreachable = 3,
    /// The broker does not allow it.
    NotAllowed = 4,
    /// Ctrl-C, as shells count it: 128 and the number of the signal.
    Interrupted = 130,
}

impl ExitCode {
    const ALL: [Self; 6] = [
        Self::AllAsWanted,
        Self::SomeNot,
        Self::Usage,
        Self::Unreachable,
        Self::NotAllowed,
        Self::Interrupted,
    ];

    fn meaning(self) -> &'static str {
        match self {
            Self::AllAsWanted => "all as wanted",
            Self::SomeNot => "some not as wanted",
            Self::Usage => "usage: wrong arguments, or a profile that cannot be used",
            Self::Unreachable => "the broker cannot be reached",
            Self::NotAllowed => "not allowed",
            Self::Interrupted => "interrupted by Ctrl-C",
        }
    }

    /// Returns the table for the help. 3 and 4 are given only if they hold for everything that is not as wanted.
    pub(crate) fn table() -> String {
        let rows: Vec<_> =
            Self::ALL.iter().map(|&code| format!("  {:>3}  {}", code as u8, code.meaning())).collect();
        format!("Exit codes:\n{}", rows.join("\n"))
    }

    /// Returns the one code for many: that of what is not as wanted if it is the same for all of it, else 1.
    pub(crate) fn of_all(codes: impl IntoIterator<Item = Self>) -> Self {
        let mut wrong = codes.into_iter().filter(|&code| code != Self::AllAsWanted);
        let Some(first) = wrong.next() else { return Self::AllAsWanted };
        if wrong.all(|code| code == first) { first } else { Self::SomeNot }
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode::{self, *};

    #[test]
    fn the_numbers_are_those_that_are_documented() {
        assert_eq!(ExitCode::ALL.map(|code| code as u8), [0, 1, 2, 3, 4, 130]);
        assert!(ExitCode::table().contains("    3  the broker cannot be reached"));
    }

    #[test]
    fn a_code_stands_for_all_that_is_not_as_wanted() {
        for (codes, all) in [
            (&[][..], AllAsWanted),
            (&[AllAsWanted, AllAsWanted], AllAsWanted),
            (&[AllAsWanted, SomeNot], SomeNot),
            (&[NotAllowed, AllAsWanted, NotAllowed], NotAllowed),
            (&[NotAllowed, Unreachable], SomeNot),
            (&[Unreachable, Unreachable], Unreachable),
        ] {
            assert_eq!(ExitCode::of_all(codes.iter().copied()), all, "{codes:?}");
        }
    }
}
