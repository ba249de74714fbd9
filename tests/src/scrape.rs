//! Reading what `/metrics` shows.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

/// Every series with its value, by its name with its label, as `wakemq_refusals_total{reason="left"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Reads OpenMetrics text.
    ///
    /// # Errors
    /// If it is not whole, or a line is not of the form.
    pub fn read(text: &str) -> Result<Self> {
        ensure!(text.ends_with("# EOF\n"), "it broke off: {text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
            Ok((name.to_owned(), value.parse().with_context(|| format!("no number: {line}"))?))
        });
        Ok(Self(series.collect::<Result<_>>()?))
    }

    /// Returns the value of a series.
    ///
    /// # Errors
    /// If there is no such series.
    pub fn of(&self, series: &str) -> Result<f64> {
        self.0.get(series).copied().with_context(|| format!("there is no series {series}"))
    }

    /// Returns the names of all series.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
