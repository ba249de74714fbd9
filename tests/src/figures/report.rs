//! Figures as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// This, or less.
    AtMost(f64),
    /// This, or more.
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(goal) => value <= goal,
            Self::AtLeast(goal) => value >= goal,
        }
    }

    /// Says whether a value meets it, and if not, by how much.
    fn verdict(self, value: f64) -> String {
        let beyond = match self {
            _ if self.is_met(value) => return "met".to_owned(),
            Self::AtMost(0.0) => return format!("MISSED by {}", number(value)),
            Self::AtMost(goal) => value / goal - 1.0,
            Self::AtLeast(goal) => 1.0 - value / goal,
        };
        format!("MISSED by {} %", number(beyond * 100.0))
    }

    fn json(self) -> Value {
        match self {
            Self::AtMost(goal) => json!({ "at_most": goal }),
            Self::AtLeast(goal) => json!({ "at_least": goal }),
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(goal) => write!(f, "at most {}", number(*goal)),
            Self::AtLeast(goal) => write!(f, "at least {}", number(*goal)),
        }
    }
}

/// One figure; one value for each repetition.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    what: String,
    unit: &'static str,
    values: Vec<f64>,
    goal: Option<Goal>,
}

impl Row {
    fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        }
    }

    fn spread(&self) -> (f64, f64) {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    fn line(&self) -> Line {
        let (least, greatest) = self.spread();
        Line {
            what: self.what.clone(),
            value: number(self.median()),
            unit: self.unit,
            spread: (self.values.len() > 1).then(|| format!("{} to {}", number(least), number(greatest))),
            goal: self.goal.map(|goal| (goal.to_string(), goal.verdict(self.median()))),
        }
    }
}

/// A figure as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is.
    pub what: String,
    /// The median.
    pub value: String,
    /// The unit of the median.
    pub unit: &'static str,
    /// The least and the greatest, of several.
    pub spread: Option<String>,
    /// The goal, and whether it is met: `met`, or by how much it is missed.
    pub goal: Option<(String, String)>,
}

/// What one benchmark found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    title: &'static str,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// Makes an empty report.
    pub fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a figure.
    pub fn add(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.rows.push(Row { what: what.into(), unit, values: vec![value], goal: None });
    }

    /// Adds a figure that has a goal.
    pub fn add_with_goal(&mut self, what: impl Into<String>, value: f64, unit: &'static str, goal: Goal) {
        self.rows.push(Row { what: what.into(), unit, values: vec![value], goal: Some(goal) });
    }

    /// Adds what must be said about the figures, once.
    pub fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Takes in what a repetition found.
    pub fn merge(&mut self, again: Self) {
        for row in again.rows {
            match self.rows.iter_mut().find(|mine| mine.what == row.what) {
                Some(mine) => mine.values.extend(row.values),
                None => self.rows.push(row),
            }
        }
        for note in again.notes {
            self.note(note);
        }
    }

    /// Returns its title.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// Returns what must be said about the figures.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the figures as text.
    pub fn lines(&self) -> impl Iterator<Item = Line> {
        self.rows.iter().map(Row::line)
    }

    /// Prints it as a table: of several repetitions the median, the least and the greatest.
    pub fn table(&self) -> String {
        let repeated = self.rows.iter().any(|row| row.values.len() > 1);
        let head =
            ["", if repeated { "median" } else { "" }, "", if repeated { "spread" } else { "" }, "goal"];
        let mut lines = vec![head.map(str::to_owned)];
        lines.extend(self.lines().map(|line| {
            let goal = line.goal.map(|(goal, verdict)| format!("{goal}: {verdict}"));
            [
                line.what,
                line.value,
                line.unit.to_owned(),
                line.spread.unwrap_or_default(),
                goal.unwrap_or_default(),
            ]
        }));
        let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3].map(width);
        let mut text = format!("{}\n", self.title);
        for [what, value, unit, spread, goal] in &lines {
            let [a, b, c, d] = widths;
            let line = format!("  {what:a$}  {value:>b$} {unit:c$}  {spread:d$}  {goal}");
            // Writing into a string cannot fail.
            writeln!(text, "{}", line.trim_end()).ok();
        }
        for note in &self.notes {
            writeln!(text, "  - {note}").ok();
        }
        text
    }

    /// Returns it as JSON.
    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            let (least, greatest) = row.spread();
            json!({
                "what": row.what,
                "unit": row.unit,
                "median": row.median(),
                "least": least,
                "greatest": greatest,
                "values": row.values,
                "goal": row.goal.map(Goal::json),
                "met": row.goal.map(|goal| goal.is_met(row.median())),
                "verdict": row.goal.map(|goal| goal.verdict(row.median())),
            })
        };
        json!({ "title": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>(), "notes": self.notes })
    }
}

/// Prints a number with three digits that mean something, or all of its whole ones.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_give_median_and_spread() {
        let mut report = Report::new("title");
        for value in [3.0, 1.0, 2.5] {
            let mut one = Report::new("title");
            one.add_with_goal("ratio", value, "x", Goal::AtMost(2.0));
            one.note("said once");
            report.merge(one);
        }
        let row = &report.json()["rows"][0];
        assert_eq!(
            (&row["median"], &row["least"], &row["greatest"]),
            (&json!(2.5), &json!(1.0), &json!(3.0))
        );
        assert_eq!(row["met"], json!(false));
        assert_eq!(report.json()["notes"], json!(["said once"]));
        let table = report.table();
        assert!(table.contains("2.50 x"), "{table}");
        assert!(table.contains("1.00 to 3.00  at most 2.00: MISSED by 25.0 %"), "{table}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.0123, 5.126, 51.26, 5126.4].map(number), ["0", "0.012", "5.13", "51.3", "5126"]);
    }
}
