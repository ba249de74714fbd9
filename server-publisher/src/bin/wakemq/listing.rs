//! Lists that come in pages.

use serde::Serialize;

use crate::failure::Failure;
use crate::output::Out;
use crate::text::table;

/// How many items are asked for at once.
pub(crate) const PAGE: u32 = 1_000;

/// Prints items page by page: as a table, or as JSON lines.
pub(crate) struct Listing<const N: usize> {
    headings: [&'static str; N],
    json: bool,
    first: bool,
}

impl<const N: usize> Listing<N> {
    pub(crate) fn new(headings: [&'static str; N], json: bool) -> Self {
        Self { headings, json, first: true }
    }

    /// Prints a page, and makes it visible.
    pub(crate) fn page<T: Serialize>(
        &mut self,
        items: &[T],
        row: impl Fn(&T) -> [String; N],
        out: &mut Out,
    ) -> Result<(), Failure> {
        if self.json {
            items.iter().try_for_each(|item| out.json(item))?;
        } else if self.first || !items.is_empty() {
            let rows: Vec<_> = items.iter().map(row).collect();
            let lines = table(self.headings, &rows);
            // The headings once; each page lines up for itself, so that a list of any length can be shown.
            lines.iter().skip(usize::from(!self.first)).try_for_each(|line| out.line(line))?;
            self.first = false;
        }
        out.flush()
    }
}

/// Returns where the next page begins; `None` at the end, or if the broker would lead in a circle.
pub(crate) fn follow<T: PartialEq>(after: Option<&T>, next: Option<T>) -> Option<T> {
    next.filter(|next| Some(next) != after)
}

#[cfg(test)]
mod tests {
    use super::follow;

    #[test]
    fn a_page_that_leads_to_itself_is_the_last() {
        assert_eq!(follow(None, Some(1)), Some(1));
        assert_eq!(follow(Some(&1), Some(2)), Some(2));
        assert_eq!(follow(Some(&1), Some(1)), None);
        assert_eq!(follow::<u8>(Some(&1), None), None);
    }
}
