//! Plain output: tables, and what others wrote made harmless.

use std::borrow::Cow;

/// Returns a text without what would move the cursor or change colours: agents and other operators wrote it,
/// and the terminal belongs to the one who looks.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    // Besides the control characters, those that reorder text (bidirectional overrides) or hide in it.
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' | '\r' => clean.push(' '),
            c if odd(c) => clean.extend(c.escape_unicode()),
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// Lines up rows under their headings; the last column is as long as it is.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        line.truncate(line.trim_end().len());
        line
    };
    std::iter::once(line(headings))
        .chain(rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str()))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_reach_the_terminal() {
        assert_eq!(plain("grüße"), "grüße");
        assert_eq!(plain("a\nb\tc"), "a b c");
        assert_eq!(plain("\x1b[31mred\u{202e}"), "\\u{1b}[31mred\\u{202e}");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["pc-1".to_owned(), "é".to_owned()], ["a".to_owned(), String::new()]];
        assert_eq!(table(["AGENT", "N"], &rows), ["AGENT  N", "pc-1   é", "a"]);
    }
}
