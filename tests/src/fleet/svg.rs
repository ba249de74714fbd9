//! Line charts as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// About how many ticks an axis has.
const TICKS: f64 = 6.0;
const GRID: &str = "stroke=\"#ddd\" fill=\"none\"";
const LINE: &str = "fill=\"none\" stroke-width=\"1.6\" stroke-linejoin=\"round\"";

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What the legend calls it; lines of one name are told once.
    pub name: String,
    /// Its colour.
    pub colour: &'static str,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: &'static str,
    /// What the x axis is.
    pub x: &'static str,
    /// What the y axis is.
    pub y: &'static str,
    /// Whether the x axis is logarithmic.
    pub log_x: bool,
    /// Whether the y axis is logarithmic.
    pub log_y: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

/// An axis: from values to places.
struct Axis {
    log: bool,
    low: f64,
    high: f64,
    /// Where `low` and `high` are.
    ends: (f64, f64),
}

impl Axis {
    fn new(values: impl Iterator<Item = f64> + Clone, log: bool, ends: (f64, f64)) -> Self {
        let values = values.filter(|value| value.is_finite() && (!log || *value > 0.0));
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let greatest = values.fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = match (least.is_finite(), log) {
            (false, _) => (0.0, 1.0),
            (true, true) => (least.log10().floor(), greatest.log10().ceil()),
            (true, false) => (least.min(0.0), greatest),
        };
        let high = if high > low { high } else { low + 1.0 };
        Self { log, low, high, ends }
    }

    fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.ends.0 + share * (self.ends.1 - self.ends.0)
    }

    /// Returns the values at which there is a tick.
    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let count = (self.high - self.low).round() as i32;
            return (0..=count).map(|power| 10_f64.powf(self.low + f64::from(power))).collect();
        }
        let rough = (self.high - self.low) / TICKS;
        let unit = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * unit).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        // A last one that is off by a rounding is one all the same.
        let count = ((self.high - self.low) / step + 1e-6).floor() as i32;
        (0..=count).map(|tick| (self.low / step).ceil() * step + f64::from(tick) * step).collect()
    }
}

impl Chart {
    /// Draws it.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let x = Axis::new(points().map(|point| point.0), self.log_x, (LEFT, right));
        let y = Axis::new(points().map(|point| point.1), self.log_y, (bottom, TOP));
        let mut body = String::new();
        for value in x.ticks() {
            let at = x.at(value);
            body += &format!("<path {GRID} d=\"M{at:.1} {TOP}V{bottom}\"/>\n");
            body += &label(at, bottom + 16.0, "middle", &short(value));
        }
        for value in y.ticks() {
            let at = y.at(value);
            body += &format!("<path {GRID} d=\"M{LEFT} {at:.1}H{right}\"/>\n");
            body += &label(LEFT - 6.0, at + 4.0, "end", &short(value));
        }
        body += &label((LEFT + right) / 2.0, HEIGHT - 12.0, "middle", self.x);
        body += &label(LEFT - 40.0, TOP - 10.0, "start", self.y);
        body += &label((LEFT + right) / 2.0, 16.0, "middle", self.title);
        let mut named: Vec<&str> = Vec::new();
        for line in &self.lines {
            let colour = line.colour;
            let mut path = String::new();
            for (at, point) in line.points.iter().enumerate() {
                let begin = if at == 0 { 'M' } else { 'L' };
                // Writing into a string cannot fail.
                write!(path, "{begin}{:.1} {:.1}", x.at(point.0), y.at(point.1)).ok();
            }
            body += &format!("<path {LINE} stroke=\"{colour}\" d=\"{path}\"/>\n");
            if !named.contains(&&*line.name) {
                let at = TOP + 12.0 + 18.0 * named.len() as f64;
                let (from, text) = (right + 10.0, right + 34.0);
                body += &format!("<path {LINE} stroke=\"{colour}\" d=\"M{from} {at}h18\"/>\n");
                body += &label(text, at + 4.0, "start", &line.name);
                named.push(&line.name);
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
        )
    }
}

fn label(x: f64, y: f64, anchor: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

/// Writes a value at a tick: thousands as `k`, millions as `M`.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Enough digits for a step of a logarithmic axis, and none that say nothing.
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, log_y: bool) -> String {
        let line = Line { name: "a<b".into(), colour: "#000", points };
        Chart { title: "t", x: "x", y: "y", log_x: false, log_y, lines: vec![line.clone(), line] }.svg()
    }

    #[test]
    fn points_lie_between_the_axes() {
        let svg = chart(vec![(0.0, 0.0), (10.0, 5.0)], false);
        assert!(svg.contains("M70.0 370.0L590.0 40.0"), "{svg}");
        assert_eq!(svg.matches("a&lt;b").count(), 1, "lines of one name are told once");
    }

    #[test]
    fn nothing_and_one_point_are_drawn_too() {
        for svg in [chart(Vec::new(), false), chart(vec![(1.0, 1.0)], true), chart(vec![(1.0, 0.0)], true)] {
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        let axis = Axis::new([0.0, 18_000.0].into_iter(), false, (0.0, 1.0));
        assert_eq!(axis.ticks(), [0.0, 5_000.0, 10_000.0, 15_000.0]);
        let axis = Axis::new([0.3, 20.0].into_iter(), true, (0.0, 1.0));
        assert_eq!(
            axis.ticks().iter().map(|tick| short(*tick)).collect::<Vec<_>>(),
            ["0.1", "1", "10", "100"]
        );
    }
}
