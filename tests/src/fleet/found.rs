//! What a scenario found: figures, and curves to plot.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::plot::Plot;
use super::target::Kind;
use crate::figures::report::{Goal, Report};
use crate::figures::times::Times;

/// Points of one target in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// In which plot it belongs.
    pub plot: Plot,
    /// Of which target, and if there are several curves of it, which.
    pub name: String,
    /// The target.
    pub kind: Kind,
    /// The points.
    pub points: Vec<(f64, f64)>,
}

/// What a scenario found in one round or, merged, in all.
#[derive(Debug)]
pub struct Found {
    /// Figures.
    pub report: Report,
    /// Curves of all rounds.
    pub curves: Vec<Curve>,
}

impl Found {
    /// Makes one without any.
    pub fn new(title: &'static str) -> Self {
        Self::from(Report::new(title))
    }

    /// Takes in what another round found.
    pub fn merge(&mut self, again: Self) {
        self.report.merge(again.report);
        self.curves.extend(again.curves);
    }

    /// Adds a curve.
    pub fn curve(&mut self, plot: Plot, kind: Kind, points: Vec<(f64, f64)>) {
        self.curves.push(Curve { plot, name: kind.name().to_owned(), kind, points });
    }

    /// Adds the quantiles of times in microseconds, as figures and as a curve in milliseconds.
    pub fn times(&mut self, kind: Kind, what: &str, times: &Times) {
        times.tell(&mut self.report, &format!("{}: {what}", kind.name()));
        let point = |quantile: f64| (-(1.0 - quantile).log10(), times.at(quantile) / 1e3);
        let points = QUANTILES.iter().map(|&quantile| point(quantile)).collect();
        self.curve(Plot::Latency, kind, points);
    }

    /// Returns everything as JSON.
    pub fn json(&self) -> Value {
        let curve = |curve: &Curve| json!({ "plot": curve.plot.name(), "name": curve.name, "target": curve.kind.name(), "points": curve.points });
        let mut all = self.report.json();
        all["curves"] = self.curves.iter().map(curve).collect();
        all
    }
}

impl From<Report> for Found {
    fn from(report: Report) -> Self {
        Self { report, curves: Vec::new() }
    }
}

/// Quantiles of which a latency curve is made.
const QUANTILES: [f64; 12] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999];

/// One value for each target that was measured in a round.
#[derive(Debug, Default)]
pub struct ByTarget(BTreeMap<Kind, f64>);

impl ByTarget {
    /// Notes the value of a target.
    pub fn note(&mut self, kind: Kind, value: f64) {
        self.0.insert(kind, value);
    }

    /// Returns the value of a target, if it was measured.
    pub fn of(&self, kind: Kind) -> Option<f64> {
        self.0.get(&kind).copied()
    }

    /// Adds how many times as much WakeMQ's is as another's, if both were measured.
    pub fn ratio(&self, report: &mut Report, what: &str, other: Kind, goal: Goal) {
        if let (Some(ours), Some(theirs)) = (self.of(Kind::Wakemqd), self.of(other)) {
            report.add_with_goal(format!("{what}, wakemqd / {}", other.name()), ours / theirs, "", goal);
        }
    }
}
