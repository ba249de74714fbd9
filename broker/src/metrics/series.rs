//! Metrics with one label whose values are known.

use std::fmt;
use std::marker::PhantomData;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Label;

type Labels = [(&'static str, &'static str); 1];

/// A counter for each value of a label.
pub struct Counters<L>(Box<[Counter]>, PhantomData<L>);

/// A gauge for each value of a label.
pub struct Gauges<L>(Box<[Gauge]>, PhantomData<L>);

impl<L: Label> Counters<L> {
    pub(super) fn new(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family = Family::<Labels, Counter>::default();
        let each =
            L::ALL.iter().map(|label| family.get_or_create_owned(&[(L::NAME, label.word())])).collect();
        registry.register(name, help, family);
        Self(each, PhantomData)
    }

    /// Returns the counter of one value.
    pub fn of(&self, label: L) -> &Counter {
        &self.0[label.index()]
    }
}

impl<L: Label> Gauges<L> {
    pub(super) fn new(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family = Family::<Labels, Gauge>::default();
        let each =
            L::ALL.iter().map(|label| family.get_or_create_owned(&[(L::NAME, label.word())])).collect();
        registry.register(name, help, family);
        Self(each, PhantomData)
    }

    /// Returns the gauge of one value.
    pub fn of(&self, label: L) -> &Gauge {
        &self.0[label.index()]
    }
}

impl<L> fmt::Debug for Counters<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<L> fmt::Debug for Gauges<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
