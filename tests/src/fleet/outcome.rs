//! What a run found in all, and the forms in which it is told.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::found::{Curve, Found};
use super::plot;
use super::scenario::Scenario;
use super::target::Kind;
use crate::figures::report::{Line, Report};

/// What a run found.
#[derive(Debug)]
pub struct Outcome {
    /// The machine.
    pub machine: Value,
    /// Whether it was a quick one.
    pub quick: bool,
    /// How many rounds were asked for, if any number was.
    pub rounds: Option<u32>,
    /// How long it took, without the building of programs.
    pub took: Duration,
    /// Which targets were left out, and why.
    pub left_out: Vec<String>,
    /// What each scenario found.
    pub found: Vec<(Scenario, Found)>,
}

impl Outcome {
    /// Prints it as tables, and last the goals.
    pub fn tables(&self) -> String {
        let mut tables: Vec<_> = self.found.iter().map(|(_, found)| found.report.table()).collect();
        tables.extend(self.left_out.iter().map(|words| format!("{words}\n")));
        let goals = self.goals();
        let met = goals.iter().filter(|(_, _, verdict)| verdict == "met").count();
        let mut summary = format!("{met} of {} goals are met\n", goals.len());
        let width = goals.iter().map(|(_, _, verdict)| verdict.chars().count()).max().unwrap_or_default();
        for (scenario, line, verdict) in &goals {
            let goal = line.goal.as_ref().map(|(goal, _)| goal.as_str()).unwrap_or_default();
            let value = format!("{} {}", line.value, line.unit);
            let (name, what) = (scenario.name(), &line.what);
            summary += &format!("  {verdict:width$}  {name}: {what}: {}, {goal}\n", value.trim_end());
        }
        tables.push(summary);
        tables.join("\n")
    }

    fn goals(&self) -> Vec<(Scenario, Line, String)> {
        let lines = self
            .found
            .iter()
            .flat_map(|(scenario, found)| found.report.lines().map(move |line| (*scenario, line)));
        lines
            .filter_map(|(scenario, line)| {
                let verdict = line.goal.as_ref()?.1.clone();
                Some((scenario, line, verdict))
            })
            .collect()
    }

    /// Writes it as one JSON object.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        let scenarios: Map<String, Value> =
            self.found.iter().map(|(scenario, found)| (scenario.name().to_owned(), found.json())).collect();
        let whole = json!({
            "machine": self.machine,
            "release": !cfg!(debug_assertions),
            "quick": self.quick,
            "rounds": self.rounds,
            "seconds": self.took.as_secs(),
            "left_out": self.left_out,
            "scenarios": scenarios,
        });
        write(path, &format!("{whole:#}\n"))
    }

    /// Writes its tables as Markdown, with a column for each target.
    pub fn write_markdown(&self, path: &Path) -> Result<()> {
        let tables: Vec<_> = self.found.iter().map(|(_, found)| markdown(&found.report)).collect();
        write(path, &tables.join("\n"))
    }

    /// Draws its plots into a directory.
    pub fn write_plots(&self, dir: &Path) -> Result<()> {
        let curves: Vec<Curve> = self.found.iter().flat_map(|(_, found)| found.curves.clone()).collect();
        plot::write(dir, &curves)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A row of a Markdown table: what all targets have in common, and the cell of each.
struct Row {
    what: String,
    cells: Vec<(Kind, String)>,
    goal: String,
}

fn markdown(report: &Report) -> String {
    let mut rows: Vec<Row> = Vec::new();
    for line in report.lines() {
        let (kind, what) = of_target(&line.what);
        let unit = if line.unit.is_empty() { String::new() } else { format!(", {}", line.unit) };
        let what = format!("{what}{unit}");
        let spread = line.spread.map(|spread| format!(" ({spread})")).unwrap_or_default();
        let cell = (kind, format!("{}{spread}", line.value));
        let goal = line.goal.map(|(goal, verdict)| format!("{goal}: {verdict}")).unwrap_or_default();
        match rows.iter_mut().find(|row| row.what == what) {
            Some(row) => {
                row.cells.push(cell);
                row.goal += &goal;
            }
            None => rows.push(Row { what, cells: vec![cell], goal }),
        }
    }
    let kinds: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| rows.iter().any(|row| row.cells.iter().any(|(of, _)| of == kind)))
        .collect();
    let names: String = kinds.iter().map(|kind| format!(" {} |", kind.name())).collect();
    let mut text = format!(
        "### {}\n\n| |{names} goal |\n| --- |{} --- |\n",
        report.title(),
        " --- |".repeat(kinds.len())
    );
    for Row { what, cells, goal } in rows {
        let cell = |kind: &Kind| cells.iter().find(|(of, _)| of == kind).map_or("", |(_, text)| text);
        let cells: String = kinds.iter().map(|kind| format!(" {} |", cell(kind))).collect();
        text += &format!("| {what} |{cells} {goal} |\n");
    }
    for note in report.notes() {
        text += &format!("\n- {note}");
    }
    text + "\n"
}

/// Tells of which target a figure is; what names none, as a comparison, is of WakeMQ.
fn of_target(what: &str) -> (Kind, &str) {
    let named = what.split_once(": ").and_then(|(name, rest)| {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
        Some((kind, rest))
    });
    named.unwrap_or((Kind::Wakemqd, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::report::Goal;

    fn report() -> Report {
        let mut report = Report::new("park: memory");
        report.add_with_goal("wakemqd: resident", 11.0, "bytes", Goal::AtMost(10.0));
        report.add("mosquitto: resident", 20.0, "bytes");
        report.add_with_goal("resident, wakemqd / mosquitto", 0.55, "", Goal::AtMost(0.6));
        report.note("both are told");
        report
    }

    #[test]
    fn targets_are_columns() {
        assert_eq!(
            markdown(&report()),
            "### park: memory\n\n| | wakemqd | mosquitto | goal |\n| --- | --- | --- | --- |\n\
             | resident, bytes | 11.0 | 20.0 | at most 10.0: MISSED by 10.0 % |\n\
             | resident, wakemqd / mosquitto | 0.550 |  | at most 0.600: met |\n\n- both are told\n"
        );
    }

    #[test]
    fn goals_are_summed_up_last() {
        let outcome = Outcome {
            machine: Value::Null,
            quick: false,
            rounds: None,
            took: Duration::ZERO,
            left_out: vec!["rumqttd is left out: no luck".to_owned()],
            found: vec![(Scenario::Park, Found::from(report()))],
        };
        let summary = "\n1 of 2 goals are met\n\
             \x20 MISSED by 10.0 %  park: wakemqd: resident: 11.0 bytes, at most 10.0\n\
             \x20 met               park: resident, wakemqd / mosquitto: 0.550, at most 0.600\n";
        let tables = outcome.tables();
        assert!(tables.ends_with(summary) && tables.contains("rumqttd is left out"), "{tables}");
    }
}
